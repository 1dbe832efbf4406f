//! From the JSON of a job to a request of the pipeline, apart from what the job starts from.

use std::path::Path;

use kinora_api::{Options, Seconds};
use kinora_media::{Format, Fps};
use kinora_pipeline::{Description, Length, PromptMode, Request, Size};

use crate::work::Work;

/// What of the work the pipeline refuses, or has no words for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// The field of the request.
    pub(crate) field: &'static str,
    /// Why, for people.
    pub(crate) reason: String,
}

impl From<Refused> for String {
    fn from(refused: Refused) -> Self {
        format!("{}: {}", refused.field, refused.reason)
    }
}

/// The request of `work` to a model, written to `output`; [`super::derived`] adds what it starts from.
pub(crate) fn request_of(work: &Work, model: &Description, output: &Path) -> Result<Request, Refused> {
    let options = &work.options;
    let mut request = Request::new(work.prompt.as_str(), output, Format::Mp4);
    request.negative.clone_from(&options.negative_prompt);
    request.prompt_mode = match options.enhance_prompt {
        None => PromptMode::Auto,
        Some(true) => PromptMode::Expanded,
        Some(false) => PromptMode::Raw,
    };
    request.size = Some(size_of(work)?);
    request.fps = fps_of(options, model)?;
    request.length = length_of(work, request.fps.unwrap_or(model.fps), model);
    request.steps = options.steps;
    // Guidance with two predictions is what the pipeline has; an embedded one is part of a model's preset.
    request.guidance_scale = options
        .true_cfg_scale // tidy: word: the name that other servers gave the field
        .or(options.guidance_scale)
        .map(|scale| scale as f32);
    request.guidance_scale_low = options.guidance_scale_2.map(|scale| scale as f32);
    request.shift = options.flow_shift;
    request.seed = work.seed;
    request.keep_latents = true;
    Ok(request)
}

/// What was asked for that this version does not do.
pub(crate) fn notes_of(options: &Options) -> Vec<String> {
    let mut notes = Vec::new();
    if options.boundary_ratio.is_some() {
        notes.push("boundary_ratio has no effect: the second expert takes over where its model says".to_owned());
    }
    notes
}

fn size_of(work: &Work) -> Result<Size, Refused> {
    let options = &work.options;
    let larger = match options.enable_upscaling {
        Some(false) => 1,
        Some(true) => options.upscaling_scale.unwrap_or(2),
        None => options.upscaling_scale.unwrap_or(1),
    };
    let side = |side: u32| side.saturating_mul(larger);
    Size::new(side(work.size.width), side(work.size.height)).map_err(|error| Refused {
        field: "size",
        reason: one_line(&error.to_string()),
    })
}

fn fps_of(options: &Options, model: &Description) -> Result<Option<Fps>, Refused> {
    let doubled = match (options.enable_frame_interpolation, options.frame_interpolation_exp) {
        (Some(false), _) | (None, None) => 0,
        (_, times) => times.unwrap_or(1),
    };
    let refused = |error: kinora_media::Error| Refused {
        field: "fps",
        reason: one_line(&error.to_string()),
    };
    match options.fps {
        Some(fps) => fps.to_string().parse().map(Some).map_err(refused),
        None if doubled > 0 => {
            let times = 1_u32.checked_shl(doubled).unwrap_or(u32::MAX);
            Fps::new(model.fps.num.saturating_mul(times), model.fps.den)
                .map(Some)
                .map_err(refused)
        }
        None => Ok(None),
    }
}

/// The new frames: as many as were asked for at the rate of the video, or those of the length.
fn length_of(work: &Work, fps: Fps, model: &Description) -> Length {
    match work.num_frames {
        Some(frames) if fps == model.fps => Length::Frames(frames),
        Some(frames) => Length::Seconds(f64::from(frames) / fps.as_f64()),
        None => seconds(work.seconds),
    }
}

/// A length as the pipeline writes it.
pub(crate) fn seconds(length: Seconds) -> Length {
    Length::Seconds(f64::from(length.ms()) / 1000.0)
}

/// An error on one line.
pub(crate) fn one_line(text: &str) -> String {
    text.replace("\nhint: ", "; ").replace('\n', " ")
}
