//! From a request to what the model will be asked: sizes, frames, segments. A pure function of the request, the model's
//! description and the input clip, so it can be shown before anything is computed, and tested without a model.

mod segments;
mod size;

use kinora_media::{Format, Fps};
use kinora_sampling::{CacheKind, Sampler, Schedule};

use crate::description::{Description, StartsFrom};
use crate::render::Playing;
use crate::report::SizeRecord;
use crate::request::{Length, Request, Size};
use crate::saved::SavedLatents;
use crate::tasks::{Material, Sources, Transition};
use crate::{Error, Result};

pub(crate) use segments::LOOP_LATENT_FRAMES;
pub use segments::Segment;

/// What is made of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// A clip from words.
    TextToVideo,
    /// A picture from words.
    TextToImage,
    /// A clip from words that starts with a given picture.
    ImageToVideo,
    /// A clip from words between two given pictures.
    FirstLastToVideo,
    /// A clip that goes on where another one ends.
    Extend,
    /// A given clip, made anew in other words.
    VideoToVideo,
    /// A clip of kept latents, made anew in other words.
    Remix,
    /// A clip that begins as one and ends as another.
    Blend,
    /// A clip with a new part from its end to its beginning.
    Loop,
    /// A clip of several shots.
    Storyboard,
    /// A clip that follows the poses, edges or depths of a given one, or shows given things.
    Controlled,
}

impl Task {
    /// Whether the clip is made of given latents, as much as the strength leaves of them.
    pub const fn starts_from_latents(self) -> bool {
        matches!(self, Self::VideoToVideo | Self::Remix | Self::Blend)
    }

    /// Whether the file begins with a given clip as it is.
    pub const fn copies_source(self) -> bool {
        matches!(self, Self::Extend | Self::Loop)
    }

    /// The name in recipes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TextToVideo => "text-to-video",
            Self::TextToImage => "text-to-image",
            Self::ImageToVideo => "image-to-video",
            Self::FirstLastToVideo => "first-last-to-video",
            Self::Extend => "extend",
            Self::VideoToVideo => "video-to-video",
            Self::Remix => "remix",
            Self::Blend => "blend",
            Self::Loop => "loop",
            Self::Storyboard => "storyboard",
            Self::Controlled => "controlled",
        }
    }
}

/// What is known of a clip that shall be continued.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SourceClip {
    /// Its size.
    pub size: Size,
    /// Its frame rate.
    pub fps: Fps,
    /// Its frames at its own rate.
    pub frames: usize,
}

/// Everything that is decided before the first number is computed.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What is made.
    pub task: Task,
    /// Sizes.
    pub size: SizeRecord,
    /// Passes of the model, in order.
    pub segments: Vec<Segment>,
    /// New frames of the clip at the model's rate, after what is surplus has been cut off.
    pub new_frames: usize,
    /// Frames before those that are decoded from given latents, at the model's rate.
    pub decoded_frames: usize,
    /// Latent frames that are given and stay in memory as long as the run.
    pub kept_latent_frames: usize,
    /// The rate at which the model makes frames.
    pub model_fps: Fps,
    /// The rate at which the file plays.
    pub fps: Fps,
    /// How the length was reached, in words.
    pub length_how: String,
    /// Denoising steps.
    pub steps: u32,
    /// Guidance scale; of two experts, that of the one for high noise.
    pub guidance_scale: f32,
    /// Guidance scale of the expert for low noise.
    pub guidance_scale_low: f32,
    /// Guidance for the first so many steps only.
    pub guided_steps: Option<u32>,
    /// What to keep away from.
    pub negative: String,
    /// Update rule.
    pub sampler: Sampler,
    /// The noise levels.
    pub schedule: Schedule,
    /// Their shift.
    pub shift: f64,
    /// How much of a given clip, or of the fade that closes a loop, is made anew; absent for what is made of noise.
    pub strength: Option<f32>,
    /// The step that a given clip enters at, as noisy as its sigma says; 0 for everything that starts from noise.
    pub first_step: u32,
    /// Pictures of what shall appear; each takes the room of a latent frame.
    pub references: usize,
    /// Which steps may take over the prediction of the step before, if any.
    pub cache: Option<CacheKind>,
}

impl Plan {
    /// Plans `request`, which continues `source` if anything, for a model.
    ///
    /// **Errors**: [`Error::Invalid`] if the request is out of range.
    pub fn new(request: &Request, model: &Description, source: Option<SourceClip>) -> Result<Self> {
        let clip = |info| Material::Clip {
            path: request.extend.clone().unwrap_or_default(),
            info,
        };
        let sources = Sources {
            main: source.map(clip),
            to: None,
        };
        let mut request = request.clone();
        if source.is_some() {
            request.extend.get_or_insert_default();
        }
        Self::with_sources(&request, model, &sources)
    }

    /// Plans `request`, which is made of `sources`, for a model.
    ///
    /// **Errors**: [`Error::Invalid`] if the request is out of range.
    pub(crate) fn with_sources(request: &Request, model: &Description, sources: &Sources) -> Result<Self> {
        request.validate()?;
        let task = task(request);
        refuse_what_the_model_cannot(task, request, model)?;
        refuse_references(task, request, model)?;
        let segments = segments::segments(task, request, model, sources)?;
        let wanted: usize = segments.iter().map(|segment| segment.new_frames).sum();
        check_format(task, request, wanted)?;
        let size = size::plan_size(request.size.or(segments::source_size(sources)), model);
        if task == Task::Remix {
            check_latents_size(sources, &size)?;
        }
        let fps = request.fps.or(sources.main.as_ref().and_then(Material::playing_fps));
        let fps = fps.unwrap_or(model.fps);
        let fades = task == Task::Loop && !model.starts.can_end();
        let strength = (fades || task.starts_from_latents()).then_some(request.strength);
        let steps = request.steps.unwrap_or(model.default_steps);
        if model.block_frames.is_some() && request.guidance_scale.is_some_and(|scale| scale != 1.0) {
            return Err(Error::Invalid {
                what: "guidance",
                got: request.guidance_scale.unwrap_or_default().to_string(),
                reason: "a model that makes a clip block by block has guidance built in".into(),
                hint: "leave out --guidance".into(),
            });
        }
        let guidance_scale = request.guidance_scale.unwrap_or(model.default_guidance_scale);
        let low = request.guidance_scale_low.or(request.guidance_scale);
        let sampler = request.sampler.unwrap_or(model.default_sampler);
        let shift = request.shift.unwrap_or_else(|| model.shift_for(size.generated));
        Ok(Self {
            task,
            schedule: model.schedule(sampler, steps, shift)?,
            shift,
            first_step: first_step(strength, steps),
            strength,
            references: request.references.len(),
            cache: model.cache(request.cache)?,
            size,
            length_how: describe_length(&segments, model, fps),
            decoded_frames: match (task, &sources.main) {
                (Task::Loop, Some(Material::Latents { info, .. })) => info.frames,
                _ => 0,
            },
            kept_latent_frames: sources
                .all()
                .filter_map(Material::latents)
                .map(SavedLatents::latent_frames)
                .sum(),
            segments,
            new_frames: wanted,
            model_fps: model.fps,
            fps,
            steps,
            guidance_scale,
            guidance_scale_low: low.or(model.default_guidance_scale_low).unwrap_or(guidance_scale),
            guided_steps: request.guided_steps,
            negative: request
                .negative
                .clone()
                .unwrap_or_else(|| model.default_negative.clone()),
            sampler,
        })
    }

    /// Frames that the file will have, given how many the clip that is continued really has.
    pub fn written_frames(&self, source: Option<(usize, Fps)>) -> usize {
        let playing = Playing::from(self);
        match source {
            None => playing.written_frames(),
            // The last old frame is where the new ones are interpolated from; it is counted on the old side.
            Some((frames, fps)) => {
                playing.resampled(frames, fps) + playing.resampled(self.new_frames + 1, self.model_fps) - 1
            }
        }
    }

    /// Whether frames have to be encoded before the model can start.
    pub fn encodes_frames(&self) -> bool {
        match self.task {
            Task::TextToVideo | Task::TextToImage => self.segments.len() > 1,
            Task::Storyboard => self.segments.iter().any(|segment| segment.prefix_latent_frames > 0),
            _ => true,
        }
    }

    /// Whether any prediction is guided, so that the negative prompt counts.
    pub fn is_guided(&self) -> bool {
        (self.guidance_scale != 1.0 || self.guidance_scale_low != 1.0) && self.guided_steps != Some(0)
    }

    /// What someone who sets guidance or a negative prompt may not expect of this model.
    pub fn guidance_note(&self, request: &Request, model: &Description) -> Option<String> {
        let built_in = model.default_guidance_scale == 1.0;
        match !self.is_guided() {
            true if request.negative.as_ref().is_some_and(|text| !text.is_empty()) => Some(format!(
                "without guidance the negative prompt has no effect; --guidance {} would use it, at twice the time",
                if built_in { 2 } else { 5 }
            )),
            false if built_in => Some(
                "guidance is built into this model; a scale above 1 guides it twice, which soon overdoes it".into(),
            ),
            _ => None,
        }
    }

    /// Frames from the first to the last that the model makes, each counted once.
    pub(crate) fn spanned_frames(&self, model: &Description) -> usize {
        let spanned = |segment: &Segment| model.frames_of(segment.latent_frames) - segment.not_new;
        self.segments.iter().map(spanned).sum()
    }

    /// Frames that the model computes for this plan, surplus included.
    pub fn generated_frames(&self, model: &Description) -> usize {
        self.segments.iter().map(|s| model.frames_of(s.latent_frames)).sum()
    }
}

fn task(request: &Request) -> Task {
    let by_input = [
        (!request.shots.is_empty(), Task::Storyboard),
        (request.blend.is_some(), Task::Blend),
        (request.close_loop.is_some(), Task::Loop),
        (request.video_latents.is_some(), Task::Remix),
        (request.extend.is_some(), Task::Extend),
        (request.video.is_some(), Task::VideoToVideo),
        (request.control.is_some(), Task::Controlled),
        (
            request.image.is_some() && request.last_image.is_some(),
            Task::FirstLastToVideo,
        ),
        (request.image.is_some(), Task::ImageToVideo),
        (!request.references.is_empty(), Task::Controlled),
        (request.length == Length::Frames(1), Task::TextToImage),
    ];
    let given = by_input.into_iter().find(|(given, _)| *given);
    given.map_or(Task::TextToVideo, |(_, task)| task)
}

/// Refuses a file that does not hold as many frames as are made.
fn check_format(task: Task, request: &Request, frames: usize) -> Result<()> {
    let refuse = |reason: &str, hint: &str| {
        Err(Error::Invalid {
            what: "format",
            got: request.format.name().to_owned(),
            reason: reason.into(),
            hint: hint.into(),
        })
    };
    match (task, is_moving(request.format)) {
        (Task::TextToImage, true) => refuse(
            "one frame is a still image",
            "write it as .png, or ask for 5 frames or more",
        ),
        (task, false) if frames > 1 || task.copies_source() => {
            refuse("a still image holds one frame", "add --frames 1, or write .mp4")
        }
        _ => Ok(()),
    }
}

/// Refuses latents of another size than a model would make for the clip.
fn check_latents_size(sources: &Sources, size: &SizeRecord) -> Result<()> {
    let saved = sources.main.as_ref().and_then(Material::latents);
    match saved.map(|saved| saved.recipe.size.generated) {
        Some(made) if made != size.generated => Err(Error::Invalid {
            what: "size",
            got: size.written.to_string(),
            reason: format!("it is made at {}, the kept latents are of {made}", size.generated),
            hint: format!("leave the size out, or ask for one of the shape of {made}"),
        }),
        _ => Ok(()),
    }
}

/// Refuses reference pictures that would not be looked at, or would stand in front of the latents that a clip is made of.
fn refuse_references(task: Task, request: &Request, model: &Description) -> Result<()> {
    let refuse = |reason: &str, hint: &str| {
        Err(Error::Invalid {
            what: "references",
            got: format!("for {}", task.name()),
            reason: reason.into(),
            hint: hint.into(),
        })
    };
    match request.references.is_empty() {
        true => Ok(()),
        false if model.starts != StartsFrom::Control => refuse(
            "this model has no control branch",
            "leave them out, or use a Wan VACE model",
        ),
        false if task.starts_from_latents() => refuse(
            "a clip that is made anew shows what it showed",
            "leave them out, or make the clip from words",
        ),
        false => Ok(()),
    }
}

/// Whether a shot starts from nothing.
fn has_bare_shots(request: &Request) -> bool {
    let mut shots = request.shots.iter().enumerate();
    shots.any(|(index, shot)| shot.image.is_none() && (index == 0 || shot.transition == Transition::Cut))
}

/// Says before anything is loaded that a model was not made for a task.
fn refuse_what_the_model_cannot(task: Task, request: &Request, model: &Description) -> Result<()> {
    let refuse = |reason: &str, hint: &str| {
        Err(Error::Invalid {
            what: "task",
            got: task.name().to_owned(),
            reason: reason.into(),
            hint: hint.into(),
        })
    };
    match task {
        Task::FirstLastToVideo if !model.starts.can_end() => refuse(
            "this model cannot end with a given picture",
            "leave out --last-image, or use a Wan image-to-video or VACE model",
        ),
        Task::Controlled if model.starts != StartsFrom::Control => {
            refuse("this model has no control branch", "use a Wan VACE model")
        }
        Task::VideoToVideo | Task::Remix | Task::Blend | Task::Loop if model.block_frames.is_some() => refuse(
            "this model makes a clip block by block, from noise",
            "use a model that makes it as a whole",
        ),
        Task::TextToVideo | Task::TextToImage if model.starts == StartsFrom::Channels => {
            refuse("this model always starts from a picture", "add --image")
        }
        Task::Storyboard if model.starts == StartsFrom::Channels && has_bare_shots(request) => refuse(
            "this model always starts from a picture",
            "add a picture for each shot that does not continue the one before",
        ),
        _ => Ok(()),
    }
}

/// The step from which something given is made anew: all steps at strength 1, none near 0.
fn first_step(strength: Option<f32>, steps: u32) -> u32 {
    // As diffusers counts: the number of steps that are left is cut to a whole one.
    strength.map_or(0, |strength| steps - ((steps as f32 * strength) as u32).clamp(1, steps))
}

/// Whether a format holds more than one frame.
const fn is_moving(format: Format) -> bool {
    !matches!(format, Format::Png)
}

fn describe_length(segments: &[Segment], model: &Description, fps: Fps) -> String {
    let wanted: usize = segments.iter().map(|segment| segment.new_frames).sum();
    let generated: usize = segments.iter().map(|segment| segment.generated_new(model)).sum();
    let mut parts = vec![format!("{wanted} frames at {} a second", model.fps)];
    let shots = 1 + segments.last().map_or(0, |segment| segment.shot);
    match (segments.len(), shots) {
        (1, _) => {}
        (count, 1) => parts.push(format!("in {count} parts, each continuing the one before")),
        (count, _) => parts.push(format!("in {shots} shots of {count} parts")),
    }
    if generated > wanted {
        parts.push(format!("{} surplus frames cut off", generated - wanted));
    }
    if fps != model.fps {
        parts.push(format!("interpolated to {fps} a second"));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests;
