//! The pictures and clips that a request names, read once for all clips of a run.

use std::path::{Path, PathBuf};

use kinora_media::{Fps, Frame};

use crate::Result;
use crate::description::Description;
use crate::map::{ClipTail, Picture, clip_head, clip_tail, file_sha256, mask_frames, picture, reference};
use crate::plan::{LOOP_LATENT_FRAMES, Plan, Task};
use crate::request::Request;
use crate::saved::SavedLatents;
use crate::tasks::{Material, Sources, Start, StartSource};

/// What a run was given to start from and to follow, at the size and rate of the model.
#[derive(Default)]
pub(crate) struct Inputs {
    /// Frames that the first part starts from, in playing order.
    pub(crate) first: Vec<Frame>,
    /// The picture that the clip starts with, if it starts with one.
    pub(crate) picture: Option<Picture>,
    /// The picture that the clip ends with.
    pub(crate) last: Option<Picture>,
    /// The clip that is made anew, or the clips that are mixed.
    pub(crate) start: Option<Start>,
    /// The clip that is followed.
    pub(crate) control: Vec<Frame>,
    /// What of it is made anew.
    pub(crate) mask: Vec<Frame>,
    /// Pictures of what shall appear.
    pub(crate) references: Vec<Frame>,
    /// The clip that the file begins with, if it is a file.
    pub(crate) source: Option<SourceFile>,
    /// The same, if it is kept latents.
    pub(crate) source_latents: Option<SavedLatents>,
    /// The first frames of a clip that is closed to a loop.
    pub(crate) head: Vec<Frame>,
    /// The pictures that shots start from.
    pub(crate) shot_pictures: Vec<Option<Picture>>,
    /// SHA-256 of each file, in the order of the fields above.
    sha256: Vec<String>,
}

/// A clip in a file that the new one begins with.
pub(crate) struct SourceFile {
    pub(crate) path: PathBuf,
    pub(crate) frames: usize,
    pub(crate) fps: Fps,
}

/// Makes frames of kept latents: so many of them, or all.
pub(crate) type Decode<'a> = dyn Fn(&SavedLatents, Option<usize>) -> Result<Vec<Frame>> + 'a;

impl Inputs {
    /// Reads the files of `request`; `notes` hears what had to be decided about them, `decode` makes frames of latents.
    pub(crate) fn read(
        request: &Request,
        plan: &Plan,
        model: &Description,
        sources: Sources,
        decode: &Decode<'_>,
        notes: &mut Vec<String>,
    ) -> Result<Self> {
        let (size, fps) = (plan.size.generated, plan.model_fps);
        let mut inputs = Self::default();
        if let Some(path) = &request.image {
            let (first, of_picture) = inputs.hashed(path, || picture(path, size))?;
            notes.extend(of_picture);
            inputs.first = vec![first.frame.clone()];
            inputs.picture = Some(first);
        }
        if let Some(path) = &request.last_image {
            let (last, of_picture) = inputs.hashed(path, || picture(path, size))?;
            notes.extend(of_picture);
            inputs.last = Some(last);
        }
        for shot in &request.shots {
            let picture = shot
                .image
                .as_ref()
                .map(|path| inputs.hashed(path, || picture(path, size)));
            let (picture, of_picture) = picture.transpose()?.unzip();
            notes.extend(of_picture.into_iter().flatten());
            inputs.shot_pictures.push(picture);
        }
        if plan.task.copies_source() {
            inputs.read_source(plan, model, sources, decode)?;
        } else {
            inputs.read_start(request, plan, model, sources, decode, notes)?;
        }
        let frames = plan.generated_frames(model);
        if let Some(path) = &request.control {
            inputs.control = inputs.hashed(path, || clip_head(path, fps, frames, size))?;
        }
        if let Some(path) = &request.control_mask {
            inputs.mask = inputs.hashed(path, || mask_frames(path, fps, frames, size))?;
        }
        for path in &request.references {
            let picture = inputs.hashed(path, || reference(path, size))?;
            inputs.references.push(picture);
        }
        Ok(inputs)
    }

    /// Frames and rate of the clip in a file that the new one begins with.
    pub(crate) fn source_counts(&self) -> Option<(usize, Fps)> {
        self.source.as_ref().map(|source| (source.frames, source.fps))
    }

    /// What a recipe says of the files.
    pub(crate) fn sha256(&self) -> Option<String> {
        (!self.sha256.is_empty()).then(|| self.sha256.join(","))
    }

    /// What `read` makes of a file whose hash is kept.
    fn hashed<T>(&mut self, path: &Path, read: impl FnOnce() -> Result<T>) -> Result<T> {
        let value = read()?;
        self.sha256.push(file_sha256(path)?);
        Ok(value)
    }

    /// The clip that the file begins with: its end, and for a loop its beginning.
    fn read_source(&mut self, plan: &Plan, model: &Description, sources: Sources, decode: &Decode<'_>) -> Result<()> {
        let (size, fps) = (plan.size.generated, plan.model_fps);
        let head_frames = match plan.task {
            Task::Loop => LOOP_LATENT_FRAMES * model.temporal_factor,
            _ => 0,
        };
        match sources.main {
            Some(Material::Clip { path, info }) => {
                let overlap = plan.segments.first().map_or(0, |s| s.prefix_latent_frames);
                let tail = self.hashed(&path, || clip_tail(&path, fps, model.frames_of(overlap), size))?;
                let ClipTail { frames, source_frames } = tail;
                self.first = frames;
                if head_frames > 0 {
                    self.head = clip_head(&path, fps, head_frames, size)?;
                    // Of a clip with few frames, far apart: what there is, held, so that the seam lies where it is planned.
                    let tail = std::mem::take(&mut self.first);
                    self.first = cut(tail, model.frames_of(overlap), End::Last);
                    let last = self.head.last().cloned();
                    last.into_iter().for_each(|last| self.head.resize(head_frames, last));
                }
                self.source = Some(SourceFile {
                    path,
                    frames: source_frames,
                    fps: info.fps,
                });
            }
            Some(Material::Latents { path, saved, .. }) => {
                self.head = self.hashed(&path, || decode(&saved, Some(head_frames)))?;
                self.source_latents = Some(*saved);
            }
            None => {}
        }
        Ok(())
    }

    /// What the clip is made anew from.
    fn read_start(
        &mut self,
        request: &Request,
        plan: &Plan,
        model: &Description,
        sources: Sources,
        decode: &Decode<'_>,
        notes: &mut Vec<String>,
    ) -> Result<()> {
        if let Some(path) = &request.video {
            let frames = plan.spanned_frames(model);
            let mut given = self.hashed(path, || clip_head(path, plan.model_fps, frames, plan.size.generated))?;
            let count = given.len();
            if let Some(last) = given.last().filter(|_| count < frames).cloned() {
                notes.push(format!("the clip has {count} frames of {frames}; its last one is held"));
                given.resize(frames, last);
            }
            let from = StartSource::Frames(given);
            self.start = Some(Start { from, to: None });
        }
        let Some(main) = sources.main else {
            return Ok(());
        };
        let from = self.start_source(main, End::First, plan, model, decode)?;
        let to = match (sources.to, &request.blend) {
            (Some(to), Some(blend)) => Some((self.start_source(to, End::Last, plan, model, decode)?, blend.clone())),
            _ => None,
        };
        self.start = Some(Start { from, to });
        Ok(())
    }

    /// `material` for the parts of `plan`: its latents where they fit, else its frames, as many as the plan takes from its
    /// beginning or up to its end.
    fn start_source(
        &mut self,
        material: Material,
        end: End,
        plan: &Plan,
        model: &Description,
        decode: &Decode<'_>,
    ) -> Result<StartSource> {
        let path = material.path().to_owned();
        let wanted = plan.new_frames;
        let frames = match material {
            Material::Latents { saved, info, .. }
                if plan.task == Task::Remix || (info.frames == wanted && fits(&saved, plan)) =>
            {
                self.hashed(&path, || Ok(()))?;
                return Ok(StartSource::Parts(saved.parts));
            }
            Material::Latents { saved, .. } => self.hashed(&path, || decode(&saved, None))?,
            Material::Clip { path, info } => {
                let all = match end {
                    End::First => wanted,
                    // One more, since rates do not divide.
                    End::Last => wanted.max((info.frames as f64 * model.fps.as_f64() / info.fps.as_f64()) as usize + 1),
                };
                self.hashed(&path, || clip_head(&path, plan.model_fps, all, plan.size.generated))?
            }
        };
        Ok(StartSource::Frames(cut(frames, wanted, end)))
    }
}

/// Which end of a clip counts where it is longer or shorter than wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    First,
    Last,
}

/// `wanted` of `frames`, whose first or last one is held where there are too few.
fn cut(mut frames: Vec<Frame>, wanted: usize, end: End) -> Vec<Frame> {
    match end {
        End::First => frames.truncate(wanted),
        End::Last if frames.len() > wanted => drop(frames.drain(..frames.len() - wanted)),
        End::Last => {
            let missing = wanted - frames.len();
            if let Some(first) = frames.first().cloned() {
                frames.splice(..0, std::iter::repeat_n(first, missing));
            }
        }
    }
    frames
}

/// Whether kept latents lie as the parts of `plan` do, so that nothing has to go through frames.
fn fits(saved: &SavedLatents, plan: &Plan) -> bool {
    let same = saved.parts.iter().zip(&plan.segments).all(|(part, segment)| {
        let dims = part.latents.dims();
        part.not_new == segment.not_new && part.most_new.is_none() && dims.get(2) == Some(&segment.latent_frames)
    });
    same && saved.parts.len() == plan.segments.len() && saved.recipe.size.generated == plan.size.generated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clips_of_other_lengths_keep_the_end_that_counts() {
        let grey = |levels: &[u8]| -> Vec<Frame> {
            let frame = |&level| Frame::filled(2, 2, [level; 3]).unwrap();
            levels.iter().map(frame).collect()
        };
        assert_eq!(cut(grey(&[1, 2, 3]), 2, End::First), grey(&[1, 2]));
        assert_eq!(cut(grey(&[1, 2, 3]), 2, End::Last), grey(&[2, 3]));
        assert_eq!(cut(grey(&[1, 2]), 4, End::Last), grey(&[1, 1, 1, 2]));
        // What comes next holds the last one.
        assert_eq!(cut(grey(&[1, 2]), 4, End::First), grey(&[1, 2]));
    }
}
