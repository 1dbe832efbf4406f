//! `kill -9` of workers in the middle of everything, while the broker is killed now and then too. What a worker saw acknowledged
//! (a line on its standard output, written after the call returned) must be in the record.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kinora_dispatch::{Dispatch, DispatchOptions, RemoteStore};
use kinora_jobs::{Claim, Error, JobId, State, Store, Submission};
use serde_json::json;
use support::{Nats, each_ended_once, store, wait_for_the_end};

/// Tells a child where NATS is: `name url`.
const ROLE: &str = "KINORA_DISPATCH_TEST_CHILD";
/// 10 by default; the nightly run sets more.
const ROUNDS: &str = "KINORA_KILL_ROUNDS";
const LEASE: Duration = Duration::from_millis(500);
/// A job has three: a worker is killed in the middle of one.
const STEP: Duration = Duration::from_millis(15);

fn options(url: &str) -> DispatchOptions {
    DispatchOptions {
        url: url.into(),
        top_up: Duration::from_millis(50),
        offer_wait: Duration::from_millis(200),
        call_timeout: Duration::from_secs(2),
        ask_after: Duration::from_secs(600),
        ..DispatchOptions::default()
    }
}

fn patiently<T>(call: impl Fn() -> Result<T, Error>) -> Result<T, Error> {
    loop {
        match call() {
            Err(error) if error.is_transient() => {}
            answer => return answer,
        }
    }
}

/// What a child does. As a test of its own it does nothing: only the parent says what to do.
#[test]
fn child() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let (name, url) = role.split_once(' ').unwrap();
    // The broker may be away at this moment.
    let store = loop {
        if let Ok(store) = RemoteStore::connect(&options(url)) {
            break store;
        }
    };
    let claim = Claim {
        worker: name.into(),
        kinds: vec!["video".into()],
        lease: LEASE,
    };
    loop {
        let Some(job) = patiently(|| store.claim(&claim)).unwrap() else {
            continue;
        };
        let ticket = job.ticket();
        let from = job.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.step);
        let work = || {
            for step in from + 1..=3 {
                std::thread::sleep(STEP);
                patiently(|| store.checkpoint(&ticket, &format!("{}/{step}", job.id), step, LEASE))?;
            }
            patiently(|| store.succeed(&ticket, &json!({ "fence": ticket.fence, "by": name })))
        };
        match work() {
            Ok(_) => {
                let mut out = std::io::stdout().lock();
                writeln!(out, "@ {} {}", job.id, ticket.fence).unwrap();
                out.flush().unwrap();
            }
            // It was too slow, or the end was written and its answer lost for good.
            Err(error) if error.is_lost() => {}
            Err(error) => panic!("{error}"),
        }
    }
}

fn spawn(name: &str, url: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(ROLE, format!("{name} {url}"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Kills a child with SIGKILL and returns what it saw acknowledged.
fn kill(mut child: Child) -> Vec<(JobId, u64)> {
    // It must not have ended by itself: that would be a panic of it.
    assert!(child.try_wait().unwrap().is_none(), "{:?}", child.wait_with_output());
    child.kill().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let done = lines
        .filter_map(|line| {
            // The harness prints before the first line without an end of its own; the last line may be cut.
            let (id, fence) = line.split_once("@ ")?.1.split_once(' ')?;
            Some((JobId(id.into()), fence.parse().ok()?))
        })
        .collect();
    child.wait().unwrap();
    done
}

#[test]
fn killed_workers_lose_no_job_and_end_none_twice() {
    let Some(mut nats) = Nats::start() else { return };
    let (store, _folder) = store();
    let url = nats.url();
    let dispatch = Dispatch::start(options(&url), store.clone()).unwrap();
    let rounds: u64 = std::env::var(ROUNDS).map_or(10, |rounds| rounds.parse().unwrap());
    let (mut ids, mut done) = (Vec::new(), BTreeMap::new());
    let mut random = 5_u64;
    let mut below = |limit: u64| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % limit
    };
    let mut note = |said: Vec<(JobId, u64)>| {
        for (id, fence) in said {
            assert_eq!(done.insert(id.clone(), fence), None, "{id} was done twice");
        }
    };
    let mut children = vec![spawn("0-a", &url), spawn("0-b", &url)];
    for round in 0..rounds {
        for number in 0..30 {
            let mut submission = Submission::new("p", &format!("k{}", number % 3), "video", json!(number));
            submission.max_attempts = 1000;
            ids.push(store.submit(&submission).unwrap().job.id);
        }
        dispatch.nudge();
        std::thread::sleep(Duration::from_millis(200 + below(500)));
        let victim = children.swap_remove(usize::try_from(below(2)).unwrap());
        note(kill(victim));
        children.push(spawn(&format!("{round}-c"), &url));
        if round % 5 == 3 {
            nats.kill();
            if round % 10 == 8 {
                nats.forget_everything();
            }
            std::thread::sleep(Duration::from_millis(below(300)));
            nats.restart();
        }
    }
    // The last two do what is left.
    wait_for_the_end(&*store, Duration::from_secs(120));
    std::thread::sleep(Duration::from_millis(300));
    children.into_iter().for_each(|child| note(kill(child)));
    each_ended_once(&*store, &ids);
    for (id, fence) in &done {
        let job = store.get(id).unwrap();
        assert_eq!((job.state(), job.life.fence.0), (State::Succeeded, *fence));
        assert_eq!(job.result.unwrap()["fence"], *fence);
    }
    assert!(dispatch.counts().reaped > 0, "no worker was killed while it held a job");
    assert!(
        done.len() as u64 >= rounds,
        "{} of {} were seen to be done",
        done.len(),
        ids.len()
    );
    eprintln!(
        "{rounds} rounds: {} jobs, {} ends acknowledged, {:?}",
        ids.len(),
        done.len(),
        dispatch.counts()
    );
}
