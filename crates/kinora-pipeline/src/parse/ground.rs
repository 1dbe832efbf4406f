//! Grounding: which of a model's concepts each part of a Scene means, and what the model does not know.
//!
//! Order of trust: the model's own names and synonyms, the thesaurus, then the nearest sentence vector among concepts of a
//! fitting kind. The last two are always reported as "took … instead". Thresholds come from measurements on 166 words that
//! should land and 114 that should not (see [`thresholds`]).

use super::error::Error;
use super::grounder::Grounder;
use super::scene::{KnownAs, Scene};
use super::token::Span;
use super::vocabulary::{Group, Vocabulary};
use serde::{Deserialize, Serialize};

/// Texts to unit vectors; the same encoder that made the vocabulary's vectors.
pub trait SentenceEncoder {
    /// What the encoder reports when it fails.
    type Error: std::error::Error + Send + Sync + 'static;

    /// One vector of unit length for each text.
    ///
    /// # Errors
    /// Whatever the encoder cannot do.
    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, Self::Error>;
}

/// Cosines from which a nearest neighbour is taken.
pub mod thresholds {
    /// The lexicon knows what kind of thing the word is, and only actors of that kind compete.
    pub const SAME_KIND: f32 = 0.50;
    /// As above for things, food, plants and buildings: there every kind holds many shapes, so that the nearest is often far off.
    pub const SAME_KIND_OF_THING: f32 = 0.60;
    /// A compound ("sports car") is its last word's concept unless a neighbour is this near.
    pub const BEATS_HEAD: f32 = 0.75;
    /// The lexicon does not know the word: all actors compete.
    pub const ANY_KIND: f32 = 0.66;
    /// Places, styles and verbs.
    pub const OTHER_GROUPS: f32 = 0.60;
}

/// What a scene's parts mean to a model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Grounding {
    /// What was found.
    pub matches: Vec<Match>,
    /// What the model does not know by that name, with what was taken instead.
    pub unknown: Vec<Unknown>,
}

/// Which part of a shot a match is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A subject, by its index.
    Subject(usize),
    /// The size of a subject.
    Size(usize),
    /// The main motion of a subject.
    Motion(usize),
    /// The place.
    Setting,
    /// The colour of a studio backdrop.
    Color,
    /// The time of day.
    TimeOfDay,
    /// A kind of weather, by its index.
    Weather(usize),
    /// A camera movement, by its index.
    Camera(usize),
    /// A style, by its index.
    Style(usize),
}

/// A part of the scene and the concept that it means.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Match {
    /// Index of the shot.
    pub shot: usize,
    /// Which part.
    pub role: Role,
    /// Where the words stand.
    pub span: Span,
    /// The words.
    pub words: String,
    /// The concept's group.
    pub group: Group,
    /// The concept's name.
    pub concept: String,
    /// The phrase that the model's captions use for it.
    pub phrase: String,
    /// 1 for the model's own words, the cosine for neighbours.
    pub score: f32,
    /// How it was found.
    pub how: How,
}

/// How a concept was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// The concept's name.
    Exact,
    /// One of the model's synonyms or phrases.
    Synonym,
    /// Another form of the name ("dogs", "ran").
    Inflection,
    /// The thesaurus, or a rule ("dolly in" is a zoom to a model that knows no dolly).
    Related,
    /// The nearest sentence vector.
    Similar,
}

impl How {
    /// Whether the concept stands in for words that are not the model's own.
    pub(super) const fn is_instead(self) -> bool {
        matches!(self, Self::Related | Self::Similar)
    }
}

/// Something that the model does not know by that name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unknown {
    /// Index of the shot.
    pub shot: usize,
    /// Where the words stand.
    pub span: Span,
    /// The words.
    pub words: String,
    /// What is taken instead, if anything.
    pub took: Option<String>,
    /// The cosine, where a neighbour was taken or just missed.
    pub score: Option<f32>,
    /// Why.
    pub why: String,
}

impl Grounding {
    /// The match of one part.
    #[must_use]
    pub fn of(&self, shot: usize, role: Role) -> Option<&Match> {
        self.matches.iter().find(|m| m.shot == shot && m.role == role)
    }

    /// One sentence for each thing that the model does not know.
    #[must_use]
    pub fn notes(&self, model: &str) -> Vec<String> {
        let mut out: Vec<String> = Vec::new();
        for u in &self.unknown {
            let line = match (&u.took, u.score) {
                (Some(t), Some(s)) => format!("'{}' is not known to {model}; took '{t}' ({s:.2})", u.words),
                (Some(t), None) => format!("'{}' is not known to {model}; took '{t}'", u.words),
                (None, _) => format!("'{}' is not known to {model}: {}", u.words, u.why),
            };
            if !out.contains(&line) {
                out.push(line);
            }
        }
        out
    }
}

impl Scene {
    /// The scene with what a model knows of it.
    #[must_use]
    pub fn with_grounding(mut self, grounding: Grounding) -> Self {
        for (n, shot) in self.shots.iter_mut().enumerate() {
            for (i, s) in shot.subjects.iter_mut().enumerate() {
                s.known_as = grounding.of(n, Role::Subject(i)).map(|m| KnownAs {
                    concept: m.concept.clone(),
                    score: m.score,
                });
            }
        }
        self.grounding = Some(grounding);
        self
    }
}

/// Grounds a scene in a vocabulary. The encoder is asked once, and only for words that no table knows.
///
/// # Errors
/// [`Error::Encoder`] and [`Error::EncoderShape`] if the encoder fails.
pub fn ground<E: SentenceEncoder + ?Sized>(
    scene: &Scene,
    vocabulary: &Vocabulary,
    encoder: &E,
) -> Result<Grounding, Error> {
    let mut g = Grounder::new(vocabulary);
    for (n, shot) in scene.shots.iter().enumerate() {
        g.shot(n, shot);
    }
    g.ask(encoder)?;
    Ok(g.out)
}
