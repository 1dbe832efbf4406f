//! Two workers do nearly twice as much as one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::{Duration, Instant};

use kinora_dispatch::Dispatch;
use kinora_jobs::{Store, Submission};
use serde_json::json;
use support::{Nats, store, wait_for_the_end, work};

const JOBS: u32 = 40;
const STEP: Duration = Duration::from_millis(100);

/// How long so many workers take for all jobs, each 100 ms of nothing. Connecting is not counted: a worker stays.
fn time(nats: &Nats, workers: usize) -> Duration {
    let (store, _folder) = store();
    let dispatch = Dispatch::start(nats.options(), store.clone()).unwrap();
    let does = |_: &kinora_jobs::Job, _: &mut kinora_jobs::Progress<'_>| {
        std::thread::sleep(STEP);
        Ok(json!(null))
    };
    let mut taken = Duration::ZERO;
    work(&nats.options(), workers, Duration::from_secs(30), does, || {
        // All are there and wait.
        std::thread::sleep(Duration::from_millis(1500));
        let begun = Instant::now();
        for _ in 0..JOBS {
            store.submit(&Submission::new("p", "k", "video", json!(null))).unwrap();
        }
        dispatch.nudge();
        wait_for_the_end(&*store, Duration::from_secs(120));
        taken = begun.elapsed();
    });
    dispatch.stop();
    taken
}

#[test]
fn two_workers_finish_a_queue_nearly_twice_as_fast_as_one() {
    let Some(nats) = Nats::start() else { return };
    let mut best: f64 = 0.0;
    for _ in 0..3 {
        let (one, two) = (time(&nats, 1), time(&nats, 2));
        let ratio = one.as_secs_f64() / two.as_secs_f64();
        let above = (one.as_secs_f64() / f64::from(JOBS) - STEP.as_secs_f64()) * 1e3;
        eprintln!(
            "{JOBS} jobs of {STEP:?}: one worker {one:.2?}, two {two:.2?}, ratio {ratio:.3}; {above:.1} ms a job for dispatch"
        );
        best = best.max(ratio);
        if best >= 1.9 {
            break;
        }
    }
    // The machine may be busy with other things; 1.9 is what is claimed, on one that is not.
    assert!(best >= 1.7, "{best}");
}
