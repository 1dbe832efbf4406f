//! What the pipeline needs to know about a model before it runs it, read from its `model_index.json`.

use kinora_media::Fps;
use kinora_sampling::Sampler;
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
    /// Shift of the schedule.
    pub shift: f64,
    /// Text tokens that the model sees.
    pub text_tokens: usize,
    /// Whether the model prefers prompts in its own vocabulary.
    pub wants_vocabulary: bool,
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
            shift: schedule.shift,
            text_tokens: index.max_sequence_length,
            wants_vocabulary: folder.concepts()?.is_some(),
        })
    }

    /// Frames that so many latent frames decode to.
    pub const fn frames_of(&self, latent_frames: usize) -> usize {
        (latent_frames * self.temporal_factor).saturating_sub(self.temporal_factor - 1)
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
