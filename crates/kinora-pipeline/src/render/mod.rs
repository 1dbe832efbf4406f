//! **render**: from latents to a file. Frames are decoded, finished and written one at a time, so memory does not grow
//! with the length of the clip.
//!
//! decode → interpolate to the asked rate → scale to the asked size → write. Marks and credentials have their door
//! between scaling and writing, and between writing and renaming (see [`kinora_media::ClipWriter`]).

mod output;

use std::collections::VecDeque;
use std::path::Path;

use kinora_kernels::trace;
use kinora_media::{ClipReader, Fit, Fps, Frame, Interpolator, Limits, fit};
use kinora_tensor::Tensor;

use output::Writers;
pub(crate) use output::{Destination, Finished};

use crate::model::{Decoder, Vae};
use crate::plan::Plan;
use crate::progress::{CancelToken, Event, Observer, Stage};
use crate::request::Size;
use crate::{Error, Result};

/// What a finished clip is like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Playing {
    /// Size of the file.
    pub(crate) size: Size,
    /// The rate at which the model makes frames.
    pub(crate) model_fps: Fps,
    /// The rate at which the file plays.
    pub(crate) fps: Fps,
    /// New frames at the model's rate; what the model makes beyond is surplus.
    pub(crate) new_frames: usize,
}

impl Playing {
    /// Frames of a file that holds the new frames alone.
    pub(crate) fn written_frames(&self) -> usize {
        self.resampled(self.new_frames, self.model_fps)
    }

    /// Frames that so many frames at the rate `from` become. Each rate change fills the time of the last frame; see
    /// [`Interpolator::finish`].
    pub(crate) fn resampled(&self, frames: usize, from: Fps) -> usize {
        let (num, den) = (
            u64::from(self.fps.num) * u64::from(from.den),
            u64::from(self.fps.den) * u64::from(from.num),
        );
        (frames as u64 * num).div_ceil(den) as usize
    }
}

impl From<&Plan> for Playing {
    fn from(plan: &Plan) -> Self {
        Self {
            size: plan.size.written,
            model_fps: plan.model_fps,
            fps: plan.fps,
            new_frames: plan.decoded_frames + plan.new_frames,
        }
    }
}

/// Turns the latents of one clip into its files, part by part.
pub(crate) struct Renderer {
    /// None if only the frames are wanted.
    writers: Option<Writers>,
    interpolator: Interpolator,
    /// Size of the file.
    size: Size,
    /// Rate of the file.
    fps: Fps,
    /// Rate of the model.
    model_fps: Fps,
    /// New frames still to come at the model's rate; what the model makes beyond is surplus.
    wanted: usize,
    /// The last frames as the model made them, for the next part.
    tail: VecDeque<Frame>,
    tail_frames: usize,
    /// Side of the tiles in which frames are decoded, if they are.
    tile_px: Option<u32>,
    /// The frame that follows the last one when the clip starts over, for a loop.
    follows: Option<Frame>,
    /// Frames that were handed to the interpolator.
    pushed: usize,
}

/// A part of a clip on its way from latents to frames.
pub(crate) struct PartRun<'a> {
    pub(crate) decoder: Decoder<'a>,
    /// Frames at its start that are not new.
    pub(crate) given_frames: usize,
    /// Frames after those that the clip gets.
    pub(crate) most_new: usize,
    /// Frames that were decoded.
    pub(crate) done: usize,
    /// Frames of the whole part.
    pub(crate) of: usize,
}

impl Renderer {
    /// Opens the files of one clip, if it shall have any.
    ///
    /// **Errors**: [`Error::Output`] if they cannot be written.
    pub(crate) fn create(
        playing: &Playing,
        destination: Option<&Destination<'_>>,
        tail_frames: usize,
        tile_px: Option<u32>,
    ) -> Result<Self> {
        Ok(Self {
            writers: destination.map(|to| Writers::create(playing, to)).transpose()?,
            interpolator: Interpolator::new(playing.model_fps, playing.fps),
            size: playing.size,
            fps: playing.fps,
            model_fps: playing.model_fps,
            wanted: playing.new_frames,
            tail: VecDeque::with_capacity(tail_frames),
            tail_frames,
            tile_px,
            follows: None,
            pushed: 0,
        })
    }

    /// Says what follows the last frame: the clip, from its beginning.
    pub(crate) fn loop_to(&mut self, first: Option<&Frame>) {
        self.follows = first.cloned();
    }

    /// Copies the clip that is continued, at the size and rate of the file, and remembers where it ends.
    pub(crate) fn copy_source(
        &mut self,
        path: &Path,
        source_fps: Fps,
        tail: &[Frame],
        observer: &mut dyn Observer,
        cancel: &CancelToken,
    ) -> Result<()> {
        let refuse = |source| Error::Input {
            path: path.to_owned(),
            source,
        };
        let reader = ClipReader::open(path, &Limits::default()).map_err(refuse)?;
        let mut resampler = Interpolator::new(source_fps, self.fps);
        for frame in reader {
            if cancel.is_cancelled() {
                return Err(Error::Cancelled { step: 0, of: 0 });
            }
            for frame in resampler.push(frame.map_err(refuse)?).map_err(Error::Media)? {
                self.write(&frame, observer)?;
            }
        }
        for frame in resampler.finish() {
            self.write(&frame, observer)?;
        }
        if let Some(last) = tail.last() {
            // New frames are interpolated from the last old one; its own output is in the file already.
            drop(self.interpolator.push(last.clone()).map_err(Error::Media)?);
            self.pushed += 1;
        }
        Ok(())
    }

    /// Decodes the latents of one part and writes its new frames.
    ///
    /// **Shapes**: `latents [1, C, F, h, w]`; the first `given_frames` decoded frames are not new, and of the others the clip
    /// gets `most_new`, if that is said.
    pub(crate) fn push_latents(
        &mut self,
        vae: &Vae,
        latents: &Tensor,
        given_frames: usize,
        most_new: Option<usize>,
        observer: &mut dyn Observer,
        cancel: &CancelToken,
    ) -> Result<()> {
        let [_, _, latent_frames, ..] = latents.dims_of::<5>("render", "[1, C, F, h, w]")?;
        let mut part = PartRun {
            decoder: vae.decoder(self.tile_px)?,
            given_frames,
            most_new: most_new.unwrap_or(usize::MAX),
            done: 0,
            of: vae.frames_of(latent_frames),
        };
        observer.event(&Event::StageStarted {
            stage: Stage::Render,
            units: part.of,
        });
        self.push_block(&mut part, latents, observer, cancel)
    }

    /// Decodes the next latent frames of a part, which may come in several blocks.
    pub(crate) fn push_block(
        &mut self,
        part: &mut PartRun<'_>,
        latents: &Tensor,
        observer: &mut dyn Observer,
        cancel: &CancelToken,
    ) -> Result<()> {
        let [_, _, latent_frames, ..] = latents.dims_of::<5>("render", "[1, C, F, h, w]")?;
        for index in 0..latent_frames {
            if cancel.is_cancelled() {
                return Err(Error::Cancelled {
                    step: part.done,
                    of: part.of,
                });
            }
            let span = trace::span("decode", 0.0);
            let frames = part.decoder.push(latents, index)?;
            drop(span);
            for tensor in frames {
                let frame = tensor_to_frame(&tensor)?;
                let new_before = part.done.checked_sub(part.given_frames);
                if new_before.is_some_and(|new_before| new_before < part.most_new) {
                    self.push_new(frame.clone(), observer)?;
                }
                // What comes next starts from the end of the clip, not from surplus.
                if new_before.is_none_or(|new_before| new_before < part.most_new) {
                    self.remember(frame);
                }
                part.done += 1;
                observer.event(&Event::Progress {
                    stage: Stage::Render,
                    done: part.done,
                    of: part.of,
                });
            }
        }
        Ok(())
    }

    /// The last frames as the model made them, in playing order.
    pub(crate) fn tail(&self) -> Vec<Frame> {
        self.tail.iter().cloned().collect()
    }

    /// Writes what is held back and gives the files their names.
    pub(crate) fn finish(mut self, observer: &mut dyn Observer) -> Result<Finished> {
        let mut interpolator = std::mem::replace(&mut self.interpolator, Interpolator::new(self.fps, self.fps));
        let rest = match self.follows.take() {
            None => interpolator.finish(),
            Some(first) => {
                let mut between = interpolator.push(first).map_err(Error::Media)?;
                if self.is_at_a_frame(self.pushed) {
                    // The first frame itself, which the file has where it begins.
                    between.pop();
                }
                between
            }
        };
        for frame in rest {
            self.write(&frame, observer)?;
        }
        self.writers.map_or_else(|| Ok(Finished::default()), Writers::finish)
    }

    /// Whether a frame of the file lies exactly at frame `index` of the interpolator.
    fn is_at_a_frame(&self, index: usize) -> bool {
        let (num, den) = (
            u64::from(self.fps.num) * u64::from(self.model_fps.den),
            u64::from(self.fps.den) * u64::from(self.model_fps.num),
        );
        (index as u64 * num).is_multiple_of(den)
    }

    fn push_new(&mut self, frame: Frame, observer: &mut dyn Observer) -> Result<()> {
        if self.wanted == 0 {
            return Ok(());
        }
        self.wanted -= 1;
        self.pushed += 1;
        let span = trace::span("interpolate", 0.0);
        let frames = self.interpolator.push(frame).map_err(Error::Media)?;
        drop(span);
        for frame in frames {
            self.write(&frame, observer)?;
        }
        Ok(())
    }

    fn write(&mut self, frame: &Frame, observer: &mut dyn Observer) -> Result<()> {
        let Size { width_px, height_px } = self.size;
        if (frame.width_px, frame.height_px) == (width_px, height_px) {
            return self.hand_out(frame, observer);
        }
        let span = trace::span("scale", 0.0);
        let scaled = fit(frame, width_px, height_px, Fit::Cover).map_err(Error::Media)?;
        drop(span);
        self.hand_out(&scaled, observer)
    }

    fn hand_out(&mut self, frame: &Frame, observer: &mut dyn Observer) -> Result<()> {
        observer.event(&Event::Frame(frame));
        self.writers.as_mut().map_or(Ok(()), |writers| writers.push(frame))
    }

    fn remember(&mut self, frame: Frame) {
        if self.tail_frames == 0 {
            return;
        }
        if self.tail.len() == self.tail_frames {
            self.tail.pop_front();
        }
        self.tail.push_back(frame);
    }
}

/// `[H, W, 3]` in 0..1 → bytes, rounded to the nearest.
pub(crate) fn tensor_to_frame(tensor: &Tensor) -> Result<Frame> {
    let [height, width, _] = tensor.dims_of("tensor_to_frame", "[H, W, 3]")?;
    let rgb = tensor
        .as_slice()
        .iter()
        .map(|v| (v.clamp(0.0, 1.0) * 255.0).round() as u8)
        .collect();
    Frame::new(width as u32, height as u32, rgb).map_err(Error::Media)
}
