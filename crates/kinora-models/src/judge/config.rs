//! What the judge looks at and what it can say, as the `config.json` beside its weights spells it.

use serde::Deserialize;

use crate::error::parse_config;
use crate::{Error, Result};

/// Pixels along one side of a place in the features: the pixels are folded 4 by 4, then halved twice.
const SPATIAL_FACTOR: usize = 16;

/// One question that the judge answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Head {
    /// Who is shown.
    Actor,
    /// Where.
    Background,
    /// The time of day.
    Time,
    /// The weather.
    Weather,
    /// What the actors do.
    Motion,
    /// What the camera does.
    Camera,
    /// How many actors are shown.
    Count,
}

impl Head {
    /// All questions, in the order of their declaration.
    pub const ALL: [Self; 7] = [
        Self::Actor,
        Self::Background,
        Self::Time,
        Self::Weather,
        Self::Motion,
        Self::Camera,
        Self::Count,
    ];

    /// Its name in checkpoints and configurations.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Actor => "actor",
            Self::Background => "background",
            Self::Time => "time",
            Self::Weather => "weather",
            Self::Motion => "motion",
            Self::Camera => "camera",
            Self::Count => "count",
        }
    }

    /// Whether it is answered from what the frames look like; the others from where things are, over time.
    pub(super) const fn is_of_appearance(self) -> bool {
        matches!(self, Self::Actor | Self::Background | Self::Time | Self::Weather)
    }
}

/// The answers to each question, in the order of the logits.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Classes {
    /// Labels of actors.
    pub actor: Vec<String>,
    /// Names of backgrounds.
    pub background: Vec<String>,
    /// Times of day.
    pub time: Vec<String>,
    /// Kinds of weather.
    pub weather: Vec<String>,
    /// Motions.
    pub motion: Vec<String>,
    /// Movements of the camera.
    pub camera: Vec<String>,
    /// Numbers of actors, in digits.
    pub count: Vec<String>,
}

impl Classes {
    /// The answers to one question.
    pub fn of(&self, head: Head) -> &[String] {
        match head {
            Head::Actor => &self.actor,
            Head::Background => &self.background,
            Head::Time => &self.time,
            Head::Weather => &self.weather,
            Head::Motion => &self.motion,
            Head::Camera => &self.camera,
            Head::Count => &self.count,
        }
    }
}

/// Sizes and answers. **Source**: `training/toybox/judge.py`, whose constants are the defaults.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Config {
    /// Widths of the three stages of convolutions.
    pub widths: [usize; 3],
    /// Frames of a clip that are looked at.
    pub frames: usize,
    /// Width of each in pixels.
    pub width: usize,
    /// Height of each in pixels.
    pub height: usize,
    /// Channels that keep their place in the frame.
    #[serde(default = "default_grid_channels")]
    pub grid_channels: usize,
    /// Numbers that a frame becomes on the way to motion and camera.
    #[serde(default = "default_frame_features")]
    pub frame_features: usize,
    /// Width of the layer in front of the answers.
    #[serde(default = "default_hidden")]
    pub hidden: usize,
    /// The answers.
    pub classes: Classes,
}

const fn default_grid_channels() -> usize {
    32
}

const fn default_frame_features() -> usize {
    256
}

const fn default_hidden() -> usize {
    512
}

impl Config {
    /// Reads and validates `config.json`.
    ///
    /// **Errors**: [`Error::Config`] naming the field.
    pub fn from_json(json: &str) -> Result<Self> {
        let config: Self = parse_config("judge", json)?;
        let sizes = [
            config.frames,
            config.grid_channels,
            config.frame_features,
            config.hidden,
        ];
        if sizes.iter().chain(&config.widths).any(|&n| n == 0 || n > 1 << 12) {
            return refuse(format!("a width or a number of frames is outside 1 to {}", 1 << 12));
        }
        for (field, side) in [("width", config.width), ("height", config.height)] {
            if side == 0 || side > 1 << 12 || side % SPATIAL_FACTOR != 0 {
                return refuse(format!("{field} is {side}; it must be a multiple of {SPATIAL_FACTOR}"));
            }
        }
        for head in Head::ALL {
            let names = config.classes.of(head);
            let field = head.name();
            if names.len() < 2 || names.len() > 1 << 16 {
                return refuse(format!(
                    "classes.{field} has {} names; two or more are needed",
                    names.len()
                ));
            }
            let known: std::collections::BTreeSet<_> = names.iter().collect();
            if known.len() != names.len() {
                return refuse(format!("classes.{field} has a name twice"));
            }
        }
        Ok(config)
    }

    /// Places of the features down and across a frame.
    pub(super) const fn grid(&self) -> [usize; 2] {
        [self.height / SPATIAL_FACTOR, self.width / SPATIAL_FACTOR]
    }

    /// Which frames of a clip are looked at: evenly spaced from the first to the last. Short clips repeat some; an empty
    /// clip has none to give.
    pub fn choose_frames(&self, clip_frames: usize) -> Vec<usize> {
        let Some(last) = clip_frames.checked_sub(1) else {
            return Vec::new();
        };
        let gaps = (self.frames - 1).max(1) as f64;
        let place = |i: usize| (i as f64 * last as f64 / gaps).round_ties_even() as usize;
        (0..self.frames).map(place).collect()
    }
}

fn refuse<T>(reason: String) -> Result<T> {
    Err(Error::Config { model: "judge", reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#"{"widths": [8, 8, 8], "frames": 17, "width": 256, "height": 144, "classes": {
        "actor": ["dog", "cat"], "background": ["beach", "moon"], "time": ["day", "night"], "weather": ["rain", "fog"],
        "motion": ["stay", "left"], "camera": ["static", "in"], "count": ["1", "2"]}}"#;

    #[test]
    fn the_defaults_are_those_of_the_reference() {
        let config = Config::from_json(JSON).unwrap();
        assert_eq!(
            (config.grid_channels, config.frame_features, config.hidden),
            (32, 256, 512)
        );
        assert_eq!(config.grid(), [9, 16]);
    }

    #[test]
    fn frames_are_spread_from_the_first_to_the_last() {
        let config = Config::from_json(JSON).unwrap();
        assert_eq!(config.choose_frames(33), (0..17).map(|i| 2 * i).collect::<Vec<_>>());
        // Halves go to the even number, as in the reference: 0, 0.5, 1, 1.5, 2, 2.5.
        assert_eq!(config.choose_frames(9)[..6], [0, 0, 1, 2, 2, 2]);
        assert_eq!(config.choose_frames(1), vec![0; 17]);
        assert!(config.choose_frames(0).is_empty());
    }

    #[test]
    fn what_cannot_be_built_is_refused_by_name() {
        for (from, to, word) in [
            ("144", "140", "height"),
            (r#""dog", "cat""#, r#""dog", "dog""#, "classes.actor"),
            (r#"["1", "2"]"#, r#"["1"]"#, "classes.count"),
            ("[8, 8, 8]", "[8, 0, 8]", "width"),
            (r#""frames": 17"#, r#""frames": 0"#, "frames"),
            (r#""count""#, r#""counts""#, "count"),
        ] {
            let error = Config::from_json(&JSON.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
