//! What a store of jobs can do. SQLite is one ([`SqliteStore`](crate::SqliteStore)); `tests/conformance/` says what each must do.

use std::time::Duration;

use serde_json::Value;

use crate::clock::Timestamp;
use crate::error::Result;
use crate::machine::{Retry, State};
use crate::record::{Allowance, Event, Failure, Job, JobId, Report, Submission, Ticket};

/// A submission that was accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct Submitted {
    /// The job.
    pub job: Job,
    /// False if the idempotency key named one that was there already.
    pub created: bool,
}

/// Who wants a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Name of the worker, for people.
    pub worker: String,
    /// Which kinds it can do; none named means all.
    pub kinds: Vec<String>,
    /// How long it may be silent.
    pub lease: Duration,
}

/// What a worker hears when it gives a sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Directive {
    /// Go on.
    Continue,
    /// Stop at the next step, and say so with [`Store::stop`].
    Cancel,
}

/// The order of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Newest first.
    #[default]
    Newest,
    /// Oldest first.
    Oldest,
}

/// Which jobs to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Of this project only.
    pub project: Option<String>,
    /// In this state only.
    pub state: Option<State>,
    /// Of this kind only.
    pub kind: Option<String>,
    /// In which order.
    pub order: Order,
    /// Behind the job with this [`Job::seq`]. It stays valid when that job is deleted.
    pub after: Option<u64>,
    /// At most so many. At least 1.
    pub limit: usize,
}

impl Default for Query {
    fn default() -> Self {
        Self {
            project: None,
            state: None,
            kind: None,
            order: Order::Newest,
            after: None,
            limit: 100,
        }
    }
}

/// A page of jobs.
#[derive(Debug, Clone, PartialEq)]
pub struct Listing {
    /// The jobs.
    pub jobs: Vec<Job>,
    /// What to put into [`Query::after`] for the next page; `None` on the last one.
    pub next: Option<u64>,
}

/// Whose events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Of one job.
    Job(JobId),
    /// Of all jobs of a project.
    Project(String),
    /// Of all.
    All,
}

/// A webhook that is to be sent now.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Its name, the same in every attempt: receivers tell repeats by it.
    pub id: u64,
    /// The job that it is about.
    pub job: JobId,
    /// To whom.
    pub endpoint: String,
    /// What to say.
    pub payload: Value,
    /// Which attempt this is, from 1; it proves that the attempt is ours.
    pub attempt: u32,
    /// When the news is from.
    pub created_at: Timestamp,
}

/// What became of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryState {
    /// To be sent, now or later.
    Pending,
    /// Sent.
    Delivered,
    /// Given up.
    Dead,
}

/// A webhook in the outbox.
#[derive(Debug, Clone, PartialEq)]
pub struct OutboxEntry {
    /// As in the delivery.
    pub delivery: Delivery,
    /// What became of it.
    pub state: DeliveryState,
    /// When it is sent next, if it is pending.
    pub next_at: Timestamp,
    /// What the last attempt met.
    pub last_error: Option<String>,
}

/// How many jobs of a key are where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// The key.
    pub key: String,
    /// How many wait.
    pub queued: u64,
    /// How many run.
    pub running: u64,
}

/// Where jobs are kept. Every call is one transaction: when it has returned, its effect survives the death of the process and
/// of the machine; when it has failed, nothing of it has happened.
///
/// **Errors**: what each call names, and of each: [`Error::Busy`](crate::Error::Busy), `DiskFull`, `ReadOnly`, `Corrupt`, `Storage`.
pub trait Store: Send + Sync {
    /// Takes a job in. The same idempotency key in the same project is the same job, if kind and request are.
    ///
    /// **Errors**: `Field`, `IdTaken`, `IdempotencyConflict`, `QueueFull`, `Priority`.
    fn submit(&self, submission: &Submission) -> Result<Submitted>;

    /// A job. **Errors**: `NotFound`.
    fn get(&self, id: &JobId) -> Result<Job>;

    /// A page of jobs. **Errors**: `Field`.
    fn list(&self, query: &Query) -> Result<Listing>;

    /// Gives the next job to a worker: highest priority first; among equals, the key that has had least of its share; then the
    /// oldest. Keys that run as many as they may are passed over. The job's [`Job::ticket`] is what the worker holds it by.
    fn claim(&self, claim: &Claim) -> Result<Option<Job>>;

    /// A sign of life: the lease is `lease` long from now. **Errors**: `Illegal`, `NotFound`.
    fn heartbeat(&self, ticket: &Ticket, report: Option<&Report>, lease: Duration) -> Result<Directive>;

    /// Remembers that the job can go on from `reference`; a sign of life too. **Errors**: `Illegal`, `NotFound`.
    fn checkpoint(&self, ticket: &Ticket, reference: &str, step: u64, lease: Duration) -> Result<Directive>;

    /// The job is done. **Errors**: `Illegal`, `NotFound`, `Field`.
    fn succeed(&self, ticket: &Ticket, result: &Value) -> Result<Job>;

    /// The attempt failed. The job is failed, or queued again (cancelled, if that was asked for). **Errors**: `Illegal`, `NotFound`.
    fn fail(&self, ticket: &Ticket, failure: &Failure, retry: Retry) -> Result<Job>;

    /// The worker has stopped because it was told to. **Errors**: `Illegal`, `NotFound`.
    fn stop(&self, ticket: &Ticket) -> Result<Job>;

    /// The worker gives the job back; the attempt does not count. **Errors**: `Illegal`, `NotFound`.
    fn release(&self, ticket: &Ticket) -> Result<Job>;

    /// Asks for the end of a job: at once if it waits, at the worker's next sign of life if it runs. Asking twice is asking once.
    ///
    /// **Errors**: `Illegal` (it has ended otherwise), `NotFound`.
    fn cancel(&self, id: &JobId) -> Result<Job>;

    /// Queues a failed or cancelled job again, with its checkpoint. **Errors**: `Illegal`, `NotFound`, `QueueFull`.
    fn retry(&self, id: &JobId) -> Result<Job>;

    /// Takes at most `limit` jobs away from workers whose lease has ended. Says which.
    fn reap(&self, limit: usize) -> Result<Vec<JobId>>;

    /// At most `limit` ended jobs whose time is up and whose result has not been purged, oldest first.
    fn expired(&self, limit: usize) -> Result<Vec<Job>>;

    /// Forgets result and checkpoint of an ended job, after their files were deleted. **Errors**: `NotEnded`, `NotFound`.
    fn purge(&self, id: &JobId) -> Result<Job>;

    /// Forgets an ended job and its events; its pending webhooks are still sent. **Errors**: `NotEnded`, `NotFound`.
    fn delete(&self, id: &JobId) -> Result<()>;

    /// At most `limit` events after the one numbered `after` (0: from the beginning), in order.
    fn events(&self, scope: &Scope, after: u64, limit: usize) -> Result<Vec<Event>>;

    /// The number of the newest event, 0 if there is none: where somebody begins who wants only what is new.
    fn last_event(&self, scope: &Scope) -> Result<u64>;

    /// How many jobs wait that would be taken before this one if each were of the same key; `None` if it does not wait.
    ///
    /// **Errors**: `NotFound`.
    fn queue_position(&self, id: &JobId) -> Result<Option<u64>>;

    /// Says what a key may do. **Errors**: `Field`.
    fn set_allowance(&self, key: &str, allowance: &Allowance) -> Result<()>;

    /// What a key may do.
    fn allowance(&self, key: &str) -> Result<Allowance>;

    /// How many jobs wait and run, for each key that has any.
    fn load(&self) -> Result<Vec<Load>>;

    /// How many waiting jobs of these kinds (none named means all) have their time come, counted up to `limit`. Whether their
    /// keys may run another is for [`Store::claim`] to say, so this is a hint for those who wake workers.
    fn ready(&self, kinds: &[String], limit: usize) -> Result<usize>;

    /// At most `limit` webhooks that are to be sent now. They are ours for `lease`; if we say nothing, they are due again.
    fn take_deliveries(&self, limit: usize, lease: Duration) -> Result<Vec<Delivery>>;

    /// The webhook was received. **Errors**: `DeliveryLost`.
    fn delivered(&self, delivery: u64, attempt: u32) -> Result<()>;

    /// It was not. `None` gives it up. **Errors**: `DeliveryLost`.
    fn undelivered(&self, delivery: u64, attempt: u32, error: &str, next_at: Option<Timestamp>) -> Result<()>;

    /// Sends it again, whatever became of it. **Errors**: `DeliveryLost` (there is none with this name).
    fn replay(&self, delivery: u64) -> Result<()>;

    /// The webhooks about a job, in order.
    fn outbox(&self, id: &JobId) -> Result<Vec<OutboxEntry>>;

    /// Forgets webhooks that were delivered or given up and are from before `before`. Says how many.
    fn prune_outbox(&self, before: Timestamp) -> Result<u64>;
}
