//! The server's side: the record service, and the dispatcher that keeps as many offers lying ready as there is work and room for.
//!
//! **Which** job a worker gets is decided by the store when it is claimed: priorities, shares and quotas are its business. An offer says
//! only that there is work, so an offer that is lost, doubled, late or in the wrong order changes no outcome. Offers are never
//! the memory of anything: they are made from the record at every comparison, also after the broker has lost all of them.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use kinora_jobs::Store;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::broker::Broker;
use crate::durability::{self, Durability};
use crate::error::{Error, Result};
use crate::lanes::Lanes;
use crate::options::DispatchOptions;
use crate::service::{RecordService, Tally};

/// How often leases that have ended are looked for.
const REAP: Duration = Duration::from_secs(1);
/// Two comparisons are at least so far apart, however much happens.
const BREATH: Duration = Duration::from_millis(10);
/// How long a stop waits for what is being answered.
const FAREWELL: Duration = Duration::from_secs(5);

/// How often something happened since the start, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Questions of workers.
    pub questions: u64,
    /// Questions that came again and were answered as before.
    pub repeated: u64,
    /// Claims among them,
    pub claims: u64,
    /// and those that found nothing: offers that were doubled or late.
    pub empty_claims: u64,
    /// Offers published.
    pub offers: u64,
    /// Jobs taken away from workers that were silent for too long.
    pub reaped: u64,
}

/// Dispatch to workers on other machines, running.
pub struct Dispatch {
    runtime: Option<Runtime>,
    durability: Durability,
    stop: watch::Sender<bool>,
    ended: mpsc::Receiver<()>,
    lanes: Arc<Lanes>,
    tally: Arc<Tally>,
    trouble: Trouble,
}

/// What went wrong in the last comparison, if it did.
type Trouble = Arc<Mutex<Option<String>>>;

impl std::fmt::Debug for Dispatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dispatch")
            .field("durability", &self.durability)
            .finish_non_exhaustive()
    }
}

impl Dispatch {
    /// Connects, makes the stream of offers, and begins to answer workers and to offer work, on threads of its own.
    /// Ended leases of `store` are reaped from then on.
    ///
    /// **Errors**: options that make no sense, NATS not there or without JetStream, and [`Error::NotSynced`] if
    /// [`DispatchOptions::require_sync`] is set.
    pub fn start(options: DispatchOptions, store: Arc<dyn Store>) -> Result<Self> {
        options.validate()?;
        let failed = |error: std::io::Error| Error::Runtime {
            detail: error.to_string(),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .max_blocking_threads(16)
            .thread_name("kinora-dispatch")
            .enable_all()
            .build()
            .map_err(failed)?;
        let (stop, stopped) = watch::channel(false);
        let (end, ended) = mpsc::channel();
        let (lanes, tally) = (Arc::new(Lanes::default()), Arc::new(Tally::default()));
        let trouble = Trouble::default();
        let (begun, begins) = mpsc::channel();
        let parts = (lanes.clone(), tally.clone(), trouble.clone());
        runtime.spawn(async move {
            let (lanes, tally, trouble) = parts;
            match begin(&options, store, lanes, tally).await {
                Ok((service, questions, durability)) => {
                    let dispatcher = Dispatcher {
                        service: service.clone(),
                        options,
                        trouble,
                        stopped,
                    };
                    begun.send(Ok(durability)).ok();
                    let answering = tokio::spawn(service.clone().run(questions));
                    dispatcher.run().await;
                    answering.abort();
                    tokio::time::timeout(FAREWELL / 2, service.broker.client.flush())
                        .await
                        .ok();
                    end.send(()).ok();
                }
                Err(error) => {
                    begun.send(Err(error)).ok();
                }
            }
        });
        let begun = begins.recv().unwrap_or_else(|_| {
            Err(Error::Runtime {
                detail: "it ended at once".into(),
            })
        });
        match begun {
            Ok(durability) => Ok(Self {
                runtime: Some(runtime),
                durability,
                stop,
                ended,
                lanes,
                tally,
                trouble,
            }),
            Err(error) => {
                runtime.shutdown_background();
                Err(error)
            }
        }
    }

    /// What the broker was seen to promise. See [`Durability::warning`].
    #[must_use]
    pub const fn durability(&self) -> Durability {
        self.durability
    }

    /// Says that a job was submitted or tried again, so that it is offered now and not with the next comparison.
    pub fn nudge(&self) {
        self.lanes.something_changed();
    }

    /// How often what has happened.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            questions: read(&self.tally.questions),
            repeated: read(&self.tally.repeated),
            claims: read(&self.tally.claims),
            empty_claims: read(&self.tally.empty_claims),
            offers: read(&self.tally.offers),
            reaped: read(&self.tally.reaped),
        }
    }

    /// Why nothing is offered at the moment, if something is wrong with NATS or the store. It goes on by itself.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends it. Workers keep what they hold, and hear nothing until a server is there again.
    pub fn stop(self) {
        self.stop.send(true).ok();
        self.ended.recv_timeout(FAREWELL).ok();
    }
}

impl Drop for Dispatch {
    fn drop(&mut self) {
        self.stop.send(true).ok();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn begin(
    options: &DispatchOptions,
    store: Arc<dyn Store>,
    lanes: Arc<Lanes>,
    tally: Arc<Tally>,
) -> Result<(Arc<RecordService>, async_nats::Subscriber, Durability)> {
    let client = options.connect("kinora server").await?;
    let broker = Arc::new(Broker::new(client.clone(), options.clone()));
    let replicas = broker.ensure_stream().await?;
    let durability = durability::check(&client, options, replicas).await?;
    // Workers that are connected already do not say hello to a new server.
    for (lane, kinds) in broker.lanes().await? {
        lanes.open(&lane, &kinds);
    }
    let subject = options.record_subject("*");
    // One of several servers answers each question.
    let questions = client.queue_subscribe(subject, "kinora-record".into()).await;
    let failed = |detail: String| Error::Connect {
        url: options.address(),
        detail,
    };
    let questions = questions.map_err(|error| failed(error.to_string()))?;
    client.flush().await.map_err(|error| failed(error.to_string()))?;
    let service = RecordService::new(store, broker, lanes, tally, options.prefix.clone());
    Ok((Arc::new(service), questions, durability))
}

/// Compares the record with the offers, again and again.
struct Dispatcher {
    service: Arc<RecordService>,
    options: DispatchOptions,
    trouble: Trouble,
    stopped: watch::Receiver<bool>,
}

impl Dispatcher {
    async fn run(self) {
        let mut stopped = self.stopped.clone();
        let mut reaped = Instant::now();
        loop {
            let mut trouble = None;
            if reaped.elapsed() >= REAP {
                reaped = Instant::now();
                trouble = self.reap().await.err();
                for lane in self.service.lanes.close_forgotten() {
                    self.service.broker.close_lane(&lane).await;
                }
            }
            for (lane, kinds) in self.service.lanes.awake() {
                if let Err(error) = self.top_up(&lane, kinds).await {
                    trouble = Some(error);
                    break;
                }
            }
            *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
            let changed = tokio::select! {
                () = self.service.lanes.changed() => true,
                () = tokio::time::sleep(self.options.top_up) => false,
                stopped = stopped.changed() => {
                    drop(stopped);
                    return;
                }
            };
            if changed {
                tokio::time::sleep(BREATH).await;
            }
        }
    }

    /// Workers may not reap: it is for the record to say who was silent for too long.
    async fn reap(&self) -> Result<(), String> {
        let store = self.service.store.clone();
        let reaped = tokio::task::spawn_blocking(move || store.reap(100)).await;
        let reaped = reaped
            .map_err(|error| error.to_string())?
            .map_err(|error| error.to_string())?;
        if !reaped.is_empty() {
            Tally::add(&self.service.tally.reaped, reaped.len());
            self.service.lanes.something_changed();
        }
        Ok(())
    }

    /// As many offers as there are jobs that could begin, but no more than workers that wait, and a few that lie ready.
    async fn top_up(&self, lane: &str, kinds: Vec<String>) -> Result<(), String> {
        let broker = &self.service.broker;
        let Some(seen) = broker.look(lane).await.map_err(|error| error.to_string())? else {
            return self.rebuild().await;
        };
        let credits = seen.waiting.max(self.options.standing_offers);
        if seen.offers >= credits {
            return Ok(());
        }
        let store = self.service.store.clone();
        let ready = tokio::task::spawn_blocking(move || store.ready(&kinds, credits)).await;
        let ready = ready
            .map_err(|error| error.to_string())?
            .map_err(|error| error.to_string())?;
        for _ in seen.offers..ready {
            broker.offer(lane).await.map_err(|error| error.to_string())?;
            Tally::add(&self.service.tally.offers, 1);
        }
        Ok(())
    }

    /// The broker has forgotten everything: it is told again. The next comparison makes the offers.
    async fn rebuild(&self) -> Result<(), String> {
        let broker = &self.service.broker;
        broker.ensure_stream().await.map_err(|error| error.to_string())?;
        for (lane, kinds) in self.service.lanes.all() {
            broker
                .ensure_lane(&lane, &kinds)
                .await
                .map_err(|error| error.to_string())?;
        }
        self.service.lanes.something_changed();
        Ok(())
    }
}
