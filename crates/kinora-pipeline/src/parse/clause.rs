//! From chunks to subjects and motions: a single left-to-right pass that knows whose verb it is.
//!
//! The state is small: the subjects of the current clause, the owner of the latest verb, and what was mentioned last.
//! `attach` decides what a prepositional phrase or an object means; `circumstance` takes times, weather, light and style.

use super::chunk::{Item, Np, Vg};
use super::lexicon::verbs::Form;
use super::lexicon::{AttributeKind, INDEX, MotionKind, NounClass};
use super::negation;
use super::scene::{Attribute, Direction, Motion, Phrase, Relation, Shot, Subject};
use super::token::Span;

/// What was mentioned last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    Nothing,
    /// A subject or an object.
    Subject(usize),
    /// A subject that hangs on a preposition.
    InPhrase(usize),
    Setting,
    Verb,
}

/// The state of the pass.
pub(super) struct Clause<'a> {
    pub shot: &'a mut Shot,
    /// Subjects that a pronoun may mean when this shot has none yet.
    pub before: Option<&'a Shot>,
    /// Motions of each subject, in order.
    pub motions: Vec<Vec<Motion>>,
    /// Subjects of the current clause.
    pub subj: Vec<usize>,
    /// Owners of the latest verb.
    pub actors: Vec<usize>,
    pub last: Last,
    /// A finite verb was seen in this clause.
    pub has_verb: bool,
    /// A verb waits for its object.
    pub verb_open: bool,
    pub passive: bool,
    /// The verb of a state ("covered in", "surrounded by").
    pub state_verb: Option<String>,
    pub copula: bool,
    pub relative: bool,
    pub prep: Option<(String, Span)>,
    last_prep: Option<String>,
    pub conj: bool,
    pub comma: bool,
    pub boundary: bool,
    pub neg: Option<Span>,
    /// A verb that comes before its subject ("running through the woods, a deer …").
    pub pending: Vec<Motion>,
    pub manner: Vec<String>,
    pub medium: bool,
    pub ghost: bool,
    /// The latest verb was "wear": more garments may follow in a list.
    pub worn: bool,
    pub from_side: Option<Direction>,
}

/// Reads the items of one sentence into `shot`.
pub(super) fn read(items: &[Item], shot: &mut Shot, before: Option<&Shot>) {
    let mut c = Clause {
        motions: vec![Vec::new(); shot.subjects.len()],
        shot,
        before,
        subj: Vec::new(),
        actors: Vec::new(),
        last: Last::Nothing,
        has_verb: false,
        verb_open: false,
        passive: false,
        state_verb: None,
        copula: false,
        relative: false,
        prep: None,
        last_prep: None,
        conj: false,
        comma: false,
        boundary: true,
        neg: None,
        pending: Vec::new(),
        manner: Vec::new(),
        medium: false,
        ghost: false,
        worn: false,
        from_side: None,
    };
    for (i, item) in items.iter().enumerate() {
        c.item(item, &items[i + 1..]);
    }
    c.close();
}

/// Does a finite verb follow the phrase directly (adverbs and a relative clause aside)?
pub(super) fn verb_follows(rest: &[Item]) -> bool {
    match rest.iter().find(|i| !matches!(i, Item::Adv(..))) {
        Some(Item::Verb(v)) => {
            v.finite
                && !(v.form == Form::Participle
                    && reduced(v, rest.iter().skip_while(|i| !matches!(i, Item::Verb(_))).nth(1)))
        }
        Some(Item::Rel) => {
            rest.iter()
                .skip(1)
                .filter(|i| matches!(i, Item::Verb(v) if v.finite))
                .count()
                > 1
        }
        _ => false,
    }
}

/// After a comma: do more list members and an "and" follow before any verb?
fn list_goes_on(rest: &[Item]) -> bool {
    let stop = rest.iter().take(24).find(|i| !matches!(i, Item::Np(_) | Item::Comma));
    matches!(stop, Some(Item::Conj)) && matches!(rest.first(), Some(Item::Comma | Item::Conj))
}

/// A participle that describes ("covered in snow") and is no past tense.
pub(super) fn reduced(v: &Vg, next: Option<&Item>) -> bool {
    let Some(Item::Prep(prep, _)) = next else { return false };
    let kind = INDEX.verbs.get(v.lemma.as_str());
    let act = kind.is_none_or(|k| *k == MotionKind::Act);
    let describes = act && matches!(prep.as_str(), "in" | "with" | "of" | "from" | "for" | "on");
    v.form == Form::Participle && (describes || prep == "by")
}

impl Clause<'_> {
    fn item(&mut self, item: &Item, rest: &[Item]) {
        if !matches!(item, Item::Np(_) | Item::Conj | Item::Comma | Item::Adv(..)) && !matches!(item, Item::Prep(..)) {
            self.neg = self.neg.filter(|_| matches!(item, Item::Neg(..)));
        }
        match item {
            Item::Np(np) => self.np(np.clone(), rest),
            Item::Verb(v) => self.verb(v, rest),
            Item::Prep(p, span) => self.prep = Some((p.clone(), *span)),
            Item::Part(p) => self.particle(p),
            Item::Adv(a, span) => self.adverb(a, *span, rest),
            Item::Adj(list, span) => self.adjectives(list, *span, rest),
            Item::Pron(p) => self.pronoun(p, rest),
            Item::Neg(word, span) => self.negator(word, *span),
            Item::Sub => self.break_clause(),
            Item::Rel => self.relative = true,
            Item::Conj => self.conj = true,
            Item::Comma => {
                self.comma = true;
                self.ghost = false;
                self.conj = false;
                self.verb_open = false;
                self.drop_prep();
            }
            Item::Break => self.break_clause(),
            Item::Symbol(s, span) => self.shot.rest.push(Phrase {
                text: s.clone(),
                span: *span,
            }),
        }
    }

    fn break_clause(&mut self) {
        self.drop_prep();
        self.boundary = true;
        self.has_verb = false;
        self.verb_open = false;
        self.conj = false;
        self.comma = false;
        self.passive = false;
        self.state_verb = None;
        self.copula = false;
        self.ghost = false;
        self.last_prep = None;
        self.neg = None;
    }

    /// A preposition without a phrase is a particle of the verb.
    fn drop_prep(&mut self) {
        if let Some((p, _)) = self.prep.take().filter(|_| self.last == Last::Verb) {
            self.particle(&p);
        }
    }

    fn negator(&mut self, word: &str, span: Span) {
        if matches!(word, "nobody" | "none" | "no-one") {
            self.shot.negations.push(negation::of("person", span));
        } else if word == "nothing" {
            self.shot.negations.push(negation::of("anything", span));
        }
        self.neg = Some(span);
        self.comma = false;
    }

    fn np(&mut self, np: Np, rest: &[Item]) {
        let np = self.possession(np);
        // "no text, a penguin": a phrase with an article ends the list of unwanted things.
        if self.comma && (np.indefinite || !list_goes_on(rest)) {
            self.neg = None;
        }
        if let Some(span) = self.neg {
            self.prep = None;
            self.shot.negations.push(negation::of(&np.text(), span.to(np.span)));
            return;
        }
        let (conj, comma) = (std::mem::take(&mut self.conj), std::mem::take(&mut self.comma));
        let starts_clause = verb_follows(rest);
        let repeat =
            conj && !starts_clause && matches!(self.last, Last::InPhrase(_) | Last::Setting) && self.prep.is_none();
        if let Some(p) = self.last_prep.clone().filter(|_| repeat) {
            self.prep = Some((p, np.span));
        }
        if let Some((p, span)) = self.prep.take() {
            if self.medium && matches!(p.as_str(), "of" | "with" | "on" | "about" | "from") && self.subj.is_empty() {
                self.medium = false;
            } else {
                self.last_prep = Some(p.clone());
                self.phrase(&p, span, np);
                return;
            }
        }
        self.last_prep = None;
        if self.sun_moves(&np, rest) || self.circumstance("", &np) {
            self.ghost = starts_clause;
            self.verb_open = false;
            return;
        }
        if np.class == NounClass::Medium {
            self.loose(&np.attributes, np.span);
            self.medium = true;
            self.last = Last::Nothing;
            return;
        }
        if self.copula && !self.comma {
            self.copula = false;
            self.describe_all(&[Attribute {
                kind: AttributeKind::Other,
                text: np.text(),
            }]);
            return;
        }
        if self.verb_open && !comma && (!conj || !starts_clause) {
            self.object(np);
            return;
        }
        if self.worn && (conj || comma) && !starts_clause && np.class == NounClass::Garment {
            self.describe(Attribute {
                kind: AttributeKind::Wearing,
                text: np.text(),
            });
            return;
        }
        if (conj || comma && list_goes_on(rest))
            && !starts_clause
            && self.has_verb
            && matches!(self.last, Last::Subject(i) if !self.subj.contains(&i))
        {
            self.object(np);
            return;
        }
        let scenery = matches!(np.class, NounClass::Place | NounClass::Room | NounClass::Backdrop);
        if scenery && !starts_clause && !self.participle_acts(rest) {
            self.place("", np);
            return;
        }
        // "her coat flapping", "ears flapping": part of the one spoken of.
        let part = np.possessed && matches!(np.class, NounClass::BodyPart | NounClass::Garment);
        let bare_part = comma && np.class == NounClass::BodyPart && !np.definite && !np.indefinite;
        if (part || bare_part) && !self.subj.is_empty() {
            self.last = self.subj.first().map_or(self.last, |i| Last::Subject(*i));
            self.describe(Attribute {
                kind: AttributeKind::With,
                text: np.text(),
            });
            self.ghost = true;
            return;
        }
        let listed = conj || (comma && list_goes_on(rest));
        let joins = listed && !self.has_verb && !self.boundary && matches!(self.last, Last::Subject(_));
        if let Some(a) = np.attributes.iter().find(|a| a.kind == AttributeKind::Season) {
            self.season(&a.text.clone(), np.span);
        }
        let index = self.subject(np);
        if !joins {
            self.subj.clear();
        }
        if !self.subj.contains(&index) {
            self.subj.push(index);
        }
        self.begin(index);
    }

    /// The clause's subject is known: the waiting participle belongs to it.
    fn begin(&mut self, index: usize) {
        self.last = Last::Subject(index);
        self.actors.clear();
        self.has_verb = false;
        self.boundary = false;
        self.ghost = false;
        self.relative = false;
        for m in std::mem::take(&mut self.pending) {
            self.motions[index].push(m);
        }
    }

    /// "a dog's tail" speaks of the dog; "grandma's house" is a house.
    fn possession(&mut self, mut np: Np) -> Np {
        let Some(owner) = np.owner.take() else { return np };
        if matches!(np.class, NounClass::BodyPart | NounClass::Garment) {
            let mut whole = *owner;
            whole.attributes.push(Attribute {
                kind: AttributeKind::With,
                text: np.text(),
            });
            whole.span = np.span;
            return whole;
        }
        np.attributes.splice(0..0, owner.attributes.clone());
        np.noun = format!("{}'s {}", owner.noun, np.noun);
        np
    }

    /// A place with an acting participle is an actor ("a city burning"), one with a describing one is not.
    fn participle_acts(&self, rest: &[Item]) -> bool {
        matches!(rest.first(), Some(Item::Verb(v)) if v.form == Form::Ing && matches!(v.lemma.as_str(), "burn" | "erupt" | "explode" | "collapse" | "flow" | "melt" | "crumble"))
    }

    /// Adds a subject, or finds the one that "the dog" means.
    pub(super) fn subject(&mut self, np: Np) -> usize {
        if np.definite
            && !np.indefinite
            && let Some(i) = self.shot.subjects.iter().position(|s| s.noun == np.noun)
        {
            for a in np.attributes {
                if !self.shot.subjects[i].attributes.contains(&a) {
                    self.shot.subjects[i].attributes.push(a);
                }
            }
            return i;
        }
        self.shot.subjects.push(Subject {
            noun: np.noun,
            class: np.class,
            count: np.count,
            attributes: np.attributes,
            motion: None,
            also: Vec::new(),
            carried: false,
            definite: np.definite,
            span: np.span,
            known_as: None,
        });
        self.motions.push(Vec::new());
        self.shot.subjects.len() - 1
    }

    pub(super) fn assign(&mut self, v: &Vg, actors: Vec<usize>) {
        let mut manner = std::mem::take(&mut self.manner);
        manner.extend(v.manner.iter().cloned());
        let kind = INDEX
            .verbs
            .get(v.lemma.as_str())
            .copied()
            .unwrap_or(MotionKind::Unknown);
        let motion = Motion {
            verb: v.lemma.clone(),
            kind,
            direction: None,
            manner,
            object: None,
            span: v.span,
        };
        for &a in &actors {
            self.motions[a].push(motion.clone());
        }
        if actors.is_empty() {
            self.pending.push(motion);
        }
        self.actors = actors;
    }

    /// Changes the latest motion wherever it is kept.
    pub(super) fn with_motion(&mut self, f: impl Fn(&mut Motion)) -> bool {
        if self.actors.is_empty() {
            return self.pending.last_mut().map(f).is_some();
        }
        let mut any = false;
        for &a in &self.actors {
            if let Some(m) = self.motions[a].last_mut() {
                f(m);
                any = true;
            }
        }
        any
    }

    /// The kind of the latest motion.
    pub(super) fn motion_kind(&self) -> Option<MotionKind> {
        let m = match self.actors.first() {
            Some(&a) => self.motions[a].last(),
            None => self.pending.last(),
        };
        m.map(|m| m.kind)
    }

    /// The verb of the latest motion.
    pub(super) fn motion_verb(&self) -> Option<String> {
        let m = match self.actors.first() {
            Some(&a) => self.motions[a].last(),
            None => self.pending.last(),
        };
        m.map(|m| m.verb.clone())
    }

    /// An attribute for whatever is being spoken of.
    pub(super) fn describe(&mut self, a: Attribute) {
        let target = match self.last {
            Last::Subject(i) | Last::InPhrase(i) => Some(i),
            Last::Setting if self.subj.is_empty() => {
                if let Some(s) = self.shot.setting.as_mut() {
                    s.attributes.push(a);
                }
                return;
            }
            _ => self.actors.first().or(self.subj.first()).copied(),
        };
        match target {
            Some(i) if !self.shot.subjects[i].attributes.contains(&a) => self.shot.subjects[i].attributes.push(a),
            Some(_) => {}
            None => self.loose(&[a], self.shot.span),
        }
    }

    /// Attributes for all subjects of the clause ("the taxi and the bus are stuck").
    fn describe_all(&mut self, list: &[Attribute]) {
        for i in self.subj.clone() {
            self.last = Last::Subject(i);
            list.iter().for_each(|a| self.describe(a.clone()));
        }
        self.last = Last::Nothing;
    }

    /// Records that one subject stands in a relation to another.
    pub(super) fn relate(&mut self, from: usize, words: &str, to: usize) {
        let r = Relation {
            from,
            words: words.to_owned(),
            to,
        };
        if from != to && !self.shot.relations.contains(&r) {
            self.shot.relations.push(r);
        }
    }

    fn adverb(&mut self, text: &str, span: Span, rest: &[Item]) {
        // "early in the morning" is part of the time.
        if matches!(text, "early" | "late")
            && matches!(rest, [Item::Prep(..), Item::Np(np), ..] if np.class == NounClass::Time)
        {
            return;
        }
        if let (true, Some(w)) = (self.ghost, self.shot.weather.last_mut()) {
            w.text = format!("{} {text}", w.text);
            return;
        }
        if self.place_adverb(text, span)
            || matches!(
                text,
                "somewhere"
                    | "everywhere"
                    | "anywhere"
                    | "then"
                    | "also"
                    | "just"
                    | "only"
                    | "even"
                    | "now"
                    | "here"
                    | "there"
                    | "too"
                    | "very"
                    | "so"
                    | "still"
                    | "soon"
                    | "always"
                    | "often"
            )
        {
            return;
        }
        let word = text.to_owned();
        if matches!(self.last, Last::Verb) || !self.actors.is_empty() && !self.boundary {
            self.with_motion(|m| m.manner.push(word.clone()));
        } else {
            self.manner.push(word);
        }
    }

    fn particle(&mut self, text: &str) {
        let direction = super::attach::particle_direction(text);
        let text = text.to_owned();
        if matches!(self.last, Last::Verb) || !self.actors.is_empty() {
            self.with_motion(|m| super::attach::apply_particle(m, &text, direction));
        }
    }

    fn adjectives(&mut self, list: &[Attribute], span: Span, rest: &[Item]) {
        let about_subject = self.copula || (matches!(self.last, Last::Subject(_)) && !self.boundary);
        if let Some(neg) = self.neg.take() {
            for a in list {
                self.shot.negations.push(negation::of(&a.text, neg.to(span)));
            }
            return;
        }
        // "from green to red": the prepositions of bare adjectives lead nowhere.
        self.prep = None;
        let (comma, conj) = (std::mem::take(&mut self.comma), self.conj);
        let alone = matches!(rest.first(), None | Some(Item::Comma | Item::Break));
        if self.copula || (about_subject && !(comma && alone) && !conj) {
            if self.copula && !self.subj.is_empty() {
                self.describe_all(list);
            } else {
                list.iter().for_each(|a| self.describe(a.clone()));
            }
            self.verb_open = false;
        } else {
            self.loose(list, span);
        }
    }

    /// Puts motions where they belong and adds what was left open.
    fn close(mut self) {
        self.drop_prep();
        for m in std::mem::take(&mut self.pending) {
            let text = [vec![m.verb], m.manner].concat().join(" ");
            self.shot.rest.push(Phrase { text, span: m.span });
        }
        for manner in std::mem::take(&mut self.manner) {
            self.shot.rest.push(Phrase {
                text: manner,
                span: self.shot.span,
            });
        }
        for (subject, motions) in self.shot.subjects.iter_mut().zip(self.motions) {
            let mut all: Vec<Motion> = subject
                .motion
                .take()
                .into_iter()
                .chain(subject.also.drain(..))
                .chain(motions)
                .collect();
            let visible = |m: &Motion| !matches!(m.kind, MotionKind::Act | MotionKind::Unknown);
            let main = all
                .iter()
                .position(|m| visible(m) && m.kind != MotionKind::Stay)
                .or_else(|| all.iter().position(visible))
                .unwrap_or(0);
            if main < all.len() {
                subject.motion = Some(all.remove(main));
            }
            subject.also = all;
        }
    }
}
