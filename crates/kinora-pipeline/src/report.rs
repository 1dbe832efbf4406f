//! What a run writes down: the recipe that repeats it, and the report of how it went.

use std::path::PathBuf;

use kinora_sampling::CacheReport;
use serde::{Deserialize, Serialize};

use crate::memory_plan::MemoryPlan;
use crate::request::Size;
use crate::tasks::Transition;

/// Everything that decides the bytes of a clip. It is stored in the file itself, so it holds nothing that changes from
/// run to run (no times, no paths).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// Version of Kinora.
    pub kinora: String,
    /// What was made: `text-to-video`, `text-to-image`, `image-to-video`, `extend`, `remix`, `blend`, `loop`, `storyboard`.
    pub task: String,
    /// The prompt as typed.
    pub prompt: String,
    /// The prompt as the model got it.
    pub model_prompt: String,
    /// The negative prompt.
    pub negative: String,
    /// The model and its weights.
    pub model: ModelRecord,
    /// Seed of this clip.
    pub seed: u64,
    /// The generator of the starting noise.
    pub noise: String,
    /// The update rule.
    pub sampler: String,
    /// The list of sigmas, by name.
    pub schedule: String,
    /// Its shift.
    pub shift: f64,
    /// Denoising steps.
    pub steps: u32,
    /// Guidance scale.
    pub guidance_scale: f32,
    /// Guidance scale of the expert for low noise, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guidance_scale_low: Option<f32>,
    /// Guidance for the first so many steps only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guided_steps: Option<u32>,
    /// How much of a given clip was made anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strength: Option<f32>,
    /// Strength of the control branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_scale: Option<f32>,
    /// Which steps took over the prediction of the step before, as `--cache` spells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<String>,
    /// What was added to the transformer's weights.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loras: Vec<LoraRecord>,
    /// Size and how it was reached.
    pub size: SizeRecord,
    /// Length and how it was reached.
    pub length: LengthRecord,
    /// The share of the second clip over time, of a blend; empty: from 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub curve: Option<Vec<f32>>,
    /// The new frames of a loop, at the model's rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seam_frames: Option<usize>,
    /// The shots of a storyboard.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shots: Vec<ShotRecord>,
    /// Who or what the prompt named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub characters: Vec<CharacterRecord>,
    /// SHA-256 of the pictures and clips that were given, between commas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_sha256: Option<String>,
    /// The instruction set that computed it; another one may round differently.
    pub kernels: String,
    /// What the large layers were computed with: `f32`, `bf16`, `int8`. Clips from before there was a choice do not say
    /// it, and were made in f32.
    #[serde(default = "f32_name")]
    pub precision: String,
}

fn f32_name() -> String {
    "f32".to_owned()
}

/// Which weights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRecord {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// Short hash over all of its files.
    pub weights_hash: String,
}

/// A LoRA that was added to a transformer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoraRecord {
    /// The name of its file.
    pub name: String,
    /// How much of it.
    pub strength: f32,
    /// Which of two experts it went into: `high` or `low`; both if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expert: Option<String>,
    /// SHA-256 of its file.
    pub sha256: String,
}

/// A shot of a storyboard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShotRecord {
    /// The prompt as typed.
    pub prompt: String,
    /// The prompt as the model got it.
    pub model_prompt: String,
    /// Its frames, at the model's rate.
    pub frames: usize,
    /// How it follows the one before.
    pub transition: Transition,
    /// Whether it starts from a picture.
    pub has_image: bool,
}

/// A character.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CharacterRecord {
    /// The name in the prompt.
    pub name: String,
    /// What stood for it in what the model was told, if something did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// SHA-256 of the picture, whether the model could use it or not.
    pub picture_sha256: String,
}

/// The size of a clip.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SizeRecord {
    /// What the model made.
    pub generated: Size,
    /// What was written.
    pub written: Size,
    /// How one became the other, in words.
    pub how: String,
}

/// The length of a clip.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LengthRecord {
    /// New frames of the clip at the model's own rate, as asked for.
    pub new_frames: usize,
    /// Frames that the model made for this clip, at its own rate.
    pub generated_frames: usize,
    /// Parts that it was made in.
    pub segments: usize,
    /// Frames in the file.
    pub written_frames: usize,
    /// Frame rate of the file.
    pub fps: String,
    /// How one became the other, in words.
    pub how: String,
}

/// One file that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputRecord {
    /// Where it is.
    pub path: PathBuf,
    /// `clip`, `poster` or `sheet`.
    pub role: String,
    /// Its format.
    pub format: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// SHA-256 of its content; empty for a folder.
    pub sha256: String,
}

/// Wall-clock times of one clip.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Timings {
    /// Loading and checking the model (0 from the second clip on).
    pub load_ms: u64,
    /// Text to scene.
    pub parse_ms: u64,
    /// Scene to conditioning.
    pub map_ms: u64,
    /// Noise to latents.
    pub diffuse_ms: u64,
    /// Latents to a file.
    pub render_ms: u64,
    /// All of it.
    pub total_ms: u64,
}

/// How one clip came about.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClipReport {
    /// What repeats it.
    pub recipe: Recipe,
    /// The files.
    pub outputs: Vec<OutputRecord>,
    /// The times.
    pub timings: Timings,
    /// What the step cache saved and may have cost, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheRecord>,
}

/// What a step cache did in a clip, in the part where it may have cost the most.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CacheRecord {
    /// Predictions that the model made.
    pub computed: usize,
    /// Predictions that were taken over from the step before.
    pub reused: usize,
    /// Their expected relative error, as the cache estimates it.
    pub estimated_error: f64,
}

impl From<CacheReport> for CacheRecord {
    fn from(report: CacheReport) -> Self {
        Self {
            computed: report.computed,
            reused: report.reused,
            estimated_error: report.estimated_error,
        }
    }
}

/// Where a run was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelRecord {
    /// The clip that is missing, counted from 0.
    pub clip: u32,
    /// Its seed: with it, the same request makes the clip that was stopped.
    pub seed: u64,
    /// The stage.
    pub stage: crate::Stage,
    /// Units of the stage that were done.
    pub step: usize,
    /// Units of the stage.
    pub of: usize,
}

/// How a run is going to be carried out; known before it starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunPlan {
    /// What the large layers compute with.
    pub precision: String,
    /// Why.
    pub precision_reason: String,
    /// The instruction set.
    pub kernels: String,
    /// Threads that compute.
    pub threads: usize,
    /// How guidance runs, and the memory that is expected.
    pub memory: MemoryPlan,
}

/// How a whole run went; `--json` prints this.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunReport {
    /// Version of this record.
    pub schema: u32,
    /// What the parser understood.
    pub scene: serde_json::Value,
    /// What the user should know.
    pub notes: Vec<String>,
    /// How it was carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<RunPlan>,
    /// One entry a variant.
    pub clips: Vec<ClipReport>,
    /// Where the run was stopped, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled: Option<CancelRecord>,
    /// Threads that computed.
    pub threads: usize,
    /// The most memory that the process has had, if the system tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory_bytes: Option<u64>,
}

impl RunReport {
    /// The version of the record that this code writes.
    pub const SCHEMA: u32 = 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_from_before_there_was_a_choice_of_precision_is_f32() {
        let old = r#"{"kinora":"0.1.0","task":"text-to-video","prompt":"a cat","model_prompt":"a cat","negative":"",
            "model":{"name":"toybox","version":"1","weights_hash":"0"},"seed":7,"noise":"philox4x32-10 box-muller",
            "sampler":"euler","schedule":"rectified-flow","shift":3.0,"steps":28,"guidance_scale":5.0,
            "size":{"generated":{"width_px":512,"height_px":288},"written":{"width_px":512,"height_px":288},"how":""},
            "length":{"new_frames":33,"generated_frames":33,"segments":1,"written_frames":33,"fps":"12","how":""},
            "kernels":"avx512"}"#;
        let recipe: Recipe = serde_json::from_str(old).unwrap();
        assert_eq!(recipe.precision, "f32");
        let again: Recipe = serde_json::from_str(&serde_json::to_string(&recipe).unwrap()).unwrap();
        assert_eq!(again, recipe);
    }
}
