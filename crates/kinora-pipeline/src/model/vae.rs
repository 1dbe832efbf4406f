//! The autoencoder of a model, whichever family it is of: frames in and latents out, and back.
//!
//! Both ways are streamed. Frames are `[H, W, 3]` in 0..1, latents are normalised as the transformer sees them.

use std::path::Path;

use kinora_kernels::Precision;
use kinora_models::taehv::{self, LatentRgb, Taehv};
use kinora_models::wan_vae::{self, Tiling, WanVae};
use kinora_tensor::Tensor;
use kinora_weights::Checkpoint;

use super::classes::VaeKind;
use super::slot::Slot;
use crate::{Error, Result};

/// The hyper-parameters of an autoencoder.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum VaeConfig {
    Taehv(taehv::Config),
    Wan(wan_vae::Config),
}

impl VaeConfig {
    pub(crate) fn read(kind: VaeKind, json: &str) -> Result<Self> {
        Ok(match kind {
            VaeKind::Taehv => Self::Taehv(taehv::Config::from_json(json)?),
            VaeKind::Wan => Self::Wan(wan_vae::Config::from_json(json)?),
        })
    }

    /// Pixels along one side of a latent position.
    pub(crate) fn spatial_factor(&self) -> usize {
        match self {
            Self::Taehv(config) => config.spatial_factor(),
            Self::Wan(config) => config.spatial_factor(),
        }
    }

    /// Channels C of the latents.
    pub(crate) const fn latent_channels(&self) -> usize {
        match self {
            Self::Taehv(config) => config.latent_channels,
            Self::Wan(config) => config.latent_channels(),
        }
    }

    /// A linear guess of colours from latents, for previews.
    pub(crate) const fn latent_rgb(&self) -> Option<&LatentRgb> {
        match self {
            Self::Taehv(config) => config.latent_rgb.as_ref(),
            Self::Wan(_) => None,
        }
    }

    /// Frames for each latent frame after the first.
    pub(crate) fn temporal_factor(&self) -> usize {
        match self {
            Self::Taehv(config) => config.temporal_factor(),
            Self::Wan(config) => config.temporal_factor(),
        }
    }
}

/// What of an autoencoder is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VaeHalf {
    /// Both.
    Both,
    /// The decoder alone, where the family can.
    Decoder,
}

/// An autoencoder with its weights.
pub(crate) enum Vae {
    Taehv(Box<Taehv>),
    Wan(Box<WanVae>),
}

impl Vae {
    pub(crate) fn load(
        checkpoint: &Checkpoint,
        config: &VaeConfig,
        json: &str,
        precision: Precision,
        half: VaeHalf,
    ) -> Result<Self> {
        Ok(match config {
            VaeConfig::Taehv(_) => Self::Taehv(Box::new(Taehv::load(checkpoint, json, precision)?)),
            VaeConfig::Wan(_) => Self::Wan(Box::new(match half {
                VaeHalf::Both => WanVae::load(checkpoint, json, precision)?,
                VaeHalf::Decoder => WanVae::load_decoder(checkpoint, json, precision)?,
            })),
        })
    }

    /// Frames that so many latent frames decode to.
    pub(crate) fn frames_of(&self, latent_frames: usize) -> usize {
        match self {
            Self::Taehv(vae) => vae.frames_of(latent_frames),
            Self::Wan(vae) => vae.frames_of(latent_frames),
        }
    }

    /// Starts decoding a clip, in tiles of `tile_px` pixels where the family can and that is wanted.
    pub(crate) fn decoder(&self, tile_px: Option<u32>) -> Result<Decoder<'_>> {
        Ok(match (self, tile_px) {
            (Self::Taehv(vae), _) => Decoder::Taehv(vae.decoder()),
            (Self::Wan(vae), None) => Decoder::Wan(Box::new(vae.decoder())),
            (Self::Wan(vae), Some(side)) => {
                let tile_px = side as usize;
                Decoder::Wan(Box::new(vae.decoder_in_tiles(Tiling::Halo { tile_px })?))
            }
        })
    }

    /// Starts encoding a clip.
    pub(crate) fn encoder(&self) -> Encoder<'_> {
        match self {
            Self::Taehv(vae) => Encoder::Taehv(vae.encoder()),
            Self::Wan(vae) => Encoder::Wan(Box::new(vae.encoder())),
        }
    }
}

/// A tiny decoder from a file of its own, in place of `instead_of`.
///
/// **Errors**: a file that is none; [`Error::OtherModel`] if its latents are of another kind.
pub(super) fn tiny_decoder(
    path: &Path,
    instead_of: &VaeConfig,
    precision: Precision,
) -> Result<(VaeConfig, Slot<Vae, VaeHalf>)> {
    let checkpoint = Checkpoint::open(path)?;
    let config = taehv::Config::of_checkpoint(&checkpoint)?;
    let (expected, got) = (instead_of.latent_channels(), config.latent_channels);
    let fits = expected == got
        && instead_of.spatial_factor() == config.spatial_factor()
        && instead_of.temporal_factor() == config.temporal_factor();
    if !fits {
        return Err(Error::OtherModel {
            model: path.display().to_string(),
            expected: got,
            got: expected,
        });
    }
    let loaded = config.clone();
    let slot = Slot::new(move |_| {
        Ok(Vae::Taehv(Box::new(Taehv::load_as(
            &checkpoint,
            loaded.clone(),
            precision,
        )?)))
    });
    Ok((VaeConfig::Taehv(config), slot))
}

/// A clip on its way from latents to frames.
pub(crate) enum Decoder<'a> {
    Taehv(taehv::Decoder<'a>),
    Wan(Box<wan_vae::Decoder<'a>>),
}

impl Decoder<'_> {
    /// Decodes latent frame `index` of `latents [1, C, F, h, w]` and returns the frames that are complete with it.
    pub(crate) fn push(&mut self, latents: &Tensor, index: usize) -> Result<Vec<Tensor>> {
        let mut frames = Vec::new();
        let mut keep = |frame| {
            frames.push(frame);
            Ok(())
        };
        match self {
            Self::Taehv(decoder) => decoder.push(latents, index, &mut keep)?,
            Self::Wan(decoder) => decoder.push(latents, index, &mut keep)?,
        }
        Ok(frames)
    }
}

/// A clip on its way from frames to latents.
pub(crate) enum Encoder<'a> {
    Taehv(taehv::Encoder<'a>),
    Wan(Box<wan_vae::Encoder<'a>>),
}

impl Encoder<'_> {
    /// Takes the next frame and returns the latent frames `[C, h, w]` that are complete with it.
    pub(crate) fn push(&mut self, frame: &Tensor) -> Result<Vec<Tensor>> {
        let mut latents = Vec::new();
        let mut keep = |latent| {
            latents.push(latent);
            Ok(())
        };
        match self {
            Self::Taehv(encoder) => encoder.push(frame, &mut keep)?,
            Self::Wan(encoder) => encoder.push(frame, &mut keep)?,
        }
        Ok(latents)
    }

    /// Ends the clip.
    ///
    /// **Errors**: frames that do not fill a latent frame.
    pub(crate) fn finish(self) -> Result<()> {
        match self {
            Self::Taehv(_) => Ok(()),
            Self::Wan(encoder) => Ok(encoder.finish()?),
        }
    }
}

#[cfg(test)]
mod tests {
    use kinora_testkit::{Golden, assert_close};

    use super::*;

    const MODELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../kinora-models");

    /// A published tiny decoder comes as a file without a config.
    #[test]
    fn a_tiny_decoder_takes_the_place_of_one_for_the_same_latents() {
        let golden = Golden::open(MODELS, "taehv_wan21_tiny");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("taew2_1.safetensors");
        std::fs::write(&path, golden.checkpoint_bytes("weights.")).unwrap();
        let of =
            |name: &str| VaeConfig::Taehv(taehv::Config::from_json(Golden::open(MODELS, name).meta("config")).unwrap());
        let (config, slot) = tiny_decoder(&path, &of("taehv_wan21_tiny"), Precision::F32).unwrap();
        assert_eq!((config.latent_channels(), config.spatial_factor()), (16, 8));
        let error = tiny_decoder(&path, &of("taehv_wan22_tiny"), Precision::F32)
            .err()
            .unwrap();
        assert!(matches!(error, Error::OtherModel { .. }), "{error}");

        // Frame by frame `[F, C, h, w]` in the fixture, `[1, C, F, h, w]` here.
        let input = golden.tensor("decode_input");
        let [frames, channels, height, width] = match *input.dims() {
            [frames, channels, height, width] | [1, frames, channels, height, width] => {
                [frames, channels, height, width]
            }
            ref other => panic!("{other:?}"),
        };
        let area = height * width;
        let mut latents = Tensor::zeros([1, channels, frames, height, width]).unwrap();
        for (place, plane) in latents.as_mut_slice().chunks_exact_mut(area).enumerate() {
            let (channel, frame) = (place / frames, place % frames);
            plane.copy_from_slice(&input.as_slice()[(frame * channels + channel) * area..][..area]);
        }
        let vae = slot.get(VaeHalf::Decoder).unwrap();
        let mut decoder = vae.decoder(None).unwrap();
        let decoded: Vec<Tensor> = (0..frames)
            .flat_map(|index| decoder.push(&latents, index).unwrap())
            .collect();
        assert_eq!(decoded.len(), vae.frames_of(frames));
        let want = golden.tensor("decoded");
        let plane = want.elements() / decoded.len();
        for (index, frame) in decoded.iter().enumerate() {
            let want = &want.as_slice()[index * plane..][..plane];
            let pixels = plane / 3;
            let want: Vec<f32> = (0..plane)
                .map(|i| want[i % 3 * pixels + i / 3].clamp(0.0, 1.0))
                .collect();
            assert_close(&format!("frame {index}"), frame.as_slice(), &want, golden.tolerance());
        }
    }
}
