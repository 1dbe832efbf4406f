//! The autoencoders of Wan: frames to latents and back, streamed.
//!
//! **Source**: diffusers 0.42.1, `AutoencoderKLWan` (Apache-2.0).
//!
//! **Flow**, encode: frames `[H,W,3]` in 0..1, one at a time → -1..1 → patches of 2x2 (Wan 2.2) → encoder → mean `[C,h,w]`,
//! normalised: one latent frame for the first frame, then one for each four. Decode: the reverse.
//!
//! **Numerics**: convolutions and the layers of attention in the precision asked for (int8 has no convolutions: bf16, or
//! f32 where the processor lacks it), sums, norms and attention in f32. Every layer sees past frames only.

use kinora_kernels::Precision;
use kinora_tensor::Tensor;
use kinora_weights::Checkpoint;

use super::cache::Cache;
use super::config::{COLOURS, Config};
use super::tiles::{Run, Tiling};
use super::{decoder, encoder};
use crate::{Error, Result};

/// Called with the name of a layer and what it gave for one frame, channels last.
pub(super) type Tap<'a> = &'a mut dyn FnMut(&str, &Tensor);

/// An autoencoder with its weights.
pub struct WanVae {
    config: Config,
    encoder: Option<encoder::Network>,
    decoder: decoder::Network,
}

impl WanVae {
    /// Reads every tensor of `checkpoint`, under diffusers' names.
    ///
    /// **Errors**: a config that cannot be built; a tensor that is missing, has another shape, or that nothing reads.
    pub fn load(checkpoint: &Checkpoint, config_json: &str, precision: Precision) -> Result<Self> {
        Self::load_parts(checkpoint, config_json, precision, true)
    }

    /// As [`WanVae::load`], without the encoder, which a clip from text alone does not need.
    ///
    /// **Errors**: as there.
    pub fn load_decoder(checkpoint: &Checkpoint, config_json: &str, precision: Precision) -> Result<Self> {
        Self::load_parts(checkpoint, config_json, precision, false)
    }

    fn load_parts(checkpoint: &Checkpoint, config_json: &str, precision: Precision, both: bool) -> Result<Self> {
        let config = Config::from_json(config_json)?;
        let reader = checkpoint.reader().with_precision(precision.of_convolutions()?);
        let encoder = both.then(|| encoder::Network::load(&reader, &config)).transpose()?;
        let decoder = decoder::Network::load(&reader, &config)?;
        reader.finish(if both { &[] } else { &["encoder.*", "quant_conv.*"] })?;
        Ok(Self {
            config,
            encoder,
            decoder,
        })
    }

    /// The hyper-parameters.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Frames that `latent_frames` decode to.
    pub fn frames_of(&self, latent_frames: usize) -> usize {
        let factor = self.config.temporal_factor();
        (latent_frames * factor).saturating_sub(factor - 1)
    }

    /// Starts a clip to decode, whole frames at a time.
    pub fn decoder(&self) -> Decoder<'_> {
        Decoder {
            vae: self,
            run: Run::whole(),
        }
    }

    /// Starts a clip to decode, in tiles.
    ///
    /// **Errors**: tiles that are smaller than a latent, or than their stride.
    pub fn decoder_in_tiles(&self, tiling: Tiling) -> Result<Decoder<'_>> {
        Ok(Decoder {
            vae: self,
            run: Run::new(&self.config, tiling)?,
        })
    }

    /// Starts a clip to encode.
    pub fn encoder(&self) -> Encoder<'_> {
        Encoder {
            vae: self,
            cache: Cache::default(),
            frames: 0,
        }
    }
}

/// A clip being decoded: latent frames in, frames out.
pub struct Decoder<'a> {
    vae: &'a WanVae,
    run: Run,
}

impl Decoder<'_> {
    /// Decodes the next latent frame and hands each finished frame to `emit`: one for the first latent frame, then
    /// [`Config::temporal_factor`] for each.
    ///
    /// **Shapes**: `latents [1, C, F, h, w]` (normalised), of which frame `index` is decoded → frames `[H, W, 3]`.
    /// **Range**: 0..1. **Errors**: other shapes.
    pub fn push(&mut self, latents: &Tensor, index: usize, emit: &mut dyn FnMut(Tensor) -> Result<()>) -> Result<()> {
        self.push_tapped(latents, index, &mut |_, _| (), emit)
    }

    /// As [`Decoder::push`]; `tap` is called with what each part gave for a frame, `[1, H, W, C]`, under the reference's
    /// names: `post_quant`, `conv_in`, `mid.resnet`, `mid.attention`, `mid`, `up_blocks.N`, `conv_out`. In tiles it sees
    /// what is made as a whole.
    ///
    /// **Errors**: as there.
    pub fn push_tapped(
        &mut self,
        latents: &Tensor,
        index: usize,
        tap: &mut dyn FnMut(&str, &Tensor),
        emit: &mut dyn FnMut(Tensor) -> Result<()>,
    ) -> Result<()> {
        let config = &self.vae.config;
        let latent = config.scale().denormalise("wan_vae decode", latents, index)?; // [1, h, w, C]
        let mut pixels = Vec::new();
        // `tap` sees the unclamped pixels, in the order in which they are made.
        self.run.push(&self.vae.decoder, latent, tap, &mut |frame| {
            pixels.push(frame);
            Ok(())
        })?;
        for frame in pixels {
            tap("conv_out", &frame);
            emit(from_patches(&frame, config.patch())?)?;
        }
        Ok(())
    }
}

/// A clip being encoded: frames in, latent frames out.
pub struct Encoder<'a> {
    vae: &'a WanVae,
    cache: Cache,
    frames: usize,
}

impl Encoder<'_> {
    /// Encodes the next frame and hands each finished latent frame to `emit`: one after the first frame, then one after
    /// every [`Config::temporal_factor`] frames.
    ///
    /// **Shapes**: `frame [H, W, 3]` in 0..1, both sides multiples of [`Config::spatial_factor`] → `[C, h, w]`,
    /// normalised. **Errors**: other shapes; an autoencoder without its encoder.
    pub fn push(&mut self, frame: &Tensor, emit: &mut dyn FnMut(Tensor) -> Result<()>) -> Result<()> {
        self.push_tapped(frame, &mut |_, _| (), emit)
    }

    /// As [`Encoder::push`]; `tap` is called with what each part gave for a frame, `[1, H, W, C]`, under the reference's
    /// names: `conv_in`, `down_blocks.N`, `mid.resnet`, `mid.attention`, `mid`, `conv_out`, `moments`.
    ///
    /// **Errors**: as there.
    pub fn push_tapped(
        &mut self,
        frame: &Tensor,
        tap: &mut dyn FnMut(&str, &Tensor),
        emit: &mut dyn FnMut(Tensor) -> Result<()>,
    ) -> Result<()> {
        let config = &self.vae.config;
        let network = self.vae.encoder.as_ref().ok_or(Error::NoEncoder)?;
        let [height, width, channels] = frame.dims_of("wan_vae encode", "[H, W, 3]")?;
        let factor = config.spatial_factor();
        if channels != COLOURS || height % factor != 0 || width % factor != 0 || frame.elements() == 0 {
            return Err(frame
                .mismatch(
                    "wan_vae encode",
                    format!("[H, W, 3] with sides in multiples of {factor}"),
                )
                .into());
        }
        let moments = network.push(&mut self.cache, to_patches(frame, config.patch())?, tap)?;
        self.frames += 1;
        let Some(moments) = moments else {
            return Ok(());
        };
        tap("moments", &moments);
        emit(config.scale().normalise("wan_vae encode", &moments)?)
    }

    /// Ends the clip.
    ///
    /// **Errors**: [`Error::UnfinishedClip`] if the last frames did not fill a latent frame.
    pub fn finish(self) -> Result<()> {
        let group = self.vae.config.temporal_factor();
        match self.frames.saturating_sub(1) % group {
            0 => Ok(()),
            rest => Err(Error::UnfinishedClip {
                frames: self.frames,
                group,
                fits: self.frames - rest,
            }),
        }
    }
}

/// Frame `[H, W, 3]` in 0..1 → `[1, H/p, W/p, 3·p·p]` in -1..1. In a patch stand colours, then columns, then rows.
fn to_patches(frame: &Tensor, patch: usize) -> Result<Tensor> {
    let [height, width, colours] = frame.dims_of("wan_vae encode", "[H, W, 3]")?;
    let dims = [1, height / patch, width / patch, colours * patch * patch];
    let (mut out, values) = (frame.uninit_like(dims)?, frame.as_slice());
    let columns = dims[2];
    for (i, pixel) in out.as_mut_slice().chunks_exact_mut(dims[3]).enumerate() {
        for (j, value) in pixel.iter_mut().enumerate() {
            let (colour, dx, dy) = (j / (patch * patch), j / patch % patch, j % patch);
            let (y, x) = (i / columns * patch + dy, i % columns * patch + dx);
            *value = values[(y * width + x) * colours + colour] * 2.0 - 1.0;
        }
    }
    Ok(out)
}

/// The reverse of [`to_patches`], clamped to 0..1.
fn from_patches(pixels: &Tensor, patch: usize) -> Result<Tensor> {
    let [_, rows, columns, channels] = pixels.dims_of("wan_vae decode", "[1, H, W, C]")?;
    let colours = channels / (patch * patch);
    let width = columns * patch;
    let (mut out, values) = (pixels.uninit_like([rows * patch, width, colours])?, pixels.as_slice());
    for (i, pixel) in out.as_mut_slice().chunks_exact_mut(colours).enumerate() {
        let (y, x) = (i / width, i % width);
        let from = &values[(y / patch * columns + x / patch) * channels..][..channels];
        for (colour, value) in pixel.iter_mut().enumerate() {
            let v = from[(colour * patch + x % patch) * patch + y % patch];
            *value = (v.clamp(-1.0, 1.0) + 1.0) * 0.5;
        }
    }
    Ok(out)
}
