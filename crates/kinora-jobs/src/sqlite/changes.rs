//! What is done to a job: the machine decides, and record, counts, event and webhooks are written in the same transaction.

use std::time::Duration;

use rusqlite::{Connection, params};
use serde_json::{Value, json};

use super::rows::{find, save, text_of};
use super::{Fault, shares};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::machine::{Change, Command, Illegal, Life, Phase, Retry, State};
use crate::record::{
    Checkpoint, EventKind, Failure, Job, JobId, MAX_JSON_BYTES, Report, Ticket, check_json, check_name,
};
use crate::store::Directive;

/// Lets the machine do `command`, then `edit` what the machine does not know, then writes all of it.
fn apply(
    connection: &Connection,
    now: Timestamp,
    mut job: Job,
    command: &Command,
    edit: impl FnOnce(&mut Job) -> Value,
) -> Result<Job, Fault> {
    let (life, change) = job.life.step(command).map_err(|reason| illegal(&job.id, reason))?;
    if change == Change::None {
        return Ok(job);
    }
    let before = job.state();
    job.life = life;
    let data = edit(&mut job);
    keep_times(&mut job, before, now);
    save(connection, &job)?;
    shares::moved(connection, &job.key, Some(before), Some(job.state()))?;
    if let Some(kind) = kind_of(change) {
        append(connection, now, &job, kind, &data)?;
    }
    if job.state().is_final() && !before.is_final() {
        announce(connection, now, &job)?;
    }
    Ok(job)
}

fn illegal(id: &JobId, reason: Illegal) -> Fault {
    Fault::Typed(Error::Illegal {
        job: id.clone(),
        reason,
    })
}

/// The moments that follow from the state alone.
fn keep_times(job: &mut Job, before: State, now: Timestamp) {
    let state = job.state();
    if state == State::Running && job.started_at.is_none() {
        job.started_at = Some(now);
    }
    if state.is_final() && !before.is_final() {
        job.finished_at = Some(now);
        job.expires_at = job.retain.map(|retain| now.after(retain));
    } else if !state.is_final() && before.is_final() {
        (job.finished_at, job.expires_at, job.purged_at) = (None, None, None);
        (job.error, job.progress) = (None, None);
    }
}

const fn kind_of(change: Change) -> Option<EventKind> {
    match change {
        // What a sign of life says is an event of its own, if it says anything.
        Change::None | Change::Renewed => None,
        Change::Claimed => Some(EventKind::Claimed),
        Change::Kept => Some(EventKind::Checkpoint),
        Change::Requeued => Some(EventKind::Requeued),
        Change::CancelRequested => Some(EventKind::CancelRequested),
        Change::Succeeded => Some(EventKind::Succeeded),
        Change::Failed | Change::Exhausted => Some(EventKind::Failed),
        Change::Cancelled => Some(EventKind::Cancelled),
    }
}

/// Appends to the log.
pub(super) fn append(
    connection: &Connection,
    now: Timestamp,
    job: &Job,
    kind: EventKind,
    data: &Value,
) -> Result<(), Fault> {
    connection
        .prepare_cached("INSERT INTO events (job, project, at, kind, data) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![job.id.0, job.project, now.as_ms(), kind.name(), text_of(data)?])?;
    Ok(())
}

/// Puts the news of the end into the outbox.
fn announce(connection: &Connection, now: Timestamp, job: &Job) -> Result<(), Fault> {
    let payload = text_of(&job.announcement(now))?;
    for endpoint in &job.webhooks {
        connection
            .prepare_cached(
                "INSERT INTO outbox (job, endpoint, payload, state, attempt, next_at, created_at)
                 VALUES (?1, ?2, ?3, 'pending', 0, ?4, ?4)",
            )?
            .execute(params![job.id.0, endpoint, payload, now.as_ms()])?;
    }
    Ok(())
}

/// Gives `job` to a worker.
pub(super) fn claim(
    connection: &Connection,
    now: Timestamp,
    job: Job,
    worker: &str,
    lease: Duration,
) -> Result<Job, Fault> {
    let command = Command::Claim {
        worker: worker.into(),
        now,
        until: now.after(lease),
    };
    apply(
        connection,
        now,
        job,
        &command,
        |job| json!({ "worker": worker, "attempt": job.life.attempts, "fence": job.life.fence }),
    )
}

fn directive(life: &Life) -> Directive {
    match life.phase {
        Phase::Running {
            cancel_requested: true, ..
        } => Directive::Cancel,
        _ => Directive::Continue,
    }
}

pub(super) fn heartbeat(
    connection: &Connection,
    now: Timestamp,
    ticket: &Ticket,
    report: Option<&Report>,
    lease: Duration,
) -> Result<Directive, Fault> {
    let command = Command::Heartbeat {
        fence: ticket.fence,
        until: now.after(lease),
    };
    if let Some(report) = report {
        check_name("report.stage", &report.stage)?;
    }
    let before = find(connection, &ticket.job)?;
    let moved = report.is_some() && before.progress.as_ref() != report;
    let job = apply(connection, now, before, &command, |job| {
        if let Some(report) = report {
            job.progress = Some(report.clone());
        }
        Value::Null
    })?;
    if moved {
        append(connection, now, &job, EventKind::Progress, &json!(report))?;
    }
    Ok(directive(&job.life))
}

pub(super) fn checkpoint(
    connection: &Connection,
    now: Timestamp,
    ticket: &Ticket,
    reference: &str,
    step: u64,
    lease: Duration,
) -> Result<Directive, Fault> {
    check_name("reference", reference)?;
    let command = Command::Checkpoint {
        fence: ticket.fence,
        until: now.after(lease),
        step,
    };
    let job = find(connection, &ticket.job)?;
    let job = apply(connection, now, job, &command, |job| {
        job.checkpoint = Some(Checkpoint {
            reference: reference.into(),
            step,
            fence: ticket.fence,
        });
        json!({ "step": step })
    })?;
    Ok(directive(&job.life))
}

pub(super) fn succeed(connection: &Connection, now: Timestamp, ticket: &Ticket, result: &Value) -> Result<Job, Fault> {
    check_json("result", result)?;
    let command = Command::Succeed { fence: ticket.fence };
    apply(connection, now, find(connection, &ticket.job)?, &command, |job| {
        job.result = Some(result.clone());
        job.error = None;
        json!({})
    })
}

pub(super) fn fail(
    connection: &Connection,
    now: Timestamp,
    ticket: &Ticket,
    failure: &Failure,
    retry: Retry,
) -> Result<Job, Fault> {
    check_name("failure.code", &failure.code)?;
    if failure.message.len() > MAX_JSON_BYTES {
        return Err(Error::field("failure.message", "it is too long").into());
    }
    let command = Command::Fail {
        fence: ticket.fence,
        retry,
    };
    apply(connection, now, find(connection, &ticket.job)?, &command, |job| {
        job.error = Some(failure.clone());
        json!(failure)
    })
}

pub(super) fn stop(connection: &Connection, now: Timestamp, ticket: &Ticket) -> Result<Job, Fault> {
    let command = Command::Stop { fence: ticket.fence };
    apply(connection, now, find(connection, &ticket.job)?, &command, |_| json!({}))
}

pub(super) fn release(connection: &Connection, now: Timestamp, ticket: &Ticket) -> Result<Job, Fault> {
    let command = Command::Release {
        fence: ticket.fence,
        now,
    };
    let job = find(connection, &ticket.job)?;
    apply(connection, now, job, &command, |_| json!({ "code": "released" }))
}

pub(super) fn cancel(connection: &Connection, now: Timestamp, id: &JobId) -> Result<Job, Fault> {
    apply(connection, now, find(connection, id)?, &Command::Cancel, |_| json!({}))
}

pub(super) fn retry(connection: &Connection, now: Timestamp, id: &JobId) -> Result<Job, Fault> {
    let job = find(connection, id)?;
    let command = Command::Retry { now };
    job.life.step(&command).map_err(|reason| illegal(id, reason))?;
    shares::admit(connection, &job.key)?;
    apply(connection, now, job, &command, |_| json!({ "code": "retried" }))
}

pub(super) fn expire(connection: &Connection, now: Timestamp, id: &JobId) -> Result<Job, Fault> {
    let job = find(connection, id)?;
    apply(connection, now, job, &Command::Expire { now }, |job| {
        let failure = Failure::new(
            "worker_lost",
            format!("nothing was heard of the worker in attempt {}", job.life.attempts),
        );
        let data = json!(failure);
        job.error = Some(failure);
        data
    })
}

/// An ended job, or the reason why it may not be forgotten.
fn ended(connection: &Connection, id: &JobId) -> Result<Job, Fault> {
    let job = find(connection, id)?;
    if job.state().is_final() {
        return Ok(job);
    }
    Err(Fault::Typed(Error::NotEnded {
        job: id.clone(),
        state: job.state(),
    }))
}

pub(super) fn purge(connection: &Connection, now: Timestamp, id: &JobId) -> Result<Job, Fault> {
    let mut job = ended(connection, id)?;
    if job.purged_at.is_none() {
        (job.result, job.checkpoint, job.purged_at) = (None, None, Some(now));
        save(connection, &job)?;
        append(connection, now, &job, EventKind::Purged, &json!({}))?;
    }
    Ok(job)
}

pub(super) fn delete(connection: &Connection, id: &JobId) -> Result<(), Fault> {
    let job = ended(connection, id)?;
    connection.execute("DELETE FROM events WHERE job = ?1", [&id.0])?;
    connection.execute("DELETE FROM jobs WHERE seq = ?1", [job.seq])?;
    Ok(())
}
