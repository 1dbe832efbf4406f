//! How long calls take on a full queue. Ignored: it measures, and a busy machine is slow.
//!
//! `KINORA_JOBS=100000 KINORA_KEYS=1,1000 cargo test -p kinora-jobs --test speed -- --ignored --nocapture --test-threads=1`

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use kinora_jobs::{Claim, Query, State, Store, Submission, SystemClock, open_store};
use serde_json::json;
use support::postgres::database;

/// Sorted times as "p50, p99, max" in milliseconds.
fn summary(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    format!("p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms", at(0.5), at(0.99), at(1.0))
}

fn timed<T>(times: &mut Vec<Duration>, call: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let value = call();
    times.push(begun.elapsed());
    value
}

fn setting(name: &str, default: &str) -> Vec<u64> {
    let text = std::env::var(name).unwrap_or_else(|_| default.into());
    text.split(',').map(|number| number.parse().unwrap()).collect()
}

fn claim(kind: &str) -> Claim {
    Claim {
        worker: "w".into(),
        kinds: vec![kind.into(), "remix".into()],
        lease: Duration::from_secs(60),
    }
}

/// Fills the queue from a few threads.
fn fill(store: &dyn Store, jobs: u64, keys: u64) -> Vec<Duration> {
    let part = |thread: u64| {
        let mut times = Vec::new();
        for index in (0..jobs).filter(|index| index % 4 == thread) {
            let request = json!({ "prompt": "a red car drives", "seed": index });
            let mut submission = Submission::new("p", &format!("k{}", index % keys), "video", request);
            submission.priority = (index % 3) as i32;
            timed(&mut times, || store.submit(&submission).unwrap());
        }
        times
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|thread| scope.spawn(move || part(thread))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

fn calls_on_a_full_queue(name: &str, store: &dyn Store, jobs: u64, keys: u64) {
    let mut submits = fill(store, jobs, keys);
    let [mut claims, mut beats, mut ends, mut gets, mut lists, mut others] = [const { Vec::new() }; 6];
    let page = Query {
        state: Some(State::Queued),
        limit: 20,
        ..Default::default()
    };
    let wanted = claim("video");
    for _ in 0..500 {
        let job = timed(&mut claims, || store.claim(&wanted).unwrap().unwrap());
        timed(&mut beats, || {
            store.heartbeat(&job.ticket(), None, wanted.lease).unwrap()
        });
        timed(&mut ends, || store.succeed(&job.ticket(), &json!(1)).unwrap());
        timed(&mut gets, || store.get(&job.id).unwrap());
        timed(&mut lists, || store.list(&page).unwrap());
    }
    // A worker that can do nothing of what waits.
    let unwanted = claim("edit");
    for _ in 0..50 {
        assert_eq!(timed(&mut others, || store.claim(&unwanted).unwrap()), None);
    }
    println!("{name}: {jobs} jobs of {keys} keys");
    let measured = [
        ("submit (4 threads)", &mut submits),
        ("claim", &mut claims),
        ("claim of another kind", &mut others),
        ("heartbeat", &mut beats),
        ("succeed", &mut ends),
        ("get", &mut gets),
        ("list 20", &mut lists),
    ];
    for (name, times) in measured {
        println!("  {name:22} {}", summary(times));
    }
}

fn every_size(name: &str, open: impl Fn() -> Option<(Arc<dyn Store>, Box<dyn std::any::Any>)>) {
    for jobs in setting("KINORA_JOBS", "10000") {
        for keys in setting("KINORA_KEYS", "1,10,1000") {
            let Some((store, _guard)) = open() else { return };
            calls_on_a_full_queue(name, &*store, jobs, keys);
        }
    }
}

#[test]
#[ignore = "measures"]
fn on_sqlite() {
    every_size("SQLite", || {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.db");
        let store = open_store(path.to_str().unwrap(), Arc::new(SystemClock::new())).unwrap();
        Some((store, Box::new(folder)))
    });
}

#[test]
#[ignore = "measures"]
fn on_postgresql() {
    every_size("PostgreSQL", || {
        let (url, server) = database()?;
        let store = open_store(&url, Arc::new(SystemClock::new())).unwrap();
        Some((store, Box::new(server)))
    });
}
