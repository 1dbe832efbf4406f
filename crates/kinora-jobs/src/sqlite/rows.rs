//! Rows of the table `jobs` as [`Job`]s, and back.

use std::time::Duration;

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, named_params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Fault;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::machine::{Fence, Lease, Life, Phase, State};
use crate::record::{Job, JobId};

/// Reads a column of JSON.
pub(super) fn json<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| damaged(row, column, error))
}

fn json_or_none<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<T>> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| serde_json::from_str(&text))
        .transpose()
        .map_err(|error| damaged(row, column, error))
}

/// A value that this program cannot have written.
pub(super) fn damaged(
    row: &Row<'_>,
    column: &str,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> rusqlite::Error {
    let index = row.as_ref().column_index(column).unwrap_or(0);
    rusqlite::Error::FromSqlConversionFailure(index, Type::Text, error.into())
}

/// Text of a value of ours for a column of JSON.
pub(super) fn text_of<T: Serialize>(value: &T) -> Result<String, Fault> {
    serde_json::to_string(value).map_err(|error| Fault::Damaged(error.to_string()))
}

fn moment(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp))
}

/// A whole row.
pub(super) fn job(row: &Row<'_>) -> rusqlite::Result<Job> {
    Ok(Job {
        id: JobId(row.get("id")?),
        seq: row.get("seq")?,
        project: row.get("project")?,
        key: row.get("key")?,
        kind: row.get("kind")?,
        request: json(row, "request")?,
        priority: row.get("priority")?,
        cost: row.get("cost")?,
        retain: row.get::<_, Option<u64>>("retain_ms")?.map(Duration::from_millis),
        idempotency_key: row.get("idempotency_key")?,
        webhooks: json(row, "webhooks")?,
        life: life(row)?,
        progress: json_or_none(row, "progress")?,
        checkpoint: json_or_none(row, "checkpoint")?,
        result: json_or_none(row, "result")?,
        error: json_or_none(row, "error")?,
        created_at: Timestamp(row.get("created_at")?),
        started_at: moment(row, "started_at")?,
        finished_at: moment(row, "finished_at")?,
        expires_at: moment(row, "expires_at")?,
        purged_at: moment(row, "purged_at")?,
    })
}

fn life(row: &Row<'_>) -> rusqlite::Result<Life> {
    let name: String = row.get("state")?;
    let state = State::named(&name).ok_or_else(|| damaged(row, "state", format!("state {name:?}")))?;
    let phase = match state {
        State::Queued => Phase::Queued {
            run_at: Timestamp(row.get("run_at")?),
        },
        State::Running => Phase::Running {
            lease: Lease {
                worker: row.get("worker")?,
                until: Timestamp(row.get("lease_until")?),
            },
            cancel_requested: row.get("cancel_requested")?,
        },
        State::Succeeded => Phase::Succeeded,
        State::Failed => Phase::Failed,
        State::Cancelled => Phase::Cancelled,
    };
    Ok(Life {
        phase,
        fence: Fence(row.get("fence")?),
        attempts: row.get("attempts")?,
        idle_attempts: row.get("idle_attempts")?,
        max_attempts: row.get("max_attempts")?,
        furthest: row.get("furthest")?,
    })
}

/// The job with this name.
pub(super) fn find(connection: &Connection, id: &JobId) -> Result<Job, Fault> {
    let found = connection
        .prepare_cached("SELECT * FROM jobs WHERE id = ?1")?
        .query_row([&id.0], job)
        .optional()?;
    found.ok_or_else(|| Fault::Typed(Error::NotFound { job: id.clone() }))
}

/// Writes what may change in a job.
pub(super) fn save(connection: &Connection, job: &Job) -> Result<(), Fault> {
    let (run_at, lease, cancelling) = match &job.life.phase {
        Phase::Queued { run_at } => (Some(run_at.as_ms()), None, false),
        Phase::Running {
            lease,
            cancel_requested,
        } => (None, Some(lease), *cancel_requested),
        Phase::Succeeded | Phase::Failed | Phase::Cancelled => (None, None, false),
    };
    connection
        .prepare_cached(
            "UPDATE jobs SET state = :state, run_at = :run_at, worker = :worker, lease_until = :lease_until,
                cancel_requested = :cancelling, fence = :fence, attempts = :attempts, idle_attempts = :idle_attempts,
                furthest = :furthest, progress = :progress, checkpoint = :checkpoint, result = :result, error = :error,
                started_at = :started_at, finished_at = :finished_at, expires_at = :expires_at, purged_at = :purged_at
             WHERE seq = :seq",
        )?
        .execute(named_params! {
            ":state": job.state().name(),
            ":run_at": run_at,
            ":worker": lease.map(|lease| &lease.worker),
            ":lease_until": lease.map(|lease| lease.until.as_ms()),
            ":cancelling": cancelling,
            ":fence": job.life.fence.0,
            ":attempts": job.life.attempts,
            ":idle_attempts": job.life.idle_attempts,
            ":furthest": job.life.furthest,
            ":progress": job.progress.as_ref().map(text_of).transpose()?,
            ":checkpoint": job.checkpoint.as_ref().map(text_of).transpose()?,
            ":result": job.result.as_ref().map(text_of).transpose()?,
            ":error": job.error.as_ref().map(text_of).transpose()?,
            ":started_at": job.started_at.map(Timestamp::as_ms),
            ":finished_at": job.finished_at.map(Timestamp::as_ms),
            ":expires_at": job.expires_at.map(Timestamp::as_ms),
            ":purged_at": job.purged_at.map(Timestamp::as_ms),
            ":seq": job.seq,
        })?;
    Ok(())
}
