//! Videos from videos: remix, edits, extensions.

use schemars::JsonSchema;
use serde::Serialize;

use super::create::{TextOrNumber, add_size, frames, seconds, size};
use super::{Options, VideoSource, finished, model, video_source};
use crate::body::{Body, Fields};
use crate::rules::LONGEST_PROMPT;
use crate::{ApiError, Rules, Seconds, Size};

fn strength(fields: &mut Fields) -> Result<Option<f64>, ApiError> {
    fields.number("strength", 0.0, 1.0)
}

/// `POST /v1/videos/{video_id}/remix`: the same video with another prompt.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct RemixVideo {
    /// What is to be seen now.
    #[schemars(length(min = 1, max = 32000))]
    pub prompt: String,
    /// How much may change: 0 nothing, 1 everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub strength: Option<f64>,
    /// Everything that OpenAI never had.
    #[serde(flatten)]
    pub options: Options,
    /// Fields that were sent and mean nothing here.
    #[serde(skip)]
    pub ignored: Vec<String>,
}

impl RemixVideo {
    /// Reads a body and checks it.
    ///
    /// **Errors**: 400 with the field in `param`.
    pub fn read(body: Body, rules: &Rules) -> Result<Self, ApiError> {
        let mut fields = body.fields()?;
        Ok(Self {
            prompt: fields.required_text("prompt", LONGEST_PROMPT)?,
            strength: strength(&mut fields)?,
            options: Options::take(&mut fields, rules)?,
            ignored: finished(fields, rules)?,
        })
    }
}

/// `POST /v1/videos/edits`: a video or an uploaded clip, changed by a prompt.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(transform = add_size)]
pub struct EditVideo {
    /// What is to be seen now.
    #[schemars(length(min = 1, max = 32000))]
    pub prompt: String,
    /// What is changed.
    pub video: VideoSource,
    /// The model; that of the source if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// How much may change: 0 nothing, 1 everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub strength: Option<f64>,
    /// Width and height; those of the source, or what the model makes of them, if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// Everything that OpenAI never had.
    #[serde(flatten)]
    pub options: Options,
    /// Fields that were sent and mean nothing here.
    #[serde(skip)]
    pub ignored: Vec<String>,
}

impl EditVideo {
    /// Reads a body and checks it. An uploaded clip without a model is changed by the server's first model.
    ///
    /// **Errors**: 400 with the field in `param`; 404 for a source that is no video.
    pub fn read(body: Body, rules: &Rules) -> Result<Self, ApiError> {
        let mut fields = body.fields()?;
        let request = Self {
            prompt: fields.required_text("prompt", LONGEST_PROMPT)?,
            video: video_source(&mut fields, rules)?,
            model: model(&mut fields, rules)?,
            strength: strength(&mut fields)?,
            size: size(&mut fields)?,
            options: Options::take(&mut fields, rules)?,
            ignored: finished(fields, rules)?,
        };
        if let (Some(size), Some(model)) = (request.size, request.model.as_deref()) {
            rules.model(Some(model))?.sizes.check(size)?;
        }
        Ok(request)
    }
}

/// `POST /v1/videos/extensions`: a video or an uploaded clip, continued.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ExtendVideo {
    /// How it goes on.
    #[schemars(length(min = 1, max = 32000))]
    pub prompt: String,
    /// What is continued.
    pub video: VideoSource,
    /// The length of the new part; the answer says the whole length.
    #[schemars(with = "TextOrNumber")]
    pub seconds: Seconds,
    /// The model; that of the source if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Everything that OpenAI never had.
    #[serde(flatten)]
    pub options: Options,
    /// Fields that were sent and mean nothing here.
    #[serde(skip)]
    pub ignored: Vec<String>,
}

impl ExtendVideo {
    /// Reads a body and checks it.
    ///
    /// **Errors**: 400 with the field in `param`; 404 for a source that is no video.
    pub fn read(body: Body, rules: &Rules) -> Result<Self, ApiError> {
        let mut fields = body.fields()?;
        let request = Self {
            prompt: fields.required_text("prompt", LONGEST_PROMPT)?,
            video: video_source(&mut fields, rules)?,
            seconds: seconds(&mut fields)?.ok_or_else(|| ApiError::missing("seconds"))?,
            model: model(&mut fields, rules)?,
            options: Options::take(&mut fields, rules)?,
            ignored: finished(fields, rules)?,
        };
        let known = rules.model(request.model.as_deref())?;
        if request.options.num_frames.is_none() {
            known.extension_lengths.check(request.seconds)?;
        }
        frames(&request.options, known)?;
        Ok(request)
    }
}
