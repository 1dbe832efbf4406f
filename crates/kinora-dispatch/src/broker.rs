//! The stream of offers, from the server's side: one work queue, one durable consumer for each lane.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::jetstream::consumer::{self, AckPolicy};
use async_nats::jetstream::context::ConsumerInfoErrorKind;
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use async_nats::jetstream::{self, Context};
use async_nats::{Client, HeaderMap};
use futures_util::StreamExt;
use serde_json::json;

use crate::error::{Error, Result};
use crate::options::DispatchOptions;
use crate::wire;

/// An offer that nobody took for so long is thrown away: the next comparison with the record makes a new one.
const OFFER_AGE: Duration = Duration::from_secs(60);
/// Publishing the same offer twice within this time is publishing it once.
const DUPLICATES: Duration = Duration::from_secs(30);
/// A worker that took an offer and said nothing for so long is dead: the offer goes to another.
const ACK_WAIT: Duration = Duration::from_secs(10);
/// Where a consumer remembers which kinds its lane has.
const KINDS: &str = "kinora_kinds";

/// What is known of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lane {
    /// Workers that wait for an offer.
    pub waiting: usize,
    /// Offers that wait for a worker.
    pub offers: usize,
}

/// The stream, as the dispatcher uses it.
pub(crate) struct Broker {
    pub client: Client,
    context: Context,
    options: DispatchOptions,
    /// With a number, the name of an offer: unlike those of any other server.
    instance: String,
    offers: AtomicU64,
}

impl Broker {
    pub(crate) fn new(client: Client, options: DispatchOptions) -> Self {
        let mut context = jetstream::new(client.clone());
        context.set_timeout(options.call_timeout);
        let instance = client.new_inbox().rsplit('.').next().unwrap_or_default().to_owned();
        Self {
            client,
            context,
            options,
            instance,
            offers: AtomicU64::new(0),
        }
    }

    /// Makes the stream if it is not there, and says how many copies it has.
    pub(crate) async fn ensure_stream(&self) -> Result<usize> {
        let config = Config {
            name: self.options.stream.clone(),
            description: Some("offers of work; the record of jobs is a database elsewhere".into()),
            subjects: vec![self.options.offer_subject("*")],
            retention: RetentionPolicy::WorkQueue,
            storage: StorageType::File,
            discard: DiscardPolicy::Old,
            max_messages_per_subject: 8192,
            max_bytes: 64 << 20,
            max_age: OFFER_AGE,
            max_message_size: 4096,
            duplicate_window: DUPLICATES,
            num_replicas: self.options.replicas,
            ..Config::default()
        };
        let failed = |error: &dyn std::fmt::Display| Error::JetStream {
            doing: "make the stream of offers",
            detail: error.to_string(),
        };
        let info = self
            .context
            .create_or_update_stream(config)
            .await
            .map_err(|error| failed(&error))?;
        Ok(info.config.num_replicas)
    }

    /// Makes the consumer of a lane if it is not there.
    pub(crate) async fn ensure_lane(&self, lane: &str, kinds: &[String]) -> Result<()> {
        let config = consumer::pull::Config {
            durable_name: Some(lane.to_owned()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            filter_subject: self.options.offer_subject(lane),
            max_ack_pending: -1,
            max_waiting: 16384,
            metadata: [(KINDS.to_owned(), json!(kinds).to_string())].into(),
            ..consumer::pull::Config::default()
        };
        let made = self
            .context
            .create_consumer_on_stream(config, &self.options.stream)
            .await;
        made.map(drop).map_err(|error| Error::JetStream {
            doing: "make a consumer",
            detail: error.to_string(),
        })
    }

    /// The lanes that the stream has, also those of a server before us.
    pub(crate) async fn lanes(&self) -> Result<Vec<(String, Vec<String>)>> {
        let failed = |detail: String| Error::JetStream {
            doing: "list consumers",
            detail,
        };
        let stream = self
            .context
            .get_stream(&self.options.stream)
            .await
            .map_err(|error| failed(error.to_string()))?;
        let mut consumers = stream.consumers();
        let mut lanes = Vec::new();
        while let Some(found) = consumers.next().await {
            let found = found.map_err(|error| failed(error.to_string()))?;
            let kinds = found
                .config
                .metadata
                .get(KINDS)
                .and_then(|kinds| serde_json::from_str(kinds).ok());
            lanes.extend(kinds.map(|kinds| (found.name, kinds)));
        }
        Ok(lanes)
    }

    /// What is in a lane; `None` if the stream or the consumer is gone (a broker that began anew).
    pub(crate) async fn look(&self, lane: &str) -> Result<Option<Lane>> {
        let failed = |detail: String| Error::JetStream {
            doing: "look at a consumer",
            detail,
        };
        let stream = self.context.get_stream_no_info(&self.options.stream).await;
        let stream = stream.map_err(|error| failed(error.to_string()))?;
        match stream.consumer_info(lane).await {
            Ok(info) => Ok(Some(Lane {
                waiting: info.num_waiting,
                offers: usize::try_from(info.num_pending).unwrap_or(usize::MAX),
            })),
            Err(error) => match error.kind() {
                ConsumerInfoErrorKind::NotFound | ConsumerInfoErrorKind::StreamNotFound => Ok(None),
                _ => Err(failed(error.to_string())),
            },
        }
    }

    /// Publishes an offer. An answer that does not come is asked for once more, under the same name.
    pub(crate) async fn offer(&self, lane: &str) -> Result<()> {
        let number = self.offers.fetch_add(1, Ordering::SeqCst);
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", format!("{}-{number}", self.instance));
        let payload = json!({ "v": wire::VERSION }).to_string();
        let mut last = String::new();
        for _ in 0..2 {
            let subject = self.options.offer_subject(lane);
            let published = self
                .context
                .publish_with_headers(subject, headers.clone(), payload.clone().into())
                .await;
            let published = match published {
                Ok(acknowledged) => acknowledged.await,
                Err(error) => Err(error),
            };
            match published {
                Ok(_) => return Ok(()),
                Err(error) => last = error.to_string(),
            }
        }
        Err(Error::JetStream {
            doing: "publish an offer",
            detail: last,
        })
    }

    /// Removes the consumer of a lane. That it is gone already is fine.
    pub(crate) async fn close_lane(&self, lane: &str) {
        self.context
            .delete_consumer_from_stream(lane, &self.options.stream)
            .await
            .ok();
    }
}
