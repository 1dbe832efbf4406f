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
    /// Learnt positions of image tokens, in models that take a first and a last frame.
    #[serde(default)]
    pub pos_embed_seq_len: Option<usize>,
    /// The main blocks that take a hint from the control branch, ascending from 0 (VACE); absent elsewhere.
    #[serde(default)]
    pub vace_layers: Option<Vec<usize>>,
    /// Channels of the control latents; goes with `vace_layers`.
    #[serde(default)]
    pub vace_in_channels: Option<usize>,
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

    /// The main blocks that take a hint from the control branch: none without one.
    pub fn control_layers(&self) -> &[usize] {
        self.vace_layers.as_deref().unwrap_or_default()
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
            (
                "num_attention_heads times attention_head_dim",
                self.num_attention_heads.saturating_mul(self.attention_head_dim),
            ),
            (
                "patch_size",
                self.patch_size
                    .iter()
                    .fold(1usize, |volume, &n| volume.saturating_mul(n)),
            ),
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
        self.validate_image()?;
        self.validate_control()
    }

    fn validate_control(&self) -> Result<()> {
        match (&self.vace_layers, self.vace_in_channels) {
            (None, None) => Ok(()),
            (Some(layers), Some(1..=0x10_0000)) => {
                let ascends = layers.is_sorted_by(|a, b| a < b) && layers.first() == Some(&0);
                if ascends && layers.iter().all(|&layer| layer < self.num_layers) {
                    return Ok(());
                }
                refuse(format!(
                    "vace_layers is {layers:?}; expected ascending numbers of blocks, from 0 and below {}",
                    self.num_layers
                ))
            }
            (layers, channels) => refuse(format!(
                "vace_layers is {layers:?} and vace_in_channels is {channels:?}; expected both, or neither"
            )),
        }
    }

    fn validate_image(&self) -> Result<()> {
        let width = self.width();
        match (self.image_dim, self.added_kv_proj_dim) {
            (None, None) if self.pos_embed_seq_len.is_none() => Ok(()),
            (None, None) => refuse("pos_embed_seq_len is given without image_dim: positions of no tokens".into()),
            (Some(1..=0x10_0000), Some(keys)) if keys == width => match self.pos_embed_seq_len {
                Some(positions) if positions == 0 || positions % 2 != 0 || positions > 1 << 20 => refuse(format!(
                    "pos_embed_seq_len is {positions}; expected the tokens of two pictures, an even number"
                )),
                _ => Ok(()),
            },
            (Some(image), Some(keys)) => refuse(format!(
                "image_dim is {image} and added_kv_proj_dim is {keys}; expected 1 to {} and the model's width, {width}",
                1 << 20
            )),
            (image, keys) => refuse(format!(
                "image_dim is {image:?} and added_kv_proj_dim is {keys:?}; a model has both or neither"
            )),
        }
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

    #[test]
    fn parts_that_go_together_are_refused_alone() {
        let with = |changes: &[(&str, serde_json::Value)]| {
            let mut json: serde_json::Value = serde_json::from_str(TOYBOX).unwrap();
            for (field, value) in changes {
                json[*field] = value.clone();
            }
            Config::from_json(&json.to_string()).map_err(|error| error.to_string())
        };
        let image = [("image_dim", 1280.into()), ("added_kv_proj_dim", 512.into())];
        let control = |layers: &[usize]| [("vace_layers", layers.into()), ("vace_in_channels", 96.into())];
        assert!(with(&image).is_ok() && with(&control(&[0, 5, 11])).is_ok());
        let two = [&image[..], &[("pos_embed_seq_len", 514.into())]].concat();
        assert_eq!(with(&two).unwrap().pos_embed_seq_len, Some(514));
        let refused = [
            (vec![("pos_embed_seq_len", 514.into())], "pos_embed_seq_len"),
            (
                [&image[..], &[("pos_embed_seq_len", 5.into())]].concat(),
                "an even number",
            ),
            (
                vec![image[0].clone(), ("added_kv_proj_dim", 510.into())],
                "the model's width, 512",
            ),
            (vec![image[1].clone()], "both or neither"),
            (vec![control(&[0])[0].clone()], "vace_in_channels is None"),
            (control(&[2, 4]).to_vec(), "ascending numbers of blocks, from 0"),
            (control(&[0, 4, 4]).to_vec(), "ascending"),
            (control(&[0, 12]).to_vec(), "below 12"),
            (control(&[]).to_vec(), "ascending"),
        ];
        for (changes, reason) in refused {
            let error = with(&changes).unwrap_err();
            assert!(error.contains(reason), "{changes:?}: {error}");
        }
    }
}
