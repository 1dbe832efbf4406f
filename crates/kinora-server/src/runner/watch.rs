//! Between a run of the pipeline and the record of its job: progress, previews, checkpoints, and the wish to stop.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kinora_jobs::{Job, Progress, Stop};
use kinora_media::{Fps, Frame, resize};
use kinora_pipeline::{CancelToken, Checkpoints, Description, Error, Event, Observer, Stage};

use super::Place;
use super::finish::{preview_key, write_webp};
use super::pace::Pace;
use crate::files::{BlockingFiles, FileRef};

/// Checkpoints take at most one part in so many of the time,
const CHECKPOINT_TIMES: u32 = 50;
/// and previews too,
const PREVIEW_TIMES: u32 = 50;
/// with at least this between two.
const PREVIEW_LEAST: Duration = Duration::from_secs(2);
/// The record hears of frames at most so often; each word to it is a write to its disk.
const FRAMES_LEAST: Duration = Duration::from_millis(500);
/// Previews are enlarged until their longest side has so many pixels.
const PREVIEW_PX: u32 = 256;

/// What both sides of a run know.
pub(super) struct Shared<'a, 'p> {
    progress: &'a mut Progress<'p>,
    files: &'a BlockingFiles,
    place: &'a Place,
    cancel: CancelToken,
    /// Why the run was asked to end.
    stop: Option<Stop>,
    /// The part of the clip that is made, and how many there are.
    part: (u64, u64),
    /// Steps of the whole run that are done, and whether the last one ended its part.
    step: u64,
    part_is_done: bool,
    /// How often previews play.
    preview_fps: Option<Fps>,
    preview_pace: Pace,
    last_preview: Option<FileRef>,
    frames_pace: Pace,
    checkpoint_pace: Pace,
    checkpoint_begun: Instant,
    /// The newest checkpoint of the job, ours or an earlier attempt's.
    checkpoint: Option<FileRef>,
}

impl<'a, 'p> Shared<'a, 'p> {
    pub(super) fn new(
        progress: &'a mut Progress<'p>,
        files: &'a BlockingFiles,
        place: &'a Place,
        job: &Job,
        cancel: CancelToken,
        model: &Description,
    ) -> Self {
        let factor = u32::try_from(model.temporal_factor).unwrap_or(1).max(1);
        Self {
            progress,
            files,
            place,
            cancel,
            stop: None,
            part: (0, 1),
            step: 0,
            part_is_done: false,
            preview_fps: Fps::new(model.fps.num, model.fps.den.saturating_mul(factor)).ok(),
            preview_pace: Pace::new(PREVIEW_LEAST, PREVIEW_TIMES),
            last_preview: None,
            frames_pace: Pace::new(FRAMES_LEAST, 1),
            checkpoint_pace: Pace::new(Duration::ZERO, CHECKPOINT_TIMES),
            checkpoint_begun: Instant::now(),
            checkpoint: job.checkpoint.as_ref().map(|kept| FileRef(kept.reference.clone())),
        }
    }

    /// Why the run ended, if it was asked to.
    pub(super) fn stopped(self) -> Option<Stop> {
        self.stop
    }

    /// Goes on, or asks the run to end at its next step.
    fn hear(&mut self, answer: Result<(), Stop>) {
        if let Err(stop) = answer {
            self.stop.get_or_insert(stop);
            self.cancel.cancel();
        }
    }

    fn report(&mut self, stage: Stage, done: u64, of: u64) {
        let answer = self.progress.report(stage.name(), done, of);
        self.hear(answer);
    }

    /// Steps and frames of all parts: to who watches, a clip of several parts is made in one go.
    fn progress(&mut self, stage: Stage, done: u64, of: u64) {
        let (part, parts) = self.part;
        match stage {
            Stage::Diffuse => {
                self.step += 1;
                self.part_is_done = done == of;
                self.report(stage, part * of + done, parts * of);
            }
            // Frames of the earlier parts come between steps; the bar does not go back for them.
            Stage::Render if part + 1 == parts && (self.frames_pace.is_due() || done == of) => {
                self.frames_pace.done(Instant::now());
                self.report(stage, done, of);
            }
            _ => {
                let answer = self.progress.check();
                self.hear(answer);
            }
        }
    }

    fn preview(&mut self, pictures: &[Frame]) {
        if pictures.is_empty() || self.stop.is_some() {
            return;
        }
        let begun = Instant::now();
        // A video is worth more than its previews: one that cannot be written is left out.
        match self.write_preview(pictures) {
            Ok(key) => {
                let answer = self.progress.preview(&key.0);
                self.hear(answer);
                if let Some(last) = self.last_preview.replace(key) {
                    self.files.delete(&last).ok();
                }
            }
            Err(error) => tracing::warn!(%error, "a preview was not written"),
        }
        self.preview_pace.done(begun);
    }

    fn write_preview(&self, pictures: &[Frame]) -> crate::Result<FileRef> {
        let key = preview_key(self.place, self.step + 1);
        let path = self.place.scratch.join("preview.webp");
        let refused = |error: kinora_media::Error| crate::Error::Files {
            action: "write",
            key: key.0.clone(),
            reason: error.to_string(),
        };
        let pictures: Vec<Frame> = pictures
            .iter()
            .map(enlarged)
            .collect::<Result<_, _>>()
            .map_err(refused)?;
        let fps = self.preview_fps.map_or_else(|| Fps::new(4, 1), Ok).map_err(refused)?;
        write_webp(&path, &pictures, fps).map_err(refused)?;
        self.files.import(&path, &key)?;
        Ok(key)
    }

    fn note(&self, note: &str) {
        tracing::info!(job = %self.place.job, note, "the run says");
    }
}

fn enlarged(picture: &Frame) -> kinora_media::Result<Frame> {
    let longest = picture.width_px.max(picture.height_px).max(1);
    let times = (PREVIEW_PX / longest).max(1);
    match times {
        1 => Ok(picture.clone()),
        times => resize(picture, picture.width_px * times, picture.height_px * times),
    }
}

/// Hears the run.
pub(super) struct Watcher<'s, 'a, 'p>(pub(super) &'s RefCell<Shared<'a, 'p>>);

impl Observer for Watcher<'_, '_, '_> {
    fn event(&mut self, event: &Event<'_>) {
        let mut shared = self.0.borrow_mut();
        match event {
            Event::SegmentStarted { segment, segments } => {
                shared.part = (*segment as u64, (*segments as u64).max(1));
            }
            Event::Resumed { step } => {
                shared.step = *step;
                tracing::info!(job = %shared.place.job, step, "the run goes on from a checkpoint");
            }
            // Parts after the first are mapped between steps.
            Event::StageStarted {
                stage: stage @ (Stage::Parse | Stage::Map),
                ..
            } if shared.part.0 == 0 && shared.step == 0 => shared.report(*stage, 0, 1),
            Event::Progress { stage, done, of } => shared.progress(*stage, *done as u64, *of as u64),
            Event::Preview(pictures) => shared.preview(pictures),
            Event::Note(note) => shared.note(note),
            _ => {}
        }
    }

    fn wants_preview(&self) -> bool {
        self.0.borrow().preview_pace.is_due()
    }
}

/// Keeps the checkpoints of the run.
pub(super) struct Keeper<'s, 'a, 'p>(pub(super) &'s RefCell<Shared<'a, 'p>>);

impl Keeper<'_, '_, '_> {
    fn key(place: &Place, step: u64) -> FileRef {
        FileRef(format!("checkpoints/{}/{}-{step}.safetensors", place.job, place.fence))
    }
}

impl Checkpoints for Keeper<'_, '_, '_> {
    fn resume(&mut self) -> Option<PathBuf> {
        let shared = self.0.borrow();
        let key = shared.checkpoint.as_ref()?;
        if let Some(path) = shared.files.local_path(key) {
            return path.is_file().then_some(path);
        }
        let path = shared.place.scratch.join("resume.safetensors");
        match shared.files.fetch_to(key, &path) {
            Ok(found) => found.then_some(path),
            Err(error) => {
                tracing::warn!(%error, "a checkpoint cannot be read; the video is made from its beginning");
                None
            }
        }
    }

    /// After the first step of each attempt, so that each comes further than the one before; at the end of a part, whose
    /// frames may take long; and between as often as their cost allows.
    fn path_for(&mut self, step: u64) -> Option<PathBuf> {
        let mut shared = self.0.borrow_mut();
        if shared.stop.is_some() || !(shared.part_is_done || shared.checkpoint_pace.is_due()) {
            return None;
        }
        shared.checkpoint_begun = Instant::now();
        let key = Self::key(shared.place, step);
        let Some(path) = shared.files.local_path(&key) else {
            return Some(shared.place.scratch.join("checkpoint.safetensors"));
        };
        if let Some(folder) = path.parent()
            && let Err(error) = std::fs::create_dir_all(folder)
        {
            tracing::warn!(%error, "no checkpoint can be kept");
            return None;
        }
        Some(path)
    }

    fn kept(&mut self, path: &Path, step: u64) -> kinora_pipeline::Result<()> {
        let mut shared = self.0.borrow_mut();
        let key = Self::key(shared.place, step);
        if shared.files.local_path(&key).as_deref() != Some(path)
            && let Err(error) = shared.files.import(path, &key)
        {
            tracing::warn!(%error, "a checkpoint was not kept");
            let begun = shared.checkpoint_begun;
            shared.checkpoint_pace.done(begun);
            return Ok(());
        }
        let answer = shared.progress.checkpoint(&key.0, step);
        let begun = shared.checkpoint_begun;
        shared.checkpoint_pace.done(begun);
        // The record knows the new one, unless it said that the job is another's or did not answer at all.
        let is_known = !matches!(answer, Err(Stop::Lost | Stop::Store(_)));
        if is_known && let Some(last) = shared.checkpoint.replace(key) {
            shared.files.delete(&last).ok();
        }
        match answer {
            Ok(()) => Ok(()),
            Err(stop) => {
                let reason = format!("{stop:?}");
                shared.hear(Err(stop));
                Err(Error::Stopped { reason })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn previews_are_large_enough_to_see() {
        let small = Frame::filled(64, 36, [9; 3]).unwrap();
        let large = enlarged(&small).unwrap();
        assert_eq!((large.width_px, large.height_px), (256, 144));
        let large = Frame::filled(300, 200, [9; 3]).unwrap();
        assert_eq!(enlarged(&large).unwrap(), large);
    }
}
