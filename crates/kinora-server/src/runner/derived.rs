//! What a job starts from: pictures, clips, latents of finished videos, shots, characters. The one place that knows both
//! the tasks of the server and those of the pipeline.

use std::path::PathBuf;

use kinora_api::VideoId;
use kinora_pipeline::{Blend, CharacterUse, CloseLoop, Description, Length, Request, Shot, SourceClip, Transition};

use super::request::seconds;
use crate::files::FileRef;
use crate::work::{ClipSource, Task};

/// A file that a job starts from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source<'a> {
    /// A picture that was uploaded.
    Picture(&'a FileRef),
    /// A clip that was uploaded.
    Clip(&'a FileRef),
    /// The clip of a finished video.
    Video(&'a VideoId),
    /// Its latents, or its clip if they are not kept.
    Latents(&'a VideoId),
}

/// Puts what `task` starts from into `request`; `find` brings the files to this machine.
///
/// **Errors**: those of `find`.
pub(crate) fn apply<E>(
    request: &mut Request,
    task: &Task,
    model: &Description,
    find: &mut dyn FnMut(Source<'_>) -> Result<PathBuf, E>,
) -> Result<(), E> {
    match task {
        Task::Create { image, characters } => {
            request.image = image.as_ref().map(|image| find(Source::Picture(image))).transpose()?;
            for character in characters {
                request.characters.push(CharacterUse {
                    name: character.name.clone(),
                    picture: find(Source::Picture(&character.picture))?,
                    subject: character.subject.clone(),
                });
            }
        }
        Task::Remix { source, strength } => {
            request.strength = *strength as f32;
            let path = find(Source::Latents(source))?;
            match path.extension().is_some_and(|ending| ending == "safetensors") {
                // Their size and length are those of the video that they are of.
                true => {
                    (request.video_latents, request.size, request.length) = (Some(path), None, Length::Default);
                }
                false => request.video = Some(path),
            }
        }
        Task::Edit { source, strength } => {
            request.strength = *strength as f32;
            request.video = Some(find(clip(source))?);
        }
        Task::Extend { source, added } => {
            request.extend = Some(find(clip(source))?);
            if !matches!(request.length, Length::Frames(_)) {
                request.length = seconds(*added);
            }
        }
        Task::Blend { from, to, curve } => {
            request.strength = Blend::DEFAULT_STRENGTH;
            request.blend = Some(Blend {
                from: find(Source::Latents(from))?,
                to: find(Source::Latents(to))?,
                curve: curve.iter().map(|share| *share as f32).collect(),
            });
        }
        Task::Loop { source, seam } => {
            // The length is that of the source and of the seam.
            request.length = Length::Default;
            request.close_loop = Some(CloseLoop {
                source: find(Source::Latents(source))?,
                seam_frames: seam
                    .map(|seam| (f64::from(seam.ms()) / 1000.0 * model.fps.as_f64()).round().max(1.0) as u32),
            });
        }
        Task::Storyboard { shots } => {
            request.length = Length::Default;
            for shot in shots {
                request.shots.push(Shot {
                    prompt: shot.prompt.clone(),
                    length: seconds(shot.seconds),
                    transition: if shot.continues {
                        Transition::Continue
                    } else {
                        Transition::Cut
                    },
                    image: shot
                        .image
                        .as_ref()
                        .map(|image| find(Source::Picture(image)))
                        .transpose()?,
                });
            }
        }
    }
    Ok(())
}

fn clip(source: &ClipSource) -> Source<'_> {
    match source {
        ClipSource::Video(id) => Source::Video(id),
        ClipSource::File(file) => Source::Clip(file),
    }
}

/// The same for a look at the plan before the job is taken, when the files are not looked at: a request that takes as much
/// memory, and what is known of the clip that it continues.
pub(crate) fn apply_unseen(request: &mut Request, task: &Task, model: &Description) -> Option<SourceClip> {
    let unseen = || PathBuf::from("source");
    match task {
        Task::Create { .. } | Task::Storyboard { .. } => {
            let mut find = |_: Source<'_>| Ok::<_, std::convert::Infallible>(unseen());
            let Ok(()) = apply(request, task, model, &mut find);
            // A character is a picture that is given, whatever becomes of it; the words are not looked at here.
            if !std::mem::take(&mut request.characters).is_empty() {
                request.image.get_or_insert_with(unseen);
            }
            None
        }
        Task::Extend { added, .. } => {
            if !matches!(request.length, Length::Frames(_)) {
                request.length = seconds(*added);
            }
            request.size.map(|size| SourceClip {
                size,
                fps: model.fps,
                frames: model.default_frames,
            })
        }
        Task::Loop { .. } => {
            (request.length, request.video) = (Length::Default, Some(unseen()));
            None
        }
        Task::Remix { .. } | Task::Edit { .. } | Task::Blend { .. } => {
            request.video = Some(unseen());
            None
        }
    }
}
