//! Every hyper-parameter of the autoencoders, as diffusers' `config.json` spells them.

use serde::Deserialize;

use crate::error::parse_config;
use crate::nn::latents::Scale;
use crate::{Error, Result};

/// Colour channels of a frame.
pub(super) const COLOURS: usize = 3;
/// No published model is near this; it keeps a bad file from asking for absurd sizes.
const MAX_WIDTH: usize = 1 << 14;

/// Hyper-parameters. Fields that older files leave out are those of Wan 2.1, as in the reference.
///
/// **Source**: diffusers 0.42.1, `AutoencoderKLWan` (Apache-2.0).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Width of the first stage of the encoder.
    pub base_dim: usize,
    /// Width of the last stage of the decoder, if it is another one.
    pub decoder_base_dim: Option<usize>,
    /// Channels of a latent.
    pub z_dim: usize,
    /// The width of each stage in multiples of the first.
    pub dim_mult: Vec<usize>,
    /// Residual blocks in a stage of the encoder; the decoder has one more.
    pub num_res_blocks: usize,
    /// Where else attention would stand; no published model has any.
    pub attn_scales: Vec<f32>,
    /// Which stages of the encoder, but for the last, halve the frame rate. All of these halve both sides.
    #[serde(rename = "temperal_downsample")]
    pub temporal_downsample: Vec<bool>,
    /// Mean of each latent channel.
    pub latents_mean: Vec<f32>,
    /// Standard deviation of each latent channel.
    pub latents_std: Vec<f32>,
    /// Whether a shortcut leads around each stage (Wan 2.2).
    pub is_residual: bool,
    /// Channels that the encoder is given: colours of all pixels of a patch.
    pub in_channels: usize,
    /// Channels that the decoder gives.
    pub out_channels: usize,
    /// Side of the pixel patches that are folded into channels (Wan 2.2).
    pub patch_size: Option<usize>,
}

impl Default for Config {
    /// Wan 2.1.
    fn default() -> Self {
        Self {
            base_dim: 96,
            decoder_base_dim: None,
            z_dim: 16,
            dim_mult: vec![1, 2, 4, 4],
            num_res_blocks: 2,
            attn_scales: Vec::new(),
            temporal_downsample: vec![false, true, true],
            latents_mean: vec![
                -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508, 0.4134, -0.0715, 0.5517, -0.3632,
                -0.1922, -0.9497, 0.2503, -0.2921,
            ],
            latents_std: vec![
                2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743, 3.2687, 2.1526, 2.8652, 1.5579, 1.6382,
                1.1253, 2.8251, 1.9160,
            ],
            is_residual: false,
            in_channels: COLOURS,
            out_channels: COLOURS,
            patch_size: None,
        }
    }
}

/// The extents of one stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stage {
    /// Channels that come in.
    pub(super) inputs: usize,
    /// Channels of its residual blocks.
    pub(super) width: usize,
    /// Channels that go out.
    pub(super) outputs: usize,
    /// Whether it ends in a change of size.
    pub(super) resizes: bool,
    /// Whether that changes the number of frames as well.
    pub(super) in_time: bool,
}

impl Config {
    /// Pixels of a frame along one side of a latent.
    pub fn spatial_factor(&self) -> usize {
        self.patch() << (self.dim_mult.len() - 1)
    }

    /// Frames for each latent frame but the first, which stands for one frame.
    pub fn temporal_factor(&self) -> usize {
        1 << self.temporal_downsample.iter().filter(|&&halves| halves).count()
    }

    /// Channels of a latent.
    pub const fn latent_channels(&self) -> usize {
        self.z_dim
    }

    /// Reads and validates `config.json`.
    ///
    /// **Errors**: [`Error::Config`] naming the field.
    pub fn from_json(json: &str) -> Result<Self> {
        let config: Self = parse_config("wan_vae", json)?;
        config.validate()?;
        Ok(config)
    }

    /// Refuses what the architecture cannot be built from.
    ///
    /// **Errors**: [`Error::Config`] naming the field.
    pub fn validate(&self) -> Result<()> {
        let stages = self.dim_mult.len();
        if !(1..=6).contains(&stages) || self.temporal_downsample.len() + 1 != stages {
            return refuse(
                "dim_mult needs one entry for each stage, at most 6, and temperal_downsample one less".into(),
            );
        }
        let widths = [
            self.base_dim,
            self.decoder_base(),
            self.z_dim,
            self.num_res_blocks,
            self.patch(),
        ];
        if widths.iter().chain(&self.dim_mult).any(|&w| w == 0 || w > MAX_WIDTH) {
            return refuse(format!("a width or count is outside 1 to {MAX_WIDTH}"));
        }
        let all = self.encoder_stages().into_iter().chain(self.decoder_stages());
        if all
            .into_iter()
            .any(|s| s.inputs.max(s.width).max(s.outputs) > MAX_WIDTH || s.outputs.min(s.inputs) == 0)
        {
            return refuse(format!(
                "dim_mult gives a stage whose width is outside 1 to {MAX_WIDTH}"
            ));
        }
        if !self.attn_scales.is_empty() {
            return refuse("attn_scales must be empty: attention stands in the middle only".into());
        }
        let pixels = COLOURS * self.patch() * self.patch();
        if self.in_channels != pixels || self.out_channels != pixels {
            return refuse(format!(
                "in_channels and out_channels must be {pixels} for this patch_size"
            ));
        }
        if self.is_residual {
            self.validate_shortcuts()?;
        }
        for (field, values) in [("latents_mean", &self.latents_mean), ("latents_std", &self.latents_std)] {
            if values.len() != self.z_dim || values.iter().any(|v| !v.is_finite()) {
                return refuse(format!("{field} needs {} finite numbers", self.z_dim));
            }
        }
        if self.latents_std.iter().any(|&std| std <= 0.0) {
            return refuse("latents_std must be positive".into());
        }
        Ok(())
    }

    /// The shortcuts divide channels into groups.
    fn validate_shortcuts(&self) -> Result<()> {
        let uneven = |many: usize, few: usize| !many.is_multiple_of(few);
        let down = |s: &Stage| uneven(s.inputs * s.factor(), s.outputs);
        let up = |s: &Stage| s.resizes && uneven(s.outputs * s.factor(), s.inputs);
        if self.encoder_stages().iter().any(down) || self.decoder_stages().iter().any(up) {
            return refuse("dim_mult does not divide the channels of a shortcut evenly".into());
        }
        Ok(())
    }

    pub(super) fn patch(&self) -> usize {
        self.patch_size.unwrap_or(1)
    }

    pub(super) fn decoder_base(&self) -> usize {
        self.decoder_base_dim.unwrap_or(self.base_dim)
    }

    pub(super) fn scale(&self) -> Scale<'_> {
        Scale {
            mean: &self.latents_mean,
            std: &self.latents_std,
        }
    }

    /// Width of the middle of the encoder.
    pub(super) fn encoder_middle(&self) -> usize {
        self.base_dim * self.dim_mult.last().copied().unwrap_or(1)
    }

    /// Width of the middle of the decoder.
    pub(super) fn decoder_middle(&self) -> usize {
        self.decoder_base() * self.dim_mult.last().copied().unwrap_or(1)
    }

    pub(super) fn encoder_stages(&self) -> Vec<Stage> {
        let mut inputs = self.base_dim;
        let stage = |(i, mult): (usize, &usize)| {
            let width = self.base_dim * mult;
            let in_time = self.temporal_downsample.get(i);
            Stage {
                inputs: std::mem::replace(&mut inputs, width),
                width,
                outputs: width,
                resizes: in_time.is_some(),
                in_time: in_time.is_some_and(|&halves| halves),
            }
        };
        self.dim_mult.iter().enumerate().map(stage).collect()
    }

    pub(super) fn decoder_stages(&self) -> Vec<Stage> {
        let mut inputs = self.decoder_middle();
        let mut in_time = self.temporal_downsample.iter().rev();
        let stage = |mult: &usize| {
            let width = self.decoder_base() * mult;
            let in_time = in_time.next();
            // Without a shortcut around it, the convolution that enlarges halves the channels.
            let outputs = match (in_time.is_some(), self.is_residual) {
                (true, false) => width / 2,
                _ => width,
            };
            Stage {
                inputs: std::mem::replace(&mut inputs, outputs),
                width,
                outputs,
                resizes: in_time.is_some(),
                in_time: in_time.is_some_and(|&doubles| doubles),
            }
        };
        self.dim_mult.iter().rev().map(stage).collect()
    }
}

impl Stage {
    /// Frames that become one, or that one becomes.
    pub(super) const fn frames(&self) -> usize {
        if self.in_time { 2 } else { 1 }
    }

    /// Pixels along a side that become one, or that one becomes.
    pub(super) const fn side(&self) -> usize {
        if self.resizes { 2 } else { 1 }
    }

    /// Values that become one, or that one becomes.
    pub(super) const fn factor(&self) -> usize {
        self.frames() * self.side() * self.side()
    }
}

fn refuse(reason: String) -> Result<()> {
    Err(Error::Config {
        model: "wan_vae",
        reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_config_is_wan_21() {
        let config = Config::from_json("{}").unwrap();
        assert_eq!(
            (
                config.spatial_factor(),
                config.temporal_factor(),
                config.latent_channels()
            ),
            (8, 4, 16)
        );
        let widths: Vec<_> = config
            .decoder_stages()
            .iter()
            .map(|s| (s.inputs, s.width, s.outputs))
            .collect();
        assert_eq!(widths, [(384, 384, 192), (192, 384, 192), (192, 192, 96), (96, 96, 96)]);
        let times: Vec<_> = config.decoder_stages().iter().map(|s| (s.resizes, s.in_time)).collect();
        assert_eq!(times, [(true, true), (true, true), (true, false), (false, false)]);
    }

    #[test]
    fn what_cannot_be_built_is_refused_by_name() {
        let refused = |json: &str, name: &str| {
            let text = Config::from_json(json).unwrap_err().to_string();
            assert!(text.contains(name), "{text}");
        };
        refused(r#"{"attn_scales": [0.5]}"#, "attn_scales");
        refused(r#"{"dim_mult": [1, 2]}"#, "dim_mult");
        refused(r#"{"patch_size": 2}"#, "in_channels");
        refused(r#"{"base_dim": 0}"#, "width");
        refused(r#"{"base_dim": 9999}"#, "dim_mult");
        refused(r#"{"z_dim": 4}"#, "latents_mean");
        refused(r#"{"is_residual": true, "dim_mult": [3, 4, 4, 4]}"#, "shortcut");
    }
}
