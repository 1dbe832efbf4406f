//! The worker loop over runners that end in every way that one can.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kinora_jobs::{
    Checkpoint, Clock, Failure, Job, JobId, ManualClock, Progress, Runner, SqliteStore, State, Stop, Store, Submission,
    SystemClock, Timestamp, Worked, Worker, WorkerOptions,
};
use serde_json::{Value, json};

/// A runner made of a function.
struct Does<F>(F);

impl<F: Fn(&Job, &mut Progress<'_>) -> Result<Value, Stop> + Send + Sync> Runner for Does<F> {
    fn kinds(&self) -> Vec<String> {
        vec!["video".into()]
    }

    fn run(&self, job: &Job, progress: &mut Progress<'_>) -> Result<Value, Stop> {
        (self.0)(job, progress)
    }
}

struct Bench {
    store: SqliteStore,
    clock: Arc<ManualClock>,
    id: JobId,
    _folder: tempfile::TempDir,
}

fn bench() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(Timestamp(1_000)));
    let store = SqliteStore::open(&folder.path().join("jobs.db"), clock.clone()).unwrap();
    let id = store
        .submit(&Submission::new("p", "k", "video", json!(30)))
        .unwrap()
        .job
        .id;
    Bench {
        store,
        clock,
        id,
        _folder: folder,
    }
}

impl Bench {
    fn work(&self, does: impl Fn(&Job, &mut Progress<'_>) -> Result<Value, Stop> + Send + Sync) -> Option<State> {
        self.work_until(&AtomicBool::new(false), does)
    }

    fn work_until(
        &self,
        shutdown: &AtomicBool,
        does: impl Fn(&Job, &mut Progress<'_>) -> Result<Value, Stop> + Send + Sync,
    ) -> Option<State> {
        let worker = Worker {
            store: &self.store,
            runner: &Does(does),
            clock: &*self.clock,
            options: WorkerOptions {
                lease: Duration::from_millis(60),
                stall: Duration::from_millis(300),
                ..Default::default()
            },
        };
        let Worked { job, state } = worker.run_one(shutdown).unwrap().unwrap();
        assert_eq!(job, self.id);
        state
    }

    fn job(&self) -> Job {
        self.store.get(&self.id).unwrap()
    }
}

#[test]
fn a_job_is_done_step_by_step() {
    let bench = bench();
    let state = bench.work(|job, progress| {
        let total = job.request.as_u64().unwrap();
        for step in 1..=total {
            progress.report("diffuse", step, total)?;
        }
        Ok(json!({ "steps": total }))
    });
    let job = bench.job();
    assert_eq!(
        (state, job.result),
        (Some(State::Succeeded), Some(json!({ "steps": 30 })))
    );
    assert_eq!(job.progress.map(|report| report.done), Some(30));
}

#[test]
fn failures_end_or_wait_longer_and_longer() {
    let bench = bench();
    let failure = Failure::new("out_of_memory", "no");
    let again = |_: &Job, _: &mut Progress<'_>| Err(Stop::TryAgain(failure.clone()));
    for wait in [1, 2] {
        assert_eq!(bench.work(again), Some(State::Queued));
        let now = bench.clock.now();
        let expected = kinora_jobs::Phase::Queued {
            run_at: now.after(Duration::from_secs(wait)),
        };
        assert_eq!(bench.job().life.phase, expected);
        bench.clock.advance(Duration::from_secs(wait));
    }
    assert_eq!(bench.work(again), Some(State::Failed), "the third of three");
    bench.store.retry(&bench.id).unwrap();
    assert_eq!(
        bench.work(|_, _| Err(Stop::Failed(failure.clone()))),
        Some(State::Failed)
    );
    assert_eq!(bench.job().error, Some(failure));
}

#[test]
fn a_panic_is_a_failure_with_its_words() {
    let bench = bench();
    assert_eq!(
        bench.work(|_, _| panic!("index {} is out of range", 7)),
        Some(State::Queued)
    );
    let error = bench.job().error.unwrap();
    assert_eq!(
        (error.code.as_str(), error.message.as_str()),
        ("panicked", "index 7 is out of range")
    );
}

#[test]
fn a_result_that_is_too_large_is_a_failure() {
    let bench = bench();
    let large = "x".repeat(kinora_jobs::MAX_JSON_BYTES);
    assert_eq!(bench.work(|_, _| Ok(json!(large))), Some(State::Failed));
    assert_eq!(bench.job().error.unwrap().code, "bad_result");
}

#[test]
fn cancelling_is_heard_at_the_next_step() {
    let bench = bench();
    let steps = AtomicU32::new(0);
    let state = bench.work(|_, progress| {
        for step in 1..=30 {
            steps.store(step, Ordering::SeqCst);
            progress.report("diffuse", step.into(), 30)?;
            if step == 4 {
                bench.store.cancel(&bench.id).unwrap();
            }
        }
        Ok(json!(null))
    });
    assert_eq!((state, steps.into_inner()), (Some(State::Cancelled), 5));
}

#[test]
fn a_long_step_keeps_its_lease_and_hears_of_cancelling_without_asking_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(SystemClock::new());
    let store = SqliteStore::open(&folder.path().join("jobs.db"), clock.clone()).unwrap();
    let id = store
        .submit(&Submission::new("p", "k", "video", json!(1)))
        .unwrap()
        .job
        .id;
    let runner = Does(|_: &Job, progress: &mut Progress<'_>| {
        // Three leases long.
        for _ in 0..150 {
            std::thread::sleep(Duration::from_millis(20));
            assert_eq!(store.reap(10).unwrap(), []);
        }
        progress.check()?;
        store.cancel(&id).unwrap();
        loop {
            std::thread::sleep(Duration::from_millis(5));
            progress.check()?;
        }
    });
    let worker = Worker {
        store: &store,
        runner: &runner,
        clock: &*clock,
        options: WorkerOptions {
            lease: Duration::from_secs(1),
            ..Default::default()
        },
    };
    let worked = worker.run_one(&AtomicBool::new(false)).unwrap().unwrap();
    assert_eq!(worked.state, Some(State::Cancelled));
}

#[test]
fn a_worker_that_lost_its_job_throws_its_work_away() {
    let bench = bench();
    let state = bench.work(|_, progress| {
        bench.clock.advance(Duration::from_secs(1));
        assert_eq!(bench.store.reap(10).unwrap(), std::slice::from_ref(&bench.id));
        progress.report("diffuse", 1, 30)?;
        unreachable!()
    });
    assert_eq!((state, bench.job().state()), (None, State::Queued));
    // Even one that never asks and says that it is done.
    let state = bench.work(|_, _| {
        bench.clock.advance(Duration::from_secs(1));
        bench.store.reap(10).unwrap();
        Ok(json!("stale"))
    });
    assert_eq!(
        (state, bench.job().state(), bench.job().result),
        (None, State::Queued, None)
    );
}

#[test]
fn a_runner_that_hangs_loses_its_job() {
    let bench = bench();
    let state = bench.work(|_, progress| {
        std::thread::sleep(Duration::from_millis(600));
        progress.check()?;
        unreachable!()
    });
    assert_eq!(state, None);
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(bench.store.reap(10).unwrap(), std::slice::from_ref(&bench.id));
}

#[test]
fn a_shutdown_gives_the_job_back_and_the_next_worker_goes_on_from_the_checkpoint() {
    let bench = bench();
    let shutdown = AtomicBool::new(false);
    let state = bench.work_until(&shutdown, |_, progress| {
        for step in 1..=30 {
            progress.checkpoint(&format!("latents/{}/{step}", progress.ticket().fence), step)?;
            shutdown.store(step == 11, Ordering::SeqCst);
        }
        unreachable!()
    });
    assert_eq!((state, bench.job().life.attempts), (Some(State::Queued), 0));
    let seen = Mutex::new(None);
    bench.work(|job, _| {
        *seen.lock().unwrap() = job.checkpoint.clone();
        Ok(json!(null))
    });
    let Some(Checkpoint { reference, step, .. }) = seen.into_inner().unwrap() else {
        panic!()
    };
    assert_eq!((reference.as_str(), step), ("latents/1/12", 12));
}

#[test]
fn the_loop_works_until_the_shutdown() {
    let bench = bench();
    for _ in 0..20 {
        bench
            .store
            .submit(&Submission::new("p", "k", "video", json!(1)))
            .unwrap();
    }
    // No runner of this kind: it stays.
    let other = bench
        .store
        .submit(&Submission::new("p", "k", "remix", json!(1)))
        .unwrap()
        .job
        .id;
    let done = AtomicU32::new(0);
    let shutdown = AtomicBool::new(false);
    let runner = Does(|_: &Job, _: &mut Progress<'_>| {
        if done.fetch_add(1, Ordering::SeqCst) == 20 {
            shutdown.store(true, Ordering::SeqCst);
        }
        Ok(json!(null))
    });
    let worker = Worker {
        store: &bench.store,
        runner: &runner,
        clock: &*bench.clock,
        options: WorkerOptions::default(),
    };
    worker.run(&shutdown).unwrap();
    assert_eq!(done.into_inner(), 21);
    assert_eq!(bench.store.get(&other).unwrap().state(), State::Queued);
}
