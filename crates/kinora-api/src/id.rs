//! Names of things: `video_` and 48 hexadecimal digits, whose first eight are the second of creation.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Random bytes in a new id, after the four of the time.
pub const RANDOM_BYTES: usize = 20;
/// The longest id that is looked up; proxies may wrap ids, so theirs can be longer than ours.
const LONGEST: usize = 512;

/// A text that is no id of this kind. No such thing can exist, so servers answer "not found".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{got:?} is no id that begins with {prefix}")]
pub struct NotAnId {
    /// How ids of this kind begin.
    pub prefix: &'static str,
    /// What was given, shortened.
    pub got: String,
}

fn checked(prefix: &'static str, text: &str) -> Result<String, NotAnId> {
    let plain = |rest: &str| {
        !rest.is_empty()
            && text.len() <= LONGEST
            && rest
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'='))
    };
    match text.strip_prefix(prefix) {
        Some(rest) if plain(rest) => Ok(text.to_owned()),
        _ => Err(NotAnId {
            prefix,
            got: crate::error::shortened(text),
        }),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $example:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// How ids of this kind begin.
            pub const PREFIX: &'static str = $prefix;

            /// A new id. `random` comes from the system's source of randomness: ids must not be guessable.
            pub fn new(created_at: u64, random: [u8; RANDOM_BYTES]) -> Self {
                let second = u32::try_from(created_at).unwrap_or(u32::MAX);
                Self(format!("{}{}{}", $prefix, hex(&second.to_be_bytes()), hex(&random)))
            }

            /// The id as it is written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                checked($prefix, text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": "string",
                    "pattern": concat!("^", $prefix, "[A-Za-z0-9_=-]+$"),
                    "maxLength": LONGEST,
                    "examples": [$example],
                })
            }
        }
    };
}

id!(
    /// Names a video and its job, which are one thing.
    VideoId,
    "video_",
    "video_691611812ca88190bfb123716dcc953a089a232f54b02b21"
);
id!(
    /// Names a reusable character.
    CharacterId,
    "char_",
    "char_691611812ca88190bfb123716dcc953a089a232f54b02b21"
);
id!(
    /// Names an event that a webhook delivers.
    EventId,
    "evt_",
    "evt_691611812ca88190bfb123716dcc953a089a232f54b02b21"
);
id!(
    /// Names a delivery of a webhook; the receiver knows a repeated one by it.
    DeliveryId,
    "wh_",
    "wh_691611812ca88190bfb123716dcc953a089a232f54b02b21"
);
id!(
    /// Names an endpoint of webhooks.
    WebhookEndpointId,
    "we_",
    "we_691611812ca88190bfb123716dcc953a089a232f54b02b21"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_id_has_the_published_form() {
        let id = VideoId::new(1_763_053_953, [0xab; RANDOM_BYTES]);
        assert_eq!(id.as_str(), format!("video_69161181{}", "ab".repeat(20)));
        assert_eq!(id.as_str().len(), "video_".len() + 48);
        assert_eq!(id.as_str().parse::<VideoId>().unwrap(), id);
        assert_eq!(VideoId::new(u64::MAX, [0; RANDOM_BYTES]).as_str()[6..14], *"ffffffff");
    }

    #[test]
    fn ids_of_others_are_opaque_but_harmless() {
        assert!("video_bGl0ZWxsbTpjdXN0b20=".parse::<VideoId>().is_ok());
        let bad = [
            "",
            "video_",
            "char_12",
            "video_../../etc",
            "video_a b",
            "video_é",
            "video_a\0",
            "VIDEO_1",
        ];
        for text in bad {
            assert!(text.parse::<VideoId>().is_err(), "{text}");
        }
        assert!(format!("video_{}", "a".repeat(LONGEST)).parse::<VideoId>().is_err());
        assert!(serde_json::from_str::<CharacterId>("\"video_1\"").is_err());
    }
}
