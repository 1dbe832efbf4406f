//! What the pipeline needs to know about a model before it runs it, read from its `model_index.json`.

use kinora_media::Fps;
use kinora_sampling::{ExpertSwitch, Sampler, ScheduleKind};
use kinora_weights::ModelFolder;
use serde::Deserialize;

use crate::request::Size;
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
    /// How the sigmas are listed.
    pub schedule: ScheduleRule,
    /// Shift of the schedule, for pictures of up to so many pixels; the last one counts beyond.
    pub shifts: Vec<(u64, f64)>,
    /// How the model is told what is known of a clip.
    pub starts: StartsFrom,
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
    /// Whether a last picture can be given too.
    pub const fn can_end(self) -> bool {
        matches!(self, Self::Channels | Self::Control)
    }
}

/// How a model's sigmas are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScheduleRule {
    /// One list, whatever the sampler.
    Fixed(ScheduleKind),
    /// As the reference implementation lists them for each sampler.
    BySampler,
}

impl Description {
    /// Latent frames of a clip's end that a model trained like Wan 2.2's image-to-video can start from.
    const OVERLAP_LATENT_FRAMES: usize = 3;

    /// Reads a model folder.
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
            schedule: ScheduleRule::Fixed(ScheduleKind::RectifiedFlow),
            shifts: vec![(u64::MAX, schedule.shift)],
            starts: StartsFrom::CleanFrames,
            size_multiple: None,
            text_tokens: index.max_sequence_length,
            wants_vocabulary: folder.concepts()?.is_some(),
        })
    }

    /// Frames that so many latent frames decode to.
    pub const fn frames_of(&self, latent_frames: usize) -> usize {
        (latent_frames * self.temporal_factor).saturating_sub(self.temporal_factor - 1)
    }

    /// The list of sigmas that goes with `sampler`.
    pub const fn schedule_for(&self, sampler: Sampler) -> ScheduleKind {
        match (self.schedule, sampler) {
            (ScheduleRule::Fixed(kind), _) => kind,
            (ScheduleRule::BySampler, Sampler::UniPc) => ScheduleKind::DiffusersUniPc,
            (ScheduleRule::BySampler, Sampler::DpmPp2m) => ScheduleKind::DiffusersDpm,
            (ScheduleRule::BySampler, Sampler::Euler) => ScheduleKind::DiffusersFlowMatch,
            (ScheduleRule::BySampler, _) => ScheduleKind::RectifiedFlow,
        }
    }

    /// The shift for clips of `size`.
    pub fn shift_for(&self, size: Size) -> f64 {
        let pixels = u64::from(size.width_px) * u64::from(size.height_px);
        let fitting = self
            .shifts
            .iter()
            .find(|(most, _)| pixels <= *most)
            .or(self.shifts.last());
        fitting.map_or(1.0, |(_, shift)| *shift)
    }

    /// The embedded model's, for tests that need no weights.
    #[cfg(test)]
    pub(crate) fn toybox() -> Self {
        Self::read(&ModelFolder::embedded_toybox().unwrap(), 4).unwrap()
    }
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
