//! What a model knows: its concepts with their names, and a sentence vector for each name.

use super::error::Error;
use super::{morphology, own_words};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};

/// Which part of a scene a concept belongs to. The names are those of the phrase table beside a model's `concepts.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Group {
    Actor,
    Background,
    TimeOfDay,
    Weather,
    Motion,
    Camera,
    Style,
    Size,
    Color,
}

/// One phrase of the phrase table: a text that stands for a concept of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phrase {
    /// The phrase.
    pub text: String,
    /// Its group.
    pub group: Group,
    /// The concept that it stands for.
    pub concept: String,
}

/// Something that a model has been trained on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concept {
    /// Its name.
    pub name: String,
    /// Its group.
    pub group: Group,
    /// For actors: land, air, sea, food, vehicle …
    pub kind: Option<String>,
    /// Phrases that the training captions use for it; for actors name and synonyms.
    pub phrases: Vec<String>,
}

/// The concepts of a model and the vectors of their phrases.
#[derive(Debug, Clone)]
pub struct Vocabulary {
    concepts: Vec<Concept>,
    by_text: HashMap<(Group, String), (usize, String)>,
    vectors: Vec<(usize, String, Vec<f32>)>,
    width: usize,
    own_phrases: HashSet<String>,
}

/// `concepts.json`.
#[derive(Deserialize)]
struct File {
    #[serde(default)]
    actors: Vec<Actor>,
    #[serde(default)]
    backgrounds: Vec<Named>,
    #[serde(default)]
    studio_colors: Vec<String>,
    #[serde(default)]
    times_of_day: Vec<Named>,
    #[serde(default)]
    weather: Vec<Named>,
    #[serde(default)]
    motions: Vec<Named>,
    #[serde(default)]
    cameras: Vec<String>,
    #[serde(default)]
    styles: Vec<String>,
    #[serde(default)]
    sizes: std::collections::BTreeMap<String, Vec<String>>,
    /// Ways to name several actors: "two X", "X next to Y".
    #[serde(default)]
    groups: Vec<String>,
}

#[derive(Deserialize)]
struct Actor {
    name: String,
    #[serde(default)]
    synonyms: Vec<String>,
    #[serde(default)]
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    #[serde(default)]
    phrases: Vec<String>,
}

impl Vocabulary {
    /// Builds a vocabulary from a model's `concepts.json` and its phrase vectors (unit length, all of one size).
    /// Phrases of concepts that the JSON does not name are ignored; without vectors only exact words are matched.
    ///
    /// # Errors
    /// [`Error::Concepts`] if the JSON is not readable, [`Error::VectorLength`] if the vectors differ in length.
    pub fn new(concepts_json: &str, phrase_vectors: Vec<(Phrase, Vec<f32>)>) -> Result<Self, Error> {
        let file: File = serde_json::from_str(concepts_json).map_err(|e| Error::Concepts { reason: e.to_string() })?;
        let mut v = Self {
            concepts: Vec::new(),
            by_text: HashMap::new(),
            vectors: Vec::new(),
            width: 0,
            own_phrases: HashSet::new(),
        };
        for a in file.actors {
            let phrases = std::iter::once(a.name.clone()).chain(a.synonyms).collect();
            v.add(Concept {
                name: a.name,
                group: Group::Actor,
                kind: a.kind,
                phrases,
            });
        }
        for (group, list) in [
            (Group::Background, file.backgrounds),
            (Group::TimeOfDay, file.times_of_day),
            (Group::Weather, file.weather),
            (Group::Motion, file.motions),
        ] {
            for n in list {
                v.add(Concept {
                    name: n.name,
                    group,
                    kind: None,
                    phrases: n.phrases,
                });
            }
        }
        for (group, list) in [
            (Group::Camera, file.cameras),
            (Group::Style, file.styles),
            (Group::Color, file.studio_colors),
        ] {
            for name in list {
                v.add(Concept {
                    phrases: vec![name.clone()],
                    name,
                    group,
                    kind: None,
                });
            }
        }
        for (name, phrases) in file.sizes {
            v.add(Concept {
                name,
                group: Group::Size,
                kind: None,
                phrases,
            });
        }
        v.own_phrases = own_words::phrases(&v.concepts, &file.groups);
        v.vectors(phrase_vectors)?;
        Ok(v)
    }

    fn add(&mut self, concept: Concept) {
        let index = self.concepts.len();
        let mut keys: Vec<(String, String)> = vec![(concept.name.clone(), concept.name.clone())];
        for p in &concept.phrases {
            keys.push((p.clone(), p.clone()));
            if concept.group == Group::Background {
                keys.push((core(p).to_owned(), p.clone()));
            }
        }
        for (key, phrase) in keys {
            self.by_text
                .entry((concept.group, key.to_lowercase()))
                .or_insert((index, phrase));
        }
        self.concepts.push(concept);
    }

    fn vectors(&mut self, phrase_vectors: Vec<(Phrase, Vec<f32>)>) -> Result<(), Error> {
        for (phrase, vector) in phrase_vectors {
            if self.width == 0 {
                self.width = vector.len();
            }
            if vector.len() != self.width {
                return Err(Error::VectorLength {
                    phrase: phrase.text,
                    expected: self.width,
                    got: vector.len(),
                });
            }
            let found = self
                .concepts
                .iter()
                .position(|c| c.group == phrase.group && c.name == phrase.concept);
            if let Some(i) = found {
                self.vectors.push((i, phrase.text, vector));
            }
        }
        Ok(())
    }

    /// All concepts in the order of the file.
    #[must_use]
    pub fn concepts(&self) -> &[Concept] {
        &self.concepts
    }

    /// The phrases of the training captions in all forms, but for the names of actors.
    pub(super) fn own_phrases(&self) -> &HashSet<String> {
        &self.own_phrases
    }

    /// The length of the phrase vectors; 0 without vectors.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// The concept of a group that has this name or phrase (case, hyphens and plural aside), with the phrase as the model writes it.
    #[must_use]
    pub fn find(&self, group: Group, text: &str) -> Option<(&Concept, &str)> {
        let lower = text.to_lowercase();
        let plain = lower.replace('-', " ");
        let front = plain.rsplit_once(' ');
        let singular = match front {
            Some((front, last)) => format!("{front} {}", morphology::singular(last).0),
            None => morphology::singular(&plain).0,
        };
        let many = morphology::plural(&singular);
        let joined = plain.replace(' ', "");
        let hyphened = plain.replace(' ', "-");
        let british = plain.replace("colour", "color").replace("grey", "gray");
        let keys = [lower, plain, singular, many, joined, hyphened, british];
        let (index, phrase) = keys.into_iter().find_map(|k| self.by_text.get(&(group, k)))?;
        Some((&self.concepts[*index], phrase))
    }

    /// The nearest phrase of a group to a unit vector, among concepts that pass the filter.
    pub(super) fn nearest(
        &self,
        group: Group,
        vector: &[f32],
        fits: impl Fn(&Concept) -> bool,
    ) -> Option<(&Concept, &str, f32)> {
        let mut best: Option<(usize, &str, f32)> = None;
        for (i, text, v) in &self.vectors {
            let c = &self.concepts[*i];
            if c.group != group || !fits(c) {
                continue;
            }
            let score: f32 = v.iter().zip(vector).map(|(a, b)| a * b).sum();
            if best.is_none_or(|b| score > b.2) {
                best = Some((*i, text, score));
            }
        }
        best.map(|(i, text, score)| (&self.concepts[i], text, score))
    }
}

/// A place phrase without its preposition and article: "in front of a city skyline" is "city skyline".
fn core(phrase: &str) -> &str {
    let mut rest = phrase;
    for p in [
        "in front of ",
        "next to ",
        "on the surface of ",
        "at the bottom of ",
        "in the ",
        "in a ",
        "in ",
        "on the ",
        "on a ",
        "on ",
        "at the ",
        "at ",
        "among ",
        "above ",
        "over ",
        "under ",
        "downtown in ",
        "a ",
        "an ",
        "the ",
        "plain ",
    ] {
        rest = rest.strip_prefix(p).unwrap_or(rest);
    }
    rest
}
