//! What each stage holds: the shapes of a network's largest moment, added up.

use kinora_kernels::{AttentionMode, Precision};
use kinora_media::Format;
use kinora_models::{taehv, wan};
use kinora_weights::Checkpoint;

use super::{GuidanceMode, Networks, Way};
use crate::model::VaeConfig;
use crate::plan::Plan;
use crate::request::Size;

/// What map, diffuse and render add at most.
pub(super) fn stages(networks: Networks<'_>, plan: &Plan, format: Format, way: Way) -> [u64; 3] {
    let Size { width_px, height_px } = plan.size.generated;
    let factor = networks.vae.spatial_factor();
    let [height, width] = [height_px as usize / factor, width_px as usize / factor];
    let frames = plan.segments.iter().map(|s| s.latent_frames).max().unwrap_or(1);
    let grid = [frames, height, width];
    let VaeConfig::Taehv(vae) = networks.vae;
    let map_bytes = match plan.segments.iter().any(|s| s.prefix_latent_frames > 0) {
        true => encoder_bytes(vae, [height, width]),
        false => 0,
    };
    let diffuse_bytes = transformer_bytes(networks, grid, way.guidance);
    let render_bytes =
        latents_bytes(networks.transformer, grid) + decoder_bytes(vae, [height, width]) + writer_bytes(plan, format);
    [map_bytes, diffuse_bytes, render_bytes]
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

/// Latents `[1, C, F, h, w]`.
fn latents_bytes(config: &wan::Config, [frames, height, width]: [usize; 3]) -> u64 {
    (FLOAT * config.in_channels * frames * height * width) as u64
}

/// What a denoising step holds at most.
fn transformer_bytes(networks: Networks<'_>, grid: [usize; 3], guidance: GuidanceMode) -> u64 {
    let (config, latents) = (networks.transformer, latents_bytes(networks.transformer, grid));
    let (batch, texts) = match guidance {
        GuidanceMode::Off => (1, 1),
        GuidanceMode::Batched => (2, 2),
        GuidanceMode::Sequential => (1, 2),
    };
    let tokens = batch * grid.iter().product::<usize>() / config.patch_volume().max(1);
    let (width, ffn) = (config.width(), config.ffn_dim);
    // In a block: the tokens, q, k, v and what attention makes of them; keys and values packed for it; the inner width of
    // the feed-forward layer. Buffers of different sizes do not stand in for each other.
    let packed = match networks.precision.attention_mode() {
        AttentionMode::Exact => 2 * width,
        _ => width,
    };
    let block = FLOAT * tokens * (5 * width + packed + ffn);
    let texts = FLOAT * texts * networks.text_tokens * 2 * config.num_layers * width;
    // Noise, the sampler's state, and the latents, predictions and patches of the batch.
    latents * (4 + 4 * batch as u64) + (block + texts) as u64
}

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
fn writer_bytes(plan: &Plan, format: Format) -> u64 {
    let area = |size: Size| u64::from(size.width_px) * u64::from(size.height_px);
    let (generated, written) = (area(plan.size.generated), area(plan.size.written));
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
            let model = Model::open(&ModelFolder::embedded_toybox().unwrap(), precision).unwrap();
            let vae = model.vae.get(()).unwrap();
            let VaeConfig::Taehv(vae_config) = &model.vae_config;
            let networks = Networks {
                transformer: &model.transformer_config,
                vae: &model.vae_config,
                text_tokens: 64,
                precision,
            };
            for mode in [GuidanceMode::Off, GuidanceMode::Batched, GuidanceMode::Sequential] {
                let arena = Arena::new();
                diffuse::one_step(&model, &arena, grid, mode);
                let estimate = transformer_bytes(networks, grid, mode);
                assert_near(&format!("{precision:?}, {mode:?}"), estimate, held(&arena));
            }

            let arena = Arena::new();
            let latents = Tensor::zeros_in(&arena, [1, 48, frames, height, width]).unwrap();
            let mut decoder = vae.decoder();
            for index in 0..frames {
                drop(decoder.push(&latents, index).unwrap());
            }
            let estimate = latents_bytes(&model.transformer_config, grid) + decoder_bytes(vae_config, [height, width]);
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
