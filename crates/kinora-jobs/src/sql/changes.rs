//! What is done to a job: the machine decides, and record, counts, event and webhooks are written in the same transaction.

use std::time::Duration;

use serde_json::{Value, json};

use super::rows::{hold, save, text_of};
use super::{Fault, NewEvent, Tx, shares};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::machine::{Change, Command, Illegal, Life, Phase, Retry, State};
use crate::record::{
    Checkpoint, EventKind, Failure, Job, JobId, MAX_JSON_BYTES, Report, Ticket, check_json, check_name,
};
use crate::store::Directive;

/// Lets the machine do `command`, then `edit` what the machine does not know, then writes all of it.
fn apply(
    tx: &mut impl Tx,
    mut job: Job,
    command: &Command,
    edit: impl FnOnce(&mut Job) -> Value,
) -> Result<Job, Fault> {
    let (life, change) = job.life.step(command).map_err(|reason| illegal(&job.id, reason))?;
    if change == Change::None {
        return Ok(job);
    }
    let now = tx.now();
    let before = job.state();
    job.life = life;
    let data = edit(&mut job);
    keep_times(&mut job, before, now);
    save(tx, &job)?;
    shares::moved(tx, &job.key, Some(before), Some(job.state()))?;
    if let Some(kind) = kind_of(change) {
        append(tx, &job, kind, &data)?;
    }
    if job.state().is_final() && !before.is_final() {
        announce(tx, &job)?;
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
pub(super) fn append(tx: &mut impl Tx, job: &Job, kind: EventKind, data: &Value) -> Result<(), Fault> {
    let event = NewEvent {
        job: job.id.0.clone(),
        project: job.project.clone(),
        at: tx.now(),
        kind,
        data: text_of(data)?,
    };
    tx.append(event)
}

/// Puts the news of the end into the outbox.
fn announce(tx: &mut impl Tx, job: &Job) -> Result<(), Fault> {
    let now = tx.now();
    let payload = text_of(&job.announcement(now))?;
    for endpoint in &job.webhooks {
        tx.execute(
            "INSERT INTO outbox (job, endpoint, payload, state, attempt, next_at, created_at)
             VALUES ($1, $2, $3, 'pending', 0, $4, $4)",
            &[
                job.id.0.as_str().into(),
                endpoint.as_str().into(),
                payload.as_str().into(),
                now.into(),
            ],
        )?;
    }
    Ok(())
}

/// Gives `job` to a worker.
pub(super) fn claim(tx: &mut impl Tx, job: Job, worker: &str, lease: Duration) -> Result<Job, Fault> {
    let command = Command::Claim {
        worker: worker.into(),
        now: tx.now(),
        until: tx.now().after(lease),
    };
    apply(tx, job, &command, |job| {
        let step = job.checkpoint.as_ref().map(|checkpoint| checkpoint.step);
        json!({ "worker": worker, "attempt": job.life.attempts, "fence": job.life.fence, "checkpoint_step": step })
    })
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
    tx: &mut impl Tx,
    ticket: &Ticket,
    report: Option<&Report>,
    lease: Duration,
) -> Result<Directive, Fault> {
    let command = Command::Heartbeat {
        fence: ticket.fence,
        until: tx.now().after(lease),
    };
    if let Some(report) = report {
        check_name("report.stage", &report.stage)?;
    }
    let before = hold(tx, &ticket.job)?;
    let moved = report.is_some() && before.progress.as_ref() != report;
    let job = apply(tx, before, &command, |job| {
        if let Some(report) = report {
            job.progress = Some(report.clone());
        }
        Value::Null
    })?;
    if moved {
        append(tx, &job, EventKind::Progress, &json!(report))?;
    }
    Ok(directive(&job.life))
}

pub(super) fn checkpoint(
    tx: &mut impl Tx,
    ticket: &Ticket,
    reference: &str,
    step: u64,
    lease: Duration,
) -> Result<Directive, Fault> {
    check_name("reference", reference)?;
    let command = Command::Checkpoint {
        fence: ticket.fence,
        until: tx.now().after(lease),
        step,
    };
    let job = hold(tx, &ticket.job)?;
    let job = apply(tx, job, &command, |job| {
        job.checkpoint = Some(Checkpoint {
            reference: reference.into(),
            step,
            fence: ticket.fence,
        });
        json!({ "step": step })
    })?;
    Ok(directive(&job.life))
}

pub(super) fn succeed(tx: &mut impl Tx, ticket: &Ticket, result: &Value) -> Result<Job, Fault> {
    check_json("result", result)?;
    let command = Command::Succeed { fence: ticket.fence };
    let job = hold(tx, &ticket.job)?;
    apply(tx, job, &command, |job| {
        job.result = Some(result.clone());
        job.error = None;
        json!({})
    })
}

pub(super) fn fail(tx: &mut impl Tx, ticket: &Ticket, failure: &Failure, retry: Retry) -> Result<Job, Fault> {
    check_name("failure.code", &failure.code)?;
    if failure.message.len() > MAX_JSON_BYTES {
        return Err(Error::field("failure.message", "it is too long").into());
    }
    let command = Command::Fail {
        fence: ticket.fence,
        retry,
    };
    let job = hold(tx, &ticket.job)?;
    apply(tx, job, &command, |job| {
        job.error = Some(failure.clone());
        json!(failure)
    })
}

pub(super) fn stop(tx: &mut impl Tx, ticket: &Ticket) -> Result<Job, Fault> {
    let command = Command::Stop { fence: ticket.fence };
    let job = hold(tx, &ticket.job)?;
    apply(tx, job, &command, |_| json!({}))
}

pub(super) fn release(tx: &mut impl Tx, ticket: &Ticket) -> Result<Job, Fault> {
    let command = Command::Release {
        fence: ticket.fence,
        now: tx.now(),
    };
    let job = hold(tx, &ticket.job)?;
    apply(tx, job, &command, |_| json!({ "code": "released" }))
}

pub(super) fn cancel(tx: &mut impl Tx, id: &JobId) -> Result<Job, Fault> {
    let job = hold(tx, id)?;
    apply(tx, job, &Command::Cancel, |_| json!({}))
}

pub(super) fn retry(tx: &mut impl Tx, id: &JobId) -> Result<Job, Fault> {
    let job = hold(tx, id)?;
    let command = Command::Retry { now: tx.now() };
    job.life.step(&command).map_err(|reason| illegal(id, reason))?;
    shares::hold(tx, &job.key)?;
    shares::admit(tx, &job.key)?;
    apply(tx, job, &command, |_| json!({ "code": "retried" }))
}

pub(super) fn expire(tx: &mut impl Tx, id: &JobId) -> Result<Job, Fault> {
    let job = hold(tx, id)?;
    let command = Command::Expire { now: tx.now() };
    apply(tx, job, &command, |job| {
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
fn ended(tx: &mut impl Tx, id: &JobId) -> Result<Job, Fault> {
    let job = hold(tx, id)?;
    if job.state().is_final() {
        return Ok(job);
    }
    Err(Fault::Typed(Error::NotEnded {
        job: id.clone(),
        state: job.state(),
    }))
}

pub(super) fn purge(tx: &mut impl Tx, id: &JobId) -> Result<Job, Fault> {
    let mut job = ended(tx, id)?;
    if job.purged_at.is_none() {
        (job.result, job.checkpoint, job.purged_at) = (None, None, Some(tx.now()));
        save(tx, &job)?;
        append(tx, &job, EventKind::Purged, &json!({}))?;
    }
    Ok(job)
}

pub(super) fn delete(tx: &mut impl Tx, id: &JobId) -> Result<(), Fault> {
    let job = ended(tx, id)?;
    tx.execute("DELETE FROM events WHERE job = $1", &[id.into()])?;
    tx.execute("DELETE FROM jobs WHERE seq = $1", &[job.seq.into()])?;
    Ok(())
}
