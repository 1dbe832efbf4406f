//! Bodies of the routes that OpenAI never had: JSON, or a form like those of the others.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::body::{Body, Fields, Node, Path, object_of};
use crate::requests::{TextOrNumber, finished, image_source, model};
use crate::rules::LONGEST_PROMPT;
use crate::{ApiError, ImageSource, Lengths, Options, Rules, Seconds, Size, VideoId, requests};

/// The most shots of a storyboard.
const MOST_SHOTS: usize = 64;

/// Takes the id of a video under this name.
fn video(fields: &mut Fields, name: &str) -> Result<VideoId, ApiError> {
    let id = fields.required_text(name, 512)?;
    id.parse().map_err(|_| ApiError::video_not_found(&id))
}

/// `POST /api/videos/{video_id}/variants`: the same request again with other seeds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(transform = requests::add_wrappers)]
pub struct MakeVariants {
    /// How many.
    #[schemars(range(min = 1, max = 100))]
    pub count: u64,
    /// Their seeds, as many as there are videos; drawn by the server if left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(range(max = 9007199254740991_u64)))]
    pub seeds: Vec<u64>,
    /// Fields that were sent and mean nothing here.
    #[serde(skip)]
    pub ignored: Vec<String>,
}

impl MakeVariants {
    /// Reads a body and checks it. Without `count` there are as many as `seeds`.
    ///
    /// **Errors**: 400 with the field in `param`.
    pub fn read(body: Body, rules: &Rules) -> Result<Self, ApiError> {
        let mut fields = body.fields()?;
        let most = usize::try_from(rules.most_variants).unwrap_or(usize::MAX);
        let seeds = fields.integers("seeds", most, requests::LARGEST_SEED)?;
        let count = match fields.integer("count", 1, rules.most_variants)? {
            Some(count) => count,
            None if seeds.is_empty() => return Err(ApiError::missing("count")),
            None => seeds.len() as u64,
        };
        if !seeds.is_empty() && seeds.len() as u64 != count {
            let rule = "There are as many seeds as videos (`count`), or none.";
            return Err(ApiError::invalid_value("seeds", &seeds.len().to_string(), rule));
        }
        let ignored = finished(fields, rules)?;
        Ok(Self { count, seeds, ignored })
    }
}

/// How one shot follows another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Transition {
    /// At once, with nothing in common.
    #[default]
    Cut,
    /// It goes on from the last frames of the shot before.
    Continue,
}

/// One card of a storyboard.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Shot {
    /// What is to be seen.
    #[schemars(length(min = 1, max = 32000))]
    pub prompt: String,
    /// How long.
    #[schemars(with = "TextOrNumber")]
    pub seconds: Seconds,
    /// How it follows the shot before; the first one has nothing before it.
    pub transition: Transition,
    /// Its first frame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_reference: Option<ImageSource>,
}

impl Shot {
    fn take(node: Node, index: usize, rules: &Rules, lengths: &Lengths) -> Result<Self, ApiError> {
        let mut fields = object_of(node, Path::item("shots", index))?;
        let param = fields.param("seconds");
        let seconds = requests::seconds(&mut fields)?.ok_or_else(|| ApiError::missing(&param))?;
        lengths.check(seconds).map_err(|error| error.at(&param))?;
        let param = fields.param("transition");
        let transition = match fields.text("transition")?.as_deref() {
            None | Some("cut") => Transition::Cut,
            Some("continue") => Transition::Continue,
            Some(other) => return Err(ApiError::not_among(&param, other, &["cut", "continue"])),
        };
        let shot = Self {
            prompt: fields.required_text("prompt", LONGEST_PROMPT)?,
            seconds,
            transition,
            input_reference: image_source(&mut fields, rules)?,
        };
        requests::nothing_left(fields)?;
        Ok(shot)
    }
}

/// `POST /api/storyboards`: one video from several prompts.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(transform = requests::add_size)]
pub struct CreateStoryboard {
    /// Its shots in their order.
    #[schemars(length(min = 1, max = 64))]
    pub shots: Vec<Shot>,
    /// The model; the server's first one if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Width and height.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// The same for all shots.
    #[serde(flatten)]
    pub options: Options,
    /// Fields that were sent and mean nothing here.
    #[serde(skip)]
    pub ignored: Vec<String>,
}

impl CreateStoryboard {
    /// Reads a body and checks it.
    ///
    /// **Errors**: 400 with the field in `param`.
    pub fn read(body: Body, rules: &Rules) -> Result<Self, ApiError> {
        let mut fields = body.fields()?;
        let model = model(&mut fields, rules)?;
        let known = rules.model(model.as_deref())?;
        let items = fields.list("shots", MOST_SHOTS)?.unwrap_or_default();
        if items.is_empty() {
            return Err(ApiError::missing("shots"));
        }
        let shots = items.into_iter().enumerate();
        let request = Self {
            shots: shots
                .map(|(index, node)| Shot::take(node, index, rules, &known.lengths))
                .collect::<Result<_, _>>()?,
            size: requests::size(&mut fields)?,
            options: Options::take(&mut fields, rules)?,
            ignored: finished(fields, rules)?,
            model,
        };
        if let Some(size) = request.size {
            known.sizes.check(size)?;
        }
        Ok(request)
    }
}

/// `POST /api/blends`: one video that goes over into another.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct BlendVideos {
    /// The video that it begins as.
    pub from: VideoId,
    /// The video that it ends as.
    pub to: VideoId,
    /// What is to be seen on the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32000))]
    pub prompt: Option<String>,
    /// The share of the second video over time, at points of equal distance; from 0 to 1 in a line if left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(range(min = 0.0, max = 1.0)))]
    pub curve: Vec<f64>,
    /// The model; that of the first video if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub options: Options,
    /// Fields that were sent and mean nothing here.
    #[serde(skip)]
    pub ignored: Vec<String>,
}

impl BlendVideos {
    /// Reads a body and checks it.
    ///
    /// **Errors**: 400 with the field in `param`; 404 for a text that names no video.
    pub fn read(body: Body, rules: &Rules) -> Result<Self, ApiError> {
        let mut fields = body.fields()?;
        Ok(Self {
            from: video(&mut fields, "from")?,
            to: video(&mut fields, "to")?,
            prompt: fields.text("prompt")?,
            curve: fields.numbers("curve", 64, 0.0, 1.0)?,
            model: model(&mut fields, rules)?,
            options: Options::take(&mut fields, rules)?,
            ignored: finished(fields, rules)?,
        })
    }
}

/// `POST /api/loops`: a video whose end goes over into its beginning.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct LoopVideo {
    /// The video.
    pub video_id: VideoId,
    /// How long the new part between end and beginning is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<TextOrNumber>")]
    pub seconds: Option<Seconds>,
    /// What is to be seen in it; the prompt of the video if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32000))]
    pub prompt: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub options: Options,
    /// Fields that were sent and mean nothing here.
    #[serde(skip)]
    pub ignored: Vec<String>,
}

impl LoopVideo {
    /// Reads a body and checks it.
    ///
    /// **Errors**: 400 with the field in `param`; 404 for a text that names no video.
    pub fn read(body: Body, rules: &Rules) -> Result<Self, ApiError> {
        let mut fields = body.fields()?;
        Ok(Self {
            video_id: video(&mut fields, "video_id")?,
            seconds: requests::seconds(&mut fields)?,
            prompt: fields.text("prompt")?,
            options: Options::take(&mut fields, rules)?,
            ignored: finished(fields, rules)?,
        })
    }
}
