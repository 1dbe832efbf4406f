//! How much memory a run will hold, before it starts: pure functions of the models' configs and the plan.
//!
//! The stages follow each other and give their buffers back between them, so the largest one decides. A [`Way`] is one of
//! the ways to carry a plan out, all with the same numbers: what stays loaded from stage to stage, whether guidance runs
//! both predictions as one batch, whether frames are decoded in tiles. The fastest way within the limit is taken; where
//! none fits, the run is refused with a request that would fit.

mod estimate;
mod smaller;

use kinora_kernels::Precision;
use kinora_media::Format;
use kinora_models::{clip_vision, umt5, wan};
use serde::{Deserialize, Serialize};

pub(crate) use estimate::packed_bytes;

use crate::description::Description;
use crate::memory::MemoryLimit;
use crate::model::VaeConfig;
use crate::plan::Plan;
use crate::report::SizeRecord;
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

/// How long the weights of a model's parts stay in memory. All give the same numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightsMode {
    /// From stage to stage and from clip to clip.
    #[default]
    Kept,
    /// Each part for its stage only; of two experts, one at a time.
    Staged,
    /// As [`WeightsMode::Staged`], and of the transformer only the block at work, read from its file at each step.
    Streamed,
}

impl WeightsMode {
    /// What a user reads.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kept => "weights kept",
            Self::Staged => "weights loaded for each stage",
            Self::Streamed => "weights read block by block",
        }
    }
}

/// One way to carry out a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) weights: WeightsMode,
    pub(crate) guidance: GuidanceMode,
    /// Side of the tiles in which frames are decoded; whole frames if absent.
    pub(crate) tile_px: Option<u32>,
}

/// What a run is expected to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryPlan {
    /// How long weights stay.
    #[serde(default)]
    pub weights: WeightsMode,
    /// How guidance runs.
    pub guidance: GuidanceMode,
    /// Side of the tiles in which frames are decoded; whole frames if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tile_px: Option<u32>,
    /// The process before the run, with what is loaded already.
    pub loaded_bytes: u64,
    /// What embedding the text and encoding given frames add, weights included.
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

/// What the estimate needs to know of a model.
#[derive(Clone, Copy)]
pub(crate) struct Networks<'a> {
    pub(crate) transformer: &'a wan::Config,
    pub(crate) vae: &'a VaeConfig,
    /// What decodes: that autoencoder, or a tiny one in its place.
    pub(crate) decoder: &'a VaeConfig,
    pub(crate) text: TextSize<'a>,
    pub(crate) text_tokens: usize,
    /// What sees given pictures, for models that attend to it; it is read layer by layer.
    pub(crate) image_encoder: Option<&'a clip_vision::Config>,
    /// Transformers of the model.
    pub(crate) experts: usize,
    pub(crate) precision: Precision,
    /// Latent frames of a block, if the model makes a clip block by block.
    pub(crate) block_frames: Option<usize>,
    /// Whether all weights are in memory before the run.
    pub(crate) is_loaded: bool,
}

/// What the text encoder takes.
#[derive(Clone, Copy)]
pub(crate) enum TextSize<'a> {
    /// It is in memory, and small.
    Loaded,
    /// It is read block by block.
    Umt5(&'a umt5::Config),
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
        let ways = ways(networks, plan);
        let all = |plan: &Plan| -> Result<Vec<Self>> {
            let of = |&way| Self::estimate(networks, plan, format, loaded, way, limit);
            ways.iter().map(of).collect()
        };
        let estimates = all(plan)?;
        let needed_bytes = estimates.iter().map(|estimate| estimate.peak_bytes).min().unwrap_or(0);
        let fits = |estimate: &Self| limit.is_none_or(|limit| estimate.peak_bytes <= limit.bytes);
        if let Some(fitting) = estimates.into_iter().find(fits) {
            return Ok(fitting);
        }
        let Some(limit) = limit else {
            unreachable!("without a limit the first way fits")
        };
        let mut hint = hint_to_allow(needed_bytes, networks.precision);
        for (flags, smaller) in smaller::plans(plan, model) {
            if all(&smaller)?.iter().any(fits) {
                hint = format!("{flags} would fit");
                break;
            }
        }
        Err(Error::Memory {
            needed_bytes,
            limit_bytes: limit.bytes,
            from: limit.from.name(),
            hint,
        })
    }

    /// The largest tiles in which latents of `grid` (frames, rows, columns) are decoded within `limit`; `None` for whole
    /// frames.
    ///
    /// **Errors**: [`Error::Memory`] if the smallest do not fit either.
    pub(crate) fn choose_tile(
        networks: Networks<'_>,
        grid: [usize; 3],
        size: &SizeRecord,
        format: Format,
        loaded: Loaded,
        limit: Option<MemoryLimit>,
    ) -> Result<Option<u32>> {
        let mut needed_bytes = u64::MAX;
        for tile_px in tiles(networks.decoder) {
            let decoding = estimate::decoding(networks, grid, size, format, tile_px)?;
            let peak_bytes = loaded.peak_bytes.max(loaded.bytes + decoding);
            if limit.is_none_or(|limit| peak_bytes <= limit.bytes) {
                return Ok(tile_px);
            }
            needed_bytes = needed_bytes.min(peak_bytes);
        }
        match limit {
            None => Ok(None),
            Some(limit) => Err(Error::Memory {
                needed_bytes,
                limit_bytes: limit.bytes,
                from: limit.from.name(),
                hint: hint_to_allow(needed_bytes, networks.precision),
            }),
        }
    }

    /// What `plan` holds when it is carried out in `way`.
    fn estimate(
        networks: Networks<'_>,
        plan: &Plan,
        format: Format,
        loaded: Loaded,
        way: Way,
        limit: Option<MemoryLimit>,
    ) -> Result<Self> {
        let [map_bytes, diffuse_bytes, render_bytes] = estimate::stages(networks, plan, format, way)?;
        let stage_bytes = map_bytes.max(diffuse_bytes).max(render_bytes);
        Ok(Self {
            weights: way.weights,
            guidance: way.guidance,
            tile_px: way.tile_px,
            loaded_bytes: loaded.bytes,
            map_bytes,
            diffuse_bytes,
            render_bytes,
            peak_bytes: loaded.peak_bytes.max(loaded.bytes + stage_bytes),
            limit,
        })
    }
}

/// Sides of the tiles in which frames may be decoded.
const TILES_PX: [u32; 3] = [512, 256, 128];

/// The tiles in which a family decodes frames: whole frames first, then ever smaller ones.
fn tiles(vae: &VaeConfig) -> Vec<Option<u32>> {
    match vae {
        VaeConfig::Taehv(_) => vec![None],
        VaeConfig::Wan(_) => std::iter::once(None).chain(TILES_PX.map(Some)).collect(),
    }
}

/// All ways to carry out `plan`, the fastest first.
fn ways(networks: Networks<'_>, plan: &Plan) -> Vec<Way> {
    let weights: &[WeightsMode] = match networks.is_loaded {
        true => &[WeightsMode::Kept],
        false => &[WeightsMode::Kept, WeightsMode::Staged, WeightsMode::Streamed],
    };
    let guidance: &[GuidanceMode] = match plan.is_guided() {
        false => &[GuidanceMode::Off],
        // A cache decides for each of the two predictions.
        true if plan.cache.is_some() => &[GuidanceMode::Sequential],
        true => &[GuidanceMode::Batched, GuidanceMode::Sequential],
    };
    let tiles = tiles(networks.decoder);
    let mut ways = Vec::new();
    for &weights in weights {
        for &guidance in guidance {
            ways.extend(tiles.iter().map(|&tile_px| Way {
                weights,
                guidance,
                tile_px,
            }));
        }
    }
    ways
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

#[cfg(test)]
mod tests {
    use kinora_models::taehv;
    use kinora_weights::ModelFolder;

    use super::*;
    use crate::memory::LimitSource;
    use crate::request::{Length, Request};

    const LOADED: Loaded = Loaded {
        bytes: 300_000_000,
        peak_bytes: 310_000_000,
    };

    struct Toybox {
        transformer: wan::Config,
        vae: VaeConfig,
    }

    impl Toybox {
        fn new() -> Self {
            let folder = ModelFolder::embedded_toybox().unwrap();
            Self {
                transformer: wan::Config::from_json(&folder.config("transformer").unwrap()).unwrap(),
                vae: VaeConfig::Taehv(taehv::Config::from_json(&folder.config("vae").unwrap()).unwrap()),
            }
        }

        fn choose(&self, limit: Option<u64>, change: impl FnOnce(&mut Request)) -> Result<MemoryPlan> {
            let networks = Networks {
                transformer: &self.transformer,
                vae: &self.vae,
                decoder: &self.vae,
                text: TextSize::Loaded,
                text_tokens: 64,
                image_encoder: None,
                experts: 1,
                block_frames: None,
                is_loaded: true,
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

        let error = toybox.choose(Some(LOADED.bytes), |_| ()).unwrap_err();
        let Error::Memory { needed_bytes, .. } = &error else {
            panic!("{error}")
        };
        let text = error.to_string();
        assert!(
            text.contains("hint: --max-memory ") && text.contains("--precision int8 needs less"),
            "{text}"
        );

        let (_, hint) = text.split_once("hint: --max-memory ").unwrap();
        let megabytes: u64 = hint.split_once("MB").unwrap().0.parse().unwrap();
        assert!(
            megabytes * 1_000_000 > needed_bytes + needed_bytes / 100,
            "the hint leaves some air"
        );
        toybox.choose(Some(megabytes * 1_000_000), |_| ()).unwrap();

        let mut wide = Toybox::new();
        wide.transformer.ffn_dim = 1 << 18;
        let few_frames = wide.peak(|r| r.length = Length::Frames(5));
        let text = wide.choose(Some(few_frames), |_| ()).unwrap_err().to_string();
        assert!(
            text.contains("hint: --frames ") && text.contains(" would fit"),
            "{text}"
        );
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
