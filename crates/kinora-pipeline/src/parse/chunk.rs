//! Chunks: noun phrases with head, count and attributes; verb groups; prepositions; everything a clause is made of.

use super::lexicon::verbs::Form;
use super::lexicon::{AttributeKind, INDEX, NounClass, function_words as fw, noun_class, phrases};
use super::scene::{Attribute, Count};
use super::tag::{Pos, Word};
use super::token::{Kind, Span};
use super::verb_group::verb_group;

/// A noun phrase.
#[derive(Debug, Clone)]
pub(crate) struct Np {
    /// Head noun, singular, compounds joined.
    pub noun: String,
    pub class: NounClass,
    pub count: Count,
    pub attributes: Vec<Attribute>,
    /// "the", "this", a possessive: already known to the reader.
    pub definite: bool,
    /// "a", "some", a number: introduces something.
    pub indefinite: bool,
    /// "its tail": the possessor is the clause's subject.
    pub possessed: bool,
    /// A capitalised word that the lexicon does not hold.
    pub proper: bool,
    /// "a woman's face".
    pub owner: Option<Box<Np>>,
    pub span: Span,
}

impl Np {
    /// A plural in form or meaning.
    pub fn plural(&self) -> bool {
        self.count != Count::One
    }

    /// Attributes and noun as one string.
    pub fn text(&self) -> String {
        let mut parts: Vec<&str> = self.attributes.iter().map(|a| a.text.as_str()).collect();
        parts.push(&self.noun);
        parts.join(" ")
    }
}

/// A verb with its auxiliaries.
#[derive(Debug, Clone)]
pub(crate) struct Vg {
    /// Base form of the main verb; "be" for a bare copula, "have" for a bare "has".
    pub lemma: String,
    pub form: Form,
    /// Carries a tense: the main verb of its clause.
    pub finite: bool,
    pub passive: bool,
    pub negated: bool,
    pub manner: Vec<String>,
    pub span: Span,
}

/// One piece of a clause.
#[derive(Debug, Clone)]
pub(crate) enum Item {
    Np(Np),
    Verb(Vg),
    Prep(String, Span),
    Part(String),
    Adv(String, Span),
    Adj(Vec<Attribute>, Span),
    Pron(String),
    Neg(String, Span),
    Sub,
    Rel,
    Conj,
    Comma,
    Break,
    Symbol(String, Span),
}

/// Chunks a run of tagged words; words marked as used act as a comma (or vanish inside a noun phrase).
pub(crate) fn chunk(words: &[Word]) -> Vec<Item> {
    let mut out = Vec::new();
    let mut i = 0;
    while i < words.len() {
        let w = &words[i];
        if w.used {
            if !matches!(out.last(), None | Some(Item::Comma | Item::Break)) {
                out.push(Item::Comma);
            }
            i += 1;
            continue;
        }
        if let Some((text, n)) = listed(words, i, fw::LONG_ADVERBS) {
            out.push(Item::Adv(text.to_owned(), w.span.to(words[i + n - 1].span)));
            i += n;
            continue;
        }
        if let Some((text, n)) = long_preposition(words, i) {
            out.push(Item::Prep(text.to_owned(), w.span.to(words[i + n - 1].span)));
            i += n;
            continue;
        }
        if let Some((np, next)) = noun_phrase(words, i) {
            let (np, next) = with_of(words, np, next);
            out.push(Item::Np(np));
            i = next;
            continue;
        }
        if let Some((vg, next)) = verb_group(words, i) {
            out.push(Item::Verb(vg));
            i = next;
            continue;
        }
        i += single(words, i, &mut out);
    }
    out
}

/// Pieces of one or a few words; returns how many were taken.
fn single(words: &[Word], i: usize, out: &mut Vec<Item>) -> usize {
    let w = &words[i];
    match w.pos {
        Pos::Adj | Pos::Num => {
            let (mut attributes, next) = adjectives(words, i);
            if attributes.is_empty() {
                attributes.push(Attribute {
                    kind: AttributeKind::Other,
                    text: w.text.clone(),
                });
            }
            out.push(Item::Adj(attributes, w.span.to(words[next - 1].span)));
            return (next - i).max(1);
        }
        Pos::Adv => out.push(Item::Adv(w.text.clone(), w.span)),
        Pos::Prep => out.push(Item::Prep(w.text.clone(), w.span)),
        Pos::Part => out.push(Item::Part(w.text.clone())),
        Pos::Conj => out.push(Item::Conj),
        Pos::Sub => out.push(Item::Sub),
        Pos::Rel => out.push(Item::Rel),
        Pos::Pron => out.push(Item::Pron(w.text.clone())),
        Pos::Neg => out.push(Item::Neg(w.text.clone(), w.span)),
        Pos::Punct => out.push(if w.text == "," { Item::Comma } else { Item::Break }),
        Pos::Symbol => out.push(Item::Symbol(w.text.clone(), w.span)),
        Pos::Quote | Pos::Det | Pos::Poss | Pos::Noun | Pos::Verb | Pos::Aux => {}
    }
    1
}

/// The longest preposition of several words at `i`, with its length in words.
fn long_preposition(words: &[Word], i: usize) -> Option<(&'static str, usize)> {
    let opens = matches!(
        words[i].pos,
        Pos::Prep | Pos::Part | Pos::Adv | Pos::Noun | Pos::Verb | Pos::Adj
    );
    if opens {
        listed(words, i, fw::LONG_PREPOSITIONS)
    } else {
        None
    }
}

/// The longest phrase of a list at `i`, with its length in words.
fn listed(words: &[Word], i: usize, list: &'static [&'static str]) -> Option<(&'static str, usize)> {
    let mut best: Option<(&'static str, usize)> = None;
    for p in list {
        let mut n = 0;
        let fits = p.split(' ').all(|part| {
            let ok = words.get(i + n).is_some_and(|w| w.text == part && !w.used);
            n += 1;
            ok
        });
        if fits && best.is_none_or(|b| b.1 < n) {
            best = Some((p, n));
        }
    }
    best
}

/// Consecutive adjectives as attributes ("small, brown and very fluffy").
fn adjectives(words: &[Word], from: usize) -> (Vec<Attribute>, usize) {
    let mut attributes = Vec::new();
    let mut i = from;
    while let Some(w) = words.get(i) {
        if w.used || w.pos != Pos::Adj {
            let joins =
                (w.pos == Pos::Conj || w.text == ",") && words.get(i + 1).is_some_and(|n| n.pos == Pos::Adj && !n.used);
            if !joins || attributes.is_empty() {
                break;
            }
        } else {
            push_attribute(
                &mut attributes,
                &w.text,
                i > 0 && matches!(words[i - 1].pos, Pos::Adj | Pos::Adv),
            );
        }
        i += 1;
    }
    (attributes, i.max(from + 1))
}

/// Adds an adjective, joining shade and colour ("light blue", "dark green").
fn push_attribute(attributes: &mut Vec<Attribute>, text: &str, merge: bool) {
    let kind = attribute_kind(text);
    if let Some(last) = attributes.last_mut() {
        let shade = [
            "light", "dark", "bright", "pale", "deep", "vivid", "dimly", "brightly", "softly", "neon",
        ]
        .contains(&last.text.as_str());
        let colour = merge && (kind == AttributeKind::Colour || text == "lit");
        if shade && colour {
            last.text = format!("{} {text}", last.text);
            last.kind = kind;
            return;
        }
    }
    attributes.push(Attribute {
        kind,
        text: text.to_owned(),
    });
}

/// The kind of attribute that an adjective gives.
pub(crate) fn attribute_kind(text: &str) -> AttributeKind {
    if let Some(kind) = INDEX.adjectives.get(text) {
        return *kind;
    }
    if let Some((first, last)) = text.rsplit_once('-') {
        let kinds = [first, last].map(|p| INDEX.adjectives.get(p).copied());
        if kinds == [Some(AttributeKind::Colour); 2] {
            return AttributeKind::Colour;
        }
    }
    if phrases::season(text).is_some() {
        return AttributeKind::Season;
    }
    match noun_class(text) {
        Some(NounClass::Time) => AttributeKind::Time,
        Some(NounClass::Weather) => AttributeKind::Weather,
        _ => AttributeKind::Other,
    }
}

/// What has been read of a noun phrase.
#[derive(Default)]
struct Draft {
    attributes: Vec<Attribute>,
    nouns: Vec<(String, bool)>,
    count: Option<Count>,
    definite: bool,
    indefinite: bool,
    possessed: bool,
    proper: bool,
}

/// A noun phrase at `from`, with the index after it.
pub(crate) fn noun_phrase(words: &[Word], from: usize) -> Option<(Np, usize)> {
    let mut d = Draft::default();
    let mut i = from;
    let mut end = from;
    while let Some(w) = words.get(i) {
        if w.used {
            // A style word inside a phrase ("a cyberpunk city") has been taken already.
            if i > from && d.nouns.is_empty() && words.get(i + 1).is_some() {
                i += 1;
                continue;
            }
            break;
        }
        if let Some(n) = compound(words, i) {
            let text: Vec<&str> = words[i..i + n - 1].iter().map(|w| w.text.as_str()).collect();
            let last = &words[i + n - 1];
            d.nouns.push((
                format!("{} {}", text.join(" "), super::morphology::singular(&last.text).0),
                super::morphology::singular(&last.text).1,
            ));
            i += n;
            end = i;
            continue;
        }
        let step = match w.pos {
            Pos::Det | Pos::Poss if d.nouns.is_empty() && d.attributes.is_empty() && w.text != "'s" => {
                determiner(&mut d, w)
            }
            Pos::Num if d.nouns.is_empty() => number(&mut d, words, i),
            Pos::Adv if d.nouns.is_empty() && words.get(i + 1).is_some_and(|n| n.pos == Pos::Adj && !n.used) => {
                degree(&mut d, &w.text)
            }
            Pos::Adj if d.nouns.is_empty() => {
                push_attribute(
                    &mut d.attributes,
                    &w.text,
                    i > 0 && matches!(words[i - 1].pos, Pos::Adj | Pos::Adv),
                );
                1
            }
            Pos::Noun => {
                d.proper = w.capital && w.class() == NounClass::Unknown;
                d.nouns.push((w.lemma.clone(), w.plural));
                1
            }
            Pos::Punct | Pos::Conj if d.nouns.is_empty() && !d.attributes.is_empty() && joins_adjectives(words, i) => 1,
            _ => 0,
        };
        if step == 0 {
            break;
        }
        i += step;
        if w.pos == Pos::Noun {
            end = i;
        }
    }
    let span = words.get(from)?.span.to(words[end.max(from + 1) - 1].span);
    let np = finish(d, span)?;
    owned(words, np, end)
}

/// "a woman's face": the first phrase owns the second.
fn owned(words: &[Word], np: Np, end: usize) -> Option<(Np, usize)> {
    if words
        .get(end)
        .is_some_and(|w| w.pos == Pos::Poss && w.text == "'s" && !w.used)
        && let Some((mut rest, next)) = noun_phrase(words, end + 1)
    {
        rest.span = rest.span.to(np.span);
        rest.definite = true;
        rest.owner = Some(Box::new(np));
        return Some((rest, next));
    }
    Some((np, end))
}

fn determiner(d: &mut Draft, w: &Word) -> usize {
    d.possessed = w.pos == Pos::Poss;
    d.definite = d.possessed || matches!(w.text.as_str(), "the" | "this" | "that" | "these" | "those");
    d.indefinite = !d.definite;
    1
}

fn number(d: &mut Draft, words: &[Word], i: usize) -> usize {
    let w = &words[i];
    let value = fw::NUMBERS
        .iter()
        .find(|(n, _)| *n == w.text)
        .map(|n| n.1)
        .or_else(|| w.text.parse().ok());
    d.indefinite |= !d.definite;
    if let Some(v) = value {
        d.count = Some(match (d.count, v) {
            (_, 0 | 1) => Count::One,
            (Some(Count::Exact(a)), 12 | 100 | 1000) => Count::Exact(a.saturating_mul(v)),
            (None, 100 | 1000) => Count::Many,
            (_, v) => Count::Exact(v),
        });
    } else if fw::FEW.split(' ').any(|f| f == w.text) {
        d.count = Some(Count::Few);
    } else if fw::MANY.split_whitespace().any(|m| m == w.text) {
        d.count = Some(Count::Many);
    } else {
        d.attributes.push(Attribute {
            kind: AttributeKind::Other,
            text: w.text.clone(),
        });
    }
    let of = words.get(i + 1).is_some_and(|n| n.text == "of") && w.kind == Kind::Word;
    if of { 2 } else { 1 }
}

/// "very old" is old; "dimly lit" stays whole.
fn degree(d: &mut Draft, text: &str) -> usize {
    if ["dimly", "brightly", "softly"].contains(&text) {
        d.attributes.push(Attribute {
            kind: AttributeKind::Condition,
            text: text.to_owned(),
        });
    }
    1
}

/// A comma or "and" between adjectives of one noun.
fn joins_adjectives(words: &[Word], i: usize) -> bool {
    let comma = matches!(words[i].text.as_str(), "," | "and" | "&" | "but");
    let mut ahead = words[i + 1..]
        .iter()
        .skip_while(|w| matches!(w.pos, Pos::Adv | Pos::Conj));
    let adjective = ahead.next().is_some_and(|w| w.pos == Pos::Adj && !w.used);
    let noun_follows = words[i + 1..]
        .iter()
        .take(8)
        .find(|w| !matches!(w.pos, Pos::Adj | Pos::Adv | Pos::Conj) && w.text != ",");
    comma && adjective && noun_follows.is_some_and(|w| w.pos == Pos::Noun && !w.used)
}

/// The length of the longest listed compound that starts at `i`.
fn compound(words: &[Word], i: usize) -> Option<usize> {
    let longest = *INDEX.compound_len.get(words[i].text.as_str())?;
    for n in (2..=longest).rev() {
        let Some(run) = words.get(i..i + n) else { continue };
        if run.iter().any(|w| w.used || !matches!(w.kind, Kind::Word)) {
            continue;
        }
        let mut name: String = run[..n - 1].iter().map(|w| format!("{} ", w.text)).collect();
        name.push_str(&super::morphology::singular(&run[n - 1].text).0);
        if INDEX.nouns.contains_key(&name) {
            return Some(n);
        }
    }
    None
}

/// Head, class and count from what was read.
fn finish(mut d: Draft, span: Span) -> Option<Np> {
    let (head, plural) = d.nouns.pop()?;
    let mut front: Vec<String> = Vec::new();
    for (noun, _) in d.nouns {
        match attribute_kind(&noun) {
            AttributeKind::Other if INDEX.adjectives.contains_key(noun.as_str()) || style_like(&noun) => {
                push_attribute(&mut d.attributes, &noun, false)
            }
            AttributeKind::Other => front.push(noun),
            kind => d.attributes.push(Attribute { kind, text: noun }),
        }
    }
    let head_class = noun_class(&head).unwrap_or(NounClass::Unknown);
    front.push(head);
    let noun = front.join(" ");
    let class = noun_class(&noun).unwrap_or(head_class);
    let count = d.count.unwrap_or(if plural { Count::Plural } else { Count::One });
    Some(Np {
        noun,
        class,
        count,
        attributes: d.attributes,
        definite: d.definite,
        indefinite: d.indefinite,
        possessed: d.possessed,
        proper: d.proper,
        owner: None,
        span,
    })
}

/// Noun modifiers that describe rather than name.
fn style_like(noun: &str) -> bool {
    matches!(
        noun,
        "baby" | "toy" | "giant" | "adult" | "fantasy" | "miniature" | "neon"
    )
}

/// "a herd of cows", "a slice of pizza": joins a noun phrase with what it holds.
fn with_of(words: &[Word], np: Np, next: usize) -> (Np, usize) {
    if !words.get(next).is_some_and(|w| w.text == "of" && !w.used) {
        return (np, next);
    }
    let Some((inner, end)) = noun_phrase(words, next + 1) else {
        return (np, next);
    };
    let (inner, end) = with_of(words, inner, end);
    let word = np.noun.rsplit(' ').next().unwrap_or(&np.noun);
    let listed = |list: &str| list.split_whitespace().any(|w| w == word);
    let span = np.span.to(inner.span);
    if matches!(word, "kind" | "type" | "sort") {
        return (
            Np {
                span,
                indefinite: np.indefinite,
                ..inner
            },
            end,
        );
    }
    let counts = listed(fw::PAIRS)
        || listed(fw::COLLECTIVES)
        || matches!(word, "lot" | "dozen" | "hundred" | "thousand" | "ton");
    let animals = matches!(
        inner.class,
        NounClass::Animal | NounClass::Bird | NounClass::SeaAnimal | NounClass::Person
    ) && !inner.indefinite;
    if counts && (inner.plural() || animals) {
        let count = match inner.count {
            Count::Exact(n) => Count::Exact(n),
            _ if listed(fw::PAIRS) => Count::Exact(2),
            _ => Count::Many,
        };
        let mut attributes = np.attributes;
        attributes.extend(inner.attributes);
        return (
            Np {
                count,
                attributes,
                span,
                indefinite: np.indefinite,
                definite: np.definite,
                ..inner
            },
            end,
        );
    }
    let holds = matches!(
        np.class,
        NounClass::Object
            | NounClass::Food
            | NounClass::Building
            | NounClass::Sky
            | NounClass::Substance
            | NounClass::Unknown
    ) || (np.class == NounClass::Plant && inner.class == NounClass::Plant)
        || counts;
    let part = matches!(word, "edge" | "side" | "top" | "middle" | "surface" | "bottom" | "rest");
    if holds && !part {
        let noun = format!(
            "{} of {}",
            np.noun,
            if inner.plural() {
                super::morphology::plural(&inner.text())
            } else {
                inner.text()
            }
        );
        let class = noun_class(&noun).unwrap_or(if inner.class == NounClass::Food {
            NounClass::Food
        } else {
            np.class
        });
        return (
            Np {
                noun,
                class,
                span,
                ..np
            },
            end,
        );
    }
    (np, next)
}
