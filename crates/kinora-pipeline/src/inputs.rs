//! The pictures and clips that a request names, read once for all clips of a run.

use std::path::Path;

use kinora_media::{Fps, Frame};

use crate::Result;
use crate::description::Description;
use crate::map::{ClipTail, Picture, clip_head, clip_tail, file_sha256, mask_frames, picture, reference};
use crate::plan::{Plan, SourceClip};
use crate::request::Request;

/// What a run was given to start from and to follow, at the size and rate of the model.
#[derive(Default)]
pub(crate) struct Inputs {
    /// Frames that the first part starts from, in playing order.
    pub(crate) first: Vec<Frame>,
    /// The picture that the clip starts with, if it starts with one.
    pub(crate) picture: Option<Picture>,
    /// The picture that the clip ends with.
    pub(crate) last: Option<Picture>,
    /// The clip that is made anew.
    pub(crate) video: Vec<Frame>,
    /// The clip that is followed.
    pub(crate) control: Vec<Frame>,
    /// What of it is made anew.
    pub(crate) mask: Vec<Frame>,
    /// Pictures of what shall appear.
    pub(crate) references: Vec<Frame>,
    /// Frames and rate of the clip that is continued.
    pub(crate) source: Option<(usize, Fps)>,
    /// SHA-256 of each file, in the order of the fields above.
    sha256: Vec<String>,
}

impl Inputs {
    /// Reads the files of `request`; `notes` hears what had to be decided about them.
    pub(crate) fn read(
        request: &Request,
        plan: &Plan,
        model: &Description,
        source: Option<SourceClip>,
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
        if let (Some(path), Some(source)) = (&request.extend, source) {
            let overlap = plan
                .segments
                .first()
                .map_or(1, |s| model.frames_of(s.prefix_latent_frames));
            let tail = inputs.hashed(path, || clip_tail(path, fps, overlap, size))?;
            let ClipTail { frames, source_frames } = tail;
            inputs.first = frames;
            inputs.source = Some((source_frames, source.fps));
        }
        let frames = plan.generated_frames(model);
        if let Some(path) = &request.video {
            inputs.video = inputs.hashed(path, || clip_head(path, fps, frames, size))?;
            inputs.fill_video(frames, notes);
        }
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

    /// A clip that is shorter than what is made of it stands still at its end.
    fn fill_video(&mut self, frames: usize, notes: &mut Vec<String>) {
        let given = self.video.len();
        if let Some(last) = self.video.last().filter(|_| given < frames).cloned() {
            notes.push(format!("the clip has {given} frames of {frames}; its last one is held"));
            self.video.resize(frames, last);
        }
    }
}
