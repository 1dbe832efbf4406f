//! What a job is asked and what came of it: the JSON in its record. The routes write [`Work`], the runner reads it; the
//! runner writes [`Outcome`], the routes read it.
//!
//! Everything is resolved when the job is submitted (model, size, length, seed), so that the job gives the same bytes
//! whenever and however often it is run.

use std::collections::BTreeMap;

use kinora_api::{CharacterId, Options, Seconds, Size, VideoId};
use serde::{Deserialize, Serialize};

use crate::files::FileRef;

/// What a job is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// The form of this JSON, [`Work::VERSION`].
    pub version: u32,
    /// Kind of work and what it starts from.
    pub task: Task,
    /// What was asked for; of a storyboard, the prompts of its shots in lines.
    pub prompt: String,
    /// The name of the model that was asked for ("sora-2"); answers repeat it.
    pub model: String,
    /// The model that makes it ("toybox").
    pub engine: String,
    /// Width and height of the video.
    pub size: Size,
    /// Its whole length, with what was there before.
    pub seconds: Seconds,
    /// New frames at the rate of the video, if the request said so; wins over `seconds`.
    pub num_frames: Option<u32>,
    /// Its seed.
    pub seed: u64,
    /// Everything that OpenAI never had; `seed` and `n` of it are spent (each job is one video).
    pub options: Options,
    /// The video that it was made from by remix.
    pub remixed_from: Option<VideoId>,
    /// The place in the trace of the request that asked for it, as W3C's `traceparent` writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// The files of the finished videos that the task names, by their ids: a worker elsewhere sees no jobs but its own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<String, OutcomeFiles>,
}

impl Work {
    /// The form that this version writes and reads.
    pub const VERSION: u32 = 1;

    /// Work of `task` with nothing special about it. Whoever submits it says the seed, the sources and the trace.
    #[must_use]
    pub fn new(task: Task, prompt: String, (model, engine): (String, String), size: Size, seconds: Seconds) -> Self {
        Self {
            version: Self::VERSION,
            task,
            prompt,
            model,
            engine,
            size,
            seconds,
            num_frames: None,
            seed: 0,
            options: Options::default(),
            remixed_from: None,
            traceparent: None,
            sources: BTreeMap::new(),
        }
    }
}

/// Kind of work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Task {
    /// From the prompt, and from a picture and characters if there are some.
    Create {
        /// The first frame.
        image: Option<FileRef>,
        /// Who takes part.
        characters: Vec<CharacterUse>,
    },
    /// A finished video again with another prompt, from its latents.
    Remix {
        /// Which.
        source: VideoId,
        /// How much may change, above 0 up to 1.
        strength: f64,
    },
    /// A clip changed by the prompt.
    Edit {
        /// Which.
        source: ClipSource,
        /// How much may change, above 0 up to 1.
        strength: f64,
    },
    /// A clip continued; the video is both.
    Extend {
        /// Which.
        source: ClipSource,
        /// The length of the new part.
        added: Seconds,
    },
    /// A video that begins as one and ends as another.
    Blend {
        /// How it begins.
        from: VideoId,
        /// How it ends.
        to: VideoId,
        /// The share of `to` over time; a line from 0 to 1 if empty.
        curve: Vec<f64>,
    },
    /// A video with a new part from its end to its beginning.
    Loop {
        /// Which.
        source: VideoId,
        /// The length of the new part; as the model likes if absent.
        seam: Option<Seconds>,
    },
    /// One video from several prompts.
    Storyboard {
        /// In their order.
        shots: Vec<WorkShot>,
    },
}

impl Task {
    /// The finished videos that it starts from.
    #[must_use]
    pub fn videos(&self) -> Vec<&VideoId> {
        match self {
            Self::Create { .. } | Self::Storyboard { .. } => Vec::new(),
            Self::Remix { source, .. } | Self::Loop { source, .. } => vec![source],
            Self::Edit { source, .. } | Self::Extend { source, .. } => match source {
                ClipSource::Video(id) => vec![id],
                ClipSource::File(_) => Vec::new(),
            },
            Self::Blend { from, to, .. } => vec![from, to],
        }
    }
}

/// A clip to start from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClipSource {
    /// A finished video of this server.
    Video(VideoId),
    /// An uploaded clip.
    File(FileRef),
}

/// A character that takes part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CharacterUse {
    /// Names it.
    pub id: CharacterId,
    /// What the prompt calls it.
    pub name: String,
    /// What it is ("a fox"), where that is known.
    pub subject: Option<String>,
    /// A picture of it.
    pub picture: FileRef,
}

/// A shot of a storyboard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkShot {
    /// What is to be seen.
    pub prompt: String,
    /// How long.
    pub seconds: Seconds,
    /// Whether it goes on from the last frames of the shot before.
    pub continues: bool,
    /// Its first frame.
    pub image: Option<FileRef>,
}

/// What came of a job that succeeded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Its files.
    pub files: OutcomeFiles,
    /// Size of the video's file in bytes.
    pub bytes: u64,
    /// SHA-256 of the video's file, in hexadecimal digits.
    pub sha256: String,
    /// Frames in a second.
    pub fps: f64,
    /// Frames in all.
    pub num_frames: u32,
    /// The length that came out.
    pub seconds: Seconds,
    /// The size that came out.
    pub size: Size,
    /// The prompt that the model got, where it is another one.
    pub revised_prompt: Option<String>,
    /// How long the work took, in seconds, without waiting; of the last attempt.
    pub inference_time_s: f64,
    /// The most memory that the work took, in megabytes.
    pub peak_memory_mb: f64,
    /// What the user should know: what was adapted, what the model does not know.
    pub notes: Vec<String>,
}

/// The files of a finished video.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomeFiles {
    /// The clip, MP4.
    pub video: FileRef,
    /// One picture, WebP.
    pub thumbnail: FileRef,
    /// Pictures in a grid, JPEG.
    pub spritesheet: FileRef,
    /// Its latents, for remix and blend.
    pub latents: Option<FileRef>,
    /// Others by name: the run report.
    #[serde(default)]
    pub others: BTreeMap<String, FileRef>,
}
