//! Where a run stands, put together from its events.

use std::time::Duration;

use kinora_pipeline::{Event, RunPlan, Stage, WeightsMode};

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
            Event::Planned(plan) => Some(plan_line(plan)),
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

/// `plan    int8 (auto: ...), guidance batched, about 512 MB of 2.0 GB at most (--max-memory), 2 threads, avx512 kernels`.
fn plan_line(plan: &RunPlan) -> String {
    let memory = &plan.memory;
    let expected = units::bytes(memory.peak_bytes);
    let expected = match memory.limit {
        Some(limit) => format!("{expected} of {} ({})", units::bytes(limit.bytes), limit.from.name()),
        None => expected,
    };
    let threads = match plan.threads {
        1 => "1 thread".to_owned(),
        count => format!("{count} threads"),
    };
    let weights = match memory.weights {
        WeightsMode::Kept => String::new(),
        other => format!(", {}", other.name()),
    };
    let tiles = memory
        .tile_px
        .map(|side| format!(", decoded in tiles of {side} pixels"));
    let ways = weights + &tiles.unwrap_or_default();
    format!(
        "plan    {} ({}), guidance {}{ways}, peak memory about {expected}, {threads}, {} kernels",
        plan.precision,
        plan.precision_reason,
        memory.guidance.name(),
        plan.kernels
    )
}

#[cfg(test)]
mod tests {
    use kinora_pipeline::memory::{LimitSource, MemoryLimit};
    use kinora_pipeline::{GuidanceMode, MemoryPlan};

    use super::*;

    #[test]
    fn a_plan_is_one_line_before_everything_else() {
        let mut plan = RunPlan {
            precision: "int8".into(),
            precision_reason: "asked for".into(),
            kernels: "avx512".into(),
            threads: 2,
            memory: MemoryPlan {
                weights: WeightsMode::Kept,
                tile_px: None,
                guidance: GuidanceMode::Sequential,
                loaded_bytes: 300_000_000,
                map_bytes: 0,
                diffuse_bytes: 50_000_000,
                render_bytes: 100_000_000,
                peak_bytes: 412_000_000,
                limit: Some(MemoryLimit {
                    bytes: 2_000_000_000,
                    from: LimitSource::Request,
                }),
            },
        };
        assert_eq!(
            Meter::default().event(&Event::Planned(&plan), Duration::ZERO).unwrap(),
            "plan    int8 (asked for), guidance sequential, peak memory about 412 MB of 2.0 GB (--max-memory), 2 threads, \
             avx512 kernels"
        );
        (plan.memory.limit, plan.threads) = (None, 1);
        assert_eq!(
            plan_line(&plan),
            "plan    int8 (asked for), guidance sequential, peak memory about 412 MB, 1 thread, avx512 kernels"
        );
        (plan.memory.weights, plan.memory.tile_px) = (WeightsMode::Streamed, Some(256));
        assert_eq!(
            plan_line(&plan),
            "plan    int8 (asked for), guidance sequential, weights read block by block, decoded in tiles of 256 pixels, \
             peak memory about 412 MB, 1 thread, avx512 kernels"
        );
    }
}
