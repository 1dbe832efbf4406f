//! Sizes and lengths as the wire writes them: `"720x1280"` and `"4"`.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A text that is no size or no length.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{got:?} is not {expected}")]
pub struct NotAMeasure {
    /// What would be right, with an example.
    pub expected: &'static str,
    /// What was given, shortened.
    pub got: String,
}

/// Width and height in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Size {
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
}

impl Size {
    /// A size of these pixels; 0 is possible here, rules of a server say what it makes.
    pub const fn new(width: u32, height: u32) -> Self {
        Self { width, height }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

impl FromStr for Size {
    type Err = NotAMeasure;

    fn from_str(text: &str) -> Result<Self, NotAMeasure> {
        let number = |digits: &str| {
            let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            plain.then(|| digits.parse::<u32>().ok()).flatten()
        };
        text.split_once('x')
            .and_then(|(width, height)| Some(Self::new(number(width)?, number(height)?)))
            .ok_or_else(|| NotAMeasure {
                expected: "a size, such as 720x1280",
                got: crate::error::shortened(text),
            })
    }
}

/// A length of time, kept in milliseconds, written as seconds: `"4"`, `"2.5"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seconds {
    ms: u32,
}

impl Seconds {
    /// So many whole seconds, up to 49 days.
    pub const fn whole(seconds: u32) -> Self {
        Self {
            ms: seconds.saturating_mul(1000),
        }
    }

    /// So many milliseconds.
    pub const fn from_ms(ms: u32) -> Self {
        Self { ms }
    }

    /// The length of so many frames, to the nearest millisecond; `None` if it is not finite or beyond 49 days.
    pub fn of_frames(frames: u32, fps: f64) -> Option<Self> {
        let ms = (f64::from(frames) * 1000.0 / fps).round();
        (ms >= 0.0 && ms <= f64::from(u32::MAX)).then_some(Self { ms: ms as u32 })
    }

    /// In milliseconds.
    pub const fn ms(self) -> u32 {
        self.ms
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.ms / 1000, self.ms % 1000);
        if rest == 0 {
            write!(f, "{whole}")
        } else {
            write!(f, "{}", format!("{whole}.{rest:03}").trim_end_matches('0'))
        }
    }
}

impl FromStr for Seconds {
    type Err = NotAMeasure;

    fn from_str(text: &str) -> Result<Self, NotAMeasure> {
        let wrong = || NotAMeasure {
            expected: "a number of seconds, such as 4",
            got: crate::error::shortened(text),
        };
        let digits = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit());
        let (whole, rest) = text.split_once('.').unwrap_or((text, "0"));
        if whole.is_empty() || rest.is_empty() || !digits(whole) || !digits(rest) {
            return Err(wrong());
        }
        // Milliseconds are enough for any clip; finer ones are refused, not rounded.
        let rest = rest.trim_end_matches('0');
        if rest.len() > 3 {
            return Err(wrong());
        }
        let ms: u32 = format!("{rest:0<3}").parse().map_err(|_| wrong())?;
        let whole: u32 = whole.parse().map_err(|_| wrong())?;
        let ms = whole.checked_mul(1000).and_then(|whole| whole.checked_add(ms));
        Ok(Self {
            ms: ms.ok_or_else(wrong)?,
        })
    }
}

macro_rules! as_text {
    ($name:ident, $schema:tt) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                String::deserialize(from)?
                    .parse()
                    .map_err(serde::de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

as_text!(Size, {
    "type": "string",
    "description": "Width and height in pixels.",
    "pattern": "^[0-9]+x[0-9]+$",
    "examples": ["720x1280"],
});
as_text!(Seconds, {
    "type": "string",
    "description": "A length in seconds, as text.",
    "pattern": "^[0-9]+([.][0-9]+)?$",
    "examples": ["4"],
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_strictly() {
        assert_eq!("720x1280".parse::<Size>().unwrap(), Size::new(720, 1280));
        assert_eq!(Size::new(1792, 1024).to_string(), "1792x1024");
        let bad = [
            "",
            "x",
            "720",
            "720x",
            "x5",
            "720X1280",
            "+720x1280",
            "-1x5",
            "1e3x5",
            "7 x5",
            "4294967296x1",
            "1x2x3",
            "７x7",
        ];
        for text in bad {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn seconds_keep_their_value_in_both_directions() {
        for (text, ms, written) in [
            ("4", 4000, "4"),
            ("04", 4000, "4"),
            ("4.0", 4000, "4"),
            ("2.5", 2500, "2.5"),
            ("0.067", 67, "0.067"),
            ("1.2500", 1250, "1.25"),
            ("4294967.295", u32::MAX, "4294967.295"),
        ] {
            let read: Seconds = text.parse().unwrap();
            assert_eq!((read.ms(), read.to_string().as_str()), (ms, written), "{text}");
        }
        for text in [
            "",
            ".",
            "4.",
            ".5",
            "-4",
            "+4",
            "4s",
            "1e2",
            "nan",
            "4294967.296",
            "1.0001",
            "99999999999999999999",
        ] {
            assert!(text.parse::<Seconds>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_length_of_frames() {
        assert_eq!(Seconds::of_frames(81, 16.0), Some(Seconds::from_ms(5063)));
        assert_eq!(Seconds::of_frames(96, 24.0).unwrap().to_string(), "4");
        assert_eq!(Seconds::of_frames(1, 0.0), None);
        assert_eq!(Seconds::of_frames(1, f64::NAN), None);
        assert_eq!(Seconds::of_frames(1, -1.0), None);
    }
}
