//! Lists, the log, retention and webhooks.

use std::time::Duration;

use kinora_jobs::{DeliveryState, Error, EventKind, Order, Query, Scope, State};
use serde_json::json;

use super::{Bench, LEASE};

pub fn pages(bench: &Bench) {
    let mut ids: Vec<_> = (0..10).map(|_| bench.submit("k").id).collect();
    let foreign = bench
        .submit_with("k", |submission| submission.project = "other".into())
        .id;
    let mut query = Query {
        project: Some("project".into()),
        limit: 4,
        ..Default::default()
    };
    let page = |query: &Query| {
        let listing = bench.store.list(query).unwrap();
        (
            listing.jobs.into_iter().map(|job| job.id).collect::<Vec<_>>(),
            listing.next,
        )
    };
    let (first, next) = page(&query);
    // Between two pages a job comes and one goes: the one that the next page begins behind.
    bench.submit("k");
    bench.store.cancel(&first[3]).unwrap();
    bench.store.delete(&first[3]).unwrap();
    query.after = next;
    let (second, next) = page(&query);
    query.after = next;
    let (third, next) = page(&query);
    assert_eq!(next, None);
    ids.reverse();
    assert_eq!([first, second, third].concat(), ids);

    let oldest = Query {
        order: Order::Oldest,
        limit: 3,
        ..Default::default()
    };
    let (first, next) = page(&oldest);
    assert_eq!(first[..], [ids[9].clone(), ids[8].clone(), ids[7].clone()]);
    let (second, next) = page(&Query {
        after: next,
        ..oldest.clone()
    });
    assert_eq!(second[..], [ids[6].clone(), ids[5].clone(), ids[4].clone()]);
    let (third, _) = page(&Query { after: next, ..oldest });
    assert_eq!(third[0], ids[2], "the one between was deleted");
    let filtered = |state, kind: &str| {
        page(&Query {
            state,
            kind: Some(kind.into()),
            project: Some("other".into()),
            ..Default::default()
        })
        .0
    };
    assert_eq!(filtered(Some(State::Queued), "video"), [foreign]);
    assert_eq!(filtered(Some(State::Running), "video"), []);
    assert_eq!(filtered(None, "remix"), []);
    // A page that ends with the last job says so.
    let exact = Query {
        project: Some("other".into()),
        limit: 1,
        ..Default::default()
    };
    assert_eq!(page(&exact).1, None);
}

pub fn events_are_a_log(bench: &Bench) {
    let one = bench.submit("k").id;
    let two = bench
        .submit_with("k", |submission| submission.project = "other".into())
        .id;
    let job = bench.claim().unwrap();
    bench.store.checkpoint(&job.ticket(), "c", 1, LEASE).unwrap();
    bench.wait(10);
    bench.store.reap(10).unwrap();
    bench.store.cancel(&two).unwrap();
    let job = bench.claim().unwrap();
    bench.store.succeed(&job.ticket(), &json!(1)).unwrap();
    let kinds = |scope: &Scope, after| {
        let events = bench.store.events(scope, after, 100).unwrap();
        assert!(events.is_sorted_by(|a, b| a.seq < b.seq) && events.iter().all(|event| event.seq > after));
        events.into_iter().map(|event| event.kind).collect::<Vec<_>>()
    };
    use EventKind::{Cancelled, Checkpoint, Claimed, Requeued, Submitted, Succeeded};
    let life = [Submitted, Claimed, Checkpoint, Requeued, Claimed, Succeeded];
    assert_eq!(kinds(&Scope::Job(one.clone()), 0), life);
    assert_eq!(kinds(&Scope::Project("other".into()), 0), [Submitted, Cancelled]);
    let all = bench.store.events(&Scope::All, 0, 100).unwrap();
    assert_eq!(all.len(), 8);
    // Whoever lost the connection after the third goes on behind it, page by page.
    assert_eq!(bench.store.events(&Scope::All, all[2].seq, 2).unwrap(), all[3..5]);
    assert_eq!(kinds(&Scope::Job(one.clone()), all[7].seq), []);
    // Numbers are not used again, even if the newest events were deleted.
    bench.store.delete(&one).unwrap();
    bench.store.delete(&two).unwrap();
    bench.submit("k");
    let after = bench.store.events(&Scope::All, 0, 100).unwrap();
    assert!(after.len() == 1 && after[0].seq > all[7].seq);
}

pub fn retention(bench: &Bench) {
    let store = &bench.store;
    let keep = |seconds| {
        move |submission: &mut kinora_jobs::Submission| submission.retain = Some(Duration::from_secs(seconds))
    };
    let short = bench.submit_with("k", keep(5)).id;
    let long = bench.submit_with("k", keep(50)).id;
    let for_ever = bench.submit("k").id;
    bench.wait(100);
    assert_eq!(store.expired(10).unwrap(), [], "the time begins with the end");
    for _ in 0..3 {
        let ticket = bench.claim().unwrap().ticket();
        store.checkpoint(&ticket, "c", 1, LEASE).unwrap();
        store.succeed(&ticket, &json!({ "file": "v" })).unwrap();
    }
    bench.wait(4);
    assert_eq!(store.expired(10).unwrap(), []);
    bench.wait(1);
    let expired = store.expired(10).unwrap();
    assert_eq!(expired.iter().map(|job| &job.id).collect::<Vec<_>>(), [&short]);
    assert!(
        expired[0].result.is_some() && expired[0].checkpoint.is_some(),
        "what is to be deleted is still named"
    );
    let purged = store.purge(&short).unwrap();
    assert_eq!(
        (purged.state(), &purged.result, &purged.checkpoint),
        (State::Succeeded, &None, &None)
    );
    assert_eq!(store.purge(&short).unwrap(), purged, "twice is once");
    assert_eq!(store.expired(10).unwrap(), []);
    bench.wait(1000);
    assert_eq!(store.expired(10).unwrap()[0].id, long);
    assert_eq!(store.get(&for_ever).unwrap().expires_at, None);
    let running = bench.submit("k").id;
    bench.claim().unwrap();
    let refused = Error::NotEnded {
        job: running.clone(),
        state: State::Running,
    };
    assert_eq!(store.purge(&running), Err(refused));
}

pub fn deleting(bench: &Bench) {
    let store = &bench.store;
    let id = bench
        .submit_with("k", |submission| submission.webhooks = vec!["e".into()])
        .id;
    let refused = |state| Err(Error::NotEnded { job: id.clone(), state });
    assert_eq!(store.delete(&id), refused(State::Queued));
    let ticket = bench.claim().unwrap().ticket();
    assert_eq!(store.delete(&id), refused(State::Running));
    store.succeed(&ticket, &json!(1)).unwrap();
    store.delete(&id).unwrap();
    let gone = Error::NotFound { job: id.clone() };
    assert_eq!(store.get(&id), Err(gone.clone()));
    assert_eq!(store.delete(&id), Err(gone.clone()));
    assert_eq!(bench.beat(&ticket), Err(gone));
    assert_eq!(store.events(&Scope::Job(id), 0, 10).unwrap(), []);
    assert_eq!(
        store.take_deliveries(10, LEASE).unwrap().len(),
        1,
        "its end is still told"
    );
}

pub fn webhooks(bench: &Bench) {
    let store = &bench.store;
    let both = vec!["https://a.example".to_owned(), "b".to_owned()];
    let id = bench.submit_with("k", |submission| submission.webhooks = both).id;
    let ticket = bench.claim().unwrap().ticket();
    assert_eq!(store.outbox(&id).unwrap(), [], "nothing has ended");
    store.succeed(&ticket, &json!(1)).unwrap();
    let first = store.take_deliveries(10, LEASE).unwrap();
    assert_eq!(first.len(), 2);
    assert_eq!((first[0].endpoint.as_str(), first[0].attempt), ("https://a.example", 1));
    assert_eq!(first[0].payload["type"], "job.succeeded");
    assert_eq!(first[0].payload["job"]["id"], id.0);
    assert_eq!(store.take_deliveries(10, LEASE).unwrap(), [], "they are being sent");

    store.delivered(first[0].id, 1).unwrap();
    let lost = |delivery, attempt| Err(Error::DeliveryLost { delivery, attempt });
    assert_eq!(store.delivered(first[0].id, 1), lost(first[0].id, 1));
    let now = first[1].created_at;
    store
        .undelivered(first[1].id, 1, "503", Some(now.after(Duration::from_secs(30))))
        .unwrap();
    bench.wait(29);
    assert_eq!(store.take_deliveries(10, LEASE).unwrap(), []);
    bench.wait(1);
    let second = store.take_deliveries(10, LEASE).unwrap();
    assert_eq!((second.len(), second[0].id, second[0].attempt), (1, first[1].id, 2));
    store.undelivered(second[0].id, 2, "410", None).unwrap();
    bench.wait(10_000);
    assert_eq!(store.take_deliveries(10, LEASE).unwrap(), []);
    let states: Vec<_> = store
        .outbox(&id)
        .unwrap()
        .into_iter()
        .map(|entry| (entry.state, entry.last_error))
        .collect();
    assert_eq!(
        states,
        [
            (DeliveryState::Delivered, None),
            (DeliveryState::Dead, Some("410".into()))
        ]
    );
    assert_eq!(store.prune_outbox(now), Ok(0));
    assert_eq!(store.prune_outbox(now.after(LEASE)), Ok(2));
}

pub fn webhooks_are_taken_over_and_replayed(bench: &Bench) {
    let store = &bench.store;
    let id = bench
        .submit_with("k", |submission| submission.webhooks = vec!["e".into()])
        .id;
    store.cancel(&id).unwrap();
    let first = store.take_deliveries(1, LEASE).unwrap().remove(0);
    // The sender dies; another takes over; the first comes back and is not heard.
    bench.wait(10);
    let second = store.take_deliveries(1, LEASE).unwrap().remove(0);
    assert_eq!((second.id, second.attempt), (first.id, 2));
    let lost = Error::DeliveryLost {
        delivery: first.id,
        attempt: 1,
    };
    assert_eq!(store.undelivered(first.id, 1, "late", None), Err(lost.clone()));
    assert_eq!(store.delivered(first.id, 1), Err(lost));
    store.delivered(second.id, 2).unwrap();
    store.replay(second.id).unwrap();
    let third = store.take_deliveries(1, LEASE).unwrap().remove(0);
    assert_eq!((third.id, third.attempt, &third.payload), (first.id, 3, &first.payload));
    assert!(matches!(store.replay(9999), Err(Error::DeliveryLost { .. })));
}

pub fn the_newest_event_and_places_in_the_queue(bench: &Bench) {
    assert_eq!(bench.store.last_event(&Scope::All).unwrap(), 0);
    let first = bench.submit("k");
    let second = bench.submit("other");
    let urgent = bench.submit_with("k", |submission| submission.priority = 1);
    for scope in [
        Scope::All,
        Scope::Job(first.id.clone()),
        Scope::Project("project".into()),
        Scope::Job(urgent.id.clone()),
    ] {
        let log = bench.store.events(&scope, 0, 1000).unwrap();
        assert_eq!(
            bench.store.last_event(&scope).unwrap(),
            log.last().unwrap().seq,
            "{scope:?}"
        );
    }
    let place = |id| bench.store.queue_position(id).unwrap();
    assert_eq!(
        [place(&urgent.id), place(&first.id), place(&second.id)],
        [Some(0), Some(1), Some(2)]
    );
    assert_eq!(bench.claim().unwrap().id, urgent.id);
    assert_eq!(
        [place(&urgent.id), place(&first.id), place(&second.id)],
        [None, Some(0), Some(1)]
    );
    let missing = kinora_jobs::JobId("missing".into());
    assert!(matches!(
        bench.store.queue_position(&missing),
        Err(Error::NotFound { .. })
    ));
}
