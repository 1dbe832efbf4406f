//! Jobs that are done by workers over NATS, and what both sides say when something is not as it should be.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kinora_dispatch::{Dispatch, DispatchOptions, Durability, Error, RemoteStore};
use kinora_jobs::{
    Claim, Error as JobError, Failure, Job, JobId, MAX_JSON_BYTES, Progress, Retry, State, Stop, Store, Submission,
};
use serde_json::{Value, json};
use support::{Nats, claim, claim_soon, each_ended_once, store, wait_for_the_end, work};

fn submit(store: &dyn Store, request: Value) -> JobId {
    store
        .submit(&Submission::new("p", "k", "video", request))
        .unwrap()
        .job
        .id
}

#[test]
fn jobs_run_to_their_end_on_remote_workers() {
    let Some(nats) = Nats::start() else { return };
    let (store, _folder) = store();
    let dispatch = Dispatch::start(nats.options(), store.clone()).unwrap();
    assert_eq!(dispatch.durability(), Durability::Hint);
    let ids: Vec<_> = (0..40).map(|number| submit(&*store, json!(number))).collect();
    let steps = AtomicUsize::new(0);
    let does = |job: &Job, progress: &mut Progress<'_>| {
        for step in 1..=3 {
            progress.report("diffuse", step, 3)?;
            progress.checkpoint(&format!("{}/{step}", job.id), step)?;
            steps.fetch_add(1, Ordering::SeqCst);
        }
        Ok(json!({ "twice": job.request.as_u64().unwrap() * 2 }))
    };
    work(&nats.options(), 3, Duration::from_secs(10), does, || {
        wait_for_the_end(&*store, Duration::from_secs(60));
    });
    each_ended_once(&*store, &ids);
    for (number, id) in ids.iter().enumerate() {
        let job = store.get(id).unwrap();
        assert_eq!(
            (job.result, job.life.fence.0),
            (Some(json!({ "twice": number * 2 })), 1)
        );
    }
    assert_eq!(steps.into_inner(), 120);
    let counts = dispatch.counts();
    assert!(counts.offers >= 40 && counts.claims >= 40, "{counts:?}");
    assert_eq!((counts.reaped, dispatch.trouble()), (0, None));
    dispatch.stop();
}

#[test]
fn cancelling_and_failing_are_heard_on_both_sides() {
    let Some(nats) = Nats::start() else { return };
    let (store, _folder) = store();
    let _dispatch = Dispatch::start(nats.options(), store.clone()).unwrap();
    let cancelled = submit(&*store, json!("cancel"));
    let failed = submit(&*store, json!("fail"));
    let again = submit(&*store, json!("again"));
    let seen = Mutex::new(Vec::new());
    let does = |job: &Job, progress: &mut Progress<'_>| {
        seen.lock().unwrap().push(job.id.clone());
        match job.request.as_str().unwrap() {
            "cancel" => {
                store.cancel(&job.id).unwrap();
                progress.report("diffuse", 1, 2)?;
                unreachable!()
            }
            "fail" => Err(Stop::Failed(Failure::new("bad", "é"))),
            _ if job.life.attempts == 1 => panic!("the first time"),
            _ => Ok(json!(null)),
        }
    };
    work(&nats.options(), 1, Duration::from_secs(10), does, || {
        wait_for_the_end(&*store, Duration::from_secs(30));
    });
    let job = |id| store.get(id).unwrap();
    assert_eq!(job(&cancelled).state(), State::Cancelled);
    assert_eq!(
        (job(&failed).state(), job(&failed).error),
        (State::Failed, Some(Failure::new("bad", "é")))
    );
    assert_eq!(
        (job(&again).state(), job(&again).result),
        (State::Succeeded, Some(json!(null)))
    );
    assert_eq!(seen.into_inner().unwrap().len(), 4);
}

#[test]
fn workers_get_what_they_can_do_and_see_what_they_hold() {
    let Some(nats) = Nats::start() else { return };
    let (store, _folder) = store();
    let _dispatch = Dispatch::start(nats.options(), store.clone()).unwrap();
    let remote = RemoteStore::connect(&nats.options()).unwrap();
    let of_kind = |kind: &str| {
        store
            .submit(&Submission::new("p", "k", kind, json!(kind)))
            .unwrap()
            .job
            .id
    };
    let [video, strange, edit] = ["video", "a.b *>é", "edit"].map(of_kind);
    assert_eq!(remote.claim(&claim(&["remix"])).unwrap(), None);
    assert_eq!(claim_soon(&remote, &["a.b *>é"]).id, strange);
    let held = claim_soon(&remote, &["edit", "remix"]);
    assert_eq!(held.id, edit);
    assert_eq!(claim_soon(&remote, &[]).id, video);

    assert_eq!(remote.get(&edit).unwrap(), held);
    assert_eq!(
        remote.get(&JobId("job_other".into())),
        Err(JobError::NotForWorkers { call: "get" })
    );
    assert_eq!(remote.load(), Err(JobError::NotForWorkers { call: "load" }));
    assert_eq!(remote.cancel(&edit), Err(JobError::NotForWorkers { call: "cancel" }));
    assert_eq!(remote.reap(10), Ok(Vec::new()));
    remote.succeed(&held.ticket(), &json!(1)).unwrap();
    assert!(
        remote
            .succeed(&held.ticket(), &json!(1))
            .is_err_and(|error| error.is_lost())
    );
    let too_long = Claim {
        lease: Duration::from_secs(1_000_000),
        ..claim(&[])
    };
    let begun = Instant::now();
    let refused = loop {
        // It asks once an offer has come, or none for long.
        match remote.claim(&too_long) {
            Ok(None) if begun.elapsed() < Duration::from_secs(20) => {
                submit(&*store, json!(1));
            }
            answer => break answer,
        }
    };
    assert!(
        matches!(refused, Err(JobError::Field { field: "lease", .. })),
        "{refused:?}"
    );
}

#[test]
fn large_jobs_and_results_pass() {
    let Some(nats) = Nats::start() else { return };
    let (store, _folder) = store();
    let _dispatch = Dispatch::start(nats.options(), store.clone()).unwrap();
    let remote = RemoteStore::connect(&nats.options()).unwrap();
    // As large as a job may be: more than a message of NATS.
    let request = json!("x".repeat(MAX_JSON_BYTES - 2));
    let id = submit(&*store, request.clone());
    let job = claim_soon(&remote, &[]);
    assert!(job.id == id && job.request == request);
    let large = json!("y".repeat(MAX_JSON_BYTES - 10_000));
    let done = remote.succeed(&job.ticket(), &large).unwrap();
    assert!(done.result == Some(large.clone()) && store.get(&id).unwrap().result == Some(large));

    // What no message can carry is an error of the field, as with any store, and the job is still ours.
    let next = submit(&*store, json!(1));
    let job = claim_soon(&remote, &[]);
    assert_eq!(job.id, next);
    let too_large = json!("y".repeat(MAX_JSON_BYTES - 100));
    let refused = remote.succeed(&job.ticket(), &too_large);
    assert!(
        matches!(refused, Err(JobError::Field { field: "result", .. })),
        "{refused:?}"
    );
    remote
        .fail(&job.ticket(), &Failure::new("bad_result", "too large"), Retry::Never)
        .unwrap();
}

#[test]
fn an_answer_that_was_lost_is_given_again() {
    let Some(nats) = Nats::start() else { return };
    let (store, _folder) = store();
    let options = DispatchOptions {
        call_timeout: Duration::from_millis(300),
        ..nats.options()
    };
    let dispatch = Dispatch::start(nats.options(), store.clone()).unwrap();
    let remote = RemoteStore::connect(&options).unwrap();
    // The broker stands still while the end is said: the question lies in its socket, and no answer comes.
    let end_unheard = || {
        let id = submit(&*store, json!(1));
        let job = claim_soon(&remote, &[]);
        let answer = std::thread::scope(|scope| {
            scope.spawn(|| nats.partition(Duration::from_millis(800)));
            std::thread::sleep(Duration::from_millis(200));
            remote.succeed(&job.ticket(), &json!("once"))
        });
        assert!(matches!(answer, Err(JobError::Unreachable { .. })), "{answer:?}");
        let begun = Instant::now();
        while store.get(&id).unwrap().state() != State::Succeeded {
            assert!(
                begun.elapsed() < Duration::from_secs(10),
                "the late question was not answered"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        job.ticket()
    };
    // The same question again is not refused as a second end.
    let again = |ticket| {
        let done = remote.succeed(&ticket, &json!("once")).unwrap();
        assert_eq!((done.state(), done.result), (State::Succeeded, Some(json!("once"))));
        assert!(
            remote
                .succeed(&ticket, &json!("once"))
                .is_err_and(|error| error.is_lost()),
            "a new question is"
        );
    };
    again(end_unheard());
    assert_eq!(dispatch.counts().repeated, 1);
    // Nor if the server that answered is gone.
    let ticket = end_unheard();
    dispatch.stop();
    let second = Dispatch::start(nats.options(), store.clone()).unwrap();
    again(ticket);
    assert_eq!(second.counts().repeated, 0);
}

#[test]
fn without_a_server_or_a_broker_errors_are_typed_and_pass() {
    let Some(mut nats) = Nats::start() else { return };
    let remote = RemoteStore::connect(&nats.options()).unwrap();
    let nobody = remote.claim(&claim(&[])).unwrap_err();
    assert!(
        nobody.is_transient() && nobody.to_string().contains("no server is there"),
        "{nobody}"
    );
    nats.kill();
    std::thread::sleep(Duration::from_millis(100));
    let error = remote.claim(&claim(&[])).unwrap_err();
    assert!(error.is_transient(), "{error}");
    let options = DispatchOptions {
        url: format!("nats://user:secret@127.0.0.1:{}", nats.port),
        call_timeout: Duration::from_millis(500),
        ..nats.options()
    };
    for error in [
        RemoteStore::connect(&options).map(drop).unwrap_err(),
        Dispatch::start(options.clone(), store().0).map(drop).unwrap_err(),
    ] {
        assert!(
            matches!(error, Error::Connect { .. }) && !error.to_string().contains("secret"),
            "{error}"
        );
    }
}

#[test]
fn durability_is_what_the_broker_shows() {
    let Some(plain) = Nats::start() else { return };
    let refused = DispatchOptions {
        require_sync: true,
        ..plain.options()
    };
    let start = |options| Dispatch::start(options, store().0);
    assert_eq!(
        start(refused.clone()).map(drop).unwrap_err(),
        Error::NotSynced { replicas: 1 }
    );
    let monitor = |nats: &Nats| Some(format!("http://127.0.0.1:{}", nats.monitor));
    let asked = DispatchOptions {
        monitor: monitor(&plain),
        ..refused
    };
    assert_eq!(start(asked).map(drop).unwrap_err(), Error::NotSynced { replicas: 1 });

    let synced = Nats::start_with("sync_interval: always", "").unwrap();
    let options = DispatchOptions {
        require_sync: true,
        monitor: monitor(&synced),
        ..synced.options()
    };
    let dispatch = start(options).unwrap();
    assert_eq!(
        (dispatch.durability(), dispatch.durability().warning()),
        (Durability::Synced, None)
    );
    // It cannot be seen without being told where to look.
    let unseen = start(synced.options()).unwrap();
    assert!(unseen.durability() == Durability::Hint && unseen.durability().warning().is_some());
    unseen.stop();
    dispatch.stop();

    let without = Nats::start_with("enabled: false", "").unwrap();
    let error = start(without.options()).map(drop).unwrap_err();
    assert!(matches!(error, Error::JetStream { .. }), "{error}");
}
