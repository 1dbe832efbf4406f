//! PostgreSQL is a store: the conformance suite on it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod conformance;
mod support;

use std::sync::Arc;

use conformance::{Bench, conformance};
use kinora_jobs::{ManualClock, Timestamp, open_store};
use support::postgres::{Server, database};

fn open() -> Option<(Bench, Option<Arc<Server>>)> {
    let (url, server) = database()?;
    let clock = Arc::new(ManualClock::at(Timestamp(1_790_000_000_000)));
    let store = open_store(&url, clock.clone()).unwrap();
    Some((Bench { store, clock }, server))
}

conformance!(open);
