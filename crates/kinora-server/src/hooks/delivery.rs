//! A delivery: its name, its body and its signatures.

use hmac::{Hmac, Mac};
use kinora_api::{
    DeliveryId, EventId, RANDOM_BYTES, VideoId, WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP, WebhookData,
    WebhookError, WebhookEvent, WebhookSecret, WebhookType,
};
use kinora_jobs::Delivery;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::hex::hex;
use crate::records::Records;
use crate::view::unix_seconds;
use crate::{Error, Files, Result};

/// The number of a delivery takes so many of the bytes of its name; what proves it, the rest.
const NUMBER_BYTES: usize = 8;
const PROOF_BYTES: usize = RANDOM_BYTES - NUMBER_BYTES;
const TIME_DIGITS: usize = 8;

/// Gives deliveries their names, the same in every attempt and on every server, and reads them again.
///
/// A name holds the number in the outbox and proves, with a secret of the server, to which project the delivery belongs: so
/// a delivery is found by its name alone, and nobody replays those of others by counting.
#[derive(Clone)]
pub(crate) struct DeliveryNames([u8; 32]);

impl DeliveryNames {
    /// With the secret among the records, which is made when it is first needed.
    ///
    /// **Errors**: [`Error::Files`]; [`Error::Io`] if the system has no randomness.
    pub(crate) async fn open(files: &Files) -> Result<Self> {
        const NAME: &str = "deliveries";
        let records = Records::new(files, "secrets");
        if let Some(secret) = records.get(NAME).await? {
            return Ok(Self(secret));
        }
        let mut secret = [0_u8; 32];
        getrandom::fill(&mut secret).map_err(|error| Error::Io {
            action: "get randomness from",
            path: "the system".into(),
            source: error.into(),
        })?;
        // Another server may have been quicker: what is stored counts.
        records.create(NAME, &secret).await?;
        Ok(Self(records.get(NAME).await?.unwrap_or(secret)))
    }

    fn proof(&self, project: &str, number: [u8; NUMBER_BYTES]) -> Result<[u8; PROOF_BYTES]> {
        // HMAC takes keys of any length, so this does not fail.
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).map_err(|error| Error::Setting {
            what: "the secret of deliveries",
            problem: error.to_string(),
            hint: "delete its record".to_owned(),
        })?;
        mac.update(&number);
        mac.update(project.as_bytes());
        let mut proof = [0; PROOF_BYTES];
        proof.copy_from_slice(&mac.finalize().into_bytes()[..PROOF_BYTES]);
        Ok(proof)
    }

    /// The name of a delivery.
    ///
    /// **Errors**: none that a secret of this type can cause.
    pub(crate) fn name(&self, project: &str, delivery: &Delivery) -> Result<DeliveryId> {
        let number = delivery.id.to_be_bytes();
        let mut bytes = [0; RANDOM_BYTES];
        bytes[..NUMBER_BYTES].copy_from_slice(&number);
        bytes[NUMBER_BYTES..].copy_from_slice(&self.proof(project, number)?);
        Ok(DeliveryId::new(unix_seconds(delivery.created_at), bytes))
    }

    /// The number of the delivery with this name; `None` if this project has none with it.
    pub(crate) fn number(&self, project: &str, name: &str) -> Option<u64> {
        let digits = name.strip_prefix(DeliveryId::PREFIX)?.get(TIME_DIGITS..)?;
        if digits.len() != 2 * RANDOM_BYTES || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let number = u64::from_str_radix(digits.get(..2 * NUMBER_BYTES)?, 16).ok()?;
        let proof = self.proof(project, number.to_be_bytes()).ok()?;
        let written = hex(&proof);
        let given = digits.get(2 * NUMBER_BYTES..)?.as_bytes();
        let differs = written.bytes().zip(given).fold(0, |sum, (a, b)| sum | (a ^ b));
        (std::hint::black_box(differs) == 0).then_some(number)
    }
}

/// What the record of jobs says in the outbox.
#[derive(Deserialize)]
struct News {
    job: NewsJob,
    at_ms: i64,
}

#[derive(Deserialize)]
struct NewsJob {
    id: String,
    project: String,
    state: kinora_jobs::State,
}

/// What an endpoint is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Letter {
    /// Whose job it was.
    pub project: String,
    /// The event.
    pub event: WebhookEvent,
}

impl Letter {
    /// The news of a delivery; `None` if this version does not understand them.
    ///
    /// The name of the event depends on job and time alone, so it is the same for all endpoints.
    pub(crate) fn of(delivery: &Delivery) -> Option<Self> {
        let news: News = serde_json::from_value(delivery.payload.clone()).ok()?;
        let kind = match news.job.state {
            kinora_jobs::State::Succeeded => WebhookType::VideoCompleted,
            kinora_jobs::State::Failed | kinora_jobs::State::Cancelled => WebhookType::VideoFailed,
            _ => return None,
        };
        let video: VideoId = news.job.id.parse().ok()?;
        let second = u64::try_from(news.at_ms / 1000).ok()?;
        let digest = Sha256::new()
            .chain_update("event")
            .chain_update(news.at_ms.to_be_bytes())
            .chain_update(&news.job.id)
            .finalize();
        let mut random = [0; RANDOM_BYTES];
        random.copy_from_slice(&digest[..RANDOM_BYTES]);
        let event = event_of(EventId::new(second, random), kind, second, video);
        Some(Self {
            project: news.job.project,
            event,
        })
    }
}

/// An event.
pub(crate) fn event_of(id: EventId, kind: WebhookType, created_at: u64, video: VideoId) -> WebhookEvent {
    WebhookEvent {
        object: Default::default(),
        id,
        kind,
        created_at,
        data: WebhookData { id: video },
    }
}

/// The headers of a delivery, with a signature for each secret.
///
/// **Errors**: none that secrets of this type can cause.
pub(crate) fn signed(
    secrets: &[WebhookSecret],
    name: &DeliveryId,
    second: u64,
    body: &[u8],
) -> Result<Vec<(&'static str, String)>, WebhookError> {
    let signatures = secrets.iter().map(|secret| secret.sign(name.as_str(), second, body));
    let signatures = signatures.collect::<Result<Vec<_>, _>>()?.join(" ");
    Ok(vec![
        ("content-type", "application/json".to_owned()),
        (WEBHOOK_ID, name.to_string()),
        (WEBHOOK_TIMESTAMP, second.to_string()),
        (WEBHOOK_SIGNATURE, signatures),
    ])
}

#[cfg(test)]
mod tests {
    use kinora_jobs::{JobId, Timestamp};
    use serde_json::json;

    use super::*;

    fn delivery(id: u64, state: &str) -> Delivery {
        Delivery {
            id,
            job: JobId("video_1".to_owned()),
            endpoint: "we_1".to_owned(),
            payload: json!({
                "type": "job.x", "at_ms": 1_763_054_021_250_i64,
                "job": { "id": "video_1", "project": "film", "kind": "video/toybox", "state": state, "error": null },
            }),
            attempt: 1,
            created_at: Timestamp(1_763_054_021_250),
        }
    }

    #[test]
    fn names_are_stable_and_prove_their_project() {
        let names = DeliveryNames([1; 32]);
        let name = names.name("film", &delivery(258, "failed")).unwrap();
        let later = Delivery {
            attempt: 9,
            ..delivery(258, "failed")
        };
        assert_eq!(names.name("film", &later).unwrap(), name);
        assert_eq!(names.number("film", name.as_str()), Some(258));
        assert_eq!(names.number("other", name.as_str()), None);
        assert_eq!(DeliveryNames([2; 32]).number("film", name.as_str()), None);
        let next = name.as_str().replace("0102", "0103");
        for bad in ["", "wh_", "wh_é", "wh_00", next.as_str(), &name.as_str()[..40]] {
            assert_eq!(names.number("film", bad), None, "{bad}");
        }
    }

    #[test]
    fn news_become_events_of_videos() {
        for (state, kind) in [
            ("succeeded", Some(WebhookType::VideoCompleted)),
            ("failed", Some(WebhookType::VideoFailed)),
            ("cancelled", Some(WebhookType::VideoFailed)),
            ("running", None),
        ] {
            let letter = Letter::of(&delivery(1, state));
            assert_eq!(letter.as_ref().map(|letter| letter.event.kind), kind, "{state}");
            assert_eq!(letter, Letter::of(&delivery(2, state)), "one event for all endpoints");
        }
        let letter = Letter::of(&delivery(1, "succeeded")).unwrap();
        assert_eq!(
            (letter.project.as_str(), letter.event.created_at),
            ("film", 1_763_054_021)
        );
        let odd = Delivery {
            payload: json!({ "job": 1 }),
            ..delivery(1, "failed")
        };
        assert_eq!(Letter::of(&odd), None);
    }
}
