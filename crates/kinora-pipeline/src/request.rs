//! What a caller asks for, and the limits within which it may be asked.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use kinora_media::{Format, Fps};
use kinora_sampling::Sampler;
use serde::{Deserialize, Serialize};

use crate::tasks::{self, Blend, CharacterUse, CloseLoop, Shot};
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
    /// What to keep away from; what the model's makers recommend if absent.
    pub negative: Option<String>,
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
    /// Guidance scale of the expert for low noise, where a model has one; as `guidance_scale` if that is given, else the
    /// model's default.
    pub guidance_scale_low: Option<f32>,
    /// Guidance for the first so many steps only; for all of them if absent.
    pub guided_steps: Option<u32>,
    /// The update rule; the model's default if absent.
    pub sampler: Option<Sampler>,
    /// Shift of the schedule; the model's default (for the size) if absent. More spends more steps on coarse structure.
    pub shift: Option<f64>,
    /// How many steps may take over the prediction of the step before.
    pub cache: CacheChoice,
    /// Seed of the first variant; variant i takes seed + i.
    pub seed: u64,
    /// How many clips to make.
    pub variants: u32,
    /// A picture to start from.
    pub image: Option<PathBuf>,
    /// A picture to end with.
    pub last_image: Option<PathBuf>,
    /// A clip to continue.
    pub extend: Option<PathBuf>,
    /// A clip to make anew in the prompt's words.
    pub video: Option<PathBuf>,
    /// Kept latents of a clip (`.latents.safetensors`) to make anew in the prompt's words, in place of `video`: nothing is
    /// lost on the way through frames. Size and length are its own; with an empty prompt, so are the words.
    pub video_latents: Option<PathBuf>,
    /// Two clips that become one.
    pub blend: Option<Blend>,
    /// A clip that shall play without an end.
    pub close_loop: Option<CloseLoop>,
    /// A storyboard: these shots one after the other. The prompt is not read then.
    pub shots: Vec<Shot>,
    /// Who or what the prompt names, and what they look like.
    pub characters: Vec<CharacterUse>,
    /// How much of `video`, `video_latents` or `blend` is made anew, above 0 up to 1; of `close_loop`, how much of the fade
    /// that the new part is made of, where a model was not trained to end anywhere.
    pub strength: f32,
    /// A clip whose poses, edges or depths the new one follows, for models with a control branch.
    pub control: Option<PathBuf>,
    /// Where to keep `control` as it is (black) and where to make it anew (white): a clip or a picture.
    pub control_mask: Option<PathBuf>,
    /// Pictures of what shall appear, for models with a control branch.
    pub references: Vec<PathBuf>,
    /// Strength of the control branch.
    pub control_scale: f32,
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
    /// Keep the latents beside the clip, as `OUTPUT.latents.safetensors`; `kinora decode` reads them.
    pub keep_latents: bool,
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
    /// Smallest and largest shift.
    pub const SHIFTS: RangeInclusive<f64> = 0.1..=100.0;
    /// How much of a given video is made anew if nobody says otherwise.
    pub const DEFAULT_STRENGTH: f32 = 0.7;
    /// Largest strength of the control branch.
    pub const MAX_CONTROL_SCALE: f32 = 4.0;
    /// Most reference pictures.
    pub const MAX_REFERENCES: usize = 8;
    /// Highest frame rate.
    pub const MAX_FPS: f64 = 120.0;

    /// A request with defaults for everything but the prompt and the file.
    pub fn new(prompt: impl Into<String>, output: impl Into<PathBuf>, format: Format) -> Self {
        Self {
            prompt: prompt.into(),
            negative: None,
            prompt_mode: PromptMode::Auto,
            size: None,
            length: Length::Default,
            fps: None,
            steps: None,
            guidance_scale: None,
            guidance_scale_low: None,
            guided_steps: None,
            sampler: None,
            shift: None,
            cache: CacheChoice::Off,
            seed: 0,
            variants: 1,
            image: None,
            last_image: None,
            extend: None,
            video: None,
            video_latents: None,
            blend: None,
            close_loop: None,
            shots: Vec::new(),
            characters: Vec::new(),
            strength: Self::DEFAULT_STRENGTH,
            control: None,
            control_mask: None,
            references: Vec::new(),
            control_scale: 1.0,
            output: output.into(),
            format,
            poster: false,
            sheet: false,
            overwrite: true,
            keep_latents: false,
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
        for scale in [self.guidance_scale, self.guidance_scale_low].into_iter().flatten() {
            let fits = (0.0..=Self::MAX_GUIDANCE).contains(&scale);
            check("guidance", scale, fits, || {
                format!("0 to {}; 5 is usual, 1 turns it off", Self::MAX_GUIDANCE)
            })?;
        }
        if let Some(shift) = self.shift {
            let (least, most) = (Self::SHIFTS.start(), Self::SHIFTS.end());
            check("shift", shift, Self::SHIFTS.contains(&shift), || {
                format!("{least} to {most}")
            })?;
        }
        let fits = self.strength > 0.0 && self.strength <= 1.0;
        check("strength", self.strength, fits, || "above 0, at most 1".into())?;
        let fits = (0.0..=Self::MAX_CONTROL_SCALE).contains(&self.control_scale);
        check("control scale", self.control_scale, fits, || {
            format!("0 to {}", Self::MAX_CONTROL_SCALE)
        })?;
        check(
            "references",
            self.references.len(),
            self.references.len() <= Self::MAX_REFERENCES,
            || format!("at most {} pictures", Self::MAX_REFERENCES),
        )?;
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
        check_length(self.length)?;
        self.validate_inputs()?;
        tasks::validate(self)
    }

    /// Refuses inputs that exclude each other.
    fn validate_inputs(&self) -> Result<()> {
        let given = [
            ("an image", self.image.is_some()),
            ("a clip to continue", self.extend.is_some()),
            ("a clip to make anew", self.video.is_some()),
            ("kept latents", self.video_latents.is_some()),
            ("a control clip", self.control.is_some()),
            ("clips to blend", self.blend.is_some()),
            ("a clip to close", self.close_loop.is_some()),
            ("shots", !self.shots.is_empty()),
        ];
        let given: Vec<&str> = given
            .iter()
            .filter(|(_, given)| *given)
            .map(|(name, _)| *name)
            .collect();
        let refuse = |got: String, reason: &str, hint: &str| {
            Err(Error::Invalid {
                what: "input",
                got,
                reason: reason.into(),
                hint: hint.into(),
            })
        };
        if given.len() > 1 {
            let reason =
                "a clip starts from an image, continues a clip, changes, blends, closes or follows one, or has shots";
            return refuse(given.join(" and "), reason, "give one of them");
        }
        if self.last_image.is_some() && self.image.is_none() {
            let reason = "a clip that ends with a picture must start with one";
            return refuse("a last image alone".into(), reason, "add --image");
        }
        if self.control_mask.is_some() && self.control.is_none() {
            let reason = "a mask says what of a control clip is kept";
            return refuse("a mask alone".into(), reason, "add --control");
        }
        Ok(())
    }
}

/// How many steps may take over the prediction of the step before, instead of asking the model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CacheChoice {
    /// None: the reference's numbers.
    #[default]
    Off,
    /// Those that change little, as EasyCache finds them; the threshold is the change that may be missed.
    Easy(f64),
    /// Those that change little, as MagCache knows from a run of the same model; the threshold is the error that may
    /// build up.
    Mag(f64),
}

impl CacheChoice {
    /// As `--cache` spells it; `None` for none.
    pub fn spelling(self) -> Option<String> {
        match self {
            Self::Off => None,
            Self::Easy(threshold) => Some(format!("easy:{threshold}")),
            Self::Mag(threshold) => Some(format!("mag:{threshold}")),
        }
    }
}

impl FromStr for CacheChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, threshold) = text
            .split_once(':')
            .map_or((text, None), |(name, rest)| (name, Some(rest)));
        let or = |default: f64| match threshold {
            None => Some(default),
            Some(text) => text.parse().ok().filter(|t: &f64| t.is_finite() && *t >= 0.0),
        };
        let parsed = match name {
            "off" if threshold.is_none() => Some(Self::Off),
            "easy" => or(Self::EASY_THRESHOLD).map(Self::Easy),
            "mag" => or(Self::MAG_THRESHOLD).map(Self::Mag),
            _ => None,
        };
        parsed.ok_or_else(|| Error::Invalid {
            what: "cache",
            got: text.chars().take(40).collect(),
            reason: "there is no such cache".into(),
            hint: "off, easy or mag; easy:0.05 names the change that may be missed".into(),
        })
    }
}

impl CacheChoice {
    /// The threshold that EasyCache's authors use for Wan.
    const EASY_THRESHOLD: f64 = 0.05;
    /// The threshold that MagCache's authors use for Wan.
    const MAG_THRESHOLD: f64 = 0.12;
}

/// Refuses a length that no clip has.
///
/// **Errors**: [`Error::Invalid`] naming the range.
pub(crate) fn check_length(length: Length) -> Result<()> {
    match length {
        Length::Default => Ok(()),
        Length::Frames(frames) => check("frames", frames, frames >= 1, || "1 (a still image) or more".into()),
        Length::Seconds(seconds) => {
            let fits = seconds > 0.0 && seconds <= Request::MAX_SECONDS;
            check("seconds", seconds, fits, || {
                format!("more than 0, at most {}", Request::MAX_SECONDS)
            })
        }
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
    fn caches_are_read_and_spelled_alike() {
        for (text, choice) in [
            ("off", CacheChoice::Off),
            ("easy", CacheChoice::Easy(0.05)),
            ("easy:0.1", CacheChoice::Easy(0.1)),
            ("mag", CacheChoice::Mag(0.12)),
        ] {
            assert_eq!(text.parse::<CacheChoice>().unwrap(), choice, "{text}");
            let again = choice.spelling().unwrap_or_else(|| "off".into());
            assert_eq!(again.parse::<CacheChoice>().unwrap(), choice);
        }
        for text in ["", "tea", "easy:", "easy:-1", "easy:NaN", "off:1"] {
            let error = text.parse::<CacheChoice>().unwrap_err().to_string();
            assert!(error.contains("hint: off, easy or mag"), "{text}: {error}");
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
