//! Jobs in one SQLite file: `docs/adr/0010-jobs-on-sqlite.md` says why.
//!
//! One connection writes, in transactions that begin by taking the write lock, each on the disk before it is acknowledged
//! (`synchronous = FULL`). Others read beside it, each from one moment of the past (WAL). Other processes may open the same
//! file on the same machine; a network disk is not supported.

mod changes;
mod outbox;
mod reads;
mod rows;
mod schema;
mod shares;
mod submit;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use serde_json::Value;

use crate::clock::{Clock, Timestamp};
use crate::error::{Error, Result};
use crate::machine::Retry;
use crate::record::{Allowance, Event, Failure, Job, JobId, Report, Submission, Ticket, check_name};
use crate::store::{Claim, Delivery, Directive, Listing, Load, OutboxEntry, Query, Scope, Store, Submitted};

/// How many idle connections for reading are kept.
const READERS: usize = 8;

/// Jobs in an SQLite file.
pub struct SqliteStore {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// What goes wrong inside of a transaction.
#[derive(Debug)]
enum Fault {
    /// An error that the caller gets as it is.
    Typed(Error),
    /// What SQLite says.
    Sql(rusqlite::Error),
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
        Self::Sql(error)
    }
}

impl Fault {
    /// The error of this crate, for a caller that was `doing` something.
    fn named(self, path: &Path, doing: &'static str) -> Error {
        let path = path.to_owned();
        let error = match self {
            Self::Typed(error) => return error,
            Self::Damaged(detail) => return Error::Corrupt { path, detail },
            Self::Sql(error) => error,
        };
        let detail = error.to_string();
        if matches!(
            error,
            rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
        ) {
            return Error::Corrupt { path, detail };
        }
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Error::Busy,
            Some(ErrorCode::DiskFull) => Error::DiskFull,
            Some(ErrorCode::ReadOnly) => Error::ReadOnly { path },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Error::Corrupt { path, detail },
            _ => Error::Storage { doing, detail },
        }
    }
}

impl SqliteStore {
    /// Opens the file at `path`, or creates it; a file of an older version is brought to this one.
    ///
    /// **Errors**: `Corrupt` (damaged, or no database), `Foreign` (of another program), `Newer` (of a newer Kinora): such a
    /// file is left as it is. `Busy`, `ReadOnly`, `DiskFull`, `Storage`.
    pub fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Self> {
        let writer = schema::open(path).map_err(|fault| fault.named(path, "open"))?;
        Ok(Self {
            path: path.to_owned(),
            clock,
            writer: Mutex::new(writer),
            readers: Mutex::new(Vec::new()),
        })
    }

    /// One transaction that writes.
    fn write<T>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Connection, Timestamp) -> Result<T, Fault>,
    ) -> Result<T> {
        let run = || {
            // A poisoned lock is a panic in another thread, whose transaction was rolled back on the way.
            let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
            let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
            // Only now: waiting for the lock may have taken a while.
            let done = work(&transaction, self.clock.now())?;
            transaction.commit()?;
            Ok(done)
        };
        run().map_err(|fault: Fault| fault.named(&self.path, doing))
    }

    /// One transaction that reads.
    fn read<T>(&self, doing: &'static str, work: impl FnOnce(&Connection, Timestamp) -> Result<T, Fault>) -> Result<T> {
        let run = || {
            let idle = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut reader = match idle {
                Some(reader) => reader,
                None => schema::open_reader(&self.path)?,
            };
            let transaction = reader.transaction()?;
            let done = work(&transaction, self.clock.now())?;
            transaction.commit()?;
            let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
            if readers.len() < READERS {
                readers.push(reader);
            }
            Ok(done)
        };
        run().map_err(|fault: Fault| fault.named(&self.path, doing))
    }
}

impl Store for SqliteStore {
    fn submit(&self, submission: &Submission) -> Result<Submitted> {
        submission.validate()?;
        self.write("submit", |tx, now| submit::submit(tx, now, submission))
    }

    fn get(&self, id: &JobId) -> Result<Job> {
        self.read("get", |tx, _| rows::find(tx, id))
    }

    fn list(&self, query: &Query) -> Result<Listing> {
        self.read("list", |tx, _| reads::list(tx, query))
    }

    fn claim(&self, claim: &Claim) -> Result<Option<Job>> {
        check_name("worker", &claim.worker)?;
        self.write("claim", |tx, now| {
            let Some(job) = shares::next(tx, now, &claim.kinds)? else {
                return Ok(None);
            };
            shares::charge(tx, &job)?;
            changes::claim(tx, now, job, &claim.worker, claim.lease).map(Some)
        })
    }

    fn heartbeat(&self, ticket: &Ticket, report: Option<&Report>, lease: Duration) -> Result<Directive> {
        self.write("heartbeat", |tx, now| {
            changes::heartbeat(tx, now, ticket, report, lease)
        })
    }

    fn checkpoint(&self, ticket: &Ticket, reference: &str, step: u64, lease: Duration) -> Result<Directive> {
        self.write("checkpoint", |tx, now| {
            changes::checkpoint(tx, now, ticket, reference, step, lease)
        })
    }

    fn succeed(&self, ticket: &Ticket, result: &Value) -> Result<Job> {
        self.write("succeed", |tx, now| changes::succeed(tx, now, ticket, result))
    }

    fn fail(&self, ticket: &Ticket, failure: &Failure, retry: Retry) -> Result<Job> {
        self.write("fail", |tx, now| changes::fail(tx, now, ticket, failure, retry))
    }

    fn stop(&self, ticket: &Ticket) -> Result<Job> {
        self.write("stop", |tx, now| changes::stop(tx, now, ticket))
    }

    fn release(&self, ticket: &Ticket) -> Result<Job> {
        self.write("release", |tx, now| changes::release(tx, now, ticket))
    }

    fn cancel(&self, id: &JobId) -> Result<Job> {
        self.write("cancel", |tx, now| changes::cancel(tx, now, id))
    }

    fn retry(&self, id: &JobId) -> Result<Job> {
        self.write("retry", |tx, now| changes::retry(tx, now, id))
    }

    fn reap(&self, limit: usize) -> Result<Vec<JobId>> {
        // Nearly always there is nothing to do, and looking needs no write lock.
        let overdue = self.read("reap", |tx, now| reads::overdue(tx, now, limit))?;
        if overdue.is_empty() {
            return Ok(overdue);
        }
        self.write("reap", |tx, now| {
            let overdue = reads::overdue(tx, now, limit)?;
            for id in &overdue {
                changes::expire(tx, now, id)?;
            }
            Ok(overdue)
        })
    }

    fn expired(&self, limit: usize) -> Result<Vec<Job>> {
        self.read("list expired jobs", |tx, now| reads::expired(tx, now, limit))
    }

    fn purge(&self, id: &JobId) -> Result<Job> {
        self.write("purge", |tx, now| changes::purge(tx, now, id))
    }

    fn delete(&self, id: &JobId) -> Result<()> {
        self.write("delete", |tx, _| changes::delete(tx, id))
    }

    fn events(&self, scope: &Scope, after: u64, limit: usize) -> Result<Vec<Event>> {
        self.read("read events", |tx, _| reads::events(tx, scope, after, limit))
    }

    fn set_allowance(&self, key: &str, allowance: &Allowance) -> Result<()> {
        check_name("key", key)?;
        allowance.validate()?;
        self.write("set an allowance", |tx, _| shares::set_allowance(tx, key, allowance))
    }

    fn allowance(&self, key: &str) -> Result<Allowance> {
        self.read("read an allowance", |tx, _| shares::allowance(tx, key))
    }

    fn load(&self) -> Result<Vec<Load>> {
        self.read("count", |tx, _| shares::load(tx))
    }

    fn take_deliveries(&self, limit: usize, lease: Duration) -> Result<Vec<Delivery>> {
        self.write("take deliveries", |tx, now| outbox::take(tx, now, limit, lease))
    }

    fn delivered(&self, delivery: u64, attempt: u32) -> Result<()> {
        self.write("note a delivery", |tx, _| outbox::delivered(tx, delivery, attempt))
    }

    fn undelivered(&self, delivery: u64, attempt: u32, error: &str, next_at: Option<Timestamp>) -> Result<()> {
        self.write("note a delivery", |tx, _| {
            outbox::undelivered(tx, delivery, attempt, error, next_at)
        })
    }

    fn replay(&self, delivery: u64) -> Result<()> {
        self.write("replay a delivery", |tx, now| outbox::replay(tx, now, delivery))
    }

    fn outbox(&self, id: &JobId) -> Result<Vec<OutboxEntry>> {
        self.read("read the outbox", |tx, _| outbox::of_job(tx, id))
    }

    fn prune_outbox(&self, before: Timestamp) -> Result<u64> {
        self.write("prune the outbox", |tx, _| outbox::prune(tx, before))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clock::SystemClock;

    fn store() -> (SqliteStore, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("jobs.db"), Arc::new(SystemClock::new())).unwrap();
        (store, folder)
    }

    fn submission() -> Submission {
        Submission::new("p", "k", "video", json!("x".repeat(3000)))
    }

    #[test]
    fn commits_are_on_the_disk_before_they_are_acknowledged() {
        let (store, _folder) = store();
        let writer = store.writer.lock().unwrap();
        let number = |what: &str| writer.query_row(what, [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(
            (number("PRAGMA synchronous"), number("PRAGMA fullfsync")),
            (2, 1),
            "FULL"
        );
        let mode: String = writer.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
        assert_eq!(mode, "wal");
    }

    #[test]
    fn a_full_disk_loses_nothing_and_goes_on_when_there_is_space() {
        let (store, _folder) = store();
        let limit = |pages: i64| {
            store
                .writer
                .lock()
                .unwrap()
                .pragma_update(None, "max_page_count", pages)
                .unwrap()
        };
        limit(60);
        let mut accepted = Vec::new();
        let error = loop {
            match store.submit(&submission()) {
                Ok(submitted) => accepted.push(submitted.job),
                Err(error) => break error,
            }
        };
        assert_eq!((error.clone(), error.is_transient()), (Error::DiskFull, true));
        assert!(!accepted.is_empty());
        assert_eq!(
            store.load().unwrap()[0].queued,
            accepted.len() as u64,
            "nothing of the last one has happened"
        );
        for job in &accepted {
            assert_eq!(store.get(&job.id).unwrap(), *job);
        }
        limit(10_000);
        assert!(store.submit(&submission()).unwrap().created);
    }

    #[test]
    fn a_file_that_may_not_be_written_is_an_error_of_its_own() {
        let (store, folder) = store();
        store
            .writer
            .lock()
            .unwrap()
            .execute_batch("PRAGMA query_only = ON")
            .unwrap();
        let path = folder.path().join("jobs.db");
        assert_eq!(store.submit(&submission()), Err(Error::ReadOnly { path }));
    }

    #[test]
    fn a_panic_in_a_transaction_undoes_it_and_the_store_goes_on() {
        let (store, _folder) = store();
        let panicked = std::thread::scope(|scope| {
            let call = || {
                store.write::<()>("test", |tx, now| {
                    submit::submit(tx, now, &submission())?;
                    panic!("in the middle")
                })
            };
            scope.spawn(call).join()
        });
        assert!(panicked.is_err());
        assert_eq!(store.load().unwrap(), []);
        assert!(store.submit(&submission()).unwrap().created);
    }
}
