//! What leaves the house, and what does not.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::*;

/// A server that answers everybody the same and counts who came.
struct Host {
    port: u16,
    visits: Arc<AtomicUsize>,
}

impl Host {
    fn answering(answer: impl Fn(&mut TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let visits = Arc::new(AtomicUsize::new(0));
        let counted = visits.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                counted.fetch_add(1, Ordering::SeqCst);
                let mut stream = stream;
                let mut head = [0; 4096];
                let _ = stream.read(&mut head);
                answer(&mut stream);
            }
        });
        Self { port, visits }
    }

    fn saying(text: &'static str) -> Self {
        Self::answering(move |stream| drop(stream.write_all(text.as_bytes())))
    }

    fn url(&self, host: &str) -> String {
        format!("http://{host}:{}/cat.png", self.port)
    }
}

fn config(allow_private: bool) -> Config {
    let mut config = Config::new("127.0.0.1:8000".parse().unwrap(), "unused".into());
    config.allow_private_addresses = allow_private;
    config
}

async fn outcome(allow_private: bool, url: &str, limit: u64) -> Result<Bytes, ApiError> {
    fetch(&config(allow_private), url, limit)
        .await
        .map_err(|failure| failure.0)
}

const FOUR: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabcd";

#[tokio::test]
async fn a_picture_comes_within_its_limit() {
    let host = Host::saying(FOUR);
    let url = host.url("127.0.0.1");
    assert_eq!(outcome(true, &url, 4).await.unwrap(), "abcd");
    let error = outcome(true, &url, 3).await.unwrap_err();
    assert!(error.object.message.contains("more than 3 bytes"), "{error}");
    // A length that is not announced is counted.
    let endless = Host::answering(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[7; 1 << 16]).is_ok() {}
    });
    let error = outcome(true, &endless.url("127.0.0.1"), 1 << 20).await.unwrap_err();
    assert!(error.object.message.contains("more than 1048576 bytes"), "{error}");
}

#[tokio::test]
async fn every_way_home_is_the_same_dead_end_whether_or_not_something_listens() {
    let host = Host::saying(FOUR);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut answers = Vec::new();
    for name in [
        "127.0.0.1",
        "localhost",
        "LOCALHOST",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "0",
        "0.0.0.0",
        "[::]",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "10.0.0.1",
        "169.254.169.254",
        "[fd00:ec2::254]",
        "100.100.100.200",
        "no-such-host.invalid",
    ] {
        for port in [host.port, closed] {
            let error = outcome(false, &format!("http://{name}:{port}/cat.png"), 100).await;
            answers.push((name, error.expect_err(name)));
        }
    }
    let (_, first) = answers[0].clone();
    assert_eq!(
        (first.status, first.object.code.as_deref()),
        (400, Some("invalid_image_url"))
    );
    for (name, error) in &answers {
        assert_eq!(*error, first, "{name}");
    }
    assert_eq!(host.visits.load(Ordering::SeqCst), 0, "nobody came");
    assert_eq!(
        outcome(true, &host.url("localhost"), 100).await.unwrap(),
        "abcd",
        "closed networks may"
    );
}

#[tokio::test]
async fn only_the_web_is_asked() {
    for url in [
        "file:///etc/passwd",
        "gopher://127.0.0.1/x",
        "ftp://example.org/x",
        "http:///x",
        "/x",
        "example.org",
        "http://user:secret@example.org/",
        "http://a b/",
        "",
    ] {
        let error = outcome(true, url, 100).await.expect_err(url);
        assert_eq!(error.status, 400, "{url}");
        assert!(!error.object.message.contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn redirects_and_failures_are_no_pictures() {
    let target = Host::saying(FOUR);
    let leads = format!(
        "HTTP/1.1 302 Found\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n",
        target.url("127.0.0.1")
    );
    let host = Host::saying(Box::leak(leads.into_boxed_str()));
    let error = outcome(true, &host.url("127.0.0.1"), 100).await.unwrap_err();
    assert!(error.object.message.contains("302"), "{error}");
    assert_eq!(target.visits.load(Ordering::SeqCst), 0, "it was not followed");
    let broken = Host::saying("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabcd");
    assert_eq!(
        outcome(true, &broken.url("127.0.0.1"), 100).await.unwrap_err().status,
        400
    );
}

#[tokio::test]
async fn a_receiver_that_says_nothing_is_late() {
    let silent = Host::answering(|_| std::thread::sleep(Duration::from_secs(3)));
    let begun = Instant::now();
    let time = Duration::from_millis(300);
    let sent = post(
        true,
        &silent.url("127.0.0.1"),
        Vec::new(),
        Bytes::from_static(b"{}"),
        time,
    )
    .await;
    assert_eq!(sent, Err(Unsent::Late));
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    let sent = post(false, &silent.url("127.0.0.1"), Vec::new(), Bytes::new(), time).await;
    assert_eq!(sent, Err(Unsent::Unreachable));
}
