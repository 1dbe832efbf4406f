//! Bodies of requests in their three encodings, as one tree of fields.
//!
//! The SDKs send the same call as JSON or as multipart, depending on their version; programs without an SDK send forms.
//! In forms, nested fields have brackets in their names: `video[id]`, `loras[]`, `characters[][id]`.

mod fields;
mod form;

use serde_json::Value;

pub(crate) use fields::{Fields, Path, object_of};

use crate::{ApiError, Upload};

/// The most fields of a form, and how deep brackets may nest.
const MOST_FIELDS: usize = 1000;
const DEEPEST: usize = 8;

/// How a body is written, which its `Content-Type` decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    /// `application/json`.
    Json,
    /// `application/x-www-form-urlencoded`.
    Urlencoded,
    /// `multipart/form-data`.
    Multipart,
}

impl BodyKind {
    /// The kind of a body with this `Content-Type`.
    ///
    /// **Errors**: 415 for any other.
    pub fn of(content_type: Option<&str>) -> Result<Self, ApiError> {
        let given = content_type.unwrap_or_default();
        let plain = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match plain.as_str() {
            "application/json" => Ok(Self::Json),
            "application/x-www-form-urlencoded" => Ok(Self::Urlencoded),
            "multipart/form-data" => Ok(Self::Multipart),
            _ => {
                let supported = [
                    "application/json",
                    "multipart/form-data",
                    "application/x-www-form-urlencoded",
                ];
                Err(ApiError::unsupported_content_type(given, &supported))
            }
        }
    }
}

/// What a part of a multipart body holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartValue {
    /// A part without a file name.
    Text(String),
    /// A part with a file name.
    File(Upload),
}

/// A part of a multipart body, already split off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its name, with brackets.
    pub name: String,
    /// Its content.
    pub value: PartValue,
}

impl Part {
    /// A part that is a text.
    pub fn text(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            value: PartValue::Text(text.into()),
        }
    }

    /// A part that is a file.
    pub fn file(name: impl Into<String>, upload: Upload) -> Self {
        Self {
            name: name.into(),
            value: PartValue::File(upload),
        }
    }
}

/// A body as the HTTP layer received it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body<'a> {
    /// JSON text.
    Json(&'a [u8]),
    /// A form in one line.
    Urlencoded(&'a [u8]),
    /// A form in parts.
    Multipart(Vec<Part>),
}

/// A value in the tree of fields.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    /// A text of JSON: it stays a text.
    Text(String),
    /// A text of a form: what it means depends on the field.
    Form(String),
    File(Upload),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl From<Value> for Node {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(value),
            Value::Number(number) => Self::Number(number),
            Value::String(text) => Self::Text(text),
            Value::Array(items) => Self::List(items.into_iter().map(Self::from).collect()),
            Value::Object(members) => Self::Map(members.into_iter().map(|(name, node)| (name, node.into())).collect()),
        }
    }
}

impl Node {
    /// What it is, with its article, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(number) if number.is_f64() => "a decimal number",
            Self::Number(_) => "an integer",
            Self::Text(_) | Self::Form(_) => "a string",
            Self::File(_) => "a file",
            Self::List(_) => "an array",
            Self::Map(_) => "an object",
        }
    }
}

impl Body<'_> {
    /// The fields of the body, not yet understood.
    pub(crate) fn fields(self) -> Result<Fields, ApiError> {
        let members = match self {
            Body::Json(bytes) => json_object(bytes)?,
            // `curl -d '{…}'` says that it is a form.
            Body::Urlencoded(bytes) if bytes.trim_ascii_start().starts_with(b"{") => json_object(bytes)?,
            Body::Urlencoded(bytes) => form::nested(form::urlencoded(bytes)?)?,
            Body::Multipart(parts) => form::nested(parts)?,
        };
        Fields::new(members)
    }
}

fn json_object(bytes: &[u8]) -> Result<Vec<(String, Node)>, ApiError> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| {
        let what = format!("(HINT: This likely means you aren't using your HTTP library correctly. {error})");
        ApiError::malformed_body(&what)
    })?;
    match Node::from(value) {
        Node::Map(members) => Ok(members),
        other => Err(ApiError::malformed_body(&format!(
            "Expected a JSON object, but got {} instead.",
            other.kind()
        ))),
    }
}

/// The fields of the query of a URL.
pub(crate) fn query(text: &str) -> Result<Fields, ApiError> {
    Fields::new(form::nested(form::urlencoded(text.as_bytes())?)?)
}
