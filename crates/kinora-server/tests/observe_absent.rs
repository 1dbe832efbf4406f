//! A collector that never answers. The log is one a process, so this is a file of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::TcpListener;
use std::time::{Duration, Instant};

use kinora_server::{LogOptions, init, span_of_job};

#[test]
fn a_collector_that_is_absent_holds_nothing_up() {
    // Taken and never answered.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let begun = Instant::now();
    let options = LogOptions {
        otlp_endpoint: Some(format!("http://{}", silent.local_addr().unwrap())),
        ..LogOptions::default()
    };
    let logs = init(&options).unwrap();
    (0..10_000).for_each(|_| drop(span_of_job(None, "x", 1)));
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "more spans than the queue holds"
    );
    assert!(!logs.shutdown(Duration::from_millis(500)), "they did not go out");
    assert!(begun.elapsed() < Duration::from_secs(4));
}
