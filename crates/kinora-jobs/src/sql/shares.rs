//! What each key has used and may use.
//!
//! Start-time fair queueing: each claim adds `cost / weight` to what the key has used, and the key that has used least is next.
//! A key that had nothing to do saves nothing up: it begins again where the one that was served last stood.

use super::rows::{number, number_or_none, text};
use super::{Fault, Tx};
use crate::error::Error;
use crate::machine::State;
use crate::record::{Allowance, Job};
use crate::store::Load;

/// What `key` may do.
pub(super) fn allowance(tx: &mut impl Tx, key: &str) -> Result<Allowance, Fault> {
    let default = Allowance::default();
    let found = tx.query(
        "SELECT weight, max_queued, max_running, max_priority FROM keys WHERE key = $1",
        &[key.into()],
        |row| {
            Ok(Allowance {
                weight: row.real("weight")?.unwrap_or(default.weight),
                max_queued: number_or_none(row, "max_queued")?.unwrap_or(default.max_queued),
                max_running: number_or_none(row, "max_running")?.unwrap_or(default.max_running),
                max_priority: number_or_none(row, "max_priority")?.unwrap_or(default.max_priority),
            })
        },
    )?;
    Ok(found.into_iter().next().unwrap_or(default))
}

fn know(tx: &mut impl Tx, key: &str) -> Result<(), Fault> {
    tx.execute(
        "INSERT INTO keys (key, used, queued, running) VALUES ($1, 0.0, 0, 0) ON CONFLICT DO NOTHING",
        &[key.into()],
    )?;
    Ok(())
}

/// Nobody else changes what is counted for `key` until we are done.
pub(super) fn hold(tx: &mut impl Tx, key: &str) -> Result<(), Fault> {
    know(tx, key)?;
    tx.query("SELECT key FROM keys WHERE key = $1 FOR UPDATE", &[key.into()], |_| {
        Ok(())
    })?;
    Ok(())
}

pub(super) fn set_allowance(tx: &mut impl Tx, key: &str, allowance: &Allowance) -> Result<(), Fault> {
    know(tx, key)?;
    tx.execute(
        "UPDATE keys SET weight = $2, max_queued = $3, max_running = $4, max_priority = $5 WHERE key = $1",
        &[
            key.into(),
            allowance.weight.into(),
            allowance.max_queued.into(),
            allowance.max_running.into(),
            i64::from(allowance.max_priority).into(),
        ],
    )?;
    Ok(())
}

/// Refuses one more waiting job if the key, which is [held](hold), has as many as it may.
pub(super) fn admit(tx: &mut impl Tx, key: &str) -> Result<(), Fault> {
    let queued = tx.query("SELECT queued FROM keys WHERE key = $1", &[key.into()], |row| {
        number::<u64>(row, "queued")
    })?;
    let limit = allowance(tx, key)?.max_queued;
    if queued.first().copied().unwrap_or(0) < u64::from(limit) {
        return Ok(());
    }
    Err(Fault::Typed(Error::QueueFull { key: key.into(), limit }))
}

/// Counts a job that went from one state to another.
pub(super) fn moved(tx: &mut impl Tx, key: &str, before: Option<State>, after: Option<State>) -> Result<(), Fault> {
    let change = |state| i64::from(after == Some(state)) - i64::from(before == Some(state));
    let (queued, running) = (change(State::Queued), change(State::Running));
    if queued == 0 && running == 0 {
        return Ok(());
    }
    let sql = "UPDATE keys SET queued = queued + $2, running = running + $3,
            used = CASE WHEN queued = 0 AND $2 > 0 AND used < (SELECT used FROM share_clock)
                THEN (SELECT used FROM share_clock) ELSE used END
         WHERE key = $1";
    if tx.execute(sql, &[key.into(), queued.into(), running.into()])? == 1 {
        return Ok(());
    }
    Err(Fault::Damaged(format!("key {key:?} has a job, but is not known")))
}

/// Charges the key of a job that was claimed.
pub(super) fn charge(tx: &mut impl Tx, job: &Job) -> Result<(), Fault> {
    let weight = allowance(tx, &job.key)?.weight;
    let key = job.key.as_str();
    tx.execute(
        "UPDATE share_clock SET used = (SELECT used FROM keys WHERE key = $1)
         WHERE used < (SELECT used FROM keys WHERE key = $1)",
        &[key.into()],
    )?;
    tx.execute(
        "UPDATE keys SET used = used + $2 WHERE key = $1",
        &[key.into(), (job.cost / weight).into()],
    )?;
    Ok(())
}

pub(super) fn load(tx: &mut impl Tx) -> Result<Vec<Load>, Fault> {
    tx.query(
        "SELECT key, queued, running FROM keys WHERE queued > 0 OR running > 0 ORDER BY key",
        &[],
        |row| {
            Ok(Load {
                key: text(row, "key")?,
                queued: number(row, "queued")?,
                running: number(row, "running")?,
            })
        },
    )
}
