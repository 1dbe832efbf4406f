//! How often a key may ask: a bucket of tokens for each, filled evenly over the minute.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use kinora_jobs::Timestamp;

const MINUTE_MS: f64 = 60_000.0;

/// The buckets of all keys. Only keys that work get one, so there are no more than keys.
#[derive(Debug, Default)]
pub(crate) struct Rates(Mutex<HashMap<String, Bucket>>);

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Timestamp,
}

/// Where a key is after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    /// Requests in a minute.
    pub limit: u32,
    /// How many it may send now.
    pub remaining: u32,
    /// When it may send `limit` again, in milliseconds.
    pub reset_ms: u64,
    /// If this one was too much, when it may send the next, in milliseconds.
    pub wait_ms: Option<u64>,
}

impl Rates {
    /// Counts a request of `key` that may send `limit` in a minute.
    pub(super) fn take(&self, key: &str, limit: u32, now: Timestamp) -> Rate {
        let most = f64::from(limit.max(1));
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let full = Bucket { tokens: most, at: now };
        let bucket = buckets.entry(key.to_owned()).or_insert(full);
        let passed = now.as_ms().saturating_sub(bucket.at.as_ms()).max(0) as f64;
        bucket.tokens = (bucket.tokens + passed * most / MINUTE_MS).min(most);
        bucket.at = now;
        let allowed = bucket.tokens >= 1.0;
        if allowed {
            bucket.tokens -= 1.0;
        }
        let ms_until = |tokens: f64| ((tokens - bucket.tokens) * MINUTE_MS / most).ceil().max(0.0) as u64;
        Rate {
            limit: limit.max(1),
            remaining: bucket.tokens as u32,
            reset_ms: ms_until(most),
            wait_ms: (!allowed).then(|| ms_until(1.0).max(1)),
        }
    }
}

impl Rate {
    /// The headers of every answer to a counted request.
    pub(super) fn headers(&self) -> [(&'static str, String); 3] {
        [
            ("x-ratelimit-limit-requests", self.limit.to_string()),
            ("x-ratelimit-remaining-requests", self.remaining.to_string()),
            ("x-ratelimit-reset-requests", span(self.reset_ms)),
        ]
    }
}

/// A span as OpenAI writes it: `250ms`, `1s`, `6m0s`.
fn span(ms: u64) -> String {
    match ms {
        0 => "0s".to_owned(),
        1..1000 => format!("{ms}ms"),
        _ => {
            let seconds = ms.div_ceil(1000);
            match seconds / 60 {
                0 => format!("{seconds}s"),
                minutes => format!("{minutes}m{}s", seconds % 60),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_empties_and_fills_evenly() {
        let rates = Rates::default();
        let at = |ms: i64| Timestamp(1_000_000 + ms);
        for left in (0..6).rev() {
            let rate = rates.take("a", 6, at(0));
            assert_eq!((rate.remaining, rate.wait_ms), (left, None));
        }
        let refused = rates.take("a", 6, at(0));
        assert_eq!((refused.wait_ms, refused.reset_ms), (Some(10_000), 60_000));
        assert_eq!(
            rates.take("a", 6, at(9_000)).wait_ms,
            Some(1_000),
            "a refusal costs nothing"
        );
        assert_eq!(rates.take("a", 6, at(10_000)).wait_ms, None);
        assert_eq!(rates.take("a", 6, at(10_000)).wait_ms, Some(10_000));
        assert_eq!(
            rates.take("b", 6, at(10_000)).remaining,
            5,
            "keys have buckets of their own"
        );
        assert_eq!(
            rates.take("a", 6, at(10_000_000)).remaining,
            5,
            "a bucket does not overflow"
        );
        assert_eq!(
            rates.take("a", 6, at(0)).remaining,
            4,
            "a clock that goes back gives nothing"
        );
    }

    #[test]
    fn spans_are_written_as_openai_does() {
        assert_eq!(
            [0, 250, 1000, 59_001, 360_000].map(span),
            ["0s", "250ms", "1s", "1m0s", "6m0s"]
        );
    }
}
