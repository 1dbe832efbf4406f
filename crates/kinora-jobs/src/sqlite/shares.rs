//! What each key has used and may use, and which job is next.
//!
//! Start-time fair queueing: each claim adds `cost / weight` to what the key has used, and the key that has used least is next.
//! A key that had nothing to do saves nothing up: it begins again where the one that was served last stood.

use rusqlite::{Connection, OptionalExtension, params};

use super::Fault;
use super::rows::{self, text_of};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::machine::State;
use crate::record::{Allowance, Job};
use crate::store::Load;

/// What `key` may do.
pub(super) fn allowance(connection: &Connection, key: &str) -> Result<Allowance, Fault> {
    let default = Allowance::default();
    let found = connection
        .prepare_cached("SELECT weight, max_queued, max_running, max_priority FROM keys WHERE key = ?1")?
        .query_row([key], |row| {
            Ok(Allowance {
                weight: row.get::<_, Option<f64>>(0)?.unwrap_or(default.weight),
                max_queued: row.get::<_, Option<u32>>(1)?.unwrap_or(default.max_queued),
                max_running: row.get::<_, Option<u32>>(2)?.unwrap_or(default.max_running),
                max_priority: row.get::<_, Option<i32>>(3)?.unwrap_or(default.max_priority),
            })
        })
        .optional()?;
    Ok(found.unwrap_or(default))
}

fn know(connection: &Connection, key: &str) -> Result<(), Fault> {
    connection
        .prepare_cached("INSERT INTO keys (key, used, queued, running) VALUES (?1, 0.0, 0, 0) ON CONFLICT DO NOTHING")?
        .execute([key])?;
    Ok(())
}

pub(super) fn set_allowance(connection: &Connection, key: &str, allowance: &Allowance) -> Result<(), Fault> {
    know(connection, key)?;
    connection.execute(
        "UPDATE keys SET weight = ?2, max_queued = ?3, max_running = ?4, max_priority = ?5 WHERE key = ?1",
        params![
            key,
            allowance.weight,
            allowance.max_queued,
            allowance.max_running,
            allowance.max_priority
        ],
    )?;
    Ok(())
}

/// Refuses one more waiting job if the key has as many as it may.
pub(super) fn admit(connection: &Connection, key: &str) -> Result<(), Fault> {
    let queued: Option<u64> = connection
        .prepare_cached("SELECT queued FROM keys WHERE key = ?1")?
        .query_row([key], |row| row.get(0))
        .optional()?;
    let limit = allowance(connection, key)?.max_queued;
    if queued.unwrap_or(0) < u64::from(limit) {
        return Ok(());
    }
    Err(Fault::Typed(Error::QueueFull { key: key.into(), limit }))
}

/// Counts a job that went from one state to another.
pub(super) fn moved(
    connection: &Connection,
    key: &str,
    before: Option<State>,
    after: Option<State>,
) -> Result<(), Fault> {
    let change = |state| i64::from(after == Some(state)) - i64::from(before == Some(state));
    let (queued, running) = (change(State::Queued), change(State::Running));
    if queued == 0 && running == 0 {
        return Ok(());
    }
    know(connection, key)?;
    connection
        .prepare_cached(
            "UPDATE keys SET queued = queued + ?2, running = running + ?3,
                used = CASE WHEN queued = 0 AND ?2 > 0
                    THEN max(used, (SELECT used FROM share_clock)) ELSE used END
             WHERE key = ?1",
        )?
        .execute(params![key, queued, running])?;
    Ok(())
}

/// The job that is next for a worker of these kinds, and what its key had used.
pub(super) fn next(connection: &Connection, now: Timestamp, kinds: &[String]) -> Result<Option<Job>, Fault> {
    let kinds = if kinds.is_empty() { None } else { Some(text_of(&kinds)?) };
    let mut keys = connection.prepare_cached(
        "SELECT key FROM keys WHERE queued > 0 AND running < coalesce(max_running, ?1) ORDER BY used, key",
    )?;
    let mut head = connection.prepare_cached(
        "SELECT priority, seq FROM jobs
         WHERE state = 'queued' AND key = ?1 AND run_at <= ?2
            AND (?3 IS NULL OR kind IN (SELECT value FROM json_each(?3)))
         ORDER BY priority DESC, seq LIMIT 1",
    )?;
    let mut best: Option<(i32, u64)> = None;
    let mut rows = keys.query([Allowance::default().max_running])?;
    while let Some(row) = rows.next()? {
        let key: String = row.get(0)?;
        let found: Option<(i32, u64)> = head
            .query_row(params![key, now.as_ms(), kinds], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        // Keys come with the least used first, so only a higher priority may pass.
        best = match (best, found) {
            (Some(best), Some(found)) if found.0 > best.0 => Some(found),
            (None, found) => found,
            (best, _) => best,
        };
    }
    let Some((_, seq)) = best else { return Ok(None) };
    let job = connection
        .prepare_cached("SELECT * FROM jobs WHERE seq = ?1")?
        .query_row([seq], rows::job)?;
    Ok(Some(job))
}

/// Charges the key of a job that was claimed.
pub(super) fn charge(connection: &Connection, job: &Job) -> Result<(), Fault> {
    let weight = allowance(connection, &job.key)?.weight;
    connection
        .prepare_cached("UPDATE share_clock SET used = max(used, (SELECT used FROM keys WHERE key = ?1))")?
        .execute([&job.key])?;
    connection
        .prepare_cached("UPDATE keys SET used = used + ?2 WHERE key = ?1")?
        .execute(params![job.key, job.cost / weight])?;
    Ok(())
}

pub(super) fn load(connection: &Connection) -> Result<Vec<Load>, Fault> {
    let mut statement = connection
        .prepare_cached("SELECT key, queued, running FROM keys WHERE queued > 0 OR running > 0 ORDER BY key")?;
    let rows = statement.query_map([], |row| {
        Ok(Load {
            key: row.get(0)?,
            queued: row.get(1)?,
            running: row.get(2)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
