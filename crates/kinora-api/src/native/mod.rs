//! What OpenAI never had, under `/api`: the state of jobs, their events, variants, storyboards, blends, loops, models,
//! health.

mod events;
mod requests;
mod views;

pub use events::{EventData, JobEvent, LAST_EVENT_ID, SSE_KEEP_ALIVE, SseReader};
pub use requests::{BlendVideos, CreateStoryboard, LoopVideo, MakeVariants, Shot, Transition};
pub use views::{Check, Health, HealthStatus, JobList, JobStage, JobStatus, JobView, ModelList, ModelView};
