//! What OpenAI never had and other servers do: seeds, steps, guidance and the like, by the names that vLLM-Omni and
//! SGLang gave them.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::body::{Fields, Node, Path, object_of};
use crate::{ApiError, Rules, UnknownFields};

/// The largest seed: every language reads it exactly from JSON.
pub const LARGEST_SEED: u64 = (1 << 53) - 1;

/// The highest priority of a job.
pub const LARGEST_PRIORITY: u32 = 100;

/// A LoRA of the server, by its name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LoraRef {
    /// Its name on the server; never a path.
    #[schemars(length(min = 1, max = 200))]
    pub name: String,
    /// How strongly it acts.
    #[serde(default = "one")]
    #[schemars(range(min = -4.0, max = 4.0))]
    pub scale: f64,
}

fn one() -> f64 {
    1.0
}

/// How the model is sampled and what is done with its frames. Everything may be left out; the model's own values hold
/// then.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = other_names)]
pub struct Options {
    /// What should not be seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32000))]
    pub negative_prompt: Option<String>,
    /// What the noise is drawn from; a list gives one for each of several videos.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "one_or_many")]
    #[schemars(with = "Option<OneOrMany>")]
    pub seed: Vec<u64>,
    /// Videos to make from this one request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub n: Option<u64>,
    /// Frames of the clip; wins over `seconds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub num_frames: Option<u32>,
    /// Frames in a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1.0, max = 240.0))]
    pub fps: Option<f64>,
    /// Steps from noise to clip.
    #[serde(default, rename = "num_inference_steps", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 200))]
    pub steps: Option<u32>,
    /// Strength of the guidance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 20.0))]
    pub guidance_scale: Option<f64>,
    /// The same for the second expert of a model that has two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 20.0))]
    pub guidance_scale_2: Option<f64>,
    /// Strength of the guidance with two predictions, for models that also have an embedded one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 20.0))]
    pub true_cfg_scale: Option<f64>, // tidy: word: the name that other servers gave the field
    /// Shift of the schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 100.0))]
    pub flow_shift: Option<f64>,
    /// The sigma at which the second expert takes over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub boundary_ratio: Option<f64>,
    /// Whether the prompt may be rewritten; `revised_prompt` of the video says how it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enhance_prompt: Option<bool>,
    /// Whether frames are put between those of the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable_frame_interpolation: Option<bool>,
    /// How often the number of frames doubles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3))]
    pub frame_interpolation_exp: Option<u32>,
    /// Whether frames are enlarged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable_upscaling: Option<bool>,
    /// How many times larger they become.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4))]
    pub upscaling_scale: Option<u32>,
    /// LoRAs that act on the model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loras: Vec<LoraRef>,
    /// Jobs of a higher one are begun first, as far as the key may ask for it; 0 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 100))]
    pub priority: Option<u32>,
    /// Who asked, for the operator's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub user: Option<String>,
    /// Notes of the client, kept and given back by `/api`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, Value>,
}

/// The names that [`Options::take`] reads besides those of the fields.
fn other_names(schema: &mut Schema) {
    let count = json!({ "type": ["integer", "null"], "minimum": 1, "maximum": 100, "description": "The same as `n`." });
    let lora = "One LoRA, an object or its JSON as text: the same as `loras` with one item.";
    add_properties(
        schema,
        [("num_outputs_per_prompt", count), ("lora", object_or_text(lora))],
    );
    add_wrappers(schema);
}

fn object_or_text(description: &str) -> Value {
    json!({ "type": ["object", "string", "null"], "description": description })
}

/// The objects whose members count as fields of any body.
pub(crate) fn add_wrappers(schema: &mut Schema) {
    let params = "An object, or its JSON as text; its members count as fields of the request.";
    add_properties(
        schema,
        [
            ("extra_params", object_or_text(params)),
            ("extra_body", object_or_text("The same as `extra_params`.")),
        ],
    );
}

/// Adds properties to the schema of an object.
pub(crate) fn add_properties<const N: usize>(schema: &mut Schema, added: [(&str, Value); N]) {
    let properties = schema.ensure_object().entry("properties").or_insert_with(|| json!({}));
    if let Some(properties) = properties.as_object_mut() {
        properties.extend(added.map(|(name, value)| (name.to_owned(), value)));
    }
}

/// A number or a list of them, for the schema.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
#[expect(dead_code, reason = "it only has a schema")]
enum OneOrMany {
    One(#[schemars(range(max = 9007199254740991_u64))] u64),
    Many(#[schemars(inner(range(max = 9007199254740991_u64)))] Vec<u64>),
}

/// One seed is written as a number, several as a list.
mod one_or_many {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(seeds: &[u64], to: S) -> Result<S::Ok, S::Error> {
        match seeds {
            [one] => to.serialize_u64(*one),
            many => many.serialize(to),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u64>, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Seeds {
            One(u64),
            Many(Vec<u64>),
        }
        Ok(match Option::deserialize(from)? {
            None => Vec::new(),
            Some(Seeds::One(one)) => vec![one],
            Some(Seeds::Many(many)) => many,
        })
    }
}

impl Options {
    pub(crate) fn take(fields: &mut Fields, rules: &Rules) -> Result<Self, ApiError> {
        let small = |value: Option<u64>| value.and_then(|value| u32::try_from(value).ok());
        let outputs = fields.integer("num_outputs_per_prompt", 1, rules.most_variants)?;
        let n = fields.integer("n", 1, rules.most_variants)?;
        if let (Some(n), Some(outputs)) = (n, outputs)
            && n != outputs
        {
            return Err(ApiError::conflict_of("n", "num_outputs_per_prompt"));
        }
        let n = n.or(outputs);
        let most_items = usize::try_from(rules.most_variants).unwrap_or(usize::MAX);
        let seed = fields.integers("seed", most_items, LARGEST_SEED)?;
        if seed.len() > 1 && n.is_some_and(|n| n != seed.len() as u64) {
            let got = seed.len().to_string();
            return Err(ApiError::invalid_value(
                "seed",
                &got,
                "There are as many seeds as videos (`n`), or one.",
            ));
        }
        Ok(Self {
            negative_prompt: fields.text("negative_prompt")?,
            seed,
            n,
            num_frames: small(fields.integer("num_frames", 1, u64::from(u32::MAX))?),
            fps: fields.number("fps", 1.0, 240.0)?,
            steps: small(fields.integer("num_inference_steps", 1, 200)?),
            guidance_scale: fields.number("guidance_scale", 0.0, 20.0)?,
            guidance_scale_2: fields.number("guidance_scale_2", 0.0, 20.0)?,
            true_cfg_scale: fields.number("true_cfg_scale", 0.0, 20.0)?, // tidy: word: the name that other servers gave it
            flow_shift: fields.number("flow_shift", 0.0, 100.0)?,
            boundary_ratio: fields.number("boundary_ratio", 0.0, 1.0)?,
            enhance_prompt: fields.boolean("enhance_prompt")?,
            enable_frame_interpolation: fields.boolean("enable_frame_interpolation")?,
            frame_interpolation_exp: small(fields.integer("frame_interpolation_exp", 1, 3)?),
            enable_upscaling: fields.boolean("enable_upscaling")?,
            upscaling_scale: small(fields.integer("upscaling_scale", 1, 4)?),
            loras: loras(fields)?,
            priority: small(fields.integer("priority", 0, u64::from(LARGEST_PRIORITY))?),
            user: fields.text_up_to("user", 512)?,
            metadata: metadata(fields)?,
        })
    }
}

/// `loras`, a list, or vLLM-Omni's `lora`, one of them.
fn loras(fields: &mut Fields) -> Result<Vec<LoraRef>, ApiError> {
    let read = |mut inner: Fields| -> Result<LoraRef, ApiError> {
        let lora = LoraRef {
            name: inner.required_text("name", 200)?,
            scale: inner.number("scale", -4.0, 4.0)?.unwrap_or(1.0),
        };
        nothing_left(inner)?;
        Ok(lora)
    };
    let one = fields.object("lora")?;
    let many = fields.list("loras", 16)?;
    if one.is_some() && many.is_some() {
        return Err(ApiError::conflict_of("lora", "loras"));
    }
    if let Some(one) = one {
        return Ok(vec![read(one)?]);
    }
    let items = many.unwrap_or_default().into_iter().enumerate();
    let item = |(index, node): (usize, Node)| match node {
        Node::Form(name) | Node::Text(name) if !name.trim_start().starts_with('{') && !name.is_empty() => {
            Ok(LoraRef { name, scale: 1.0 })
        }
        node => read(object_of(node, Path::item("loras", index))?),
    };
    items.map(item).collect()
}

fn metadata(fields: &mut Fields) -> Result<BTreeMap<String, Value>, ApiError> {
    match fields.json("metadata")? {
        None => Ok(BTreeMap::new()),
        Some(Value::Object(members)) => Ok(members.into_iter().collect()),
        Some(_) => Err(ApiError::wrong_type("metadata", "an object", "something else")),
    }
}

/// Fields of other servers that would change the clip and that no type here has. With a value that says nothing they
/// pass; otherwise the request is refused, because a clip without them is not what was asked for.
const FOREIGN: [&str; 31] = [
    "action",
    "aspect_ratio",
    "audio_reference",
    "control_reference",
    "control_type",
    "diffusers_kwargs",
    "enable_teacache",
    "frame_interpolation_model_path",
    "frame_interpolation_scale",
    "generate_audio",
    "generate_sound",
    "generator_device",
    "image",
    "last_image",
    "max_sequence_length",
    "output_compression",
    "output_quality",
    "parameters",
    "quality",
    "resolution",
    "short_edge",
    "sound_duration",
    "source_video",
    "task_type",
    "upscaling_model_path",
    "video_codec_options",
    "video_params",
    "video_path",
    "video_reference",
    "video_url",
    "x264_preset",
];

/// The fields that nobody took: those of other servers and, if the rules say so, any are refused; the rest is told.
pub(crate) fn finished(fields: Fields, rules: &Rules) -> Result<Vec<String>, ApiError> {
    let mut ignored = Vec::new();
    for (name, says_nothing) in fields.rest() {
        if !says_nothing && FOREIGN.contains(&name.as_str()) {
            return Err(ApiError::unsupported_parameter(&name));
        }
        if rules.unknown == UnknownFields::Refuse && !FOREIGN.contains(&name.as_str()) {
            return Err(ApiError::unknown_parameter(&name));
        }
        ignored.push(name);
    }
    ignored.sort_unstable();
    Ok(ignored)
}

/// Inside small objects of ours, a field that nobody knows is a mistake.
pub(crate) fn nothing_left(fields: Fields) -> Result<(), ApiError> {
    match fields.rest().into_iter().find(|(_, says_nothing)| !says_nothing) {
        None => Ok(()),
        Some((name, _)) => Err(ApiError::unknown_parameter(&name)),
    }
}
