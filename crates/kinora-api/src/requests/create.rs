//! `POST /v1/videos` and `POST /v1/videos/characters`.

use schemars::{JsonSchema, Schema};
use serde::Serialize;
use serde_json::json;

use super::options::{add_properties, nothing_left};
use super::{ImageSource, Options, finished, image_source, model};
use crate::body::{Body, Fields, Node, Path, object_of};
use crate::rules::{LONGEST_PROMPT, ModelRules};
use crate::{ApiError, CharacterId, Rules, Seconds, Size, Upload};

/// A character that takes part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CharacterRef {
    /// Names it; its name also stands in the prompt.
    pub id: CharacterId,
}

/// A video from a prompt, and from a picture or characters if some are given.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(transform = other_names)]
pub struct CreateVideo {
    /// What is to be seen.
    #[schemars(length(min = 1, max = 32000))]
    pub prompt: String,
    /// The model by its name; the server's first one if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// How long; numbers are taken as well as texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<TextOrNumber>")]
    pub seconds: Option<Seconds>,
    /// Width and height; `width` and `height` as numbers are taken in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// The first frame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_reference: Option<ImageSource>,
    /// Characters that take part.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub characters: Vec<CharacterRef>,
    /// Everything that OpenAI never had.
    #[serde(flatten)]
    pub options: Options,
    /// Fields that were sent and mean nothing here.
    #[serde(skip)]
    pub ignored: Vec<String>,
}

/// The names that [`CreateVideo::read`] reads besides those of the fields.
fn other_names(schema: &mut Schema) {
    let reference = |text: &str| json!({ "description": text, "type": ["object", "string", "null"] });
    add_size(schema);
    add_properties(
        schema,
        [
            ("image_reference", reference("The same as `input_reference`.")),
            (
                "reference_url",
                json!({ "type": ["string", "null"], "description": "The same as `image_url` in `input_reference`." }),
            ),
        ],
    );
}

/// `width` and `height`, which [`size`] reads.
pub(crate) fn add_size(schema: &mut Schema) {
    let side = |text: &str| json!({ "type": ["integer", "null"], "minimum": 1, "description": text });
    add_properties(
        schema,
        [
            ("width", side("With `height`, the same as `size`.")),
            ("height", side("With `width`, the same as `size`.")),
        ],
    );
}

/// What `seconds` may be, for the schema.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
#[expect(dead_code, reason = "it only has a schema")]
pub(crate) enum TextOrNumber {
    Text(Seconds),
    Number(#[schemars(range(min = 0.0))] f64),
}

impl CreateVideo {
    /// A video from a prompt alone.
    pub fn new(prompt: impl Into<String>) -> Self {
        Self {
            prompt: prompt.into(),
            model: None,
            seconds: None,
            size: None,
            input_reference: None,
            characters: Vec::new(),
            options: Options::default(),
            ignored: Vec::new(),
        }
    }

    /// Reads a body and checks it.
    ///
    /// **Errors**: 400 with the field in `param`.
    pub fn read(body: Body, rules: &Rules) -> Result<Self, ApiError> {
        let mut fields = body.fields()?;
        let prompt = fields.required_text("prompt", LONGEST_PROMPT)?;
        let model = model(&mut fields, rules)?;
        let known = rules.model(model.as_deref())?;
        let seconds = seconds(&mut fields)?;
        let request = Self {
            prompt,
            seconds,
            size: size(&mut fields)?,
            input_reference: image_source(&mut fields, rules)?,
            characters: characters(&mut fields, rules)?,
            options: Options::take(&mut fields, rules)?,
            ignored: finished(fields, rules)?,
            model,
        };
        request.check(known)?;
        Ok(request)
    }

    fn check(&self, model: &ModelRules) -> Result<(), ApiError> {
        if let Some(size) = self.size {
            model.sizes.check(size)?;
        }
        // With a number of frames, the length follows from it.
        if let (Some(seconds), None) = (self.seconds, self.options.num_frames) {
            model.lengths.check(seconds)?;
        }
        frames(&self.options, model)
    }
}

/// **Errors**: more frames than the model makes.
pub(crate) fn frames(options: &Options, model: &ModelRules) -> Result<(), ApiError> {
    match options.num_frames {
        Some(frames) if frames > model.most_frames => {
            let most = model.most_frames;
            let message = format!("integer above maximum value. Expected a value <= {most}, but got {frames} instead.");
            Err(ApiError::out_of_range("num_frames", "integer_above_max_value", message))
        }
        _ => Ok(()),
    }
}

/// `seconds`, as a text or a number.
pub(crate) fn seconds(fields: &mut Fields) -> Result<Option<Seconds>, ApiError> {
    fields.parsed("seconds", "Expected a number of seconds, such as '4'.")
}

/// `size`, or `width` and `height`.
pub(crate) fn size(fields: &mut Fields) -> Result<Option<Size>, ApiError> {
    let size: Option<Size> = fields.parsed("size", "Expected a size, such as '720x1280'.")?;
    let width = fields.integer("width", 1, u64::from(u32::MAX))?;
    let height = fields.integer("height", 1, u64::from(u32::MAX))?;
    let given = match (width, height) {
        (None, None) => return Ok(size),
        (Some(_), None) => return Err(ApiError::missing("height")),
        (None, Some(_)) => return Err(ApiError::missing("width")),
        (Some(width), Some(height)) => Size::new(width as u32, height as u32),
    };
    match size {
        Some(size) if size != given => Err(ApiError::conflict_of("size", "width")),
        _ => Ok(Some(given)),
    }
}

fn characters(fields: &mut Fields, rules: &Rules) -> Result<Vec<CharacterRef>, ApiError> {
    let items = fields.list("characters", rules.most_characters)?.unwrap_or_default();
    let read = |(index, node): (usize, Node)| {
        let mut object = object_of(node, Path::item("characters", index))?;
        let id = object.required_text("id", 512)?;
        nothing_left(object)?;
        let id = id.parse().map_err(|_| ApiError::character_not_found(&id))?;
        Ok(CharacterRef { id })
    };
    items.into_iter().enumerate().map(read).collect()
}

/// A character from a clip. Only multipart carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateCharacter {
    /// What prompts will call it.
    pub name: String,
    /// The clip that shows it.
    pub video: Upload,
    /// Fields that were sent and mean nothing here.
    pub ignored: Vec<String>,
}

impl CreateCharacter {
    /// The longest name, in characters.
    pub const LONGEST_NAME: usize = 80;

    /// Reads a body and checks it.
    ///
    /// **Errors**: 400 with the field in `param`.
    pub fn read(body: Body, rules: &Rules) -> Result<Self, ApiError> {
        let mut fields = body.fields()?;
        let name = fields.required_text("name", Self::LONGEST_NAME)?;
        let video = match fields.file_or_object("video")? {
            None => return Err(ApiError::missing("video")),
            Some(Ok(upload)) => upload,
            Some(Err(_)) => return Err(ApiError::wrong_type("video", "a file", "an object")),
        };
        video.kind_among("video", &rules.clips)?;
        let ignored = finished(fields, rules)?;
        Ok(Self { name, video, ignored })
    }
}

/// The body of a new character, for the document.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CreateCharacter", transform = super::add_wrappers)]
pub(crate) struct CreateCharacterBody {
    /// What prompts will call it.
    #[schemars(length(min = 1, max = 80))]
    name: String,
    /// The clip that shows it: a file, MP4, WebM or GIF.
    #[schemars(extend("format" = "binary"))]
    video: String,
}
