//! Webhooks that wait to be sent. They were written together with the change that they tell of, so none is missing and none
//! tells of what did not happen; each is sent at least once.

use std::time::Duration;

use super::rows::{damaged, json, moment, number, text, text_or_none};
use super::{Columns, Fault, Tx, Value, at_most};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::record::JobId;
use crate::store::{Delivery, DeliveryState, OutboxEntry};

fn entry(row: &dyn Columns) -> Result<OutboxEntry, Fault> {
    let name = text(row, "state")?;
    let state = match name.as_str() {
        "pending" => DeliveryState::Pending,
        "delivered" => DeliveryState::Delivered,
        "dead" => DeliveryState::Dead,
        _ => return Err(damaged("state", format!("state of delivery {name:?}"))),
    };
    Ok(OutboxEntry {
        delivery: Delivery {
            id: number(row, "id")?,
            job: JobId(text(row, "job")?),
            endpoint: text(row, "endpoint")?,
            payload: json(row, "payload")?,
            attempt: number(row, "attempt")?,
            created_at: moment(row, "created_at")?,
        },
        state,
        next_at: moment(row, "next_at")?,
        last_error: text_or_none(row, "last_error")?,
    })
}

pub(super) fn take(tx: &mut impl Tx, limit: usize, lease: Duration) -> Result<Vec<Delivery>, Fault> {
    let now = tx.now();
    let found = tx.query(
        "SELECT * FROM outbox WHERE state = 'pending' AND next_at <= $1 ORDER BY next_at, id LIMIT $2 FOR UPDATE SKIP LOCKED",
        &[now.into(), at_most(limit).into()],
        entry,
    )?;
    let mut taken = Vec::with_capacity(found.len());
    for OutboxEntry { mut delivery, .. } in found {
        delivery.attempt += 1;
        tx.execute(
            "UPDATE outbox SET attempt = $2, next_at = $3 WHERE id = $1",
            &[delivery.id.into(), delivery.attempt.into(), now.after(lease).into()],
        )?;
        taken.push(delivery);
    }
    Ok(taken)
}

/// Whether exactly one row was changed.
fn ours(changed: u64, delivery: u64, attempt: u32) -> Result<(), Fault> {
    if changed == 1 {
        return Ok(());
    }
    Err(Fault::Typed(Error::DeliveryLost { delivery, attempt }))
}

pub(super) fn delivered(tx: &mut impl Tx, delivery: u64, attempt: u32) -> Result<(), Fault> {
    let changed = tx.execute(
        "UPDATE outbox SET state = 'delivered', last_error = NULL WHERE id = $1 AND attempt = $2 AND state = 'pending'",
        &[delivery.into(), attempt.into()],
    )?;
    ours(changed, delivery, attempt)
}

pub(super) fn undelivered(
    tx: &mut impl Tx,
    delivery: u64,
    attempt: u32,
    error: &str,
    next_at: Option<Timestamp>,
) -> Result<(), Fault> {
    let state = if next_at.is_some() { "pending" } else { "dead" };
    let changed = tx.execute(
        "UPDATE outbox SET state = $3, next_at = coalesce($4, next_at), last_error = $5
         WHERE id = $1 AND attempt = $2 AND state = 'pending'",
        &[
            delivery.into(),
            attempt.into(),
            state.into(),
            Value::Int(next_at.map(Timestamp::as_ms)),
            error.into(),
        ],
    )?;
    ours(changed, delivery, attempt)
}

pub(super) fn replay(tx: &mut impl Tx, delivery: u64) -> Result<(), Fault> {
    let now = tx.now();
    let changed = tx.execute(
        "UPDATE outbox SET state = 'pending', next_at = $2 WHERE id = $1",
        &[delivery.into(), now.into()],
    )?;
    ours(changed, delivery, 0)
}

pub(super) fn of_job(tx: &mut impl Tx, id: &JobId) -> Result<Vec<OutboxEntry>, Fault> {
    tx.query("SELECT * FROM outbox WHERE job = $1 ORDER BY id", &[id.into()], entry)
}

pub(super) fn prune(tx: &mut impl Tx, before: Timestamp) -> Result<u64, Fault> {
    tx.execute(
        "DELETE FROM outbox WHERE state <> 'pending' AND created_at < $1",
        &[before.into()],
    )
}
