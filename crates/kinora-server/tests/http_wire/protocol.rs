//! Names of requests, unknown addresses and methods, HEAD, CORS, HTTP/2, and the end of a server.

use std::io::Write;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;

use crate::support::client::read_reply;
use crate::support::{server, server_with};

#[test]
fn unknown_addresses_and_methods_get_error_objects() {
    let running = server();
    running
        .get("/v1/nothing")
        .expect_error(404, "unknown_url", None, "Invalid URL (GET /v1/nothing)");
    running.get("/").expect_code(404, "unknown_url", None);
    running.get("/v1/videos/").expect_code(404, "unknown_url", None);
    let reply = running.send("PUT", "/v1/videos", &[], b"");
    reply.expect_error(405, "method_not_allowed", None, "Not allowed to PUT on /v1/videos.");
    let allowed = reply.header("allow").unwrap();
    assert!(allowed.contains("GET") && allowed.contains("POST"), "{allowed}");
    running
        .send("PATCH", "/v1/videos/video_1", &[], b"")
        .expect_code(405, "method_not_allowed", None);
    running
        .send("OPTIONS", "/v1/videos", &[], b"")
        .expect_code(405, "method_not_allowed", None);
    let head = running.send("HEAD", "/v1/videos", &[], b"");
    assert_eq!((head.status, head.body.len()), (200, 0));
    let head = running.send("HEAD", "/v1/nothing", &[], b"");
    assert_eq!((head.status, head.body.len()), (404, 0));
}

#[test]
fn every_request_has_a_name_of_its_own() {
    let running = server();
    let headers = [("x-request-id", "mine"), ("x-client-request-id", "also mine")];
    let first = running.send("GET", "/v1/videos", &headers, b"");
    let second = running.send("GET", "/v1/videos", &headers, b"");
    let id = first.header("x-request-id").unwrap();
    assert_eq!(id.len(), "req_".len() + 32);
    assert_ne!(Some(id), second.header("x-request-id"));
    // Whatever a client accepts, it gets the answer.
    for accept in ["application/binary", "text/html", "nonsense"] {
        assert_eq!(
            running.send("GET", "/v1/videos", &[("accept", accept)], b"").status,
            200
        );
    }
}

#[test]
fn web_pages_may_call_only_if_the_settings_say_so() {
    let preflight = [
        ("origin", "https://studio.example.org"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization,content-type"),
    ];
    let off = server();
    let reply = off.send("GET", "/v1/videos", &preflight[..1], b"");
    assert_eq!(reply.header("access-control-allow-origin"), None);
    reply.expect_code(403, "foreign_origin", None);
    let reply = off.send("OPTIONS", "/v1/videos", &preflight, b"");
    reply.expect_code(403, "foreign_origin", None);
    assert_eq!(reply.header("access-control-allow-origin"), None);
    assert_eq!(reply.header("access-control-allow-methods"), None);

    let on = server_with(|config| config.cors = vec!["https://studio.example.org".to_owned()]);
    let reply = on.send("OPTIONS", "/v1/videos", &preflight, b"");
    assert_eq!(
        (reply.status, reply.header("access-control-allow-origin")),
        (200, Some("https://studio.example.org"))
    );
    assert!(reply.header("access-control-allow-methods").unwrap().contains("DELETE"));
    let reply = on.send("GET", "/v1/videos", &preflight[..1], b"");
    assert!(
        reply
            .header("access-control-expose-headers")
            .unwrap()
            .contains("openai-poll-after-ms")
    );
    let reply = on.send("GET", "/v1/videos", &[("origin", "https://evil.example.org")], b"");
    reply.expect_code(403, "foreign_origin", None);
    assert_eq!(reply.header("access-control-allow-origin"), None);
}

#[test]
fn connections_are_kept_for_further_requests() {
    let running = server();
    let mut stream = running.connect();
    for _ in 0..3 {
        stream
            .write_all(b"GET /v1/videos HTTP/1.1\r\nhost: localhost\r\n\r\n")
            .unwrap();
        assert_eq!(read_reply(&mut stream, false).unwrap().status, 200);
    }
}

#[test]
fn http_2_works_with_many_requests_at_once() {
    let running = server();
    let address = running.address;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async move {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let io = TokioIo::new(stream);
        let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
            .await
            .unwrap();
        tokio::spawn(connection);
        let create = |n: u32| {
            hyper::Request::post(format!("http://{address}/v1/videos"))
                .header("content-type", "application/json")
                .body(Full::new(Bytes::from(json!({ "prompt": format!("{n}") }).to_string())))
                .unwrap()
        };
        let sent: Vec<_> = (0..50).map(|n| sender.send_request(create(n))).collect();
        for reply in sent {
            let reply = reply.await.unwrap();
            assert_eq!(reply.status(), 200);
            assert!(reply.headers().contains_key("x-request-id"));
            let body = reply.into_body().collect().await.unwrap().to_bytes();
            let video: kinora_api::Video = serde_json::from_slice(&body).unwrap();
            assert_eq!(video.status, kinora_api::VideoStatus::Queued);
        }
    });
    assert_eq!(running.jobs(), 50);
}

#[test]
fn a_request_that_is_being_answered_ends_before_the_server_does() {
    let mut running = server();
    let made = running.post("/v1/videos", &json!({ "prompt": "x" })).expect(200);
    // A deletion waits for a worker: this one never stops, so the answer takes five seconds.
    let claim = kinora_jobs::Claim {
        worker: "deaf".to_owned(),
        kinds: Vec::new(),
        lease: Duration::from_secs(60),
    };
    kinora_jobs::Store::claim(&*running.store, &claim).unwrap().unwrap();
    let mut busy = running.connect();
    let path = format!("/v1/videos/{}", made["id"].as_str().unwrap());
    busy.write_all(format!("DELETE {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes())
        .unwrap();
    let mut idle = running.connect();
    idle.write_all(b"GET /v1/videos HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .unwrap();
    assert_eq!(read_reply(&mut idle, false).unwrap().status, 200);
    std::thread::sleep(Duration::from_millis(300));
    let begun = Instant::now();
    running.ask_to_stop();
    assert_eq!(read_reply(&mut busy, false).unwrap().status, 409);
    running.wait_for_the_end();
    assert!(begun.elapsed() > Duration::from_secs(2) && begun.elapsed() < Duration::from_secs(15));
    assert!(
        std::net::TcpStream::connect(running.address).is_err(),
        "nothing listens any more"
    );
}
