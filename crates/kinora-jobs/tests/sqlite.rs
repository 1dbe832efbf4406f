//! SQLite is a store: the conformance suite on it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod conformance;
mod support;

use std::sync::Arc;

use conformance::{Bench, conformance};
use kinora_jobs::{ManualClock, Timestamp, open_store};

fn open() -> Option<(Bench, tempfile::TempDir)> {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(Timestamp(1_790_000_000_000)));
    let path = folder.path().join("jobs.db");
    let store = open_store(&format!("sqlite:{}", path.display()), clock.clone()).unwrap();
    Some((Bench { store, clock }, folder))
}

conformance!(open);
