//! The formats that are written, and how hard they compress.

use crate::{Error, Result};
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// What [`crate::ClipWriter`] writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// H.264 in MP4: plays everywhere.
    Mp4,
    /// VP8 key frames in WebM: free of patents that need a licence, larger.
    WebM,
    /// Animated GIF: 256 colours.
    Gif,
    /// Animated WebP, lossy.
    WebP,
    /// A folder of numbered PNG files and a `clip.json`: lossless.
    PngFrames,
    /// One PNG image: takes exactly one frame.
    Png,
}

impl Format {
    /// All formats, in the order of the help text.
    pub const ALL: [Self; 6] = [Self::Mp4, Self::WebM, Self::Gif, Self::WebP, Self::PngFrames, Self::Png];

    /// The name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mp4 => "mp4",
            Self::WebM => "webm",
            Self::Gif => "gif",
            Self::WebP => "webp",
            Self::PngFrames => "png-frames",
            Self::Png => "png",
        }
    }

    /// The usual file extension without the dot; empty for a folder of frames.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::PngFrames => "",
            other => other.name(),
        }
    }

    /// The format that a file name asks for: its extension, or a folder of frames when there is none.
    ///
    /// # Errors
    /// [`Error::UnknownFormat`] for any other extension.
    pub fn from_extension(path: &Path) -> Result<Self> {
        match path.extension() {
            None => Ok(Self::PngFrames),
            Some(e) => match e.to_string_lossy().to_ascii_lowercase().as_str() {
                "mp4" | "m4v" => Ok(Self::Mp4),
                "webm" => Ok(Self::WebM),
                "gif" => Ok(Self::Gif),
                "webp" => Ok(Self::WebP),
                "png" => Ok(Self::Png),
                other => Err(Error::UnknownFormat {
                    got: other.chars().take(40).collect(),
                }),
            },
        }
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = Self::ALL
            .into_iter()
            .find(|f| f.name().eq_ignore_ascii_case(text.trim()));
        found.ok_or_else(|| Error::UnknownFormat {
            got: text.chars().take(40).collect(),
        })
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How close a lossy format stays to its input: 0 smallest file, 100 closest. Lossless formats ignore it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quality(u8);

impl Quality {
    /// A quality from 0 to 100.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] above 100.
    pub fn new(value: u8) -> Result<Self> {
        if value > 100 {
            return Err(Error::InvalidOption {
                option: "quality",
                reason: format!("{value} is not between 0 and 100"),
                hint: "80 is visually clean".into(),
            });
        }
        Ok(Self(value))
    }

    /// The number from 0 to 100; libwebp (WebM and WebP) takes it as it is.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The constant quantiser of H.264: `42 - 0.26 * quality`, so 0 is QP 42, 80 is QP 21 and 100 is QP 16.
    #[must_use]
    pub const fn h264_qp(self) -> u8 {
        42 - ((self.0 as u16 * 26 + 50) / 100) as u8
    }
}

impl Default for Quality {
    /// 80: QP 21, visually clean (above 45 dB on camera footage).
    fn default() -> Self {
        Self(80)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_extensions_lead_back() {
        for f in Format::ALL {
            assert_eq!(f.name().parse::<Format>().unwrap(), f);
            let name = if f.extension().is_empty() {
                "clip".to_string()
            } else {
                format!("clip.{}", f.extension())
            };
            assert_eq!(Format::from_extension(Path::new(&name)).unwrap(), f);
        }
        assert!("avi".parse::<Format>().unwrap_err().to_string().contains("png-frames"));
        assert!(Format::from_extension(Path::new("a.mov")).is_err());
    }

    #[test]
    fn quality_maps_onto_the_documented_quantisers() {
        for (q, qp) in [(0, 42), (50, 29), (80, 21), (100, 16)] {
            assert_eq!(Quality::new(q).unwrap().h264_qp(), qp);
        }
        assert!(Quality::new(101).is_err());
    }
}
