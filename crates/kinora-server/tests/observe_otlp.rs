//! Spans on their way to a collector. The log is one a process, so this is a file of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod native_support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use kinora_jobs::{JobId, Store};
use kinora_server::{LogOptions, Work, init, span_of_job};
use native_support::{bench, json_of};

/// Takes posts until one holds each of `wanted`.
fn collect(listener: &TcpListener, wanted: &[&[u8]]) -> Vec<u8> {
    let mut all = Vec::new();
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let mut piece = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut piece) {
            all.extend_from_slice(&piece[..count]);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
        if wanted
            .iter()
            .all(|text| all.windows(text.len()).any(|window| window == *text))
        {
            break;
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_goes_from_the_request_to_its_job() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let logs = init(&LogOptions {
        otlp_endpoint: Some(format!("http://{}", listener.local_addr().unwrap())),
        ..LogOptions::default()
    })
    .unwrap();
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let id: Vec<u8> = (0..16)
        .map(|i| u8::from_str_radix(&trace[2 * i..2 * i + 2], 16).unwrap())
        .collect();
    let collector = std::thread::spawn(move || collect(&listener, &[b"POST /api/storyboards", b"the-job"]));

    let bench = bench();
    let request = Request::post("/api/storyboards")
        .header("content-type", "application/json")
        .header("traceparent", format!("00-{trace}-b7ad6b7169203331-01"))
        .body(Body::from(r#"{"shots":[{"prompt":"x","seconds":4}]}"#));
    let (status, video) = json_of(bench.send(request.unwrap()).await).await;
    assert_eq!(status, 200);
    let job = bench
        .store
        .get(&JobId(video["id"].as_str().unwrap().to_owned()))
        .unwrap();
    let work: Work = serde_json::from_value(job.request).unwrap();
    let place = work.traceparent.unwrap();
    assert!(
        place.starts_with(&format!("00-{trace}-")) && !place.contains("b7ad6b7169203331"),
        "{place}: a span of ours"
    );
    span_of_job(Some(&place), "the-job", 1).in_scope(|| {});

    assert!(
        tokio::task::spawn_blocking(move || logs.shutdown(Duration::from_secs(20)))
            .await
            .unwrap()
    );
    let posted = tokio::task::spawn_blocking(move || collector.join().unwrap())
        .await
        .unwrap();
    let times = posted.windows(16).filter(|window| *window == id).count();
    assert!(times >= 2, "the request and the job are of the trace: {times}");
    let text = String::from_utf8_lossy(&posted);
    assert!(text.contains("POST /v1/traces") && text.to_lowercase().contains("application/x-protobuf"));
}
