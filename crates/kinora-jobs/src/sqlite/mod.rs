//! Jobs in one SQLite file: `docs/adr/0010-jobs-on-sqlite.md` says why.
//!
//! One connection writes, in transactions that begin by taking the write lock, each on the disk before it is acknowledged
//! (`synchronous = FULL`). Others read beside it, each from one moment of the past (WAL). Other processes may open the same
//! file on the same machine; a network disk is not supported.

mod schema;
mod tx;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use self::tx::SqliteTx;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::sql::{Database, Fault};

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

/// The error of this crate, for a caller that was `doing` something.
fn named(fault: Fault, path: &Path, doing: &'static str) -> Error {
    let path = path.to_owned();
    let error = match fault {
        Fault::Typed(error) => return error,
        Fault::Damaged(detail) => return Error::Corrupt { path, detail },
        Fault::Postgres(error) => return Error::storage(doing, error),
        Fault::Sqlite(error) => error,
    };
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Error::Busy,
        Some(ErrorCode::DiskFull) => Error::DiskFull,
        Some(ErrorCode::ReadOnly) => Error::ReadOnly { path },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Error::Corrupt {
            path,
            detail: error.to_string(),
        },
        _ => Error::storage(doing, error),
    }
}

impl SqliteStore {
    /// Opens the file at `path`, or creates it; a file of an older version is brought to this one.
    ///
    /// **Errors**: `Corrupt` (damaged, or no database), `Foreign` (of another program), `Newer` (of a newer Kinora): such a
    /// file is left as it is. `Busy`, `ReadOnly`, `DiskFull`, `Storage`.
    pub fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Self> {
        let writer = schema::open(path).map_err(|fault| named(fault, path, "open"))?;
        Ok(Self {
            path: path.to_owned(),
            clock,
            writer: Mutex::new(writer),
            readers: Mutex::new(Vec::new()),
        })
    }
}

impl Database for SqliteStore {
    type Tx<'a> = SqliteTx<'a>;

    fn write<T>(&self, doing: &'static str, mut work: impl FnMut(&mut SqliteTx<'_>) -> Result<T, Fault>) -> Result<T> {
        let mut run = || {
            // A poisoned lock is a panic in another thread, whose transaction was rolled back on the way.
            let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
            let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
            // Only now: waiting for the lock may have taken a while.
            let done = work(&mut SqliteTx::new(&transaction, self.clock.now()))?;
            transaction.commit()?;
            Ok(done)
        };
        run().map_err(|fault| named(fault, &self.path, doing))
    }

    fn read<T>(&self, doing: &'static str, mut work: impl FnMut(&mut SqliteTx<'_>) -> Result<T, Fault>) -> Result<T> {
        let mut run = || {
            let idle = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut reader = match idle {
                Some(reader) => reader,
                None => schema::open_reader(&self.path)?,
            };
            let transaction = reader.transaction()?;
            let done = work(&mut SqliteTx::new(&transaction, self.clock.now()))?;
            transaction.commit()?;
            let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
            if readers.len() < READERS {
                readers.push(reader);
            }
            Ok(done)
        };
        run().map_err(|fault| named(fault, &self.path, doing))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clock::SystemClock;
    use crate::record::Submission;
    use crate::sql::Tx;
    use crate::store::Store;

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
                store.write::<()>("test", |tx| {
                    tx.execute(
                        "INSERT INTO keys (key, used, queued, running) VALUES ('k', 0.0, 1, 0)",
                        &[],
                    )?;
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
