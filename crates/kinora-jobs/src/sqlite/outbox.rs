//! Webhooks that wait to be sent. They were written together with the change that they tell of, so none is missing and none
//! tells of what did not happen; each is sent at least once.

use std::time::Duration;

use rusqlite::{Connection, Row, params};

use super::reads::at_most;
use super::{Fault, rows};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::record::JobId;
use crate::store::{Delivery, DeliveryState, OutboxEntry};

fn entry(row: &Row<'_>) -> rusqlite::Result<OutboxEntry> {
    let name: String = row.get("state")?;
    let state = match name.as_str() {
        "pending" => DeliveryState::Pending,
        "delivered" => DeliveryState::Delivered,
        "dead" => DeliveryState::Dead,
        _ => return Err(rows::damaged(row, "state", format!("state of delivery {name:?}"))),
    };
    Ok(OutboxEntry {
        delivery: Delivery {
            id: row.get("id")?,
            job: JobId(row.get("job")?),
            endpoint: row.get("endpoint")?,
            payload: rows::json(row, "payload")?,
            attempt: row.get("attempt")?,
            created_at: Timestamp(row.get("created_at")?),
        },
        state,
        next_at: Timestamp(row.get("next_at")?),
        last_error: row.get("last_error")?,
    })
}

pub(super) fn take(
    connection: &Connection,
    now: Timestamp,
    limit: usize,
    lease: Duration,
) -> Result<Vec<Delivery>, Fault> {
    let mut due = connection.prepare_cached(
        "SELECT * FROM outbox WHERE state = 'pending' AND next_at <= ?1 ORDER BY next_at, id LIMIT ?2",
    )?;
    let found = due
        .query_map(params![now.as_ms(), at_most(limit)], entry)?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let mut taken = Vec::with_capacity(found.len());
    for OutboxEntry { mut delivery, .. } in found {
        delivery.attempt += 1;
        connection
            .prepare_cached("UPDATE outbox SET attempt = ?2, next_at = ?3 WHERE id = ?1")?
            .execute(params![delivery.id, delivery.attempt, now.after(lease).as_ms()])?;
        taken.push(delivery);
    }
    Ok(taken)
}

/// Whether exactly one row was changed.
fn ours(changed: usize, delivery: u64, attempt: u32) -> Result<(), Fault> {
    if changed == 1 {
        return Ok(());
    }
    Err(Fault::Typed(Error::DeliveryLost { delivery, attempt }))
}

pub(super) fn delivered(connection: &Connection, delivery: u64, attempt: u32) -> Result<(), Fault> {
    let changed = connection.execute(
        "UPDATE outbox SET state = 'delivered', last_error = NULL WHERE id = ?1 AND attempt = ?2 AND state = 'pending'",
        params![delivery, attempt],
    )?;
    ours(changed, delivery, attempt)
}

pub(super) fn undelivered(
    connection: &Connection,
    delivery: u64,
    attempt: u32,
    error: &str,
    next_at: Option<Timestamp>,
) -> Result<(), Fault> {
    let changed = connection.execute(
        "UPDATE outbox SET state = CASE WHEN ?3 IS NULL THEN 'dead' ELSE 'pending' END,
            next_at = coalesce(?3, next_at), last_error = ?4
         WHERE id = ?1 AND attempt = ?2 AND state = 'pending'",
        params![delivery, attempt, next_at.map(Timestamp::as_ms), error],
    )?;
    ours(changed, delivery, attempt)
}

pub(super) fn replay(connection: &Connection, now: Timestamp, delivery: u64) -> Result<(), Fault> {
    let changed = connection.execute(
        "UPDATE outbox SET state = 'pending', next_at = ?2 WHERE id = ?1",
        params![delivery, now.as_ms()],
    )?;
    ours(changed, delivery, 0)
}

pub(super) fn of_job(connection: &Connection, id: &JobId) -> Result<Vec<OutboxEntry>, Fault> {
    let mut statement = connection.prepare_cached("SELECT * FROM outbox WHERE job = ?1 ORDER BY id")?;
    let found = statement.query_map([&id.0], entry)?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn prune(connection: &Connection, before: Timestamp) -> Result<u64, Fault> {
    let changed = connection.execute(
        "DELETE FROM outbox WHERE state <> 'pending' AND created_at < ?1",
        [before.as_ms()],
    )?;
    Ok(changed as u64)
}
