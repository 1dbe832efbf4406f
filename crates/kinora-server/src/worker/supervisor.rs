//! Starts the workers of a server, and starts them again when they die.
//!
//! A worker's standard input is a pipe that the server holds. It ends when the server does, however that happens, and the
//! worker ends with it; ending it is also how the server asks for a shutdown. No signal is needed for either.

use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long a worker may take to give its job back.
pub(super) const GRACE: Duration = Duration::from_secs(60);
/// How long a worker that died waits before it is started again; doubled while it dies young,
const BACKOFF: Duration = Duration::from_millis(500);
/// up to this.
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// A worker that has lived so long did not die young.
const OLD: Duration = Duration::from_secs(60);

/// How a worker is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WorkerStatus {
    /// Which one, from 0.
    pub index: usize,
    /// Its process, if it lives.
    pub pid: Option<u32>,
    /// How often it was started.
    pub starts: u64,
    /// How its last process ended, if one did.
    pub last_end: Option<String>,
}

/// The workers of a server.
#[derive(Debug)]
pub struct Supervisor {
    status: Arc<Mutex<Vec<WorkerStatus>>>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Supervisor {
    /// Starts `count` workers; `command` is how one of them is started. Their standard input is taken.
    #[must_use]
    pub fn start(count: usize, command: impl Fn(usize) -> Command + Send + Sync + 'static) -> Self {
        let statuses = (0..count).map(|index| WorkerStatus {
            index,
            ..WorkerStatus::default()
        });
        let status = Arc::new(Mutex::new(statuses.collect::<Vec<_>>()));
        let (stop, stopped) = watch::channel(false);
        let command = Arc::new(command);
        let tasks = (0..count).map(|index| {
            let (status, command, stopped) = (status.clone(), command.clone(), stopped.clone());
            tokio::spawn(async move { keep_alive(index, &status, &*command, stopped).await })
        });
        Self {
            tasks: tasks.collect(),
            status,
            stop,
        }
    }

    /// How the workers are.
    #[must_use]
    pub fn status(&self) -> Vec<WorkerStatus> {
        locked(&self.status).clone()
    }

    /// A handle that tells the same later, for health and metrics.
    pub fn watch(&self) -> impl Fn() -> Vec<WorkerStatus> + Send + Sync + Clone + 'static {
        let status = self.status.clone();
        move || locked(&status).clone()
    }

    /// A handle that asks all workers to end, as [`Supervisor::shut_down`] does, and does not wait: none is started again
    /// from then on.
    pub fn stopper(&self) -> impl Fn() + Send + Sync + 'static {
        let stop = self.stop.clone();
        move || {
            // Nobody listens any more if all have ended.
            stop.send(true).ok();
        }
    }

    /// Asks all workers to give their jobs back and to end, and ends those that have not after `grace`.
    pub async fn shut_down(self, grace: Duration) {
        // Nobody listens any more if all have ended.
        self.stop.send(true).ok();
        let deadline = tokio::time::Instant::now() + grace;
        for mut task in self.tasks {
            if tokio::time::timeout_at(deadline, &mut task).await.is_err() {
                // The child dies with its task.
                task.abort();
                task.await.ok();
            }
        }
    }
}

fn locked(status: &Mutex<Vec<WorkerStatus>>) -> MutexGuard<'_, Vec<WorkerStatus>> {
    status.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts one worker again and again until it is told to stop.
async fn keep_alive(
    index: usize,
    status: &Mutex<Vec<WorkerStatus>>,
    command: &(dyn Fn(usize) -> Command + Send + Sync),
    mut stopped: watch::Receiver<bool>,
) {
    let set = |change: &dyn Fn(&mut WorkerStatus)| {
        if let Some(status) = locked(status).get_mut(index) {
            change(status);
        }
    };
    let mut backoff = BACKOFF;
    while !*stopped.borrow() {
        let begun = Instant::now();
        let end = match command(index).stdin(Stdio::piped()).kill_on_drop(true).spawn() {
            Ok(mut child) => {
                set(&|status| (status.pid, status.starts) = (child.id(), status.starts + 1));
                let ended = live(&mut child, &mut stopped).await;
                ended.map_or_else(|error| error.to_string(), |status| status.to_string())
            }
            Err(error) => error.to_string(),
        };
        set(&|status| (status.pid, status.last_end) = (None, Some(end.clone())));
        if *stopped.borrow() {
            return;
        }
        tracing::warn!(worker = index, end, "a worker has ended; it is started again");
        backoff = if begun.elapsed() >= OLD { BACKOFF } else { backoff };
        tokio::select! {
            () = tokio::time::sleep(backoff) => {}
            _ = stopped.changed() => {}
        }
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}

/// Waits for the end of a worker; when all shall stop, its standard input ends first.
async fn live(child: &mut Child, stopped: &mut watch::Receiver<bool>) -> std::io::Result<ExitStatus> {
    let stdin = child.stdin.take();
    let ended = tokio::select! {
        ended = child.wait() => Some(ended),
        _ = stopped.changed() => None,
    };
    drop(stdin);
    match ended {
        Some(ended) => ended,
        None => child.wait().await,
    }
}

#[cfg(all(test, unix))]
#[allow(clippy::panic)]
mod tests {
    use super::*;

    fn shell(script: &str) -> impl Fn(usize) -> Command + Send + Sync + 'static {
        let script = script.to_owned();
        move |_| {
            let mut command = Command::new("sh");
            command.args(["-c", &script]);
            command
        }
    }

    async fn until(supervisor: &Supervisor, what: impl Fn(&WorkerStatus) -> bool) -> WorkerStatus {
        for _ in 0..1000 {
            let status = supervisor.status().remove(0);
            if what(&status) {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{:?}", supervisor.status());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_worker_that_dies_is_started_again() {
        let supervisor = Supervisor::start(1, shell("kill -SEGV $$"));
        let status = until(&supervisor, |status| status.starts >= 2 && status.last_end.is_some()).await;
        assert!(status.last_end.unwrap().contains("signal"));
        supervisor.shut_down(Duration::from_secs(5)).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn workers_end_when_they_are_asked_and_are_killed_if_they_do_not() {
        // `cat` reads its standard input to the end, as a worker does.
        let supervisor = Supervisor::start(2, shell("exec cat"));
        let status = until(&supervisor, |status| status.pid.is_some()).await;
        assert_eq!((status.index, status.starts), (0, 1));
        let seen = supervisor.watch();
        let begun = Instant::now();
        supervisor.shut_down(Duration::from_secs(20)).await;
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "they were not waited for to the end"
        );
        assert!(
            seen()
                .iter()
                .all(|status| status.pid.is_none() && status.last_end.is_some()),
            "{:?}",
            seen()
        );

        let supervisor = Supervisor::start(1, shell("exec sleep 1000"));
        let pid = until(&supervisor, |status| status.pid.is_some()).await.pid.unwrap();
        supervisor.shut_down(Duration::from_millis(200)).await;
        for _ in 0..500 {
            // A process that is dead and not yet collected still has an entry.
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            if stat.is_empty() || stat.contains(") Z") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it lives");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_program_that_is_not_there_is_no_end_of_the_server() {
        let supervisor = Supervisor::start(1, |_| Command::new("/nowhere/kinora"));
        let status = until(&supervisor, |status| status.last_end.is_some()).await;
        assert_eq!((status.pid, status.starts), (None, 0));
        supervisor.shut_down(Duration::from_secs(5)).await;
    }
}
