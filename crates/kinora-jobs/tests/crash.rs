//! `kill -9` in the middle of everything: children of this test submit, claim and end jobs in one store and are killed at random
//! points; so is the server, if there is one. What they acknowledged (a line on their standard output, written after the call
//! returned) must be there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kinora_jobs::{
    Claim, Error, Event, EventKind, JobId, Order, Query, Scope, State, Store, Submission, SystemClock, open_store,
};
use serde_json::json;
use support::Random;
use support::postgres::{Server, database};

/// Tells a child what to do: `role name store`.
const ROLE: &str = "KINORA_JOBS_TEST_CHILD";
/// 10 by default; the nightly run sets more.
const ROUNDS: &str = "KINORA_KILL_ROUNDS";
const LEASE: Duration = Duration::from_millis(150);

fn open(address: &str) -> Arc<dyn Store> {
    patiently(|| open_store(address, Arc::new(SystemClock::new()))).unwrap()
}

/// The address of a file in a folder of its own.
fn file() -> (String, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (folder.path().join("jobs.db").display().to_string(), folder)
}

fn claim(name: &str) -> Claim {
    Claim {
        worker: name.into(),
        kinds: Vec::new(),
        lease: LEASE,
    }
}

/// Says a line to the parent, at once.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "@ {line}").unwrap();
    out.flush().unwrap();
}

/// What a child does. As a test of its own it does nothing: only the parent says what to do.
#[test]
fn child() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let words: Vec<&str> = role.splitn(3, ' ').collect();
    let store = open(words[2]);
    match words[0] {
        "submit" => submitting(&*store, words[1]),
        "work" => working(&*store, words[1]),
        other => panic!("{other}"),
    }
}

/// A busy disk is no crash, and a server comes back.
fn patiently<T>(call: impl Fn() -> Result<T, Error>) -> Result<T, Error> {
    loop {
        match call() {
            Err(error) if error.is_transient() => std::thread::sleep(Duration::from_millis(1)),
            answer => return answer,
        }
    }
}

fn submitting(store: &dyn Store, name: &str) {
    for number in 0.. {
        let mut submission = Submission::new("p", &format!("k{}", number % 3), "video", json!({ "number": number }));
        submission.idempotency_key = Some(format!("{name}-{number}"));
        submission.webhooks = vec!["e".into()];
        submission.max_attempts = 1000;
        let job = patiently(|| store.submit(&submission)).unwrap().job;
        say(&format!("submitted {}", job.id));
        std::thread::sleep(Duration::from_millis(3));
    }
}

fn working(store: &dyn Store, name: &str) {
    loop {
        patiently(|| store.reap(100)).unwrap();
        let Some(job) = patiently(|| store.claim(&claim(name))).unwrap() else {
            std::thread::sleep(Duration::from_millis(2));
            continue;
        };
        let ticket = job.ticket();
        let from = job.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.step);
        let work = || {
            for step in from + 1..=3 {
                let reference = format!("{}/{step}", job.id);
                patiently(|| store.checkpoint(&ticket, &reference, step, LEASE))?;
            }
            patiently(|| store.succeed(&ticket, &json!({ "fence": ticket.fence, "by": name })))
        };
        match work() {
            Ok(_) => say(&format!("done {} {}", job.id, ticket.fence)),
            // The machine was slow and the lease is over: another has it.
            Err(error) if error.is_lost() => {}
            Err(error) => panic!("{error}"),
        }
    }
}

fn spawn(role: &str, name: &str, address: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(ROLE, format!("{role} {name} {address}"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Kills a child with SIGKILL and returns what it had acknowledged.
fn kill(mut child: Child) -> Vec<String> {
    // It must not have ended by itself: that would be a panic of it.
    assert!(child.try_wait().unwrap().is_none(), "{:?}", child.wait_with_output());
    child.kill().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    // The harness prints before the first line without an end of its own.
    let said = lines
        .filter_map(|line| line.split_once("@ ").map(|found| found.1.to_owned()))
        .collect();
    child.wait().unwrap();
    said
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_ends_twice() {
    let (address, _folder) = file();
    rounds_of_killing(&address, |_| {});
}

#[test]
fn nor_on_a_server() {
    let Some((url, _server)) = database() else { return };
    rounds_of_killing(&url, |_| {});
}

#[test]
fn nor_when_the_server_crashes_too() {
    let Some(server) = Server::start(&[]) else { return };
    let url = server.database();
    rounds_of_killing(&url, |random| {
        server.crash();
        std::thread::sleep(Duration::from_millis(random.below(300)));
        server.go();
        // They connect anew and go on.
        std::thread::sleep(Duration::from_millis(500));
    });
}

/// Kills children in each round, after `disturb` has done its worst to what they use.
fn rounds_of_killing(address: &str, disturb: impl Fn(&mut Random)) {
    let rounds = std::env::var(ROUNDS).map_or(10, |rounds| rounds.parse().unwrap());
    let mut random = Random(5);
    let mut submitted = BTreeSet::new();
    let mut done: BTreeMap<JobId, u64> = BTreeMap::new();
    for round in 0..rounds {
        let roles = ["submit", "work", "work"];
        let mut children: Vec<_> = roles
            .iter()
            .enumerate()
            .map(|(index, role)| spawn(role, &format!("{round}-{index}"), address))
            .collect();
        std::thread::sleep(Duration::from_millis(50 + random.below(250)));
        disturb(&mut random);
        // One after the other, so that those that live go on while one is dead.
        while !children.is_empty() {
            std::thread::sleep(Duration::from_millis(30 + random.below(250)));
            let child = children.swap_remove(random.below(children.len() as u64) as usize);
            for line in kill(child) {
                let words: Vec<&str> = line.split(' ').collect();
                match words[..] {
                    ["submitted", id] => assert!(submitted.insert(JobId(id.into())), "{id} was new twice"),
                    ["done", id, fence] => {
                        let before = done.insert(JobId(id.into()), fence.parse().unwrap());
                        assert_eq!(before, None, "{id} was done twice");
                    }
                    // The last line of a killed child may be cut.
                    _ => {}
                }
            }
        }
    }
    assert!(
        submitted.len() >= rounds && done.len() >= rounds,
        "{} submitted, {} done",
        submitted.len(),
        done.len()
    );
    // The store is whole, and what was acknowledged is in it.
    let store = open(address);
    for id in &submitted {
        store.get(id).unwrap();
    }
    for (id, fence) in &done {
        let job = store.get(id).unwrap();
        assert_eq!((job.state(), job.life.fence.0), (State::Succeeded, *fence));
        assert_eq!(job.result.unwrap()["fence"], *fence);
    }
    finish(&*store);
    each_ended_once(&*store);
    eprintln!(
        "{rounds} rounds: {} submissions and {} results acknowledged",
        submitted.len(),
        done.len()
    );
}

/// Does what is left: every job must come to its end.
fn finish(store: &dyn Store) {
    loop {
        store.reap(1000).unwrap();
        while let Some(job) = store.claim(&claim("last")).unwrap() {
            store
                .succeed(&job.ticket(), &json!({ "fence": job.life.fence, "by": "last" }))
                .unwrap();
        }
        if store.load().unwrap().is_empty() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn each_ended_once(store: &dyn Store) {
    let mut query = Query {
        order: Order::Oldest,
        ..Default::default()
    };
    loop {
        let page = store.list(&query).unwrap();
        for job in &page.jobs {
            assert_eq!(job.state(), State::Succeeded);
            let events = store.events(&Scope::Job(job.id.clone()), 0, 1000).unwrap();
            let of = |kind| {
                events
                    .iter()
                    .filter(|event| event.kind == kind)
                    .collect::<Vec<&Event>>()
            };
            assert_eq!((of(EventKind::Submitted).len(), of(EventKind::Succeeded).len()), (1, 1));
            assert_eq!(store.outbox(&job.id).unwrap().len(), 1);
            // Each attempt but the last ended by its lease; tokens count the claims.
            let fences: Vec<_> = of(EventKind::Claimed)
                .iter()
                .map(|event| event.data["fence"].clone())
                .collect();
            assert_eq!(
                fences,
                (1..=job.life.fence.0).map(|fence| json!(fence)).collect::<Vec<_>>()
            );
            assert_eq!(of(EventKind::Requeued).len() + 1, fences.len());
        }
        let Some(next) = page.next else { return };
        query.after = Some(next);
    }
}

#[test]
fn a_worker_that_was_stopped_past_its_lease_is_refused() {
    // The same as a SIGSTOP: the first process holds a ticket while a second takes the job over and ends it.
    let (address, _folder) = file();
    let store = open(&address);
    let mut submission = Submission::new("p", "k", "video", json!(1));
    submission.max_attempts = 10;
    let id = store.submit(&submission).unwrap().job.id;
    let ours = store.claim(&claim("stopped")).unwrap().unwrap().ticket();
    let child = spawn("work", "other", &address);
    while store.get(&id).unwrap().state() != State::Succeeded {
        std::thread::sleep(Duration::from_millis(10));
    }
    kill(child);
    let winner = store.get(&id).unwrap();
    assert!(winner.life.fence > ours.fence);
    assert!(store.succeed(&ours, &json!("late")).is_err_and(|error| error.is_lost()));
    assert!(
        store
            .checkpoint(&ours, "late", 9, LEASE)
            .is_err_and(|error| error.is_lost())
    );
    assert!(matches!(
        store.heartbeat(&ours, None, LEASE),
        Err(Error::Illegal { .. })
    ));
    assert_eq!(store.get(&id).unwrap(), winner);
}

#[test]
fn two_processes_share_a_queue() {
    let (address, _folder) = file();
    two_processes_share(&address);
    if let Some((url, _server)) = database() {
        two_processes_share(&url);
    }
}

fn two_processes_share(address: &str) {
    let store = open(address);
    let workers = [spawn("work", "a", address), spawn("work", "b", address)];
    let mut ids = Vec::new();
    let by = |id: &JobId| store.get(id).unwrap().result.map(|result| result["by"].clone());
    let begun = Instant::now();
    // Until both have done some, or for so long that something must be wrong.
    loop {
        let mut submission = Submission::new("p", "k", "video", json!(ids.len()));
        submission.webhooks = vec!["e".into()];
        submission.max_attempts = 1000;
        ids.push(store.submit(&submission).unwrap().job.id);
        let names: BTreeSet<_> = ids.iter().filter_map(&by).map(|name| name.to_string()).collect();
        if names.len() == 2 && ids.len() >= 40 {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "only {names:?} did anything");
        std::thread::sleep(Duration::from_millis(2));
    }
    finish(&*store);
    let said: Vec<_> = workers.into_iter().flat_map(kill).collect();
    let done: BTreeSet<_> = said
        .iter()
        .map(|line| line.split(' ').nth(1).unwrap().to_owned())
        .collect();
    assert_eq!(done.len(), said.len(), "a job was done twice");
    each_ended_once(&*store);
}
