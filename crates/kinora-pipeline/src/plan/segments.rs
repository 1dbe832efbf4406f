//! The passes of the model that a clip is made in.

use super::{SourceClip, Task};
use crate::description::Description;
use crate::request::{Length, Request, Size};
use crate::tasks::{CloseLoop, Material, Shot, Sources, Transition};
use crate::{Error, Result};

/// One pass of the model: so many latent frames, of which the first and the last ones may be given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Segment {
    /// Latent frames in all.
    pub latent_frames: usize,
    /// Latent frames at the start that are given (clean).
    pub prefix_latent_frames: usize,
    /// Latent frames at the end that are given: where a loop begins again.
    pub suffix_latent_frames: usize,
    /// Frames at its start that belong to what is before it.
    pub not_new: usize,
    /// Frames after those that the clip gets; what is made beyond is surplus.
    pub new_frames: usize,
    /// The shot whose words steer it.
    pub shot: usize,
    /// Whether it starts anew, not from the end of the part before.
    pub opens: bool,
}

impl Segment {
    /// Frames that it makes after those that are not new, surplus included; not those where a loop begins again.
    pub(super) fn generated_new(&self, model: &Description) -> usize {
        model.frames_of(self.latent_frames) - self.not_new - self.suffix_latent_frames * model.temporal_factor
    }
}

/// The frames that a request asks for, at the model's rate.
///
/// **Errors**: [`Error::Invalid`] if they are more than one run makes.
pub(super) fn wanted_frames(length: Length, model: &Description, default: usize) -> Result<usize> {
    let frames = match length {
        Length::Default => default,
        Length::Frames(frames) => frames as usize,
        Length::Seconds(seconds) => ((seconds * model.fps.as_f64()).round() as usize).max(2),
    };
    check_frames(frames, model)?;
    Ok(frames)
}

fn check_frames(frames: usize, model: &Description) -> Result<()> {
    let most = (Request::MAX_SECONDS * model.fps.as_f64()).round() as usize;
    match frames > most {
        false => Ok(()),
        true => Err(Error::Invalid {
            what: "frames",
            got: frames.to_string(),
            reason: "longer than one run makes".into(),
            hint: format!(
                "at most {most} frames ({} seconds); continue the clip with --extend",
                Request::MAX_SECONDS
            ),
        }),
    }
}

/// What a clip starts from.
#[derive(Clone, Copy)]
struct Opening {
    /// Latent frames that are given.
    prefix: usize,
    /// Whether their frames are in the clip already.
    is_before: bool,
    shot: usize,
    opens: bool,
}

/// As few passes as reach `wanted` frames; every pass after the first starts from the end of the one before.
fn passes(wanted: usize, opening: Opening, model: &Description) -> Vec<Segment> {
    let mut segments: Vec<Segment> = Vec::new();
    let mut made = 0;
    while made < wanted {
        let (prefix, is_before) = match segments.is_empty() {
            true => (opening.prefix, opening.is_before),
            false => (model.overlap_latent_frames, true),
        };
        let not_new = if is_before { model.frames_of(prefix) } else { 0 };
        let new_of = |latent_frames| model.frames_of(latent_frames) - not_new;
        let latent_frames = (prefix + 1..model.max_latent_frames)
            .find(|&latent_frames| made + new_of(latent_frames) >= wanted)
            .unwrap_or(model.max_latent_frames);
        let new_frames = new_of(latent_frames).min(wanted - made);
        made += new_frames;
        segments.push(Segment {
            latent_frames,
            prefix_latent_frames: prefix,
            suffix_latent_frames: 0,
            not_new,
            new_frames,
            shot: opening.shot,
            opens: segments.is_empty() && opening.opens,
        });
    }
    segments
}

/// The passes of a request.
///
/// **Errors**: [`Error::Invalid`] if there is too much or too little to make.
pub(super) fn segments(task: Task, request: &Request, model: &Description, sources: &Sources) -> Result<Vec<Segment>> {
    let single = |wanted, prefix, is_before| {
        let opening = Opening {
            prefix,
            is_before,
            shot: 0,
            opens: true,
        };
        Ok(passes(wanted, opening, model))
    };
    let default = model.default_frames;
    match (task, &sources.main) {
        (Task::Extend, Some(source)) => {
            let wanted = wanted_frames(request.length, model, default)?;
            single(wanted, source_prefix(source.info(), model), true)
        }
        (Task::Remix, Some(source)) => of_latents(source, request.length, model),
        (Task::Loop, Some(source)) => {
            let frames = request.close_loop.as_ref().and_then(|close| close.seam_frames);
            seam(source, frames.unwrap_or(CloseLoop::DEFAULT_FRAMES), model).map(|segment| vec![segment])
        }
        (Task::Blend, _) => {
            // What both can fill, unless somebody says otherwise.
            let shorter = sources.all().map(|source| source.frames_at(model.fps)).min();
            let wanted = wanted_frames(request.length, model, shorter.unwrap_or(default))?;
            single(wanted, 0, false)
        }
        (Task::Storyboard, _) => shots(&request.shots, model),
        (task, _) => {
            let wanted = wanted_frames(request.length, model, default)?;
            let starts_from_picture = matches!(task, Task::ImageToVideo | Task::FirstLastToVideo);
            single(wanted, usize::from(starts_from_picture), false)
        }
    }
}

/// The passes that kept latents were made in, as many of them as are asked for.
fn of_latents(source: &Material, length: Length, model: &Description) -> Result<Vec<Segment>> {
    let available = source.info().frames;
    let wanted = wanted_frames(length, model, available)?;
    if wanted > available {
        return Err(Error::Invalid {
            what: "frames",
            got: wanted.to_string(),
            reason: format!("the kept latents are {available} frames"),
            hint: "leave the length out, or continue the clip with --extend afterwards".into(),
        });
    }
    let parts = source.latents().map(|saved| saved.parts.as_slice()).unwrap_or_default();
    let mut segments = Vec::new();
    let mut left = wanted;
    for part in parts {
        if left == 0 {
            break;
        }
        let new_frames = part.new_frames(model).min(left);
        left -= new_frames;
        let before = match segments.is_empty() {
            true => 0, // the frames before it are not there
            false => model.latent_frames_of(part.not_new),
        };
        segments.push(Segment {
            latent_frames: part.latents.dims().get(2).copied().unwrap_or(1),
            prefix_latent_frames: before,
            suffix_latent_frames: 0,
            not_new: part.not_new,
            new_frames,
            shot: 0,
            opens: before == 0,
        });
    }
    Ok(segments)
}

/// The part that closes a loop: the end of the clip, new frames, its beginning.
fn seam(source: &Material, frames: u32, model: &Description) -> Result<Segment> {
    let suffix = LOOP_LATENT_FRAMES;
    let (given, least) = (source.frames_at(model.fps), suffix * model.temporal_factor);
    if given < least {
        return Err(Error::Invalid {
            what: "loop",
            got: format!("of {given} frames"),
            reason: "too short to know how it moves".into(),
            hint: format!("a clip of {least} frames or more at {} a second", model.fps),
        });
    }
    let prefix = source_prefix(source.info(), model);
    let latent_frames = (frames as usize).div_ceil(model.temporal_factor);
    let most = model.max_latent_frames.saturating_sub(prefix + suffix);
    if latent_frames > most {
        return Err(Error::Invalid {
            what: "seam frames",
            got: frames.to_string(),
            reason: "more than the model makes at a time".into(),
            hint: format!("at most {}", most * model.temporal_factor),
        });
    }
    Ok(Segment {
        latent_frames: prefix + latent_frames + suffix,
        prefix_latent_frames: prefix,
        suffix_latent_frames: suffix,
        not_new: model.frames_of(prefix),
        new_frames: latent_frames * model.temporal_factor,
        shot: 0,
        opens: true,
    })
}

/// Latent frames of a clip's beginning that the end of its loop is made to meet: of 1, 2 and 3, with a fade made anew at
/// strength 0.7, two left the smallest jump (5.2 grey levels where 6.0 are usual in the clip; one left 7.0).
pub(crate) const LOOP_LATENT_FRAMES: usize = 2;

/// The passes of all shots, one after the other.
fn shots(shots: &[Shot], model: &Description) -> Result<Vec<Segment>> {
    let mut segments = Vec::new();
    let (mut frames, mut since_cut) = (0, 0);
    for (index, shot) in shots.iter().enumerate() {
        let wanted = wanted_frames(shot.length, model, model.default_frames)?;
        frames += wanted;
        let opens = index == 0 || shot.transition == Transition::Cut;
        if opens {
            since_cut = 0;
        }
        // What the frames since the last cut are enough for.
        let overlap = match model.frames_of(model.overlap_latent_frames) <= since_cut {
            true => model.overlap_latent_frames,
            false => 1,
        };
        since_cut += wanted;
        let opening = Opening {
            prefix: match opens {
                true => usize::from(shot.image.is_some()),
                false => overlap,
            },
            is_before: !opens,
            shot: index,
            opens,
        };
        segments.extend(passes(wanted, opening, model));
    }
    check_frames(frames, model)?;
    Ok(segments)
}

/// Latent frames that a clip to continue is long enough for: the overlap, or its last frame alone.
fn source_prefix(source: SourceClip, model: &Description) -> usize {
    let seconds = source.frames as f64 / source.fps.as_f64();
    match seconds * model.fps.as_f64() >= model.frames_of(model.overlap_latent_frames) as f64 {
        true => model.overlap_latent_frames,
        false => 1,
    }
}

/// The size of what a task is made of, if it decides that of the clip.
pub(super) fn source_size(sources: &Sources) -> Option<Size> {
    sources.main.as_ref().map(|source| source.info().size)
}
