//! Who gets in, and who is next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use kinora_jobs::{Allowance, Error, JobId, Load, Submission};
use serde_json::json;

use super::Bench;

pub fn idempotency_keys(bench: &Bench) {
    let mut submission = Submission::new("p", "k", "video", json!({ "a": 1, "b": [2] }));
    submission.idempotency_key = Some("once".into());
    let first = bench.store.submit(&submission).unwrap();
    assert!(first.created);
    submission.request = serde_json::from_str(r#"{ "b": [2], "a": 1 }"#).unwrap();
    let second = bench.store.submit(&submission).unwrap();
    assert_eq!((second.created, &second.job), (false, &first.job));

    let conflict = Error::IdempotencyConflict {
        key: "once".into(),
        job: first.job.id.clone(),
    };
    let mut other = submission.clone();
    other.request = json!({ "a": 2, "b": [2] });
    assert_eq!(bench.store.submit(&other), Err(conflict.clone()));
    let mut other = submission.clone();
    other.kind = "remix".into();
    assert_eq!(bench.store.submit(&other), Err(conflict));

    let mut elsewhere = submission.clone();
    elsewhere.project = "q".into();
    assert!(bench.store.submit(&elsewhere).unwrap().created, "keys are per project");
    // A job that has ended is still the answer, and a full queue does not keep the answer back.
    let limit = Allowance {
        max_queued: 0,
        ..Default::default()
    };
    bench.store.set_allowance("k", &limit).unwrap();
    bench.store.cancel(&first.job.id).unwrap();
    assert_eq!(bench.store.submit(&submission).unwrap().job.id, first.job.id);
    // When the record is gone, so is its key.
    bench.store.delete(&first.job.id).unwrap();
    bench.store.set_allowance("k", &Allowance::default()).unwrap();
    assert!(bench.store.submit(&submission).unwrap().created);
}

pub fn one_idempotency_key_from_many_threads(bench: &Bench) {
    let mut submission = Submission::new("p", "k", "video", json!(1));
    submission.idempotency_key = Some("once".into());
    let answers = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let submitted = bench.store.submit(&submission).unwrap();
                answers.lock().unwrap().push((submitted.job.id, submitted.created));
            });
        }
    });
    let answers = answers.into_inner().unwrap();
    assert_eq!(answers.iter().filter(|answer| answer.1).count(), 1);
    assert_eq!(answers.iter().map(|answer| &answer.0).collect::<BTreeSet<_>>().len(), 1);
}

pub fn names_that_are_taken(bench: &Bench) {
    let mut submission = Submission::new("p", "k", "video", json!(1));
    let id = JobId("video_1".into());
    submission.id = Some(id.clone());
    assert_eq!(bench.store.submit(&submission).unwrap().job.id, id);
    assert_eq!(bench.store.submit(&submission), Err(Error::IdTaken { job: id }));
    let made: BTreeSet<_> = (0..50).map(|_| bench.submit("k").id).collect();
    assert_eq!(made.len(), 50);
}

pub fn order_of_claims(bench: &Bench) {
    let priorities = [0, 5, 0, -5, 5];
    let ids: Vec<_> = priorities
        .iter()
        .map(|priority| bench.submit_with("k", |submission| submission.priority = *priority).id)
        .collect();
    let claimed: Vec<_> = std::iter::from_fn(|| bench.claim()).map(|job| job.id).collect();
    let expected: Vec<_> = [1, 4, 0, 2, 3]
        .iter()
        .map(|index: &usize| ids[*index].clone())
        .collect();
    assert_eq!(claimed, expected);
    // Priority comes before shares.
    bench.submit("new");
    let urgent = bench.submit_with("k", |submission| submission.priority = 1).id;
    assert_eq!(bench.claim().unwrap().id, urgent);
}

pub fn kinds_of_workers(bench: &Bench) {
    let kinds = ["video", "remix", "edit"];
    for kind in kinds {
        bench.submit_with("k", |submission| submission.kind = kind.into());
    }
    assert_eq!(bench.claim_kinds(&["extend"]), None);
    assert_eq!(bench.claim_kinds(&["edit", "remix"]).unwrap().kind, "remix");
    assert_eq!(bench.claim_kinds(&["edit", "remix"]).unwrap().kind, "edit");
    assert_eq!(bench.claim_kinds(&["edit", "remix"]), None);
    assert_eq!(bench.claim_kinds(&[]).unwrap().kind, "video");
}

pub fn jobs_that_are_ready_are_counted(bench: &Bench) {
    let ready = |kinds: &[&str], limit| {
        let kinds: Vec<_> = kinds.iter().map(|kind| (*kind).to_owned()).collect();
        bench.store.ready(&kinds, limit).unwrap()
    };
    assert_eq!(ready(&[], 10), 0);
    for kind in ["video", "video", "remix", "edit"] {
        bench.submit_with(kind, |submission| submission.kind = kind.into());
    }
    assert_eq!((ready(&[], 10), ready(&[], 3)), (4, 3));
    assert_eq!((ready(&["video"], 10), ready(&["edit", "video"], 10)), (2, 3));
    assert_eq!((ready(&["edit", "video"], 2), ready(&["extend"], 10)), (2, 0));
    bench.claim_kinds(&["remix"]).unwrap();
    assert_eq!((ready(&["remix"], 10), ready(&[], 10)), (0, 3));
}

/// Claims `count` jobs, ends each, and says how many each key had.
fn served(bench: &Bench, count: usize) -> BTreeMap<String, usize> {
    let mut served = BTreeMap::new();
    for _ in 0..count {
        let job = bench.claim().unwrap();
        bench.store.succeed(&job.ticket(), &json!(null)).unwrap();
        *served.entry(job.key).or_default() += 1;
    }
    served
}

pub fn shares_follow_weights(bench: &Bench) {
    let weight = |weight| Allowance {
        weight,
        ..Default::default()
    };
    bench.store.set_allowance("big", &weight(3.0)).unwrap();
    assert_eq!(bench.store.allowance("big").unwrap(), weight(3.0));
    assert_eq!(bench.store.allowance("never seen").unwrap(), Allowance::default());
    let refused = bench.store.set_allowance("big", &weight(0.0));
    assert!(matches!(refused, Err(Error::Field { field: "weight", .. })));
    // One key floods the queue first; the others do not wait behind it.
    for _ in 0..60 {
        bench.submit("flood");
    }
    for _ in 0..60 {
        bench.submit("big");
    }
    for _ in 0..60 {
        bench.submit_with("costly", |submission| submission.cost = 2.0);
    }
    let served = served(bench, 45);
    let share = |key: &str| served.get(key).copied().unwrap_or(0);
    // 3 : 1 : 1/2
    assert!(
        share("big").abs_diff(30) <= 1 && share("flood").abs_diff(10) <= 1 && share("costly").abs_diff(5) <= 1,
        "{served:?}"
    );
}

pub fn idle_keys_save_nothing_up(bench: &Bench) {
    bench.submit("sleeper");
    served(bench, 1);
    for _ in 0..40 {
        bench.submit("busy");
    }
    served(bench, 20);
    for _ in 0..20 {
        bench.submit("sleeper");
    }
    let served = served(bench, 20);
    assert!(served["busy"].abs_diff(10) <= 1, "{served:?}");
}

pub fn quotas(bench: &Bench) {
    let allowance = Allowance {
        weight: 1.0,
        max_queued: 2,
        max_running: 1,
        max_priority: 0,
    };
    bench.store.set_allowance("small", &allowance).unwrap();
    let submission = Submission::new("project", "small", "video", json!(1));
    let first = bench.submit("small").id;
    bench.submit("small");
    let full = Error::QueueFull {
        key: "small".into(),
        limit: 2,
    };
    assert_eq!(bench.store.submit(&submission), Err(full.clone()));
    bench.submit("other");

    let job = bench.claim().unwrap();
    assert_eq!(
        job.key, "other",
        "the key that comes first in the alphabet of those that used nothing"
    );
    let job = bench.claim().unwrap();
    assert_eq!((&job.id, job.key.as_str()), (&first, "small"));
    assert_eq!(bench.claim(), None, "one runs, and no more may");
    let load = |key: &str, queued, running| Load {
        key: key.into(),
        queued,
        running,
    };
    assert_eq!(bench.store.load().unwrap(), [load("other", 0, 1), load("small", 1, 1)]);
    assert!(
        bench.store.submit(&submission).unwrap().created,
        "one has begun, so one more may wait"
    );
    let mut urgent = submission.clone();
    urgent.priority = 1;
    assert_eq!(
        bench.store.submit(&urgent),
        Err(Error::Priority { priority: 1, limit: 0 })
    );

    // A job that goes back to the queue is not refused; one that somebody wants again is.
    bench.wait(10);
    assert_eq!(bench.store.reap(10).unwrap().len(), 2);
    let again = bench.claim().unwrap();
    let (failing, other) = if again.key == "small" {
        (again, None)
    } else {
        (bench.claim().unwrap(), Some(again))
    };
    assert!(other.is_none() || failing.key == "small");
    assert_eq!(
        bench.store.cancel(&failing.id).unwrap().state(),
        kinora_jobs::State::Running
    );
    bench.store.stop(&failing.ticket()).unwrap();
    assert_eq!(bench.store.retry(&failing.id), Err(full));
    assert!(bench.claim().is_some(), "another may run now");
}

pub fn the_first_job_is_found_among_many_keys(bench: &Bench) {
    // More keys than are asked at once, each with a job of two kinds; one that has used much has the urgent one.
    for index in 0..40 {
        let kind = if index % 2 == 0 { "video" } else { "remix" };
        bench.submit_with(&format!("k{index:02}"), |submission| submission.kind = kind.into());
    }
    bench.submit_with("z", |submission| submission.priority = 9);
    assert_eq!(bench.claim().unwrap().key, "z");
    let urgent = bench.submit_with("z", |submission| {
        submission.priority = 5;
        submission.kind = "edit".into();
    });
    // It waits, but not for these workers.
    assert_eq!(bench.claim_kinds(&["remix"]).unwrap().key, "k01");
    assert_eq!(bench.claim_kinds(&["video", "remix", "upscale"]).unwrap().key, "k00");
    assert_eq!(bench.claim_kinds(&["upscale"]), None);
    assert_eq!(bench.claim_kinds(&["remix", "edit"]).unwrap().id, urgent.id);
    // The highest priority that waits is not ready, or its key may run no more: the others are found nevertheless.
    let job = bench.submit_with("z", |submission| submission.priority = 9);
    let held = bench.claim().unwrap();
    assert_eq!(held.id, job.id);
    let later = kinora_jobs::Retry::At(held.started_at.unwrap().after(std::time::Duration::from_secs(60)));
    let failure = kinora_jobs::Failure::new("x", "y");
    bench.store.fail(&held.ticket(), &failure, later).unwrap();
    let rest: Vec<_> = std::iter::from_fn(|| bench.claim()).map(|job| job.key).collect();
    let expected: Vec<_> = (2..40).map(|index| format!("k{index:02}")).collect();
    assert_eq!(rest, expected, "the least used first, by name among equals");
    bench.wait(60);
    assert_eq!(bench.claim().unwrap().id, job.id);
}

pub fn many_threads_claim_each_job_once(bench: &Bench) {
    let ids: BTreeSet<_> = (0..200)
        .map(|index| bench.submit(&format!("k{}", index % 7)).id)
        .collect();
    let claimed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while let Some(job) = bench.claim() {
                    bench.store.succeed(&job.ticket(), &json!(null)).unwrap();
                    claimed.lock().unwrap().push(job.id);
                }
            });
        }
    });
    let claimed = claimed.into_inner().unwrap();
    assert_eq!(claimed.len(), 200);
    assert_eq!(claimed.into_iter().collect::<BTreeSet<_>>(), ids);
    assert_eq!(bench.store.load().unwrap(), []);
}
