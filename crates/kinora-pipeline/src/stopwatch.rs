//! Runs the stages, measures them, and tells the observer.

use std::time::{Duration, Instant};

use kinora_kernels::trace;

use crate::Result;
use crate::progress::{Event, Observer, Stage};
use crate::report::Timings;

/// Times of the stages of the clip that is being made.
pub(crate) struct Stopwatch<'a> {
    observer: &'a mut dyn Observer,
    spent: [Duration; Stage::ALL.len()],
    current: Stage,
    clip_started: Option<Instant>,
}

impl<'a> Stopwatch<'a> {
    pub(crate) fn new(observer: &'a mut dyn Observer) -> Self {
        Self {
            observer,
            spent: Default::default(),
            current: Stage::Parse,
            clip_started: None,
        }
    }

    pub(crate) fn observer(&mut self) -> &mut dyn Observer {
        self.observer
    }

    /// The stage that ran last.
    pub(crate) const fn current(&self) -> Stage {
        self.current
    }

    /// Runs `work` as `stage`. Diffuse and render announce their units themselves; the others have one.
    pub(crate) fn stage<T>(&mut self, stage: Stage, work: impl FnOnce(&mut dyn Observer) -> Result<T>) -> Result<T> {
        let has_own_units = matches!(stage, Stage::Diffuse | Stage::Render);
        if !has_own_units {
            self.observer.event(&Event::StageStarted { stage, units: 1 });
        }
        self.current = stage;
        let started = Instant::now();
        let span = trace::span(stage.name(), 0.0);
        let result = work(self.observer)?;
        drop(span);
        let took = started.elapsed();
        self.spent[stage as usize] += took;
        if !has_own_units {
            self.observer.event(&Event::Progress { stage, done: 1, of: 1 });
        }
        self.observer.event(&Event::StageFinished { stage, took });
        Ok(result)
    }

    /// Runs `work` as a part of `stage` that is not announced.
    pub(crate) fn stage_quietly<T>(
        &mut self,
        stage: Stage,
        work: impl FnOnce(&mut dyn Observer) -> Result<T>,
    ) -> Result<T> {
        let started = Instant::now();
        let _span = trace::span(stage.name(), 0.0);
        let result = work(self.observer);
        self.spent[stage as usize] += started.elapsed();
        result
    }

    /// The times since the last call (or since `run_started`), and starts over.
    pub(crate) fn take_timings(&mut self, run_started: Instant) -> Timings {
        let ms = |stage: Stage| self.spent[stage as usize].as_millis() as u64;
        let total = self.clip_started.unwrap_or(run_started).elapsed();
        let timings = Timings {
            load_ms: 0,
            parse_ms: ms(Stage::Parse),
            map_ms: ms(Stage::Map),
            diffuse_ms: ms(Stage::Diffuse),
            render_ms: ms(Stage::Render),
            total_ms: total.as_millis() as u64,
        };
        self.spent = Default::default();
        self.clip_started = Some(Instant::now());
        timings
    }
}
