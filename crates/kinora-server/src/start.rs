//! A server from its settings: opens what it needs, answers, and ends in order.

use std::path::Path;
use std::sync::Arc;

use kinora_jobs::{Clock, SqliteStore, Store, SystemClock};
use tokio::process::Command;

use crate::worker::Supervisor;
use crate::{App, Catalogue, Config, Error, Files, Result, retention};

/// How long workers may take to give their jobs back.
const GRACE: std::time::Duration = std::time::Duration::from_secs(20);

/// Opens the record of jobs that `jobs` names: a file of SQLite.
///
/// **Errors**: [`Error::Jobs`], [`Error::Setting`] for a database that this build cannot use.
pub fn open_store(jobs: &str, clock: Arc<dyn Clock>) -> Result<Arc<dyn Store>> {
    if let Some((scheme, _)) = jobs.split_once("://") {
        return Err(Error::Setting {
            what: "--jobs",
            problem: format!("{scheme}:// is no record of jobs that this program can open"),
            hint: "a file, for example jobs.db".into(),
        });
    }
    Ok(Arc::new(SqliteStore::open(Path::new(jobs), clock)?))
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
    let io = |action, path: &Path| {
        let path = path.to_owned();
        move |source| Error::Io { action, path, source }
    };
    std::fs::create_dir_all(&config.folder).map_err(io("make the folder", &config.folder))?;
    let (jobs, files) = places(&config);
    let catalogue = Catalogue::open(&config)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let store = open_store(&jobs, clock.clone())?;
    let app = App::new(
        config.clone(),
        store,
        clock,
        Files::open(&files)?,
        catalogue.rules().clone(),
    );

    let address = config.address.to_string();
    let listener = tokio::net::TcpListener::bind(config.address).await;
    let listener = listener.map_err(io("listen on", Path::new(&address)))?;
    let bound = listener.local_addr().map_err(io("listen on", Path::new(&address)))?;
    let program = std::env::current_exe().map_err(io("find the program", Path::new("kinora")))?;
    let workers = Supervisor::start(config.workers, worker_command(&config, &program));
    let sweeper = retention::start(app.clone());
    println!("Kinora listens on http://{bound}");
    println!("models: {}", config.models.join(", "));
    let stop_workers = workers.stopper();
    let ended = async move {
        asked_to_end().await;
        // Ctrl-C reaches the workers too: they must not be started again while open requests are answered.
        stop_workers();
    };
    let served = axum::serve(listener, app.router()).with_graceful_shutdown(ended).await;
    sweeper.abort();
    workers.shut_down(GRACE).await;
    served.map_err(io("answer on", Path::new(&address)))
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
