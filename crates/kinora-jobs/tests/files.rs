//! Files that are not what they should be, and processes that share one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::sync::{Arc, Barrier};

use kinora_jobs::{Error, SqliteStore, Store, Submission, SystemClock};
use rusqlite::Connection;
use serde_json::json;

fn open(path: &Path) -> Result<SqliteStore, Error> {
    SqliteStore::open(path, Arc::new(SystemClock::new()))
}

fn submission() -> Submission {
    Submission::new("p", "k", "video", json!({ "prompt": "x".repeat(500) }))
}

/// What `open` says of the file, which must be as it was afterwards.
fn refused(path: &Path) -> Error {
    let before = fs::read(path).unwrap();
    let error = open(path).unwrap_err();
    assert!(fs::read(path).unwrap() == before, "a file that was refused was changed");
    assert!(error.to_string().contains("hint: "), "{error}");
    error
}

#[test]
fn the_bundled_sqlite_is_newer_than_the_race_in_its_log() {
    assert!(rusqlite::version_number() >= 3_051_003, "{}", rusqlite::version());
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    fs::write(
        &path,
        "not a database at all, but long enough to have a header of a hundred bytes.\n".repeat(40),
    )
    .unwrap();
    assert!(matches!(refused(&path), Error::Corrupt { path: named, .. } if named == path));
}

#[test]
fn a_database_of_another_program_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.db");
    Connection::open(&path)
        .unwrap()
        .execute_batch("CREATE TABLE bookmarks (url TEXT)")
        .unwrap();
    assert_eq!(refused(&path), Error::Foreign { path: path.clone() });
    let marked = folder.path().join("marked.db");
    Connection::open(&marked)
        .unwrap()
        .execute_batch("PRAGMA application_id = 7; PRAGMA user_version = 1")
        .unwrap();
    assert_eq!(refused(&marked), Error::Foreign { path: marked.clone() });
}

#[test]
fn a_file_of_version_1_is_brought_to_this_version() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    let id = open(&path).unwrap().submit(&submission()).unwrap().job.id;
    let file = Connection::open(&path).unwrap();
    file.execute_batch(
        "DROP INDEX jobs_waiting; DROP INDEX jobs_kinds; PRAGMA user_version = 1;
         CREATE INDEX jobs_waiting ON jobs (key, priority DESC, seq, run_at, kind) WHERE state = 'queued';",
    )
    .unwrap();
    assert_eq!(open(&path).unwrap().get(&id).unwrap().id, id);
    let now: i64 = file.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    let indexes: i64 = file
        .query_row(
            "SELECT count(*) FROM sqlite_schema WHERE name IN ('jobs_waiting', 'jobs_kinds')",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!((now, indexes), (2, 2));
}

#[test]
fn a_file_of_a_newer_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    open(&path).unwrap();
    Connection::open(&path)
        .unwrap()
        .execute_batch("PRAGMA user_version = 99")
        .unwrap();
    assert!(matches!(
        refused(&path),
        Error::Newer {
            found: 99,
            known: 2,
            ..
        }
    ));
}

#[test]
fn damage_is_an_error_wherever_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole.db");
    let store = open(&whole).unwrap();
    for _ in 0..200 {
        store.submit(&submission()).unwrap();
    }
    drop(store);
    Connection::open(&whole)
        .unwrap()
        .execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
        .unwrap();
    let bytes = fs::read(&whole).unwrap();
    let page = 4096;
    assert!(bytes.len() > 20 * page);
    let damaged = folder.path().join("damaged.db");
    let mut errors = 0;
    for at in (page..bytes.len()).step_by(page) {
        let mut copy = bytes.clone();
        copy[at..at + 64].fill(0xA5);
        fs::write(&damaged, copy).unwrap();
        match open(&damaged) {
            Err(Error::Corrupt { .. }) => errors += 1,
            Err(other) => panic!("page at {at}: {other:?}"),
            // The rest of a chain of overflow pages: the text is other, the structure is whole.
            Ok(store) => drop(store.list(&Default::default())),
        }
    }
    assert!(
        errors * 10 >= (bytes.len() / page - 1) * 9,
        "{errors} of {} pages",
        bytes.len() / page
    );
    for length in [50, 100, page / 2, page, 3 * page, bytes.len() - page] {
        fs::write(&damaged, &bytes[..length]).unwrap();
        assert!(matches!(open(&damaged), Err(Error::Corrupt { .. })), "cut at {length}");
    }
}

#[test]
fn a_value_that_we_cannot_have_written_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    let store = open(&path).unwrap();
    let id = store.submit(&submission()).unwrap().job.id;
    let other = Connection::open(&path).unwrap();
    for change in ["request = '{'", "attempts = -1", "webhooks = '7'"] {
        other.execute_batch(&format!("UPDATE jobs SET {change}")).unwrap();
        assert!(matches!(store.get(&id), Err(Error::Corrupt { .. })), "{change}");
    }
    // The table itself refuses a state without what belongs to it.
    assert!(other.execute_batch("UPDATE jobs SET state = 'running'").is_err());
    assert!(other.execute_batch("UPDATE jobs SET state = 'lost'").is_err());
}

#[test]
fn another_process_that_writes_is_waited_for_and_one_that_hangs_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    let store = open(&path).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let begun = std::time::Instant::now();
    assert_eq!(store.submit(&submission()), Err(Error::Busy));
    assert!(begun.elapsed().as_millis() >= 4000 && Error::Busy.is_transient());
    assert_eq!(store.list(&Default::default()).unwrap().jobs, [], "readers do not wait");
    other.execute_batch("ROLLBACK").unwrap();
    assert!(store.submit(&submission()).unwrap().created);
}

#[test]
fn a_new_file_is_made_once_however_many_open_it() {
    for _ in 0..10 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.db");
        let barrier = Barrier::new(6);
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    barrier.wait();
                    open(&path).unwrap().submit(&submission()).unwrap();
                });
            }
        });
        assert_eq!(open(&path).unwrap().list(&Default::default()).unwrap().jobs.len(), 6);
    }
}

#[test]
fn a_folder_and_a_missing_folder_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().to_owned(), folder.path().join("missing/jobs.db")] {
        assert!(
            matches!(open(&path), Err(Error::Storage { doing: "open", .. })),
            "{path:?}"
        );
    }
}
