//! Pictures and clips that a request starts from.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::ser::{Error, SerializeMap};
use serde::{Serialize, Serializer};

use super::options::nothing_left;
use crate::body::Fields;
use crate::upload::LONGEST_IMAGE_URL;
use crate::{ApiError, Rules, Upload, VideoId};

/// A picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageSource {
    /// A file of the request, or the content of a `data:` URL.
    Upload(Upload),
    /// A file that was stored before.
    File {
        /// Names it.
        file_id: String,
    },
    /// A file elsewhere; the server fetches it only from public addresses.
    Url {
        /// An `http:` or `https:` URL.
        image_url: String,
    },
}

/// A clip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VideoSource {
    /// A file of the request.
    Upload(Upload),
    /// A finished video of this server.
    Video {
        /// Names it.
        id: VideoId,
    },
}

fn pair<S: Serializer>(to: S, name: &str, text: &str) -> Result<S::Ok, S::Error> {
    let mut map = to.serialize_map(Some(1))?;
    map.serialize_entry(name, text)?;
    map.end()
}

impl Serialize for ImageSource {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Upload(upload) => match upload.to_data_url() {
                Some(url) => pair(to, "image_url", &url),
                None => Err(S::Error::custom(
                    "a file on the disk goes as a part of multipart, not as JSON",
                )),
            },
            Self::File { file_id } => pair(to, "file_id", file_id),
            Self::Url { image_url } => pair(to, "image_url", image_url),
        }
    }
}

impl Serialize for VideoSource {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Upload(_) => Err(S::Error::custom("a clip goes as a part of multipart, not as JSON")),
            Self::Video { id } => pair(to, "id", id.as_str()),
        }
    }
}

impl JsonSchema for ImageSource {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ImageSource".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A picture: a file (JPEG, PNG or WebP) as a part of multipart, or an object with exactly one of `file_id` and `image_url`.",
            "oneOf": [
                { "type": "string", "format": "binary", "description": "A part of multipart with a file name." },
                {
                    "type": "object",
                    "properties": { "file_id": { "type": "string", "minLength": 1 } },
                    "required": ["file_id"],
                    "additionalProperties": false,
                },
                {
                    "type": "object",
                    "properties": {
                        "image_url": {
                            "type": "string",
                            "description": "An http(s) URL, or a data URL in base64.",
                            "maxLength": LONGEST_IMAGE_URL,
                            "pattern": "^([hH][tT][tT][pP][sS]?://|[dD][aA][tT][aA]:)",
                        },
                    },
                    "required": ["image_url"],
                    "additionalProperties": false,
                },
            ],
        })
    }
}

impl JsonSchema for VideoSource {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "VideoSource".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let id = generator.subschema_for::<VideoId>();
        json_schema!({
            "description": "A clip: a file (MP4, WebM or GIF) as a part of multipart, or a finished video of this server.",
            "oneOf": [
                { "type": "string", "format": "binary", "description": "A part of multipart with a file name." },
                {
                    "type": "object",
                    "properties": { "id": id },
                    "required": ["id"],
                    "additionalProperties": false,
                },
            ],
        })
    }
}

/// `input_reference`, or the same under the names of other servers: `image_reference` and `reference_url`.
pub(crate) fn image_source(fields: &mut Fields, rules: &Rules) -> Result<Option<ImageSource>, ApiError> {
    let mut found: Option<(&str, ImageSource)> = None;
    for name in ["input_reference", "image_reference", "reference_url"] {
        let param = fields.param(name);
        let source = match name {
            "reference_url" => fields
                .text_up_to("reference_url", LONGEST_IMAGE_URL)?
                .map(|url| url_source(&param, url, rules)),
            _ => fields.file_or_object(name)?.map(|given| match given {
                Ok(upload) => checked(&param, upload, rules),
                Err(object) => object_source(object, rules),
            }),
        };
        let Some(source) = source.transpose()? else {
            continue;
        };
        if let Some((other, _)) = found {
            return Err(ApiError::conflict_of(&fields.param(other), &param));
        }
        found = Some((name, source));
    }
    Ok(found.map(|(_, source)| source))
}

fn checked(param: &str, upload: Upload, rules: &Rules) -> Result<ImageSource, ApiError> {
    upload.kind_among(param, &rules.images)?;
    Ok(ImageSource::Upload(upload))
}

fn object_source(mut object: Fields, rules: &Rules) -> Result<ImageSource, ApiError> {
    let url_param = object.param("image_url");
    let file_param = object.param("file_id");
    let url = object.text_up_to("image_url", LONGEST_IMAGE_URL)?;
    let file_id = object.text("file_id")?;
    nothing_left(object)?;
    match (url, file_id) {
        (Some(url), None) => url_source(&url_param, url, rules),
        (None, Some(file_id)) if !file_id.is_empty() => Ok(ImageSource::File { file_id }),
        (None, _) => Err(ApiError::missing(&file_param)),
        (Some(_), Some(_)) => Err(ApiError::conflict_of(&url_param, &file_param)),
    }
}

fn url_source(param: &str, image_url: String, rules: &Rules) -> Result<ImageSource, ApiError> {
    if let Some(upload) = Upload::from_data_url(param, &image_url) {
        return checked(param, upload?, rules);
    }
    let scheme = image_url
        .split_once("://")
        .map(|(scheme, _)| scheme.to_ascii_lowercase());
    match scheme.as_deref() {
        Some("http" | "https") => Ok(ImageSource::Url { image_url }),
        _ => {
            let rule = "Expected an http or https URL, or a base64-encoded data URL.";
            Err(ApiError::invalid_value(param, &image_url, rule))
        }
    }
}

/// `video`, which has to be there.
pub(crate) fn video_source(fields: &mut Fields, rules: &Rules) -> Result<VideoSource, ApiError> {
    let param = fields.param("video");
    match fields.file_or_object("video")? {
        None => Err(ApiError::missing(&param)),
        Some(Ok(upload)) => {
            upload.kind_among(&param, &rules.clips)?;
            Ok(VideoSource::Upload(upload))
        }
        Some(Err(mut object)) => {
            let id = object.required_text("id", 512)?;
            nothing_left(object)?;
            // A text that is no id names nothing.
            let id = id.parse().map_err(|_| ApiError::video_not_found(&id))?;
            Ok(VideoSource::Video { id })
        }
    }
}
