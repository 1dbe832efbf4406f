//! Tasks beside a clip from words: clips made anew from kept latents, blended, closed to a loop, made shot by shot, and
//! characters that come back.
//!
//! Each of them is a field of [`crate::Request`]; this file says what such a field holds, the others what becomes of it.

mod characters;
mod scene;
mod sources;
mod start;
mod validate;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::request::Length;

pub(crate) use characters::resolve as resolve_characters;
pub use characters::{CharacterPicture, character_from_clip};
pub(crate) use scene::{derived_prompt, parse_shots};
pub(crate) use sources::{Material, Sources};
pub(crate) use start::{Place, Start, StartSource};
pub(crate) use validate::validate;

/// A clip that begins as one clip and ends as another.
///
/// Where the curve is 0 the clip is `from`, where it is 1 it is `to`, both as they are; between them the latents of both
/// are mixed and made anew, as much as [`crate::Request::strength`] says.
#[derive(Debug, Clone, PartialEq)]
pub struct Blend {
    /// The clip that it begins as: kept latents or a clip.
    pub from: PathBuf,
    /// The clip that it ends as: kept latents or a clip.
    pub to: PathBuf,
    /// The share of `to` over time, 0 to 1, at equally spaced points with lines between them. Empty: from 0 to 1.
    pub curve: Vec<f32>,
}

impl Blend {
    /// Most points of a curve.
    pub const MAX_POINTS: usize = 256;
    /// The strength that blends best, for callers that let nobody choose.
    pub const DEFAULT_STRENGTH: f32 = 0.6;

    /// The share of `to` at `place`, 0 (the first frame) to 1 (the last one).
    pub fn share_at(&self, place: f64) -> f32 {
        let curve: &[f32] = if self.curve.is_empty() {
            &[0.0, 1.0]
        } else {
            &self.curve
        };
        let last = curve.len() - 1;
        let at = place.clamp(0.0, 1.0) * last as f64;
        let index = (at as usize).min(last);
        let (a, b) = (curve[index], curve[(index + 1).min(last)]);
        // Exact at the points, so that a curve that stays at 0 or 1 really does.
        match at - index as f64 {
            _ if a == b => a,
            part => (f64::from(a) + f64::from(b - a) * part) as f32,
        }
    }
}

/// A clip that is given a new part from its end back to its beginning, so that it plays without an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseLoop {
    /// The clip: kept latents or a clip.
    pub source: PathBuf,
    /// Frames of the new part at the model's rate, rounded up to whole latent frames; [`CloseLoop::DEFAULT_FRAMES`] if
    /// absent.
    pub seam_frames: Option<u32>,
}

impl CloseLoop {
    /// Frames of the new part if nobody says otherwise.
    pub const DEFAULT_FRAMES: u32 = 12;
}

/// How a shot follows the one before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transition {
    /// It starts anew.
    #[default]
    Cut,
    /// It starts from the last frames of the shot before. The first shot has none before it and starts anew.
    Continue,
}

/// One shot of a storyboard.
#[derive(Debug, Clone, PartialEq)]
pub struct Shot {
    /// What to show.
    pub prompt: String,
    /// How long.
    pub length: Length,
    /// How it follows the one before.
    pub transition: Transition,
    /// A picture that it starts from; not for one that continues.
    pub image: Option<PathBuf>,
}

impl Shot {
    /// Most shots of one clip.
    pub const MAX_SHOTS: usize = 32;

    /// A shot of the model's own length that starts anew.
    pub fn new(prompt: impl Into<String>) -> Self {
        Self {
            prompt: prompt.into(),
            length: Length::Default,
            transition: Transition::Cut,
            image: None,
        }
    }
}

/// Somebody or something that a prompt names and that shall look as in a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CharacterUse {
    /// The name in the prompt, found as a whole word in any case.
    pub name: String,
    /// What it looks like. Models with reference pictures are shown it; others start from it, unless they start from
    /// something else, and may drift away from it.
    pub picture: PathBuf,
    /// What stands for the name in what the model is told, for example "a fox"; the name itself if absent.
    pub subject: Option<String>,
}

impl CharacterUse {
    /// Most characters of one clip.
    pub const MAX_CHARACTERS: usize = 8;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_is_exact_at_its_points_and_a_line_between_them() {
        let blend = |curve: &[f32]| Blend {
            from: "a".into(),
            to: "b".into(),
            curve: curve.to_vec(),
        };
        let line = blend(&[]);
        assert_eq!([0.0, 0.25, 1.0].map(|at| line.share_at(at)), [0.0, 0.25, 1.0]);
        let steps = blend(&[0.0, 0.0, 0.5, 1.0, 1.0]);
        assert_eq!(
            [0.0, 0.2, 0.25, 0.375, 0.5, 0.75, 0.9].map(|at| steps.share_at(at)),
            [0.0, 0.0, 0.0, 0.25, 0.5, 1.0, 1.0]
        );
        assert_eq!(blend(&[1.0, 0.0]).share_at(0.75), 0.25, "it may fall");
        assert_eq!(blend(&[0.3]).share_at(0.9), 0.3);
    }
}
