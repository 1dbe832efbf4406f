//! Streams of events: order, resuming, leaving, many at once.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::native_support::{Steps, bench, bytes_of};
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use kinora_jobs::{State, Store};

const FAST: Steps = Steps {
    steps: 5,
    pause: Duration::from_millis(2),
    fails: false,
};

#[tokio::test]
async fn a_finished_job_tells_its_whole_story_and_goes_on_anywhere() {
    let bench = bench();
    *bench.store.preview.lock().unwrap() = Some("previews/x/1-2.webp".to_owned());
    let id = bench.finish("default");
    let all = bench.events(&id, 0).await;
    let names: Vec<_> = all.iter().map(|event| event.data.name()).collect();
    let expected = [
        "job.queued",
        "job.started",
        "job.progress",
        "job.progress",
        "job.preview",
        "job.succeeded",
    ];
    assert_eq!(names, expected);
    assert!(all.is_sorted_by_key(|event| event.sequence));
    for event in &all {
        let rest: Vec<_> = all
            .iter()
            .filter(|later| later.sequence > event.sequence)
            .cloned()
            .collect();
        let mut resumed = bench.events(&id, event.sequence).await;
        let mut rest = rest;
        // What is told again is the same, the pace too, wherever a client goes on; only the clock is that of now.
        resumed.iter_mut().chain(&mut rest).for_each(|event| event.at_ms = 0);
        assert_eq!(resumed, rest);
    }
    let request = |path: String| Request::get(path).body(Body::empty()).unwrap();
    let after = bench
        .send(request(format!("/api/jobs/{id}/events?after={}", all[3].sequence)))
        .await;
    assert_eq!(after.headers()["content-type"], "text/event-stream");
    let text = String::from_utf8(bytes_of(after).await.to_vec()).unwrap();
    assert_eq!(text.matches("event: ").count(), 1, "{text}");
    let wrong = bench.send(request(format!("/api/jobs/{id}/events?after=x"))).await;
    assert_eq!(wrong.status(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_watchers_cost_no_more_questions_than_one() {
    let bench = Arc::new(bench());
    let id = bench.submit("default");
    let mut watchers = Vec::new();
    for _ in 0..200 {
        let (bench, id) = (bench.clone(), id.clone());
        watchers.push(tokio::spawn(async move { bench.events(&id, 0).await }));
    }
    let watching = || async {
        let metrics = bench.send(Request::get("/metrics").body(Body::empty()).unwrap()).await;
        String::from_utf8(bytes_of(metrics).await.to_vec()).unwrap()
    };
    while !watching().await.contains("kinora_event_watchers 200\n") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (before, begun) = (
        bench.store.event_reads.load(Ordering::SeqCst),
        std::time::Instant::now(),
    );
    let at_work = bench.clone();
    let state = tokio::task::spawn_blocking(move || at_work.work(&FAST)).await.unwrap();
    assert_eq!(state, State::Succeeded);
    let mut stories = Vec::new();
    for watcher in watchers {
        stories.push(watcher.await.unwrap());
    }
    let reads = bench.store.event_reads.load(Ordering::SeqCst) - before;
    // The one reader looks at most every 150 ms, and asks for a place in the queue never in this time.
    let ticks = begun.elapsed().as_millis() as u64 / 150 + 10;
    assert!(reads <= ticks, "{reads} questions, {ticks} ticks");
    let numbers = |story: &[kinora_api::JobEvent]| story.iter().map(|event| event.sequence).collect::<Vec<_>>();
    assert_eq!(stories[0].len(), 2 + 5 + 1);
    assert!(stories.iter().all(|story| numbers(story) == numbers(&stories[0])));
    assert!(watching().await.contains("kinora_event_watchers 0\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_is_forgotten_and_a_failed_job_ends_its_stream() {
    let bench = Arc::new(bench());
    let id = bench.submit("default");
    let request = Request::get(format!("/api/jobs/{id}/events"))
        .body(Body::empty())
        .unwrap();
    let mut left = bench.send(request).await.into_body();
    left.frame().await.unwrap().unwrap();
    drop(left);
    let watchers = async {
        loop {
            let metrics = bench.send(Request::get("/metrics").body(Body::empty()).unwrap()).await;
            if String::from_utf8_lossy(&bytes_of(metrics).await).contains("kinora_event_watchers 0\n") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), watchers)
        .await
        .expect("it is forgotten");
    let (watching, at_work) = (bench.clone(), bench.clone());
    let name = id.clone();
    let story = tokio::spawn(async move { watching.events(&name, 0).await });
    tokio::task::spawn_blocking(move || at_work.work(&Steps { fails: true, ..FAST }))
        .await
        .unwrap();
    assert_eq!(story.await.unwrap().last().unwrap().data.name(), "job.failed");
    bench.store.retry(&id).unwrap();
    let story = {
        let at_work = bench.clone();
        let worker = tokio::task::spawn_blocking(move || at_work.work(&FAST));
        let story = bench.events(&id, 0).await;
        worker.await.unwrap();
        story
    };
    assert_eq!(
        story.last().unwrap().data.name(),
        "job.succeeded",
        "a failure that was tried again is not the end"
    );
}
