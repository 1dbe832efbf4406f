//! What is asked for: prompts with labels.

use std::collections::BTreeSet;
use std::path::Path;
use std::str::FromStr;

use kinora_models::judge::{Classes, Head};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::find::short_hex;
use crate::{Error, Result};

/// Where a prompt comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Actor, background and motion that training showed together.
    Seen,
    /// A combination that training held out.
    HeldOut,
    /// Phrased as people do.
    People,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Seen, Self::HeldOut, Self::People];

    /// Its name in files and flags.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Seen => "seen",
            Self::HeldOut => "held_out",
            Self::People => "people",
        }
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| "there is no such kind\nhint: seen, held_out or people, several with commas".to_owned())
    }
}

/// What a prompt says; `None` where it says nothing, which is then not scored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Labels {
    /// The different actors, one or two.
    pub actors: Vec<String>,
    /// Actors that are shown.
    pub count: usize,
    /// Where.
    pub background: Option<String>,
    /// Time of day.
    pub time: Option<String>,
    /// Weather.
    pub weather: Option<String>,
    /// What the actors do.
    pub motion: Option<String>,
    /// What the camera does.
    pub camera: Option<String>,
}

impl Labels {
    /// What is said to a question with one answer.
    pub(crate) fn said(&self, head: Head) -> Option<String> {
        match head {
            Head::Actor => None,
            Head::Count => Some(self.count.to_string()),
            Head::Background => self.background.clone(),
            Head::Time => self.time.clone(),
            Head::Weather => self.weather.clone(),
            Head::Motion => self.motion.clone(),
            Head::Camera => self.camera.clone(),
        }
    }
}

/// One prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompt {
    /// Its number.
    pub id: u64,
    /// Where it comes from.
    pub kind: Kind,
    /// The words.
    pub prompt: String,
    /// What they say.
    pub labels: Labels,
}

/// A file of prompts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptSet {
    /// In the order of the file.
    pub prompts: Vec<Prompt>,
    /// A short hash of the file.
    pub hash: String,
}

impl PromptSet {
    /// Reads a file: a JSON list of [`Prompt`]s.
    ///
    /// **Errors**: [`Error::Prompts`] if it is missing, no such list, empty, or if a number or an actor occurs twice, or
    /// if the actors do not fit their count.
    pub fn read(path: &Path) -> Result<Self> {
        let refuse = |reason: String| Error::Prompts {
            path: path.to_owned(),
            reason,
        };
        let bytes = std::fs::read(path).map_err(|error| refuse(error.to_string()))?;
        let prompts: Vec<Prompt> = serde_json::from_slice(&bytes).map_err(|error| refuse(error.to_string()))?;
        if prompts.is_empty() {
            return Err(refuse("the list is empty".into()));
        }
        let mut ids = BTreeSet::new();
        for prompt in &prompts {
            let (id, labels) = (prompt.id, &prompt.labels);
            if !ids.insert(id) {
                return Err(refuse(format!("id {id} occurs twice")));
            }
            let different: BTreeSet<_> = labels.actors.iter().collect();
            let fits = match labels.actors.len() {
                1 => labels.count >= 1,
                2 => labels.count == 2 && different.len() == 2,
                _ => false,
            };
            if !fits {
                return Err(refuse(format!(
                    "prompt {id}: one actor, or two different ones with a count of 2"
                )));
            }
        }
        let hash = short_hex(&Sha256::digest(&bytes));
        Ok(Self { prompts, hash })
    }

    /// Refuses labels that the judge cannot give: they would all count as wrong.
    ///
    /// **Errors**: [`Error::UnknownLabel`].
    pub fn check(&self, classes: &Classes) -> Result<()> {
        for prompt in &self.prompts {
            let check = |head: Head, label: &str| match classes.of(head).iter().any(|class| class == label) {
                true => Ok(()),
                false => Err(Error::UnknownLabel {
                    id: prompt.id,
                    question: head.name(),
                    label: label.to_owned(),
                }),
            };
            for actor in &prompt.labels.actors {
                check(Head::Actor, actor)?;
            }
            for head in Head::ALL {
                if let Some(label) = prompt.labels.said(head) {
                    check(head, &label)?;
                }
            }
        }
        Ok(())
    }

    /// The prompts of some kinds; with a limit, so many of them, evenly spread.
    pub fn select(&self, kinds: &[Kind], limit: Option<usize>) -> Vec<&Prompt> {
        let all: Vec<&Prompt> = self
            .prompts
            .iter()
            .filter(|prompt| kinds.contains(&prompt.kind))
            .collect();
        let wanted = limit.unwrap_or(all.len()).min(all.len());
        (0..wanted).map(|i| all[i * all.len() / wanted]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: u64, kind: &str, actors: &str, count: usize) -> String {
        format!(
            r#"{{"id": {id}, "kind": "{kind}", "prompt": "a cat", "labels": {{"actors": {actors}, "count": {count},
            "background": "moon", "time": null, "weather": null, "motion": "stay", "camera": null}}}}"#
        )
    }

    fn read(text: &str) -> Result<PromptSet> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.json");
        std::fs::write(&path, text).unwrap();
        PromptSet::read(&path)
    }

    #[test]
    fn the_set_of_the_repository_is_as_promised() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bench/prompts-240.json");
        let set = PromptSet::read(&path).unwrap();
        assert_eq!(set.prompts.len(), 240);
        for kind in Kind::ALL {
            let prompts = set.select(&[kind], None);
            assert_eq!(prompts.len(), 80);
            let several = prompts.iter().filter(|p| p.labels.count > 1).count();
            assert!((12..=24).contains(&several), "{several}");
        }
        assert!(set.prompts.iter().enumerate().all(|(i, prompt)| prompt.id == i as u64));
    }

    #[test]
    fn a_limit_takes_from_all_kinds() {
        let kinds = ["seen", "held_out", "people"];
        let entries: Vec<String> = (0..30)
            .map(|i| entry(i, kinds[i as usize / 10], "[\"cat\"]", 1))
            .collect();
        let set = read(&format!("[{}]", entries.join(","))).unwrap();
        let ids = |kinds: &[Kind], limit| set.select(kinds, limit).iter().map(|p| p.id).collect::<Vec<_>>();
        assert_eq!(ids(&Kind::ALL, Some(3)), [0, 10, 20]);
        assert_eq!(ids(&[Kind::People], Some(2)), [20, 25]);
        assert_eq!(ids(&[Kind::Seen], Some(99)).len(), 10);
        assert!(ids(&Kind::ALL, Some(0)).is_empty());
    }

    #[test]
    fn what_is_no_prompt_set_is_refused() {
        let one = entry(1, "seen", "[\"cat\"]", 1);
        for (text, word) in [
            ("{", "expected a sequence".to_owned()),
            ("[]", "empty".to_owned()),
            (&format!("[{one}, {one}]"), "twice".to_owned()),
            (&format!("[{}]", entry(1, "odd", "[\"cat\"]", 1)), "odd".to_owned()),
            (
                &format!("[{}]", entry(3, "seen", "[\"cat\", \"cat\"]", 2)),
                "prompt 3".to_owned(),
            ),
            (&format!("[{}]", entry(4, "seen", "[]", 1)), "prompt 4".to_owned()),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(&word) && error.contains("hint:"), "{error}");
        }
    }
}
