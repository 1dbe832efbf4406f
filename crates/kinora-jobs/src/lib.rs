//! Durable jobs: one [record](Job), a [state machine](Life), a [`Store`] that is the queue too, and a [`Worker`] for it.
//! This crate knows no HTTP and no model.
//!
//! **What is promised.** A job that [`Store::submit`] has acknowledged is not lost. Its attempts may be many, its end is one: each
//! claim carries a fencing token, and only the newest may say how the job ended. Record, event log, counts of shares and outbox
//! of webhooks change in one transaction. On SQLite this holds through `kill -9` and a loss of power, unless the disk lies about
//! `fsync`.
//!
//! **How it is cut.** `machine` decides what may happen and is pure code; [`SqliteStore`] keeps what it decided; [`Runner`] is
//! what a job means. Time comes from a [`Clock`] that is passed in.
//!
//! ```
//! use std::sync::{Arc, atomic::AtomicBool};
//! use kinora_jobs::{Job, Progress, Runner, SqliteStore, State, Stop, Store, Submission, SystemClock, Worker, WorkerOptions};
//! use serde_json::{Value, json};
//!
//! struct Adder;
//! impl Runner for Adder {
//!     fn run(&self, job: &Job, progress: &mut Progress<'_>) -> Result<Value, Stop> {
//!         let numbers = job.request.as_array().cloned().unwrap_or_default();
//!         let mut sum = 0;
//!         for (index, number) in numbers.iter().enumerate() {
//!             sum += number.as_i64().unwrap_or(0);
//!             progress.report("add", index as u64 + 1, numbers.len() as u64)?;
//!         }
//!         Ok(json!(sum))
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! let clock = Arc::new(SystemClock::new());
//! let store = SqliteStore::open(&folder.path().join("jobs.db"), clock.clone())?;
//! let id = store.submit(&Submission::new("project", "key", "add", json!([1, 2, 3])))?.job.id;
//!
//! let worker = Worker { store: &store, runner: &Adder, clock: &*clock, options: WorkerOptions::default() };
//! worker.run_one(&AtomicBool::new(false))?;
//!
//! let job = store.get(&id)?;
//! assert_eq!((job.state(), job.result), (State::Succeeded, Some(json!(6))));
//! # Ok(())
//! # }
//! ```

mod clock;
mod error;
mod machine;
mod open;
mod postgres;
mod record;
mod runner;
mod sql;
mod sqlite;
mod store;

pub use clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use error::{Error, Result};
pub use machine::{Change, Command, Fence, Illegal, Lease, Life, Phase, Retry, State};
pub use open::open_store;
pub use postgres::PostgresStore;
pub use record::{
    Allowance, Checkpoint, Event, EventKind, Failure, Job, JobId, MAX_JSON_BYTES, MAX_NAME_BYTES, Report, Submission,
    Ticket,
};
pub use runner::{Progress, Runner, Stop, Worked, Worker, WorkerOptions};
pub use sqlite::SqliteStore;
pub use store::{
    Claim, Delivery, DeliveryState, Directive, Listing, Load, Order, OutboxEntry, Query, Scope, Store, Submitted,
};
