//! Lists of jobs and of events, page by page.

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, params, params_from_iter};

use super::{Fault, rows};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::record::{Event, EventKind, Job, JobId};
use crate::store::{Listing, Order, Query, Scope};

/// The most rows that one call reads.
const MAX_ROWS: usize = 1000;

/// A limit as SQLite takes it: never more than [`MAX_ROWS`].
pub(super) fn at_most(limit: usize) -> i64 {
    limit.min(MAX_ROWS) as i64
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn list(connection: &Connection, query: &Query) -> Result<Listing, Fault> {
    if query.limit == 0 {
        return Err(Error::field("limit", "at least 1 is needed").into());
    }
    let (before, direction) = match query.order {
        Order::Newest => ("<", "DESC"),
        Order::Oldest => (">", "ASC"),
    };
    let filters = [
        ("project = ?", query.project.clone().map(Sql::Text)),
        ("state = ?", query.state.map(|state| Sql::Text(state.name().into()))),
        ("kind = ?", query.kind.clone().map(Sql::Text)),
    ];
    let mut clauses = Vec::new();
    let mut values = Vec::new();
    for (clause, value) in filters {
        if let Some(value) = value {
            clauses.push(clause.to_owned());
            values.push(value);
        }
    }
    if let Some(after) = query.after {
        clauses.push(format!("seq {before} ?"));
        values.push(Sql::Integer(number(after)));
    }
    if clauses.is_empty() {
        clauses.push("1".into());
    }
    // One more than asked for tells whether there is another page.
    let limit = at_most(query.limit);
    values.push(Sql::Integer(limit + 1));
    let sql = format!(
        "SELECT * FROM jobs WHERE {} ORDER BY seq {direction} LIMIT ?",
        clauses.join(" AND ")
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut jobs = statement
        .query_map(params_from_iter(values), rows::job)?
        .collect::<rusqlite::Result<Vec<Job>>>()?;
    let more = jobs.len() as i64 > limit;
    jobs.truncate(limit as usize);
    let next = if more { jobs.last().map(|job| job.seq) } else { None };
    Ok(Listing { jobs, next })
}

pub(super) fn expired(connection: &Connection, now: Timestamp, limit: usize) -> Result<Vec<Job>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT * FROM jobs WHERE expires_at IS NOT NULL AND purged_at IS NULL AND expires_at <= ?1
         ORDER BY expires_at, seq LIMIT ?2",
    )?;
    let found = statement.query_map(params![now.as_ms(), at_most(limit)], rows::job)?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn overdue(connection: &Connection, now: Timestamp, limit: usize) -> Result<Vec<JobId>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT id FROM jobs WHERE state = 'running' AND lease_until <= ?1 ORDER BY lease_until, seq LIMIT ?2",
    )?;
    let found = statement.query_map(params![now.as_ms(), at_most(limit)], |row| row.get(0).map(JobId))?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn events(connection: &Connection, scope: &Scope, after: u64, limit: usize) -> Result<Vec<Event>, Fault> {
    let (clause, value) = match scope {
        Scope::Job(id) => ("job = ?1", &*id.0),
        Scope::Project(project) => ("project = ?1", &**project),
        Scope::All => ("?1 = ''", ""),
    };
    let sql = format!("SELECT * FROM events WHERE {clause} AND seq > ?2 ORDER BY seq LIMIT ?3");
    let mut statement = connection.prepare_cached(&sql)?;
    let found = statement.query_map(params![value, number(after), at_most(limit)], |row| {
        let name: String = row.get("kind")?;
        Ok(Event {
            seq: row.get("seq")?,
            job: JobId(row.get("job")?),
            project: row.get("project")?,
            at: Timestamp(row.get("at")?),
            kind: EventKind::named(&name)
                .ok_or_else(|| rows::damaged(row, "kind", format!("kind of event {name:?}")))?,
            data: rows::json(row, "data")?,
        })
    })?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}
