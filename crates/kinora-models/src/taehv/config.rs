//! Every hyper-parameter of the autoencoder, as its `config.json` spells them.

use serde::Deserialize;

use crate::error::parse_config;
use crate::nn::latents::Scale;
use crate::{Error, Result};

/// Width of the encoder's feature maps; the published architecture has one width throughout.
const ENCODER_WIDTH: usize = 64;

/// Hyper-parameters. **Source**: madebyollin/taehv (MIT), `taehv.py`, variant "taew2_2".
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Config {
    /// Channels of a latent.
    pub latent_channels: usize,
    /// Side of the pixel blocks that are folded into channels before the first convolution.
    pub patch_size: usize,
    /// Colour channels of a frame.
    pub image_channels: usize,
    /// Width of the encoder.
    #[serde(default = "encoder_width")]
    pub encoder_width: usize,
    /// Which encoder stages halve the frame rate, first stage first. Every stage halves both sides.
    pub encoder_time_downscale: [bool; 3],
    /// Which decoder stages double the frame rate.
    pub decoder_time_upscale: [bool; 3],
    /// Which decoder stages double both sides.
    pub decoder_space_upscale: [bool; 3],
    /// Widths of the decoder: before, between and after its three stages.
    pub decoder_widths: [usize; 4],
    /// Mean of each latent channel over the training data.
    pub latents_mean: Vec<f32>,
    /// Standard deviation of each latent channel over the training data.
    pub latents_std: Vec<f32>,
    /// A linear guess of colours from normalised latents, for previews; published checkpoints do not have it.
    #[serde(default)]
    pub latent_rgb: Option<LatentRgb>,
}

/// `rgb = bias + Σ latent[c] · weight[c]`, in 0..1: the average colour under a latent.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct LatentRgb {
    /// Red, green and blue of each latent channel.
    pub weight: Vec<[f32; 3]>,
    /// Colour of latents that are all zero.
    pub bias: [f32; 3],
}

const fn encoder_width() -> usize {
    ENCODER_WIDTH
}

impl Config {
    /// Pixels of a frame along one side of a latent.
    pub fn spatial_factor(&self) -> usize {
        self.patch_size * 8
    }

    /// Frames for each latent frame (the first latent frame stands for one frame only).
    pub fn temporal_factor(&self) -> usize {
        self.encoder_time_downscale
            .iter()
            .map(|&halves| if halves { 2 } else { 1 })
            .product()
    }

    pub(super) fn scale(&self) -> Scale<'_> {
        Scale {
            mean: &self.latents_mean,
            std: &self.latents_std,
        }
    }

    /// Reads and validates `config.json`.
    ///
    /// **Errors**: [`Error::Config`] naming the field.
    pub fn from_json(json: &str) -> Result<Self> {
        let config: Self = parse_config("taehv", json)?;
        config.validate()?;
        Ok(config)
    }

    /// Refuses what the architecture cannot be built from.
    ///
    /// **Errors**: [`Error::Config`] naming the field.
    pub fn validate(&self) -> Result<()> {
        let widths = [
            self.latent_channels,
            self.patch_size,
            self.image_channels,
            self.encoder_width,
        ];
        if widths
            .iter()
            .chain(&self.decoder_widths)
            .any(|&w| w == 0 || w > 1 << 14)
        {
            return refuse(format!("a width or channel count is outside 1 to {}", 1 << 14));
        }
        let upscale = |flags: [bool; 3]| flags.iter().filter(|&&doubles| doubles).count();
        if upscale(self.decoder_time_upscale) != upscale(self.encoder_time_downscale) {
            return refuse("decoder_time_upscale does not undo encoder_time_downscale".into());
        }
        if upscale(self.decoder_space_upscale) != 3 {
            return refuse("decoder_space_upscale must be true three times to undo the encoder".into());
        }
        for (field, values) in [("latents_mean", &self.latents_mean), ("latents_std", &self.latents_std)] {
            if values.len() != self.latent_channels || values.iter().any(|v| !v.is_finite()) {
                return refuse(format!("{field} needs {} finite numbers", self.latent_channels));
            }
        }
        if self.latents_std.iter().any(|&std| std <= 0.0) {
            return refuse("latents_std must be positive".into());
        }
        Ok(())
    }
}

fn refuse(reason: String) -> Result<()> {
    Err(Error::Config { model: "taehv", reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOYBOX: &str = include_str!("../../../../models/toybox/vae/config.json");

    #[test]
    fn the_config_of_toybox_is_understood() {
        let config = Config::from_json(TOYBOX).unwrap();
        assert_eq!((config.spatial_factor(), config.temporal_factor()), (16, 4));
    }

    #[test]
    fn a_decoder_that_does_not_undo_the_encoder_is_refused() {
        let mut config = Config::from_json(TOYBOX).unwrap();
        config.decoder_time_upscale = [true; 3];
        assert!(
            config
                .validate()
                .unwrap_err()
                .to_string()
                .contains("decoder_time_upscale")
        );
        let mut config = Config::from_json(TOYBOX).unwrap();
        config.latents_std[3] = 0.0;
        assert!(config.validate().unwrap_err().to_string().contains("latents_std"));
        config.latents_mean.pop();
        assert!(config.validate().unwrap_err().to_string().contains("latents_mean"));
    }
}
