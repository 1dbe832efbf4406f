//! What each stage holds: the shapes of a network's largest moment, added up.

use kinora_kernels::Precision;
use kinora_media::Format;
use kinora_models::wan::memory::Step;
use kinora_models::wan::{self, LoadOptions};
use kinora_models::wan_vae::Tiling;
use kinora_models::{clip_vision, taehv, umt5, wan_vae};
use kinora_weights::Checkpoint;

use super::{GuidanceMode, Networks, TextSize, Way, WeightsMode};
use crate::Result;
use crate::diffuse::{WINDOW_FRAMES, cache_options};
use crate::model::VaeConfig;
use crate::plan::{Plan, Task};
use crate::report::SizeRecord;
use crate::request::Size;

/// What map, diffuse and render add at most.
///
/// **Errors**: a `KINORA_KERNELS` that names no path of this machine.
pub(super) fn stages(networks: Networks<'_>, plan: &Plan, format: Format, way: Way) -> Result<[u64; 3]> {
    let Size { width_px, height_px } = plan.size.generated;
    let factor = networks.vae.spatial_factor();
    let [height, width] = [height_px as usize / factor, width_px as usize / factor];
    let frames = plan.segments.iter().map(|s| s.latent_frames).max().unwrap_or(1) + plan.references;
    let run = Run {
        networks,
        way,
        grid: [frames, height, width],
        encodes: plan.encodes_frames(),
        has_picture: plan.segments.iter().any(|s| s.prefix_latent_frames > 0),
    };
    let channels = networks.vae.latent_channels();
    let context = run.text_tokens_bytes() + run.latents_bytes(channels, plan.kept_latent_frames);
    // A second clip that is mixed in; what is held in place and the noise that it is shown at.
    let (mixed, held) = match plan.task {
        Task::Blend => (1, 2),
        Task::Loop => (0, 2),
        _ => (0, 0),
    };
    let frames_beside = frames_in_memory(plan, &networks);
    Ok([
        run.map_bytes()? + context + run.latents_bytes(mixed * channels, frames) + frames_beside,
        run.diffuse_bytes()? + context + run.latents_bytes(held * channels, frames) + frames_beside,
        run.render_bytes()? + writer_bytes(&plan.size, format) + context + frames_beside,
    ])
}

/// Frames of clips that are made anew or mixed: they wait until their part comes.
fn frames_in_memory(plan: &Plan, networks: &Networks<'_>) -> u64 {
    let clips = match plan.task {
        Task::VideoToVideo => 1,
        Task::Blend => 2,
        _ => return 0,
    };
    let Size { width_px, height_px } = plan.size.generated;
    let surplus = networks.vae.temporal_factor();
    (clips * (plan.new_frames + surplus) * width_px as usize * height_px as usize * 3) as u64
}

/// What decoding latents of `grid` (frames, rows, columns) and writing them adds, where nothing else is loaded.
///
/// **Errors**: as [`stages`].
pub(super) fn decoding(
    networks: Networks<'_>,
    grid: [usize; 3],
    size: &SizeRecord,
    format: Format,
    tile_px: Option<u32>,
) -> Result<u64> {
    let run = Run {
        networks,
        way: Way {
            weights: WeightsMode::Staged,
            guidance: GuidanceMode::Off,
            tile_px,
        },
        grid,
        encodes: false,
        has_picture: false,
    };
    Ok(run.render_bytes()? + writer_bytes(size, format))
}

/// One way to make one part.
struct Run<'a> {
    networks: Networks<'a>,
    way: Way,
    /// Latent frames, rows and columns.
    grid: [usize; 3],
    /// Whether frames are encoded.
    encodes: bool,
    /// Whether the part starts from given frames.
    has_picture: bool,
}

impl Run<'_> {
    /// Embedding the text, then encoding what is given.
    fn map_bytes(&self) -> Result<u64> {
        let text = match self.networks.text {
            TextSize::Loaded => 0,
            TextSize::Umt5(config) => {
                let tokens = self.networks.text_tokens;
                umt5::memory::embed_bytes(config, &[tokens, tokens], Precision::F32)
            }
        };
        if !self.encodes {
            return Ok(text);
        }
        let [frames, height, width] = self.grid;
        let encoding = match self.networks.vae {
            VaeConfig::Taehv(config) => encoder_bytes(config, [height, width]),
            VaeConfig::Wan(config) => wan_vae::memory::encode_bytes(config, [height, width], self.networks.precision)?,
        };
        // Latents as they come and stacked, for each of the clips that is encoded; pictures that wait are small beside it.
        let clips = if self.networks.transformer.vace_layers.is_some() {
            6
        } else {
            3
        };
        let latents = clips * self.latents_bytes(self.networks.vae.latent_channels(), frames);
        let picture = self.pictures().map_or(0, |(encoder, pictures)| {
            clip_vision::memory::embed_bytes(encoder, pictures, Precision::F32)
        });
        Ok(text.max(picture).max(self.vae_weights(true)? + encoding + latents))
    }

    fn diffuse_bytes(&self) -> Result<u64> {
        let Networks {
            transformer, precision, ..
        } = self.networks;
        let [frames, height, width] = self.grid;
        let [patch_frames, rows, columns] = transformer.patch_size;
        let (batch, contexts) = match self.way.guidance {
            GuidanceMode::Off => (1, 1),
            GuidanceMode::Batched => (2, 1),
            GuidanceMode::Sequential => (1, 2),
        };
        let options = match self.way.weights {
            WeightsMode::Streamed => LoadOptions::streamed(precision),
            _ => precision.into(),
        };
        let (token_rows, token_columns) = (height / rows, width / columns);
        // A causal model sees the frames before its block through a cache.
        let at_once = self.networks.block_frames.unwrap_or(frames).min(frames);
        let cached_frames = frames.min(WINDOW_FRAMES) - at_once.min(WINDOW_FRAMES);
        let step = Step {
            token_grid: [at_once / patch_frames, token_rows, token_columns],
            batch,
            text_tokens: self.networks.text_tokens,
            image_tokens: self
                .pictures()
                .map_or(0, |(encoder, pictures)| pictures * encoder.tokens()),
            options,
            control: transformer.vace_layers.is_some(),
            cached_frames: if self.networks.block_frames.is_some() {
                cached_frames
            } else {
                0
            },
        };
        let text = wan::memory::context_bytes(transformer, batch, step.text_tokens, step.image_tokens, options);
        let element = cache_options(precision, frames).element;
        let cache =
            wan::memory::kv_cache_bytes(transformer, [token_rows, token_columns], step.cached_frames, 1, element);
        let activations = wan::memory::step_bytes(transformer, &step) + contexts * text + cache;
        let channels = self.networks.vae.latent_channels();
        // Noise, the sampler's state and the predictions; what the model is shown; what is known or controls.
        let shown = batch * (transformer.in_channels + transformer.out_channels());
        let beside = (transformer.in_channels - channels.min(transformer.in_channels))
            + transformer.vace_in_channels.unwrap_or(0);
        let latents = self.latents_bytes(4 * channels + 2 * shown + beside, frames);
        let around = match self.way.weights {
            WeightsMode::Kept if self.encodes => self.vae_weights(true)?,
            _ => 0,
        };
        // Its frames are decoded between two blocks.
        let decoding = match self.networks.block_frames {
            Some(_) => self.decoder_bytes()? + self.vae_weights(true)?,
            None => 0,
        };
        Ok(activations as u64 + latents + self.transformer_weights() + around.max(decoding))
    }

    fn render_bytes(&self) -> Result<u64> {
        let [frames, ..] = self.grid;
        let decoding = self.decoder_bytes()?;
        let kept = match self.way.weights {
            WeightsMode::Kept => self.transformer_weights(),
            _ => 0,
        };
        let latents = self.latents_bytes(self.networks.vae.latent_channels(), frames);
        // A tiny decoder weighs next to nothing.
        let vae = match (self.networks.decoder, self.way.weights) {
            (_, WeightsMode::Kept) => self.vae_weights(true)?,
            (VaeConfig::Wan(_), _) => self.vae_weights(false)?,
            (VaeConfig::Taehv(_), _) => 0,
        };
        Ok(latents + decoding + kept + vae)
    }

    fn decoder_bytes(&self) -> Result<u64> {
        let [_, height, width] = self.grid;
        Ok(match self.networks.decoder {
            VaeConfig::Taehv(config) => decoder_bytes(config, [height, width]),
            VaeConfig::Wan(config) => {
                let tiling = self
                    .way
                    .tile_px
                    .map_or(Tiling::Whole, |side| Tiling::Halo { tile_px: side as usize });
                wan_vae::memory::decode_bytes(config, [height, width], tiling, self.networks.precision)?
            }
        })
    }

    /// The image encoder and how many pictures it sees, if it sees any.
    fn pictures(&self) -> Option<(&clip_vision::Config, usize)> {
        let both = self.networks.transformer.pos_embed_seq_len.is_some();
        let encoder = self.networks.image_encoder.filter(|_| self.has_picture)?;
        Some((encoder, if both { 2 } else { 1 }))
    }

    fn latents_bytes(&self, channels: usize, frames: usize) -> u64 {
        let [_, height, width] = self.grid;
        (FLOAT * channels * frames * height * width) as u64
    }

    /// What a large text encoder gave, for both texts, as long as the run lasts.
    fn text_tokens_bytes(&self) -> u64 {
        if matches!(self.networks.text, TextSize::Loaded) {
            return 0;
        }
        (2 * FLOAT * self.networks.text_tokens * self.networks.transformer.text_dim) as u64
    }

    /// Weights that are not in memory before the run.
    fn transformer_weights(&self) -> u64 {
        let Networks {
            transformer,
            precision,
            experts,
            ..
        } = self.networks;
        let bytes = match self.way.weights {
            _ if self.networks.is_loaded => 0,
            WeightsMode::Kept => experts * wan::memory::resident_bytes(transformer, precision),
            WeightsMode::Staged => wan::memory::resident_bytes(transformer, precision),
            WeightsMode::Streamed => wan::memory::streamed_bytes(transformer, precision),
        };
        bytes as u64
    }

    fn vae_weights(&self, with_encoder: bool) -> Result<u64> {
        match self.networks.vae {
            VaeConfig::Wan(config) if !self.networks.is_loaded => Ok(wan_vae::memory::weights_bytes(
                config,
                self.networks.precision,
                with_encoder,
            )?),
            _ => Ok(0),
        }
    }
}

/// Bytes that the layers of a checkpoint take once they are packed: `layers` names the part that is packed in
/// `precision`; the rest is f32. `left_in_file` is read where it lies.
pub(crate) fn packed_bytes(checkpoint: &Checkpoint, layers: &str, precision: Precision, left_in_file: &str) -> u64 {
    let packed = |name: &str| {
        let elements: usize = checkpoint.get(name).map_or(0, |tensor| tensor.shape.iter().product());
        let is_matrix = checkpoint.get(name).is_some_and(|tensor| tensor.shape.len() > 1);
        let bytes = match precision {
            Precision::Int8 if is_matrix && name.starts_with(layers) => 1,
            Precision::Bf16 if is_matrix && name.starts_with(layers) => 2,
            _ => 4,
        };
        (elements * bytes) as u64
    };
    checkpoint
        .names()
        .filter(|name| *name != left_in_file)
        .map(packed)
        .sum()
}

const FLOAT: usize = size_of::<f32>();

/// What decoding holds at most: the frames that each layer remembers, and those on their way through it.
fn decoder_bytes(config: &taehv::Config, [height, width]: [usize; 2]) -> u64 {
    let mut area = height * width;
    let mut floats = area * (config.latent_channels + config.decoder_widths[0]);
    for stage in 0..3 {
        let (channels, next) = (config.decoder_widths[stage], config.decoder_widths[stage + 1]);
        // Three blocks with the frame before each, and two more inside of one.
        floats += 5 * area * channels;
        // Grown in time and split; then the convolution that enlarges.
        let grown = if config.decoder_time_upscale[stage] { 4 } else { 1 };
        floats += area * channels * grown;
        if config.decoder_space_upscale[stage] {
            area *= 4;
        }
        floats += area * next;
    }
    let pixels = area * config.patch_size * config.patch_size * config.image_channels;
    // Before and after the shuffle, and the frames of a latent that wait to be written.
    floats += pixels * (1 + config.temporal_factor());
    (FLOAT * floats) as u64
}

/// What encoding a given picture or the end of a clip holds at most.
fn encoder_bytes(config: &taehv::Config, [height, width]: [usize; 2]) -> u64 {
    let factor = config.spatial_factor();
    let pixels = height * width * factor * factor * config.image_channels;
    let mut area = height * width * 64;
    // The frame, scaled and unshuffled.
    let mut floats = 3 * pixels + 2 * area * config.encoder_width;
    for halves in config.encoder_time_downscale {
        floats += area * config.encoder_width * if halves { 2 } else { 1 };
        area /= 4;
        floats += 6 * area * config.encoder_width;
    }
    (FLOAT * floats) as u64
}

/// What interpolating, scaling and writing hold at most.
fn writer_bytes(size: &SizeRecord, format: Format) -> u64 {
    let area = |size: Size| u64::from(size.width_px) * u64::from(size.height_px);
    let (generated, written) = (area(size.generated), area(size.written));
    // The H.264 encoder looks ahead over many frames.
    let bytes_a_pixel = match format {
        Format::Mp4 => 60,
        _ => 20,
    };
    generated * 40 + written * bytes_a_pixel
}

#[cfg(test)]
mod tests {
    use kinora_media::Frame;
    use kinora_tensor::{Arena, Tensor};
    use kinora_weights::ModelFolder;

    use super::*;
    use crate::diffuse;
    use crate::map::encode_frames;
    use crate::model::Model;

    /// Everything that the arena has taken from the system since it was made.
    fn held(arena: &Arena) -> u64 {
        let stats = arena.stats();
        (stats.live_bytes + stats.free_bytes) as u64
    }

    fn assert_near(what: &str, estimate: u64, measured: u64) {
        let ratio = estimate as f64 / measured as f64;
        println!("{what}: {estimate} estimated, {measured} measured, {ratio:.2}");
        assert!(
            (0.9..1.25).contains(&ratio),
            "{what}: {estimate} estimated, {measured} measured"
        );
    }

    #[test]
    fn estimates_are_near_what_the_networks_take() {
        let grid @ [frames, height, width] = [4, 12, 16];
        let size = Size::new(256, 192).unwrap();
        for precision in [Precision::F32, Precision::Int8] {
            let model = Model::open(
                &ModelFolder::embedded_toybox().unwrap(),
                precision,
                &crate::OpenOptions::default(),
            )
            .unwrap();
            let vae = model.vae.get(crate::model::VaeHalf::Both).unwrap();
            let VaeConfig::Taehv(vae_config) = &model.vae_config else {
                panic!("Toybox has a tiny autoencoder")
            };
            let networks = Networks {
                transformer: &model.transformer_config,
                vae: &model.vae_config,
                decoder: &model.vae_config,
                text: TextSize::Loaded,
                text_tokens: 64,
                image_encoder: None,
                experts: 1,
                block_frames: None,
                is_loaded: true,
                precision,
            };
            let run = |guidance| Run {
                networks,
                way: Way {
                    weights: WeightsMode::Kept,
                    guidance,
                    tile_px: None,
                },
                grid,
                encodes: false,
                has_picture: false,
            };
            for mode in [GuidanceMode::Off, GuidanceMode::Batched, GuidanceMode::Sequential] {
                let arena = Arena::new();
                diffuse::one_step(&model, &arena, grid, mode);
                let estimate = run(mode).diffuse_bytes().unwrap();
                assert_near(&format!("{precision:?}, {mode:?}"), estimate, held(&arena));
            }

            let arena = Arena::new();
            let latents = Tensor::zeros_in(&arena, [1, 48, frames, height, width]).unwrap();
            let mut decoder = vae.decoder(None).unwrap();
            for index in 0..frames {
                drop(decoder.push(&latents, index).unwrap());
            }
            let estimate = run(GuidanceMode::Off).render_bytes().unwrap();
            assert_near(&format!("{precision:?}, decoding"), estimate, held(&arena));

            let arena = Arena::new();
            let picture = vec![Frame::filled(size.width_px, size.height_px, [9, 99, 200]).unwrap(); 9];
            let prefix = encode_frames(&vae, &arena, &picture, size).unwrap();
            assert_eq!(prefix.dims(), &[1, 48, 3, height, width]);
            let estimate = encoder_bytes(vae_config, [height, width]);
            assert_near(&format!("{precision:?}, encoding"), estimate, held(&arena));
        }
    }
}
