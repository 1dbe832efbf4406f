//! Hyper-parameters of the picture encoder.

use serde::Deserialize;

use crate::error::parse_config;
use crate::{Error, Result};

/// Hyper-parameters, as `image_encoder/config.json` of a diffusers folder spells them. What Wan has stands behind.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Config {
    /// Model width M (1280).
    pub hidden_size: usize,
    /// Inner width of the feed-forward layers (5120).
    pub intermediate_size: usize,
    /// Number of layers, of which the last is not needed (32).
    pub num_hidden_layers: usize,
    /// Attention heads (16).
    pub num_attention_heads: usize,
    /// Side of the square that pictures are scaled and cropped to (224).
    pub image_size: usize,
    /// Side of a patch (14).
    pub patch_size: usize,
    /// Activation of the feed-forward layers; only `gelu` (the exact one) is known.
    pub hidden_act: String,
    /// Added to variances before their root (1e-5).
    #[serde(default = "default_eps")]
    pub layer_norm_eps: f32,
}

const fn default_eps() -> f32 {
    1e-5
}

impl Config {
    /// Colours of a pixel.
    pub(super) const CHANNELS: usize = 3;

    /// Reads and validates `config.json`.
    ///
    /// **Errors**: [`Error::Config`] naming the field.
    pub fn from_json(json: &str) -> Result<Self> {
        let config: Self = parse_config("clip vision", json)?;
        config.validate()?;
        Ok(config)
    }

    /// Patches along a side of the picture.
    pub const fn grid(&self) -> usize {
        self.image_size / self.patch_size
    }

    /// Tokens of a picture: its patches, and one for all of it in front (257).
    pub const fn tokens(&self) -> usize {
        self.grid() * self.grid() + 1
    }

    /// Values of a patch.
    pub(super) const fn patch_values(&self) -> usize {
        Self::CHANNELS * self.patch_size * self.patch_size
    }

    fn validate(&self) -> Result<()> {
        let refuse = |reason: String| {
            Err(Error::Config {
                model: "clip vision",
                reason,
            })
        };
        if self.hidden_act != "gelu" {
            return refuse(format!("hidden_act is {:?}; only \"gelu\" is known", self.hidden_act));
        }
        let sizes = [
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("image_size", self.image_size),
            ("patch_size", self.patch_size),
        ];
        if let Some((field, size)) = sizes.iter().find(|(_, size)| !(1..=1 << 16).contains(size)) {
            return refuse(format!("{field} is {size}, outside 1 to {}", 1 << 16));
        }
        if self.num_attention_heads == 0 || !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return refuse("num_attention_heads does not divide hidden_size".into());
        }
        if self.image_size > 4096 || !self.image_size.is_multiple_of(self.patch_size) {
            return refuse("patch_size does not divide image_size, or that is above 4096".into());
        }
        if !(self.layer_norm_eps.is_finite() && self.layer_norm_eps > 0.0) {
            return refuse("layer_norm_eps is not above 0".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAN: &str = r#"{"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32,
        "num_attention_heads": 16, "image_size": 224, "patch_size": 14, "hidden_act": "gelu", "projection_dim": 1024}"#;

    #[test]
    fn the_encoder_of_wan_has_257_tokens() {
        let config = Config::from_json(WAN).unwrap();
        assert_eq!((config.tokens(), config.patch_values()), (257, 588));
    }

    #[test]
    fn impossible_values_are_refused_by_name() {
        for (field, from, to) in [
            ("hidden_act", "\"gelu\"", "\"quick_gelu\""),
            ("hidden_size", "\"hidden_size\": 1280", "\"hidden_size\": 0"),
            ("num_attention_heads", "_heads\": 16", "_heads\": 17"),
            ("patch_size", "\"patch_size\": 14", "\"patch_size\": 15"),
            ("layer_norm_eps", "\"projection_dim\": 1024", "\"layer_norm_eps\": 0"),
        ] {
            let json = WAN.replace(from, to);
            assert_ne!(json, WAN, "{from} does not occur");
            let error = Config::from_json(&json).unwrap_err().to_string();
            assert!(error.contains(field), "{field}: {error}");
        }
        assert!(Config::from_json("{}").is_err());
    }
}
