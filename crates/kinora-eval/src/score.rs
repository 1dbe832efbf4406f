//! Verdicts to a table.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::prompts::{Kind, Labels};
use crate::results::Source;
use crate::share::{Average, Share};
use crate::verdict::{Metric, Verdict};

/// What is counted of one clip.
#[derive(Debug, Clone, Copy)]
pub struct Measured<'a> {
    /// Where its prompt comes from.
    pub kind: Kind,
    /// What its prompt says.
    pub labels: &'a Labels,
    /// Whether it shows that.
    pub verdict: Verdict,
    /// How alike neighbouring frames are.
    pub consistency: f64,
    /// How much the brightness jumps.
    pub flicker: f64,
    /// What it was made of, if not of words alone.
    pub source: Option<&'a Source>,
}

impl Measured<'_> {
    /// Right, wrong, or `None` where the metric does not ask.
    fn on(&self, metric: Metric) -> Option<bool> {
        match metric.is_kept() {
            true => self.source?.kept.on(metric),
            false => self.verdict.on(metric, self.labels),
        }
    }
}

/// The score of some clips.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// How many clips.
    pub clips: usize,
    /// Shares of right ones; a metric that nothing was asked of is not there.
    pub shares: BTreeMap<Metric, Share>,
    /// Mean likeness of neighbouring frames, 1 at best.
    pub consistency: Option<Average>,
    /// Mean jumping of the brightness, of 255; 0 at best.
    pub flicker: Option<Average>,
    /// Of extensions: mean jump where they begin; 1 is as much as beside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seam: Option<Average>,
    /// Of clips from pictures: mean PSNR of the first frame, in dB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_frame: Option<Average>,
}

impl Tally {
    fn of(clips: &[&Measured<'_>]) -> Self {
        let share = |metric| {
            let answers = clips.iter().filter_map(|clip| clip.on(metric));
            Some((metric, Share::of(answers)?))
        };
        let average = |value: fn(&Measured<'_>) -> Option<f64>| {
            let values: Vec<f64> = clips.iter().filter_map(|clip| value(clip)).collect();
            Average::of(&values)
        };
        Self {
            clips: clips.len(),
            shares: Metric::ALL.into_iter().filter_map(share).collect(),
            consistency: average(|clip| Some(clip.consistency)),
            flicker: average(|clip| Some(clip.flicker)),
            seam: average(|clip| clip.source?.seam),
            first_frame: average(|clip| clip.source?.first_frame),
        }
    }
}

/// The score of all clips, and of each kind of prompts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// All clips.
    pub all: Tally,
    /// Those of each kind that there is.
    pub kinds: BTreeMap<Kind, Tally>,
}

impl Score {
    /// Columns of the table: the metric, all, and each kind.
    pub const COLUMNS: usize = 2 + Kind::ALL.len();

    /// Counts.
    pub fn of(clips: &[Measured<'_>]) -> Self {
        let of_kind = |kind| {
            let clips: Vec<&Measured<'_>> = clips.iter().filter(|clip| clip.kind == kind).collect();
            (!clips.is_empty()).then(|| (kind, Tally::of(&clips)))
        };
        Self {
            all: Tally::of(&clips.iter().collect::<Vec<_>>()),
            kinds: Kind::ALL.into_iter().filter_map(of_kind).collect(),
        }
    }

    /// The rows of the table, the heading first.
    pub fn rows(&self) -> Vec<[String; Self::COLUMNS]> {
        let row = |name: &str, cell: &dyn Fn(&Tally) -> Option<String>| -> [String; Self::COLUMNS] {
            let cell = |tally: Option<&Tally>| tally.and_then(cell).unwrap_or_else(|| "-".into());
            let kinds = Kind::ALL.map(|kind| cell(self.kinds.get(&kind)));
            let [seen, held_out, people] = kinds;
            [name.to_owned(), cell(Some(&self.all)), seen, held_out, people]
        };
        let [seen, held_out, people] = Kind::ALL.map(|kind| kind.name().replace('_', " "));
        let mut rows = vec![["".into(), "all".into(), seen, held_out, people]];
        let asked = |metric: &Metric| !metric.is_kept() || self.all.shares.contains_key(metric);
        for metric in Metric::ALL.into_iter().filter(asked) {
            rows.push(row(metric.name(), &|tally| {
                tally.shares.get(&metric).map(Share::to_string)
            }));
        }
        let averages: [(&str, fn(&Tally) -> Option<Average>); 4] = [
            ("consistency", |tally| tally.consistency),
            ("flicker", |tally| tally.flicker),
            ("seam", |tally| tally.seam),
            ("first frame, dB", |tally| tally.first_frame),
        ];
        for (name, value) in averages {
            // What only extensions or clips from pictures have makes no row for others.
            if value(&self.all).is_none() {
                continue;
            }
            rows.push(row(name, &|tally| value(tally).map(|average| average.to_string())));
        }
        rows
    }

    /// The table in Markdown.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        for (i, row) in self.rows().iter().enumerate() {
            let _ = writeln!(text, "| {} |", row.join(" | "));
            if i == 0 {
                let _ = writeln!(text, "{}|", "|---".repeat(Self::COLUMNS));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_counted_overall_and_by_kind() {
        let labels = |actors: &[&str], count| Labels {
            actors: actors.iter().map(|&actor| actor.to_owned()).collect(),
            count,
            background: None,
            time: None,
            weather: None,
            motion: None,
            camera: None,
        };
        let (one, three, pair) = (labels(&["cat"], 1), labels(&["cat"], 3), labels(&["cat", "dog"], 2));
        let clip = |kind, labels, subject, count, setting| Measured {
            kind,
            labels,
            verdict: Verdict {
                subject,
                count,
                setting,
                time: None,
                weather: None,
                motion: None,
                camera: None,
            },
            consistency: 0.9,
            flicker: if subject { 1.0 } else { 3.0 },
            source: None,
        };
        let score = Score::of(&[
            clip(Kind::Seen, &one, true, true, Some(true)),
            clip(Kind::Seen, &three, true, false, None),
            clip(Kind::People, &pair, false, true, Some(false)),
            clip(Kind::People, &pair, true, true, Some(true)),
        ]);
        let counted = |tally: &Tally, metric| tally.shares.get(&metric).map(|s| (s.right, s.of));
        assert_eq!(counted(&score.all, Metric::Subject), Some((3, 4)));
        assert_eq!(counted(&score.all, Metric::Pairs), Some((1, 2)));
        assert_eq!(counted(&score.all, Metric::Count), Some((3, 4)));
        assert_eq!(counted(&score.all, Metric::Several), Some((2, 3)));
        assert_eq!(counted(&score.all, Metric::Setting), Some((2, 3)));
        assert_eq!(counted(&score.all, Metric::Camera), None);
        assert_eq!(counted(&score.kinds[&Kind::Seen], Metric::Subject), Some((2, 2)));
        assert!(!score.kinds.contains_key(&Kind::HeldOut));
        assert_eq!(score.kinds[&Kind::People].flicker.unwrap().mean, 2.0);

        let table = score.markdown();
        assert!(
            table.starts_with("|  | all | seen | held out | people |\n|---|---|---|---|---|\n"),
            "{table}"
        );
        assert!(
            table.contains("\n| subject, pairs | 50 % (9-91), 1 of 2 | - | - | 50 % (9-91), 1 of 2 |\n"),
            "{table}"
        );
        let again: Score = serde_json::from_str(&serde_json::to_string(&score).unwrap()).unwrap();
        assert_eq!(again, score);
    }

    #[test]
    fn what_is_kept_has_rows_where_clips_were_made_of_others() {
        let labels: Labels = serde_json::from_str(r#"{"actors": ["cat"], "count": 1}"#).unwrap();
        let source = |subject, seam| -> Source {
            serde_json::from_value(serde_json::json!({
                "seed": 1, "seam": seam,
                "answers": {"actors": [], "count": "1", "background": "", "time": "", "weather": "", "motion": "", "camera": ""},
                "kept": {"subject": subject, "setting": true, "time": false, "weather": true}}))
            .unwrap()
        };
        let sources = [source(true, 1.0), source(false, 4.0)];
        let verdict: Verdict = serde_json::from_str(r#"{"subject": false, "count": true}"#).unwrap();
        let clip = |source| Measured {
            kind: Kind::Seen,
            labels: &labels,
            verdict,
            consistency: 0.9,
            flicker: 1.0,
            source,
        };
        let score = Score::of(&[clip(Some(&sources[0])), clip(Some(&sources[1]))]);
        let table = score.markdown();
        for row in [
            "\n| subject | 0 % (0-66), 0 of 2 |",
            "\n| kept subject | 50 % (9-91), 1 of 2 |",
            "\n| kept time | 0 %",
            "\n| seam | 2.500 (",
        ] {
            assert!(table.contains(row), "{row}: {table}");
        }
        assert!(!table.contains("first frame"), "{table}");
        let text = Score::of(&[clip(None)]);
        assert!(!text.markdown().contains("kept") && !text.markdown().contains("seam"));
        assert!(!serde_json::to_string(&text).unwrap().contains("seam"));
    }
}
