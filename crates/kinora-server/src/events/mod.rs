//! What happens to jobs, as streams of server-sent events.
//!
//! One task a server reads what is new in the log of the jobs, once for all who watch, and hands the finished text of each
//! event to the streams of its job ([`Bell`]). A stream begins by reading from the log what its client has not seen, and
//! does so again when it has fallen behind: nothing is lost, and nothing is kept for slow clients.

mod stream;
mod tell;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use kinora_jobs::{Clock, Event, Job, JobId, Scope, Store};
use tokio::sync::broadcast;

pub(crate) use stream::stream;
pub(crate) use tell::{Pace, picture_type, preview_of};

use crate::observe::Metrics;

/// How often the log is looked at.
const TICK: Duration = Duration::from_millis(150);
/// How long to wait after the log could not be read.
const PAUSE: Duration = Duration::from_secs(1);
/// The most events that are read at once.
pub(crate) const PAGE: usize = 500;
/// How many events a stream may be behind before it reads from the log again.
const BEHIND: usize = 64;

/// An event as it is sent.
#[derive(Debug, Clone)]
struct Told {
    /// Its number in the log.
    seq: u64,
    /// Its text.
    text: Bytes,
    /// Whether the stream ends with it.
    last: bool,
}

/// Wakes those who watch a job. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bell(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Whether the task that reads the log has been started.
    started: Mutex<bool>,
    listeners: Mutex<HashMap<JobId, broadcast::Sender<Told>>>,
}

/// Hears of one job until it is dropped.
#[derive(Debug)]
struct Listener {
    bell: Bell,
    job: JobId,
    heard: broadcast::Receiver<Told>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut listeners = self.bell.0.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        // This one is still counted.
        if listeners.get(&self.job).is_some_and(|to| to.receiver_count() <= 1) {
            listeners.remove(&self.job);
        }
    }
}

impl Bell {
    fn listen(&self, job: &JobId) -> Listener {
        let mut listeners = self.0.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        let to = listeners
            .entry(job.clone())
            .or_insert_with(|| broadcast::channel(BEHIND).0);
        Listener {
            bell: self.clone(),
            job: job.clone(),
            heard: to.subscribe(),
        }
    }

    /// Begins to read the log, if that has not begun and there is a runtime to do it in. It ends with the last clone of
    /// this.
    pub(crate) fn start(&self, store: &Arc<dyn Store>, clock: &Arc<dyn Clock>, metrics: &Arc<Metrics>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let mut started = self.0.started.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut *started, true) {
            let reader = Reader {
                listeners: Arc::downgrade(&self.0),
                store: store.clone(),
                clock: clock.clone(),
                metrics: metrics.clone(),
                seen: None,
                paces: HashMap::new(),
            };
            runtime.spawn(reader.run());
        }
    }
}

/// Reads the log once for all.
struct Reader {
    listeners: Weak<Inner>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    /// The newest event that was read; `None` before the log has answered for the first time.
    seen: Option<u64>,
    /// How fast the jobs are that somebody watches.
    paces: HashMap<JobId, Pace>,
}

impl Reader {
    async fn run(mut self) {
        let mut failing = false;
        while self.listeners.strong_count() > 0 {
            let read = tokio::task::spawn_blocking(move || {
                let read = self.read();
                (self, read)
            });
            // A panic in the store has taken the reader along; the log of the process tells of it.
            let Ok((reader, read)) = read.await else {
                tracing::error!("the reader of events has died: streams end, clients come again");
                return;
            };
            self = reader;
            let pause = match read {
                Ok(PAGE..) => Duration::ZERO,
                Ok(_) => TICK,
                Err(error) => {
                    if !failing {
                        tracing::warn!(%error, "events cannot be read");
                    }
                    failing = true;
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            failing = false;
            tokio::time::sleep(pause).await;
        }
    }

    /// Reads the next page. Says how many events it had.
    fn read(&mut self) -> kinora_jobs::Result<usize> {
        let Some(seen) = self.seen else {
            self.seen = Some(self.store.last_event(&Scope::All)?);
            return Ok(0);
        };
        let page = self.store.events(&Scope::All, seen, PAGE)?;
        for event in &page {
            self.tell(event)?;
            self.seen = Some(event.seq);
        }
        Ok(page.len())
    }

    fn tell(&mut self, event: &Event) -> kinora_jobs::Result<()> {
        let listener = self.listener(&event.job);
        let needed = Metrics::needs_job(event.kind) || (listener.is_some() && tell::needs_job(event.kind));
        let job = if needed { self.job(&event.job)? } else { None };
        self.metrics.event(event, job.as_ref());
        let Some(listener) = listener else {
            self.paces.remove(&event.job);
            return Ok(());
        };
        let pace = self.paces.entry(event.job.clone()).or_insert_with(|| Pace::new(None));
        pace.follow(event);
        let position = match tell::needs_position(event.kind) {
            true => self.store.queue_position(&event.job).unwrap_or(None),
            false => None,
        };
        if let Some(told) = tell::told(event, job.as_ref(), position, pace, self.clock.now()) {
            // Nobody there any more: that is as good as told.
            listener.send(told).ok();
        }
        Ok(())
    }

    fn listener(&self, job: &JobId) -> Option<broadcast::Sender<Told>> {
        let inner = self.listeners.upgrade()?;
        let listeners = inner.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.get(job).cloned()
    }

    /// A job that was deleted meanwhile has no record; its events are counted without.
    fn job(&self, id: &JobId) -> kinora_jobs::Result<Option<Job>> {
        match self.store.get(id) {
            Ok(job) => Ok(Some(job)),
            Err(kinora_jobs::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
