//! What every [`Store`] must do. `tests/sqlite.rs` and `tests/postgres.rs` run it with the macro at the end.
//!
//! Each check gets a fresh, empty store and the clock that it was given.

pub mod life;
pub mod lists;
pub mod queue;
pub mod random;

use std::sync::Arc;
use std::time::Duration;

use kinora_jobs::{Claim, Directive, Error, Illegal, Job, ManualClock, Store, Submission, Ticket};
use serde_json::json;

/// An empty store and its clock.
pub struct Bench {
    pub store: Arc<dyn Store>,
    pub clock: Arc<ManualClock>,
}

pub const LEASE: Duration = Duration::from_secs(10);

impl Bench {
    pub fn submit(&self, key: &str) -> Job {
        self.submit_with(key, |_| {})
    }

    pub fn submit_with(&self, key: &str, change: impl FnOnce(&mut Submission)) -> Job {
        let mut submission = Submission::new("project", key, "video", json!({ "prompt": "a red car" }));
        change(&mut submission);
        let submitted = self.store.submit(&submission).unwrap();
        assert!(submitted.created);
        submitted.job
    }

    pub fn claim(&self) -> Option<Job> {
        self.claim_kinds(&[])
    }

    pub fn claim_kinds(&self, kinds: &[&str]) -> Option<Job> {
        let claim = Claim {
            worker: "w".into(),
            kinds: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
            lease: LEASE,
        };
        self.store.claim(&claim).unwrap()
    }

    pub fn wait(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    pub fn beat(&self, ticket: &Ticket) -> Result<Directive, Error> {
        self.store.heartbeat(ticket, None, LEASE)
    }
}

/// Why the machine refused.
pub fn illegal<T: std::fmt::Debug>(answer: Result<T, Error>) -> Illegal {
    match answer {
        Err(Error::Illegal { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

/// Makes a test of every check, on what `$open` opens: `fn() -> Option<(Bench, guard)>`, where `None` has said why.
macro_rules! conformance {
    ($open:expr) => {
        conformance!($open; life: submitted_is_stored, life: leases_end_and_tokens_fence, life: attempts_are_limited,
            life: cancelling, life: failing_and_trying_again, life: releasing, life: checkpoints,
            life: progress_is_seen, life: impossible_values_change_nothing,
            queue: idempotency_keys, queue: one_idempotency_key_from_many_threads, queue: names_that_are_taken,
            queue: order_of_claims, queue: kinds_of_workers, queue: jobs_that_are_ready_are_counted,
            queue: shares_follow_weights, queue: idle_keys_save_nothing_up,
            queue: the_first_job_is_found_among_many_keys, queue: quotas, queue: many_threads_claim_each_job_once,
            lists: pages, lists: events_are_a_log,
            lists: the_newest_event_and_places_in_the_queue, lists: retention, lists: deleting, lists: webhooks,
            lists: webhooks_are_taken_over_and_replayed,
            random: random_days_follow_the_machine);
    };
    ($open:expr; $($group:ident: $check:ident),*) => {$(
        #[test]
        fn $check() {
            let Some((bench, _guard)) = $open() else { return };
            conformance::$group::$check(&bench);
        }
    )*};
}
pub(crate) use conformance;
