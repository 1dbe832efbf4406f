//! Sends what waits in the outbox.
//!
//! Several senders may work on one record of jobs: what one takes is its own for a lease. An endpoint that answers slowly
//! has few attempts at once, and what it cannot take yet stays in the outbox, so it holds up nobody else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kinora_api::WebhookEndpointId;
use kinora_jobs::{Delivery, Timestamp};
use tokio::task::{JoinHandle, JoinSet};

use super::delivery::{DeliveryNames, Letter, signed};
use super::endpoints::Endpoint;
use crate::ask::ask;
use crate::observe::DeliveryResult;
use crate::view::unix_seconds;
use crate::{App, Result, fetch};

/// How long a delivery is ours. Longer than an attempt takes.
const LEASE: Duration = Duration::from_secs(60);
/// How long a receiver may take.
const ATTEMPT: Duration = Duration::from_secs(15);
/// Attempts at once, in all and at one endpoint.
const MOST: usize = 32;
const MOST_PER_ENDPOINT: usize = 4;
/// How often an empty outbox is looked into.
const IDLE: Duration = Duration::from_millis(500);
/// After the first failure.
const FIRST_DELAY: Duration = Duration::from_secs(5);
const LONGEST_DELAY: Duration = Duration::from_secs(6 * 3600);
/// When a delivery is given up, counted from the event.
const GIVE_UP: Duration = Duration::from_secs(72 * 3600);
/// How long the log of deliveries goes back, and how often what is older is deleted.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
const CLEAN: Duration = Duration::from_secs(3600);

/// Starts a sender for as long as the returned task lives.
#[must_use]
pub fn start_sender(app: App) -> JoinHandle<()> {
    tokio::spawn(Sender::new(app).run())
}

/// Takes deliveries from the outbox and sends them.
#[derive(Debug, Clone)]
pub struct Sender {
    app: App,
    busy: Arc<Mutex<HashMap<String, usize>>>,
    attempt: Duration,
}

/// How an attempt ended.
enum Outcome {
    Received,
    /// It is tried again.
    Failed(String),
    /// Trying again would not help.
    Hopeless(String),
}

impl Sender {
    /// A sender for the jobs of this server.
    #[must_use]
    pub fn new(app: App) -> Self {
        Self {
            app,
            busy: Arc::default(),
            attempt: ATTEMPT,
        }
    }

    /// The same with another limit for the time of an attempt.
    #[must_use]
    pub fn with_timeout(self, attempt: Duration) -> Self {
        Self {
            attempt: attempt.min(LEASE / 2),
            ..self
        }
    }

    /// Sends until the task is aborted. What was under way then is sent again when its lease ends.
    pub async fn run(self) {
        let mut running = JoinSet::new();
        let mut clean_at = self.app.clock.now();
        loop {
            while running.try_join_next().is_some() {}
            let began = self.begin(&mut running).await.unwrap_or_else(|error| {
                tracing::warn!(%error, "the outbox of webhooks cannot be read");
                0
            });
            let now = self.app.clock.now();
            if now >= clean_at {
                clean_at = now.after(CLEAN);
                self.clean(now).await;
            }
            if running.len() >= MOST {
                running.join_next().await;
            } else if began == 0 {
                tokio::time::sleep(IDLE).await;
            }
        }
    }

    /// Sends what is due now, each once, and waits for all of it. Says how many attempts there were.
    ///
    /// **Errors**: what the record of jobs says.
    pub async fn send_due(&self) -> Result<usize> {
        let mut running = JoinSet::new();
        let mut count = 0;
        loop {
            let began = self.begin(&mut running).await?;
            if began == 0 && running.is_empty() {
                return Ok(count);
            }
            count += began;
            while running.join_next().await.is_some() {}
        }
    }

    /// Begins attempts, as many as fit.
    async fn begin(&self, running: &mut JoinSet<()>) -> Result<usize> {
        let free = MOST.saturating_sub(running.len());
        if free == 0 {
            return Ok(0);
        }
        let taken = self.store(move |store| store.take_deliveries(free, LEASE)).await?;
        let mut began = 0;
        for delivery in taken {
            if self.enter(&delivery.endpoint) {
                let sender = self.clone();
                running.spawn(async move { sender.deliver(delivery).await });
                began += 1;
            } else {
                let later = self.app.clock.now().after(jitter(FIRST_DELAY));
                let (id, attempt) = (delivery.id, delivery.attempt);
                let why = "earlier deliveries to this endpoint are under way";
                self.store(move |store| store.undelivered(id, attempt, why, Some(later)))
                    .await?;
            }
        }
        Ok(began)
    }

    async fn store<T: Send + 'static>(
        &self,
        call: impl FnOnce(&dyn kinora_jobs::Store) -> kinora_jobs::Result<T> + Send + 'static,
    ) -> Result<T> {
        Ok(ask(&self.app.store, call).await?)
    }

    /// Takes one of the places of an endpoint.
    fn enter(&self, endpoint: &str) -> bool {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let count = busy.entry(endpoint.to_owned()).or_default();
        if *count >= MOST_PER_ENDPOINT {
            return false;
        }
        *count += 1;
        true
    }

    fn leave(&self, endpoint: &str) {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = busy.get_mut(endpoint) {
            *count -= 1;
            if *count == 0 {
                busy.remove(endpoint);
            }
        }
    }

    async fn deliver(&self, delivery: Delivery) {
        let outcome = match self.attempt(&delivery).await {
            Ok(outcome) => outcome,
            Err(error) => {
                tracing::error!(%error, delivery = delivery.id, "a webhook could not be made");
                Outcome::Failed("the server could not make it".to_owned())
            }
        };
        self.leave(&delivery.endpoint);
        let now = self.app.clock.now();
        let (id, attempt) = (delivery.id, delivery.attempt);
        let (result, written) = match outcome {
            Outcome::Received => {
                let written = self.store(move |store| store.delivered(id, attempt)).await;
                (DeliveryResult::Delivered, written)
            }
            Outcome::Failed(why) => {
                self.missed(id, attempt, why, next_attempt(delivery.created_at, now))
                    .await
            }
            Outcome::Hopeless(why) => self.missed(id, attempt, why, None).await,
        };
        self.app.metrics.delivery(result);
        if let Err(error) = written {
            // It is sent again when the lease ends, under the same name.
            tracing::warn!(%error, delivery = id, "what became of a webhook could not be written");
        }
    }

    /// Writes down that an attempt was not received; `next` says when it is tried again, if ever.
    async fn missed(
        &self,
        id: u64,
        attempt: u32,
        why: String,
        next: Option<Timestamp>,
    ) -> (DeliveryResult, Result<()>) {
        let given_up = next.is_none();
        tracing::info!(delivery = id, attempt, why, given_up, "a webhook was not received");
        let result = if given_up {
            DeliveryResult::Dead
        } else {
            DeliveryResult::Failed
        };
        let written = self.store(move |store| store.undelivered(id, attempt, &why, next));
        (result, written.await)
    }

    async fn attempt(&self, delivery: &Delivery) -> Result<Outcome> {
        let hopeless = |why: &str| Ok(Outcome::Hopeless(why.to_owned()));
        let Some(letter) = Letter::of(delivery) else {
            return hopeless("the news cannot be read");
        };
        let Ok(id) = delivery.endpoint.parse::<WebhookEndpointId>() else {
            return hopeless("it names no endpoint");
        };
        let Some(endpoint) = self.app.endpoints.get(&letter.project, &id).await? else {
            return hopeless("the endpoint was deleted");
        };
        if endpoint.disabled_at.is_some() {
            return hopeless("the endpoint is disabled");
        }
        if !endpoint.event_types.contains(&letter.event.kind) {
            return hopeless("the endpoint is not told of such events");
        }
        let names = DeliveryNames::open(&self.app.files).await?;
        let name = names.name(&letter.project, delivery)?;
        match send(&self.app, &endpoint, &name, &letter.event, self.attempt).await? {
            Ok(200..=299) => Ok(Outcome::Received),
            Ok(410) => {
                self.disable(endpoint).await?;
                hopeless("it answered 410, so the endpoint was disabled")
            }
            Ok(status) => Ok(Outcome::Failed(format!("it answered {status}"))),
            Err(why) => Ok(Outcome::Failed(why.to_string())),
        }
    }

    /// 410 says that there will never be anybody again.
    async fn disable(&self, mut endpoint: Endpoint) -> Result<()> {
        endpoint.disabled_at = Some(unix_seconds(self.app.clock.now()));
        self.app.endpoints.put(&endpoint).await
    }

    async fn clean(&self, now: Timestamp) {
        let kept = i64::try_from(KEPT.as_millis()).unwrap_or(i64::MAX);
        let before = Timestamp(now.as_ms().saturating_sub(kept));
        if let Err(error) = self.store(move |store| store.prune_outbox(before)).await {
            tracing::warn!(%error, "the log of webhooks cannot be cleaned");
        }
    }
}

/// Sends one event to one endpoint, once. The inner result is the status, or why there is none.
///
/// **Errors**: a secret or an event that cannot be written.
pub(crate) async fn send(
    app: &App,
    endpoint: &Endpoint,
    name: &kinora_api::DeliveryId,
    event: &kinora_api::WebhookEvent,
    time: Duration,
) -> Result<Result<u16, fetch::Unsent>> {
    let broken = |problem: String| crate::Error::Setting {
        what: "the secret of a webhook endpoint",
        problem,
        hint: "rotate it".to_owned(),
    };
    let second = unix_seconds(app.clock.now());
    let body = serde_json::to_vec(event).map_err(|error| broken(error.to_string()))?;
    let secrets = endpoint.secrets(second).map_err(|error| broken(error.to_string()))?;
    let headers = signed(&secrets, name, second, &body).map_err(|error| broken(error.to_string()))?;
    let private = app.config.allow_private_addresses;
    Ok(fetch::post(private, &endpoint.url, headers, body.into(), time).await)
}

/// When to try again. Waiting as long as the event is old doubles its age each time, whichever server tries and however often
/// an attempt was lost; `None` when three days are over. A delivery that is replayed after that is tried once.
fn next_attempt(event: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let age = Duration::from_millis(u64::try_from(now.as_ms().saturating_sub(event.as_ms())).unwrap_or(0));
    if age >= GIVE_UP {
        return None;
    }
    Some(now.after(jitter(age.clamp(FIRST_DELAY, LONGEST_DELAY))))
}

/// Up to a quarter shorter, so that not all come back in the same moment.
fn jitter(delay: Duration) -> Duration {
    let mut random = [0; 1];
    // Without randomness, all come at once; that is no reason to stop.
    let _ = getrandom::fill(&mut random);
    delay - delay / 4 * u32::from(random[0]) / 255
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_end_after_three_days() {
        let event = Timestamp(1_000_000);
        let (mut now, mut attempts, mut longest) = (event, 1, Duration::ZERO);
        while let Some(next) = next_attempt(event, now) {
            let wait = Duration::from_millis((next.as_ms() - now.as_ms()) as u64);
            let age = Duration::from_millis((now.as_ms() - event.as_ms()) as u64).clamp(FIRST_DELAY, LONGEST_DELAY);
            assert!(
                wait <= age && wait >= age / 4 * 3 - Duration::from_millis(2),
                "{wait:?} after {age:?}"
            );
            longest = longest.max(wait);
            now = next;
            attempts += 1;
        }
        assert!(now >= event.after(GIVE_UP) && now < event.after(GIVE_UP + LONGEST_DELAY));
        assert!((20..45).contains(&attempts), "{attempts}");
        assert!(longest <= LONGEST_DELAY && longest > LONGEST_DELAY / 2, "{longest:?}");
        assert!(next_attempt(event, Timestamp(0)).is_some(), "a clock that goes back");
    }
}
