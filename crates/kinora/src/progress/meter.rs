//! Where a run stands, put together from its events.

use std::time::Duration;

use kinora_pipeline::{Event, Stage};

use super::time_left::TimeLeft;
use crate::units;

/// The stage that is under way.
pub struct Current {
    /// The stage.
    pub stage: Stage,
    /// Finished units.
    pub done: usize,
    /// All units.
    pub of: usize,
    left: TimeLeft,
}

/// Where a run stands.
#[derive(Default)]
pub struct Meter {
    clips: u32,
    segment: Option<(usize, usize)>,
    /// The stage that is under way.
    pub current: Option<Current>,
}

impl Meter {
    /// Takes in an event. Gives back the line that it leaves for good, if any.
    pub fn event(&mut self, event: &Event<'_>, now: Duration) -> Option<String> {
        match *event {
            Event::ClipStarted {
                variant,
                variants,
                seed,
            } => {
                *self = Self {
                    clips: variants,
                    ..Self::default()
                };
                (self.clips > 1).then(|| format!("clip {} of {variants}, seed {seed}", variant + 1))
            }
            Event::SegmentStarted { segment, segments } => {
                self.segment = (segments > 1).then_some((segment + 1, segments));
                None
            }
            Event::StageStarted { stage, units } => {
                self.current = Some(Current {
                    stage,
                    done: 0,
                    of: units,
                    left: TimeLeft::start(units, now),
                });
                None
            }
            Event::Progress { stage, done, of } => {
                if let Some(current) = self.current.as_mut().filter(|current| current.stage == stage) {
                    (current.done, current.of) = (done, of);
                    current.left.advance(done, now);
                }
                None
            }
            Event::StageFinished { stage, took } => {
                self.current = None;
                Some(format!(
                    "{:<8}done in {}{}",
                    stage.name(),
                    units::time(took),
                    self.part()
                ))
            }
            Event::Note(text) => Some(format!("note: {text}")),
            _ => None,
        }
    }

    /// `, part 2 of 3` when the clip is made in parts.
    pub fn part(&self) -> String {
        self.segment
            .map(|(segment, segments)| format!(", part {segment} of {segments}"))
            .unwrap_or_default()
    }

    /// `step 3 of 30, 41 s left, peak memory 512 MB`.
    pub fn standing(&self, now: Duration, peak_bytes: Option<u64>) -> String {
        let Some(current) = &self.current else {
            return String::new();
        };
        let unit = if current.stage == Stage::Render {
            "frame"
        } else {
            "step"
        };
        let left = current
            .left
            .estimate(now)
            .map(|left| format!(", {} left", units::time(left)));
        let peak = peak_bytes.map(|peak| format!(", peak memory {}", units::bytes(peak)));
        let (left, peak) = (left.unwrap_or_default(), peak.unwrap_or_default());
        format!("{unit} {} of {}{}{left}{peak}", current.done, current.of, self.part())
    }
}
