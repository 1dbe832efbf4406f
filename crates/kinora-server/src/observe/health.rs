//! Whether the server works: the process, and whether it takes requests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kinora_api::{Check, Health, HealthStatus};
use kinora_jobs::{Order, Query, State};

use crate::files::FileRef;
use crate::{App, Files};

/// How long one thing may take that is looked at.
const PATIENCE: Duration = Duration::from_secs(2);
/// For how long an answer holds: anybody may ask without a key, and looking costs something.
const HOLDS: Duration = Duration::from_millis(500);
/// How long jobs may wait while no worker does anything, before somebody should look.
const STUCK_MS: i64 = 60_000;

/// The health of a process that answers.
pub(crate) fn alive() -> Health {
    let checks = [("process".to_owned(), fine())];
    Health::new(env!("CARGO_PKG_VERSION"), BTreeMap::from(checks))
}

/// Looks whether the server takes requests. Clones share what they saw.
#[derive(Debug, Clone, Default)]
pub(crate) struct Readiness {
    last: Arc<Mutex<Option<(Instant, Health)>>>,
    /// Held while somebody looks: a database that hangs is asked by one thread, not by one a request.
    database: Arc<tokio::sync::Mutex<()>>,
    storage: Arc<tokio::sync::Mutex<()>>,
}

impl Readiness {
    /// What is to be told now.
    pub(crate) async fn look(&self, app: &App) -> Health {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((at, health)) = last
            && at.elapsed() < HOLDS
        {
            return health;
        }
        let ((database, workers), storage, disk) =
            tokio::join!(self.database(app), self.storage(&app.files), free_space(app));
        let mut checks = BTreeMap::from([("database".to_owned(), database), ("storage".to_owned(), storage)]);
        checks.extend(workers.map(|check| ("workers".to_owned(), check)));
        checks.extend(disk.map(|check| ("disk".to_owned(), check)));
        let health = Health::new(env!("CARGO_PKG_VERSION"), checks);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), health.clone()));
        health
    }

    /// Whether the record of jobs answers in time, and if so, whether somebody does the jobs.
    async fn database(&self, app: &App) -> (Check, Option<Check>) {
        let Ok(held) = self.database.clone().try_lock_owned() else {
            return (failing("the record of jobs has not answered the last question"), None);
        };
        let app = app.clone();
        let asked = tokio::task::spawn_blocking(move || {
            let _held = held;
            let load = app.store.load()?;
            let queued = load.iter().map(|load| load.queued).sum::<u64>();
            let running = load.iter().map(|load| load.running).sum::<u64>();
            workers(&app, queued, running)
        });
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(Ok(workers))) => (fine(), Some(workers)),
            Ok(Ok(Err(error))) => {
                // What it says may hold paths; the log has it.
                tracing::warn!(%error, "the record of jobs does not answer");
                (failing("the record of jobs does not answer"), None)
            }
            Ok(Err(_)) | Err(_) => (failing("the record of jobs does not answer in time"), None),
        }
    }

    /// Whether a file can be written and read back.
    async fn storage(&self, files: &Files) -> Check {
        let Ok(held) = self.storage.clone().try_lock_owned() else {
            return failing("the place of the files has not answered the last question");
        };
        let files = files.clone();
        let tried = tokio::spawn(async move {
            let _held = held;
            let key = FileRef("health/probe".to_owned());
            let probe = Bytes::from_static(b"kinora");
            files.write(&key, probe.clone()).await?;
            Ok::<_, crate::Error>(files.read(&key).await? == Some(probe))
        });
        match tokio::time::timeout(PATIENCE, tried).await {
            Ok(Ok(Ok(true))) => fine(),
            Ok(Ok(Ok(false))) => failing("a file that was written does not read as it was"),
            Ok(Ok(Err(error))) => {
                tracing::warn!(%error, "the place of the files does not work");
                failing("files cannot be written")
            }
            Ok(Err(_)) | Err(_) => failing("the place of the files does not answer in time"),
        }
    }
}

/// Whether jobs that wait are taken.
fn workers(app: &App, queued: u64, running: u64) -> kinora_jobs::Result<Check> {
    if queued == 0 || running > 0 {
        return Ok(fine());
    }
    let now = app.clock.now().as_ms();
    let query = Query {
        state: Some(State::Queued),
        order: Order::Oldest,
        limit: 1,
        ..Query::default()
    };
    let oldest = app.store.list(&query)?.jobs.first().map(|job| job.created_at.as_ms());
    let quiet_since = oldest.unwrap_or(now).max(app.metrics.worker_seen_ms());
    if now - quiet_since < STUCK_MS {
        return Ok(fine());
    }
    let seconds = (now - quiet_since) / 1000;
    Ok(Check {
        status: HealthStatus::Degraded,
        message: Some(format!(
            "{queued} jobs wait, and no worker took one for {seconds} seconds"
        )),
    })
}

/// Whether the disk of the server's folder has room; nothing where the system cannot be asked.
async fn free_space(app: &App) -> Option<Check> {
    let (folder, least) = (app.config.folder.clone(), app.config.limits.free_bytes);
    let free = tokio::time::timeout(
        PATIENCE,
        tokio::task::spawn_blocking(move || kinora_weights::free_bytes(&folder)),
    );
    let free = free.await.ok()?.ok()??;
    Some(match free < least {
        true => failing(&format!("{free} bytes of the disk are free, {least} are needed")),
        false => fine(),
    })
}

fn fine() -> Check {
    Check {
        status: HealthStatus::Ok,
        message: None,
    }
}

fn failing(message: &str) -> Check {
    Check {
        status: HealthStatus::Failing,
        message: Some(message.to_owned()),
    }
}
