//! Says on stderr how a run is going: lines for a log file, or a bar and a small preview for a terminal.

mod bytes;
mod clips;
mod live;
mod meter;
mod plain;
mod time_left;

use std::time::Instant;

use kinora_pipeline::{CancelToken, Event, Observer};

pub use bytes::Bytes;
pub use clips::Clips;
pub use live::CLEAR_BELOW;
use live::Live;
use meter::Meter;
use plain::Plain;

use crate::preview::Painter;

/// How much is said, and how.
pub enum Style {
    /// Nothing.
    Quiet,
    /// Lines without control codes.
    Plain,
    /// A bar that moves, with a preview if there is a painter.
    Live(Option<Painter>),
}

/// Listens to a run on behalf of the user.
pub struct Reporter {
    started: Instant,
    voice: Voice,
}

enum Voice {
    Quiet,
    Plain(Plain<std::io::Stderr>),
    Live(Live),
}

impl Reporter {
    /// A reporter; `cancel` lets it say that a stop is under way.
    pub fn new(style: Style, cancel: &CancelToken) -> Self {
        let started = Instant::now();
        let voice = match style {
            Style::Quiet => Voice::Quiet,
            Style::Plain => Voice::Plain(Plain::new(std::io::stderr())),
            Style::Live(painter) => Voice::Live(Live::start(painter, cancel.clone(), started)),
        };
        Self { started, voice }
    }

    /// Takes everything that moves off the terminal.
    pub fn finish(self) {
        if let Voice::Live(live) = self.voice {
            live.finish();
        }
    }
}

impl Observer for Reporter {
    fn event(&mut self, event: &Event<'_>) {
        let now = self.started.elapsed();
        match &mut self.voice {
            Voice::Quiet => {}
            Voice::Plain(plain) => plain.event(event, now),
            Voice::Live(live) => live.event(event, now),
        }
    }

    fn wants_preview(&self) -> bool {
        matches!(&self.voice, Voice::Live(live) if live.has_painter())
    }
}
