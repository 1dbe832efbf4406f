//! Every hyper-parameter of the Wan transformer, as `config.json` of a diffusers folder spells them.

use serde::Deserialize;

use crate::error::parse_config;
use crate::{Error, Result};

/// Hyper-parameters. **Source**: `WanTransformer3DModel.__init__`, diffusers 0.42.1 (Apache-2.0).
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Config {
    /// Latent frames, rows and columns that one token covers.
    pub patch_size: [usize; 3],
    /// Attention heads N.
    pub num_attention_heads: usize,
    /// Width of one head D; the model width is M = N·D.
    pub attention_head_dim: usize,
    /// Latent channels that go in.
    pub in_channels: usize,
    /// Latent channels that come out; `in_channels` if absent.
    #[serde(default)]
    pub out_channels: Option<usize>,
    /// Width of one text token as the text encoder gives it.
    pub text_dim: usize,
    /// Width of the sinusoidal code of a timestep.
    pub freq_dim: usize,
    /// Inner width of the feed-forward layer.
    pub ffn_dim: usize,
    /// Number of blocks.
    pub num_layers: usize,
    /// Whether the input of cross-attention is normalised (with weight and bias).
    pub cross_attn_norm: bool,
    /// How queries and keys are normalised; only `rms_norm_across_heads` exists in the Wan family.
    pub qk_norm: Option<String>,
    /// Added to variances before their square root.
    pub eps: f32,
    /// Width of CLIP image tokens (Wan 2.1 image-to-video); absent elsewhere.
    #[serde(default)]
    pub image_dim: Option<usize>,
    /// Width of the extra image keys and values; goes with `image_dim`.
    #[serde(default)]
    pub added_kv_proj_dim: Option<usize>,
}

impl Config {
    /// Model width M.
    pub const fn width(&self) -> usize {
        self.num_attention_heads * self.attention_head_dim
    }

    /// Latent channels of the prediction.
    pub fn out_channels(&self) -> usize {
        self.out_channels.unwrap_or(self.in_channels)
    }

    /// Latent positions under one token.
    pub const fn patch_volume(&self) -> usize {
        self.patch_size[0] * self.patch_size[1] * self.patch_size[2]
    }

    /// Reads and validates `config.json`.
    ///
    /// **Errors**: [`Error::Config`] naming the field.
    pub fn from_json(json: &str) -> Result<Self> {
        let config: Self = parse_config("wan transformer", json)?;
        config.validate()?;
        Ok(config)
    }

    /// Refuses what the arithmetic cannot carry out.
    ///
    /// **Errors**: [`Error::Config`] naming the field.
    pub fn validate(&self) -> Result<()> {
        let sizes = [
            ("num_attention_heads", self.num_attention_heads),
            ("attention_head_dim", self.attention_head_dim),
            ("in_channels", self.in_channels),
            ("out_channels", self.out_channels()),
            ("text_dim", self.text_dim),
            ("freq_dim", self.freq_dim),
            ("ffn_dim", self.ffn_dim),
            ("num_layers", self.num_layers),
            ("patch_size", self.patch_volume()),
        ];
        // A limit far above any published model keeps products of these numbers from overflowing.
        if let Some((field, value)) = sizes.into_iter().find(|&(_, value)| value == 0 || value > 1 << 20) {
            return refuse(format!("{field} is {value}; expected 1 to {}", 1 << 20));
        }
        if !self.attention_head_dim.is_multiple_of(2) || self.attention_head_dim < 6 {
            return refuse(format!(
                "attention_head_dim is {}; rope needs an even number from 6",
                self.attention_head_dim
            ));
        }
        if !self.freq_dim.is_multiple_of(2) {
            return refuse(format!("freq_dim is {}; expected an even number", self.freq_dim));
        }
        if !(self.eps > 0.0 && self.eps < 1.0) {
            return refuse(format!("eps is {}; expected a small positive number", self.eps));
        }
        match self.qk_norm.as_deref() {
            Some("rms_norm_across_heads") => {}
            other => return refuse(format!("qk_norm is {other:?}; only \"rms_norm_across_heads\" is known")),
        }
        if self.image_dim.is_some() || self.added_kv_proj_dim.is_some() {
            return refuse(
                "image_dim and added_kv_proj_dim (CLIP image tokens of Wan 2.1 image-to-video) are not supported"
                    .into(),
            );
        }
        Ok(())
    }
}

fn refuse(reason: String) -> Result<()> {
    Err(Error::Config {
        model: "wan transformer",
        reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOYBOX: &str = include_str!("../../../../models/toybox/transformer/config.json");

    #[test]
    fn the_config_of_toybox_is_understood() {
        let config = Config::from_json(TOYBOX).unwrap();
        assert_eq!(
            (config.width(), config.out_channels(), config.patch_volume()),
            (512, 48, 4)
        );
    }

    #[test]
    fn impossible_values_are_refused_by_name() {
        for (field, from, to) in [
            ("num_layers", "\"num_layers\": 12", "\"num_layers\": 0"),
            (
                "attention_head_dim",
                "\"attention_head_dim\": 64",
                "\"attention_head_dim\": 63",
            ),
            ("eps", "\"eps\": 1e-06", "\"eps\": 0"),
            ("qk_norm", "rms_norm_across_heads", "layer_norm"),
            ("image_dim", "\"image_dim\": null", "\"image_dim\": 1280"),
        ] {
            let json = TOYBOX.replace(from, to);
            assert_ne!(json, TOYBOX, "{from} does not occur");
            let error = Config::from_json(&json).unwrap_err().to_string();
            assert!(error.contains(field), "{field}: {error}");
        }
        assert!(Config::from_json("{}").is_err());
    }
}
