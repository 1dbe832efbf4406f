//! What a server makes: models by name, sizes, lengths; and what it does with fields that it does not know.

use crate::{ApiError, MediaType, Seconds, Size};

/// The longest prompt, in characters, as published.
pub const LONGEST_PROMPT: usize = 32_000;

/// Sizes of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sizes {
    /// These and no others.
    Listed(Vec<Size>),
    /// Any whose sides are multiples of a number and in a range.
    Range {
        /// The shortest side, in pixels.
        least_px: u32,
        /// The longest side, in pixels.
        most_px: u32,
        /// Sides are multiples of it.
        multiple_px: u32,
    },
}

impl Sizes {
    /// **Errors**: the published error on `size` if the model does not make it.
    pub fn check(&self, size: Size) -> Result<(), ApiError> {
        match self {
            Self::Listed(sizes) if sizes.contains(&size) => Ok(()),
            Self::Listed(sizes) => Err(ApiError::not_among("size", &size.to_string(), sizes)),
            Self::Range {
                least_px,
                most_px,
                multiple_px,
            } => {
                let fine =
                    |side: u32| side >= *least_px && side <= *most_px && side.checked_rem(*multiple_px) == Some(0);
                if fine(size.width) && fine(size.height) {
                    return Ok(());
                }
                let rule = format!("Width and height are multiples of {multiple_px} from {least_px} to {most_px}.");
                Err(ApiError::invalid_value("size", &size.to_string(), &rule))
            }
        }
    }
}

/// Lengths of a model's clips.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lengths {
    /// These and no others.
    Listed(Vec<Seconds>),
    /// Any in a range.
    Range {
        /// The shortest.
        least: Seconds,
        /// The longest.
        most: Seconds,
    },
}

impl Lengths {
    /// **Errors**: the published error on `seconds` if the model does not make it.
    pub fn check(&self, seconds: Seconds) -> Result<(), ApiError> {
        match self {
            Self::Listed(lengths) if lengths.contains(&seconds) => Ok(()),
            Self::Listed(lengths) => Err(ApiError::not_among("seconds", &seconds.to_string(), lengths)),
            Self::Range { least, most } if (least..=most).contains(&&seconds) => Ok(()),
            Self::Range { least, most } => {
                let rule = format!("Supported values are from '{least}' to '{most}'.");
                Err(ApiError::invalid_value("seconds", &seconds.to_string(), &rule))
            }
        }
    }
}

/// What one model makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelRules {
    /// Its name in answers.
    pub name: String,
    /// Other names that clients may use, such as `sora-2`.
    pub aliases: Vec<String>,
    /// Its sizes.
    pub sizes: Sizes,
    /// The size if none is asked for.
    pub default_size: Size,
    /// Its lengths.
    pub lengths: Lengths,
    /// The length if none is asked for.
    pub default_seconds: Seconds,
    /// Lengths of the part that an extension adds.
    pub extension_lengths: Lengths,
    /// The most frames of one clip.
    pub most_frames: u32,
}

/// What happens to a field that neither OpenAI nor Kinora knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UnknownFields {
    /// It is reported in `ignored`, which the server sends back in a header.
    #[default]
    Report,
    /// The request is refused.
    Refuse,
}

/// What a server makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Its models; the first is the one that works if none is asked for.
    pub models: Vec<ModelRules>,
    /// What happens to unknown fields.
    pub unknown: UnknownFields,
    /// The most videos of one request.
    pub most_variants: u64,
    /// The most characters of one request.
    pub most_characters: usize,
    /// Kinds of pictures that it reads.
    pub images: Vec<MediaType>,
    /// Kinds of clips that it reads.
    pub clips: Vec<MediaType>,
}

impl Rules {
    /// A server of these models, with the published limits otherwise.
    pub fn new(models: Vec<ModelRules>) -> Self {
        Self {
            models,
            unknown: UnknownFields::Report,
            most_variants: 10,
            most_characters: 2,
            images: MediaType::IMAGES.to_vec(),
            clips: MediaType::CLIPS.to_vec(),
        }
    }

    /// The models, sizes and lengths that OpenAI published last.
    pub fn sora() -> Self {
        let lengths = |seconds: &[u32]| Lengths::Listed(seconds.iter().copied().map(Seconds::whole).collect());
        let both = |sides: &[(u32, u32)]| {
            let sizes = sides.iter().flat_map(|(a, b)| [Size::new(*a, *b), Size::new(*b, *a)]);
            Sizes::Listed(sizes.collect())
        };
        let model = |name: &str, aliases: &[&str], sizes| ModelRules {
            name: name.to_owned(),
            aliases: aliases.iter().copied().map(str::to_owned).collect(),
            sizes,
            default_size: Size::new(720, 1280),
            lengths: lengths(&[4, 8, 12, 16, 20]),
            default_seconds: Seconds::whole(4),
            extension_lengths: lengths(&[4, 8, 12, 16, 20]),
            most_frames: 600,
        };
        let dated = ["sora-2-2025-10-06", "sora-2-2025-12-08"];
        Self::new(vec![
            model("sora-2", &dated, both(&[(720, 1280)])),
            model(
                "sora-2-pro",
                &["sora-2-pro-2025-10-06"],
                both(&[(720, 1280), (1024, 1792), (1080, 1920)]),
            ),
        ])
    }

    /// The model of this name, or the first one without a name.
    ///
    /// **Errors**: no such model; without a name: the server has none at all.
    pub fn model(&self, name: Option<&str>) -> Result<&ModelRules, ApiError> {
        let found = match name {
            None => self.models.first(),
            Some(name) => self
                .models
                .iter()
                .find(|model| model.name == name || model.aliases.iter().any(|alias| alias == name)),
        };
        found.ok_or_else(|| {
            let served: Vec<&str> = self.models.iter().map(|model| model.name.as_str()).collect();
            ApiError::unknown_model(name.unwrap_or_default(), &served)
        })
    }
}
