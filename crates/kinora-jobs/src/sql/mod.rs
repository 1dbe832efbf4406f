//! What the stores on SQLite and on PostgreSQL have in common: each call as statements that both understand.
//!
//! The statements are written for PostgreSQL, whose rows must be locked by those who change them. SQLite, where one writer has
//! the file for itself, leaves the words of locking away. What the two do differently is in the traits [`Tx`] (one transaction)
//! and [`Database`] (how there comes to be one).

mod changes;
mod claims;
mod outbox;
mod reads;
mod rows;
mod shares;
mod submit;
mod value;

use std::time::Duration;

pub(crate) use rows::{number, text};
use serde_json::Value as Json;
pub(crate) use value::{Columns, Value};

use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::machine::Retry;
use crate::record::{Allowance, Event, EventKind, Failure, Job, JobId, Report, Submission, Ticket, check_name};
use crate::store::{Claim, Delivery, Directive, Listing, Load, OutboxEntry, Query, Scope, Store, Submitted};

/// What goes wrong inside of a transaction.
#[derive(Debug)]
pub(crate) enum Fault {
    /// An error that the caller gets as it is.
    Typed(Error),
    /// What SQLite says.
    Sqlite(rusqlite::Error),
    /// What PostgreSQL says, or the way to it.
    Postgres(postgres::Error),
    /// A content that this program cannot have written.
    Damaged(String),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Typed(error)
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<postgres::Error> for Fault {
    fn from(error: postgres::Error) -> Self {
        Self::Postgres(error)
    }
}

/// A line for the log.
#[derive(Debug)]
pub(crate) struct NewEvent {
    pub(crate) job: String,
    pub(crate) project: String,
    pub(crate) at: Timestamp,
    pub(crate) kind: EventKind,
    pub(crate) data: String,
}

/// A transaction: all of it happens, or nothing.
pub(crate) trait Tx {
    /// When it happens.
    fn now(&self) -> Timestamp;

    /// Runs a statement that changes rows. Says how many.
    fn execute(&mut self, sql: &str, values: &[Value<'_>]) -> Result<u64, Fault>;

    /// Runs a statement that gives rows.
    fn query<T>(
        &mut self,
        sql: &str,
        values: &[Value<'_>],
        read: impl FnMut(&dyn Columns) -> Result<T, Fault>,
    ) -> Result<Vec<T>, Fault>;

    /// From here to the end, nobody else claims or takes jobs from dead workers.
    fn begin_claiming(&mut self) -> Result<(), Fault>;

    /// From here to the end, nobody else numbers jobs or events: whoever sees a number has seen all smaller ones. Others wait
    /// for it that hold what we might want, so nothing that they can hold is taken afterwards.
    fn begin_numbering(&mut self) -> Result<(), Fault>;

    /// Appends to the log.
    fn append(&mut self, event: NewEvent) -> Result<(), Fault>;

    /// A name for a job that nobody can guess.
    fn new_name(&mut self) -> Result<String, Fault>;
}

/// Where transactions come from.
pub(crate) trait Database: Send + Sync {
    /// Its transactions.
    type Tx<'a>: Tx;

    /// One transaction that changes something. `work` may run more than once; only the last time has an effect.
    fn write<T>(&self, doing: &'static str, work: impl FnMut(&mut Self::Tx<'_>) -> Result<T, Fault>) -> Result<T>;

    /// One transaction that reads, all from one moment.
    fn read<T>(&self, doing: &'static str, work: impl FnMut(&mut Self::Tx<'_>) -> Result<T, Fault>) -> Result<T>;
}

/// The most rows that one call reads.
const MAX_ROWS: usize = 1000;

/// A limit for a statement: never more than [`MAX_ROWS`].
fn at_most(limit: usize) -> i64 {
    limit.min(MAX_ROWS) as i64
}

impl<D: Database> Store for D {
    fn submit(&self, submission: &Submission) -> Result<Submitted> {
        submission.validate()?;
        self.write("submit", |tx| submit::submit(tx, submission))
    }

    fn get(&self, id: &JobId) -> Result<Job> {
        self.read("get", |tx| rows::find(tx, id))
    }

    fn list(&self, query: &Query) -> Result<Listing> {
        self.read("list", |tx| reads::list(tx, query))
    }

    fn claim(&self, claim: &Claim) -> Result<Option<Job>> {
        check_name("worker", &claim.worker)?;
        self.write("claim", |tx| {
            tx.begin_claiming()?;
            let Some(job) = claims::next(tx, &claim.kinds)? else {
                return Ok(None);
            };
            shares::charge(tx, &job)?;
            changes::claim(tx, job, &claim.worker, claim.lease).map(Some)
        })
    }

    fn heartbeat(&self, ticket: &Ticket, report: Option<&Report>, lease: Duration) -> Result<Directive> {
        self.write("heartbeat", |tx| changes::heartbeat(tx, ticket, report, lease))
    }

    fn checkpoint(&self, ticket: &Ticket, reference: &str, step: u64, lease: Duration) -> Result<Directive> {
        self.write("checkpoint", |tx| {
            changes::checkpoint(tx, ticket, reference, step, lease)
        })
    }

    fn succeed(&self, ticket: &Ticket, result: &Json) -> Result<Job> {
        self.write("succeed", |tx| changes::succeed(tx, ticket, result))
    }

    fn fail(&self, ticket: &Ticket, failure: &Failure, retry: Retry) -> Result<Job> {
        self.write("fail", |tx| changes::fail(tx, ticket, failure, retry))
    }

    fn stop(&self, ticket: &Ticket) -> Result<Job> {
        self.write("stop", |tx| changes::stop(tx, ticket))
    }

    fn release(&self, ticket: &Ticket) -> Result<Job> {
        self.write("release", |tx| changes::release(tx, ticket))
    }

    fn cancel(&self, id: &JobId) -> Result<Job> {
        self.write("cancel", |tx| changes::cancel(tx, id))
    }

    fn retry(&self, id: &JobId) -> Result<Job> {
        self.write("retry", |tx| changes::retry(tx, id))
    }

    fn reap(&self, limit: usize) -> Result<Vec<JobId>> {
        // Nearly always there is nothing to do, and looking locks nothing.
        let overdue = self.read("reap", |tx| reads::overdue(tx, limit))?;
        if overdue.is_empty() {
            return Ok(overdue);
        }
        self.write("reap", |tx| {
            // Only one at a time: two that hold jobs of the same keys in another order would wait for each other.
            tx.begin_claiming()?;
            let overdue = reads::hold_overdue(tx, limit)?;
            for id in &overdue {
                changes::expire(tx, id)?;
            }
            Ok(overdue)
        })
    }

    fn expired(&self, limit: usize) -> Result<Vec<Job>> {
        self.read("list expired jobs", |tx| reads::expired(tx, limit))
    }

    fn purge(&self, id: &JobId) -> Result<Job> {
        self.write("purge", |tx| changes::purge(tx, id))
    }

    fn delete(&self, id: &JobId) -> Result<()> {
        self.write("delete", |tx| changes::delete(tx, id))
    }

    fn events(&self, scope: &Scope, after: u64, limit: usize) -> Result<Vec<Event>> {
        self.read("read events", |tx| reads::events(tx, scope, after, limit))
    }

    fn last_event(&self, scope: &Scope) -> Result<u64> {
        self.read("read events", |tx| reads::last_event(tx, scope))
    }

    fn queue_position(&self, id: &JobId) -> Result<Option<u64>> {
        self.read("count", |tx| reads::queue_position(tx, id))
    }

    fn set_allowance(&self, key: &str, allowance: &Allowance) -> Result<()> {
        check_name("key", key)?;
        allowance.validate()?;
        self.write("set an allowance", |tx| shares::set_allowance(tx, key, allowance))
    }

    fn allowance(&self, key: &str) -> Result<Allowance> {
        self.read("read an allowance", |tx| shares::allowance(tx, key))
    }

    fn load(&self) -> Result<Vec<Load>> {
        self.read("count", |tx| shares::load(tx))
    }

    fn ready(&self, kinds: &[String], limit: usize) -> Result<usize> {
        self.read("count", |tx| claims::ready(tx, kinds, limit))
    }

    fn take_deliveries(&self, limit: usize, lease: Duration) -> Result<Vec<Delivery>> {
        self.write("take deliveries", |tx| outbox::take(tx, limit, lease))
    }

    fn delivered(&self, delivery: u64, attempt: u32) -> Result<()> {
        self.write("note a delivery", |tx| outbox::delivered(tx, delivery, attempt))
    }

    fn undelivered(&self, delivery: u64, attempt: u32, error: &str, next_at: Option<Timestamp>) -> Result<()> {
        self.write("note a delivery", |tx| {
            outbox::undelivered(tx, delivery, attempt, error, next_at)
        })
    }

    fn replay(&self, delivery: u64) -> Result<()> {
        self.write("replay a delivery", |tx| outbox::replay(tx, delivery))
    }

    fn outbox(&self, id: &JobId) -> Result<Vec<OutboxEntry>> {
        self.read("read the outbox", |tx| outbox::of_job(tx, id))
    }

    fn prune_outbox(&self, before: Timestamp) -> Result<u64> {
        self.write("prune the outbox", |tx| outbox::prune(tx, before))
    }
}
