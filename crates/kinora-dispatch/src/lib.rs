//! Jobs for workers on other machines, over NATS: [`Dispatch`] stands beside the server, [`RemoteStore`] is the store of a worker there.
//!
//! **The record of jobs stays where it is**: in the [`Store`](kinora_jobs::Store) of the server. Workers have no
//! credentials of it; they ask the record service by request and reply, and every claim, sign of life and end is a change of the
//! record under the token of the claim. NATS JetStream carries *offers*: "there is work on this lane". A worker waits for
//! an offer, and then claims; which job it gets, the store decides. So nothing that a broker may do to messages (lose,
//! double, delay, reorder, forget all of them) can lose a job or end it twice; it can only make a worker wait a moment
//! longer. `docs/adr/0013-nats-dispatch.md` says why it is so.
//!
//! **What a worker's user must be allowed** on NATS, with the default names and its own [`DispatchOptions::inbox_prefix`]:
//!
//! ```text
//! publish:   kinora.record.>                           questions to the record
//!            $JS.API.CONSUMER.MSG.NEXT.KINORA_JOBS.*   waiting for an offer
//!            $JS.ACK.KINORA_JOBS.>                     offers that were used
//! subscribe: <inbox_prefix>.>                          answers
//! ```
//!
//! The server's user: publish `kinora.offer.*`, the inboxes of workers, `$JS.API.STREAM.*.KINORA_JOBS` and `$JS.API.CONSUMER.>`;
//! subscribe `kinora.record.*` and its own inbox. `$SYS.REQ.SERVER.PING.VARZ` is asked too, and does without an answer.
//!
//! ```no_run
//! use std::sync::{Arc, atomic::AtomicBool};
//! use kinora_dispatch::{Dispatch, DispatchOptions, RemoteStore};
//! use kinora_jobs::{Job, Progress, Runner, SqliteStore, Stop, SystemClock, Worker, WorkerOptions};
//! use serde_json::{Value, json};
//!
//! struct Echo;
//! impl Runner for Echo {
//!     fn run(&self, job: &Job, _progress: &mut Progress<'_>) -> Result<Value, Stop> {
//!         Ok(job.request.clone())
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Beside the server:
//! let store = SqliteStore::open("jobs.db".as_ref(), Arc::new(SystemClock::new()))?;
//! let dispatch = Dispatch::start(DispatchOptions::default(), Arc::new(store))?;
//! if let Some(warning) = dispatch.durability().warning() {
//!     eprintln!("{warning}");
//! }
//!
//! // On another machine:
//! let remote = RemoteStore::connect(&DispatchOptions { url: "nats://server:4222".into(), ..DispatchOptions::default() })?;
//! let clock = SystemClock::new();
//! let worker = Worker { store: &remote, runner: &Echo, clock: &clock, options: WorkerOptions::default() };
//! worker.run(&AtomicBool::new(false))?;
//! # Ok(())
//! # }
//! ```

mod answers;
mod broker;
mod dispatch;
mod durability;
mod error;
mod faults;
mod lanes;
mod options;
mod remote;
mod service;
mod wire;

pub use dispatch::{Counts, Dispatch};
pub use durability::Durability;
pub use error::{Error, Result};
pub use options::DispatchOptions;
pub use remote::RemoteStore;
