//! Grounding: which of a model's concepts each part of a Scene means, and what the model does not know.
//!
//! Order of trust: the model's own names and synonyms, the thesaurus, then the nearest sentence vector among concepts of a
//! fitting kind. The last two are always reported as "took … instead". Thresholds come from measurements on 170 words that
//! should land and 112 that should not (see [`thresholds`]).

use super::error::Error;
use super::lexicon::{MotionKind, NounClass, thesaurus};
use super::morphology;
use super::scene::{
    AttributeKind, CameraMove, Count, Direction, KnownAs, Motion, Scene, Shot, Subject, TimeKind, WeatherKind,
};
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

/// A question that only the encoder can answer.
struct Open {
    shot: usize,
    role: Role,
    span: Span,
    words: String,
    group: Group,
    kinds: Option<&'static [&'static str]>,
    threshold: f32,
    /// Taken where the encoder finds nothing near enough.
    fallback: Option<(String, String)>,
}

struct Grounder<'a> {
    vocabulary: &'a Vocabulary,
    out: Grounding,
    open: Vec<Open>,
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
    let mut g = Grounder {
        vocabulary,
        out: Grounding::default(),
        open: Vec::new(),
    };
    for (n, shot) in scene.shots.iter().enumerate() {
        g.shot(n, shot);
    }
    g.ask(encoder)?;
    Ok(g.out)
}

impl Grounder<'_> {
    fn shot(&mut self, n: usize, shot: &Shot) {
        for (i, s) in shot.subjects.iter().enumerate() {
            self.subject(n, i, s);
            self.size(n, i, s);
            if let Some(m) = &s.motion {
                let chases = m.kind == MotionKind::Chase;
                if !chases {
                    self.motion(n, i, m);
                }
            }
        }
        self.setting(n, shot);
        if let Some(t) = &shot.time_of_day {
            let name = match t.kind {
                TimeKind::Sunrise | TimeKind::Morning => "sunrise",
                TimeKind::Day | TimeKind::Afternoon => "day",
                TimeKind::Sunset | TimeKind::Evening => "sunset",
                TimeKind::Night => "night",
            };
            let own = !matches!(t.kind, TimeKind::Morning | TimeKind::Afternoon | TimeKind::Evening);
            self.named(n, Role::TimeOfDay, t.span, &t.text, Group::TimeOfDay, name, own);
        }
        for (i, w) in shot.weather.iter().enumerate() {
            let name = match w.kind {
                WeatherKind::Clear => "clear",
                WeatherKind::Cloudy => "cloudy",
                WeatherKind::Rain | WeatherKind::Storm => "rain",
                WeatherKind::Snow => "snow",
                WeatherKind::Fog => "fog",
                WeatherKind::Wind | WeatherKind::Hot | WeatherKind::Cold => "",
            };
            self.named(
                n,
                Role::Weather(i),
                w.span,
                &w.text,
                Group::Weather,
                name,
                w.kind != WeatherKind::Storm,
            );
        }
        self.camera(n, shot);
        for (i, s) in shot.style.iter().enumerate() {
            let name = match s.text.as_str() {
                "monochrome" | "b&w" | "grayscale" | "greyscale" | "black-and-white" | "noir" | "film noir" => {
                    "black and white"
                }
                "sepia tones" | "sepia tone" | "old sepia film" => "sepia",
                "warm colours" | "warm tones" => "warm colors",
                "neon colours" | "neon colors" => "neon",
                "8-bit" | "16-bit" => "pixel art",
                other => other,
            };
            if self.vocabulary.find(Group::Style, name).is_some() {
                self.named(n, Role::Style(i), s.span, &s.text, Group::Style, name, name == s.text);
            } else {
                self.ask_later(
                    n,
                    Role::Style(i),
                    s.span,
                    &s.text,
                    Group::Style,
                    thresholds::OTHER_GROUPS,
                );
            }
        }
    }

    fn hit(
        &mut self,
        n: usize,
        role: Role,
        span: Span,
        words: &str,
        group: Group,
        concept: &str,
        phrase: &str,
        score: f32,
        how: How,
    ) {
        if matches!(how, How::Related | How::Similar) {
            let score = (how == How::Similar).then_some(score);
            self.out.unknown.push(Unknown {
                shot: n,
                span,
                words: words.to_owned(),
                took: Some(phrase.to_owned()),
                score,
                why: "not in the model's vocabulary".to_owned(),
            });
        }
        self.out.matches.push(Match {
            shot: n,
            role,
            span,
            words: words.to_owned(),
            group,
            concept: concept.to_owned(),
            phrase: phrase.to_owned(),
            score,
            how,
        });
    }

    fn miss(&mut self, n: usize, span: Span, words: &str, why: &str, score: Option<f32>) {
        self.out.unknown.push(Unknown {
            shot: n,
            span,
            words: words.to_owned(),
            took: None,
            score,
            why: why.to_owned(),
        });
    }

    /// A rule gave the concept's name; `own` says that the model's captions use the words for it.
    fn named(&mut self, n: usize, role: Role, span: Span, words: &str, group: Group, name: &str, own: bool) {
        let found = self
            .vocabulary
            .find(group, name)
            .map(|(c, _)| (c.name.clone(), c.phrases.first().cloned().unwrap_or_default()));
        match found {
            Some((concept, phrase)) => {
                let how = if concept == words {
                    How::Exact
                } else if own {
                    How::Synonym
                } else {
                    How::Related
                };
                self.hit(n, role, span, words, group, &concept, &phrase, 1.0, how);
            }
            None => self.miss(n, span, words, "the model knows nothing like it", None),
        }
    }

    fn ask_later(&mut self, shot: usize, role: Role, span: Span, words: &str, group: Group, threshold: f32) {
        self.open.push(Open {
            shot,
            role,
            span,
            words: words.to_owned(),
            group,
            kinds: None,
            threshold,
            fallback: None,
        });
    }

    fn subject(&mut self, n: usize, i: usize, s: &Subject) {
        let role = Role::Subject(i);
        let describing: Vec<&str> = s
            .attributes
            .iter()
            .filter(|a| !matches!(a.kind, AttributeKind::Wearing | AttributeKind::With | AttributeKind::Of))
            .map(|a| a.text.as_str())
            .collect();
        let mut tries: Vec<String> = (0..describing.len())
            .map(|k| format!("{} {}", describing[k..].join(" "), s.noun))
            .collect();
        tries.extend(describing.iter().map(|a| format!("{a} {}", s.noun)));
        tries.push(s.noun.clone());
        let words: Vec<&str> = s.noun.split(' ').collect();
        tries.extend((1..words.len()).map(|k| words[k..].join(" ")));
        for (k, text) in tries.iter().enumerate() {
            let Some((c, phrase)) = self.vocabulary.find(Group::Actor, text) else {
                continue;
            };
            let (concept, phrase) = (c.name.clone(), phrase.to_owned());
            let tail = k + 1 >= tries.len() && words.len() > 1;
            let how = match () {
                () if tail && text != &s.noun => How::Related,
                () if s.count != Count::One => How::Inflection,
                () if concept.eq_ignore_ascii_case(text) => How::Exact,
                () => How::Synonym,
            };
            self.hit(n, role, s.span, &s.noun, Group::Actor, &concept, &phrase, 1.0, how);
            return;
        }
        let head = words.last().copied().unwrap_or(&s.noun);
        let near = thesaurus::NEAR
            .iter()
            .find(|(w, _)| *w == s.noun)
            .or_else(|| thesaurus::NEAR.iter().find(|(w, _)| *w == head));
        for candidate in near.map_or(&[][..], |e| e.1) {
            if let Some((c, phrase)) = self.vocabulary.find(Group::Actor, candidate) {
                let (concept, phrase) = (c.name.clone(), phrase.to_owned());
                self.hit(
                    n,
                    role,
                    s.span,
                    &s.noun,
                    Group::Actor,
                    &concept,
                    &phrase,
                    0.9,
                    How::Related,
                );
                return;
            }
        }
        match kinds(s.class) {
            Some([]) => self.miss(
                n,
                s.span,
                &s.noun,
                "the model has no picture of this kind of thing",
                None,
            ),
            kinds => {
                let threshold = if kinds.is_some() {
                    thresholds::SAME_KIND
                } else {
                    thresholds::ANY_KIND
                };
                self.open.push(Open {
                    shot: n,
                    role,
                    span: s.span,
                    words: s.noun.clone(),
                    group: Group::Actor,
                    kinds,
                    threshold,
                    fallback: None,
                });
            }
        }
    }

    fn size(&mut self, n: usize, i: usize, s: &Subject) {
        for a in s.attributes.iter().filter(|a| a.kind == AttributeKind::Size) {
            let name = match a.text.as_str() {
                "miniature" | "mini" | "microscopic" | "petite" | "short" => "small",
                "gigantic" | "enormous" | "massive" | "colossal" | "immense" | "towering" | "oversized"
                | "monstrous" | "tall" => "large",
                other => other,
            };
            let found = self
                .vocabulary
                .find(Group::Size, name)
                .map(|(c, p)| (c.name.clone(), p.to_owned()));
            if let Some((concept, phrase)) = found {
                let how = if name == a.text { How::Synonym } else { How::Related };
                let phrase = if how == How::Related { name.to_owned() } else { phrase };
                self.hit(
                    n,
                    Role::Size(i),
                    s.span,
                    &a.text,
                    Group::Size,
                    &concept,
                    &phrase,
                    1.0,
                    how,
                );
                return;
            }
        }
    }

    fn motion(&mut self, n: usize, i: usize, m: &Motion) {
        let Some((name, own)) = motion_concept(m) else {
            if m.kind == MotionKind::Unknown {
                self.ask_later(
                    n,
                    Role::Motion(i),
                    m.span,
                    &m.verb,
                    Group::Motion,
                    thresholds::OTHER_GROUPS,
                );
            } else {
                self.miss(n, m.span, &m.verb, "the model knows no such motion", None);
            }
            return;
        };
        let found = self
            .vocabulary
            .find(Group::Motion, name)
            .map(|(c, _)| (c.name.clone(), c.phrases.clone()));
        let Some((concept, phrases)) = found else {
            self.miss(n, m.span, &m.verb, "the model knows no such motion", None);
            return;
        };
        let first = phrases
            .iter()
            .find(|p| p.split([' ', '/']).next() == Some(m.verb.as_str()))
            .or(phrases.first())
            .cloned()
            .unwrap_or_default();
        let spoken = phrases
            .iter()
            .any(|p| p.split(' ').next().is_some_and(|v| v.split('/').any(|v| v == m.verb)));
        let how = if concept == m.verb {
            How::Exact
        } else if spoken && own || own {
            How::Synonym
        } else {
            How::Related
        };
        let phrase = if first.contains('/') {
            travel_phrase(&first, &m.verb)
        } else {
            first
        };
        self.hit(
            n,
            Role::Motion(i),
            m.span,
            &m.verb,
            Group::Motion,
            &concept,
            &phrase,
            1.0,
            how,
        );
    }

    fn setting(&mut self, n: usize, shot: &Shot) {
        let Some(s) = &shot.setting else { return };
        let many = if s.plural {
            morphology::plural(&s.noun)
        } else {
            s.noun.clone()
        };
        let full = s
            .attributes
            .iter()
            .filter(|a| !matches!(a.kind, AttributeKind::With | AttributeKind::Of))
            .map(|a| a.text.as_str())
            .chain([many.as_str()])
            .collect::<Vec<_>>()
            .join(" ");
        for a in s.attributes.iter().filter(|a| a.kind == AttributeKind::Colour) {
            let found = self.vocabulary.find(Group::Color, &a.text).map(|(c, _)| c.name.clone());
            if let (Some(c), true) = (
                found,
                matches!(s.noun.as_str(), "background" | "backdrop" | "studio" | "wall"),
            ) {
                self.hit(n, Role::Color, s.span, &a.text, Group::Color, &c, &c, 1.0, How::Exact);
            }
        }
        for text in [
            full.as_str(),
            &format!("{} {many}", s.preposition),
            many.as_str(),
            &s.noun,
        ] {
            if let Some((c, phrase)) = self.vocabulary.find(Group::Background, text) {
                let phrase = if phrase == c.name {
                    c.phrases.first().cloned().unwrap_or_default()
                } else {
                    phrase.to_owned()
                };
                let how = if c.name == s.noun { How::Exact } else { How::Synonym };
                let concept = c.name.clone();
                self.hit(
                    n,
                    Role::Setting,
                    s.span,
                    &full,
                    Group::Background,
                    &concept,
                    &phrase,
                    1.0,
                    how,
                );
                return;
            }
        }
        let head = s.noun.rsplit(' ').next().unwrap_or(&s.noun);
        let near = thesaurus::PLACES
            .iter()
            .find(|(_, words)| words.split_whitespace().any(|w| w.replace('_', " ") == s.noun));
        let near = near.or_else(|| {
            thesaurus::PLACES
                .iter()
                .find(|(_, words)| words.split_whitespace().any(|w| w == head))
        });
        let fallback = near
            .and_then(|(c, _)| self.vocabulary.find(Group::Background, c))
            .map(|(c, _)| (c.name.clone(), c.phrases.first().cloned().unwrap_or_default()));
        self.open.push(Open {
            shot: n,
            role: Role::Setting,
            span: s.span,
            words: full,
            group: Group::Background,
            kinds: None,
            threshold: thresholds::OTHER_GROUPS,
            fallback,
        });
    }

    fn camera(&mut self, n: usize, shot: &Shot) {
        let Some(c) = &shot.camera else { return };
        let words: Vec<&str> = c.phrases.iter().map(|p| p.text.as_str()).collect();
        let span = c.phrases.iter().map(|p| p.span).reduce(Span::to).unwrap_or_default();
        for (i, m) in c.moves.iter().enumerate() {
            let (name, own) = match m {
                CameraMove::Static => ("static camera", true),
                CameraMove::PanLeft => ("the camera pans left", true),
                CameraMove::PanRight => ("the camera pans right", true),
                CameraMove::ZoomIn => ("the camera zooms in", true),
                CameraMove::ZoomOut => ("the camera zooms out", true),
                CameraMove::Follow => ("the camera follows", true),
                CameraMove::TruckLeft => ("the camera pans left", false),
                CameraMove::TruckRight | CameraMove::Pan => ("the camera pans right", false),
                CameraMove::DollyIn => ("the camera zooms in", false),
                CameraMove::DollyOut => ("the camera zooms out", false),
                _ => ("", false),
            };
            self.named(n, Role::Camera(i), span, &words.join(", "), Group::Camera, name, own);
        }
    }

    /// Asks the encoder about everything that is still open, in one batch.
    fn ask<E: SentenceEncoder + ?Sized>(&mut self, encoder: &E) -> Result<(), Error> {
        let open = std::mem::take(&mut self.open);
        let width = self.vocabulary.width();
        let mut texts: Vec<&str> = open.iter().map(|o| o.words.as_str()).collect();
        texts.sort_unstable();
        texts.dedup();
        let vectors = if texts.is_empty() || width == 0 {
            Vec::new()
        } else {
            encoder
                .embed(&texts)
                .map_err(|e| Error::Encoder { source: Box::new(e) })?
        };
        if width > 0 && (vectors.len() != texts.len() || vectors.iter().any(|v| v.len() != width)) {
            return Err(Error::EncoderShape {
                asked: texts.len(),
                got: vectors.len(),
                width,
            });
        }
        for o in &open {
            let vector = texts.binary_search(&o.words.as_str()).ok().and_then(|k| vectors.get(k));
            let fits = |c: &super::vocabulary::Concept| {
                o.kinds
                    .is_none_or(|k| c.kind.as_deref().is_some_and(|c| k.contains(&c)))
            };
            let best = vector
                .and_then(|v| self.vocabulary.nearest(o.group, v, fits))
                .map(|(c, p, s)| {
                    let phrase = if matches!(o.group, Group::Actor | Group::Motion) || c.phrases.iter().any(|x| x == p)
                    {
                        p
                    } else {
                        c.phrases.first().map_or(p, String::as_str)
                    };
                    (c.name.clone(), phrase.to_owned(), s)
                });
            match (best, &o.fallback) {
                (Some((concept, phrase, score)), _) if score >= o.threshold => self.hit(
                    o.shot,
                    o.role,
                    o.span,
                    &o.words,
                    o.group,
                    &concept,
                    &phrase,
                    score,
                    How::Similar,
                ),
                (_, Some((concept, phrase))) => self.hit(
                    o.shot,
                    o.role,
                    o.span,
                    &o.words,
                    o.group,
                    concept,
                    phrase,
                    0.9,
                    How::Related,
                ),
                (best, None) => {
                    let why = match &best {
                        Some((_, phrase, score)) => format!("nothing near enough (nearest: '{phrase}', {score:.2})"),
                        None => "nothing of its kind is known".to_owned(),
                    };
                    self.miss(o.shot, o.span, &o.words, &why, best.map(|b| b.2));
                }
            }
        }
        Ok(())
    }
}

/// The kinds of actors that may stand for a class of nouns; `None` for all, an empty list for none.
fn kinds(class: NounClass) -> Option<&'static [&'static str]> {
    Some(match class {
        NounClass::Person => &["person", "face"],
        NounClass::Animal | NounClass::Bird | NounClass::SeaAnimal => &["land", "air", "sea"],
        NounClass::Plant => &["plant"],
        NounClass::Food => &["food"],
        NounClass::Vehicle => &["vehicle"],
        NounClass::Boat => &["boat"],
        NounClass::Aircraft => &["flyer"],
        NounClass::Sky => &["sky"],
        NounClass::Building => &["static"],
        NounClass::Object | NounClass::Garment => &["object"],
        NounClass::Unknown => return None,
        _ => &[],
    })
}

/// The motion concept of a verb with its direction; the flag says that the model's captions would put it so.
fn motion_concept(m: &Motion) -> Option<(&'static str, bool)> {
    let by_direction = match m.direction {
        Some(Direction::Left) => Some("left"),
        Some(Direction::Right) => Some("right"),
        Some(Direction::Up) => Some("rise"),
        Some(Direction::Down) => Some("fall"),
        Some(Direction::Toward | Direction::Forward) => Some("approach"),
        Some(Direction::Away | Direction::Backward) => Some("recede"),
        Some(Direction::Around) => Some("circle"),
        _ => None,
    };
    let side_to_side = m.manner.iter().any(|x| x.contains("side to side"));
    Some(match m.kind {
        MotionKind::Stay => ("stay", matches!(m.verb.as_str(), "stand" | "rest" | "stay")),
        MotionKind::Travel if side_to_side => ("swing", true),
        MotionKind::Travel => match by_direction {
            Some(d) => (d, true),
            None => ("right", false),
        },
        MotionKind::Rise => ("rise", true),
        MotionKind::Fall => ("fall", true),
        MotionKind::Jump => ("jump", true),
        MotionKind::Bounce => ("bounce", true),
        MotionKind::Spin => ("spin", true),
        MotionKind::Swing if m.verb == "wave" || m.verb == "dance" || m.verb == "nod" => ("swing", false),
        MotionKind::Swing => ("swing", true),
        MotionKind::Circle => ("circle", true),
        MotionKind::Approach => ("approach", true),
        MotionKind::Recede => ("recede", true),
        MotionKind::Float => match by_direction {
            Some(d @ ("left" | "right" | "rise" | "fall" | "recede")) => (d, true),
            _ => ("float", true),
        },
        MotionKind::Zigzag => ("zigzag", true),
        MotionKind::Shake => ("shake", true),
        MotionKind::Chase | MotionKind::Act | MotionKind::Unknown => return None,
    })
}

/// "move/walk/run from left to right" with the user's verb where the captions know it.
fn travel_phrase(phrase: &str, verb: &str) -> String {
    let (verbs, rest) = phrase.split_once(' ').unwrap_or((phrase, ""));
    let known = verbs
        .split('/')
        .find(|v| *v == verb)
        .or_else(|| travel_like(verb).and_then(|l| verbs.split('/').find(|v| *v == l)));
    format!("{} {rest}", known.or(verbs.split('/').next()).unwrap_or(verb))
        .trim()
        .to_owned()
}

/// The plain verb of a travelling one: "gallop" is run.
fn travel_like(verb: &str) -> Option<&'static str> {
    const PLAIN: &[(&str, &str)] = &[
        (
            "run",
            "gallop trot sprint jog dash race scurry scamper hurry rush charge bolt flee",
        ),
        (
            "walk",
            "stroll wander roam march hike stagger limp prowl pace tiptoe waddle trudge wade saunter amble strut stride sneak creep crawl",
        ),
        ("drive", "speed cruise ride cycle pedal taxi steer trundle chug"),
        ("fly", "glide soar zoom hurtle streak"),
        ("swim", "paddle"),
        ("sail", "row navigate"),
    ];
    PLAIN
        .iter()
        .find(|(_, list)| list.split(' ').any(|v| v == verb))
        .map(|p| p.0)
}
