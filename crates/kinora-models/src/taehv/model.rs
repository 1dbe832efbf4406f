//! The tiny autoencoder: frames to latents and back, streamed.
//!
//! **Source**: madebyollin/taehv (MIT), <https://github.com/madebyollin/taehv>, `taehv.py`, variants "taew2_2" (latents
//! of Wan 2.2: 48 channels, 16×16 pixels and 4 frames to a latent) and "taew2_1" (of Wan 2.1: 16 channels, 8×8 pixels).
//!
//! **Flow**, encode: frames `[H,W,3]` in 0..1, the first one three times more in front → pixel unshuffle → three stages of
//! (temporal pool, stride-2 convolution, three MemBlocks) → latent `[C,h,w]`, normalised by mean and deviation.
//! Decode: the reverse, with nearest-neighbour upsampling; the first three frames are dropped, values clamped to 0..1.
//!
//! **Numerics**: f32 throughout; each MemBlock sees the frame before it (zeros before the first), so the result does
//! not depend on how a clip is cut into pushes. Frames are channels-last in memory.

use kinora_kernels::{Activation, Precision, pixel_shuffle, pixel_unshuffle};
use kinora_tensor::Tensor;
use kinora_weights::{Checkpoint, Reader};

use super::config::Config;
use super::layers::{Layer, Memory};
use crate::{Error, Result};

/// MemBlocks in one stage.
const BLOCKS_PER_STAGE: usize = 3;

/// The autoencoder with its weights.
pub struct Taehv {
    config: Config,
    /// `None` if the checkpoint has a decoder only.
    encoder: Option<Vec<Layer>>,
    decoder: Vec<Layer>,
}

impl Taehv {
    /// Reads every tensor of `checkpoint`; the reader packs convolutions in `precision`.
    ///
    /// **Errors**: a tensor that is missing, has another shape, or that nothing reads.
    pub fn load(checkpoint: &Checkpoint, config_json: &str, precision: Precision) -> Result<Self> {
        Self::load_as(checkpoint, Config::from_json(config_json)?, precision)
    }

    /// As [`Taehv::load`], for checkpoints that come without a config; see [`Config::of_checkpoint`].
    ///
    /// **Errors**: as there.
    pub fn load_as(checkpoint: &Checkpoint, config: Config, precision: Precision) -> Result<Self> {
        config.validate()?;
        let reader = checkpoint.reader().with_precision(precision);
        let encoder = reader.at("encoder");
        let encoder = encoder
            .has("0.weight")
            .then(|| load_encoder(&encoder, &config))
            .transpose()?;
        let decoder = load_decoder(&reader.at("decoder"), &config)?;
        reader.finish(&[])?;
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
        (latent_frames * self.config.temporal_factor()).saturating_sub(self.padding_frames())
    }

    /// Starts a clip to decode.
    pub fn decoder(&self) -> Decoder<'_> {
        Decoder {
            vae: self,
            memory: Memory::new(&self.decoder),
            to_drop: self.padding_frames(),
        }
    }

    /// Starts a clip to encode.
    pub fn encoder(&self) -> Encoder<'_> {
        Encoder {
            vae: self,
            memory: Memory::new(self.encoder.as_deref().unwrap_or_default()),
            started: false,
        }
    }

    #[cfg(test)]
    pub(super) fn decoder_layers(&self) -> &[Layer] {
        &self.decoder
    }

    /// Frames that stand in front of the first one so that it fills a latent frame of its own.
    fn padding_frames(&self) -> usize {
        self.config.temporal_factor() - 1
    }
}

fn load_encoder(reader: &Reader, config: &Config) -> Result<Vec<Layer>> {
    let width = config.encoder_width;
    let pixels = config.image_channels * config.patch_size * config.patch_size;
    let mut layers = vec![Layer::Conv(
        reader.conv2d("0", width, pixels, 3, 1, true)?,
        Activation::Relu,
    )];
    let mut place = 2;
    for halves in config.encoder_time_downscale {
        layers.push(Layer::temporal_pool(reader, place, width, halves)?);
        let stride_conv = reader.conv2d(&(place + 1).to_string(), width, width, 3, 2, false)?;
        layers.push(Layer::Conv(stride_conv, Activation::None));
        for block in 0..BLOCKS_PER_STAGE {
            layers.push(Layer::mem_block(reader, place + 2 + block, width, width)?);
        }
        place += 2 + BLOCKS_PER_STAGE;
    }
    let out = reader.conv2d(&place.to_string(), config.latent_channels, width, 3, 1, true)?;
    layers.push(Layer::Conv(out, Activation::None));
    Ok(layers)
}

fn load_decoder(reader: &Reader, config: &Config) -> Result<Vec<Layer>> {
    let widths = config.decoder_widths;
    let mut layers = vec![
        Layer::Activate(Activation::SoftClamp3),
        Layer::Conv(
            reader.conv2d("1", widths[0], config.latent_channels, 3, 1, true)?,
            Activation::Relu,
        ),
    ];
    let mut place = 3;
    for (stage, doubles) in config.decoder_time_upscale.into_iter().enumerate() {
        let (width, next_width) = (widths[stage], widths[stage + 1]);
        for block in 0..BLOCKS_PER_STAGE {
            layers.push(Layer::mem_block(reader, place + block, width, width)?);
        }
        place += BLOCKS_PER_STAGE;
        // The checkpoint counts the upsampling first; a 1×1 convolution gives the same before it, at a quarter of the work.
        layers.push(Layer::temporal_grow(reader, place + 1, width, doubles)?);
        // The activation after the last stage stands behind its convolution in the checkpoint's count.
        let activation = if stage == 2 { Activation::Relu } else { Activation::None };
        let conv = reader.conv2d(&(place + 2).to_string(), next_width, width, 3, 1, false)?;
        layers.push(Layer::UpsampledConv(conv, activation));
        place += 3;
    }
    let pixels = config.image_channels * config.patch_size * config.patch_size;
    let out = reader.conv2d(&(place + 1).to_string(), pixels, widths[3], 3, 1, true)?;
    layers.push(Layer::Conv(out, Activation::None));
    Ok(layers)
}

/// A clip being decoded: latent frames in, frames out.
pub struct Decoder<'a> {
    vae: &'a Taehv,
    memory: Memory,
    to_drop: usize,
}

impl Decoder<'_> {
    /// Decodes the next latent frame and hands each finished frame to `emit`: one for the first latent frame, then
    /// [`Config::temporal_factor`] for each.
    ///
    /// **Shapes**: `latents [1, C, F, h, w]` (normalised), of which frame `index` is decoded → frames `[H, W, 3]`.
    /// **Range**: 0..1.
    pub fn push(&mut self, latents: &Tensor, index: usize, emit: &mut dyn FnMut(Tensor) -> Result<()>) -> Result<()> {
        let frame = self.vae.config.scale().denormalise("taehv decode", latents, index)?; // [1, h, w, C]
        let (vae, to_drop) = (self.vae, &mut self.to_drop);
        self.memory.push(&vae.decoder, frame, &mut |pixels| {
            if *to_drop > 0 {
                *to_drop -= 1;
                return Ok(());
            }
            let mut frame = pixel_shuffle(&pixels, vae.config.patch_size)?; // [1, H, W, 3]
            frame.as_mut_slice().iter_mut().for_each(|v| *v = v.clamp(0.0, 1.0));
            let [_, height, width, channels] = frame.dims_of("taehv decode", "[1, H, W, 3]")?;
            emit(frame.reshape([height, width, channels])?)
        })
    }
}

/// A clip being encoded: frames in, latent frames out.
pub struct Encoder<'a> {
    vae: &'a Taehv,
    memory: Memory,
    started: bool,
}

impl Encoder<'_> {
    /// Encodes the next frame and hands each finished latent frame to `emit`: one after the first frame, then one
    /// after every [`Config::temporal_factor`] frames.
    ///
    /// **Shapes**: `frame [H, W, 3]` in 0..1, both sides multiples of [`Config::spatial_factor`] → `[C, h, w]`,
    /// normalised. **Errors**: other shapes; a checkpoint without an encoder.
    pub fn push(&mut self, frame: &Tensor, emit: &mut dyn FnMut(Tensor) -> Result<()>) -> Result<()> {
        let config = &self.vae.config;
        let layers = self.vae.encoder.as_deref().ok_or(Error::NoEncoder)?;
        let [height, width, channels] = frame.dims_of("taehv encode", "[H, W, 3]")?;
        let factor = config.spatial_factor();
        if channels != config.image_channels || height % factor != 0 || width % factor != 0 || frame.elements() == 0 {
            return Err(frame
                .mismatch("taehv encode", format!("[H, W, 3] with sides in multiples of {factor}"))
                .into());
        }
        let repeats = if self.started { 1 } else { 1 + self.vae.padding_frames() };
        self.started = true;
        for _ in 0..repeats {
            let pixels = frame.try_clone()?.reshape([1, height, width, channels])?;
            let pixels = pixel_unshuffle(&pixels, config.patch_size)?;
            self.memory.push(layers, pixels, &mut |latent| {
                emit(config.scale().normalise("taehv encode", &latent)?)
            })?;
        }
        Ok(())
    }
}
