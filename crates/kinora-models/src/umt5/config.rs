//! Hyper-parameters of the encoder, and the buckets of its relative positions.

use serde::Deserialize;

use crate::error::parse_config;
use crate::{Error, Result};

/// Hyper-parameters, as `text_encoder/config.json` of a diffusers folder spells them. What umT5-XXL has stands behind.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Config {
    /// Rows of the token table (256384).
    pub vocab_size: usize,
    /// Model width M (4096).
    pub d_model: usize,
    /// Head width D (64).
    pub d_kv: usize,
    /// Inner width of the feed-forward layers (10240).
    pub d_ff: usize,
    /// Number of blocks (24).
    pub num_layers: usize,
    /// Attention heads N (64); N x D need not be M.
    pub num_heads: usize,
    /// Rows of the table of relative positions, half of them for keys after the query (32).
    pub relative_attention_num_buckets: usize,
    /// Distances from here on share a bucket (128).
    #[serde(default = "default_max_distance")]
    pub relative_attention_max_distance: usize,
    /// Added to mean squares before their root (1e-6).
    pub layer_norm_epsilon: f32,
    /// The feed-forward layer; only `gated-gelu` (with the tanh form) is known.
    pub feed_forward_proj: String,
}

const fn default_max_distance() -> usize {
    128
}

impl Config {
    /// Reads and validates `config.json`.
    ///
    /// **Errors**: [`Error::Config`] naming the field.
    pub fn from_json(json: &str) -> Result<Self> {
        let config: Self = parse_config("umt5", json)?;
        config.validate()?;
        Ok(config)
    }

    /// Width of queries, keys and values: N x D.
    pub const fn inner_width(&self) -> usize {
        self.num_heads * self.d_kv
    }

    fn validate(&self) -> Result<()> {
        let refuse = |reason: String| Err(Error::Config { model: "umt5", reason });
        if self.feed_forward_proj != "gated-gelu" {
            return refuse(format!(
                "feed_forward_proj is {:?}; only \"gated-gelu\" is known",
                self.feed_forward_proj
            ));
        }
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("d_model", self.d_model),
            ("d_kv", self.d_kv),
            ("d_ff", self.d_ff),
            ("num_layers", self.num_layers),
            ("num_heads", self.num_heads),
        ];
        if let Some((field, size)) = sizes.iter().find(|(_, size)| !(1..=1 << 20).contains(size)) {
            return refuse(format!("{field} is {size}, outside 1 to {}", 1 << 20));
        }
        if self.inner_width() > 1 << 20 {
            return refuse("num_heads times d_kv is too large".into());
        }
        let buckets = self.relative_attention_num_buckets;
        if !(buckets.is_multiple_of(4) && (4..=1 << 16).contains(&buckets)) {
            return refuse(format!(
                "relative_attention_num_buckets is {buckets}; expected a multiple of 4"
            ));
        }
        if self.relative_attention_max_distance <= buckets / 4 {
            return refuse("relative_attention_max_distance is not above a quarter of the buckets".into());
        }
        if !(self.layer_norm_epsilon.is_finite() && self.layer_norm_epsilon > 0.0) {
            return refuse("layer_norm_epsilon is not above 0".into());
        }
        Ok(())
    }

    /// The bucket of a distance, key less query: small distances have their own, larger ones share them by logarithm.
    ///
    /// **Numerics**: the logarithm is taken in f32, as the reference does: at powers of two its rounding decides.
    pub(super) fn bucket(&self, distance: isize) -> usize {
        let half = self.relative_attention_num_buckets / 2;
        let exact = half / 2;
        let n = distance.unsigned_abs();
        let within = if n < exact {
            n
        } else {
            let span = (self.relative_attention_max_distance as f64 / exact as f64).ln() as f32;
            let steps = libm::logf(n as f32 / exact as f32) / span * (half - exact) as f32;
            (exact + steps as usize).min(half - 1)
        };
        if distance > 0 { half + within } else { within }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TINY: &str = r#"{"vocab_size": 96, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 3, "num_heads": 3,
        "relative_attention_num_buckets": 32, "relative_attention_max_distance": 128, "layer_norm_epsilon": 1e-6,
        "feed_forward_proj": "gated-gelu"}"#;

    #[test]
    fn impossible_values_are_refused_by_name() {
        assert!(Config::from_json(TINY).is_ok());
        for (field, from, to) in [
            ("d_model", "\"d_model\": 32", "\"d_model\": 0"),
            ("num_layers", "\"num_layers\": 3", "\"num_layers\": 0"),
            ("feed_forward_proj", "gated-gelu", "relu"),
            ("num_buckets", "num_buckets\": 32", "num_buckets\": 30"),
            (
                "max_distance",
                "\"relative_attention_max_distance\": 128",
                "\"relative_attention_max_distance\": 8",
            ),
            ("layer_norm_epsilon", "1e-6", "-1"),
            ("num_heads", "\"num_heads\": 3", "\"num_heads\": 1000000"),
        ] {
            let json = TINY.replace(from, to);
            assert_ne!(json, TINY, "{from} does not occur");
            let error = Config::from_json(&json).unwrap_err().to_string();
            assert!(error.contains(field), "{field}: {error}");
        }
        assert!(Config::from_json("{}").is_err());
    }

    #[test]
    fn buckets_are_the_reference_s() {
        let golden = kinora_testkit::Golden::open(env!("CARGO_MANIFEST_DIR"), "umt5_tiny");
        let config = Config::from_json(golden.meta("config")).unwrap();
        let want = golden.ints("buckets");
        let got: Vec<i64> = (-300..=300).map(|distance| config.bucket(distance) as i64).collect();
        assert_eq!(got, want);
        assert_eq!((config.bucket(isize::MIN), config.bucket(isize::MAX)), (15, 31));
    }
}
