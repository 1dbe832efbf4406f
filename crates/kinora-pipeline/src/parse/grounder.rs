//! The parts of a shot, one by one: tables first, then the questions for the sentence encoder in one batch.

use super::error::Error;
use super::ground::{Grounding, How, Match, Role, SentenceEncoder, Unknown, thresholds};
use super::lexicon::{MotionKind, NounClass, thesaurus};
use super::morphology;
use super::motion_concepts::{follows_a_way, motion_concept, travel_phrase};
use super::scene::{AttributeKind, CameraMove, Count, Motion, Shot, Subject, TimeKind, WeatherKind};
use super::token::Span;
use super::vocabulary::{Group, Vocabulary};

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

pub(super) struct Grounder<'a> {
    vocabulary: &'a Vocabulary,
    pub out: Grounding,
    open: Vec<Open>,
}

impl<'a> Grounder<'a> {
    /// Nothing is grounded yet.
    pub fn new(vocabulary: &'a Vocabulary) -> Self {
        Self {
            vocabulary,
            out: Grounding::default(),
            open: Vec::new(),
        }
    }

    /// Grounds all parts of a shot.
    pub fn shot(&mut self, n: usize, shot: &Shot) {
        for (i, s) in shot.subjects.iter().enumerate() {
            self.subject(n, i, s);
            self.size(n, i, s);
            if let Some(m) = &s.motion {
                let chases = m.kind == MotionKind::Chase;
                if !chases && follows_a_way(m, shot.setting.as_ref()) {
                    let direction = None;
                    self.motion(n, i, &Motion { direction, ..m.clone() });
                } else if !chases {
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
        // What the place's own words say is no weather: mountains are snowy under a clear sky too.
        let place = self
            .out
            .of(n, Role::Setting)
            .map_or_else(String::new, |m| m.phrase.clone());
        for (i, w) in shot.weather.iter().enumerate() {
            if place.split(' ').any(|word| word == w.text) {
                continue;
            }
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
        if how.is_instead() {
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

    /// Records that the thesaurus put a concept, by one of its phrases, in the place of a subject.
    fn related(&mut self, n: usize, role: Role, s: &Subject, (concept, phrase): (&str, &str)) {
        self.hit(
            n,
            role,
            s.span,
            &s.noun,
            Group::Actor,
            concept,
            phrase,
            0.9,
            How::Related,
        );
    }

    fn subject(&mut self, n: usize, i: usize, s: &Subject) {
        let role = Role::Subject(i);
        let mut tries = with_attributes(s);
        tries.push(s.noun.clone());
        for text in &tries {
            if let Some((concept, phrase)) = self.near(text).filter(|_| text != &s.noun) {
                self.related(n, role, s, (&concept, &phrase));
                return;
            }
            if let Some((c, phrase)) = self.vocabulary.find(Group::Actor, text) {
                let (concept, phrase) = (c.name.clone(), phrase.to_owned());
                let how = match () {
                    () if s.count != Count::One => How::Inflection,
                    () if concept.eq_ignore_ascii_case(text) => How::Exact,
                    () => How::Synonym,
                };
                self.hit(n, role, s.span, &s.noun, Group::Actor, &concept, &phrase, 1.0, how);
                return;
            }
        }
        if let Some((concept, phrase)) = self.near(&s.noun) {
            self.related(n, role, s, (&concept, &phrase));
            return;
        }
        let kinds = kinds(s.class);
        if kinds.is_some_and(<[_]>::is_empty) {
            self.miss(
                n,
                s.span,
                &s.noun,
                "the model has no picture of this kind of thing",
                None,
            );
            return;
        }
        // "sports car" is a car at least; a neighbour must be near to know better.
        let words: Vec<&str> = s.noun.split(' ').collect();
        let fallback = (1..words.len()).map(|k| words[k..].join(" ")).find_map(|tail| {
            let found = self
                .vocabulary
                .find(Group::Actor, &tail)
                .map(|(c, p)| (c.name.clone(), p.to_owned()));
            found.or_else(|| self.near(&tail))
        });
        let living = matches!(
            s.class,
            NounClass::Person | NounClass::Animal | NounClass::Bird | NounClass::SeaAnimal
        );
        let moving = matches!(s.class, NounClass::Vehicle | NounClass::Boat | NounClass::Aircraft);
        let threshold = match () {
            () if fallback.is_some() => thresholds::BEATS_HEAD,
            () if kinds.is_none() => thresholds::ANY_KIND,
            () if living || moving => thresholds::SAME_KIND,
            () => thresholds::SAME_KIND_OF_THING,
        };
        self.open.push(Open {
            shot: n,
            role,
            span: s.span,
            words: s.noun.clone(),
            group: Group::Actor,
            kinds,
            threshold,
            fallback,
        });
    }

    /// The first word of a thesaurus entry that the model knows.
    fn near(&self, text: &str) -> Option<(String, String)> {
        let entry = thesaurus::NEAR.iter().find(|(w, _)| *w == text)?;
        entry
            .1
            .iter()
            .find_map(|c| self.vocabulary.find(Group::Actor, c))
            .map(|(c, p)| (c.name.clone(), p.to_owned()))
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
        let how = if concept == m.verb {
            How::Exact
        } else if own {
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
        let coloured = s
            .attributes
            .iter()
            .find(|a| a.kind == AttributeKind::Colour)
            .map(|a| full.replace(&a.text, "{c}"))
            .unwrap_or_default();
        for text in [
            coloured.as_str(),
            beneath_water(&s.preposition, &s.noun),
            &format!("{} {many}", s.preposition),
            full.as_str(),
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
    pub fn ask<E: SentenceEncoder + ?Sized>(&mut self, encoder: &E) -> Result<(), Error> {
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

/// The place under the surface, which the noun alone would put above it; empty for other places.
fn beneath_water(preposition: &str, noun: &str) -> &'static str {
    let under = matches!(
        preposition,
        "under" | "beneath" | "below" | "underneath" | "at the bottom of"
    );
    let water = matches!(noun, "water" | "sea" | "ocean" | "surface" | "wave" | "waves");
    if under && water { "under water" } else { "" }
}

/// The noun with its adjectives, longest first: "old man", "red apple".
fn with_attributes(s: &Subject) -> Vec<String> {
    let parts = s
        .attributes
        .iter()
        .filter(|a| !matches!(a.kind, AttributeKind::Wearing | AttributeKind::With | AttributeKind::Of));
    let words: Vec<&str> = parts.map(|a| a.text.as_str()).collect();
    let tails = (0..words.len()).map(|k| format!("{} {}", words[k..].join(" "), s.noun));
    tails.chain(words.iter().map(|a| format!("{a} {}", s.noun))).collect()
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
