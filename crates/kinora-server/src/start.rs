//! A server from its settings: opens what it needs, answers, and ends in order.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use kinora_dispatch::Dispatch;
use kinora_jobs::{Clock, SystemClock, open_store};
use tokio::process::Command;

use crate::worker::Supervisor;
use crate::{App, Catalogue, Config, CreatedKey, Error, Files, Keys, Result, Server, retention, start_sender};

/// How long workers may take to give their jobs back.
const GRACE: std::time::Duration = std::time::Duration::from_secs(20);

/// The keys of a server whose folder is `folder`, for whoever administers it. `jobs` and `files` are as in [`Config`].
///
/// **Errors**: a record or a place for files that cannot be opened.
pub fn open_keys(folder: &Path, jobs: Option<&str>, files: Option<&str>) -> Result<Keys> {
    crate::files::install_crypto();
    let config = Config {
        jobs: jobs.map(str::to_owned),
        files: files.map(str::to_owned),
        ..Config::new(SocketAddr::from(([127, 0, 0, 1], 0)), folder.to_owned())
    };
    let (jobs, files) = places(&config);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    Ok(Keys::new(
        &Files::open(&files)?,
        open_store(&jobs, clock.clone())?,
        clock,
    ))
}

/// Where the record of jobs and the files of `config` are, as a worker is told.
fn places(config: &Config) -> (String, String) {
    let in_folder = |name: &str| config.folder.join(name).to_string_lossy().into_owned();
    let jobs = config.jobs.clone().unwrap_or_else(|| in_folder("jobs.db"));
    let files = config.files.clone().unwrap_or_else(|| in_folder("files"));
    (jobs, files)
}

/// How a worker of `config` is started: this program again, as `kinora worker`.
fn worker_command(config: &Config, program: &Path) -> impl Fn(usize) -> Command + Send + Sync + 'static {
    let (jobs, files) = places(config);
    let (program, models, memory) = (program.to_owned(), config.models.clone(), config.max_memory_bytes);
    let workers = config.workers.max(1);
    move |index| {
        let mut command = Command::new(&program);
        command
            .args(["worker", "--until-stdin-ends", "--name"])
            .arg(format!("worker-{index}"));
        // Not as arguments, which everybody on the machine can read: a database's address has its password.
        command.env("KINORA_JOBS", &jobs).env("KINORA_FILES", &files);
        for model in &models {
            command.arg("--model").arg(model);
        }
        if let Some(bytes) = memory {
            command.arg("--max-memory").arg(format!("{}MB", bytes as f64 / 1e6));
        }
        if workers > 1 {
            let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() / workers);
            command.arg("--threads").arg(threads.max(1).to_string());
        }
        command
    }
}

/// Serves until Ctrl-C or a request of the system to end.
///
/// **Errors**: whatever cannot be opened; an address that cannot be listened on.
pub async fn run(config: Config) -> Result<()> {
    crate::files::install_crypto();
    config.check()?;
    let io = |action, path: &Path| {
        let path = path.to_owned();
        move |source| Error::Io { action, path, source }
    };
    std::fs::create_dir_all(&config.folder).map_err(io("make the folder", &config.folder))?;
    let (jobs, files) = places(&config);
    let catalogue = Catalogue::open(&config)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let (store, dispatch) = blocking({
        let (clock, nats) = (clock.clone(), config.nats.clone());
        move || {
            let store = open_store(&jobs, clock)?;
            let dispatch = nats.map(|nats| Dispatch::start(nats, store.clone())).transpose()?;
            Ok((store, dispatch))
        }
    })
    .await?;
    warn_of_hints(dispatch.as_ref());
    let rules = catalogue.rules().clone();
    let app = App::new(config.clone(), store, clock, Files::open(&files)?, rules)
        .with_catalogue(catalogue)
        .with_dispatch(dispatch);
    let first_key = if config.keys {
        app.keys().first_run().await?
    } else {
        None
    };
    let server = Server::bind(app.clone()).await?;
    let program = std::env::current_exe().map_err(io("find the program", Path::new("kinora")))?;
    let workers = Supervisor::start(config.workers, worker_command(&config, &program));
    let sweeper = retention::start(app.clone());
    let sender = start_sender(app);
    announce(&config, server.address(), first_key.as_ref());
    let stop_workers = workers.stopper();
    let ended = async move {
        asked_to_end().await;
        // Ctrl-C reaches the workers too: they must not be started again while open requests are answered.
        stop_workers();
    };
    let served = server.run(ended).await;
    sweeper.abort();
    sender.abort();
    workers.shut_down(GRACE).await;
    served
}

/// Runs what blocks (databases, brokers) beside the tasks of the server.
async fn blocking<T: Send + 'static>(call: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(call).await {
        Ok(done) => done,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

fn warn_of_hints(dispatch: Option<&Dispatch>) {
    if let Some(warning) = dispatch.and_then(|dispatch| dispatch.durability().warning()) {
        tracing::warn!("{warning}");
    }
}

/// What whoever starts a server has to know. The key is shown here and never again.
fn announce(config: &Config, address: SocketAddr, first_key: Option<&CreatedKey>) {
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    println!("Kinora listens on {scheme}://{address}");
    println!(
        "models: {} (the first one answers to sora-2 too)",
        config.models.join(", ")
    );
    if let Some(key) = first_key {
        println!("the first key, which is shown only once: {}", key.reveal());
    }
    println!("try:    curl {scheme}://{address}/v1/videos -F prompt=\"a red car drives along a road\"");
}

/// Ends when somebody asks the program to end.
async fn asked_to_end() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    // Without signals it is ended by whoever started it.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
