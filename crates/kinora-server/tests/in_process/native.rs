//! The native routes: what they answer, and that it is what the OpenAPI document says.

use std::sync::Arc;
use std::time::Duration;

use crate::native_support::{Bench, Steps, bench, bytes_of, check, json_of};
use axum::body::Body;
use axum::http::Request;
use kinora_jobs::{JobId, State, Store};
use kinora_server::{FileRef, Scope, Task, Work};
use serde_json::{Value, json};

fn work_of(bench: &Bench, video: &Value) -> Work {
    let id = JobId(video["id"].as_str().unwrap().to_owned());
    serde_json::from_value(bench.store.get(&id).unwrap().request).unwrap()
}

#[tokio::test]
async fn jobs_are_listed_page_by_page_and_by_state() {
    let bench = bench();
    let ids: Vec<_> = (0..5).map(|_| bench.submit("default")).collect();
    bench.submit("other");
    bench.store.cancel(&ids[4]).unwrap();
    let (status, page) = bench.get("/api/jobs?limit=2&order=asc").await;
    check("get", "/api/jobs", status, &page);
    assert_eq!((&page["first_id"], &page["has_more"]), (&json!(ids[0]), &json!(true)));
    assert_eq!(page["data"][1]["queue_position"], 1);
    let (_, page) = bench
        .get(&format!("/api/jobs?limit=9&order=asc&after={}", ids[1]))
        .await;
    assert_eq!(
        (page["data"].as_array().unwrap().len(), &page["has_more"]),
        (3, &json!(false))
    );
    let (_, page) = bench.get("/api/jobs?status=cancelled").await;
    assert_eq!(
        (page["data"].as_array().unwrap().len(), &page["data"][0]["id"]),
        (1, &json!(ids[4]))
    );
    let (_, page) = bench.get("/api/jobs?limit=0").await;
    assert_eq!((&page["data"], &page["has_more"]), (&json!([]), &json!(false)));
    for wrong in ["status=done", "limit=101", "order=up", "after=video_0"] {
        let (status, body) = bench.get(&format!("/api/jobs?{wrong}")).await;
        assert_eq!(status, 400, "{wrong}");
        check("get", "/api/jobs", status, &body);
        assert_eq!(body["error"]["param"], wrong.split('=').next().unwrap());
    }
}

#[tokio::test]
async fn a_job_of_another_project_is_not_there() {
    let bench = bench();
    let id = bench.submit("other");
    for (method, path) in [
        ("GET", ""),
        ("POST", "/cancel"),
        ("POST", "/retry"),
        ("GET", "/events"),
        ("GET", "/preview"),
    ] {
        let request = Request::builder().method(method).uri(format!("/api/jobs/{id}{path}"));
        let (status, body) = json_of(bench.send(request.body(Body::empty()).unwrap()).await).await;
        assert_eq!(
            (status.as_u16(), &body["error"]["code"]),
            (404, &json!("not_found")),
            "{path}"
        );
    }
    assert_eq!(bench.store.get(&id).unwrap().state(), State::Queued);
    assert_eq!(bench.get("/api/jobs/..%2Fx").await.0, 404);
    let request = Request::get(format!("/api/jobs/{id}")).body(Body::empty()).unwrap();
    assert_eq!(bench.with_key(request, "other", &[Scope::Read]).await.status(), 200);
    let request = Request::get(format!("/api/jobs/{id}")).body(Body::empty()).unwrap();
    assert_eq!(bench.with_key(request, "third", &[Scope::Read]).await.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_in_the_queue_and_at_work_and_retry() {
    let bench = Arc::new(bench());
    let id = bench.submit("default");
    let (status, view) = bench.post(&format!("/api/jobs/{id}/cancel"), json!({})).await;
    check("post", "/api/jobs/{job_id}/cancel", status, &view);
    assert_eq!(
        (&view["status"], &view["video"]["status"]),
        (&json!("cancelled"), &json!("failed"))
    );
    let (status, view) = bench.post(&format!("/api/jobs/{id}/retry"), json!({})).await;
    check("post", "/api/jobs/{job_id}/retry", status, &view);
    assert_eq!(
        (status.as_u16(), &view["status"], &view["queue_position"]),
        (200, &json!("queued"), &json!(0))
    );

    let at_work = bench.clone();
    let slow = Steps {
        steps: 1000,
        pause: Duration::from_millis(20),
        fails: false,
    };
    let worker = tokio::task::spawn_blocking(move || at_work.work(&slow));
    let view = loop {
        let (_, view) = bench.get(&format!("/api/jobs/{id}")).await;
        if view["remaining_ms"].is_u64() {
            break view;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    check("get", "/api/jobs/{job_id}", 200.try_into().unwrap(), &view);
    assert_eq!(
        (&view["status"], &view["stage"], &view["steps"]),
        (&json!("running"), &json!("diffuse"), &json!(1000))
    );
    assert!(view["remaining_ms"].as_u64().unwrap() > 5_000, "{view}");
    let (_, view) = bench.post(&format!("/api/jobs/{id}/cancel"), json!({})).await;
    assert_eq!(view["cancel_requested"], true);
    assert_eq!(worker.await.unwrap(), State::Cancelled);

    let done = bench.finish("default");
    for action in ["cancel", "retry"] {
        let (status, body) = bench.post(&format!("/api/jobs/{done}/{action}"), json!({})).await;
        assert_eq!(
            (status.as_u16(), &body["error"]["code"]),
            (409, &json!("invalid_state"))
        );
        check("post", "/api/jobs/{job_id}/cancel", status, &body);
    }
}

#[tokio::test]
async fn the_newest_picture_is_shown_when_there_is_one() {
    let bench = bench();
    let id = bench.finish("default");
    let path = format!("/api/jobs/{id}/preview");
    let (status, body) = bench.get(&path).await;
    assert_eq!(
        (status.as_u16(), &body["error"]["code"]),
        (404, &json!("video_not_ready"))
    );
    let key = FileRef("previews/x/1-2.webp".to_owned());
    *bench.store.preview.lock().unwrap() = Some(key.0.clone());
    assert_eq!(bench.get(&path).await.0, 404, "the file is not there");
    bench.files.write(&key, "picture".into()).await.unwrap();
    let response = bench.send(Request::get(&path).body(Body::empty()).unwrap()).await;
    assert_eq!(response.headers()["content-type"], "image/webp");
    assert_eq!(&bytes_of(response).await[..], b"picture");
}

#[tokio::test]
async fn variants_are_the_same_work_with_other_seeds() {
    let bench = bench();
    let id = bench.submit("default");
    let path = format!("/api/videos/{id}/variants");
    let (status, list) = bench.post(&path, json!({ "seeds": [1, 2] })).await;
    check("post", "/api/videos/{video_id}/variants", status, &list);
    for (video, seed) in list["data"].as_array().unwrap().iter().zip([1, 2]) {
        assert_eq!(
            work_of(&bench, video),
            Work {
                seed,
                ..crate::native_support::work()
            }
        );
    }
    let (_, list) = bench.post(&path, json!({ "count": 3 })).await;
    let seeds: std::collections::BTreeSet<_> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|video| video["seed"].to_string())
        .collect();
    assert_eq!(seeds.len(), 3);
    let keyed = || async {
        let request = Request::post(&path)
            .header("content-type", "application/json")
            .header("idempotency-key", "k");
        json_of(bench.send(request.body(Body::from(r#"{"count":2}"#)).unwrap()).await).await
    };
    let (first, second) = (keyed().await, keyed().await);
    assert_eq!(first.0, 200);
    assert_eq!(first.1["data"], second.1["data"], "the same request is the same jobs");
    let (status, body) = bench.post(&path, json!({})).await;
    assert_eq!((status.as_u16(), &body["error"]["param"]), (400, &json!("count")));
    assert_eq!(
        bench
            .post("/api/videos/video_0/variants", json!({ "count": 1 }))
            .await
            .0,
        404
    );
}

#[tokio::test]
async fn storyboards_become_work_with_their_pictures_stored() {
    let bench = bench();
    // 64x64 of one colour: pictures are looked at before they are stored.
    let png = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAEAAAABACAIAAAAlC+aJAAAAUElEQVR42u3PQQkAAAgEsHubxP4pjGUE38JgBZbpei\
        0CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICApcFKIqg4t9ZnhkAAAAASUVORK5C\
        YII=";
    let shots = json!([
        { "prompt": "a fox", "seconds": 4, "transition": "continue", "input_reference": { "image_url": png } },
        { "prompt": "it runs", "seconds": "8", "transition": "continue" },
    ]);
    let (status, video) = bench
        .post("/api/storyboards", json!({ "shots": shots, "seed": 5 }))
        .await;
    check("post", "/api/storyboards", status, &video);
    assert_eq!(
        (&video["seconds"], &video["seed"], &video["prompt"]),
        (&json!("12"), &json!(5), &json!("a fox\nit runs")),
        "{video}"
    );
    let Task::Storyboard { shots } = work_of(&bench, &video).task else {
        panic!("{video}")
    };
    assert_eq!((shots[0].continues, shots[1].continues), (false, true));
    let stored = bench
        .files
        .read(shots[0].image.as_ref().unwrap())
        .await
        .unwrap()
        .unwrap();
    assert!(stored.starts_with(b"\x89PNG"));
    let one = |more: Value| {
        let mut body = json!({ "shots": [{ "prompt": "x", "seconds": 4 }] });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    for (body, param) in [
        (json!({ "shots": [] }), "shots"),
        (one(json!({ "n": 2 })), "n"),
        (one(json!({ "num_frames": 9 })), "num_frames"),
        (one(json!({ "size": "1x1" })), "size"),
    ] {
        let (status, answer) = bench.post("/api/storyboards", body).await;
        assert_eq!((status.as_u16(), &answer["error"]["param"]), (400, &json!(param)));
    }
}

#[tokio::test]
async fn blends_and_loops_start_from_finished_videos_of_the_project() {
    let bench = bench();
    let (first, second, foreign) = (bench.finish("default"), bench.finish("default"), bench.finish("other"));
    let waiting = bench.submit("default");
    let (status, video) = bench
        .post("/api/blends", json!({ "from": first, "to": second, "curve": [0, 1] }))
        .await;
    check("post", "/api/blends", status, &video);
    assert!(matches!(work_of(&bench, &video).task, Task::Blend { curve, .. } if curve == [0.0, 1.0]));
    let (status, video) = bench
        .post("/api/loops", json!({ "video_id": first, "seconds": "4", "odd": 1 }))
        .await;
    check("post", "/api/loops", status, &video);
    assert_eq!(
        (&video["seconds"], &video["prompt"]),
        (&json!("8"), &json!("a red ball"))
    );
    for (source, code) in [(&foreign, "not_found"), (&waiting, "video_not_ready")] {
        for (path, body) in [
            ("/api/loops", json!({ "video_id": source })),
            ("/api/blends", json!({ "from": first, "to": source })),
            ("/api/blends", json!({ "from": source, "to": first })),
        ] {
            let (status, answer) = bench.post(path, body).await;
            assert_eq!((status.as_u16(), &answer["error"]["code"]), (404, &json!(code)));
            check("post", path, status, &answer);
        }
    }
    bench.store.purge(&second).unwrap();
    let (_, answer) = bench.post("/api/loops", json!({ "video_id": second })).await;
    assert_eq!(answer["error"]["code"], "video_expired");
    let (status, _) = bench
        .post("/api/loops", json!({ "video_id": first, "seconds": 3 }))
        .await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn models_and_the_document_are_told() {
    let bench = bench();
    let (status, models) = bench.get("/api/models").await;
    check("get", "/api/models", status, &models);
    assert_eq!(
        (&models["data"][0]["id"], &models["data"][0]["loaded"]),
        (&json!("sora-2"), &json!(false))
    );
    assert_eq!(bench.get("/openapi.json").await.1, kinora_api::openapi());
}
