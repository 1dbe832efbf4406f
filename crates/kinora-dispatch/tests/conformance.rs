//! The conformance suite of stores, with every call of a worker going over NATS.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../kinora-jobs/tests/conformance/mod.rs"]
mod conformance;
#[path = "support/mod.rs"]
mod nats;
#[path = "../../kinora-jobs/tests/support/random.rs"]
mod support;

use std::sync::Arc;
use std::time::Duration;

use conformance::{Bench, conformance};
use kinora_dispatch::{Dispatch, DispatchOptions, RemoteStore};
use kinora_jobs::{
    Allowance, Claim, Delivery, Directive, Event, Failure, Job, JobId, Listing, Load, ManualClock, OutboxEntry, Query,
    Report, Result, Retry, Scope, SqliteStore, Store, Submission, Submitted, Ticket, Timestamp,
};
use serde_json::Value;

/// One store for what workers may do, another for the rest.
struct Mixed {
    worker: Arc<dyn Store>,
    server: Arc<dyn Store>,
    /// The dispatch reaps by itself; a check that counts what is reaped wants to do so alone.
    reaps: bool,
}

impl Store for Mixed {
    fn claim(&self, claim: &Claim) -> Result<Option<Job>> {
        self.worker.claim(claim)
    }
    fn heartbeat(&self, ticket: &Ticket, report: Option<&Report>, lease: Duration) -> Result<Directive> {
        self.worker.heartbeat(ticket, report, lease)
    }
    fn checkpoint(&self, ticket: &Ticket, reference: &str, step: u64, lease: Duration) -> Result<Directive> {
        self.worker.checkpoint(ticket, reference, step, lease)
    }
    fn succeed(&self, ticket: &Ticket, result: &Value) -> Result<Job> {
        self.worker.succeed(ticket, result)
    }
    fn fail(&self, ticket: &Ticket, failure: &Failure, retry: Retry) -> Result<Job> {
        self.worker.fail(ticket, failure, retry)
    }
    fn stop(&self, ticket: &Ticket) -> Result<Job> {
        self.worker.stop(ticket)
    }
    fn release(&self, ticket: &Ticket) -> Result<Job> {
        self.worker.release(ticket)
    }
    fn reap(&self, limit: usize) -> Result<Vec<JobId>> {
        if self.reaps {
            self.server.reap(limit)
        } else {
            Ok(Vec::new())
        }
    }
    fn submit(&self, submission: &Submission) -> Result<Submitted> {
        self.server.submit(submission)
    }
    fn get(&self, id: &JobId) -> Result<Job> {
        self.server.get(id)
    }
    fn list(&self, query: &Query) -> Result<Listing> {
        self.server.list(query)
    }
    fn cancel(&self, id: &JobId) -> Result<Job> {
        self.server.cancel(id)
    }
    fn retry(&self, id: &JobId) -> Result<Job> {
        self.server.retry(id)
    }
    fn expired(&self, limit: usize) -> Result<Vec<Job>> {
        self.server.expired(limit)
    }
    fn purge(&self, id: &JobId) -> Result<Job> {
        self.server.purge(id)
    }
    fn delete(&self, id: &JobId) -> Result<()> {
        self.server.delete(id)
    }
    fn events(&self, scope: &Scope, after: u64, limit: usize) -> Result<Vec<Event>> {
        self.server.events(scope, after, limit)
    }
    fn set_allowance(&self, key: &str, allowance: &Allowance) -> Result<()> {
        self.server.set_allowance(key, allowance)
    }
    fn allowance(&self, key: &str) -> Result<Allowance> {
        self.server.allowance(key)
    }
    fn load(&self) -> Result<Vec<Load>> {
        self.server.load()
    }
    fn last_event(&self, scope: &Scope) -> Result<u64> {
        self.server.last_event(scope)
    }
    fn queue_position(&self, id: &JobId) -> Result<Option<u64>> {
        self.server.queue_position(id)
    }
    fn ready(&self, kinds: &[String], limit: usize) -> Result<usize> {
        self.server.ready(kinds, limit)
    }
    fn take_deliveries(&self, limit: usize, lease: Duration) -> Result<Vec<Delivery>> {
        self.server.take_deliveries(limit, lease)
    }
    fn delivered(&self, delivery: u64, attempt: u32) -> Result<()> {
        self.server.delivered(delivery, attempt)
    }
    fn undelivered(&self, delivery: u64, attempt: u32, error: &str, next_at: Option<Timestamp>) -> Result<()> {
        self.server.undelivered(delivery, attempt, error, next_at)
    }
    fn replay(&self, delivery: u64) -> Result<()> {
        self.server.replay(delivery)
    }
    fn outbox(&self, id: &JobId) -> Result<Vec<OutboxEntry>> {
        self.server.outbox(id)
    }
    fn prune_outbox(&self, before: Timestamp) -> Result<u64> {
        self.server.prune_outbox(before)
    }
}

type Guard = ((Dispatch, nats::Nats), tempfile::TempDir);

/// `None`: it was said that this is skipped.
fn open() -> Option<(Bench, Guard)> {
    let nats = nats::Nats::start()?;
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(Timestamp(1_790_000_000_000)));
    let sqlite: Arc<dyn Store> = Arc::new(SqliteStore::open(&folder.path().join("jobs.db"), clock.clone()).unwrap());
    let quiet = Mixed {
        worker: sqlite.clone(),
        server: sqlite.clone(),
        reaps: false,
    };
    let options = DispatchOptions {
        // The clock of these checks is not that of the dispatch: offers alone would come at the wrong time.
        offer_wait: Duration::from_millis(10),
        ask_after: Duration::ZERO,
        top_up: Duration::from_millis(10),
        ..nats.options()
    };
    let dispatch = Dispatch::start(options.clone(), Arc::new(quiet)).unwrap();
    let worker = Arc::new(RemoteStore::connect(&options).unwrap());
    let store = Arc::new(Mixed {
        worker,
        server: sqlite,
        reaps: true,
    });
    Some((Bench { store, clock }, ((dispatch, nats), folder)))
}

conformance!(open);
