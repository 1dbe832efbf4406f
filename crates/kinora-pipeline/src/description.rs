//! What the pipeline needs to know about a model before it runs it, read from its `model_index.json`.

use kinora_media::Fps;
use kinora_models::wan;
use kinora_sampling::{
    CacheKind, ExpertSwitch, Levels, MagCurve, ModelFacts, NameHints, Preset, Sampler, Schedule, ScheduleKind,
};
use kinora_weights::ModelFolder;
use serde::Deserialize;

use crate::request::{CacheChoice, Size};
use crate::{Error, Result};

/// Sizes, lengths and defaults of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    /// Sizes that the model was trained on; the first is its default.
    pub sizes: Vec<Size>,
    /// Frames a second that the model makes.
    pub fps: Fps,
    /// Frames of a clip if nobody says otherwise.
    pub default_frames: usize,
    /// Most latent frames in one pass.
    pub max_latent_frames: usize,
    /// Latent frames of a clip's end that the next part starts from.
    pub overlap_latent_frames: usize,
    /// Frames for each latent frame after the first.
    pub temporal_factor: usize,
    /// Denoising steps.
    pub default_steps: u32,
    /// Guidance scale.
    pub default_guidance_scale: f32,
    /// Update rule.
    pub default_sampler: Sampler,
    /// Guidance scale of the expert for low noise, where there are two and theirs differ.
    pub default_guidance_scale_low: Option<f32>,
    /// When the expert for low noise takes over, where there are two.
    pub expert_switch: Option<ExpertSwitch>,
    /// What to keep away from if nobody says otherwise.
    pub default_negative: String,
    /// How a published model is sampled, if this is one.
    pub preset: Option<&'static Preset>,
    /// Shift of the schedule, whatever the size; that of the preset if absent.
    pub shift: Option<f64>,
    /// How the model is told what is known of a clip.
    pub starts: StartsFrom,
    /// Latent frames of a block, if the model makes a clip block by block; then a part may have any length.
    pub block_frames: Option<usize>,
    /// If any size will do whose sides are multiples of so many pixels; else only `sizes` are made.
    pub size_multiple: Option<u32>,
    /// Text tokens that the model sees.
    pub text_tokens: usize,
    /// Whether the model prefers prompts in its own vocabulary.
    pub wants_vocabulary: bool,
}

/// How a model is told what is known of the clip that it makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartsFrom {
    /// Clean latents at the start, whose tokens have timestep 0 (Toybox, Wan 2.2 TI2V).
    CleanFrames,
    /// Channels beside the latents (Wan image to video); such a model makes nothing without.
    Channels,
    /// A control branch (VACE).
    Control,
    /// Nothing was planned; given frames are held at the noise level of the others (Wan text to video).
    Anything,
}

impl StartsFrom {
    /// Whether the model is told something even where nothing is known: that there is nothing.
    pub const fn is_always_told(self) -> bool {
        matches!(self, Self::Channels | Self::Control)
    }

    /// Whether a last picture can be given too.
    pub const fn can_end(self) -> bool {
        matches!(self, Self::Channels | Self::Control)
    }
}

impl Description {
    /// Latent frames of a clip's end that a model trained like Wan 2.2's image-to-video can start from.
    const OVERLAP_LATENT_FRAMES: usize = 3;

    /// Describes a model of the Wan family: as it was published, if it is found among the presets by its shapes and its
    /// names, and as what its folder says where that says more.
    ///
    /// **Errors**: [`Error::UnsupportedModel`] if the folder's own files cannot be understood.
    pub(crate) fn of_wan(folder: &ModelFolder, facts: &WanFacts<'_>) -> Result<Self> {
        let refuse = |reason: String| Error::UnsupportedModel {
            model: folder.name(),
            reason,
        };
        let index: WanIndex =
            serde_json::from_str(&folder.index()?).map_err(|error| refuse(format!("model_index.json: {error}")))?;
        let starts = facts.starts(index.expand_timesteps);
        let hints = NameHints::of(&facts.names.iter().map(String::as_str).collect::<Vec<_>>());
        let preset = match &index.preset {
            Some(name) => Preset::named(name)?,
            None => match Preset::detect(&facts.model(starts), &hints) {
                Some(preset) => preset,
                None => Preset::named(nearest_preset(starts))?,
            },
        };
        let own_shift = own_shift(folder).filter(|_| !preset.guidance_distilled);
        let [high_noise, low_noise] = preset.guidance_scale.map(|scale| scale as f32);
        let multiple = (facts.vae_spatial_factor * facts.transformer.patch_size[2]) as u32;
        let sizes = preset.sizes.iter().flat_map(|&[w, h]| [[w, h], [h, w]]);
        let sizes = sizes
            .map(|[w, h]| Size::new(w as u32, h as u32))
            .collect::<Result<Vec<_>>>()?;
        let default_frames = preset.frames;
        Ok(Self {
            sizes,
            fps: Fps::new(preset.fps, 1).map_err(Error::Media)?,
            default_frames,
            max_latent_frames: match preset.block_frames {
                // Block after block, as long as is asked for.
                Some(_) => usize::MAX,
                None => (default_frames - 1) / facts.vae_temporal_factor + 1,
            },
            overlap_latent_frames: Self::OVERLAP_LATENT_FRAMES,
            temporal_factor: facts.vae_temporal_factor,
            default_steps: preset.steps as u32,
            default_guidance_scale: high_noise,
            default_guidance_scale_low: Some(low_noise),
            default_sampler: preset.sampler,
            expert_switch: match (facts.experts, index.boundary_ratio, preset.switch) {
                (1, ..) => None,
                (_, _, Some(switch @ ExpertSwitch::Step(_))) => Some(switch),
                (_, Some(ratio), _) => Some(ExpertSwitch::ratio(ratio)),
                (_, None, switch) => Some(switch.unwrap_or(ExpertSwitch::ratio(DEFAULT_BOUNDARY))),
            },
            default_negative: preset.negative_prompt.to_owned(),
            preset: Some(preset),
            shift: own_shift,
            starts,
            block_frames: preset.block_frames,
            size_multiple: Some(multiple),
            text_tokens: WAN_TEXT_TOKENS,
            wants_vocabulary: false,
        })
    }

    /// Reads a model folder that describes itself, as Toybox's does.
    ///
    /// **Errors**: [`Error::UnsupportedModel`] naming the field.
    pub fn read(folder: &ModelFolder, temporal_factor: usize) -> Result<Self> {
        let refuse = |reason: String| Error::UnsupportedModel {
            model: folder.name(),
            reason,
        };
        let index: Index =
            serde_json::from_str(&folder.index()?).map_err(|error| refuse(format!("model_index.json: {error}")))?;
        let schedule: ScheduleConfig = serde_json::from_str(&folder.config("scheduler")?)
            .map_err(|error| refuse(format!("scheduler_config.json: {error}")))?;
        let sizes: Vec<Size> = index.sizes();
        if sizes.is_empty() {
            return Err(refuse("model_index.json names no usable size".into()));
        }
        let fps = Fps::new(index.fps, 1).map_err(|error| refuse(format!("model_index.json: fps: {error}")))?;
        if index.default_num_frames == 0 || index.default_steps == 0 || index.max_sequence_length == 0 {
            return Err(refuse(
                "model_index.json: frames, steps and sequence length must be 1 or more".into(),
            ));
        }
        let max_latent_frames = (index.default_num_frames - 1) / temporal_factor + 1;
        Ok(Self {
            sizes,
            fps,
            default_frames: index.default_num_frames,
            max_latent_frames: max_latent_frames.max(Self::OVERLAP_LATENT_FRAMES + 1),
            overlap_latent_frames: Self::OVERLAP_LATENT_FRAMES,
            temporal_factor,
            default_steps: index.default_steps,
            default_guidance_scale: index.default_guidance_scale,
            default_sampler: Sampler::Euler,
            default_guidance_scale_low: None,
            expert_switch: None,
            default_negative: String::new(),
            preset: None,
            shift: Some(schedule.shift),
            starts: StartsFrom::CleanFrames,
            block_frames: None,
            size_multiple: None,
            text_tokens: index.max_sequence_length,
            wants_vocabulary: folder.concepts()?.is_some(),
        })
    }

    /// Frames that so many latent frames decode to.
    pub const fn frames_of(&self, latent_frames: usize) -> usize {
        (latent_frames * self.temporal_factor).saturating_sub(self.temporal_factor - 1)
    }

    /// Latent frames that so many frames fill; the inverse of [`Description::frames_of`], rounded up.
    pub const fn latent_frames_of(&self, frames: usize) -> usize {
        frames.div_ceil(self.temporal_factor)
    }

    /// The noise levels of a run. A model that takes any number of steps has the list that the reference implementation
    /// makes for the sampler; a distilled one has its own.
    ///
    /// **Errors**: a number of steps or a shift that makes no list.
    pub fn schedule(&self, sampler: Sampler, steps: u32, shift: f64) -> Result<Schedule> {
        let steps = steps as usize;
        let Some(preset) = self.preset else {
            return Ok(Schedule::rectified_flow(steps, shift)?);
        };
        let by_sampler = match sampler {
            Sampler::UniPc => ScheduleKind::DiffusersUniPc,
            Sampler::DpmPp2m => ScheduleKind::DiffusersDpm,
            Sampler::Euler => ScheduleKind::DiffusersFlowMatch,
            _ => ScheduleKind::RectifiedFlow,
        };
        Ok(match preset.levels {
            Levels::Kind(_) => Schedule::new(by_sampler, steps, shift)?,
            _ => preset.schedule(steps, shift)?,
        })
    }

    /// The shift for clips of `size`.
    pub fn shift_for(&self, size: Size) -> f64 {
        let of_preset = |preset: &Preset| preset.shift(size.width_px as usize, size.height_px as usize);
        self.shift.or(self.preset.map(of_preset)).unwrap_or(1.0)
    }

    /// What a choice of step cache means for this model.
    ///
    /// **Errors**: [`Error::Invalid`] if nobody has measured the model for it.
    pub fn cache(&self, choice: CacheChoice) -> Result<Option<CacheKind>> {
        let curve = self
            .preset
            .and_then(|preset| preset.mag_curve)
            .and_then(MagCurve::published);
        match (choice, curve) {
            (CacheChoice::Off, _) => Ok(None),
            (CacheChoice::Easy(threshold), _) => Ok(Some(CacheKind::easy_cache(threshold))),
            (CacheChoice::Mag(threshold), Some(curve)) => Ok(Some(CacheKind::mag_cache(curve, threshold))),
            (CacheChoice::Mag(_), None) => Err(Error::Invalid {
                what: "cache",
                got: "mag".into(),
                reason: "nobody has measured this model for it".into(),
                hint: "use --cache easy, which measures as it goes".into(),
            }),
        }
    }

    /// The embedded model's, for tests that need no weights.
    #[cfg(test)]
    pub(crate) fn toybox() -> Self {
        Self::read(&ModelFolder::embedded_toybox().unwrap(), 4).unwrap()
    }
}

/// Tokens of a text in the Wan family.
const WAN_TEXT_TOKENS: usize = 512;
/// Where the second expert takes over, if nobody says it: that of Wan 2.2's text to video.
const DEFAULT_BOUNDARY: f64 = 0.875;

/// What a model of the Wan family looks like from outside.
pub(crate) struct WanFacts<'a> {
    pub(crate) transformer: &'a wan::Config,
    pub(crate) experts: usize,
    pub(crate) vae_spatial_factor: usize,
    pub(crate) vae_temporal_factor: usize,
    /// Names of the model and of the LoRAs on it.
    pub(crate) names: Vec<String>,
}

impl WanFacts<'_> {
    fn starts(&self, expand_timesteps: bool) -> StartsFrom {
        let config = self.transformer;
        match config.in_channels > config.out_channels() {
            _ if config.vace_layers.is_some() => StartsFrom::Control,
            true => StartsFrom::Channels,
            false if expand_timesteps => StartsFrom::CleanFrames,
            false => StartsFrom::Anything,
        }
    }

    fn model(&self, starts: StartsFrom) -> ModelFacts {
        let config = self.transformer;
        ModelFacts {
            layers: config.num_layers,
            width: config.width(),
            in_channels: config.in_channels,
            has_image_tokens: config.image_dim.is_some(),
            has_two_pictures: config.pos_embed_seq_len.is_some(),
            has_control: starts == StartsFrom::Control,
            experts: self.experts,
        }
    }
}

/// The published model that one of other shapes is most like.
const fn nearest_preset(starts: StartsFrom) -> &'static str {
    match starts {
        StartsFrom::Anything => "wan2.1-t2v-1.3b",
        StartsFrom::Channels => "wan2.1-i2v-14b-480p",
        StartsFrom::Control => "wan2.1-vace-1.3b",
        StartsFrom::CleanFrames => "wan2.2-ti2v-5b",
    }
}

/// The shift that a folder's scheduler names.
fn own_shift(folder: &ModelFolder) -> Option<f64> {
    let json: serde_json::Value = serde_json::from_str(&folder.config("scheduler").ok()?).ok()?;
    json["flow_shift"].as_f64().or(json["shift"].as_f64())
}

/// The fields of a Wan folder's `model_index.json` that matter here.
#[derive(Deserialize)]
struct WanIndex {
    #[serde(default)]
    expand_timesteps: bool,
    #[serde(default)]
    boundary_ratio: Option<f64>,
    #[serde(default)]
    preset: Option<String>,
}

/// The fields of `model_index.json` that matter here.
#[derive(Deserialize)]
struct Index {
    max_sequence_length: usize,
    default_width: u32,
    default_height: u32,
    default_num_frames: usize,
    fps: u32,
    default_steps: u32,
    default_guidance_scale: f32,
    #[serde(default)]
    resolutions: Vec<[u32; 2]>,
}

impl Index {
    fn sizes(&self) -> Vec<Size> {
        let default = [self.default_width, self.default_height];
        let others = self.resolutions.iter().copied().filter(|&size| size != default);
        std::iter::once(default)
            .chain(others)
            .filter_map(|[w, h]| Size::new(w, h).ok())
            .collect()
    }
}

/// The field of `scheduler_config.json` that matters here.
#[derive(Deserialize)]
struct ScheduleConfig {
    shift: f64,
}
