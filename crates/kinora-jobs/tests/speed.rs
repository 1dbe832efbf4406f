//! How long calls take on a full queue. Ignored: it measures, and a busy machine is slow.
//!
//! `cargo test -p kinora-jobs --test speed -- --ignored --nocapture`

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use kinora_jobs::{Claim, Query, SqliteStore, State, Store, Submission, SystemClock};
use serde_json::json;

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

#[test]
#[ignore = "measures"]
fn calls_on_a_full_queue() {
    let number = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let jobs = number("KINORA_JOBS", 10_000);
    for keys in [1, 10, 1000] {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("jobs.db"), Arc::new(SystemClock::new())).unwrap();
        let [mut submits, mut claims, mut beats, mut ends, mut gets, mut lists] = [const { Vec::new() }; 6];
        for index in 0..jobs {
            let key = format!("k{}", index % keys);
            let mut submission = Submission::new(
                "p",
                &key,
                "video",
                json!({ "prompt": "a red car drives", "seed": index }),
            );
            submission.priority = (index % 3) as i32;
            timed(&mut submits, || store.submit(&submission).unwrap());
        }
        let claim = Claim {
            worker: "w".into(),
            kinds: vec!["video".into(), "remix".into()],
            lease: Duration::from_secs(60),
        };
        let page = Query {
            state: Some(State::Queued),
            limit: 20,
            ..Default::default()
        };
        for _ in 0..500 {
            let job = timed(&mut claims, || store.claim(&claim).unwrap().unwrap());
            timed(&mut beats, || {
                store.heartbeat(&job.ticket(), None, claim.lease).unwrap()
            });
            timed(&mut ends, || store.succeed(&job.ticket(), &json!(1)).unwrap());
            timed(&mut gets, || store.get(&job.id).unwrap());
            timed(&mut lists, || store.list(&page).unwrap());
        }
        println!("{jobs} jobs of {keys} keys");
        let measured = [
            ("submit", &mut submits),
            ("claim", &mut claims),
            ("heartbeat", &mut beats),
            ("succeed", &mut ends),
            ("get", &mut gets),
            ("list 20", &mut lists),
        ];
        for (name, times) in measured {
            println!("  {name:10} {}", summary(times));
        }
    }
}
