//! Every hyper-parameter of the autoencoder, as its `config.json` spells them.

use kinora_weights::{Checkpoint, Reader};
use serde::Deserialize;

use crate::error::parse_config;
use crate::nn::latents::Scale;
use crate::{Error, Result};

/// Width of the encoder's feature maps; the published architecture has one width throughout.
const ENCODER_WIDTH: usize = 64;
/// No published model is near this; it keeps a bad file from asking for absurd sizes.
const MAX_WIDTH: usize = 1 << 14;

/// Hyper-parameters. **Source**: madebyollin/taehv (MIT), `taehv.py`, variants "taew2_1" and "taew2_2".
///
/// Published checkpoints come without a config: [`Config::wan21`], [`Config::wan22`] and [`Config::of_checkpoint`] make one.
/// What a config leaves out is as published. Published networks take latents as the transformer makes them, so their means
/// are 0 and their deviations 1; LightTAE's take them scaled back, like the large autoencoder.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Config {
    /// Channels of a latent.
    pub latent_channels: usize,
    /// Side of the pixel blocks that are folded into channels before the first convolution.
    pub patch_size: usize,
    /// Colour channels of a frame.
    #[serde(default = "colours")]
    pub image_channels: usize,
    /// Width of the encoder.
    #[serde(default = "encoder_width")]
    pub encoder_width: usize,
    /// Which encoder stages halve the frame rate, first stage first. Every stage halves both sides.
    #[serde(default = "early")]
    pub encoder_time_downscale: [bool; 3],
    /// Which decoder stages double the frame rate.
    #[serde(default = "late")]
    pub decoder_time_upscale: [bool; 3],
    /// Which decoder stages double both sides.
    #[serde(default = "always")]
    pub decoder_space_upscale: [bool; 3],
    /// Widths of the decoder: before, between and after its three stages.
    #[serde(default = "decoder_widths")]
    pub decoder_widths: [usize; 4],
    /// Mean of each latent channel over the training data, 0 where a config has none.
    #[serde(default)]
    pub latents_mean: Vec<f32>,
    /// Standard deviation of each latent channel over the training data, 1 where a config has none.
    #[serde(default)]
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

const fn colours() -> usize {
    3
}

const fn early() -> [bool; 3] {
    [true, true, false]
}

const fn late() -> [bool; 3] {
    [false, true, true]
}

const fn always() -> [bool; 3] {
    [true; 3]
}

const fn decoder_widths() -> [usize; 4] {
    [256, 128, 64, 64]
}

impl Config {
    /// "taew2_1": the tiny autoencoder for the latents of Wan 2.1, and of Wan 2.2's A14B.
    pub fn wan21() -> Self {
        Self::published(16, 1)
    }

    /// "taew2_2": the tiny autoencoder for the latents of Wan 2.2's TI2V-5B.
    pub fn wan22() -> Self {
        Self::published(48, 2)
    }

    fn published(latent_channels: usize, patch_size: usize) -> Self {
        Self {
            latent_channels,
            patch_size,
            image_channels: colours(),
            encoder_width: encoder_width(),
            encoder_time_downscale: early(),
            decoder_time_upscale: late(),
            decoder_space_upscale: always(),
            decoder_widths: decoder_widths(),
            latents_mean: vec![0.0; latent_channels],
            latents_std: vec![1.0; latent_channels],
            latent_rgb: None,
        }
    }

    /// The config of a checkpoint that has none, from the shapes of its tensors; a file without an encoder is as published
    /// there.
    ///
    /// **Errors**: tensors that are missing or have shapes that this architecture does not give; [`Error::Config`].
    pub fn of_checkpoint(checkpoint: &Checkpoint) -> Result<Self> {
        let reader = checkpoint.reader();
        let (encoder, decoder) = (reader.at("encoder"), reader.at("decoder"));
        let [first, latent_channels] = extents(&decoder, "1")?;
        let mut config = Self::published(latent_channels, 1);
        config.decoder_widths[0] = first;
        for (stage, place) in [7, 13, 19].into_iter().enumerate() {
            let [grown, width] = extents(&decoder, &format!("{place}.conv"))?;
            config.decoder_time_upscale[stage] = grown == 2 * width;
            config.decoder_widths[stage + 1] = extents(&decoder, &(place + 1).to_string())?[0];
        }
        let [pixels, _] = extents(&decoder, "22")?;
        config.patch_size = (pixels / config.image_channels).isqrt();
        if encoder.has("0.weight") {
            config.encoder_width = extents(&encoder, "0")?[0];
            for (stage, place) in [2, 7, 12].into_iter().enumerate() {
                let [width, pooled] = extents(&encoder, &format!("{place}.conv"))?;
                config.encoder_time_downscale[stage] = pooled == 2 * width;
            }
        }
        config.validate()?;
        Ok(config)
    }

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
        let mut config: Self = parse_config("taehv", json)?;
        for (values, standard) in [(&mut config.latents_mean, 0.0), (&mut config.latents_std, 1.0)] {
            if values.is_empty() && config.latent_channels <= MAX_WIDTH {
                values.resize(config.latent_channels, standard);
            }
        }
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
            .any(|&w| w == 0 || w > MAX_WIDTH)
        {
            return refuse(format!("a width or channel count is outside 1 to {MAX_WIDTH}"));
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

/// Output and input channels of the convolution `name`.
fn extents(reader: &Reader, name: &str) -> Result<[usize; 2]> {
    let shape = reader.shape(&format!("{name}.weight"))?;
    match shape[..] {
        [outputs, inputs, _, _] => Ok([outputs, inputs]),
        _ => Err(Error::Config {
            model: "taehv",
            reason: format!("`{name}.weight` has the shape {shape:?} and is no convolution"),
        }),
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
    fn what_a_config_leaves_out_is_as_published() {
        let read = |json: &str| Config::from_json(json).unwrap();
        let (wan21, wan22) = (Config::wan21(), Config::wan22());
        assert_eq!(read(r#"{"latent_channels": 16, "patch_size": 1}"#), wan21);
        assert_eq!(read(r#"{"latent_channels": 48, "patch_size": 2}"#), wan22);
        assert_eq!((wan21.spatial_factor(), wan21.temporal_factor()), (8, 4));
        assert_eq!((wan22.spatial_factor(), wan22.temporal_factor()), (16, 4));
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
