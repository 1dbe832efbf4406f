//! What a run tells while it works, and how it is stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kinora_media::Frame;
use serde::{Deserialize, Serialize};

use crate::report::RunPlan;

/// The four steps from a prompt to a clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Text to scene.
    Parse,
    /// Scene to conditioning.
    Map,
    /// Noise to latents.
    Diffuse,
    /// Latents to a file.
    Render,
}

impl Stage {
    /// All four, in order.
    pub const ALL: [Self; 4] = [Self::Parse, Self::Map, Self::Diffuse, Self::Render];

    /// The word that a user sees.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Parse => "parse",
            Self::Map => "map",
            Self::Diffuse => "diffuse",
            Self::Render => "render",
        }
    }
}

/// One piece of news from a run.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// How the run is going to be carried out. Comes first, before anything is computed.
    Planned(&'a RunPlan),
    /// A clip begins: `variant` of `variants`, counted from 0.
    ClipStarted {
        /// Which clip.
        variant: u32,
        /// Of how many.
        variants: u32,
        /// Its seed.
        seed: u64,
    },
    /// The run goes on from a checkpoint: `step` steps of the whole run (counted over all parts) are done, and
    /// [`Event::Progress`] comes only for those that follow. Parts that were finished are decoded again, without diffuse.
    Resumed {
        /// How many steps.
        step: u64,
    },
    /// A long clip is made in parts; part `segment` of `segments` begins (counted from 0).
    SegmentStarted {
        /// Which part.
        segment: usize,
        /// Of how many.
        segments: usize,
    },
    /// A stage begins; `units` are model steps in diffuse, frames in render, 1 elsewhere.
    StageStarted {
        /// The stage.
        stage: Stage,
        /// How many times [`Event::Progress`] will come.
        units: usize,
    },
    /// `done` of the stage's units are finished.
    Progress {
        /// The stage.
        stage: Stage,
        /// Finished units.
        done: usize,
        /// All units.
        of: usize,
    },
    /// What the clip is going to look like: one small frame for each latent frame. Comes after a step of diffuse, if
    /// the observer wants it.
    Preview(&'a [Frame]),
    /// A finished frame of the clip, at the size and rate of the file; in playing order.
    Frame(&'a Frame),
    /// A stage is finished.
    StageFinished {
        /// The stage.
        stage: Stage,
        /// Wall-clock time that it took.
        took: Duration,
    },
    /// Something that the user should know: what the model does not know, what was adapted.
    Note(&'a str),
}

/// Listens to a run.
pub trait Observer {
    /// Called on the thread that runs; should return soon.
    fn event(&mut self, event: &Event<'_>);

    /// Whether [`Event::Preview`] shall be computed.
    fn wants_preview(&self) -> bool {
        false
    }
}

/// An observer that hears nothing.
pub struct Silent;

impl Observer for Silent {
    fn event(&mut self, _: &Event<'_>) {}
}

/// A switch that stops a run at its next step. Clones share the switch.
#[derive(Debug, Clone, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// A switch that is not set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the run to stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether someone asked.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
