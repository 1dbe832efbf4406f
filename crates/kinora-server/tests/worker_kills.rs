//! Worker processes that are killed outright, and what becomes of their jobs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod runner_support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kinora_jobs::{
    EventKind, Job, JobId, Progress, Runner, Scope, SqliteStore, State, Stop, Store, Submission, SystemClock, Worker,
    WorkerOptions,
};
use kinora_server::Work;
use kinora_server::worker::{JobSource, WorkerSettings, run};
use runner_support::{Bench, create, open, outcome, submit};
use serde_json::{Value, json};

/// The folder of a child that works; absent in a test of its own.
const FOLDER: &str = "KINORA_WORKER_TEST_FOLDER";
/// Rounds of the kill loop: 3 by default, more in the night.
const ROUNDS: &str = "KINORA_KILL_ROUNDS";
const LEASE: Duration = Duration::from_millis(900);

/// Not a test of its own: the process that is killed.
#[test]
#[ignore = "started by the tests beside it"]
fn the_process() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = Path::new(&folder);
    let text = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let settings = WorkerSettings {
        jobs: JobSource::Record(text("jobs.db")),
        files: text("files"),
        models: vec!["toybox".into()],
        max_memory_bytes: None,
        name: "child".into(),
        lease: LEASE,
    };
    if std::env::var_os("KINORA_WORKER_TEST_POISON").is_some() {
        poisoned(folder);
    }
    run(&settings, &AtomicBool::new(false)).unwrap();
}

/// A worker whose runner takes its process down at every job.
fn poisoned(folder: &Path) {
    struct Poison;
    impl Runner for Poison {
        fn run(&self, _: &Job, _: &mut Progress<'_>) -> Result<Value, Stop> {
            std::process::abort()
        }
    }
    let worker = Worker {
        store: &*open(&folder.join("jobs.db")),
        runner: &Poison,
        clock: &SystemClock::new(),
        options: WorkerOptions {
            lease: LEASE,
            retry_delay: Duration::from_millis(1),
            ..WorkerOptions::default()
        },
    };
    worker.run(&AtomicBool::new(false)).unwrap();
}

fn start(folder: &Path, poison: bool) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["the_process", "--exact", "--ignored", "--nocapture"])
        .env(FOLDER, folder);
    if poison {
        command.env("KINORA_WORKER_TEST_POISON", "1");
    }
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn rounds() -> u64 {
    std::env::var(ROUNDS)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(3)
}

fn wait(store: &SqliteStore, id: &JobId, mut what: impl FnMut(&Job) -> bool) -> Job {
    let begun = Instant::now();
    loop {
        let job = store.get(id).unwrap();
        if what(&job) {
            return job;
        }
        assert!(begun.elapsed() < Duration::from_secs(300), "{job:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn steps_done(job: &Job) -> u64 {
    match &job.progress {
        Some(report) if report.stage == "diffuse" => report.done,
        Some(report) if report.stage == "render" => u64::MAX,
        _ => 0,
    }
}

#[test]
fn a_killed_worker_costs_steps_and_not_the_video() {
    const STEPS: u32 = 8;
    let mut asked: Work = create();
    asked.options.steps = Some(STEPS);
    let undisturbed = Bench::new().make(&asked).1;
    let bench = Bench::new();
    let (folder, store) = (bench.folder.path(), &*bench.store);
    // One after the other at other steps; the random part is the moment within the step.
    for round in 0..rounds() {
        let id = submit(store, &asked);
        let mut kills = 0;
        for at in [round % u64::from(STEPS), (round * 5 + 3) % u64::from(STEPS)] {
            let child = start(folder, false);
            let before = store.get(&id).unwrap().life.fence;
            let job = wait(store, &id, |job| {
                job.state() == State::Succeeded
                    || (job.life.fence > before && job.progress.is_some() && steps_done(job) >= at)
            });
            let nanos = Instant::now().elapsed().subsec_nanos() ^ std::process::id().wrapping_mul(round as u32 + 7);
            std::thread::sleep(Duration::from_millis(u64::from(nanos % 90)));
            kill(child);
            kills += u32::from(job.state() != State::Succeeded);
        }
        let child = start(folder, false);
        let job = wait(store, &id, |job| job.state().is_final());
        kill(child);
        let outcome = outcome(&job);
        assert_eq!(outcome.sha256, undisturbed.sha256, "round {round}");
        let video = std::fs::read(bench.path(&outcome.files.video)).unwrap();
        assert_eq!(video.len() as u64, outcome.bytes);
        // It ended once, and no attempt went back before a checkpoint that was kept.
        let events = store.events(&Scope::Job(id.clone()), 0, 10_000).unwrap();
        let count = |kind| events.iter().filter(|event| event.kind == kind).count();
        assert_eq!((count(EventKind::Succeeded), count(EventKind::Failed)), (1, 0));
        let kept: Vec<u64> = events
            .iter()
            .filter(|event| event.kind == EventKind::Checkpoint)
            .map(|event| event.data["step"].as_u64().unwrap())
            .collect();
        assert!(kept.windows(2).all(|pair| pair[0] < pair[1]), "{kept:?}");
        println!(
            "round {round}: {kills} kills, {} attempts, checkpoints {kept:?}",
            job.life.fence
        );
    }
}

#[test]
fn a_job_that_takes_its_workers_down_is_given_up() {
    let bench = Bench::new();
    let id = submit(&*bench.store, &create());
    let mut starts = 0;
    let job = loop {
        let mut child = start(bench.folder.path(), true);
        starts += 1;
        let ended = wait(&bench.store, &id, |job| {
            job.state().is_final() || child.try_wait().unwrap().is_some()
        });
        if ended.state().is_final() {
            kill(child);
            break ended;
        }
        assert!(starts < 20, "{ended:?}");
    };
    assert_eq!(job.state(), State::Failed, "{job:?}");
    // Three attempts, and one worker that found the third one dead.
    assert!((3..=5).contains(&starts), "{starts}");
}

/// Sleeps in place of working.
struct Sleeper(Duration);

impl Runner for Sleeper {
    fn run(&self, _: &Job, _: &mut Progress<'_>) -> Result<Value, Stop> {
        std::thread::sleep(self.0);
        Ok(json!({}))
    }
}

#[test]
fn two_workers_do_nearly_twice_as_much() {
    const JOBS: u32 = 8;
    const LONG: Duration = Duration::from_millis(700);
    let took = |workers: u32| {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder.path().join("jobs.db"));
        for number in 0..JOBS {
            store.submit(&Submission::new("p", "k", "x", json!(number))).unwrap();
        }
        let shutdown = AtomicBool::new(false);
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    let worker = Worker {
                        store: &*store,
                        runner: &Sleeper(LONG),
                        clock: &SystemClock::new(),
                        options: WorkerOptions::default(),
                    };
                    worker.run(&shutdown).unwrap();
                });
            }
            let waits = || store.load().unwrap().iter().any(|load| load.queued + load.running > 0);
            while waits() {
                std::thread::sleep(Duration::from_millis(5));
            }
            shutdown.store(true, Ordering::SeqCst);
            begun.elapsed()
        })
    };
    // What else runs on the machine can only make it slower: one run that shows it is enough.
    let shown = (0..4).any(|_| {
        let (one, two) = (took(1), took(2));
        let times = one.as_secs_f64() / two.as_secs_f64();
        println!("one worker {one:?}, two {two:?}: {times:.2} times");
        times >= 1.9
    });
    assert!(shown, "two workers never did 1.9 times as much as one");
}

#[test]
fn a_shutdown_gives_the_job_back_and_another_goes_on() {
    let bench = Bench::new();
    let mut asked = create();
    asked.options.steps = Some(30);
    let id = submit(&*bench.store, &asked);
    let shutdown = Arc::new(AtomicBool::new(false));
    let text = |name: &str| bench.folder.path().join(name).to_str().unwrap().to_owned();
    let settings = WorkerSettings {
        jobs: JobSource::Record(text("jobs.db")),
        files: text("files"),
        models: vec!["toybox".into()],
        max_memory_bytes: None,
        name: "thread".into(),
        lease: WorkerSettings::LEASE,
    };
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| run(&settings, &shutdown));
        wait(&bench.store, &id, |job| steps_done(job) >= 2);
        shutdown.store(true, Ordering::SeqCst);
        worker.join().unwrap().unwrap();
    });
    let job = bench.store.get(&id).unwrap();
    assert_eq!(
        (job.state(), job.life.attempts),
        (State::Queued, 0),
        "it does not count"
    );
    assert!(job.checkpoint.is_some());
    let by_name: BTreeMap<_, _> = bench.keys().into_iter().map(|key| (key, ())).collect();
    assert!(by_name.keys().all(|key| !key.starts_with("videos/")), "{by_name:?}");
    bench.store.cancel(&id).unwrap();
}
