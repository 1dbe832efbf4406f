//! What webhooks deliver and how deliveries are signed: [Standard Webhooks](https://www.standardwebhooks.com), as the
//! official SDKs verify it in `webhooks.unwrap`.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, Mac};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::video::tag;
use crate::{EventId, VideoId};

/// The header with the name of the delivery, which stays the same when it is repeated.
pub const WEBHOOK_ID: &str = "webhook-id";
/// The header with the second at which it was sent.
pub const WEBHOOK_TIMESTAMP: &str = "webhook-timestamp";
/// The header with its signatures.
pub const WEBHOOK_SIGNATURE: &str = "webhook-signature";
/// How far the clocks of sender and receiver may be apart, in seconds.
pub const TOLERANCE_S: u64 = 300;
const SECRET_PREFIX: &str = "whsec_";

tag!(
    /// `"event"`.
    EventTag,
    "event"
);

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum WebhookType {
    /// A video can be downloaded.
    #[serde(rename = "video.completed")]
    VideoCompleted,
    /// A video will not come.
    #[serde(rename = "video.failed")]
    VideoFailed,
}

impl WebhookType {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::VideoCompleted, Self::VideoFailed];

    /// As the wire writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::VideoCompleted => "video.completed",
            Self::VideoFailed => "video.failed",
        }
    }
}

impl fmt::Display for WebhookType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an event is about; the receiver asks for the rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WebhookData {
    /// The video.
    pub id: VideoId,
}

/// The body of a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WebhookEvent {
    /// Always `event`.
    #[serde(default)]
    pub object: EventTag,
    /// Names the event.
    pub id: EventId,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: WebhookType,
    /// When it happened, in seconds since 1970.
    pub created_at: u64,
    /// What it is about.
    pub data: WebhookData,
}

/// Why a delivery is not believed, or cannot be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WebhookError {
    /// The secret is none.
    #[error("the secret of a webhook is not base64 after {SECRET_PREFIX}; hint: create a new one")]
    Secret,
    /// The header with the time is no number.
    #[error("{WEBHOOK_TIMESTAMP} is no number of seconds")]
    Timestamp,
    /// It was sent too long ago, or in the future.
    #[error("the delivery is {off_s} s off; hint: at most {TOLERANCE_S} s are allowed, check both clocks")]
    TooOld {
        /// How many seconds the clocks are apart.
        off_s: u64,
    },
    /// None of the signatures is right.
    #[error("no signature in {WEBHOOK_SIGNATURE} matches the body")]
    Signature,
}

/// A secret that a sender and a receiver of webhooks share. It is not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret {
    key: Vec<u8>,
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(…)")
    }
}

/// What is signed: the delivery's id, its second, and the bytes of its body.
pub fn signature_base(delivery: &str, timestamp: u64, body: &[u8]) -> Vec<u8> {
    [delivery.as_bytes(), b".", timestamp.to_string().as_bytes(), b".", body].concat()
}

impl WebhookSecret {
    /// The secret of these bytes; 32 from the system's source of randomness are right.
    pub fn from_bytes(key: &[u8]) -> Self {
        Self { key: key.to_vec() }
    }

    /// A secret as it is written: `whsec_` and base64, or any text without that beginning.
    ///
    /// **Errors**: no base64 after `whsec_`, or nothing at all.
    pub fn read(text: &str) -> Result<Self, WebhookError> {
        let key = match text.strip_prefix(SECRET_PREFIX) {
            Some(encoded) => BASE64_STANDARD.decode(encoded).map_err(|_| WebhookError::Secret)?,
            None => text.as_bytes().to_vec(),
        };
        if key.is_empty() {
            return Err(WebhookError::Secret);
        }
        Ok(Self { key })
    }

    /// The secret as it is written, to be shown once.
    pub fn reveal(&self) -> String {
        format!("{SECRET_PREFIX}{}", BASE64_STANDARD.encode(&self.key))
    }

    fn mac(&self, delivery: &str, timestamp: u64, body: &[u8]) -> Result<Hmac<Sha256>, WebhookError> {
        // HMAC takes keys of any length, so this does not fail.
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).map_err(|_| WebhookError::Secret)?;
        mac.update(&signature_base(delivery, timestamp, body));
        Ok(mac)
    }

    /// The signature of a delivery: `v1,` and base64. While a secret is changed, the header holds those of the old and
    /// the new one with a space between them.
    ///
    /// **Errors**: none that a secret of this type can cause.
    pub fn sign(&self, delivery: &str, timestamp: u64, body: &[u8]) -> Result<String, WebhookError> {
        let bytes = self.mac(delivery, timestamp, body)?.finalize().into_bytes();
        Ok(format!("v1,{}", BASE64_STANDARD.encode(bytes)))
    }

    /// Checks a delivery from its three headers and the bytes of its body. `now` is in seconds since 1970.
    ///
    /// **Errors**: which part is not right; comparisons take the same time whatever is wrong.
    pub fn verify(
        &self,
        delivery: &str,
        timestamp: &str,
        signatures: &str,
        body: &[u8],
        now: u64,
    ) -> Result<(), WebhookError> {
        let second: u64 = timestamp.parse().map_err(|_| WebhookError::Timestamp)?;
        let off_s = second.abs_diff(now);
        if off_s > TOLERANCE_S {
            return Err(WebhookError::TooOld { off_s });
        }
        let mut right = false;
        for encoded in signatures.split(' ').filter_map(|one| one.strip_prefix("v1,")) {
            if let Ok(bytes) = BASE64_STANDARD.decode(encoded) {
                right |= self.mac(delivery, second, body)?.verify_slice(&bytes).is_ok();
            }
        }
        if right { Ok(()) } else { Err(WebhookError::Signature) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The example of the specification of Standard Webhooks.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const DELIVERY: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    const SECOND: u64 = 1_614_265_330;

    fn check(signatures: &str, body: &[u8], now: u64) -> Result<(), WebhookError> {
        let secret = WebhookSecret::read(SECRET).unwrap();
        secret.verify(DELIVERY, &SECOND.to_string(), signatures, body, now)
    }

    #[test]
    fn signatures_are_those_of_the_specification() {
        let secret = WebhookSecret::read(SECRET).unwrap();
        assert_eq!(secret.sign(DELIVERY, SECOND, BODY).unwrap(), SIGNATURE);
        assert_eq!(secret.reveal(), SECRET);
        assert_eq!(format!("{secret:?}"), "WebhookSecret(…)");
        assert_eq!(
            signature_base(DELIVERY, SECOND, BODY),
            br#"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{"test": 2432232314}"#
        );
    }

    #[test]
    fn deliveries_are_believed_only_as_they_were_sent() {
        assert_eq!(check(SIGNATURE, BODY, SECOND), Ok(()));
        assert_eq!(
            check(&format!("v1,AAAA v2,x {SIGNATURE}"), BODY, SECOND + TOLERANCE_S),
            Ok(())
        );
        assert_eq!(check(SIGNATURE, b"{}", SECOND), Err(WebhookError::Signature));
        assert_eq!(check("", BODY, SECOND), Err(WebhookError::Signature));
        assert_eq!(check("v1,%%", BODY, SECOND), Err(WebhookError::Signature));
        assert_eq!(
            check(SIGNATURE, BODY, SECOND + 301),
            Err(WebhookError::TooOld { off_s: 301 })
        );
        assert_eq!(check(SIGNATURE, BODY, 0), Err(WebhookError::TooOld { off_s: SECOND }));
        let secret = WebhookSecret::read(SECRET).unwrap();
        assert_eq!(
            secret.verify(DELIVERY, "soon", SIGNATURE, BODY, SECOND),
            Err(WebhookError::Timestamp)
        );
    }

    #[test]
    fn secrets_are_read_in_both_forms() {
        let plain = WebhookSecret::read("any text").unwrap();
        assert_eq!(plain, WebhookSecret::from_bytes(b"any text"));
        for bad in ["", "whsec_", "whsec_*"] {
            assert_eq!(WebhookSecret::read(bad), Err(WebhookError::Secret), "{bad}");
        }
    }
}
