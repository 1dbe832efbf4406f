//! Clients that hold connections and say little.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::client::read_reply;
use crate::support::{Running, server_with};

fn impatient() -> Running {
    server_with(|config| {
        config.limits.header_time = Duration::from_millis(600);
        config.limits.body_time = Duration::from_millis(600);
    })
}

/// How long the server leaves the connection open while `talk` goes on, up to ten seconds.
fn time_until_closed(mut stream: TcpStream, mut talk: impl FnMut(&mut TcpStream)) -> Duration {
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let begun = Instant::now();
    let mut buffer = [0; 4096];
    while begun.elapsed() < Duration::from_secs(10) {
        talk(&mut stream);
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) => {}
            Err(_) => break,
        }
    }
    begun.elapsed()
}

fn is_soon(closed: Duration) -> bool {
    (Duration::from_millis(400)..Duration::from_secs(5)).contains(&closed)
}

#[test]
fn headers_that_do_not_come_cut_the_connection() {
    let running = impatient();
    // Nothing at all; half of the first bytes that tell the protocols apart; headers without an end, drop by drop.
    assert!(is_soon(time_until_closed(running.connect(), |_| {})));
    let mut half = running.connect();
    half.write_all(b"PRI * HT").unwrap();
    assert!(is_soon(time_until_closed(half, |_| {})));
    let mut slow = running.connect();
    slow.write_all(b"GET /v1/videos HTTP/1.1\r\nhost: localhost\r\n")
        .unwrap();
    let closed = time_until_closed(slow, |stream| {
        stream.write_all(b"a: b\r\n").ok();
    });
    assert!(is_soon(closed), "{closed:?}");
    // HTTP/2 that is opened and not used.
    let mut second = running.connect();
    second
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .unwrap();
    assert!(is_soon(time_until_closed(second, |_| {})));
    // A connection that has had an answer.
    let mut used = running.connect();
    used.write_all(b"GET /v1/videos HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .unwrap();
    assert_eq!(read_reply(&mut used, false).unwrap().status, 200);
    assert!(is_soon(time_until_closed(used, |_| {})));
}

#[test]
fn a_body_that_stands_still_or_crawls_is_refused() {
    let running = impatient();
    let head = "POST /v1/videos HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n{";
    for crawls in [false, true] {
        let mut stream = running.connect();
        stream.write_all(head.as_bytes()).unwrap();
        let mut writer = stream.try_clone().unwrap();
        let drops = std::thread::spawn(move || {
            while crawls && writer.write_all(b" ").is_ok() {
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        let begun = Instant::now();
        let reply = read_reply(&mut stream, false).unwrap();
        reply.expect_code(408, "request_timeout", None);
        assert_eq!(reply.header("connection"), Some("close"));
        assert!(is_soon(begun.elapsed()), "{:?}", begun.elapsed());
        drop(stream);
        drops.join().unwrap();
    }
    assert_eq!(running.jobs(), 0);
}

#[test]
fn an_answer_that_nobody_takes_is_given_up() {
    use kinora_jobs::Store;
    let running = impatient();
    let made = running.post("/v1/videos", &json!({ "prompt": "x" })).expect(200);
    let claim = kinora_jobs::Claim {
        worker: "w".to_owned(),
        kinds: Vec::new(),
        lease: Duration::from_secs(60),
    };
    let job = running.store.claim(&claim).unwrap().unwrap();
    let size = 64 << 20;
    std::fs::create_dir_all(running.folder.path().join("files/videos/large")).unwrap();
    let file = std::fs::File::create(running.folder.path().join("files/videos/large/a")).unwrap();
    file.set_len(size).unwrap();
    let outcome = json!({
        "files": { "video": "videos/large/a", "thumbnail": "videos/large/a", "spritesheet": "videos/large/a", "latents": null },
        "bytes": size, "sha256": "00", "fps": 24.0, "num_frames": 96, "seconds": "4", "size": "128x64",
        "revised_prompt": null, "inference_time_s": 1.0, "peak_memory_mb": 1.0, "notes": [],
    });
    running.store.succeed(&job.ticket(), &outcome).unwrap();
    let mut stream = running.connect();
    let path = format!("/v1/videos/{}/content", made["id"].as_str().unwrap());
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes())
        .unwrap();
    std::thread::sleep(Duration::from_secs(3));
    // What lies in the buffers of the system still comes, the rest does not.
    let mut got = Vec::new();
    stream.read_to_end(&mut got).ok();
    assert!(
        got.starts_with(b"HTTP/1.1 200 OK") && (got.len() as u64) < size,
        "{}",
        got.len()
    );
    // Whoever reads gets all of it.
    let reply = running.get(&path);
    assert_eq!((reply.status, reply.body.len() as u64), (200, size));
}

#[test]
fn a_slow_but_steady_body_is_taken() {
    let running = impatient();
    let body = json!({ "prompt": "x", "metadata": { "a": "y".repeat(20_000) } }).to_string();
    let mut stream = running.connect();
    let head = format!(
        "POST /v1/videos HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    for piece in body.as_bytes().chunks(2000) {
        stream.write_all(piece).unwrap();
        std::thread::sleep(Duration::from_millis(150));
    }
    assert_eq!(read_reply(&mut stream, false).unwrap().status, 200);
}

#[test]
fn a_thousand_idle_sockets_hinder_nobody() {
    let running = server_with(|config| config.limits.header_time = Duration::from_secs(3));
    let sockets: Vec<TcpStream> = (0..1000).map(|_| running.connect()).collect();
    let begun = Instant::now();
    running.post("/v1/videos", &json!({ "prompt": "x" })).expect(200);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    // All of them are closed after their time.
    for mut socket in sockets {
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        assert_eq!(socket.read(&mut [0]).unwrap(), 0);
    }
}

#[test]
fn more_connections_than_allowed_wait() {
    let running = server_with(|config| {
        config.limits.connections = 2;
        config.limits.header_time = Duration::from_secs(1);
    });
    let held: Vec<TcpStream> = (0..2).map(|_| running.connect()).collect();
    std::thread::sleep(Duration::from_millis(200));
    let begun = Instant::now();
    running.get("/v1/videos").expect(200);
    assert!(begun.elapsed() > Duration::from_millis(400), "{:?}", begun.elapsed());
    drop(held);
}

#[test]
fn headers_that_are_too_large_are_refused() {
    let running = impatient();
    let mut stream = running.connect();
    let large = format!(
        "GET / HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n",
        "y".repeat(600 << 10)
    );
    stream.write_all(large.as_bytes()).ok();
    let reply = read_reply(&mut stream, false);
    assert!(reply.is_none_or(|reply| reply.status == 431));
    let mut stream = running.connect();
    let many: String = (0..200).map(|n| format!("x-{n}: y\r\n")).collect();
    stream
        .write_all(format!("GET / HTTP/1.1\r\nhost: localhost\r\n{many}\r\n").as_bytes())
        .ok();
    assert_eq!(read_reply(&mut stream, false).unwrap().status, 431);
    running.get("/v1/videos").expect(200);
}
