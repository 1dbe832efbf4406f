//! Progress as server-sent events: `GET /api/jobs/{id}/events`, resumable by `Last-Event-ID`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::JobStage;
use crate::{ApiError, Video, VideoError, VideoId};

/// The header by which a client says which event it saw last.
pub const LAST_EVENT_ID: &str = "last-event-id";
/// What is sent while nothing happens, so that nobody on the way cuts the connection.
pub const SSE_KEEP_ALIVE: &str = ": keep-alive\n\n";
/// The largest event that a reader takes.
const LARGEST_EVENT_BYTES: usize = 1 << 20;

/// Something that happened to a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobEvent {
    /// Its place in the log of the server: grows from event to event of a job, with gaps. Two that came of one step share it.
    pub sequence: u64,
    /// The job and its video.
    pub job_id: VideoId,
    /// When it happened, in milliseconds since 1970.
    pub at_ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub data: EventData,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type")]
pub enum EventData {
    /// It waits, also after an attempt that a crash ended.
    #[serde(rename = "job.queued")]
    Queued {
        /// Jobs before it.
        queue_position: Option<u64>,
    },
    /// A worker has it.
    #[serde(rename = "job.started")]
    Started {
        /// How often it was begun.
        attempt: u32,
        /// The step after which it goes on, if an earlier attempt left a checkpoint.
        resumed_from_step: Option<u32>,
    },
    /// It came further.
    #[serde(rename = "job.progress")]
    Progress {
        /// What is being done.
        stage: JobStage,
        /// The step that is finished, counted from 1.
        step: u32,
        /// How many there are.
        steps: u32,
        /// The same as in the video: 0 to 100.
        #[schemars(range(max = 100))]
        progress: u8,
        /// When it will be finished at this pace, in milliseconds from now.
        remaining_ms: Option<u64>,
    },
    /// There is a picture of how it looks so far.
    #[serde(rename = "job.preview")]
    Preview {
        /// The step that it shows.
        step: u32,
        /// Where it lies, relative to the server.
        url: String,
        /// What it is.
        content_type: String,
    },
    /// A crash from here on loses no more than what comes after this step.
    #[serde(rename = "job.checkpoint")]
    Checkpoint {
        /// The step.
        step: u32,
    },
    /// Somebody asked to stop it.
    #[serde(rename = "job.cancel_requested")]
    CancelRequested {},
    /// Its video is there. The last event.
    #[serde(rename = "job.succeeded")]
    Succeeded {
        /// The video.
        video: Box<Video>,
    },
    /// It will not come. The last event.
    #[serde(rename = "job.failed")]
    Failed {
        /// Why.
        error: VideoError,
    },
    /// It was stopped. The last event.
    #[serde(rename = "job.cancelled")]
    Cancelled {},
}

impl EventData {
    /// The member `type`, which is also the name of the server-sent event.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Queued { .. } => "job.queued",
            Self::Started { .. } => "job.started",
            Self::Progress { .. } => "job.progress",
            Self::Preview { .. } => "job.preview",
            Self::Checkpoint { .. } => "job.checkpoint",
            Self::CancelRequested {} => "job.cancel_requested",
            Self::Succeeded { .. } => "job.succeeded",
            Self::Failed { .. } => "job.failed",
            Self::Cancelled {} => "job.cancelled",
        }
    }

    /// Whether the stream ends with it.
    pub fn is_last(&self) -> bool {
        matches!(self, Self::Succeeded { .. } | Self::Failed { .. } | Self::Cancelled {})
    }
}

impl JobEvent {
    /// The event as it goes over the wire, with the empty line that ends it.
    ///
    /// **Errors**: numbers that JSON has no words for (a video whose frame rate is none).
    pub fn to_sse(&self) -> Result<String, serde_json::Error> {
        // JSON on one line has no line ends inside, so one `data:` is enough.
        let data = serde_json::to_string(self)?;
        Ok(format!(
            "id: {}\nevent: {}\ndata: {data}\n\n",
            self.sequence,
            self.data.name()
        ))
    }

    /// The event that a client saw last, from its header: 0 without one.
    ///
    /// **Errors**: 400 if it is no number.
    pub fn last_seen(header: Option<&str>) -> Result<u64, ApiError> {
        let Some(text) = header.map(str::trim).filter(|text| !text.is_empty()) else {
            return Ok(0);
        };
        text.parse()
            .map_err(|_| ApiError::invalid_value("Last-Event-ID", text, "Expected the id of an event, a number."))
    }
}

/// Reads a stream of events from pieces of any size, for clients.
#[derive(Debug, Default)]
pub struct SseReader {
    /// The bytes of a line that has not ended.
    line: Vec<u8>,
    /// The data of an event that has not ended.
    data: String,
}

impl SseReader {
    /// A reader at the beginning of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// The events that are complete with this piece.
    ///
    /// **Errors**: an event that is no [`JobEvent`], or too large to be one.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<JobEvent>, serde_json::Error> {
        let mut events = Vec::new();
        for byte in bytes {
            if *byte != b'\n' {
                if self.line.len() + self.data.len() >= LARGEST_EVENT_BYTES {
                    return Err(serde::de::Error::custom("an event of more than a megabyte"));
                }
                self.line.push(*byte);
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let line = line.strip_suffix(b"\r").unwrap_or(&line);
            if line.is_empty() {
                let data = std::mem::take(&mut self.data);
                if !data.is_empty() {
                    events.push(serde_json::from_str(&data)?);
                }
            } else if let Some(data) = line.strip_prefix(b"data:") {
                let data = data.strip_prefix(b" ").unwrap_or(data);
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(&String::from_utf8_lossy(data));
            }
        }
        Ok(events)
    }
}
