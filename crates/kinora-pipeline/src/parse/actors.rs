//! Whose verb is it, and whom does a pronoun mean?

use super::chunk::{Item, Vg};
use super::clause::{Clause, Last, reduced, verb_follows};
use super::lexicon::NounClass;
use super::lexicon::verbs::Form;
use super::negation;
use super::scene::Subject;

impl Clause<'_> {
    pub(super) fn verb(&mut self, v: &Vg, rest: &[Item]) {
        let (comma, conj) = (std::mem::take(&mut self.comma), std::mem::take(&mut self.conj));
        if self.prep.as_ref().is_some_and(|p| p.0 != "to") {
            self.prep = None;
        }
        let infinitive = self.prep.take().is_some();
        self.copula = false;
        self.worn = false;
        self.passive = false;
        if v.negated || self.neg.is_some() {
            self.neg = None;
            if v.lemma != "be" {
                self.shot.negations.push(negation::of(&v.lemma, v.span));
            } else {
                self.neg = Some(v.span);
            }
            return;
        }
        if self.ghost && !conj {
            return;
        }
        if v.lemma == "be" {
            self.copula = !self.subj.is_empty();
            self.verb_open = false;
            self.has_verb = true;
            return;
        }
        let reduced = v.form == Form::Participle && (v.passive || reduced(v, rest.first()));
        if reduced && self.is_state(&v.lemma) {
            self.state_verb = Some(past_of(&v.lemma));
            self.verb_open = false;
            return;
        }
        if presents(&v.lemma) && self.subj.is_empty() {
            self.medium = true;
            self.last = Last::Nothing;
            return;
        }
        let relative = std::mem::take(&mut self.relative);
        let dependent = v.form == Form::Ing && !v.finite || reduced && !v.passive || infinitive;
        let actors = self.actors_of(relative, dependent, comma || conj);
        self.assign(v, actors);
        self.passive = reduced;
        self.has_verb |= v.finite && !relative && !dependent;
        self.verb_open = !reduced;
        self.last = Last::Verb;
        self.boundary = false;
    }

    /// Whose verb is it?
    fn actors_of(&mut self, relative: bool, dependent: bool, detached: bool) -> Vec<usize> {
        match self.last {
            Last::Subject(i) | Last::InPhrase(i) if relative => self.group(i),
            Last::Subject(i) if dependent && !detached => self.group(i),
            Last::InPhrase(i) if dependent && !detached && self.subj.is_empty() => vec![i],
            _ if !self.subj.is_empty() => self.subj.clone(),
            Last::InPhrase(i) | Last::Subject(i) => self.group(i),
            _ if dependent => Vec::new(),
            _ => self.carry(),
        }
    }

    /// All coordinated subjects where the last one is part of them.
    fn group(&self, i: usize) -> Vec<usize> {
        if self.subj.contains(&i) {
            self.subj.clone()
        } else {
            vec![i]
        }
    }

    /// Subjects of the shot before, copied here: "then it flies away", "… and then jumps".
    fn carry(&mut self) -> Vec<usize> {
        if let Some(first) = (0..self.shot.subjects.len()).find(|i| !self.motions[*i].is_empty()) {
            return vec![first];
        }
        if !self.shot.subjects.is_empty() {
            return vec![0];
        }
        let Some(main) = self.before.and_then(|b| b.subjects.first()) else {
            return Vec::new();
        };
        // Field by field: the motions of the shot before may be many and are not wanted here.
        let copy = Subject {
            noun: main.noun.clone(),
            class: main.class,
            count: main.count,
            attributes: main.attributes.clone(),
            motion: None,
            also: Vec::new(),
            carried: true,
            definite: main.definite,
            span: main.span,
            known_as: None,
        };
        self.shot.subjects.push(copy);
        self.motions.push(Vec::new());
        self.subj = vec![self.shot.subjects.len() - 1];
        self.subj.clone()
    }

    pub(super) fn pronoun(&mut self, text: &str, rest: &[Item]) {
        let (conj, _) = (std::mem::take(&mut self.conj), std::mem::take(&mut self.comma));
        let viewer = matches!(text, "us" | "me" | "you" | "viewer");
        if let Some((p, _)) = self.prep.take() {
            if viewer {
                self.viewer_phrase(&p);
            } else if let Some(i) = self.antecedent(text) {
                self.relate_phrase(&p, i);
            }
            return;
        }
        if matches!(text, "i" | "we" | "you" | "me" | "us" | "there" | "everything" | "one")
            || text.ends_with("self")
            || text.ends_with("selves")
        {
            return;
        }
        let object = matches!(text, "him" | "them") || (self.verb_open && !verb_follows(rest));
        if object && !conj {
            if let (Some(i), Some(verb)) = (self.antecedent(text), self.motion_verb()) {
                for a in self.actors.clone() {
                    self.relate(a, &verb, i);
                }
            }
            self.verb_open = false;
            return;
        }
        match self.antecedent(text) {
            Some(i) => {
                self.subj = if text == "they" && !self.subj.is_empty() {
                    self.subj.clone()
                } else {
                    vec![i]
                };
            }
            None => {
                self.subj.clear();
                self.carry();
            }
        }
        self.has_verb = false;
        self.verb_open = false;
        self.last = Last::Nothing;
        self.boundary = false;
    }

    /// The subject that a pronoun means: the first one of this shot that is not acting now.
    fn antecedent(&self, text: &str) -> Option<usize> {
        let person = matches!(text, "he" | "she" | "him" | "her");
        let fits = |i: &usize| {
            !person
                || matches!(
                    self.shot.subjects[*i].class,
                    NounClass::Person | NounClass::Animal | NounClass::Unknown | NounClass::Bird
                )
        };
        let object = matches!(text, "him" | "them" | "it") && self.verb_open;
        let others = (0..self.shot.subjects.len()).filter(|i| !(object && self.actors.contains(i)));
        let chosen = self
            .subj
            .iter()
            .copied()
            .filter(|i| !(object && self.actors.contains(i)))
            .find(|i| fits(i));
        chosen.or_else(|| others.into_iter().find(|i| fits(i)))
    }

    /// Verbs whose participle describes a state.
    fn is_state(&self, lemma: &str) -> bool {
        matches!(
            lemma,
            "cover"
                | "fill"
                | "surround"
                | "bathe"
                | "light"
                | "line"
                | "dot"
                | "decorate"
                | "make"
                | "shroud"
                | "drape"
                | "wrap"
                | "dress"
                | "drench"
                | "soak"
                | "bath"
                | "illuminate"
                | "adorn"
                | "set"
                | "wear"
                | "build"
                | "carve"
                | "paint"
                | "frame"
                | "reflect"
        )
    }
}

/// Verbs that present the scene ("we see", "the video shows").
fn presents(lemma: &str) -> bool {
    matches!(
        lemma,
        "see"
            | "show"
            | "feature"
            | "depict"
            | "reveal"
            | "contain"
            | "include"
            | "display"
            | "capture"
            | "present"
            | "imagine"
            | "make"
            | "create"
            | "generate"
            | "give"
            | "want"
            | "focus"
            | "film"
            | "watch"
            | "open"
            | "begin"
            | "start"
    )
}

fn past_of(lemma: &str) -> String {
    match lemma {
        "light" => "lit".into(),
        "make" => "made".into(),
        "build" => "built".into(),
        "set" => "set".into(),
        l if l.ends_with('e') => format!("{l}d"),
        "line" => "lined".into(),
        "dot" => "dotted".into(),
        "wrap" => "wrapped".into(),
        l => format!("{l}ed"),
    }
}
