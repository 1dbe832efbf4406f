//! What a server bears: a full queue, many who ask, one key that floods, one request a thousand times. Ignored: it measures.
//!
//! `KINORA_PROGRAM=target/release/kinora cargo test -p kinora-server --test runner load -- --ignored --nocapture`
//!
//! `KINORA_LOAD_JOBS`, `KINORA_LOAD_POLLERS` and `KINORA_LOAD_SECONDS` make it smaller. It prints lines of CSV.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::runner_support::{create, open};
use kinora_api::VideoId;
use kinora_jobs::{Claim, Job, JobId, SqliteStore, Store, Submission};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Barrier;

/// Whose jobs a server without keys shows.
const PROJECT: &str = "default";
/// The key that floods.
const FLOOD: &str = "flood";

fn number(name: &str, usual: u32) -> u32 {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap())
}

fn say(part: &str, measure: &str, value: impl Display, unit: &str) {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("");
    println!("CSV,{part},{measure},{value},{unit},{load}");
}

fn say_times(part: &str, what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    for (name, share) in [("p50", 0.5), ("p99", 0.99), ("max", 1.0)] {
        say(part, &format!("{what} {name}"), format!("{:.2}", at(share)), "ms");
    }
    say(part, &format!("{what} count"), times.len(), "");
}

fn timed<T>(times: &mut Vec<Duration>, call: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let value = call();
    times.push(begun.elapsed());
    value
}

/// A process that ends with its test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Process {
    /// The program under test with these arguments; `None`, which is said, if none was named.
    fn start(arguments: &[&str]) -> Option<Self> {
        let Some(program) = std::env::var_os("KINORA_PROGRAM") else {
            println!("SKIPPED: KINORA_PROGRAM names no program");
            return None;
        };
        let mut command = Command::new(program);
        command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
        Some(Self(command.spawn().unwrap()))
    }

    /// What it holds of the memory, in KiB.
    fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

/// `kinora serve` without workers, once it answers.
fn serve(folder: &Path, more: &[&str]) -> Option<(Process, SocketAddr)> {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let text = address.to_string();
    let usual = ["serve", "--workers", "0", "--address", &text];
    let folder = ["--folder", folder.to_str().unwrap()];
    let process = Process::start(&[&usual, &folder[..], more].concat())?;
    let begun = Instant::now();
    while std::net::TcpStream::connect(address).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not answer");
        std::thread::sleep(Duration::from_millis(20));
    }
    Some((process, address))
}

fn submission(key: &str) -> Submission {
    let request = serde_json::to_value(create()).unwrap();
    let mut submission = Submission::new(PROJECT, key, "video/toybox", request);
    let mut random = [0; kinora_api::RANDOM_BYTES];
    getrandom::fill(&mut random).unwrap();
    submission.id = Some(JobId(VideoId::new(1_800_000_000, random).to_string()));
    submission
}

/// Fills the queue: most jobs are of [`FLOOD`], each fiftieth of one of four others, of projects of their own. Ids of the
/// project that is shown.
fn fill(store: &SqliteStore, jobs: u32) -> Vec<String> {
    let mut times = Vec::new();
    let begun = Instant::now();
    let mut ids = Vec::new();
    for index in 0..jobs {
        let mut wanted = submission(FLOOD);
        if index % 50 == 0 {
            wanted.key = format!("other-{}", index / 50 % 4);
            wanted.project = format!("project-{}", index / 50 % 4);
        }
        let job = timed(&mut times, || store.submit(&wanted).unwrap()).job;
        if job.project == PROJECT {
            ids.push(job.id.0);
        }
    }
    say("a", "fill", begun.elapsed().as_secs_f32(), "s");
    say_times("a", "submit", &mut times);
    ids
}

/// One request on a connection that stays; status and JSON.
async fn ask(stream: &mut TcpStream, head: &str, body: &str) -> std::io::Result<(u16, Value)> {
    let length = body.len();
    let request = format!(
        "{head} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::new();
    loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if length.is_some_and(|length| length.parse::<usize>().unwrap() <= body.len()) {
            let status = head.split(' ').nth(1).unwrap().parse().unwrap();
            return Ok((status, serde_json::from_str(body).unwrap_or_default()));
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().unwrap()
}

fn next(store: &SqliteStore) -> Job {
    let wanted = Claim {
        worker: "load".into(),
        kinds: vec!["video/toybox".into()],
        lease: Duration::from_secs(600),
    };
    store.claim(&wanted).unwrap().unwrap()
}

/// Claims with signs of life and ends between.
fn claims(store: &SqliteStore) {
    let [mut claims, mut beats, mut ends] = [const { Vec::new() }; 3];
    for _ in 0..400 {
        let job = timed(&mut claims, || next(store));
        let lease = Duration::from_secs(60);
        timed(&mut beats, || store.heartbeat(&job.ticket(), None, lease).unwrap());
        timed(&mut ends, || store.succeed(&job.ticket(), &Value::Null).unwrap());
    }
    say_times("a", "claim", &mut claims);
    say_times("a", "heartbeat", &mut beats);
    say_times("a", "succeed", &mut ends);
}

/// Many who ask once a second for a job that waits.
fn pollers(server: &Process, address: SocketAddr, ids: &[String]) {
    let (pollers, seconds) = (number("KINORA_LOAD_POLLERS", 1000), number("KINORA_LOAD_SECONDS", 40));
    let end = Instant::now() + Duration::from_secs(seconds.into());
    let tasks = (0..pollers).map(|index| {
        let head = format!("GET /v1/videos/{}", ids[index as usize * ids.len() / pollers as usize]);
        async move {
            let (mut times, mut errors) = (Vec::new(), 0);
            // They do not all ask in the same moment.
            tokio::time::sleep(Duration::from_millis(u64::from(index) * 1000 / u64::from(pollers))).await;
            let mut stream = TcpStream::connect(address).await.unwrap();
            while Instant::now() < end {
                let begun = Instant::now();
                let answer = ask(&mut stream, &head, "").await;
                times.push(begun.elapsed());
                let good = answer.is_ok_and(|(status, json)| status == 200 && json["status"] == "queued");
                errors += u32::from(!good);
                tokio::time::sleep_until((begun + Duration::from_secs(1)).into()).await;
            }
            (times, errors)
        }
    });
    let (mut times, mut errors) = (Vec::new(), 0);
    std::thread::scope(|scope| {
        let memory = scope.spawn(|| {
            let mut seen = Vec::new();
            while Instant::now() < end {
                seen.push(server.resident());
                std::thread::sleep(Duration::from_millis(250));
            }
            seen
        });
        runtime().block_on(async {
            let tasks: Vec<_> = tasks.map(tokio::spawn).collect();
            for task in tasks {
                let (own, failed) = task.await.unwrap();
                times.extend(own);
                errors += failed;
            }
        });
        let memory = memory.join().unwrap();
        let third = memory.len() / 3;
        for (name, part) in [
            ("first", &memory[..third]),
            ("second", &memory[third..2 * third]),
            ("last", &memory[2 * third..]),
        ] {
            let mean = part.iter().sum::<u64>() / part.len() as u64;
            say("b", &format!("resident mean of the {name} third"), mean, "KiB");
        }
        say("b", "resident max", memory.iter().max().unwrap(), "KiB");
    });
    say("b", "pollers", pollers, "");
    say_times("b", "GET video", &mut times);
    say("b", "errors", errors, "");
    assert_eq!(errors, 0);
}

/// What one client waits for whose answers have to look at the queue.
fn looks(address: SocketAddr, ids: &[String]) {
    runtime().block_on(async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let last = ids.last().unwrap();
        for (what, path) in [
            ("GET job with its place in the queue", format!("/api/jobs/{last}")),
            ("GET list of 20", "/v1/videos?limit=20".into()),
            ("GET metrics", "/metrics".into()),
        ] {
            let mut times = Vec::new();
            for _ in 0..50 {
                let begun = Instant::now();
                let (status, _) = ask(&mut stream, &format!("GET {path}"), "").await.unwrap();
                times.push(begun.elapsed());
                assert_eq!(status, 200, "{path}");
            }
            say_times("b", what, &mut times);
        }
    });
}

/// A second key comes behind the flood.
fn shares(store: &SqliteStore) {
    let begun = Instant::now();
    for _ in 0..10 {
        store.submit(&submission("late")).unwrap();
    }
    let (mut late, mut claimed) = (0, 0);
    while late < 10 {
        let job = next(store);
        claimed += 1;
        late += u32::from(job.key == "late");
        if job.key == "late" && (late == 1 || late == 10) {
            say(
                "c",
                &format!("jobs claimed until number {late} of the late key"),
                claimed,
                "",
            );
            say(
                "c",
                &format!("time until number {late} with the submits"),
                begun.elapsed().as_millis(),
                "ms",
            );
        }
        store.succeed(&job.ticket(), &Value::Null).unwrap();
    }
    let load = store.load().unwrap().into_iter().find(|load| load.key == FLOOD);
    say("c", "jobs of the flood that still wait", load.unwrap().queued, "");
    // Six keys share, so a late one has every sixth claim.
    assert!(claimed <= 70, "{claimed}");
}

/// The same request many times at once.
fn same_key(store: &SqliteStore, address: SocketAddr) {
    let count = number("KINORA_LOAD_POLLERS", 1000) as usize;
    let before = waiting(store, "local");
    let barrier = Arc::new(Barrier::new(count));
    let mut times = Vec::new();
    let mut ids = Vec::new();
    runtime().block_on(async {
        let tasks: Vec<_> = (0..count)
            .map(|_| {
                let barrier = barrier.clone();
                tokio::spawn(async move {
                    let mut stream = TcpStream::connect(address).await.unwrap();
                    barrier.wait().await;
                    let begun = Instant::now();
                    let head = "POST /v1/videos";
                    let answer = ask_with_key(&mut stream, head, r#"{"prompt":"a red car"}"#).await;
                    (begun.elapsed(), answer)
                })
            })
            .collect();
        for task in tasks {
            let (time, (status, json)) = task.await.unwrap();
            times.push(time);
            assert_eq!(status, 200, "{json}");
            ids.push(json["id"].as_str().unwrap().to_owned());
        }
    });
    ids.sort();
    ids.dedup();
    say("d", "ids in all answers", ids.len(), "");
    let made = waiting(store, "local") - before;
    say("d", "jobs made", made, "");
    say_times("d", "POST", &mut times);
    assert_eq!((ids.len(), made), (1, 1));
}

async fn ask_with_key(stream: &mut TcpStream, head: &str, body: &str) -> (u16, Value) {
    // A header more, in the place where the request line ends.
    let head = format!("{head} HTTP/1.1\r\nidempotency-key: only-once\r\nx-unused:");
    ask(stream, &head, body).await.unwrap()
}

fn waiting(store: &SqliteStore, key: &str) -> u64 {
    let load = store.load().unwrap().into_iter().find(|load| load.key == key);
    load.map_or(0, |load| load.queued)
}

#[test]
#[ignore = "measures"]
fn a_full_queue_and_many_who_ask() {
    let folder = tempfile::tempdir().unwrap();
    let Some((server, address)) = serve(folder.path(), &[]) else {
        return;
    };
    let store = open(&folder.path().join("jobs.db"));
    let resident = |when: &str| say("a", &format!("resident {when}"), server.resident(), "KiB");
    resident("before");
    let ids = fill(&store, number("KINORA_LOAD_JOBS", 100_000));
    resident("with the queue full");
    claims(&store);
    resident("after claims");
    // Those at the front have been claimed, and end while others are asked for.
    let ids = &ids[ids.len() / 2..];
    pollers(&server, address, ids);
    looks(address, ids);
    shares(&store);
    same_key(&store, address);
    resident("at the end");
}

#[test]
#[ignore = "measures"]
fn a_key_has_as_many_jobs_as_it_may() {
    let folder = tempfile::tempdir().unwrap();
    let Some((_server, address)) = serve(folder.path(), &["--jobs-per-key", "5"]) else {
        return;
    };
    let statuses: Vec<u16> = runtime().block_on(async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut statuses = Vec::new();
        for _ in 0..7 {
            statuses.push(
                ask(&mut stream, "POST /v1/videos", r#"{"prompt":"x"}"#)
                    .await
                    .unwrap()
                    .0,
            );
        }
        statuses
    });
    say(
        "c",
        "statuses with 5 jobs a key",
        format!("{statuses:?}").replace(',', ""),
        "",
    );
    assert_eq!(statuses, [200, 200, 200, 200, 200, 429, 429]);
}

/// Real videos by one and by two processes with one thread each.
#[test]
#[ignore = "measures"]
fn real_workers() {
    for workers in [1, 2, 1, 2] {
        let folder = tempfile::tempdir().unwrap();
        let (jobs, files) = (folder.path().join("jobs.db"), folder.path().join("files"));
        let store = open(&jobs);
        let mut asked = create();
        asked.options.steps = Some(number("KINORA_LOAD_STEPS", 12));
        let ids: Vec<_> = (0..8).map(|_| crate::runner_support::submit(&*store, &asked)).collect();
        let arguments = ["worker", "--threads", "1", "--jobs", jobs.to_str().unwrap()];
        let arguments = [&arguments[..], &["--files", files.to_str().unwrap()]].concat();
        let processes: Vec<_> = (0..workers).map_while(|_| Process::start(&arguments)).collect();
        if processes.is_empty() {
            return;
        }
        let begun = Instant::now();
        let done = || ids.iter().all(|id| store.get(id).unwrap().finished_at.is_some());
        while !done() {
            assert!(begun.elapsed() < Duration::from_secs(300));
            std::thread::sleep(Duration::from_millis(20));
        }
        let ended: Vec<Job> = ids.iter().map(|id| store.get(id).unwrap()).collect();
        assert!(
            ended.iter().all(|job| job.result.is_some()),
            "{:?}",
            json!(ended[0].error.is_some())
        );
        let first = ended.iter().map(|job| job.started_at.unwrap().as_ms()).min().unwrap();
        let last = ended.iter().map(|job| job.finished_at.unwrap().as_ms()).max().unwrap();
        say(
            "e",
            &format!("8 videos by {workers} real workers of one thread"),
            last - first,
            "ms",
        );
    }
}
