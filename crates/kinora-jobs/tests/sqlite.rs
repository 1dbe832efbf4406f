//! SQLite is a store: the conformance suite on it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod conformance;
mod support;

use std::sync::Arc;

use conformance::{Bench, conformance};
use kinora_jobs::{ManualClock, SqliteStore, Timestamp};

fn open() -> (Bench, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(Timestamp(1_790_000_000_000)));
    let store = SqliteStore::open(&folder.path().join("jobs.db"), clock.clone()).unwrap();
    let store = Arc::new(store);
    (Bench { store, clock }, folder)
}

conformance!(open);
