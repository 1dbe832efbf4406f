//! From a request to what the model will be asked: sizes, frames, segments. A pure function of the request, the model's
//! description and the input clip, so it can be shown before anything is computed, and tested without a model.

use kinora_media::{Format, Fps};
use kinora_sampling::{CacheKind, Sampler, Schedule};

use crate::description::{Description, StartsFrom};
use crate::render::Playing;
use crate::report::SizeRecord;
use crate::request::{Length, Request, Size};
use crate::{Error, Result};

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
    /// A clip that follows the poses, edges or depths of a given one, or shows given things.
    Controlled,
}

impl Task {
    /// The name in recipes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TextToVideo => "text-to-video",
            Self::TextToImage => "text-to-image",
            Self::ImageToVideo => "image-to-video",
            Self::FirstLastToVideo => "first-last-to-video",
            Self::Extend => "extend",
            Self::VideoToVideo => "video-to-video",
            Self::Controlled => "controlled",
        }
    }
}

/// One pass of the model: so many latent frames, of which the first ones are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Latent frames in all.
    pub latent_frames: usize,
    /// Latent frames at the start that are given (clean).
    pub prefix_latent_frames: usize,
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
    /// The step that a given clip enters at, as noisy as its sigma says; 0 for everything that starts from noise.
    pub first_step: u32,
    /// Pictures of what shall appear; each takes the room of a latent frame.
    pub references: usize,
    /// Which steps may take over the prediction of the step before, if any.
    pub cache: Option<CacheKind>,
}

impl Plan {
    /// Plans `request` for a model.
    ///
    /// **Errors**: [`Error::Invalid`] if the request is out of range.
    pub fn new(request: &Request, model: &Description, source: Option<SourceClip>) -> Result<Self> {
        request.validate()?;
        let task = task(request, source.is_some());
        refuse_what_the_model_cannot(task, model)?;
        let wanted = wanted_frames(request, model)?;
        if task == Task::TextToImage && is_moving(request.format) {
            return Err(Error::Invalid {
                what: "format",
                got: request.format.name().to_owned(),
                reason: "one frame is a still image".into(),
                hint: "write it as .png, or ask for 5 frames or more".into(),
            });
        }
        if wanted > 1 && !is_moving(request.format) {
            return Err(Error::Invalid {
                what: "format",
                got: request.format.name().to_owned(),
                reason: "a still image holds one frame".into(),
                hint: "add --frames 1, or write .mp4".into(),
            });
        }
        let first_prefix = match task {
            Task::TextToVideo | Task::TextToImage | Task::VideoToVideo | Task::Controlled => 0,
            Task::ImageToVideo | Task::FirstLastToVideo => 1,
            Task::Extend => source_prefix(source, model),
        };
        let new_from_first = |segment: &Segment| {
            // The picture that was given is part of the clip; the frames of a clip that is continued are not new.
            let given = if task == Task::Extend {
                model.frames_of(segment.prefix_latent_frames)
            } else {
                0
            };
            model.frames_of(segment.latent_frames) - given
        };
        let segments = segments_for(wanted, first_prefix, model, new_from_first);
        let generated: usize = new_frames_of(&segments, model, new_from_first);
        let size = plan_size(request.size.or(source.map(|s| s.size)), model);
        let fps = request.fps.or(source.map(|s| s.fps)).unwrap_or(model.fps);
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
            first_step: first_step(task, steps, request.strength),
            references: request.references.len(),
            cache: model.cache(request.cache)?,
            size,
            length_how: describe_length(wanted, generated, segments.len(), model, fps),
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
        let only_words = matches!(self.task, Task::TextToVideo | Task::TextToImage);
        !only_words || self.segments.len() > 1
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

    /// Frames that the model computes for this plan, surplus included.
    pub fn generated_frames(&self, model: &Description) -> usize {
        self.segments.iter().map(|s| model.frames_of(s.latent_frames)).sum()
    }
}

fn task(request: &Request, continues: bool) -> Task {
    let given = [
        continues,
        request.video.is_some(),
        request.control.is_some(),
        request.image.is_some(),
    ];
    match given {
        [true, ..] => Task::Extend,
        [_, true, ..] => Task::VideoToVideo,
        [_, _, true, _] => Task::Controlled,
        [.., true] if request.last_image.is_some() => Task::FirstLastToVideo,
        [.., true] => Task::ImageToVideo,
        _ if !request.references.is_empty() => Task::Controlled,
        _ if request.length == Length::Frames(1) => Task::TextToImage,
        _ => Task::TextToVideo,
    }
}

/// Says before anything is loaded that a model was not made for a task.
fn refuse_what_the_model_cannot(task: Task, model: &Description) -> Result<()> {
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
        Task::VideoToVideo if model.block_frames.is_some() => refuse(
            "this model makes a clip block by block, from noise",
            "use a model that makes it as a whole",
        ),
        Task::TextToVideo | Task::TextToImage if model.starts == StartsFrom::Channels => {
            refuse("this model always starts from a picture", "add --image")
        }
        _ => Ok(()),
    }
}

/// The step from which a given clip is made anew: all steps at strength 1, none near 0.
fn first_step(task: Task, steps: u32, strength: f32) -> u32 {
    match task {
        // As diffusers counts: the number of steps that are left is cut to a whole one.
        Task::VideoToVideo => steps - ((steps as f32 * strength) as u32).clamp(1, steps),
        _ => 0,
    }
}

/// Latent frames that a clip to continue is long enough for: the overlap, or its last frame alone.
fn source_prefix(source: Option<SourceClip>, model: &Description) -> usize {
    let seconds = source.map_or(0.0, |source| source.frames as f64 / source.fps.as_f64());
    match seconds * model.fps.as_f64() >= model.frames_of(model.overlap_latent_frames) as f64 {
        true => model.overlap_latent_frames,
        false => 1,
    }
}

/// Whether a format holds more than one frame.
const fn is_moving(format: Format) -> bool {
    !matches!(format, Format::Png)
}

fn wanted_frames(request: &Request, model: &Description) -> Result<usize> {
    let most = (Request::MAX_SECONDS * model.fps.as_f64()).round() as usize;
    let frames = match request.length {
        Length::Default => model.default_frames,
        Length::Frames(frames) => frames as usize,
        Length::Seconds(seconds) => ((seconds * model.fps.as_f64()).round() as usize).max(2),
    };
    if frames > most {
        return Err(Error::Invalid {
            what: "frames",
            got: frames.to_string(),
            reason: "longer than one run makes".into(),
            hint: format!(
                "at most {most} frames ({} seconds); continue the clip with --extend",
                Request::MAX_SECONDS
            ),
        });
    }
    Ok(frames)
}

/// As few passes as reach `wanted` frames; every pass after the first starts from the end of the one before.
fn segments_for(
    wanted: usize,
    first_prefix: usize,
    model: &Description,
    new_from_first: impl Fn(&Segment) -> usize,
) -> Vec<Segment> {
    let mut segments: Vec<Segment> = Vec::new();
    let mut made = 0;
    while made < wanted {
        let prefix = if segments.is_empty() {
            first_prefix
        } else {
            model.overlap_latent_frames
        };
        let new_of = |latent_frames| {
            let segment = Segment {
                latent_frames,
                prefix_latent_frames: prefix,
            };
            if segments.is_empty() {
                new_from_first(&segment)
            } else {
                new_from_overlap(&segment, model)
            }
        };
        let latent_frames = (prefix + 1..model.max_latent_frames)
            .find(|&latent_frames| made + new_of(latent_frames) >= wanted)
            .unwrap_or(model.max_latent_frames);
        made += new_of(latent_frames);
        segments.push(Segment {
            latent_frames,
            prefix_latent_frames: prefix,
        });
    }
    segments
}

fn new_from_overlap(segment: &Segment, model: &Description) -> usize {
    model.frames_of(segment.latent_frames) - model.frames_of(segment.prefix_latent_frames)
}

fn new_frames_of(segments: &[Segment], model: &Description, new_from_first: impl Fn(&Segment) -> usize) -> usize {
    let first = segments.first().map_or(0, &new_from_first);
    first
        + segments
            .iter()
            .skip(1)
            .map(|segment| new_from_overlap(segment, model))
            .sum::<usize>()
}

/// The native size whose shape is nearest, or for models that make any size, the next larger one that they can; the
/// rest is scaled and cropped.
fn plan_size(wanted: Option<Size>, model: &Description) -> SizeRecord {
    let preferred = model.sizes[0];
    let written = wanted.unwrap_or(preferred);
    let distance = |size: &Size| (size.aspect() / written.aspect()).ln().abs();
    let nearest = model
        .sizes
        .iter()
        .copied()
        .min_by(|a, b| distance(a).total_cmp(&distance(b)));
    let generated = match model.size_multiple {
        Some(multiple) => Size {
            width_px: written.width_px.next_multiple_of(multiple),
            height_px: written.height_px.next_multiple_of(multiple),
        },
        None => nearest.unwrap_or(preferred),
    };
    let how = if generated == written {
        "native size".to_owned()
    } else {
        let scale = (f64::from(written.width_px) / f64::from(generated.width_px))
            .max(f64::from(written.height_px) / f64::from(generated.height_px));
        let covered = (
            f64::from(generated.width_px) * scale,
            f64::from(generated.height_px) * scale,
        );
        let lost = 1.0 - f64::from(written.width_px) * f64::from(written.height_px) / (covered.0 * covered.1);
        match lost > 0.001 {
            true => format!(
                "made at {generated}, scaled by {scale:.3}, {:.0} % cropped at the edges",
                lost * 100.0
            ),
            false => format!("made at {generated}, scaled by {scale:.3}"),
        }
    };
    SizeRecord {
        generated,
        written,
        how,
    }
}

fn describe_length(wanted: usize, generated: usize, segments: usize, model: &Description, fps: Fps) -> String {
    let mut parts = vec![format!("{wanted} frames at {} a second", model.fps)];
    if segments > 1 {
        parts.push(format!("in {segments} parts, each continuing the one before"));
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
mod tests {
    use super::*;

    fn plan(change: impl FnOnce(&mut Request), source: Option<SourceClip>) -> Result<Plan> {
        let mut request = Request::new("a cat", "cat.mp4", Format::Mp4);
        change(&mut request);
        Plan::new(&request, &Description::toybox(), source)
    }

    fn latents(plan: &Plan) -> Vec<(usize, usize)> {
        plan.segments
            .iter()
            .map(|s| (s.latent_frames, s.prefix_latent_frames))
            .collect()
    }

    #[test]
    fn guidance_that_does_nothing_or_too_much_is_noted() {
        let distilled = Description::toybox();
        let plain = Description {
            default_guidance_scale: 5.0,
            ..Description::toybox()
        };
        let note = |model: &Description, scale: Option<f32>, negative: &str| {
            let mut request = Request::new("a cat", "cat.mp4", Format::Mp4);
            (request.guidance_scale, request.negative) = (scale, Some(negative.to_owned()));
            let plan = Plan::new(&request, model, None).unwrap();
            plan.guidance_note(&request, model).unwrap_or_default()
        };
        assert_eq!(note(&distilled, None, ""), "");
        assert!(note(&distilled, None, "dogs").contains("--guidance 2 would use it"));
        assert!(note(&distilled, Some(5.0), "").contains("built into this model"));
        assert_eq!(note(&plain, None, "dogs"), "");
        assert!(note(&plain, Some(1.0), "dogs").contains("--guidance 5 would use it"));
    }

    #[test]
    fn defaults_are_the_models_own() {
        let plan = plan(|_| (), None).unwrap();
        assert_eq!(
            (plan.task, latents(&plan), plan.new_frames),
            (Task::TextToVideo, vec![(9, 0)], 33)
        );
        assert_eq!(
            (plan.size.written.to_string(), plan.size.how.as_str()),
            ("512x288".into(), "native size")
        );
    }

    #[test]
    fn lengths_become_the_fewest_passes_that_reach_them() {
        for (frames, expected) in [
            (2, vec![(2, 0)]),
            (5, vec![(2, 0)]),
            (6, vec![(3, 0)]),
            (33, vec![(9, 0)]),
            (34, vec![(9, 0), (4, 3)]),
            (57, vec![(9, 0), (9, 3)]),
            (60, vec![(9, 0), (9, 3), (4, 3)]),
        ] {
            let plan = plan(|r| r.length = Length::Frames(frames), None).unwrap();
            assert_eq!(latents(&plan), expected, "{frames} frames");
        }
        assert_eq!(
            plan(|r| r.length = Length::Seconds(10.0), None).unwrap().new_frames,
            120
        );
        assert!(plan(|r| r.length = Length::Frames(100_000), None).is_err());
    }

    #[test]
    fn a_still_is_one_latent_frame_and_wants_a_still_format() {
        let plan_still = plan(|r| (r.length, r.format) = (Length::Frames(1), Format::Png), None).unwrap();
        assert_eq!(
            (plan_still.task, latents(&plan_still)),
            (Task::TextToImage, vec![(1, 0)])
        );
        assert!(plan(|r| r.length = Length::Frames(1), None).is_err());
        assert!(plan(|r| r.format = Format::Png, None).is_err());
    }

    #[test]
    fn a_picture_is_the_first_frame_and_a_clip_is_continued_by_new_frames_only() {
        let from_image = plan(|r| r.image = Some("a.png".into()), None).unwrap();
        assert_eq!(
            (from_image.task, latents(&from_image)),
            (Task::ImageToVideo, vec![(9, 1)])
        );
        let source = SourceClip {
            size: Size {
                width_px: 640,
                height_px: 360,
            },
            fps: Fps::new(30, 1).unwrap(),
            frames: 90,
        };
        let longer = plan(|r| r.length = Length::Seconds(2.0), Some(source)).unwrap();
        assert_eq!(
            (longer.task, latents(&longer), longer.new_frames),
            (Task::Extend, vec![(9, 3)], 24)
        );
        assert_eq!(
            (longer.size.written.to_string(), longer.fps.to_string()),
            ("640x360".into(), "30".into())
        );
    }

    #[test]
    fn other_sizes_come_from_the_native_size_of_the_nearest_shape() {
        for (text, generated, cropped) in [
            ("1920x1080", "512x288", false),
            ("720x1280", "288x512", false),
            ("640x512", "384x384", true),
            ("1280x544", "512x288", true),
        ] {
            let plan = plan(|r| r.size = Some(text.parse().unwrap()), None).unwrap();
            assert_eq!(plan.size.generated.to_string(), generated, "{text}");
            assert_eq!(plan.size.how.contains("cropped"), cropped, "{text}: {}", plan.size.how);
        }
    }
}
