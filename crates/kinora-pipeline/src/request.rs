//! What a caller asks for, and the limits within which it may be asked.

use std::path::PathBuf;
use std::str::FromStr;

use kinora_media::{Format, Fps};
use kinora_sampling::Sampler;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Width and height of a clip in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Size {
    /// Pixels across.
    pub width_px: u32,
    /// Pixels down.
    pub height_px: u32,
}

impl Size {
    /// Shortest side that may be asked for.
    pub const MIN_SIDE_PX: u32 = 64;
    /// Longest side that may be asked for.
    pub const MAX_SIDE_PX: u32 = 3840;
    /// Longest side over shortest side that may be asked for.
    pub const MAX_ASPECT: u32 = 4;

    /// A size within the limits.
    ///
    /// **Errors**: [`Error::Invalid`] naming the limit.
    pub fn new(width_px: u32, height_px: u32) -> Result<Self> {
        let (short, long) = (width_px.min(height_px), width_px.max(height_px));
        let invalid = |reason: &str, hint: String| {
            Err(Error::Invalid {
                what: "size",
                got: format!("{width_px}x{height_px}"),
                reason: reason.into(),
                hint,
            })
        };
        if short < Self::MIN_SIDE_PX || long > Self::MAX_SIDE_PX {
            return invalid(
                "a side is out of range",
                format!("each side from {} to {} pixels", Self::MIN_SIDE_PX, Self::MAX_SIDE_PX),
            );
        }
        if long > short * Self::MAX_ASPECT {
            return invalid("too narrow", format!("at most {} to 1", Self::MAX_ASPECT));
        }
        if !width_px.is_multiple_of(2) || !height_px.is_multiple_of(2) {
            let even = format!("{}x{}", width_px.next_multiple_of(2), height_px.next_multiple_of(2));
            return invalid("video needs even sides", format!("try {even}"));
        }
        Ok(Self { width_px, height_px })
    }

    /// Width over height.
    pub fn aspect(self) -> f64 {
        f64::from(self.width_px) / f64::from(self.height_px)
    }
}

impl FromStr for Size {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = text
            .split_once(['x', 'X', '×'])
            .and_then(|(w, h)| Some((w.trim().parse().ok()?, h.trim().parse().ok()?)));
        match parsed {
            Some((width_px, height_px)) => Self::new(width_px, height_px),
            None => Err(Error::Invalid {
                what: "size",
                got: text.chars().take(40).collect(),
                reason: "not WIDTHxHEIGHT".into(),
                hint: "for example 512x288".into(),
            }),
        }
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.width_px, self.height_px)
    }
}

/// How long a clip shall be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Length {
    /// What the model makes best.
    Default,
    /// Frames at the model's own rate; 1 is a still image.
    Frames(u32),
    /// Seconds of playing time.
    Seconds(f64),
}

/// Whether the prompt is rewritten in the words that the model was trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromptMode {
    /// As the model prefers: the raw prompt; for Toybox, in its own vocabulary as soon as something in it is not known.
    #[default]
    Auto,
    /// The prompt as typed.
    Raw,
    /// The prompt in the model's vocabulary.
    Expanded,
}

/// Everything that one run needs to know. [`Request::new`] fills in the defaults.
#[derive(Debug, Clone)]
pub struct Request {
    /// What to show.
    pub prompt: String,
    /// What to keep away from.
    pub negative: String,
    /// Whether to rewrite the prompt.
    pub prompt_mode: PromptMode,
    /// Size of the written clip; the model's preferred one (or that of `extend`) if absent.
    pub size: Option<Size>,
    /// Length of the clip, or of what is added to `extend`.
    pub length: Length,
    /// Frame rate of the written clip; the model's own (or that of `extend`) if absent. Another rate is reached by
    /// motion-compensated interpolation, so the playing time stays.
    pub fps: Option<Fps>,
    /// Denoising steps; the model's default if absent.
    pub steps: Option<u32>,
    /// Guidance scale; the model's default if absent. 1 turns guidance off.
    pub guidance_scale: Option<f32>,
    /// The update rule; the model's default if absent.
    pub sampler: Option<Sampler>,
    /// Seed of the first variant; variant i takes seed + i.
    pub seed: u64,
    /// How many clips to make.
    pub variants: u32,
    /// A picture to start from.
    pub image: Option<PathBuf>,
    /// A clip to continue.
    pub extend: Option<PathBuf>,
    /// Where to write. With several variants the number is put before the extension.
    pub output: PathBuf,
    /// What to write.
    pub format: Format,
    /// Also write `OUTPUT.poster.jpg`, the clip's best frame.
    pub poster: bool,
    /// Also write `OUTPUT.sheet.png`, frames side by side.
    pub sheet: bool,
    /// Whether the output may replace a file that is there.
    pub overwrite: bool,
    /// Write nothing: the caller takes the frames from [`crate::Event::Frame`].
    pub frames_only: bool,
}

impl Request {
    /// Most denoising steps.
    pub const MAX_STEPS: u32 = 200;
    /// Largest guidance scale.
    pub const MAX_GUIDANCE: f32 = 30.0;
    /// Most variants in one run.
    pub const MAX_VARIANTS: u32 = 64;
    /// Longest clip that one run makes.
    pub const MAX_SECONDS: f64 = 60.0;
    /// Highest frame rate.
    pub const MAX_FPS: f64 = 120.0;

    /// A request with defaults for everything but the prompt and the file.
    pub fn new(prompt: impl Into<String>, output: impl Into<PathBuf>, format: Format) -> Self {
        Self {
            prompt: prompt.into(),
            negative: String::new(),
            prompt_mode: PromptMode::Auto,
            size: None,
            length: Length::Default,
            fps: None,
            steps: None,
            guidance_scale: None,
            sampler: None,
            seed: 0,
            variants: 1,
            image: None,
            extend: None,
            output: output.into(),
            format,
            poster: false,
            sheet: false,
            overwrite: true,
            frames_only: false,
        }
    }

    /// Refuses numbers that make no sense, before anything is loaded.
    ///
    /// **Errors**: [`Error::Invalid`] naming the field, what came, and the range.
    pub fn validate(&self) -> Result<()> {
        if let Some(steps) = self.steps {
            check("steps", steps, (1..=Self::MAX_STEPS).contains(&steps), || {
                format!("1 to {}", Self::MAX_STEPS)
            })?;
        }
        if let Some(scale) = self.guidance_scale {
            let fits = (0.0..=Self::MAX_GUIDANCE).contains(&scale);
            check("guidance", scale, fits, || {
                format!("0 to {}; 5 is usual, 1 turns it off", Self::MAX_GUIDANCE)
            })?;
        }
        check(
            "variants",
            self.variants,
            (1..=Self::MAX_VARIANTS).contains(&self.variants),
            || format!("1 to {}", Self::MAX_VARIANTS),
        )?;
        if let Some(fps) = self.fps {
            check(
                "fps",
                fps.as_f64(),
                (1.0..=Self::MAX_FPS).contains(&fps.as_f64()),
                || format!("1 to {}", Self::MAX_FPS),
            )?;
        }
        match self.length {
            Length::Default => {}
            Length::Frames(frames) => check("frames", frames, frames >= 1, || "1 (a still image) or more".into())?,
            Length::Seconds(seconds) => {
                let fits = seconds > 0.0 && seconds <= Self::MAX_SECONDS;
                check("seconds", seconds, fits, || {
                    format!("more than 0, at most {}", Self::MAX_SECONDS)
                })?;
            }
        }
        if self.image.is_some() && self.extend.is_some() {
            return Err(Error::Invalid {
                what: "input",
                got: "an image and a clip".into(),
                reason: "a clip either starts from an image or continues a clip".into(),
                hint: "leave out --image or --extend".into(),
            });
        }
        Ok(())
    }
}

fn check(what: &'static str, got: impl ToString, fits: bool, range: impl FnOnce() -> String) -> Result<()> {
    match fits {
        true => Ok(()),
        false => Err(Error::Invalid {
            what,
            got: got.to_string(),
            reason: "out of range".into(),
            hint: range(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_absurd_ones_refused_with_the_range() {
        assert_eq!(
            "512x288".parse::<Size>().unwrap(),
            Size {
                width_px: 512,
                height_px: 288
            }
        );
        for (text, word) in [
            ("512", "WIDTHxHEIGHT"),
            ("0x0", "64"),
            ("-5x5", "WIDTHxHEIGHT"),
            ("99999999999x2", "WIDTHxHEIGHT"),
            ("8000x4500", "3840"),
            ("1280x64", "4 to 1"),
            ("101x201", "102x202"),
        ] {
            let error = text.parse::<Size>().unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn numbers_out_of_range_are_refused_by_name() {
        let valid = Request::new("a cat", "cat.mp4", Format::Mp4);
        valid.validate().unwrap();
        let cases: [(&str, fn(&mut Request)); 9] = [
            ("steps", |r| r.steps = Some(0)),
            ("steps", |r| r.steps = Some(100_000)),
            ("guidance", |r| r.guidance_scale = Some(f32::NAN)),
            ("guidance", |r| r.guidance_scale = Some(-1.0)),
            ("variants", |r| r.variants = 0),
            ("frames", |r| r.length = Length::Frames(0)),
            ("seconds", |r| r.length = Length::Seconds(f64::INFINITY)),
            ("seconds", |r| r.length = Length::Seconds(-2.0)),
            ("input", |r| {
                (r.image, r.extend) = (Some("a.png".into()), Some("b.mp4".into()))
            }),
        ];
        for (what, spoil) in cases {
            let mut request = valid.clone();
            spoil(&mut request);
            let error = request.validate().unwrap_err();
            assert!(
                matches!(&error, Error::Invalid { what: named, .. } if *named == what),
                "{what}: {error}"
            );
        }
    }
}
