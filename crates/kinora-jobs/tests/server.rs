//! What a store on a server must bear beyond the conformance suite: many at once, lost answers, restarts, wrong settings, TLS.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use kinora_jobs::{Allowance, Claim, Error, JobId, PostgresStore, Scope, Store, Submission, SystemClock, open_store};
use postgres::{Client, NoTls};
use serde_json::json;
use support::postgres::{Server, database, url_by};
use support::proxy::{Cut, Proxy};

fn open(url: &str) -> Result<PostgresStore, Error> {
    PostgresStore::open(url, Arc::new(SystemClock::new()))
}

fn submission(key: &str) -> Submission {
    Submission::new("p", key, "video", json!({ "prompt": "a red car" }))
}

fn claim(name: &str) -> Claim {
    Claim {
        worker: name.into(),
        kinds: vec!["video".into(), "remix".into()],
        lease: Duration::from_secs(60),
    }
}

#[test]
fn a_reader_of_the_log_misses_nothing_that_is_written_beside_it() {
    let Some((url, _server)) = database() else { return };
    let (store, other) = (open(&url).unwrap(), open(&url).unwrap());
    let writing = AtomicBool::new(true);
    let (store, other, writing) = (&store, &other, &writing);
    let (seen, kept) = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..6)
            .map(|thread: usize| {
                scope.spawn(move || {
                    let store = if thread.is_multiple_of(2) { store } else { other };
                    for _ in 0..40 {
                        store.submit(&submission(&format!("k{thread}"))).unwrap();
                        if let Some(job) = store.claim(&claim("w")).unwrap() {
                            store.succeed(&job.ticket(), &json!(1)).unwrap();
                        }
                    }
                })
            })
            .collect();
        let reader = scope.spawn(move || {
            let (mut seen, mut jobs) = (Vec::new(), Vec::new());
            loop {
                let last = !writing.load(Ordering::SeqCst);
                let after = seen.last().copied().unwrap_or(0);
                let events = other.events(&Scope::All, after, 1000).unwrap();
                seen.extend(events.iter().map(|event| event.seq));
                let query = kinora_jobs::Query {
                    order: kinora_jobs::Order::Oldest,
                    after: jobs.last().copied(),
                    ..Default::default()
                };
                let page = other.list(&query).unwrap().jobs;
                jobs.extend(page.iter().map(|job| job.seq));
                if last && events.is_empty() && page.is_empty() {
                    return (seen, jobs);
                }
            }
        });
        for writer in writers {
            writer.join().unwrap();
        }
        writing.store(false, Ordering::SeqCst);
        reader.join().unwrap()
    });
    let mut all = Vec::new();
    loop {
        let events = store
            .events(&Scope::All, all.last().copied().unwrap_or(0), 1000)
            .unwrap();
        if events.is_empty() {
            break;
        }
        all.extend(events.iter().map(|event| event.seq));
    }
    assert_eq!(all.len(), 3 * 240, "each job was submitted, claimed and done");
    assert_eq!(seen, all);
    assert_eq!(kept.len(), 240, "nor does a reader of the list");
}

#[test]
fn quotas_hold_when_many_ask_at_once() {
    let Some((url, _server)) = database() else { return };
    let stores = [open(&url).unwrap(), open(&url).unwrap()];
    let limit = Allowance {
        max_queued: 5,
        max_running: 2,
        ..Default::default()
    };
    stores[0].set_allowance("k", &limit).unwrap();
    let (barrier, accepted, full) = (Barrier::new(12), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for thread in 0..12 {
            let (store, barrier, accepted, full) = (&stores[thread % 2], &barrier, &accepted, &full);
            scope.spawn(move || {
                barrier.wait();
                match store.submit(&submission("k")) {
                    Ok(_) => accepted.fetch_add(1, Ordering::SeqCst),
                    Err(Error::QueueFull { .. }) => full.fetch_add(1, Ordering::SeqCst),
                    Err(error) => panic!("{error}"),
                };
                barrier.wait();
                // All claim; only two may.
                let _ = store.claim(&claim("w")).unwrap();
            });
        }
    });
    assert_eq!((accepted.into_inner(), full.into_inner()), (5, 7));
    let load = &stores[0].load().unwrap()[0];
    assert_eq!((load.queued, load.running), (3, 2));
}

#[test]
fn claims_at_once_follow_the_shares() {
    let Some((url, _server)) = database() else { return };
    let store = open(&url).unwrap();
    for index in 0..80 {
        store
            .submit(&submission(if index % 2 == 0 { "a" } else { "b" }))
            .unwrap();
    }
    let claimed = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    (0..10)
                        .map(|_| store.claim(&claim("w")).unwrap().unwrap().key)
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect::<Vec<_>>()
    });
    assert_eq!(claimed.iter().filter(|key| *key == "a").count(), 20, "{claimed:?}");
}

#[test]
fn an_answer_that_is_lost_is_looked_up() {
    let Some(server) = Server::shared() else { return };
    let url = server.database();
    let name = url.rsplit('/').next().unwrap();
    let proxy = Proxy::start(&server.folder().join(".s.PGSQL.5432"));
    let store = open(&url_by(proxy.folder(), 5432, name)).unwrap();
    let direct = open(&url).unwrap();
    store.submit(&submission("warm")).unwrap();

    // The server has committed, but its answer never comes: the call must say that it happened.
    proxy.cut(Cut::AnswerToCommit);
    let submitted = store.submit(&submission("k")).unwrap();
    assert_eq!(proxy.cuts(), 1);
    assert_eq!(direct.get(&submitted.job.id).unwrap(), submitted.job);
    proxy.cut(Cut::AnswerToCommit);
    let done = store.claim(&claim("w")).unwrap().unwrap();
    assert_eq!((proxy.cuts(), done.life.fence.0), (2, 1));
    proxy.cut(Cut::AnswerToCommit);
    store.succeed(&done.ticket(), &json!(1)).unwrap();
    assert_eq!(direct.events(&Scope::Job(done.id), 0, 10).unwrap().len(), 3);

    // The commit itself never arrives: then it must not have happened.
    let before = direct.load().unwrap();
    proxy.cut(Cut::Commit);
    let error = store.submit(&submission("k")).unwrap_err();
    assert!(
        matches!(error, Error::Unreachable { .. }) && error.is_transient(),
        "{error}"
    );
    assert_eq!((proxy.cuts(), direct.load().unwrap()), (4, before));
    // And the next call works.
    assert!(store.submit(&submission("k")).unwrap().created);
}

#[test]
fn a_server_that_restarts_is_found_again() {
    let Some(server) = Server::start(&[]) else { return };
    let store = open(&server.database()).unwrap();
    let id = store.submit(&submission("k")).unwrap().job.id;
    server.crash();
    let error = store.submit(&submission("k")).unwrap_err();
    assert!(
        matches!(error, Error::Unreachable { .. }) && error.is_transient(),
        "{error}"
    );
    assert!(error.to_string().contains("hint: "), "{error}");
    assert!(store.get(&id).unwrap_err().is_transient());
    server.go();
    assert_eq!(store.get(&id).unwrap().id, id);
    assert_eq!(store.claim(&claim("w")).unwrap().unwrap().id, id);
}

#[test]
fn settings_that_lose_jobs_are_refused_or_set_right() {
    let Some((url, _server)) = database() else { return };
    let name = url.rsplit('/').next().unwrap().split('?').next().unwrap();
    let mut client = Client::connect(&url, NoTls).unwrap();
    client
        .batch_execute(&format!(
            "ALTER DATABASE {name} SET synchronous_commit = off; ALTER DATABASE {name} SET search_path = public;
             ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'"
        ))
        .unwrap();
    // A session of ours commits to the disk all the same: a trigger reads what it has set.
    let store = open(&url).unwrap();
    client
        .batch_execute(
            "CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                NEW.data := json_build_object('commit', current_setting('synchronous_commit'),
                    'level', current_setting('transaction_isolation'))::text; RETURN NEW; END $$;
             CREATE TRIGGER tell BEFORE INSERT ON kinora_jobs.events FOR EACH ROW EXECUTE FUNCTION tell()",
        )
        .unwrap();
    store.submit(&submission("k")).unwrap();
    let event = store.events(&Scope::All, 0, 1).unwrap().remove(0);
    assert_eq!(event.data, json!({ "commit": "on", "level": "read committed" }));

    for setting in ["fsync=off", "full_page_writes=off"] {
        let Some(server) = Server::start(&[setting]) else {
            return;
        };
        let error = open(&server.database()).unwrap_err();
        assert!(
            matches!(error, Error::Unfit { .. }) && error.to_string().contains("hint: "),
            "{error}"
        );
        assert!(!error.is_transient());
    }
}

#[test]
fn tables_of_others_and_of_the_future_are_refused() {
    let Some((url, _server)) = database() else { return };
    let mut client = Client::connect(&url, NoTls).unwrap();
    client
        .batch_execute("CREATE SCHEMA kinora_jobs; CREATE TABLE kinora_jobs.things (id INT)")
        .unwrap();
    assert!(matches!(open(&url), Err(Error::Foreign { .. })));
    client.batch_execute("DROP SCHEMA kinora_jobs CASCADE").unwrap();
    let id = open(&url).unwrap().submit(&submission("k")).unwrap().job.id;
    client
        .batch_execute("UPDATE kinora_jobs.version SET version = 99")
        .unwrap();
    let error = open(&url).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Newer {
                found: 99,
                known: 1,
                ..
            }
        ),
        "{error}"
    );
    client
        .batch_execute("UPDATE kinora_jobs.version SET version = 1")
        .unwrap();
    assert_eq!(open(&url).unwrap().get(&id).unwrap().id, id);
    // What nobody of ours can have written is an error, not a panic.
    client
        .batch_execute("UPDATE kinora_jobs.jobs SET webhooks = 'x'")
        .unwrap();
    assert!(matches!(open(&url).unwrap().get(&id), Err(Error::Corrupt { .. })));
}

#[test]
fn many_processes_may_open_a_new_database_at_once() {
    let Some((url, _server)) = database() else { return };
    let barrier = Barrier::new(8);
    let ids: BTreeSet<JobId> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    barrier.wait();
                    let store = open_store(&url, Arc::new(SystemClock::new())).unwrap();
                    store.submit(&submission("k")).unwrap().job.id
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(ids.len(), 8);
}

#[test]
fn a_claim_passes_over_a_job_that_somebody_holds() {
    let Some((url, _server)) = database() else { return };
    let store = open(&url).unwrap();
    let ids: Vec<_> = (0..3).map(|_| store.submit(&submission("k")).unwrap().job.id).collect();
    let mut client = Client::connect(&url, NoTls).unwrap();
    let mut holder = client.transaction().unwrap();
    let hold = "SELECT id FROM kinora_jobs.jobs WHERE id = $1 FOR UPDATE";
    holder.query(hold, &[&ids[0].0]).unwrap();
    let begun = Instant::now();
    assert_eq!(store.claim(&claim("w")).unwrap().unwrap().id, ids[1]);
    assert!(begun.elapsed() < Duration::from_secs(4), "it waited");
    holder.rollback().unwrap();
    assert_eq!(store.claim(&claim("w")).unwrap().unwrap().id, ids[0]);
}

#[test]
fn somebody_who_holds_everything_is_busy_and_not_for_ever() {
    let Some((url, _server)) = database() else { return };
    let store = open(&url).unwrap();
    let mut client = Client::connect(&url, NoTls).unwrap();
    let mut blocker = client.transaction().unwrap();
    blocker
        .batch_execute("LOCK TABLE kinora_jobs.events IN EXCLUSIVE MODE")
        .unwrap();
    let begun = Instant::now();
    assert_eq!(store.submit(&submission("k")), Err(Error::Busy));
    assert!(begun.elapsed() < Duration::from_secs(20));
    blocker.rollback().unwrap();
    assert_eq!(store.load().unwrap(), [], "nothing of it has happened");
    assert!(store.submit(&submission("k")).unwrap().created);
}
