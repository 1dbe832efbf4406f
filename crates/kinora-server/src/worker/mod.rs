//! A worker: a process of its own that does jobs, so that whatever breaks in it costs one attempt and nothing else.

mod supervisor;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kinora_dispatch::{DispatchOptions, RemoteStore};
use kinora_jobs::{Clock, Store, SystemClock, WorkerOptions, open_store};

use crate::runner::{Model, RunnerParts, VideoRunner};
use crate::{Error, Files, Result};

pub use supervisor::{Supervisor, WorkerStatus};

/// Where a worker gets its jobs.
#[derive(Debug, Clone)]
pub enum JobSource {
    /// From the record itself: a file of SQLite, or `postgres://…`.
    Record(String),
    /// From a server, through NATS: such a worker needs no access to the record.
    Nats(Box<DispatchOptions>),
}

impl JobSource {
    /// Opens it. NATS that is away, as after a power cut, is waited for until `shutdown`.
    fn open(&self, clock: Arc<dyn Clock>, shutdown: &AtomicBool) -> Result<Arc<dyn Store>> {
        let options = match self {
            Self::Record(record) => return Ok(open_store(record, clock)?),
            Self::Nats(options) => options,
        };
        loop {
            match RemoteStore::connect(options) {
                Err(error @ kinora_dispatch::Error::Connect { .. }) if !shutdown.load(Ordering::SeqCst) => {
                    tracing::warn!(%error, "NATS cannot be reached; it is tried again");
                    std::thread::sleep(Duration::from_secs(1));
                }
                connected => return Ok(Arc::new(connected?)),
            }
        }
    }
}

/// How a worker is set up.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// Where jobs come from.
    pub jobs: JobSource,
    /// Where files are: a folder, or `s3://bucket/prefix`.
    pub files: String,
    /// Models by their names in the registry or their folders.
    pub models: Vec<String>,
    /// The most memory that the process may hold; what the system gives if absent.
    pub max_memory_bytes: Option<u64>,
    /// Its name, for people.
    pub name: String,
    /// How long nobody need hear of it.
    pub lease: Duration,
}

impl WorkerSettings {
    /// How long nobody need hear of a worker, if nobody says otherwise.
    pub const LEASE: Duration = Duration::from_secs(30);
    /// How long a worker waits before it looks again when there was nothing to do.
    const IDLE: Duration = Duration::from_millis(200);
}

/// Does jobs until `shutdown` is set. A job that is running then is given back at its next step.
///
/// **Errors**: a store, a place for files or a model that cannot be opened; what the store says later, unless waiting heals it.
pub fn run(settings: &WorkerSettings, shutdown: &AtomicBool) -> Result<()> {
    let clock = Arc::new(SystemClock::new());
    crate::files::install_crypto();
    let store = settings.jobs.open(clock.clone(), shutdown)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|source| Error::Io {
            action: "start the runtime of",
            path: "the worker".into(),
            source,
        })?;
    let runner = VideoRunner::new(RunnerParts {
        files: Files::open(&settings.files)?,
        runtime: runtime.handle().clone(),
        models: settings
            .models
            .iter()
            .map(|name| Model::find(name))
            .collect::<Result<_>>()?,
        max_memory_bytes: settings.max_memory_bytes,
    })?;
    let worker = kinora_jobs::Worker {
        store: &*store,
        runner: &runner,
        clock: &*clock,
        options: WorkerOptions {
            name: settings.name.clone(),
            lease: settings.lease,
            idle: WorkerSettings::IDLE,
            ..WorkerOptions::default()
        },
    };
    tracing::info!(name = settings.name, models = ?settings.models, "the worker waits for jobs");
    worker.run(shutdown)?;
    Ok(())
}

/// Sets `shutdown` when standard input ends: the process that started this one has died, or wants it to end.
pub fn end_with_standard_input(shutdown: &'static AtomicBool) {
    std::thread::spawn(move || {
        // Whatever is said there is of no interest, and an error is an end too.
        std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink()).ok();
        shutdown.store(true, Ordering::SeqCst);
        // A step that takes longer than this is lost to the last checkpoint, as it would be by a kill.
        std::thread::sleep(supervisor::GRACE);
        std::process::exit(1);
    });
}
