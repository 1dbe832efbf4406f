//! Health and numbers of a running server.

use std::sync::atomic::Ordering;

use crate::native_support::{bench, bytes_of, check};
use axum::body::Body;
use axum::http::Request;
use kinora_server::Scope;

#[tokio::test(flavor = "multi_thread")]
async fn readiness_follows_the_database() {
    let bench = bench();
    let again = || tokio::time::sleep(std::time::Duration::from_millis(600));
    let (status, health) = bench.get("/readyz").await;
    check("get", "/readyz", status, &health);
    assert_eq!((status.as_u16(), &health["status"]), (200, &"ok".into()), "{health}");
    bench.store.broken.store(true, Ordering::SeqCst);
    again().await;
    let (status, health) = bench.get("/readyz").await;
    check("get", "/readyz", status, &health);
    assert_eq!(
        (status.as_u16(), &health["checks"]["database"]["status"]),
        (503, &"failing".into())
    );
    assert_eq!(bench.get("/healthz").await.0, 200, "the process works");
    bench.store.broken.store(false, Ordering::SeqCst);
    again().await;
    assert_eq!(bench.get("/readyz").await.0, 200);

    again().await;
    let begun = std::time::Instant::now();
    let held = bench.store.locked.lock().unwrap();
    let locked = tokio::task::block_in_place(|| {
        tokio::runtime::Handle::current().block_on(async { bench.get("/readyz").await })
    });
    assert_eq!(locked.0, 503);
    assert!(begun.elapsed().as_secs() < 5, "it answers in a bounded time");
    drop(held);
    again().await;
    assert_eq!(bench.get("/readyz").await.0, 200);
}

#[tokio::test]
async fn paths_of_clients_make_no_labels() {
    let bench = bench();
    let text = || async {
        let response = bench.send(Request::get("/metrics").body(Body::empty()).unwrap()).await;
        String::from_utf8(bytes_of(response).await.to_vec()).unwrap()
    };
    text().await;
    let before = text().await.lines().count();
    for index in 0..200 {
        let response = bench
            .send(
                Request::get(format!("/api/jobs/video_{index:x}"))
                    .body(Body::empty())
                    .unwrap(),
            )
            .await;
        assert_eq!(response.status(), 404);
        let odd = Request::builder()
            .method(&*format!("M{index}"))
            .uri(format!("/{index}"));
        bench.send(odd.body(Body::empty()).unwrap()).await;
    }
    let after = text().await;
    assert!(
        after.contains(r#"kinora_http_requests_total{route="/api/jobs/{job_id}",method="GET",status="404"} 200"#),
        "{after}"
    );
    assert!(after.ends_with("# EOF\n"));
    assert!(
        after.lines().count() <= before + 60,
        "{before} lines, then {}",
        after.lines().count()
    );
    for line in after.lines().filter(|line| !line.starts_with('#')) {
        line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap();
    }
}

#[tokio::test]
async fn numbers_are_for_those_who_may_see_them() {
    let bench = bench();
    let request = || Request::get("/metrics").body(Body::empty()).unwrap();
    let refused = bench.with_key(request(), "p", &[Scope::Read, Scope::Write]).await;
    assert_eq!(refused.status(), 403);
    let shown = bench.with_key(request(), "p", &[Scope::Admin]).await;
    assert_eq!(shown.status(), 200);
    assert!(
        shown.headers()["content-type"]
            .to_str()
            .unwrap()
            .starts_with("application/openmetrics-text")
    );
}
