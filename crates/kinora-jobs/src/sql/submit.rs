//! Taking jobs in.

use serde_json::json;

use super::changes::append;
use super::rows::{find, job, text_of};
use super::{Fault, Tx, Value, shares};
use crate::error::Error;
use crate::machine::State;
use crate::record::{EventKind, JobId, Submission, check_json};
use crate::store::Submitted;

pub(super) fn submit(tx: &mut impl Tx, submission: &Submission) -> Result<Submitted, Fault> {
    let request = check_json("request", &submission.request)?;
    // Before the look at the idempotency key: of two equal submissions at once, the second must not meet the quota that the
    // first has used up.
    shares::hold(tx, &submission.key)?;
    if let Some(submitted) = repeated(tx, submission, &request)? {
        return Ok(submitted);
    }
    let limit = shares::allowance(tx, &submission.key)?.max_priority;
    if submission.priority > limit {
        let priority = submission.priority;
        return Err(Error::Priority { priority, limit }.into());
    }
    shares::admit(tx, &submission.key)?;
    let id = free_name(tx, submission.id.as_ref())?;
    insert(tx, submission, &id, &request)?;
    shares::moved(tx, &submission.key, None, Some(State::Queued))?;
    let job = find(tx, &id)?;
    append(tx, &job, EventKind::Submitted, &json!({ "kind": job.kind }))?;
    Ok(Submitted { job, created: true })
}

fn insert(tx: &mut impl Tx, submission: &Submission, id: &JobId, request: &str) -> Result<(), Fault> {
    let retain_ms = submission
        .retain
        .map(|retain| i64::try_from(retain.as_millis()).unwrap_or(i64::MAX));
    let webhooks = text_of(&submission.webhooks)?;
    // Jobs are numbered in the order in which they can be seen, as events are.
    tx.begin_numbering()?;
    let now = tx.now();
    tx.execute(
        "INSERT INTO jobs (id, project, key, kind, request, priority, cost, retain_ms, idempotency_key, webhooks,
            max_attempts, run_at, created_at, state, cancel_requested, fence, attempts, idle_attempts, furthest)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12, 'queued', 0, 0, 0, 0, 0)",
        &[
            id.into(),
            submission.project.as_str().into(),
            submission.key.as_str().into(),
            submission.kind.as_str().into(),
            request.into(),
            i64::from(submission.priority).into(),
            submission.cost.into(),
            Value::Int(retain_ms),
            submission.idempotency_key.as_deref().into(),
            webhooks.as_str().into(),
            submission.max_attempts.into(),
            now.into(),
        ],
    )?;
    Ok(())
}

/// The job that the idempotency key names already.
fn repeated(tx: &mut impl Tx, submission: &Submission, request: &str) -> Result<Option<Submitted>, Fault> {
    let Some(key) = &submission.idempotency_key else {
        return Ok(None);
    };
    let found = tx.query(
        "SELECT * FROM jobs WHERE project = $1 AND idempotency_key = $2",
        &[submission.project.as_str().into(), key.as_str().into()],
        job,
    )?;
    let Some(job) = found.into_iter().next() else {
        return Ok(None);
    };
    if job.kind == submission.kind && check_json("request", &job.request)? == request {
        return Ok(Some(Submitted { job, created: false }));
    }
    let key = key.clone();
    Err(Error::IdempotencyConflict { key, job: job.id }.into())
}

/// The name that the caller chose, if it is free, or a new one that nobody can guess.
fn free_name(tx: &mut impl Tx, chosen: Option<&JobId>) -> Result<JobId, Fault> {
    let Some(chosen) = chosen else {
        return tx.new_name().map(JobId);
    };
    let taken = tx.query("SELECT id FROM jobs WHERE id = $1", &[chosen.into()], |_| Ok(()))?;
    if taken.is_empty() {
        return Ok(chosen.clone());
    }
    Err(Error::IdTaken { job: chosen.clone() }.into())
}
