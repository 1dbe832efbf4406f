//! What steers each part of a clip: its words, the frames that it starts from or ends with, the clips that it is made of.

use kinora_media::Frame;

use crate::Result;
use crate::clip::ClipMaker;
use crate::description::StartsFrom;
use crate::diffuse::{Held, Known};
use crate::map::{Conditioning, ControlClip, Given, Steer, control, ending, known};
use crate::model::{Vae, VaeHalf};
use crate::plan::Segment;
use crate::progress::{CancelToken, Stage};
use crate::render::Renderer;
use crate::stopwatch::Stopwatch;
use crate::tasks::Place;

/// Frames of a part that starts with the frames `first` that are in the file already. A picture that a clip starts from is its
/// first frame.
pub(crate) fn not_new(segment: &Segment, first: &[Frame]) -> usize {
    match segment.not_new > 0 && !first.is_empty() {
        true => first.len(),
        false => segment.not_new,
    }
}

impl ClipMaker<'_> {
    /// Writes the clip that the file begins with, if there is one.
    pub(crate) fn copy_source(
        &self,
        renderer: &mut Renderer,
        watch: &mut Stopwatch<'_>,
        cancel: &CancelToken,
    ) -> Result<()> {
        if let Some(source) = &self.inputs.source {
            renderer.copy_source(&source.path, source.fps, &self.inputs.first, watch.observer(), cancel)?;
        }
        if let Some(saved) = &self.inputs.source_latents {
            let mut left = self.plan.decoded_frames;
            for part in &saved.parts {
                let new_frames = part.new_frames(&self.model.description).min(left);
                left -= new_frames;
                watch.stage(Stage::Render, |observer| {
                    let vae = self.model.decoding_vae().get(self.decoding_half())?;
                    let (latents, not_new) = (&part.latents, part.not_new);
                    renderer.push_latents(&vae, latents, not_new, Some(new_frames), observer, cancel)
                })?;
            }
            self.release_after_use();
        }
        renderer.loop_to(self.inputs.head.first());
        Ok(())
    }

    /// The frames that a part starts from: those that were given, or the end of the part before.
    pub(crate) fn first_frames(&self, index: usize, segment: &Segment, renderer: &Renderer) -> Vec<Frame> {
        let count = match segment.prefix_latent_frames {
            0 => 0,
            latent_frames => self.model.description.frames_of(latent_frames),
        };
        let shot_picture = self.inputs.shot_pictures.get(segment.shot).and_then(Option::as_ref);
        let mut frames = match (segment.opens, shot_picture) {
            (true, Some(picture)) => vec![picture.frame.clone()],
            _ if index == 0 && self.inputs.source_latents.is_none() => self.inputs.first.clone(),
            _ => renderer.tail(),
        };
        frames.split_off(frames.len().saturating_sub(count))
    }

    /// What steers a part. Says nothing of a part that only words steer: these were mapped before.
    pub(crate) fn map(
        &self,
        index: usize,
        segment: &Segment,
        first: &[Frame],
        frames_before: usize,
        watch: &mut Stopwatch<'_>,
    ) -> Result<Conditioning<'_>> {
        let context = &self.contexts[segment.shot];
        let mut conditioning = Conditioning {
            cond: &context.cond,
            uncond: context.uncond.as_ref(),
            image: None,
            known: Known::Nothing,
            control: None,
            start: None,
            held: None,
        };
        let starts = self.model.description.starts;
        if first.is_empty() && self.inputs.start.is_none() && !starts.is_always_told() {
            return Ok(conditioning);
        }
        let is_last = index + 1 == self.plan.segments.len();
        let last = self.inputs.last.as_ref().filter(|_| is_last);
        let given = Given {
            first,
            last: match segment.suffix_latent_frames {
                0 => last.map_or(&[], |picture| std::slice::from_ref(&picture.frame)),
                _ => &self.inputs.head,
            },
        };
        // A picture is seen as it is, not as it is cut for the clip; later parts start from frames of their own.
        let of_shot = self.inputs.shot_pictures.get(segment.shot).and_then(Option::as_ref);
        let start = self.inputs.picture.as_ref().filter(|_| index == 0);
        let start = start.or(of_shot.filter(|_| segment.opens));
        let start = start.map(|picture| &picture.original).or(first.first());
        let (size, latent_frames) = (self.plan.size.generated, segment.latent_frames);
        watch.stage(Stage::Map, |_| {
            conditioning.image = self
                .model
                .embed_pictures(start, last.map(|picture| &picture.original))?;
            let vae = self.model.vae.get(VaeHalf::Both)?;
            conditioning.known = known(starts, &vae, self.arena, given, latent_frames, size)?;
            if let Some(layers) = &self.model.transformer_config.vace_layers {
                let frames = self.model.description.frames_of(latent_frames);
                let clip = ControlClip {
                    at: &|frame| self.steer(given, frames, frame, frames_before),
                    references: &self.inputs.references,
                    scales: vec![self.request.control_scale; layers.len()],
                };
                conditioning.control = Some(control(&vae, self.arena, clip, latent_frames, size)?);
            }
            self.map_latents(index, segment, given, frames_before, &vae, &mut conditioning)
        })?;
        self.release_after_use();
        Ok(conditioning)
    }

    /// What of a part is given as latents: what it is made anew from, and what is held in place.
    fn map_latents(
        &self,
        index: usize,
        segment: &Segment,
        given: Given<'_>,
        frames_before: usize,
        vae: &Vae,
        conditioning: &mut Conditioning<'_>,
    ) -> Result<()> {
        let (starts, size) = (self.model.description.starts, self.plan.size.generated);
        let latent_frames = segment.latent_frames;
        let clean = starts == StartsFrom::CleanFrames;
        if let Some(start) = &self.inputs.start {
            let place = Place {
                part: index,
                latent_frames,
                first_frame: frames_before.saturating_sub(segment.not_new),
                clip_frames: self.plan.new_frames,
                size,
            };
            let (values, mut frames) = start.part(vae, self.arena, place)?;
            conditioning.start = Some(values.try_clone()?);
            // What a part starts from comes from the part before.
            let prefix = frames.iter_mut().take(segment.prefix_latent_frames);
            prefix.for_each(|frame| *frame = false);
            let held = Held { values, frames, clean };
            conditioning.held = Some(held).filter(Held::holds);
        }
        if segment.suffix_latent_frames > 0 && !starts.can_end() {
            let is_suffix = |frame: usize| frame + segment.suffix_latent_frames >= latent_frames;
            // Left to noise alone, a model that never learnt to arrive anywhere does not: it is shown a fade, and makes that anew.
            let values = ending(vae, self.arena, given, latent_frames, size)?;
            conditioning.start = Some(values.try_clone()?);
            conditioning.held = Some(Held {
                values,
                frames: (0..latent_frames).map(is_suffix).collect(),
                clean,
            });
        }
        Ok(())
    }

    /// What steers frame `index` of a part of `frames` frames, the first of which is `frames_before` in the clip.
    fn steer<'a>(&'a self, given: Given<'a>, frames: usize, index: usize, frames_before: usize) -> Steer<'a> {
        if let Some(frame) = given.at(index, frames) {
            return Steer::Kept(frame);
        }
        let at = frames_before + index - given.first.len();
        match (self.inputs.control.get(at), self.inputs.mask.get(at)) {
            (None, _) => Steer::Nothing,
            (Some(frame), None) => Steer::Followed(frame),
            (Some(frame), Some(mask)) => Steer::Masked(frame, mask),
        }
    }
}
