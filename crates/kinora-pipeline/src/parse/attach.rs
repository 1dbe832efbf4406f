//! What a prepositional phrase, an object or a particle means for the clause that it belongs to.

use super::chunk::Np;
use super::clause::{Clause, Last};
use super::lexicon::{AttributeKind, MotionKind, NounClass};
use super::negation;
use super::scene::{Attribute, Count, Direction, Motion, Phrase, Setting};
use super::token::Span;

/// The direction of a particle.
pub(super) fn particle_direction(text: &str) -> Option<Direction> {
    Some(match text {
        "up" | "upwards" | "upward" => Direction::Up,
        "down" | "downwards" | "downward" => Direction::Down,
        "left" | "leftwards" | "leftward" => Direction::Left,
        "right" | "rightwards" | "rightward" => Direction::Right,
        "away" | "off" => Direction::Away,
        "closer" => Direction::Toward,
        "back" | "backwards" | "backward" => Direction::Backward,
        "forward" | "forwards" | "ahead" | "onwards" | "onward" | "straight" => Direction::Forward,
        "around" | "round" => Direction::Around,
        "across" => Direction::Across,
        "through" => Direction::Through,
        "along" => Direction::Along,
        "over" => Direction::Over,
        "past" | "by" => Direction::Past,
        "out" => Direction::OutOf,
        _ => return None,
    })
}

/// Adds a particle to a motion; a few change what the motion is.
pub(super) fn apply_particle(m: &mut Motion, text: &str, direction: Option<Direction>) {
    match (m.verb.as_str(), text) {
        ("take", "off") => {
            m.kind = MotionKind::Rise;
            m.verb = "take off".into();
            return;
        }
        ("stand" | "get" | "sit" | "lie" | "kneel" | "settle" | "curl", "up" | "down") => {
            m.verb = format!("{} {text}", m.verb);
            return;
        }
        ("come" | "get", "closer") => m.kind = MotionKind::Approach,
        ("wake" | "light" | "grow" | "look" | "glow" | "blow" | "burn" | "break", _) => {
            m.verb = format!("{} {text}", m.verb);
            return;
        }
        ("jump" | "bounce" | "hop" | "bob", "up") => return,
        _ => {}
    }
    if m.direction.is_none() {
        m.direction = direction;
        if direction.is_none() {
            m.manner.push(text.to_owned());
        }
    }
}

/// The direction that a preposition gives to a moving verb.
fn preposition_direction(prep: &str) -> Option<Direction> {
    Some(match prep {
        "across" | "throughout" => Direction::Across,
        "through" => Direction::Through,
        "along" | "alongside" => Direction::Along,
        "over" | "above" => Direction::Over,
        "into" | "onto" => Direction::Into,
        "out of" | "off" => Direction::OutOf,
        "down" | "down to" => Direction::Down,
        "up" | "up to" => Direction::Up,
        "past" | "by" => Direction::Past,
        "around" | "round" => Direction::Around,
        "to" | "towards" | "toward" => Direction::To,
        "from" => Direction::From,
        "away from" => Direction::Away,
        "under" | "underneath" | "beneath" => Direction::Under,
        _ => return None,
    })
}

impl Clause<'_> {
    /// A prepositional phrase.
    pub(super) fn phrase(&mut self, prep: &str, span: Span, mut np: Np) {
        np.span = np.span.to(span);
        if let Some(verb) = self.state_verb.take() {
            self.state(&verb, prep, np);
            return;
        }
        if self.passive && prep == "by" {
            self.agent(np);
            return;
        }
        if self.direction_phrase(prep, &np) || self.circumstance(prep, &np) {
            self.verb_open = false;
            return;
        }
        let locative = !matches!(
            prep,
            "of" | "with"
                | "like"
                | "for"
                | "about"
                | "as"
                | "than"
                | "per"
                | "except"
                | "despite"
                | "instead of"
                | "such as"
                | "made of"
                | "made out of"
                | "made from"
        );
        if prep == "full of" {
            self.describe(Attribute {
                kind: AttributeKind::With,
                text: format!("full of {}", np.text()),
            });
        } else if prep == "of" {
            self.of(np);
        } else if prep.starts_with("made ") {
            self.describe(Attribute {
                kind: AttributeKind::Of,
                text: format!("made of {}", np.text()),
            });
        } else if locative && self.is_place(prep, &np) {
            self.direction_by(prep);
            self.place(prep, np);
        } else if self.belongs(prep, &np) {
            let kind = if np.class == NounClass::Garment {
                AttributeKind::Wearing
            } else {
                AttributeKind::With
            };
            self.describe(Attribute { kind, text: np.text() });
        } else if matches!(prep, "like" | "as" | "for" | "about" | "than" | "per" | "despite")
            || np.class == NounClass::Abstract
        {
            self.comparison(prep, &np);
        } else if prep == "with"
            && self.last == Last::Setting
            && (scenic(np.class) || self.subj.is_empty() && inanimate(np.class))
        {
            self.detail(prep, &np);
        } else {
            let kind = self.motion_kind();
            let moving = kind.is_some_and(|k| !matches!(k, MotionKind::Stay | MotionKind::Act));
            if moving {
                self.direction_by(prep);
            }
            let fresh = self.subj.is_empty() && self.actors.is_empty();
            let index = self.subject(np);
            self.relate_phrase(prep, index);
            if fresh && prep == "with" {
                self.subj = vec![index];
            }
            self.last = Last::InPhrase(index);
        }
        self.verb_open = false;
    }

    /// "in a red coat", "with long hair", "with a hat": part of the one spoken of.
    fn belongs(&self, prep: &str, np: &Np) -> bool {
        let someone = matches!(self.last, Last::Subject(_) | Last::InPhrase(_) | Last::Verb)
            && !(self.subj.is_empty() && self.actors.is_empty());
        let worn = matches!(prep, "in" | "with") && np.class == NounClass::Garment;
        let part = np.class == NounClass::BodyPart && (prep == "with" || (prep == "on" && np.possessed));
        let own = prep == "with" && np.possessed && np.class != NounClass::Person && np.class != NounClass::Animal;
        someone && (worn || part || own)
    }

    /// Is this noun phrase a place to be in, after this preposition?
    fn is_place(&self, prep: &str, np: &Np) -> bool {
        let inside = matches!(
            prep,
            "in" | "at" | "inside" | "within" | "through" | "across" | "into" | "throughout"
        );
        let near = matches!(
            prep,
            "on" | "near"
                | "next to"
                | "beside"
                | "in front of"
                | "behind"
                | "outside"
                | "by"
                | "at the foot of"
                | "at the edge of"
                | "on the edge of"
                | "on the side of"
                | "by the side of"
                | "on top of"
                | "close to"
                | "around"
                | "under"
                | "along"
                | "towards"
                | "over"
                | "past"
                | "from"
                | "out of"
        );
        let free = self.shot.setting.is_none();
        match np.class {
            NounClass::Place | NounClass::Room | NounClass::Backdrop => true,
            NounClass::Building => {
                inside
                    || (near
                        && free
                        && !matches!(prep, "past" | "towards" | "around")
                        && !(prep == "over" && self.motion_kind() == Some(MotionKind::Jump)))
            }
            NounClass::Unknown if np.proper => inside || near,
            NounClass::Unknown => {
                matches!(prep, "in" | "at" | "inside" | "within" | "across" | "throughout")
                    && free
                    && np.count == Count::One
                    && !self.of_thing(np)
            }
            NounClass::Plant => np.plural() && matches!(prep, "among" | "amongst" | "amid" | "through") && free,
            NounClass::Sky if prep == "on" => np.count == Count::One,
            NounClass::Sky => {
                np.plural() && matches!(prep, "among" | "amongst" | "between" | "above" | "through" | "over") && free
            }
            _ => false,
        }
    }

    /// An unknown noun with a colour or a material is a thing, not a place: "in a red zorblax".
    fn of_thing(&self, np: &Np) -> bool {
        let made = |k: AttributeKind| matches!(k, AttributeKind::Colour | AttributeKind::Material);
        np.indefinite && np.attributes.iter().any(|a| made(a.kind))
    }

    /// Left, right, viewer, distance, circles.
    fn direction_phrase(&mut self, prep: &str, np: &Np) -> bool {
        let noun = np.noun.as_str();
        if np.class == NounClass::Viewer {
            self.viewer_phrase(prep);
            return true;
        }
        if noun == "circle" || noun == "zigzag" || noun == "spiral" || (noun == "loop" && prep == "in") {
            let kind = if noun == "zigzag" {
                MotionKind::Zigzag
            } else {
                MotionKind::Circle
            };
            let manner = format!(
                "{prep} {}",
                if np.plural() {
                    format!("{noun}s")
                } else {
                    format!("a {noun}")
                }
            );
            return self.with_motion(|m| {
                m.kind = kind;
                m.manner.push(manner.clone());
            });
        }
        if noun == "background" && np.attributes.is_empty() && prep == "in" {
            self.far_or_near(prep, noun);
            return true;
        }
        if np.class != NounClass::Direction {
            return false;
        }
        let side = match noun {
            "left" | "left side" => Some(Direction::Left),
            "right" | "right side" => Some(Direction::Right),
            "side" if np.attributes.iter().any(|a| a.text == "left") => Some(Direction::Left),
            "side" if np.attributes.iter().any(|a| a.text == "right") => Some(Direction::Right),
            _ => None,
        };
        match (prep, side) {
            ("from", Some(d)) => self.from_side = Some(d),
            ("to" | "towards" | "toward", Some(d)) => {
                let moved = self.with_motion(|m| m.direction = Some(d));
                if !moved {
                    self.describe(Attribute {
                        kind: AttributeKind::Other,
                        text: format!("{prep} the {noun}"),
                    });
                }
            }
            ("on" | "at" | "in", Some(_)) => self.describe(Attribute {
                kind: AttributeKind::Other,
                text: format!("{prep} the {noun}"),
            }),
            _ => self.far_or_near(prep, noun),
        }
        if prep == "from" && noun == "side" {
            self.with_motion(|m| m.manner.push("from side to side".into()));
        }
        true
    }

    fn far_or_near(&mut self, prep: &str, noun: &str) {
        let away = matches!(noun, "distance" | "horizon") && matches!(prep, "into" | "to" | "towards" | "toward");
        let round = noun == "corner" && matches!(prep, "around" | "round");
        if away || round {
            self.with_motion(|m| m.direction = Some(if away { Direction::Away } else { Direction::Around }));
        } else if prep == "at" && noun == "horizon" {
            self.with_motion(|m| m.manner.push("at the horizon".into()));
        } else if matches!(
            noun,
            "distance" | "horizon" | "foreground" | "background" | "front" | "centre" | "center" | "middle" | "corner"
        ) && !(prep == "to" || prep == "from")
        {
            self.describe(Attribute {
                kind: AttributeKind::Other,
                text: format!("{prep} the {noun}"),
            });
        }
    }

    /// "towards us", "away from the camera", "at the camera".
    pub(super) fn viewer_phrase(&mut self, prep: &str) {
        let moving = self
            .motion_kind()
            .is_some_and(|k| !matches!(k, MotionKind::Stay | MotionKind::Act | MotionKind::Swing));
        let direction = match prep {
            "to" | "towards" | "toward" | "at" | "into" | "up to" => Direction::Toward,
            "away from" | "from" => Direction::Away,
            "past" | "by" => Direction::Past,
            _ => Direction::Toward,
        };
        self.with_motion(|m| {
            if moving {
                m.direction = Some(direction);
            } else {
                m.manner.push(format!("{prep} the camera"));
            }
        });
    }

    fn direction_by(&mut self, prep: &str) {
        let moving = self
            .motion_kind()
            .is_some_and(|k| !matches!(k, MotionKind::Stay | MotionKind::Act | MotionKind::Unknown));
        let direct = preposition_direction(prep).filter(|_| {
            moving
                && matches!(
                    self.last,
                    Last::Verb | Last::Setting | Last::InPhrase(_) | Last::Subject(_)
                )
        });
        if direct.is_some() {
            self.with_motion(|m| {
                if m.direction.is_none() {
                    m.direction = direct;
                }
            });
        }
    }

    /// Sets the place, or adds to it.
    pub(super) fn place(&mut self, prep: &str, np: Np) {
        self.place_facts(&np.attributes, np.span);
        self.last = Last::Setting;
        self.verb_open = false;
        if self
            .shot
            .setting
            .as_ref()
            .is_some_and(|s| s.noun == np.noun || s.noun == "sky" && np.class != NounClass::Place)
        {
            if let Some(s) = self.shot.setting.as_mut().filter(|s| s.noun == np.noun) {
                s.attributes.extend(np.attributes);
            }
            return;
        }
        if self.shot.setting.is_some() {
            self.detail(prep, &np);
            return;
        }
        let plural = np.plural();
        self.shot.setting = Some(Setting {
            noun: np.noun,
            attributes: np.attributes,
            preposition: prep.to_owned(),
            details: Vec::new(),
            plural,
            span: np.span,
        });
    }

    fn detail(&mut self, prep: &str, np: &Np) {
        let text = format!("{prep} {}", np.text()).trim().to_owned();
        self.last = Last::Setting;
        if let Some(s) = self.shot.setting.as_mut().filter(|s| !s.details.contains(&text)) {
            s.details.push(text);
        }
    }

    /// Weather, time, season and emptiness that adjectives of a place imply.
    pub(super) fn place_facts(&mut self, attributes: &[Attribute], span: Span) {
        for a in attributes {
            self.adjective_fact(&a.text, span);
            self.shot.negations.extend(negation::implied(&a.text, span));
        }
    }

    /// "a field of sunflowers", "a statue of a lion".
    fn of(&mut self, np: Np) {
        match self.last {
            Last::Setting => {
                if let Some(s) = self.shot.setting.as_mut() {
                    s.details.push(format!("of {}", np.text()));
                }
            }
            Last::Subject(_) | Last::InPhrase(_) => self.describe(Attribute {
                kind: AttributeKind::Of,
                text: format!("of {}", np.text()),
            }),
            _ => {
                let i = self.subject(np);
                self.subj = vec![i];
                self.last = Last::Subject(i);
            }
        }
    }

    fn comparison(&mut self, prep: &str, np: &Np) {
        let text = format!("{prep} {}", np.text());
        if self.actors.is_empty() || !self.with_motion(|m| m.manner.push(text.clone())) {
            self.shot.rest.push(Phrase {
                text: format!("{prep} {}", np.text()),
                span: np.span,
            });
        }
    }

    /// "is chased by a cat": the cat chases.
    fn agent(&mut self, np: Np) {
        let scenery = matches!(
            np.class,
            NounClass::Place | NounClass::Room | NounClass::Weather | NounClass::Light
        );
        if scenery {
            self.place("by", np);
            return;
        }
        let index = self.subject(np);
        let patients = self.actors.clone();
        for p in patients {
            if let Some(m) = self.motions[p].pop() {
                self.relate(index, &m.verb, p);
                if self.motions[index].last() != Some(&m) {
                    self.motions[index].push(m);
                }
            }
        }
        self.actors = vec![index];
        self.passive = false;
        self.last = Last::InPhrase(index);
    }

    /// "covered in snow", "made of glass", "lit by candles", "dressed in white".
    fn state(&mut self, verb: &str, prep: &str, np: Np) {
        self.circumstance(prep, &np);
        let kind = match verb {
            "dressed" => AttributeKind::Wearing,
            "made" | "built" | "carved" => AttributeKind::Of,
            _ => AttributeKind::With,
        };
        let text = format!("{verb} {prep} {}", np.text());
        if verb == "set" || verb == "framed" {
            if np.class == NounClass::Place || np.class == NounClass::Room {
                self.place(prep, np);
            }
            return;
        }
        self.describe(Attribute { kind, text });
        if self.last == Last::Setting && matches!(np.class, NounClass::Weather) {
            self.adjective_fact(&np.noun, np.span);
        }
    }

    /// The object of the latest verb.
    pub(super) fn object(&mut self, np: Np) {
        let verb = self.motion_verb().unwrap_or_default();
        let kind = self.motion_kind();
        self.verb_open = false;
        if matches!(verb.as_str(), "wear" | "have") {
            self.drop_motion();
            self.worn = verb == "wear";
            let kind = if verb == "wear" || np.class == NounClass::Garment {
                AttributeKind::Wearing
            } else {
                AttributeKind::With
            };
            let owner = self.actors.first().copied();
            if let Some(i) = owner {
                self.last = Last::Subject(i);
            }
            self.describe(Attribute { kind, text: np.text() });
            return;
        }
        if np.class == NounClass::Viewer {
            self.viewer_phrase("towards");
            return;
        }
        let travels =
            matches!(kind, Some(MotionKind::Travel | MotionKind::Circle | MotionKind::Rise)) && verb != "ride";
        let building = np.class == NounClass::Building && self.shot.setting.is_none() && verb != "climb";
        if travels && (building || matches!(np.class, NounClass::Place | NounClass::Room)) {
            if verb == "cross" {
                self.with_motion(|m| m.direction = Some(Direction::Across));
            }
            self.place("", np);
            return;
        }
        let makes = matches!(
            verb.as_str(),
            "paint"
                | "draw"
                | "build"
                | "make"
                | "create"
                | "carve"
                | "photograph"
                | "ride"
                | "attack"
                | "play"
                | "destroy"
        );
        if matches!(np.class, NounClass::Place | NounClass::Room) && !makes {
            self.place("", np);
            return;
        }
        let inner = matches!(
            np.class,
            NounClass::BodyPart | NounClass::Abstract | NounClass::Direction | NounClass::Time | NounClass::MoodHead
        ) || (np.possessed && np.class == NounClass::Garment);
        if inner {
            let text = np.text();
            self.with_motion(|m| m.object = Some(text.clone()));
            return;
        }
        let index = self.subject(np);
        for a in self.actors.clone() {
            self.relate(a, &verb, index);
        }
        if self.actors.is_empty() {
            let text = self.shot.subjects[index].noun.clone();
            self.with_motion(|m| m.object = Some(text.clone()));
        }
        self.last = Last::Subject(index);
    }

    fn drop_motion(&mut self) {
        for &a in &self.actors {
            self.motions[a].pop();
        }
    }

    /// Relates the one spoken of to a subject in a prepositional phrase.
    pub(super) fn relate_phrase(&mut self, prep: &str, to: usize) {
        // "juggles oranges on a unicycle": the one who acts rides, not what is held.
        let rides = matches!(prep, "on" | "in")
            && matches!(
                self.shot.subjects[to].class,
                NounClass::Vehicle | NounClass::Boat | NounClass::Aircraft
            )
            && !self.actors.is_empty();
        let from = match self.last {
            Last::Subject(i) | Last::InPhrase(i) if i != to && !rides => Some(i),
            _ => self.actors.first().or(self.subj.first()).copied(),
        };
        if let Some(from) = from {
            self.relate(from, prep, to);
        }
    }
}

/// Things that fill a place rather than act in it.
fn inanimate(class: NounClass) -> bool {
    matches!(
        class,
        NounClass::Plant
            | NounClass::Building
            | NounClass::Place
            | NounClass::Object
            | NounClass::Sky
            | NounClass::Light
            | NounClass::Substance
            | NounClass::Unknown
            | NounClass::Food
            | NounClass::Room
    )
}

/// What a place has rather than the one who is there: "on a beach with palm trees".
fn scenic(class: NounClass) -> bool {
    matches!(
        class,
        NounClass::Plant | NounClass::Sky | NounClass::Building | NounClass::Place
    )
}
