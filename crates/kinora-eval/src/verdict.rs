//! Whether a clip shows what its prompt says: labels and answers to right, wrong, or not asked.

use std::collections::BTreeSet;

use kinora_models::judge::Head;
use serde::{Deserialize, Serialize};

use crate::answers::Answers;
use crate::prompts::Labels;

/// What is counted; `docs/eval.md` defines each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// The right actors.
    Subject,
    /// The same, of prompts with two different actors.
    Pairs,
    /// The right number of actors.
    Count,
    /// The same, of prompts with several actors.
    Several,
    /// The right background.
    Setting,
    /// The right time of day.
    Time,
    /// The right weather.
    Weather,
    /// The right motion.
    Motion,
    /// The right movement of the camera.
    Camera,
    /// The actors of the clip that it was made of.
    KeptSubject,
    /// The background of that clip.
    KeptSetting,
    /// Its time of day.
    KeptTime,
    /// Its weather.
    KeptWeather,
}

impl Metric {
    /// All of them, in the order of tables.
    pub const ALL: [Self; 13] = [
        Self::Subject,
        Self::Pairs,
        Self::Count,
        Self::Several,
        Self::Setting,
        Self::Time,
        Self::Weather,
        Self::Motion,
        Self::Camera,
        Self::KeptSubject,
        Self::KeptSetting,
        Self::KeptTime,
        Self::KeptWeather,
    ];

    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Subject => "subject",
            Self::Pairs => "subject, pairs",
            Self::Count => "count",
            Self::Several => "count, several",
            Self::Setting => "setting",
            Self::Time => "time",
            Self::Weather => "weather",
            Self::Motion => "motion",
            Self::Camera => "camera",
            Self::KeptSubject => "kept subject",
            Self::KeptSetting => "kept setting",
            Self::KeptTime => "kept time",
            Self::KeptWeather => "kept weather",
        }
    }

    /// Whether it compares two clips, not a clip and its prompt.
    pub const fn is_kept(self) -> bool {
        matches!(
            self,
            Self::KeptSubject | Self::KeptSetting | Self::KeptTime | Self::KeptWeather
        )
    }
}

/// Right, wrong, or not asked, for one clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The likeliest actor is the named one; of two named, both are the likeliest two.
    pub subject: bool,
    /// As many actors as the prompt says.
    pub count: bool,
    /// The background.
    pub setting: Option<bool>,
    /// The time of day.
    pub time: Option<bool>,
    /// The weather.
    pub weather: Option<bool>,
    /// The motion.
    pub motion: Option<bool>,
    /// The camera.
    pub camera: Option<bool>,
}

impl Verdict {
    /// Compares what was said with what was seen. Strict: a black cat is no cat, a cat's face neither.
    pub fn of(labels: &Labels, answers: &Answers) -> Self {
        let seen = &answers.actors[..answers.actors.len().min(labels.actors.len())];
        let is = |head: Head| labels.said(head).map(|said| answers.to(head) == Some(said.as_str()));
        Self {
            subject: labels.actors.iter().all(|actor| seen.contains(actor)),
            count: is(Head::Count) == Some(true),
            setting: is(Head::Background),
            time: is(Head::Time),
            weather: is(Head::Weather),
            motion: is(Head::Motion),
            camera: is(Head::Camera),
        }
    }

    /// What it says of one metric, for a prompt with these labels; `None` where the metric does not ask it.
    pub fn on(&self, metric: Metric, labels: &Labels) -> Option<bool> {
        match metric {
            Metric::Subject => Some(self.subject),
            Metric::Pairs => (labels.actors.len() == 2).then_some(self.subject),
            Metric::Count => Some(self.count),
            Metric::Several => (labels.count > 1).then_some(self.count),
            Metric::Setting => self.setting,
            Metric::Time => self.time,
            Metric::Weather => self.weather,
            Metric::Motion => self.motion,
            Metric::Camera => self.camera,
            Metric::KeptSubject | Metric::KeptSetting | Metric::KeptTime | Metric::KeptWeather => None,
        }
    }
}

/// Whether the judge sees the same in a clip as in the one that it was made of, whatever the prompt says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The likeliest actor, or of a prompt with two, the likeliest two in any order.
    pub subject: bool,
    /// The background.
    pub setting: bool,
    /// The time of day.
    pub time: bool,
    /// The weather.
    pub weather: bool,
}

impl Kept {
    /// Compares what was seen in the first clip with what was seen in the second; of `labels` it takes only how many
    /// different actors there are to look for.
    pub fn of(labels: &Labels, first: &Answers, second: &Answers) -> Self {
        let seen = |answers: &Answers| -> BTreeSet<String> {
            answers.actors.iter().take(labels.actors.len()).cloned().collect()
        };
        Self {
            subject: seen(first) == seen(second),
            setting: first.background == second.background,
            time: first.time == second.time,
            weather: first.weather == second.weather,
        }
    }

    /// What it says of one metric; `None` for those that compare a clip with its prompt.
    pub const fn on(&self, metric: Metric) -> Option<bool> {
        match metric {
            Metric::KeptSubject => Some(self.subject),
            Metric::KeptSetting => Some(self.setting),
            Metric::KeptTime => Some(self.time),
            Metric::KeptWeather => Some(self.weather),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use kinora_models::judge::Classes;

    use super::*;

    fn classes() -> Classes {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        Classes {
            actor: names(&["dog", "cat", "black cat", "owl"]),
            background: names(&["moon", "beach"]),
            time: names(&["day", "night"]),
            weather: names(&["clear", "rain"]),
            motion: names(&["stay", "left", "right"]),
            camera: names(&["static", "in"]),
            count: names(&["1", "2", "3", "4"]),
        }
    }

    fn answers(actor: [f32; 4]) -> Answers {
        Answers::of(&classes(), |head| match head {
            Head::Actor => &actor,
            Head::Background => &[0.5, 2.0],
            Head::Time => &[-1.0, -2.0],
            Head::Weather => &[0.0, 0.0],
            Head::Motion => &[1.0, 3.0, 2.0],
            Head::Camera => &[0.1, 0.2],
            Head::Count => &[0.0, 5.0, 1.0, 2.0],
        })
    }

    fn labels(actors: &[&str], count: usize) -> Labels {
        Labels {
            actors: actors.iter().map(|&actor| actor.to_owned()).collect(),
            count,
            background: Some("beach".into()),
            time: Some("night".into()),
            weather: None,
            motion: Some("left".into()),
            camera: None,
        }
    }

    #[test]
    fn logits_become_the_likeliest_names() {
        let answers = answers([0.0, 3.0, 1.0, 2.0]);
        assert_eq!(answers.actors, ["cat", "owl", "black cat"]);
        let rest = [&answers.count, &answers.background, &answers.time, &answers.weather];
        assert_eq!(rest, ["2", "beach", "day", "clear"], "of equal ones the first");
        assert_eq!((answers.motion.as_str(), answers.camera.as_str()), ("left", "in"));
    }

    #[test]
    fn each_question_is_judged_by_itself_and_only_if_asked() {
        let verdict = Verdict::of(&labels(&["cat"], 1), &answers([0.0, 3.0, 1.0, 2.0]));
        let expected = Verdict {
            subject: true,
            count: false,
            setting: Some(true),
            time: Some(false),
            weather: None,
            motion: Some(true),
            camera: None,
        };
        assert_eq!(verdict, expected);
    }

    #[test]
    fn one_actor_must_be_the_first_and_two_the_first_two() {
        let subject = |actors: &[&str], logits| Verdict::of(&labels(actors, actors.len()), &answers(logits)).subject;
        assert!(!subject(&["cat"], [0.0, 2.0, 3.0, 1.0]), "a black cat is no cat");
        assert!(subject(&["cat", "dog"], [9.0, 8.0, 1.0, 0.0]));
        assert!(subject(&["cat", "dog"], [8.0, 9.0, 1.0, 0.0]));
        assert!(!subject(&["cat", "dog"], [9.0, 7.0, 8.0, 0.0]), "third is too late");
        assert!(!subject(&["cat", "dog"], [0.0, 9.0, 8.0, 1.0]));
    }

    #[test]
    fn pairs_and_several_are_asked_of_those_only() {
        let verdict = Verdict::of(&labels(&["cat"], 3), &answers([0.0, 3.0, 1.0, 2.0]));
        let on = |metric, labels: &Labels| verdict.on(metric, labels);
        assert_eq!(on(Metric::Pairs, &labels(&["cat"], 3)), None);
        assert_eq!(on(Metric::Several, &labels(&["cat"], 3)), Some(false));
        assert_eq!(on(Metric::Several, &labels(&["cat"], 1)), None);
        assert_eq!(on(Metric::Pairs, &labels(&["cat", "dog"], 2)), Some(true));
        assert_eq!(on(Metric::Camera, &labels(&["cat"], 1)), None);
    }

    #[test]
    fn what_is_kept_is_what_was_seen_before_not_what_was_asked_for() {
        let (first, swapped) = (answers([9.0, 8.0, 1.0, 0.0]), answers([8.0, 9.0, 1.0, 0.0]));
        let night = Answers {
            time: "night".into(),
            ..swapped.clone()
        };
        let kept = |actors: &[&str], second: &Answers| Kept::of(&labels(actors, actors.len()), &first, second);
        // An owl was asked for and never seen: a dog that stays a dog is kept, one that becomes a cat is not.
        assert!(kept(&["owl"], &first).subject && !kept(&["owl"], &swapped).subject);
        assert!(kept(&["owl", "cat"], &swapped).subject, "of two, any order");
        let kept = kept(&["dog"], &night);
        let on = [
            Metric::KeptSubject,
            Metric::KeptSetting,
            Metric::KeptTime,
            Metric::KeptWeather,
        ];
        assert_eq!(on.map(|metric| kept.on(metric)), [false, true, false, true].map(Some));
        assert_eq!(kept.on(Metric::Subject), None);
    }
}
