//! What the judge says of a clip, in words.

use kinora_media::Frame;
use kinora_models::judge::{Classes, Head, Judge};
use serde::{Deserialize, Serialize};

use crate::measure::{consistency, judge_input};
use crate::{Error, Result};

/// Actors that are kept of the judge's list: enough to see what it took an actor for.
const ACTORS: usize = 3;

/// The judge's answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answers {
    /// The likeliest actors, the best first.
    pub actors: Vec<String>,
    /// How many actors.
    pub count: String,
    /// Where.
    pub background: String,
    /// Time of day.
    pub time: String,
    /// Weather.
    pub weather: String,
    /// What the actors do.
    pub motion: String,
    /// What the camera does.
    pub camera: String,
}

impl Answers {
    /// Reads logits, one list for each question in the order of its classes. Of equal ones the first wins.
    pub fn of<'a>(classes: &Classes, logits: impl Fn(Head) -> &'a [f32]) -> Self {
        let best = |head: Head, count: usize| -> Vec<String> {
            let values = logits(head);
            let names = classes.of(head);
            let mut order: Vec<usize> = (0..values.len().min(names.len())).collect();
            order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
            order.into_iter().take(count).map(|i| names[i].clone()).collect()
        };
        let one = |head| best(head, 1).pop().unwrap_or_default();
        Self {
            actors: best(Head::Actor, ACTORS),
            count: one(Head::Count),
            background: one(Head::Background),
            time: one(Head::Time),
            weather: one(Head::Weather),
            motion: one(Head::Motion),
            camera: one(Head::Camera),
        }
    }

    /// The answer to a question with one answer.
    pub(crate) fn to(&self, head: Head) -> Option<&str> {
        Some(match head {
            Head::Actor => return None,
            Head::Count => &self.count,
            Head::Background => &self.background,
            Head::Time => &self.time,
            Head::Weather => &self.weather,
            Head::Motion => &self.motion,
            Head::Camera => &self.camera,
        })
    }
}

/// Lets the judge look at a clip of twice its size: its answers, and how alike neighbouring frames are to it.
///
/// **Errors**: [`Error::Clip`] for another size or no frames.
pub fn look(judge: &Judge, frames: &[Frame]) -> Result<(Answers, f64)> {
    let input = judge_input(frames, judge.config())?;
    let judgement = judge
        .forward(&input)
        .map_err(kinora_pipeline::Error::from)
        .map_err(Error::from)?;
    let answers = Answers::of(&judge.config().classes, |head| judgement.logits(head));
    let [_, width] = judgement.features.dims_of("features", "[F, 2C]")?;
    Ok((answers, consistency(judgement.features.as_slice(), width)))
}
