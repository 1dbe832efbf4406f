//! parse → map → diffuse → render: from a prompt to a finished clip.
//!
//! One direction, no way back up: a step knows only the value that the step before handed to it. The folders of this
//! crate are the four steps. [`Pipeline`] holds a loaded model and runs a [`Request`] through them; an [`Observer`] hears
//! how far it is, a [`CancelToken`] stops it, and the [`RunReport`] says what came out and how to repeat it. A run that
//! keeps [`Checkpoints`] may die at any time: another process goes on from the newest one, to the same bytes.
//!
//! ```no_run
//! use kinora_pipeline::{CancelToken, OpenOptions, Pipeline, Request, Silent};
//! let pipeline = Pipeline::open("toybox", OpenOptions::default())?;
//! let request = Request::new("a rocket flies over a city at sunset", "rocket.mp4", kinora_media::Format::Mp4);
//! let report = pipeline.run(&request, &mut Silent, &CancelToken::new())?;
//! println!("{}", report.clips[0].outputs[0].path.display());
//! # Ok::<(), kinora_pipeline::Error>(())
//! ```

mod checkpoint;
mod clip;
mod decode;
mod description;
mod diffuse;
mod error;
mod inputs;
mod latents;
mod map;
pub mod memory;
mod memory_plan;
mod model;
mod options;
mod outline;
pub mod parse;
mod pipeline;
mod plan;
mod precision;
mod prepare;
pub mod profile;
mod progress;
mod render;
mod report;
mod request;
mod saved;
mod steer;
mod stopwatch;
mod tasks;

pub use checkpoint::{Checkpoints, NoCheckpoints};
pub use decode::DecodeRequest;
pub use description::{Description, StartsFrom};
pub use error::{Error, ErrorKind, Result};
pub use memory_plan::{GuidanceMode, MemoryPlan, WeightsMode};
pub use options::{LoraChoice, OpenOptions};
pub use outline::Outline;
pub use pipeline::{Parsed, Pipeline, read_recipe};
pub use plan::{Plan, Segment, SourceClip, Task};
pub use precision::{PrecisionChoice, ResolvedPrecision};
pub use progress::{CancelToken, Event, Observer, Silent, Stage};
pub use report::{
    CacheRecord, CancelRecord, CharacterRecord, ClipReport, LengthRecord, LoraRecord, ModelRecord, OutputRecord,
    Recipe, RunPlan, RunReport, ShotRecord, SizeRecord, Timings,
};
pub use request::{CacheChoice, Length, PromptMode, Request, Size};
pub use saved::SavedLatents;
pub use tasks::{Blend, CharacterPicture, CharacterUse, CloseLoop, Shot, Transition, character_from_clip};
