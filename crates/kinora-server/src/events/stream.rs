//! The stream of one client.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use kinora_api::SSE_KEEP_ALIVE;
use kinora_jobs::{JobId, Scope};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

use super::{Listener, PAGE, Pace, Told, tell};
use crate::App;
use crate::answer::Answer;

/// How many events wait for a client that reads slowly.
const WAITING: usize = 64;
/// How long they wait: a client that takes nothing for so long is cut off, and goes on by `Last-Event-ID`.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often a sign of life is sent while nothing happens.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The events of `job` after the one numbered `after`, until its last one.
pub(crate) fn stream(app: &App, job: JobId, after: u64) -> Body {
    app.bell.start(&app.store, &app.clock, &app.metrics);
    // Before the log is read: what happens from now on is heard or read, perhaps both.
    let listener = app.bell.listen(&job);
    let (to, from) = mpsc::channel(WAITING);
    let sender = Sender {
        app: app.clone(),
        job,
        after,
        to,
    };
    tokio::spawn(sender.run(listener));
    let pieces = futures_util::stream::unfold(from, |mut from| async move {
        let piece: Bytes = from.recv().await?;
        Some((Ok::<_, Infallible>(piece), from))
    });
    Body::from_stream(pieces)
}

/// Why a stream is over: its job has ended, its client has gone, or nothing can be read.
struct Over;

struct Sender {
    app: App,
    job: JobId,
    /// The newest event that was sent.
    after: u64,
    to: mpsc::Sender<Bytes>,
}

impl Sender {
    async fn run(mut self, mut listener: Listener) {
        let _counted = self.app.metrics.watcher();
        // Says that the stream is there, before anything happens.
        let greeting = Bytes::from_static(SSE_KEEP_ALIVE.as_bytes());
        if self.send(greeting).await.is_err() || self.catch_up().await.is_err() {
            return;
        }
        loop {
            let heard = tokio::select! {
                () = self.to.closed() => return,
                heard = tokio::time::timeout(KEEP_ALIVE, listener.heard.recv()) => heard,
            };
            let done = match heard {
                Err(_) => self.send(Bytes::from_static(SSE_KEEP_ALIVE.as_bytes())).await,
                Ok(Ok(told)) => self.pass_on(told).await,
                Ok(Err(RecvError::Lagged(_))) => self.catch_up().await,
                Ok(Err(RecvError::Closed)) => Err(Over),
            };
            if done.is_err() {
                return;
            }
        }
    }

    async fn send(&self, piece: Bytes) -> Result<(), Over> {
        self.to.send_timeout(piece, PATIENCE).await.map_err(|_| Over)
    }

    async fn pass_on(&mut self, told: Told) -> Result<(), Over> {
        if told.seq <= self.after {
            return Ok(());
        }
        self.send(told.text).await?;
        self.after = told.seq;
        if told.last { Err(Over) } else { Ok(()) }
    }

    /// Sends what the log holds. [`Over`] if the job has ended and all of it was sent.
    async fn catch_up(&mut self) -> Result<(), Over> {
        let mut pace = Pace::default();
        // From the beginning, however little is sent: the pace of a step shows by those before it.
        let mut read = 0;
        loop {
            let (ended, page) = self.page(read, &mut pace).await.map_err(|_| Over)?;
            let Some((last_seq, told)) = page else {
                return if ended { Err(Over) } else { Ok(()) };
            };
            for one in told {
                self.send(one.text).await?;
            }
            read = last_seq;
            self.after = self.after.max(read);
        }
    }

    /// Whether the job had ended, and what of the next page of its log after `read` is to be sent, with the number of the
    /// last event of the page.
    async fn page(&self, read: u64, pace: &mut Pace) -> Answer<(bool, Option<(u64, Vec<Told>)>)> {
        let (id, after, clock) = (self.job.clone(), self.after, self.app.clock.clone());
        let mut following = *pace;
        let (found, followed) = self
            .app
            .with_store(move |store| {
                // The record first: if it has ended, all of its events are there.
                let job = store.get(&id)?;
                let page = store.events(&Scope::Job(id.clone()), read, PAGE)?;
                let position = match page.last() {
                    Some(event) if tell::needs_position(event.kind) => store.queue_position(&id)?,
                    _ => None,
                };
                let last = page.last().map(|event| event.seq);
                let told = page.iter().filter_map(|event| {
                    following.follow(event);
                    if event.seq <= after {
                        return None;
                    }
                    let position = position.filter(|_| Some(event.seq) == last);
                    tell::told(event, Some(&job), position, &following, clock.now())
                });
                let told: Vec<Told> = told.collect();
                Ok(((job.state().is_final(), last.map(|seq| (seq, told))), following))
            })
            .await?;
        *pace = followed;
        Ok(found)
    }
}
