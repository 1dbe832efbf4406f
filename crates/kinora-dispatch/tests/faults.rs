//! What a broker may do to messages: stop, forget everything, stand still, lose, double and reorder them. No job is lost by it, and none
//! ends twice.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kinora_dispatch::{Dispatch, DispatchOptions};
use kinora_jobs::{Job, JobId, Progress, State, Store, Submission};
use serde_json::json;
use support::{Nats, each_ended_once, store, wait_for_the_end, work};

const LEASE: Duration = Duration::from_secs(1);

fn submit(store: &dyn Store, priority: i32) -> JobId {
    let mut submission = Submission::new("p", "k", "video", json!(null));
    submission.max_attempts = 1000;
    submission.priority = priority;
    store.submit(&submission).unwrap().job.id
}

/// Four steps of 30 ms, each kept.
fn steps(job: &Job, progress: &mut Progress<'_>) -> Result<serde_json::Value, kinora_jobs::Stop> {
    let from = job.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.step);
    for step in from + 1..=4 {
        std::thread::sleep(Duration::from_millis(30));
        progress.checkpoint(&format!("{}/{step}", progress.ticket().fence), step)?;
    }
    Ok(json!({ "fence": progress.ticket().fence }))
}

#[test]
fn a_broker_that_stops_forgets_and_stands_still_costs_no_job() {
    let Some(mut nats) = Nats::start() else { return };
    let (store, _folder) = store();
    let options = DispatchOptions {
        call_timeout: Duration::from_millis(500),
        ..nats.options()
    };
    let dispatch = Dispatch::start(options.clone(), store.clone()).unwrap();
    let mut ids = Vec::new();
    work(&options, 3, LEASE, steps, || {
        // The broker is not needed to take jobs in.
        let mut more = |count| ids.extend((0..count).map(|_| submit(&*store, 0)));
        let until_wait = |left: u64| {
            let begun = Instant::now();
            while store.load().unwrap().iter().any(|load| load.queued > left) {
                assert!(begun.elapsed() < Duration::from_secs(60), "nothing is done");
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        // Killed in the middle of work, and started again with what it had.
        more(20);
        until_wait(10);
        nats.kill();
        more(5);
        std::thread::sleep(Duration::from_millis(300));
        nats.restart();
        until_wait(2);
        // Killed for longer than a lease, and started again with nothing: stream, consumers and offers are gone.
        more(20);
        until_wait(10);
        nats.kill();
        nats.forget_everything();
        more(5);
        std::thread::sleep(LEASE * 2);
        nats.restart();
        until_wait(2);
        // Every connection stands, and nothing moves, for longer than a lease.
        more(20);
        until_wait(10);
        more(5);
        nats.partition(LEASE * 5 / 2);
        until_wait(2);
        wait_for_the_end(&*store, Duration::from_secs(60));
    });
    each_ended_once(&*store, &ids);
    for id in &ids {
        let job = store.get(id).unwrap();
        assert_eq!(
            job.result.unwrap()["fence"],
            job.life.fence.0,
            "the last claim said how it ended"
        );
    }
    let attempts: u64 = ids.iter().map(|id| store.get(id).unwrap().life.fence.0).sum();
    let counts = dispatch.counts();
    eprintln!("{} jobs in {attempts} attempts; {counts:?}", ids.len());
    // The partition was longer than the lease, so somebody was given up.
    assert!(counts.reaped > 0 && attempts > ids.len() as u64, "{counts:?}");
}

#[test]
fn a_server_that_stops_is_taken_over_from_and_workers_go_on() {
    let Some(nats) = Nats::start() else { return };
    let (store, _folder) = store();
    let ids: Vec<_> = (0..30).map(|_| submit(&*store, 0)).collect();
    let first = Dispatch::start(nats.options(), store.clone()).unwrap();
    let second = Mutex::new(None);
    work(&nats.options(), 2, LEASE, steps, || {
        while store.load().unwrap()[0].queued > 20 {
            std::thread::sleep(Duration::from_millis(5));
        }
        first.stop();
        std::thread::sleep(Duration::from_millis(500));
        let waiting = store.load().unwrap()[0].queued;
        assert!(waiting > 0, "nobody gives jobs out while there is no server");
        *second.lock().unwrap() = Some(Dispatch::start(nats.options(), store.clone()).unwrap());
        // Without a hello: the lane is found in the stream.
        wait_for_the_end(&*store, Duration::from_secs(40));
    });
    each_ended_once(&*store, &ids);
}

#[test]
fn two_servers_on_one_record_share_the_workers() {
    let Some(nats) = Nats::start() else { return };
    let (store, _folder) = store();
    let servers = [0, 1].map(|_| Dispatch::start(nats.options(), store.clone()).unwrap());
    let ids: Vec<_> = (0..60).map(|_| submit(&*store, 0)).collect();
    work(
        &nats.options(),
        3,
        Duration::from_secs(20),
        |_, _| Ok(json!(null)),
        || {
            wait_for_the_end(&*store, Duration::from_secs(60));
        },
    );
    each_ended_once(&*store, &ids);
    let asked = servers.each_ref().map(|server| server.counts().questions);
    assert!(asked.iter().all(|questions| *questions > 0), "{asked:?}");
}

/// A client that may do everything, to do harm.
fn harm<T>(nats: &Nats, work: impl AsyncFnOnce(async_nats::jetstream::Context) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let client = async_nats::connect(nats.url()).await.unwrap();
        work(async_nats::jetstream::new(client)).await
    })
}

#[test]
fn offers_that_are_lost_doubled_and_reordered_change_no_outcome() {
    let Some(nats) = Nats::start() else { return };
    let (store, _folder) = store();
    let dispatch = Dispatch::start(nats.options(), store.clone()).unwrap();
    // 60 jobs: the most urgent was submitted last.
    let ids: Vec<_> = (0..60).map(|priority| submit(&*store, priority)).collect();
    let order = Mutex::new(Vec::new());
    let runs = AtomicUsize::new(0);
    let does = |job: &Job, _: &mut Progress<'_>| {
        order.lock().unwrap().push(job.priority);
        let run = runs.fetch_add(1, Ordering::SeqCst);
        if run % 20 == 10 {
            harm(&nats, async |stream| {
                // All that lie there are lost, ...
                stream.get_stream("KINORA_JOBS").await.unwrap().purge().await.unwrap();
                if run == 50 {
                    return;
                }
                // ... and many come that nobody asked for, some of them nonsense.
                for number in 0..40 {
                    let text = if number % 2 == 0 {
                        "{\"v\":1}"
                    } else {
                        "\u{0}not an offer"
                    };
                    stream
                        .publish("kinora.offer.all", text.into())
                        .await
                        .unwrap()
                        .await
                        .unwrap();
                }
            });
        }
        Ok(json!(null))
    };
    // One worker, so that the order in which jobs are given out is seen.
    work(&nats.options(), 1, Duration::from_secs(30), does, || {
        wait_for_the_end(&*store, Duration::from_secs(60));
    });
    each_ended_once(&*store, &ids);
    let urgent_first: Vec<i32> = (0..60).rev().collect();
    assert_eq!(
        order.into_inner().unwrap(),
        urgent_first,
        "the record says who is next, not the offers"
    );
    assert_eq!(runs.into_inner(), 60);
    let counts = dispatch.counts();
    assert_eq!(counts.claims - counts.empty_claims, 60, "{counts:?}");
    for id in &ids {
        assert_eq!(
            (store.get(id).unwrap().state(), store.get(id).unwrap().life.fence.0),
            (State::Succeeded, 1)
        );
    }
}

#[test]
fn no_more_is_offered_than_there_is_work_and_room_for() {
    let Some(nats) = Nats::start() else { return };
    let (store, _folder) = store();
    let options = DispatchOptions {
        standing_offers: 4,
        ..nats.options()
    };
    let dispatch = Dispatch::start(options, store.clone()).unwrap();
    let remote = kinora_dispatch::RemoteStore::connect(&nats.options()).unwrap();
    let claim = kinora_jobs::Claim {
        worker: "w".into(),
        kinds: vec!["video".into()],
        lease: Duration::from_secs(30),
    };
    // It opens the lane.
    assert_eq!(remote.claim(&claim).unwrap(), None);
    for _ in 0..50 {
        submit(&*store, 0);
    }
    dispatch.nudge();
    std::thread::sleep(Duration::from_secs(1));
    let lying = || {
        harm(&nats, async |stream| {
            stream
                .get_stream("KINORA_JOBS")
                .await
                .unwrap()
                .get_info()
                .await
                .unwrap()
                .state
                .messages
        })
    };
    assert_eq!(
        (lying(), dispatch.counts().offers),
        (4, 4),
        "50 jobs wait, nobody is there"
    );
    assert!(remote.claim(&claim).unwrap().is_some());
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!((lying(), dispatch.counts().offers), (4, 5), "one was used, one came");
    // Work that others do is not offered again and again.
    while let Some(job) = store.claim(&claim).unwrap() {
        store.succeed(&job.ticket(), &json!(null)).unwrap();
    }
    for _ in 0..4 {
        assert_eq!(remote.claim(&claim).unwrap(), None);
    }
    std::thread::sleep(Duration::from_millis(500));
    let counts = dispatch.counts();
    assert!(
        (lying(), counts.offers) == (0, 5) && counts.empty_claims >= 4,
        "{counts:?}"
    );
}
