//! Taking jobs in.

use rusqlite::{Connection, OptionalExtension, named_params};
use serde_json::json;

use super::changes::append;
use super::rows::{find, job, text_of};
use super::{Fault, shares};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::machine::State;
use crate::record::{EventKind, JobId, Submission, check_json};
use crate::store::Submitted;

pub(super) fn submit(connection: &Connection, now: Timestamp, submission: &Submission) -> Result<Submitted, Fault> {
    let request = check_json("request", &submission.request)?;
    if let Some(submitted) = repeated(connection, submission, &request)? {
        return Ok(submitted);
    }
    let limit = shares::allowance(connection, &submission.key)?.max_priority;
    if submission.priority > limit {
        let priority = submission.priority;
        return Err(Error::Priority { priority, limit }.into());
    }
    shares::admit(connection, &submission.key)?;
    let id = free_name(connection, submission.id.as_ref())?;
    let retain_ms = submission
        .retain
        .map(|retain| i64::try_from(retain.as_millis()).unwrap_or(i64::MAX));
    connection
        .prepare_cached(
            "INSERT INTO jobs (id, project, key, kind, request, priority, cost, retain_ms, idempotency_key, webhooks,
                state, run_at, cancel_requested, fence, attempts, idle_attempts, max_attempts, furthest, created_at)
             VALUES (:id, :project, :key, :kind, :request, :priority, :cost, :retain_ms, :idempotency_key, :webhooks,
                'queued', :now, 0, 0, 0, 0, :max_attempts, 0, :now)",
        )?
        .execute(named_params! {
            ":id": id.0,
            ":project": submission.project,
            ":key": submission.key,
            ":kind": submission.kind,
            ":request": request,
            ":priority": submission.priority,
            ":cost": submission.cost,
            ":retain_ms": retain_ms,
            ":idempotency_key": submission.idempotency_key,
            ":webhooks": text_of(&submission.webhooks)?,
            ":max_attempts": submission.max_attempts,
            ":now": now.as_ms(),
        })?;
    shares::moved(connection, &submission.key, None, Some(State::Queued))?;
    let job = find(connection, &id)?;
    append(
        connection,
        now,
        &job,
        EventKind::Submitted,
        &json!({ "kind": job.kind }),
    )?;
    Ok(Submitted { job, created: true })
}

/// The job that the idempotency key names already.
fn repeated(connection: &Connection, submission: &Submission, request: &str) -> Result<Option<Submitted>, Fault> {
    let Some(key) = &submission.idempotency_key else {
        return Ok(None);
    };
    let found = connection
        .prepare_cached("SELECT * FROM jobs WHERE project = ?1 AND idempotency_key = ?2")?
        .query_row([&submission.project, key], job)
        .optional()?;
    let Some(job) = found else { return Ok(None) };
    if job.kind == submission.kind && check_json("request", &job.request)? == request {
        return Ok(Some(Submitted { job, created: false }));
    }
    let key = key.clone();
    Err(Error::IdempotencyConflict { key, job: job.id }.into())
}

/// The name that the caller chose, if it is free, or a new one of 128 random bits.
fn free_name(connection: &Connection, chosen: Option<&JobId>) -> Result<JobId, Fault> {
    let Some(chosen) = chosen else {
        let name = connection.query_row("SELECT 'job_' || lower(hex(randomblob(16)))", [], |row| row.get(0))?;
        return Ok(JobId(name));
    };
    let taken: bool = connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM jobs WHERE id = ?1)")?
        .query_row([&chosen.0], |row| row.get(0))?;
    if taken {
        return Err(Error::IdTaken { job: chosen.clone() }.into());
    }
    Ok(chosen.clone())
}
