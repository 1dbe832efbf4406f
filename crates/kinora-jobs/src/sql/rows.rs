//! Rows of the table `jobs` as [`Job`]s, and back.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Columns, Fault, Tx, Value};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::machine::{Fence, Lease, Life, Phase, State};
use crate::record::{Job, JobId};

/// A value that this program cannot have written.
pub(crate) fn damaged(column: &str, problem: impl std::fmt::Display) -> Fault {
    Fault::Damaged(format!("column {column}: {problem}"))
}

fn needed<T>(column: &str, value: Option<T>) -> Result<T, Fault> {
    value.ok_or_else(|| damaged(column, "nothing is there"))
}

/// A column of text.
pub(crate) fn text(row: &dyn Columns, column: &str) -> Result<String, Fault> {
    needed(column, row.text(column)?)
}

pub(super) fn text_or_none(row: &dyn Columns, column: &str) -> Result<Option<String>, Fault> {
    row.text(column)
}

/// A column of numbers that may be empty.
pub(super) fn number_or_none<T: TryFrom<i64>>(row: &dyn Columns, column: &str) -> Result<Option<T>, Fault> {
    let Some(value) = row.int(column)? else { return Ok(None) };
    T::try_from(value)
        .map(Some)
        .map_err(|_| damaged(column, format!("{value} is out of range")))
}

/// A column of numbers.
pub(crate) fn number<T: TryFrom<i64>>(row: &dyn Columns, column: &str) -> Result<T, Fault> {
    needed(column, number_or_none(row, column)?)
}

/// A column of moments.
pub(super) fn moment(row: &dyn Columns, column: &str) -> Result<Timestamp, Fault> {
    number(row, column).map(Timestamp)
}

fn moment_or_none(row: &dyn Columns, column: &str) -> Result<Option<Timestamp>, Fault> {
    Ok(row.int(column)?.map(Timestamp))
}

/// A column of JSON.
pub(super) fn json<T: DeserializeOwned>(row: &dyn Columns, column: &str) -> Result<T, Fault> {
    needed(column, json_or_none(row, column)?)
}

fn json_or_none<T: DeserializeOwned>(row: &dyn Columns, column: &str) -> Result<Option<T>, Fault> {
    let Some(text) = row.text(column)? else { return Ok(None) };
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|error| damaged(column, error))
}

/// Text of a value of ours for a column of JSON.
pub(crate) fn text_of<T: Serialize + ?Sized>(value: &T) -> Result<String, Fault> {
    serde_json::to_string(value).map_err(|error| Fault::Damaged(error.to_string()))
}

/// A whole row.
pub(crate) fn job(row: &dyn Columns) -> Result<Job, Fault> {
    Ok(Job {
        id: JobId(text(row, "id")?),
        seq: number(row, "seq")?,
        project: text(row, "project")?,
        key: text(row, "key")?,
        kind: text(row, "kind")?,
        request: json(row, "request")?,
        priority: number(row, "priority")?,
        cost: needed("cost", row.real("cost")?)?,
        retain: number_or_none(row, "retain_ms")?.map(Duration::from_millis),
        idempotency_key: text_or_none(row, "idempotency_key")?,
        webhooks: json(row, "webhooks")?,
        life: life(row)?,
        progress: json_or_none(row, "progress")?,
        checkpoint: json_or_none(row, "checkpoint")?,
        result: json_or_none(row, "result")?,
        error: json_or_none(row, "error")?,
        created_at: moment(row, "created_at")?,
        started_at: moment_or_none(row, "started_at")?,
        finished_at: moment_or_none(row, "finished_at")?,
        expires_at: moment_or_none(row, "expires_at")?,
        purged_at: moment_or_none(row, "purged_at")?,
    })
}

fn life(row: &dyn Columns) -> Result<Life, Fault> {
    let name = text(row, "state")?;
    let state = State::named(&name).ok_or_else(|| damaged("state", format!("state {name:?}")))?;
    let phase = match state {
        State::Queued => Phase::Queued {
            run_at: moment(row, "run_at")?,
        },
        State::Running => Phase::Running {
            lease: Lease {
                worker: text(row, "worker")?,
                until: moment(row, "lease_until")?,
            },
            cancel_requested: number::<i64>(row, "cancel_requested")? != 0,
        },
        State::Succeeded => Phase::Succeeded,
        State::Failed => Phase::Failed,
        State::Cancelled => Phase::Cancelled,
    };
    Ok(Life {
        phase,
        fence: Fence(number(row, "fence")?),
        attempts: number(row, "attempts")?,
        idle_attempts: number(row, "idle_attempts")?,
        max_attempts: number(row, "max_attempts")?,
        furthest: number(row, "furthest")?,
    })
}

fn found(tx: &mut impl Tx, sql: &str, id: &JobId) -> Result<Job, Fault> {
    let found = tx.query(sql, &[id.into()], job)?.pop();
    found.ok_or_else(|| Fault::Typed(Error::NotFound { job: id.clone() }))
}

/// The job with this name.
pub(super) fn find(tx: &mut impl Tx, id: &JobId) -> Result<Job, Fault> {
    found(tx, "SELECT * FROM jobs WHERE id = $1", id)
}

/// The job with this name, which nobody else changes until we are done.
pub(super) fn hold(tx: &mut impl Tx, id: &JobId) -> Result<Job, Fault> {
    found(tx, "SELECT * FROM jobs WHERE id = $1 FOR UPDATE", id)
}

/// Writes what may change in a job.
pub(super) fn save(tx: &mut impl Tx, job: &Job) -> Result<(), Fault> {
    let (run_at, lease, cancelling) = match &job.life.phase {
        Phase::Queued { run_at } => (Some(*run_at), None, false),
        Phase::Running {
            lease,
            cancel_requested,
        } => (None, Some(lease), *cancel_requested),
        Phase::Succeeded | Phase::Failed | Phase::Cancelled => (None, None, false),
    };
    let progress = job.progress.as_ref().map(text_of).transpose()?;
    let checkpoint = job.checkpoint.as_ref().map(text_of).transpose()?;
    let result = job.result.as_ref().map(text_of).transpose()?;
    let error = job.error.as_ref().map(text_of).transpose()?;
    tx.execute(
        "UPDATE jobs SET state = $2, run_at = $3, worker = $4, lease_until = $5, cancel_requested = $6, fence = $7,
            attempts = $8, idle_attempts = $9, furthest = $10, progress = $11, checkpoint = $12, result = $13,
            error = $14, started_at = $15, finished_at = $16, expires_at = $17, purged_at = $18
         WHERE seq = $1",
        &[
            job.seq.into(),
            job.state().name().into(),
            run_at.into(),
            Value::Text(lease.map(|lease| lease.worker.as_str())),
            lease.map(|lease| lease.until).into(),
            i64::from(cancelling).into(),
            job.life.fence.0.into(),
            job.life.attempts.into(),
            job.life.idle_attempts.into(),
            job.life.furthest.into(),
            progress.as_deref().into(),
            checkpoint.as_deref().into(),
            result.as_deref().into(),
            error.as_deref().into(),
            job.started_at.into(),
            job.finished_at.into(),
            job.expires_at.into(),
            job.purged_at.into(),
        ],
    )?;
    Ok(())
}
