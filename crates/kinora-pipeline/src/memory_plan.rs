//! How much memory a run will hold, before it starts: pure functions of the models' configs and the plan.
//!
//! The model itself is in memory when a run is planned, so its size is measured; what comes on top is estimated here.
//! The stages follow each other and give their buffers back between them, so the largest one decides. Within limits,
//! guidance runs both predictions as one batch; where that does not fit, one after the other; where that does not fit
//! either, the run is refused with a request that would fit.

use kinora_kernels::{AttentionMode, Precision};
use kinora_media::Format;
use kinora_models::{taehv, wan};
use kinora_weights::Checkpoint;
use serde::{Deserialize, Serialize};

use crate::description::Description;
use crate::memory::MemoryLimit;
use crate::plan::{Plan, Segment};
use crate::request::Size;
use crate::{Error, Result};

/// How the two predictions of guidance are made. All give the same numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuidanceMode {
    /// There is one prediction only: guidance is off.
    Off,
    /// Both as one batch: faster, and twice the activations.
    Batched,
    /// One after the other.
    Sequential,
}

impl GuidanceMode {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Batched => "batched",
            Self::Sequential => "sequential",
        }
    }
}

/// What a run is expected to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryPlan {
    /// How guidance runs.
    pub guidance: GuidanceMode,
    /// The process with its loaded model, before the run.
    pub loaded_bytes: u64,
    /// What the encoder adds for given frames.
    pub map_bytes: u64,
    /// What a denoising step adds.
    pub diffuse_bytes: u64,
    /// What decoding and writing add.
    pub render_bytes: u64,
    /// The most at one time.
    pub peak_bytes: u64,
    /// What the run may hold, if anybody limits it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<MemoryLimit>,
}

/// What the estimate needs to know of a loaded model.
#[derive(Clone, Copy)]
pub(crate) struct Networks<'a> {
    pub(crate) transformer: &'a wan::Config,
    pub(crate) vae: &'a taehv::Config,
    pub(crate) text_tokens: usize,
    pub(crate) precision: Precision,
}

/// What the process holds before the run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Loaded {
    /// Now.
    pub(crate) bytes: u64,
    /// At most so far: loading may have held more than its result.
    pub(crate) peak_bytes: u64,
}

impl MemoryPlan {
    /// The fastest way to carry out `plan` within `limit`.
    ///
    /// **Errors**: [`Error::Memory`] if no way fits, naming what would.
    pub(crate) fn choose(
        networks: Networks<'_>,
        plan: &Plan,
        model: &Description,
        format: Format,
        loaded: Loaded,
        limit: Option<MemoryLimit>,
    ) -> Result<Self> {
        let of = |plan: &Plan, mode| Self::estimate(networks, plan, format, loaded, mode, limit);
        let (fastest, smallest) = match plan.guidance_scale == 1.0 {
            true => (GuidanceMode::Off, GuidanceMode::Off),
            false => (GuidanceMode::Batched, GuidanceMode::Sequential),
        };
        let Some(limit) = limit else {
            return Ok(of(plan, fastest));
        };
        let fits = |estimate: &Self| estimate.peak_bytes <= limit.bytes;
        if let Some(fitting) = [fastest, smallest].map(|mode| of(plan, mode)).into_iter().find(fits) {
            return Ok(fitting);
        }
        let needed_bytes = of(plan, smallest).peak_bytes;
        let smaller = smaller_plans(plan, model).into_iter();
        let hint = match smaller.into_iter().find(|(_, plan)| fits(&of(plan, smallest))) {
            Some((flags, _)) => format!("{flags} would fit"),
            None => hint_to_allow(needed_bytes, networks.precision),
        };
        Err(Error::Memory {
            needed_bytes,
            limit_bytes: limit.bytes,
            from: limit.from.name(),
            hint,
        })
    }

    /// What `plan` holds with guidance in `mode`.
    fn estimate(
        networks: Networks<'_>,
        plan: &Plan,
        format: Format,
        loaded: Loaded,
        guidance: GuidanceMode,
        limit: Option<MemoryLimit>,
    ) -> Self {
        let Size { width_px, height_px } = plan.size.generated;
        let factor = networks.vae.spatial_factor();
        let [height, width] = [height_px as usize / factor, width_px as usize / factor];
        let frames = plan.segments.iter().map(|s| s.latent_frames).max().unwrap_or(1);
        let grid = [frames, height, width];
        let map_bytes = match plan.segments.iter().any(|s| s.prefix_latent_frames > 0) {
            true => encoder_bytes(networks.vae, [height, width]),
            false => 0,
        };
        let diffuse_bytes = transformer_bytes(networks, grid, guidance);
        let render_bytes = latents_bytes(networks.transformer, grid)
            + decoder_bytes(networks.vae, [height, width])
            + writer_bytes(plan, format);
        let stage_bytes = map_bytes.max(diffuse_bytes).max(render_bytes);
        Self {
            guidance,
            loaded_bytes: loaded.bytes,
            map_bytes,
            diffuse_bytes,
            render_bytes,
            peak_bytes: loaded.peak_bytes.max(loaded.bytes + stage_bytes),
            limit,
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

/// Requests for less, the largest first, as the flags that ask for them.
fn smaller_plans(plan: &Plan, model: &Description) -> Vec<(String, Plan)> {
    let most = plan.segments.iter().map(|s| s.latent_frames).max().unwrap_or(1);
    let prefix = plan.segments.iter().map(|s| s.prefix_latent_frames).max().unwrap_or(0);
    let area = |size: Size| u64::from(size.width_px) * u64::from(size.height_px);
    let mut sizes: Vec<Size> = model.sizes.clone();
    sizes.retain(|&size| area(size) < area(plan.size.written) && area(size) <= area(plan.size.generated));
    sizes.sort_by_key(|&size| std::cmp::Reverse(area(size)));
    let at = |size: Size, plan: &Plan| {
        let mut smaller = plan.clone();
        (smaller.size.generated, smaller.size.written) = (size, size);
        (format!("--size {size}"), smaller)
    };
    let shorter = |latent_frames: usize| {
        let mut shorter = plan.clone();
        shorter.segments = vec![Segment {
            latent_frames,
            prefix_latent_frames: prefix,
        }];
        (format!("--frames {}", model.frames_of(latent_frames)), shorter)
    };
    let lengths: Vec<_> = (prefix + 1..most).rev().filter(|&n| n > 1).map(shorter).collect();
    let both = sizes.iter().flat_map(|&size| {
        lengths.iter().map(move |(frames, plan)| {
            let (size, plan) = at(size, plan);
            (format!("{size} {frames}"), plan)
        })
    });
    let smaller: Vec<_> = sizes.iter().map(|&size| at(size, plan)).collect();
    smaller.into_iter().chain(lengths.iter().cloned()).chain(both).collect()
}

/// Refuses a model that alone is more than `limit`, before it is read.
///
/// **Errors**: [`Error::Memory`].
pub(crate) fn check_model(needed_bytes: u64, precision: Precision, limit: Option<MemoryLimit>) -> Result<()> {
    match limit.filter(|limit| limit.bytes < needed_bytes) {
        None => Ok(()),
        Some(limit) => Err(Error::Memory {
            needed_bytes,
            limit_bytes: limit.bytes,
            from: limit.from.name(),
            hint: hint_to_allow(needed_bytes, precision),
        }),
    }
}

fn hint_to_allow(needed_bytes: u64, precision: Precision) -> String {
    // Some air: the same model does not take the same memory to the byte each time it is loaded.
    let megabytes = (needed_bytes + needed_bytes / 50).div_ceil(1_000_000);
    let allow = format!("--max-memory {megabytes}MB or more, if the machine has it");
    match precision {
        Precision::Int8 => allow,
        _ => format!("{allow}; --precision int8 needs less"),
    }
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
    use crate::memory::LimitSource;
    use crate::request::{Length, Request};

    const LOADED: Loaded = Loaded {
        bytes: 300_000_000,
        peak_bytes: 310_000_000,
    };

    struct Toybox {
        transformer: wan::Config,
        vae: taehv::Config,
    }

    impl Toybox {
        fn new() -> Self {
            let folder = ModelFolder::embedded_toybox().unwrap();
            Self {
                transformer: wan::Config::from_json(&folder.config("transformer").unwrap()).unwrap(),
                vae: taehv::Config::from_json(&folder.config("vae").unwrap()).unwrap(),
            }
        }

        fn choose(&self, limit: Option<u64>, change: impl FnOnce(&mut Request)) -> Result<MemoryPlan> {
            let networks = Networks {
                transformer: &self.transformer,
                vae: &self.vae,
                text_tokens: 64,
                precision: Precision::F32,
            };
            let mut request = Request::new("a cat", "cat.mp4", Format::Mp4);
            request.guidance_scale = Some(5.0);
            change(&mut request);
            let model = Description::toybox();
            let plan = Plan::new(&request, &model, None).unwrap();
            let limit = limit.map(|bytes| MemoryLimit {
                bytes,
                from: LimitSource::Request,
            });
            MemoryPlan::choose(networks, &plan, &model, request.format, LOADED, limit)
        }

        fn peak(&self, change: impl FnOnce(&mut Request)) -> u64 {
            self.choose(None, change).unwrap().peak_bytes
        }
    }

    #[test]
    fn the_fastest_way_that_fits_is_taken() {
        let toybox = Toybox::new();
        let free = toybox.choose(None, |_| ()).unwrap();
        assert_eq!((free.guidance, free.limit), (GuidanceMode::Batched, None));
        assert_eq!(free.map_bytes, 0, "nothing is given");
        assert_eq!(
            toybox.choose(Some(free.peak_bytes), |_| ()).unwrap().guidance,
            GuidanceMode::Batched
        );
        assert_eq!(
            toybox.choose(None, |r| r.guidance_scale = Some(1.0)).unwrap().guidance,
            GuidanceMode::Off
        );
        assert!(
            toybox
                .choose(None, |r| r.image = Some("a.png".into()))
                .unwrap()
                .map_bytes
                > 0
        );
    }

    #[test]
    fn a_batch_that_does_not_fit_is_split() {
        let toybox = Toybox::new();
        // A still has little to decode, a wide transformer much to do.
        let mut large = Toybox::new();
        (large.transformer.num_attention_heads, large.transformer.ffn_dim) = (64, 16384);
        let batched = large.choose(None, |_| ()).unwrap();
        let sequential = large.choose(Some(batched.peak_bytes - 1), |_| ()).unwrap();
        assert_eq!(sequential.guidance, GuidanceMode::Sequential);
        let halved = (batched.diffuse_bytes as f64 / sequential.diffuse_bytes as f64 - 2.0).abs();
        assert!(halved < 0.4, "{batched:?} {sequential:?}");
        assert!(toybox.peak(|_| ()) < batched.peak_bytes);
    }

    #[test]
    fn more_of_anything_needs_more() {
        let toybox = Toybox::new();
        let default = toybox.choose(None, |_| ()).unwrap();
        let still = toybox
            .choose(None, |r| (r.length, r.format) = (Length::Frames(1), Format::Png))
            .unwrap();
        assert!(still.diffuse_bytes < default.diffuse_bytes && still.render_bytes < default.render_bytes);
        let longer = toybox.choose(None, |r| r.length = Length::Seconds(20.0)).unwrap();
        assert_eq!(
            (longer.diffuse_bytes, longer.render_bytes),
            (default.diffuse_bytes, default.render_bytes),
            "a long clip is made in parts"
        );
        assert!(toybox.peak(|r| r.size = Some("1920x1080".parse().unwrap())) > default.peak_bytes);
    }

    #[test]
    fn what_does_not_fit_is_refused_with_what_would() {
        let toybox = Toybox::new();
        let large = |r: &mut Request| r.size = Some("3840x2160".parse().unwrap());
        let error = toybox.choose(Some(toybox.peak(|_| ())), large).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Memory);
        let text = error.to_string();
        assert!(
            text.contains("allowed by --max-memory") && text.contains("hint: --size 512x288 would fit"),
            "{text}"
        );

        let text = toybox.choose(Some(LOADED.bytes), |_| ()).unwrap_err().to_string();
        assert!(
            text.contains("hint: --max-memory ") && text.contains("--precision int8 needs less"),
            "{text}"
        );

        let (_, hint) = text.split_once("hint: --max-memory ").unwrap();
        let megabytes: u64 = hint.split_once("MB").unwrap().0.parse().unwrap();
        let needed = toybox.choose(Some(megabytes * 1_000_000), |_| ()).unwrap().peak_bytes;
        assert!(
            megabytes * 1_000_000 > needed + needed / 100,
            "the hint leaves some air"
        );

        let mut wide = Toybox::new();
        wide.transformer.ffn_dim = 1 << 18;
        let few_frames = wide.peak(|r| r.length = Length::Frames(5));
        let text = wide.choose(Some(few_frames), |_| ()).unwrap_err().to_string();
        assert!(
            text.contains("hint: --frames ") && text.contains(" would fit"),
            "{text}"
        );
    }

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
        let (toybox, folder) = (Toybox::new(), ModelFolder::embedded_toybox().unwrap());
        let part = |name| (folder.checkpoint(name).unwrap(), folder.config(name).unwrap());
        let ((wan, wan_config), (vae, vae_config)) = (part("transformer"), part("vae"));
        let grid @ [frames, height, width] = [4, 12, 16];
        let size = Size::new(256, 192).unwrap();
        for precision in [Precision::F32, Precision::Int8] {
            let transformer = wan::Transformer::load(&wan, &wan_config, precision).unwrap();
            let vae = taehv::Taehv::load(&vae, &vae_config, precision).unwrap();
            let networks = Networks {
                transformer: &toybox.transformer,
                vae: &toybox.vae,
                text_tokens: 64,
                precision,
            };
            for mode in [GuidanceMode::Off, GuidanceMode::Batched, GuidanceMode::Sequential] {
                let arena = Arena::new();
                diffuse::one_step(&transformer, &vae, &arena, grid, mode);
                let estimate = transformer_bytes(networks, grid, mode);
                assert_near(&format!("{precision:?}, {mode:?}"), estimate, held(&arena));
            }

            let arena = Arena::new();
            let latents = Tensor::zeros_in(&arena, [1, 48, frames, height, width]).unwrap();
            let mut decoder = vae.decoder();
            for index in 0..frames {
                let mut decoded = Vec::new();
                let keep = &mut |frame| {
                    decoded.push(frame);
                    Ok(())
                };
                decoder.push(&latents, index, keep).unwrap();
            }
            let estimate = latents_bytes(&toybox.transformer, grid) + decoder_bytes(&toybox.vae, [height, width]);
            assert_near(&format!("{precision:?}, decoding"), estimate, held(&arena));

            let arena = Arena::new();
            let picture = vec![Frame::filled(size.width_px, size.height_px, [9, 99, 200]).unwrap(); 9];
            let prefix = encode_frames(&vae, &arena, &picture, size).unwrap();
            assert_eq!(prefix.dims(), &[1, 48, 3, height, width]);
            let estimate = encoder_bytes(&toybox.vae, [height, width]);
            assert_near(&format!("{precision:?}, encoding"), estimate, held(&arena));
        }
    }

    #[test]
    fn a_model_that_is_too_large_is_refused_before_it_is_read() {
        let folder = ModelFolder::embedded_toybox().unwrap();
        let transformer = folder.checkpoint("transformer").unwrap();
        let of = |precision| packed_bytes(&transformer, "blocks.", precision, "");
        let (f32, bf16, int8) = (of(Precision::F32), of(Precision::Bf16), of(Precision::Int8));
        // Nearly all of its elements are in the blocks.
        assert!((1.85..2.0).contains(&(f32 as f64 / bf16 as f64)) && (3.3..4.0).contains(&(f32 as f64 / int8 as f64)));
        let limit = |bytes| {
            Some(MemoryLimit {
                bytes,
                from: LimitSource::ControlGroup,
            })
        };
        assert!(check_model(f32, Precision::F32, limit(f32)).is_ok() && check_model(f32, Precision::F32, None).is_ok());
        let text = check_model(f32, Precision::F32, limit(f32 - 1))
            .unwrap_err()
            .to_string();
        assert!(text.contains("the control group's limit"), "{text}");
    }
}
