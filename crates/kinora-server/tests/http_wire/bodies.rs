//! Bodies that are too large, broken, or full of odd characters.

use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::client::{BOUNDARY, Form, read_reply};
use crate::support::media::png;
use crate::support::{Running, server, server_with};

fn small() -> Running {
    server_with(|config| {
        config.limits.body_bytes = 2 << 20;
        config.limits.memory_body_bytes = 100 << 10;
    })
}

#[test]
fn too_large_bodies() {
    let running = small();
    let message = |limit: u64| format!("The body of your request is larger than {limit} bytes.");
    let json = json!({ "prompt": "x".repeat(200 << 10) });
    running
        .post("/v1/videos", &json)
        .expect_error(413, "request_too_large", None, &message(100 << 10));
    // Without a length to be judged by.
    let headers = [("content-type", "application/json"), ("transfer-encoding", "chunked")];
    let chunk = "x".repeat(200 << 10);
    let body = format!("{:x}\r\n{chunk}\r\n0\r\n\r\n", chunk.len());
    let reply = running.send("POST", "/v1/videos", &headers, body.as_bytes());
    reply.expect_error(413, "request_too_large", None, &message(100 << 10));
    let form = Form::new(&[("prompt", &"x".repeat(200 << 10))]);
    running
        .post_form("/v1/videos", &form)
        .expect_error(413, "request_too_large", None, &message(100 << 10));
    let form = Form::new(&[("prompt", "x")]).with_file("input_reference", "a", "image/png", &vec![7; 3 << 20]);
    running
        .post_form("/v1/videos", &form)
        .expect_error(413, "request_too_large", None, &message(2 << 20));
    assert_eq!((running.jobs(), running.temporary_files().len()), (0, 0));
}

#[test]
fn a_prompt_of_ten_megabytes_is_an_error_of_its_field() {
    let running = server();
    let prompt = "x".repeat(10 << 20);
    for reply in [
        running.post("/v1/videos", &json!({ "prompt": prompt })),
        running.post_form("/v1/videos", &Form::new(&[("prompt", &prompt)])),
    ] {
        let message = reply.expect_code(400, "string_above_max_length", Some("prompt"));
        assert!(message.len() < 300, "{}", message.len());
    }
    assert_eq!(running.jobs(), 0);
}

#[test]
fn a_request_that_no_record_holds_is_refused() {
    let running = server();
    let notes = json!({ "prompt": "x", "metadata": { "a": "y".repeat(2 << 20) } });
    running
        .post("/v1/videos", &notes)
        .expect_code(400, "invalid_value", Some("request"));
    assert_eq!(running.jobs(), 0);
}

#[test]
fn odd_characters_come_back_as_they_were() {
    let running = server();
    for prompt in [
        "\u{202e}fox\u{202c}",
        "a\tb\nc",
        "🦊 ключ 日本",
        "\u{0}",
        "a\u{7f}b",
        "\\\"<script>",
    ] {
        let json = running.post("/v1/videos", &json!({ "prompt": prompt }));
        let form = running.post_form("/v1/videos", &Form::new(&[("prompt", prompt)]));
        assert_eq!(json.status, form.status, "{prompt:?}");
        if json.status == 200 {
            let video = json.json();
            let again = running
                .get(&format!("/v1/videos/{}", video["id"].as_str().unwrap()))
                .expect(200);
            assert_eq!((&video["prompt"], &again["prompt"]), (&json!(prompt), &json!(prompt)));
        } else {
            json.expect(400);
        }
    }
    // A message repeats what was sent without what would confuse a terminal.
    let reply = running.post("/v1/videos", &json!({ "prompt": "x", "model": "\u{1b}[2Jx\n" }));
    let message = reply.expect_code(400, "model_not_found", Some("model"));
    assert!(!message.contains(['\u{1b}', '\n']), "{message:?}");
}

#[test]
fn what_is_no_text_is_refused() {
    let running = server();
    let kind = [("content-type", "application/json")];
    running
        .send("POST", "/v1/videos", &kind, b"{\"prompt\": \"\xff\xfe\"}")
        .expect_code(400, "invalid_body", None);
    running
        .send("POST", "/v1/videos", &kind, b"{\"prompt\": ")
        .expect_code(400, "invalid_body", None);
    running
        .send("POST", "/v1/videos", &kind, b"[]")
        .expect_code(400, "invalid_body", None);
    running
        .send("POST", "/v1/videos", &kind, b"")
        .expect_code(400, "invalid_body", None);
    let deep = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
    running
        .send("POST", "/v1/videos", &kind, &deep)
        .expect_code(400, "invalid_body", None);
    let mut form = Form::new(&[]);
    form.part("content-disposition: form-data; name=\"prompt\"", b"\xff\xfe");
    running
        .post_form("/v1/videos", &form)
        .expect_code(400, "invalid_value", Some("prompt"));
    let kind = [("content-type", "application/x-www-form-urlencoded")];
    assert_eq!(running.send("POST", "/v1/videos", &kind, b"prompt=%ff%fe").status, 400);
    for kind in ["text/plain", "application/xml", ""] {
        let reply = running.send("POST", "/v1/videos", &[("content-type", kind)], b"x");
        reply.expect_code(415, "unsupported_content_type", None);
    }
    running
        .send("POST", "/v1/videos", &[], b"{}")
        .expect_code(415, "unsupported_content_type", None);
    assert_eq!(running.jobs(), 0);
}

#[test]
fn broken_multipart() {
    let running = server();
    let form = Form::new(&[("prompt", "x")]).with_file("input_reference", "a.png", "image/png", &png(16, 16));
    let whole = form.bytes();
    let send = |kind: &str, bytes: &[u8]| running.send("POST", "/v1/videos", &[("content-type", kind)], bytes);
    let good = format!("multipart/form-data; boundary={BOUNDARY}");
    send("multipart/form-data", &whole).expect_code(400, "invalid_body", None);
    send("multipart/form-data; boundary=other", &whole).expect_code(400, "invalid_body", None);
    send(&good, &whole[..whole.len() - 6]).expect_code(400, "invalid_body", None);
    send(&good, &whole[..whole.len() / 2]).expect_code(400, "invalid_body", None);
    send(&good, b"").expect_code(400, "invalid_body", None);
    send(&good, b"hello").expect_code(400, "invalid_body", None);
    let mut nameless = Form::new(&[]);
    nameless.part("content-disposition: form-data", b"x");
    send(&good, &nameless.bytes()).expect_code(400, "invalid_body", None);
    let many: Vec<(&str, &str)> = (0..1500).map(|_| ("a[]", "x")).collect();
    send(&good, &Form::new(&many).bytes()).expect_code(400, "invalid_body", None);
    let mut files = Form::new(&[("prompt", "x")]);
    for _ in 0..40 {
        files = files.with_file("f", "f", "image/png", b"x");
    }
    send(&good, &files.bytes()).expect_code(400, "invalid_body", None);
    // A header without an end does not fill the memory.
    let mut bomb = format!("--{BOUNDARY}\r\ncontent-disposition: ").into_bytes();
    bomb.extend(std::iter::repeat_n(b'x', 8 << 20));
    let message = send(&good, &bomb).expect_code(400, "invalid_body", None);
    assert!(message.contains("headers of a part"), "{message}");
    assert_eq!((running.jobs(), running.temporary_files().len()), (0, 0));
}

#[test]
fn uploads_without_a_length_are_taken() {
    let running = server();
    let form = Form::new(&[("prompt", "x")]).with_file("input_reference", "a.png", "", &png(300, 200));
    let mut body = Vec::new();
    for piece in form.bytes().chunks(100) {
        body.extend(format!("{:x}\r\n", piece.len()).bytes());
        body.extend_from_slice(piece);
        body.extend(b"\r\n");
    }
    body.extend(b"0\r\n\r\n");
    let headers = [
        ("content-type", &*form.content_type()),
        ("transfer-encoding", "chunked"),
    ];
    running.send("POST", "/v1/videos", &headers, &body).expect(200);
    assert_eq!(running.temporary_files().len(), 0);
}

#[test]
fn a_client_that_goes_away_leaves_no_file() {
    let running = server();
    let form = Form::new(&[("prompt", "x")]).with_file("input_reference", "a.png", "image/png", &vec![1; 4 << 20]);
    let bytes = form.bytes();
    let mut stream = running.connect();
    let head = format!(
        "POST /v1/videos HTTP/1.1\r\nhost: localhost\r\ncontent-type: {}\r\ncontent-length: {}\r\n\r\n",
        form.content_type(),
        bytes.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&bytes[..2 << 20]).unwrap();
    let begun = Instant::now();
    while running.temporary_files().is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(10), "the upload has begun");
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(stream);
    let begun = Instant::now();
    while !running.temporary_files().is_empty() {
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "{:?}",
            running.temporary_files()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(running.jobs(), 0);
}

#[test]
fn a_client_that_waits_for_permission_gets_it() {
    let running = server();
    let body = json!({ "prompt": "x" }).to_string();
    let mut stream = running.connect();
    let head = format!(
        "POST /v1/videos HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut first = [0; 25];
    std::io::Read::read_exact(&mut stream, &mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(body.as_bytes()).unwrap();
    assert_eq!(read_reply(&mut stream, false).unwrap().status, 200);
}
