//! Checkpoints of a run: whoever dies between two steps, or while frames are decoded, loses the work since the last one,
//! and another process goes on from there to the same bytes.
//!
//! A checkpoint is one file (`file.rs`): the latents of the parts that are finished, the state of the sampler and of the
//! step cache between two steps of the part that is not, and a fingerprint of all that decides the bytes
//! (`fingerprint.rs`). Frames are not in it: those of finished parts are decoded again, which gives the same ones.

mod file;
mod fingerprint;
#[cfg(test)]
mod tasks_tests;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use kinora_sampling::{CacheKind, CacheReport};
use kinora_tensor::{Arena, Tensor};

use file::{Contents, Head};
pub(crate) use fingerprint::{Decisive, fingerprint};

use crate::diffuse::{Between, Halfway};
use crate::plan::Segment;
use crate::progress::{Event, Observer};
use crate::saved::SavedPart;
use crate::{Error, ErrorKind, Result};

/// Where a run keeps what it has done, so that another can go on from there.
///
/// Files are written by the run and belong to the caller: the run removes none of them, neither older ones nor those of a
/// run that has ended, whether it ended well or not. A process that is killed while it writes one leaves a file whose name
/// ends in `.unfinished` beside it.
pub trait Checkpoints {
    /// The newest checkpoint that an earlier attempt left, if any: a file that [`Checkpoints::kept`] was told of. Asked
    /// once, before anything is computed.
    ///
    /// A file that is missing, damaged or of another request is not used: the observer hears a note that says why, and
    /// the clip is made from its beginning. [`Event::Resumed`] is heard if it is used.
    fn resume(&mut self) -> Option<PathBuf>;

    /// Where to write the checkpoint after this step of the whole run (counted over all parts, from 1); `None`: not after
    /// this one. A name that no other run uses, in a folder that exists; what is there is replaced.
    ///
    /// Models that make a clip block by block are between two steps only at the end of a block: there, only those steps
    /// are asked for.
    fn path_for(&mut self, step: u64) -> Option<PathBuf>;

    /// The file at `path` is whole and on the disk. (One that cannot be written is a note to the observer, and the run goes
    /// on.)
    ///
    /// **Errors**: any error ends the run with it, such as [`Error::Stopped`].
    fn kept(&mut self, path: &Path, step: u64) -> Result<()>;

    /// Whether this keeps anything at all; a run that keeps checkpoints makes one clip.
    fn is_on(&self) -> bool {
        true
    }
}

/// Keeps nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoCheckpoints;

impl Checkpoints for NoCheckpoints {
    fn resume(&mut self) -> Option<PathBuf> {
        None
    }

    fn path_for(&mut self, _: u64) -> Option<PathBuf> {
        None
    }

    fn kept(&mut self, _: &Path, _: u64) -> Result<()> {
        Ok(())
    }

    fn is_on(&self) -> bool {
        false
    }
}

/// What a checkpoint must hold to fit a clip.
pub(crate) struct Expected<'a> {
    pub(crate) segments: &'a [Segment],
    /// Of the latents.
    pub(crate) channels: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// The step cache, if there is one.
    pub(crate) cache: Option<&'a CacheKind>,
    /// Whether the model makes a part block by block.
    pub(crate) is_streamed: bool,
}

/// What an earlier attempt has done; nothing, if there was none.
#[derive(Debug, Default)]
pub(crate) struct Resumed {
    /// Finished parts, from the first on.
    pub(crate) parts: VecDeque<SavedPart>,
    /// Where it was in the part after them.
    pub(crate) halfway: Option<Halfway>,
    /// Or the blocks of that part, `[1, C, P, h, w]`, for models that make it block by block.
    pub(crate) blocks: Option<Tensor>,
    /// What the step cache did in the finished parts.
    pub(crate) cache: Option<CacheReport>,
}

/// The checkpoints of one clip.
pub(crate) struct Keeper<'a> {
    checkpoints: &'a mut dyn Checkpoints,
    fingerprint: String,
    /// Steps of the parts that are finished.
    before: u64,
    /// Whether the observer knows already that they cannot be written.
    is_noted: bool,
}

impl<'a> Keeper<'a> {
    pub(crate) fn new(checkpoints: &'a mut dyn Checkpoints, fingerprint: String) -> Self {
        Self {
            checkpoints,
            fingerprint,
            before: 0,
            is_noted: false,
        }
    }

    /// Whether there are any.
    pub(crate) fn is_on(&self) -> bool {
        self.checkpoints.is_on()
    }

    /// What an earlier attempt left, if it can be used.
    ///
    /// **Errors**: no memory for it.
    pub(crate) fn resume(
        &mut self,
        expected: &Expected<'_>,
        arena: &Arena,
        observer: &mut dyn Observer,
    ) -> Result<Resumed> {
        let Some(path) = self.checkpoints.resume() else {
            return Ok(Resumed::default());
        };
        let read = Contents::read(&path).and_then(|contents| {
            let head = contents.head.clone();
            Ok((head, resumed(contents, &path, &self.fingerprint, expected, arena)?))
        });
        match read {
            Ok((head, resumed)) => {
                self.before = head.step - head.steps_in_part;
                observer.event(&Event::Resumed { step: head.step });
                Ok(resumed)
            }
            // It may be good: with more memory the run can go on from it.
            Err(error) if error.kind() == ErrorKind::Memory => Err(error),
            Err(error) => {
                let note = format!("the clip is made from its beginning: {error}");
                observer.event(&Event::Note(&note));
                Ok(Resumed::default())
            }
        }
    }

    /// Keeps `parts` and the state of the one that is being made, unless its latents are finished with this step: these are
    /// kept by [`Keeper::after_part`].
    pub(crate) fn after_step(
        &mut self,
        parts: &[SavedPart],
        cache: Option<CacheReport>,
        between: &Between<'_>,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        let steps = between.run.steps_done();
        if steps == between.run.schedule().steps() {
            return Ok(());
        }
        let head = Head {
            steps_in_part: steps as u64,
            expert: between.last.map(Into::into),
            ..self.head(steps, cache)
        };
        self.keep(head, parts, Some(between), observer)
    }

    /// Keeps `parts`, the last of which is finished after so many steps.
    pub(crate) fn after_part(
        &mut self,
        parts: &[SavedPart],
        cache: Option<CacheReport>,
        steps: usize,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        let head = self.head(steps, cache);
        self.before = head.step;
        self.keep(head, parts, None, observer)
    }

    /// Keeps `parts`, the last of which has some of its blocks after so many steps.
    pub(crate) fn after_block(&mut self, parts: &[SavedPart], steps: usize, observer: &mut dyn Observer) -> Result<()> {
        let head = Head {
            steps_in_part: steps as u64,
            last_is_unfinished: true,
            ..self.head(steps, None)
        };
        self.keep(head, parts, None, observer)
    }

    fn head(&self, steps: usize, cache: Option<CacheReport>) -> Head {
        Head {
            fingerprint: self.fingerprint.clone(),
            step: self.before + steps as u64,
            cache: cache.map(Into::into),
            ..Head::default()
        }
    }

    fn keep(
        &mut self,
        head: Head,
        parts: &[SavedPart],
        between: Option<&Between<'_>>,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        let step = head.step;
        let Some(path) = self.checkpoints.path_for(step) else {
            return Ok(());
        };
        match file::write(&path, head, parts, between) {
            Ok(()) => self.checkpoints.kept(&path, step),
            // The clip is worth more than its checkpoints.
            Err(error) => {
                if !std::mem::replace(&mut self.is_noted, true) {
                    let note = format!("the run goes on without new checkpoints: {error}");
                    observer.event(&Event::Note(&note));
                }
                Ok(())
            }
        }
    }
}

/// What `contents` of the file at `path` hold for a clip, if they fit it.
fn resumed(
    contents: Contents,
    path: &Path,
    fingerprint: &str,
    expected: &Expected<'_>,
    arena: &Arena,
) -> Result<Resumed> {
    let refuse = |reason: &str| Error::Checkpoint {
        path: path.to_owned(),
        reason: reason.to_owned(),
    };
    let Contents {
        head,
        parts,
        run,
        cache,
    } = contents;
    if head.fingerprint != fingerprint {
        return Err(refuse("it is of another request, model, machine or version of Kinora"));
    }
    let does_not_fit = || refuse("its parts do not fit the clip");
    let unfinished = head.last_is_unfinished.then_some(parts.len().wrapping_sub(1));
    let fits = |(index, part): (usize, &SavedPart)| {
        let frames = expected.segments.get(index).map_or(0, |segment| segment.latent_frames);
        let &[1, channels, made, height, width] = part.latents.dims() else {
            return false;
        };
        let is_long_enough = match unfinished == Some(index) {
            true => (1..frames).contains(&made),
            false => made == frames,
        };
        is_long_enough && [channels, height, width] == [expected.channels, expected.height, expected.width]
    };
    let is_whole = parts.len() == expected.segments.len() && unfinished.is_none();
    if parts.len() > expected.segments.len()
        || !parts.iter().enumerate().all(fits)
        || (unfinished.is_some() && (!expected.is_streamed || parts.is_empty()))
        || (run.is_some() && (expected.is_streamed || is_whole))
        || head.steps_in_part > head.step
    {
        return Err(does_not_fit());
    }
    let mut parts = VecDeque::from(parts);
    let blocks = unfinished.and_then(|_| parts.pop_back()).map(|part| part.latents);
    let last = head.expert.map(Into::into);
    let halfway = match run {
        None => None,
        Some(run) => {
            let halfway = Halfway::restore(&run, cache.as_deref(), expected.cache, last, arena);
            let halfway = halfway.map_err(|error| match error.kind() {
                ErrorKind::Memory => error,
                _ => refuse(&error.to_string()),
            })?;
            if halfway.run.steps_done() as u64 != head.steps_in_part {
                return Err(does_not_fit());
            }
            Some(halfway)
        }
    };
    Ok(Resumed {
        parts,
        halfway,
        blocks,
        cache: head.cache.map(Into::into),
    })
}
