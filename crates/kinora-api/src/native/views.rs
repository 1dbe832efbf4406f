//! Jobs, models and health as `/api` shows them.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::video::{ListTag, Page, tag};
use crate::{ApiError, Seconds, Size, Video, VideoError, VideoId, VideoStatus, failure};

tag!(
    /// `"job"`.
    JobTag,
    "job"
);
tag!(
    /// `"model"`.
    ModelTag,
    "model"
);

/// Where a job is, in Kinora's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// It waits.
    Queued,
    /// A worker has it.
    Running,
    /// Its video is there.
    Succeeded,
    /// It will not come.
    Failed,
    /// Somebody stopped it.
    Cancelled,
}

impl JobStatus {
    /// As the wire writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing changes any more.
    pub fn is_final(self) -> bool {
        VideoStatus::from(self).is_final()
    }
}

impl fmt::Display for JobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// OpenAI's words for it. There is no "cancelled" among them: such a video is a failed one, and its error says why.
impl From<JobStatus> for VideoStatus {
    fn from(status: JobStatus) -> Self {
        match status {
            JobStatus::Queued => Self::Queued,
            JobStatus::Running => Self::InProgress,
            JobStatus::Succeeded => Self::Completed,
            JobStatus::Failed | JobStatus::Cancelled => Self::Failed,
        }
    }
}

impl VideoError {
    /// Why a cancelled video is a failed one.
    pub fn cancelled() -> Self {
        Self {
            code: failure::CANCELLED.to_owned(),
            message: "The video was cancelled.".to_owned(),
        }
    }
}

/// The four steps from a prompt to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobStage {
    /// The prompt is understood.
    Parse,
    /// What was understood is put in the model's terms.
    Map,
    /// Noise becomes latents.
    Diffuse,
    /// Latents become a file.
    Render,
}

/// A job with everything that the video object has no place for. Its id is that of the video.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobView {
    /// Names the job and its video.
    pub id: VideoId,
    /// Always `job`.
    #[serde(default)]
    pub object: JobTag,
    /// Where it is.
    pub status: JobStatus,
    /// What is being done.
    pub stage: Option<JobStage>,
    /// The step of the stage, counted from 1.
    pub step: Option<u32>,
    /// How many steps the stage has.
    pub steps: Option<u32>,
    /// Jobs before it in the queue.
    pub queue_position: Option<u64>,
    /// When it will be finished at this pace, in milliseconds from now.
    pub remaining_ms: Option<u64>,
    /// How often it was begun.
    pub attempt: u32,
    /// The step of its last checkpoint: a crash loses no more than what came after it.
    pub checkpoint_step: Option<u32>,
    /// Whether somebody asked to stop it.
    pub cancel_requested: bool,
    /// Larger ones come first.
    pub priority: i32,
    /// When it was begun, in seconds since 1970.
    pub started_at: Option<u64>,
    /// The last event, for `Last-Event-ID`.
    pub last_event_id: u64,
    /// What the client noted.
    #[serde(default)]
    pub metadata: BTreeMap<String, Value>,
    /// The video as `/v1/videos` shows it.
    pub video: Video,
}

/// A page of jobs.
pub type JobList = Page<JobView>;

/// A model of the server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ModelView {
    /// Its name.
    pub id: String,
    /// Always `model`.
    #[serde(default)]
    pub object: ModelTag,
    /// Other names that it answers to.
    pub aliases: Vec<String>,
    /// Whether a worker is making a video with it now, so that its weights are in memory.
    pub loaded: bool,
    /// The licence of its weights, in SPDX's words.
    pub licence: Option<String>,
    /// Its size if none is asked for.
    pub default_size: Size,
    /// Its length if none is asked for.
    pub default_seconds: Seconds,
    /// Its sizes, if they are a list.
    pub sizes: Vec<Size>,
    /// Its lengths, if they are a list.
    pub seconds: Vec<Seconds>,
}

/// The models of a server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ModelList {
    /// Always `list`.
    #[serde(default)]
    pub object: ListTag,
    /// All of them.
    pub data: Vec<ModelView>,
}

/// Whether something works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    /// It does.
    Ok,
    /// It does, but somebody should look.
    Degraded,
    /// It does not.
    Failing,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// Whether it works.
    pub status: HealthStatus,
    /// What is wrong, without secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The answer of `/healthz` and `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// The worst of the checks.
    pub status: HealthStatus,
    /// The version of the server.
    pub version: String,
    /// What was looked at, by name: `database`, `storage`, `workers`.
    pub checks: BTreeMap<String, Check>,
}

impl Health {
    /// The health of a server with these checks.
    pub fn new(version: impl Into<String>, checks: BTreeMap<String, Check>) -> Self {
        let worst = checks.values().map(|check| check.status).max();
        Self {
            status: worst.unwrap_or(HealthStatus::Ok),
            version: version.into(),
            checks,
        }
    }

    /// The HTTP status that it is sent with.
    pub fn http_status(&self) -> u16 {
        match self.status {
            HealthStatus::Ok | HealthStatus::Degraded => 200,
            HealthStatus::Failing => ApiError::unavailable(1000).status,
        }
    }
}
