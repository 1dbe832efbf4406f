//! Lists of jobs and of events, page by page.

use super::rows::{self, damaged, json, moment, number, text};
use super::{Fault, Tx, Value, at_most};
use crate::error::Error;
use crate::machine::State;
use crate::record::{Event, EventKind, Job, JobId};
use crate::store::{Listing, Order, Query, Scope};

pub(super) fn list(tx: &mut impl Tx, query: &Query) -> Result<Listing, Fault> {
    if query.limit == 0 {
        return Err(Error::field("limit", "at least 1 is needed").into());
    }
    let (before, direction) = match query.order {
        Order::Newest => ("<", "DESC"),
        Order::Oldest => (">", "ASC"),
    };
    let filters: [(&str, Option<Value<'_>>); 4] = [
        ("project =", query.project.as_deref().map(Value::from)),
        ("state =", query.state.map(|state| state.name().into())),
        ("kind =", query.kind.as_deref().map(Value::from)),
        (
            if before == "<" { "seq <" } else { "seq >" },
            query.after.map(Value::from),
        ),
    ];
    let mut clauses = Vec::new();
    let mut values = Vec::new();
    for (clause, value) in filters {
        if let Some(value) = value {
            values.push(value);
            clauses.push(format!("{clause} ${}", values.len()));
        }
    }
    if clauses.is_empty() {
        clauses.push("true".into());
    }
    // One more than asked for tells whether there is another page.
    let limit = at_most(query.limit);
    values.push((limit + 1).into());
    let sql = format!(
        "SELECT * FROM jobs WHERE {} ORDER BY seq {direction} LIMIT ${}",
        clauses.join(" AND "),
        values.len()
    );
    let mut jobs = tx.query(&sql, &values, rows::job)?;
    let more = jobs.len() as i64 > limit;
    jobs.truncate(limit as usize);
    let next = if more { jobs.last().map(|job| job.seq) } else { None };
    Ok(Listing { jobs, next })
}

pub(super) fn expired(tx: &mut impl Tx, limit: usize) -> Result<Vec<Job>, Fault> {
    let now = tx.now();
    tx.query(
        "SELECT * FROM jobs WHERE expires_at IS NOT NULL AND purged_at IS NULL AND expires_at <= $1
         ORDER BY expires_at, seq LIMIT $2",
        &[now.into(), at_most(limit).into()],
        rows::job,
    )
}

const OVERDUE: &str =
    "SELECT id FROM jobs WHERE state = 'running' AND lease_until <= $1 ORDER BY lease_until, seq LIMIT $2";

/// Running jobs whose lease is over.
pub(super) fn overdue(tx: &mut impl Tx, limit: usize) -> Result<Vec<JobId>, Fault> {
    overdue_by(tx, OVERDUE, limit)
}

/// The same, and nobody else changes them until we are done. One that somebody changes just now shows signs of life.
pub(super) fn hold_overdue(tx: &mut impl Tx, limit: usize) -> Result<Vec<JobId>, Fault> {
    overdue_by(tx, &format!("{OVERDUE} FOR UPDATE SKIP LOCKED"), limit)
}

fn overdue_by(tx: &mut impl Tx, sql: &str, limit: usize) -> Result<Vec<JobId>, Fault> {
    let now = tx.now();
    tx.query(sql, &[now.into(), at_most(limit).into()], |row| {
        text(row, "id").map(JobId)
    })
}

fn clause_of(scope: &Scope) -> (&'static str, &str) {
    match scope {
        Scope::Job(id) => ("job = $1", &*id.0),
        Scope::Project(project) => ("project = $1", &**project),
        Scope::All => ("CAST($1 AS TEXT) = ''", ""),
    }
}

pub(super) fn events(tx: &mut impl Tx, scope: &Scope, after: u64, limit: usize) -> Result<Vec<Event>, Fault> {
    let (clause, value) = clause_of(scope);
    let sql = format!("SELECT * FROM events WHERE {clause} AND seq > $2 ORDER BY seq LIMIT $3");
    tx.query(&sql, &[value.into(), after.into(), at_most(limit).into()], |row| {
        let name = text(row, "kind")?;
        Ok(Event {
            seq: number(row, "seq")?,
            job: JobId(text(row, "job")?),
            project: text(row, "project")?,
            at: moment(row, "at")?,
            kind: EventKind::named(&name).ok_or_else(|| damaged("kind", format!("kind of event {name:?}")))?,
            data: json(row, "data")?,
        })
    })
}

pub(super) fn last_event(tx: &mut impl Tx, scope: &Scope) -> Result<u64, Fault> {
    let (clause, value) = clause_of(scope);
    let sql = format!("SELECT coalesce(max(seq), 0) AS newest FROM events WHERE {clause}");
    let newest = tx.query(&sql, &[value.into()], |row| number(row, "newest"))?.pop();
    Ok(newest.unwrap_or(0))
}

pub(super) fn queue_position(tx: &mut impl Tx, id: &JobId) -> Result<Option<u64>, Fault> {
    let job = rows::find(tx, id)?;
    if job.state() != State::Queued {
        return Ok(None);
    }
    let sql = "SELECT count(*) AS earlier FROM jobs
         WHERE state = 'queued' AND (priority > $1 OR (priority = $1 AND seq < $2))";
    let earlier = tx.query(sql, &[i64::from(job.priority).into(), job.seq.into()], |row| {
        number(row, "earlier")
    })?;
    Ok(earlier.first().copied())
}
