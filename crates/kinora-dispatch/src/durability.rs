//! What the broker promises about a message that it has acknowledged.
//!
//! JetStream acknowledges a message when it is written, and syncs the file every two minutes unless `sync_interval: always` is set:
//! a loss of power may take back what was acknowledged. Jobs do not depend on it. An offer is a hint that is made from the record again
//! and again, so losing every message, or the whole folder of the broker, delays work for a moment and loses none.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::error::{Error, Result};
use crate::options::DispatchOptions;

/// How long the broker may take to say what it is set to.
const PATIENCE: Duration = Duration::from_secs(2);
/// No `varz` is longer.
const MOST_BYTES: u64 = 1 << 20;

/// What was shown of the broker when dispatch started. **No job depends on it**: it says what becomes of offers when the power fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It syncs each message before it acknowledges it.
    Synced,
    /// It keeps at least three copies; a loss of power of all at once may still take messages back.
    Replicated,
    /// Neither was shown: what it has acknowledged may be gone after a loss of power.
    Hint,
}

impl Durability {
    /// What to tell whoever runs the server.
    #[must_use]
    pub const fn warning(self) -> Option<&'static str> {
        match self {
            Self::Synced | Self::Replicated => None,
            Self::Hint => Some(
                "NATS may forget offers when its power fails: it does not show `sync_interval: always` and keeps fewer than 3 copies. \
                 No job is lost by that: offers are made again from the job store",
            ),
        }
    }
}

/// Looks for both.
///
/// **Errors**: [`Error::NotSynced`] if the options insist.
pub(crate) async fn check(
    client: &async_nats::Client,
    options: &DispatchOptions,
    replicas: usize,
) -> Result<Durability> {
    if syncs_each_message(client, options).await {
        return Ok(Durability::Synced);
    }
    if replicas >= 3 {
        return Ok(Durability::Replicated);
    }
    if options.require_sync {
        return Err(Error::NotSynced { replicas });
    }
    Ok(Durability::Hint)
}

/// Asks the system account (few users may) and the monitoring address (if it was named).
async fn syncs_each_message(client: &async_nats::Client, options: &DispatchOptions) -> bool {
    if let Some(address) = &options.monitor {
        let varz = tokio::time::timeout(PATIENCE, fetch_varz(address)).await;
        if varz.is_ok_and(|varz| varz.is_some_and(|varz| says_always(&varz))) {
            return true;
        }
    }
    // One server answers, ours or another of the cluster: only alone does its word count.
    let alone = client.server_info().connect_urls.len() <= 1;
    let asked = client.request("$SYS.REQ.SERVER.PING.VARZ", "".into());
    let Ok(Ok(message)) = tokio::time::timeout(PATIENCE, asked).await else {
        return false;
    };
    let Ok(varz) = serde_json::from_slice::<Value>(&message.payload) else {
        return false;
    };
    alone && says_always(&varz["data"])
}

/// `sync_interval: always`, as the server shows it.
fn says_always(varz: &Value) -> bool {
    varz["jetstream"]["config"]["sync_always"] == true
}

/// `GET /varz` of a monitoring address. Plain HTTP, as the server offers it on its own machine.
async fn fetch_varz(address: &str) -> Option<Value> {
    let host = address.strip_prefix("http://").unwrap_or(address).trim_end_matches('/');
    let mut stream = TcpStream::connect(host).await.ok()?;
    let request = format!("GET /varz HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut bytes = Vec::new();
    stream.take(MOST_BYTES).read_to_end(&mut bytes).await.ok()?;
    let body = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let good = bytes.starts_with(b"HTTP/1.0 200") || bytes.starts_with(b"HTTP/1.1 200");
    if good {
        serde_json::from_slice(&bytes[body..]).ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_word_of_the_server_counts() {
        assert!(says_always(
            &json!({ "jetstream": { "config": { "sync_always": true } } })
        ));
        assert!(!says_always(
            &json!({ "jetstream": { "config": { "sync_interval": 120_000_000_000_u64 } } })
        ));
        assert!(!says_always(&json!({ "jetstream": {} })));
        assert!(!says_always(&Value::Null));
        assert!(Durability::Hint.warning().is_some() && Durability::Synced.warning().is_none());
    }
}
