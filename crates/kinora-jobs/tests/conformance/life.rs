//! The life of one job.

use std::time::Duration;

use kinora_jobs::{
    Directive, Error, EventKind, Failure, Fence, Illegal, JobId, MAX_JSON_BYTES, Report, Retry, Scope, State, Timestamp,
};
use serde_json::json;

use super::{Bench, LEASE, illegal};

pub fn submitted_is_stored(bench: &Bench) {
    let job = bench.submit_with("k", |submission| {
        submission.priority = -3;
        submission.cost = 2.5;
        submission.max_attempts = 7;
        submission.retain = Some(Duration::from_secs(60));
        submission.idempotency_key = Some("i".into());
        submission.webhooks = vec!["https://a.example/hook".into()];
        submission.request = json!({ "prompt": "é \u{1F600} \" \n", "seed": u64::MAX, "list": [1, 2.5, null] });
    });
    assert_eq!(bench.store.get(&job.id).unwrap(), job);
    assert_eq!((job.state(), job.priority, job.cost), (State::Queued, -3, 2.5));
    assert_eq!(job.request["seed"], u64::MAX);
    assert_eq!((job.life.max_attempts, job.life.fence), (7, Fence(0)));
    assert_eq!((job.started_at, job.finished_at, job.expires_at), (None, None, None));
    let missing = JobId("job_x".into());
    assert_eq!(bench.store.get(&missing), Err(Error::NotFound { job: missing.clone() }));
    assert_eq!(bench.store.cancel(&missing), Err(Error::NotFound { job: missing }));
}

pub fn leases_end_and_tokens_fence(bench: &Bench) {
    let id = bench.submit("k").id;
    let first = bench.claim().unwrap();
    assert_eq!(
        (&first.id, first.state(), first.life.fence),
        (&id, State::Running, Fence(1))
    );
    assert_eq!(bench.claim(), None);

    bench.wait(9);
    assert_eq!(bench.store.reap(10).unwrap(), []);
    assert_eq!(bench.beat(&first.ticket()), Ok(Directive::Continue));
    bench.wait(9);
    assert_eq!(
        bench.store.reap(10).unwrap(),
        [],
        "a sign of life made the lease longer"
    );
    bench.wait(1);
    assert_eq!(bench.store.reap(10).unwrap(), std::slice::from_ref(&id));
    assert_eq!(bench.store.reap(10).unwrap(), [], "once is enough");
    let waiting = bench.store.get(&id).unwrap();
    assert_eq!(
        (waiting.state(), waiting.error.unwrap().code.as_str()),
        (State::Queued, "worker_lost")
    );

    let second = bench.claim().unwrap();
    assert_eq!((second.life.fence, second.life.attempts), (Fence(2), 2));
    // The first worker wakes up. Nothing that it says counts.
    let (store, stale) = (&bench.store, first.ticket());
    let refused = |command| Illegal::Stale {
        command,
        given: Fence(1),
        newest: Fence(2),
    };
    let before = store.get(&id).unwrap();
    let failure = Failure::new("x", "y");
    assert_eq!(illegal(bench.beat(&stale)), refused("heartbeat"));
    assert_eq!(illegal(store.checkpoint(&stale, "c", 9, LEASE)), refused("checkpoint"));
    assert_eq!(illegal(store.succeed(&stale, &json!(1))), refused("succeed"));
    assert_eq!(illegal(store.fail(&stale, &failure, Retry::Never)), refused("fail"));
    assert_eq!(illegal(store.release(&stale)), refused("release"));
    assert_eq!(illegal(store.stop(&stale)), refused("stop"));
    assert_eq!(store.get(&id).unwrap(), before);

    // The second is late, but the job is still its own.
    bench.wait(100);
    let done = store.succeed(&second.ticket(), &json!({ "file": "a" })).unwrap();
    assert_eq!(
        (done.state(), done.result),
        (State::Succeeded, Some(json!({ "file": "a" })))
    );
    assert_eq!(done.error, None);
    let twice = Illegal::Finished {
        command: "succeed",
        state: State::Succeeded,
        fence: Fence(2),
    };
    assert_eq!(illegal(store.succeed(&second.ticket(), &json!(2))), twice);
    assert_eq!(illegal(store.succeed(&stale, &json!(2))), refused("succeed"));
    assert_eq!(bench.store.reap(10).unwrap(), []);
}

pub fn attempts_are_limited(bench: &Bench) {
    let id = bench.submit_with("k", |submission| submission.max_attempts = 2).id;
    for state in [State::Queued, State::Failed] {
        bench.claim().unwrap();
        bench.wait(10);
        assert_eq!(bench.store.reap(10).unwrap(), std::slice::from_ref(&id));
        assert_eq!(bench.store.get(&id).unwrap().state(), state);
    }
    assert_eq!(bench.claim(), None);
    let again = bench.store.retry(&id).unwrap();
    assert_eq!(
        (again.state(), again.error, again.finished_at),
        (State::Queued, None, None)
    );
    let job = bench.claim().unwrap();
    assert_eq!(
        (job.life.fence, job.life.attempts, job.life.idle_attempts),
        (Fence(3), 3, 1)
    );
}

pub fn cancelling(bench: &Bench) {
    let store = &bench.store;
    let waiting = bench.submit("k").id;
    assert_eq!(store.cancel(&waiting).unwrap().state(), State::Cancelled);
    assert_eq!(
        store.cancel(&waiting).unwrap().state(),
        State::Cancelled,
        "twice is once"
    );
    assert_eq!(bench.claim(), None);

    let running = bench.submit("k").id;
    let ticket = bench.claim().unwrap().ticket();
    assert_eq!(illegal(store.stop(&ticket)), Illegal::NotCancelled);
    assert_eq!(store.cancel(&running).unwrap().state(), State::Running);
    store.cancel(&running).unwrap();
    assert_eq!(bench.beat(&ticket), Ok(Directive::Cancel));
    assert_eq!(store.checkpoint(&ticket, "c", 1, LEASE), Ok(Directive::Cancel));
    let stopped = store.stop(&ticket).unwrap();
    assert_eq!(stopped.state(), State::Cancelled);
    assert!(stopped.finished_at.is_some());
    let asked = store.events(&Scope::Job(running), 0, 100).unwrap();
    let asked = asked.iter().filter(|event| event.kind == EventKind::CancelRequested);
    assert_eq!(asked.count(), 1);

    // The worker dies instead of hearing of it.
    let id = bench.submit("k").id;
    bench.claim().unwrap();
    store.cancel(&id).unwrap();
    bench.wait(10);
    store.reap(10).unwrap();
    assert_eq!(store.get(&id).unwrap().state(), State::Cancelled);

    // The worker is done before it hears of it: then it is done.
    let id = bench.submit("k").id;
    let ticket = bench.claim().unwrap().ticket();
    store.cancel(&id).unwrap();
    assert_eq!(store.succeed(&ticket, &json!(1)).unwrap().state(), State::Succeeded);
    let late = Illegal::Finished {
        command: "cancel",
        state: State::Succeeded,
        fence: Fence(1),
    };
    assert_eq!(illegal(store.cancel(&id)), late);
}

pub fn failing_and_trying_again(bench: &Bench) {
    let store = &bench.store;
    let id = bench.submit("k").id;
    let job = bench.claim().unwrap();
    let failure = Failure::new("out_of_memory", "4 GiB are missing");
    let now = job.started_at.unwrap();
    let later = Retry::At(now.after(Duration::from_secs(5)));
    let waiting = store.fail(&job.ticket(), &failure, later).unwrap();
    assert_eq!(
        (waiting.state(), waiting.error.as_ref()),
        (State::Queued, Some(&failure))
    );
    assert_eq!(bench.claim(), None, "not yet");
    bench.wait(5);
    let job = bench.claim().unwrap();
    assert_eq!(job.started_at, Some(now), "the first start counts");
    let failed = store.fail(&job.ticket(), &failure, Retry::Never).unwrap();
    assert_eq!((failed.state(), failed.error.as_ref()), (State::Failed, Some(&failure)));
    assert_eq!(bench.claim(), None);
    assert_eq!(store.get(&id).unwrap(), failed);

    let succeeded = bench.submit("k").id;
    let ticket = bench.claim().unwrap().ticket();
    assert_eq!(
        illegal(store.retry(&succeeded)),
        Illegal::State {
            command: "retry",
            state: State::Running
        }
    );
    store.succeed(&ticket, &json!(null)).unwrap();
    assert!(matches!(illegal(store.retry(&succeeded)), Illegal::Finished { .. }));
}

pub fn releasing(bench: &Bench) {
    let id = bench.submit_with("k", |submission| submission.max_attempts = 1).id;
    for fence in 1..5 {
        let job = bench.claim().unwrap();
        assert_eq!((job.life.fence, job.life.attempts), (Fence(fence), 1));
        assert_eq!(bench.store.release(&job.ticket()).unwrap().state(), State::Queued);
        assert!(matches!(illegal(bench.beat(&job.ticket())), Illegal::Stale { .. }));
    }
    assert_eq!(bench.store.get(&id).unwrap().life.attempts, 0);
}

pub fn checkpoints(bench: &Bench) {
    let store = &bench.store;
    let id = bench.submit_with("k", |submission| submission.max_attempts = 1).id;
    let first = bench.claim().unwrap();
    assert_eq!(first.checkpoint, None);
    bench.wait(9);
    assert_eq!(
        store.checkpoint(&first.ticket(), "latents/1", 1, LEASE),
        Ok(Directive::Continue)
    );
    bench.wait(9);
    assert_eq!(store.reap(10).unwrap(), [], "a checkpoint is a sign of life");
    bench.wait(1);
    store.reap(10).unwrap();
    let second = bench
        .claim()
        .expect("the job moved, so its only attempt is not used up");
    let kept = second.checkpoint.clone().unwrap();
    assert_eq!(
        (kept.reference.as_str(), kept.step, kept.fence),
        ("latents/1", 1, Fence(1))
    );
    assert!(store.checkpoint(&first.ticket(), "latents/9", 9, LEASE).is_err());
    bench.wait(10);
    store.reap(10).unwrap();
    let failed = store.get(&id).unwrap();
    assert_eq!(
        (failed.state(), failed.checkpoint.as_ref()),
        (State::Failed, Some(&kept))
    );
    // Whoever tries it again goes on from there.
    assert_eq!(store.retry(&id).unwrap().checkpoint, Some(kept));
}

pub fn progress_is_seen(bench: &Bench) {
    let id = bench.submit("k").id;
    let ticket = bench.claim().unwrap().ticket();
    let report = |done| Report {
        stage: "diffuse".into(),
        done,
        total: 30,
        preview: (done == 2).then(|| "previews/2.webp".to_owned()),
    };
    for done in [1, 1, 2] {
        bench.store.heartbeat(&ticket, Some(&report(done)), LEASE).unwrap();
    }
    bench.beat(&ticket).unwrap();
    assert_eq!(bench.store.get(&id).unwrap().progress, Some(report(2)));
    let events = bench.store.events(&Scope::Job(id), 0, 100).unwrap();
    let steps: Vec<_> = events
        .iter()
        .filter(|event| event.kind == EventKind::Progress)
        .map(|event| &event.data["done"])
        .collect();
    assert_eq!(steps, [1, 2], "what is not new is no event");
}

pub fn impossible_values_change_nothing(bench: &Bench) {
    let store = &bench.store;
    let id = bench.submit("k").id;
    let job = bench.claim().unwrap();
    let before = (store.get(&id).unwrap(), store.events(&Scope::All, 0, 100).unwrap());
    let field = |answer: Result<(), Error>| match answer {
        Err(Error::Field { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    let ticket = job.ticket();
    let long = json!("x".repeat(MAX_JSON_BYTES));
    assert_eq!(field(store.succeed(&ticket, &long).map(drop)), "result");
    assert_eq!(field(store.checkpoint(&ticket, "", 1, LEASE).map(drop)), "reference");
    let failure = Failure::new("", "");
    assert_eq!(
        field(store.fail(&ticket, &failure, Retry::At(Timestamp(0))).map(drop)),
        "failure.code"
    );
    let query = kinora_jobs::Query {
        limit: 0,
        ..Default::default()
    };
    assert_eq!(field(store.list(&query).map(drop)), "limit");
    assert_eq!(
        before,
        (store.get(&id).unwrap(), store.events(&Scope::All, 0, 100).unwrap())
    );
}
