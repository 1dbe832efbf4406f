//! Part-of-speech guess: every token gets one reading, from the lexicon, its form and its neighbours.
//!
//! English prompts are short and regular, so hand-written rules over the left context and one word of look-ahead are
//! enough, and a wrong reading can be explained. Unknown words are nouns unless their ending or their place says otherwise.

use super::ambiguous::open_class;
use super::lexicon::verbs::Form;
use super::lexicon::{INDEX, NounClass, function_words as fw, noun_class};
use super::morphology;
use super::token::{Kind, Span, Token};
use std::collections::HashMap;
use std::sync::LazyLock;

/// Parts of speech.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pos {
    Det,
    Poss,
    Num,
    Adj,
    Noun,
    Verb,
    Aux,
    Adv,
    Prep,
    Part,
    Conj,
    Sub,
    Rel,
    Pron,
    Neg,
    Punct,
    Quote,
    Symbol,
}

/// A token with its reading.
#[derive(Debug, Clone)]
pub(crate) struct Word {
    /// Lower-case text.
    pub text: String,
    /// Where it stands.
    pub span: Span,
    /// Token kind.
    pub kind: Kind,
    /// Starts with a capital letter.
    pub capital: bool,
    /// Part of speech.
    pub pos: Pos,
    /// Singular or base form.
    pub lemma: String,
    /// Verb form, for verbs and participles used as adjectives.
    pub form: Option<Form>,
    /// A plural noun.
    pub plural: bool,
    /// Already explained by an earlier pass.
    pub used: bool,
}

impl Word {
    /// The class of the noun.
    pub fn class(&self) -> NounClass {
        noun_class(&self.lemma).unwrap_or(NounClass::Unknown)
    }
}

/// Closed-class words by their most likely reading.
pub(super) static CLOSED: LazyLock<HashMap<&'static str, Pos>> = LazyLock::new(|| {
    let mut map = HashMap::new();
    let lists = [
        (Pos::Neg, fw::NEGATORS),
        (Pos::Poss, fw::POSSESSIVES),
        (Pos::Det, fw::DETERMINERS),
        (Pos::Num, fw::FEW),
        (Pos::Num, fw::MANY),
        (Pos::Conj, fw::CONJUNCTIONS),
        (Pos::Sub, fw::SUBORDINATORS),
        (Pos::Rel, fw::RELATIVES),
        (Pos::Aux, fw::AUXILIARIES),
        (Pos::Prep, fw::PREPOSITIONS),
        (Pos::Part, fw::PARTICLES),
        (Pos::Adv, fw::ADVERBS),
        (Pos::Pron, fw::PRONOUNS),
    ];
    for (pos, list) in lists {
        for word in list.split_whitespace() {
            map.entry(word).or_insert(pos);
        }
    }
    for (word, _) in fw::NUMBERS {
        map.insert(*word, Pos::Num);
    }
    map
});

/// Tags a run of tokens.
pub(crate) fn tag(tokens: &[Token]) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::with_capacity(tokens.len());
    let mut finite = false;
    for (i, token) in tokens.iter().enumerate() {
        let word = reading(tokens, i, &words, finite);
        match word.pos {
            Pos::Verb if !matches!(word.form, Some(Form::Ing)) => finite = true,
            Pos::Aux => finite = true,
            Pos::Sub | Pos::Rel => finite = false,
            Pos::Punct if token.text != "," => finite = false,
            _ => {}
        }
        words.push(word);
    }
    words
}

pub(super) fn make(token: &Token, pos: Pos) -> Word {
    let t = token;
    Word {
        text: t.text.clone(),
        span: t.span,
        kind: t.kind,
        capital: t.capital,
        pos,
        lemma: t.text.clone(),
        form: None,
        plural: false,
        used: false,
    }
}

pub(super) fn noun(token: &Token) -> Word {
    let (lemma, plural) = morphology::singular(&token.text);
    // Names keep their form: the Alps are no alp.
    if token.capital && noun_class(&lemma).is_none() && lemma.len() + 1 == token.text.len() {
        return make(token, Pos::Noun);
    }
    Word {
        lemma,
        plural,
        ..make(token, Pos::Noun)
    }
}

pub(super) fn verb(token: &Token, (lemma, form): (String, Form)) -> Word {
    Word {
        lemma,
        form: Some(form),
        ..make(token, Pos::Verb)
    }
}

pub(super) fn adjective(token: &Token) -> Word {
    let form = morphology::verb(&token.text).or_else(|| morphology::unknown_verb(&token.text));
    Word {
        form: form.map(|f| f.1),
        ..make(token, Pos::Adj)
    }
}

/// What a word could be, from the lexicon alone.
struct Readings {
    noun: bool,
    adj: bool,
    verb: Option<(String, Form)>,
    known: bool,
}

fn readings(text: &str) -> Readings {
    let lemma = morphology::singular(text).0;
    let noun = INDEX.nouns.contains_key(&lemma);
    let hyphen_adj = text.contains('-') && !noun && text.rsplit('-').next().is_some_and(adjective_tail);
    let adj = INDEX.adjectives.contains_key(text) || comparative(text) || hyphen_adj;
    let verb = morphology::verb(text);
    let known = noun || adj || verb.is_some();
    Readings { noun, adj, verb, known }
}

/// "sun-kissed", "long-haired", "fast-moving", "blue-green", "child-like".
fn adjective_tail(tail: &str) -> bool {
    [
        "ed", "ing", "like", "style", "free", "shaped", "sized", "colored", "coloured",
    ]
    .iter()
    .any(|e| tail.ends_with(e))
        || INDEX.adjectives.contains_key(tail)
}

/// "bigger", "smallest".
fn comparative(text: &str) -> bool {
    let stem = text
        .strip_suffix("est")
        .or_else(|| text.strip_suffix("er"))
        .filter(|s| s.len() > 2);
    stem.is_some_and(|s| {
        let y = s.strip_suffix('i').map(|s| format!("{s}y"));
        INDEX.adjectives.contains_key(s) || y.is_some_and(|y| INDEX.adjectives.contains_key(y.as_str()))
    })
}

/// Endings that make an unknown word an adjective.
fn adjective_ending(text: &str) -> bool {
    text.len() > 4
        && ["ous", "ful", "less", "ical", "able", "ible", "ish", "esque", "ese"]
            .iter()
            .any(|e| text.ends_with(e))
}

/// Could the word continue a noun phrase?
pub(super) fn nominal(tokens: &[Token], i: usize) -> bool {
    let Some(t) = tokens.get(i) else { return false };
    if !matches!(t.kind, Kind::Word) {
        return false;
    }
    if let Some(pos) = CLOSED.get(t.text.as_str()) {
        return matches!(pos, Pos::Num) || matches!(t.text.as_str(), "left" | "right");
    }
    if t.text.ends_with("ly") && !INDEX.adjectives.contains_key(t.text.as_str()) && noun_class(&t.text).is_none() {
        return false;
    }
    let r = readings(&t.text);
    r.noun || r.adj || !r.known
}

/// Does a noun phrase begin here?
fn opens_np(tokens: &[Token], i: usize) -> bool {
    let Some(t) = tokens.get(i) else { return false };
    match t.kind {
        Kind::Number => true,
        Kind::Word => match CLOSED.get(t.text.as_str()) {
            Some(Pos::Det | Pos::Poss | Pos::Num) => true,
            Some(Pos::Pron) => matches!(
                t.text.as_str(),
                "him"
                    | "them"
                    | "it"
                    | "us"
                    | "me"
                    | "her"
                    | "you"
                    | "itself"
                    | "something"
                    | "everything"
                    | "another"
                    | "each"
            ),
            Some(_) => matches!(t.text.as_str(), "left" | "right"),
            None => nominal(tokens, i) || morphology::verb(&t.text).is_some_and(|v| v.1 == Form::Ing),
        },
        _ => false,
    }
}

pub(super) fn text_at(tokens: &[Token], i: usize) -> &str {
    tokens.get(i).map_or("", |t| t.text.as_str())
}

fn reading(tokens: &[Token], i: usize, before: &[Word], finite: bool) -> Word {
    let token = &tokens[i];
    match token.kind {
        Kind::Punct if token.text == "&" => return make(token, Pos::Conj),
        Kind::Punct => return make(token, Pos::Punct),
        Kind::Quote => return make(token, Pos::Quote),
        Kind::Symbol => return make(token, Pos::Symbol),
        Kind::Number => return make(token, Pos::Num),
        Kind::Word => {}
    }
    let prev = before
        .iter()
        .rev()
        .find(|w| !(w.pos == Pos::Adv && w.text.ends_with("ly")));
    if let Some(word) = closed(tokens, i, prev, finite) {
        return word;
    }
    if token.text == "other" && prev.is_some_and(|w| w.text == "each") {
        return make(token, Pos::Pron);
    }
    let r = readings(&token.text);
    if !r.known {
        return unknown(tokens, i, before, finite);
    }
    if r.verb.is_none() {
        return if r.adj && (!r.noun || nominal(tokens, i + 1)) {
            adjective(token)
        } else {
            noun(token)
        };
    }
    let Some(v) = r.verb else { return noun(token) };
    open_class(tokens, i, before, finite, v, r.noun, r.adj)
}

/// Closed-class words with more than one reading.
fn closed(tokens: &[Token], i: usize, prev: Option<&Word>, finite: bool) -> Option<Word> {
    let token = &tokens[i];
    let pos = *CLOSED.get(token.text.as_str())?;
    let next = text_at(tokens, i + 1);
    let prev_pos = prev.map(|w| w.pos);
    let after_noun = matches!(prev_pos, Some(Pos::Noun | Pos::Pron));
    let np_next = opens_np(tokens, i + 1);
    let pos = match token.text.as_str() {
        "'s" => {
            let verbal = matches!(prev_pos, Some(Pos::Pron | Pos::Rel | Pos::Adv))
                || matches!(
                    text_at(tokens, i.wrapping_sub(1)),
                    "there" | "here" | "what" | "let" | "who" | "that"
                );
            let then_verb = morphology::verb(next).is_some_and(|v| v.1 == Form::Ing) && !nominal(tokens, i + 2);
            if verbal || then_verb { Pos::Aux } else { Pos::Poss }
        }
        "that" if after_noun && !nominal(tokens, i + 1) => Pos::Rel,
        "that" if after_noun && !finite => Pos::Rel,
        "that" => Pos::Det,
        "her" | "his" if !nominal(tokens, i + 1) => Pos::Pron,
        "so" if prev_pos == Some(Pos::Punct) && np_next => Pos::Sub,
        "as" if clause_ahead(tokens, i + 1) => Pos::Sub,
        "as" => Pos::Prep,
        "all" | "both" if !np_next => Pos::Adv,
        "before" | "after" | "until" | "since" if clause_ahead(tokens, i + 1) => Pos::Sub,
        "for" | "like" | "to" | "of" => Pos::Prep,
        "one" if matches!(next, "" | "," | ".") => Pos::Pron,
        "left" | "right"
            if matches!(prev_pos, Some(Pos::Det))
                || matches!(prev.map(|w| w.text.as_str()), Some("from" | "to" | "on")) =>
        {
            return Some(if nominal(tokens, i + 1) && !CLOSED.contains_key(next) {
                adjective(token)
            } else {
                noun(token)
            });
        }
        "left" if after_noun && !finite && np_next => return Some(verb(token, ("leave".into(), Form::Past))),
        "early" | "late" | "straight" | "high" | "low" | "fast" | "hard" | "slow" | "alone" | "closer" | "deep"
        | "light" | "dark" | "bright" | "well"
            if nominal(tokens, i + 1) && !after_noun && prev_pos != Some(Pos::Verb) =>
        {
            return Some(adjective(token));
        }
        "alone" => Pos::Adv,
        "outside" | "inside" | "underwater" | "over" | "nearby" if !np_next => {
            if token.text == "over" {
                Pos::Part
            } else {
                Pos::Adv
            }
        }
        "underwater" | "indoors" | "outdoors" => {
            if nominal(tokens, i + 1) {
                return Some(adjective(token));
            } else {
                Pos::Adv
            }
        }
        "past" if matches!(prev_pos, Some(Pos::Det)) => return Some(noun(token)),
        "back" | "home" | "side" if matches!(prev_pos, Some(Pos::Det | Pos::Poss | Pos::Adj)) => {
            return Some(noun(token));
        }
        "seems" | "looks" | "look" | "appears" | "appear" | "getting" | "gets" | "get" | "got" | "going"
            if !(adjective_next(tokens, i + 1)
                || token.text == "going" && next == "to" && morphology::verb(text_at(tokens, i + 2)).is_some()) =>
        {
            return morphology::verb(&token.text).map(|v| verb(token, v));
        }
        "family" | "host" | "cloud" | "school" => return Some(noun(token)),
        _ if pos == Pos::Prep && fw::PARTICLES.split(' ').any(|p| p == token.text) && !np_next => Pos::Part,
        _ if pos == Pos::Part && fw::PREPOSITIONS.contains(token.text.as_str()) && np_next => Pos::Prep,
        _ => pos,
    };
    Some(make(token, pos))
}

fn adjective_next(tokens: &[Token], i: usize) -> bool {
    let text = text_at(tokens, i);
    let degree =
        fw::DEGREE.split_whitespace().any(|d| d == text) && INDEX.adjectives.contains_key(text_at(tokens, i + 1));
    INDEX.adjectives.contains_key(text) || degree
}

/// Is there a verb before the next break? Tells "as the sun rises" from "as a hero".
fn clause_ahead(tokens: &[Token], i: usize) -> bool {
    let ahead = tokens.iter().skip(i).take(9).take_while(|t| t.kind != Kind::Punct);
    let mut noun_seen = false;
    for (n, t) in ahead.enumerate() {
        if matches!(t.text.as_str(), "is" | "are" | "was" | "were") {
            return true;
        }
        let v = morphology::verb(&t.text);
        if noun_seen
            && v.is_some_and(|v| {
                matches!(v.1, Form::Third | Form::Past | Form::Participle) || (v.1 == Form::Base && n > 1)
            })
        {
            return true;
        }
        noun_seen |=
            noun_class(&morphology::singular(&t.text).0).is_some() || CLOSED.get(t.text.as_str()) == Some(&Pos::Pron);
    }
    false
}

/// Words that the lexicon does not hold.
fn unknown(tokens: &[Token], i: usize, before: &[Word], finite: bool) -> Word {
    let token = &tokens[i];
    let text = token.text.as_str();
    let before_noun = before
        .last()
        .is_some_and(|w| matches!(w.pos, Pos::Det | Pos::Poss | Pos::Adj | Pos::Num))
        && nominal(tokens, i + 1);
    if text.len() > 3 && text.ends_with("ly") && before_noun && !readings(text_at(tokens, i + 1)).adj {
        return adjective(token);
    }
    if text.len() > 3 && text.ends_with("ly") {
        return make(token, Pos::Adv);
    }
    if let Some(v) = morphology::unknown_verb(text).filter(|_| !token.capital || i == 0) {
        return open_class(tokens, i, before, finite, v, false, false);
    }
    if adjective_ending(text) {
        return adjective(token);
    }
    let prev = before.last();
    let agrees = prev.is_some_and(|w| w.pos == Pos::Noun && !w.plural) && text.ends_with('s') && !text.ends_with("ss");
    let object_next = CLOSED
        .get(text_at(tokens, i + 1))
        .is_some_and(|p| matches!(p, Pos::Det | Pos::Poss | Pos::Part));
    if agrees && !finite && object_next {
        return verb(token, (text.trim_end_matches('s').to_owned(), Form::Third));
    }
    noun(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::token::tokenize;

    fn nouns_and_verbs(s: &str) -> (Vec<String>, Vec<String>) {
        let words = tag(&tokenize(s));
        let pick = |p: Pos| words.iter().filter(|w| w.pos == p).map(|w| w.lemma.clone()).collect();
        (pick(Pos::Noun), pick(Pos::Verb))
    }

    #[test]
    fn ambiguous_words_are_read_by_their_place() {
        for (text, nouns, verbs) in [
            ("a man waves at the crowd", "man crowd", "wave"),
            ("waves crash on the rocks", "wave rock", "crash"),
            ("city lights at night", "city light night", ""),
            ("a train passes two parked cars", "train car", "pass"),
            ("she walks and waves", "", "walk wave"),
            (
                "a flying saucer lands in falling snow",
                "flying saucer falling snow",
                "land",
            ),
            ("the quick brown fox jumps over the lazy dog", "fox dog", "jump"),
            ("children play with a ball", "child ball", "play"),
        ] {
            let (n, v) = nouns_and_verbs(text);
            assert_eq!(
                (n.join(" "), v.join(" ")),
                (nouns.to_owned(), verbs.to_owned()),
                "{text}"
            );
        }
    }
}
