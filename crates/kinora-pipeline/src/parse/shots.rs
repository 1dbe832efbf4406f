//! Sentences and shots: where one picture ends and the next begins, and how sentences about one picture are joined.

use super::scene::{Relation, Shot, Subject};
use super::token::{Kind, Token};

/// A run of tokens that is one sentence or step.
#[derive(Debug)]
pub(super) struct Segment {
    pub from: usize,
    pub to: usize,
    /// A marker said that a new shot starts here ("then", "cut to", "shot 2:").
    pub new_shot: bool,
}

/// Splits tokens at sentence ends and at shot markers; markers themselves belong to no segment.
pub(super) fn segments(tokens: &[Token]) -> Vec<Segment> {
    let mut out: Vec<Segment> = Vec::new();
    let mut from = 0;
    let mut new_shot = false;
    let mut i = 0;
    let mut close = |from: usize, to: usize, new_shot: bool| {
        let content = tokens[from..to].iter().any(|t| t.kind != Kind::Punct);
        if content {
            out.push(Segment { from, to, new_shot });
        }
        content
    };
    while i < tokens.len() {
        if let Some((before, after)) = marker(tokens, i, from) {
            close(from, i - before, new_shot);
            new_shot = true;
            from = after;
            i = after;
            continue;
        }
        if matches!(tokens[i].text.as_str(), "." | "!" | "?" | ";" | "…" | "\n") && tokens[i].kind == Kind::Punct {
            // A marker at the start of a sentence sets the flag for the sentence that follows it.
            if close(from, i, new_shot) {
                new_shot = false;
            }
            from = i + 1;
        }
        i += 1;
    }
    close(from, tokens.len(), new_shot);
    out
}

/// A shot marker at `i`: how many tokens before it belong to it, and the index after it.
fn marker(tokens: &[Token], i: usize, start: usize) -> Option<(usize, usize)> {
    let text = |k: usize| tokens.get(k).map_or("", |t| t.text.as_str());
    let opens = i == start || tokens[i - 1].kind == Kind::Punct;
    let after_and = i > start && text(i - 1) == "and";
    let skip = |mut k: usize| {
        while matches!(text(k), "," | ":" | "—" | ")" | ".") {
            k += 1;
        }
        k
    };
    let found = |k: usize| {
        let back = usize::from(after_and) + usize::from(i > start + 1 && after_and && text(i - 2) == ",");
        Some((back, skip(k)))
    };
    match text(i) {
        "shot" | "scene" | "clip" | "part" | "segment"
            if numbered(text(i + 1))
                && opens
                && (matches!(text(i + 2), ":" | "—" | "," | "." | "(" | ")" | "\n")
                    || text(i + 1).parse::<u32>().is_ok()) =>
        {
            found(i + 2)
        }
        "opening" | "final" | "closing" | "next" | "last"
            if matches!(text(i + 1), "shot" | "scene") && matches!(text(i + 2), ":" | "—") && opens =>
        {
            found(i + 2)
        }
        "cut" | "cuts" | "fade" | "fades" | "dissolve" | "dissolves" | "transition" | "transitions" | "switch"
        | "jump"
            if text(i + 1) == "to" && (opens || text(i).ends_with('s') || after_and) =>
        {
            found(i + 2)
        }
        "smash" | "match" | "hard" | "jump" if text(i + 1) == "cut" && text(i + 2) == "to" => found(i + 3),
        "first" | "firstly" if opens && (text(i + 1) == "," || opens_clause(text(i + 1))) => found(i + 1),
        "at" if opens && text(i + 1) == "first" => found(i + 2),
        "in" if opens && text(i + 1) == "the" && text(i + 2) == "end" => found(i + 3),
        "next" if opens && !matches!(text(i + 1), "to" | "door") => found(i + 1),
        "second" | "secondly" if opens && text(i + 1) == "," => found(i + 1),
        "then" if opens || after_and || opens_clause(text(i + 1)) && i > start => {
            found(if text(i + 1) == "finally" { i + 2 } else { i + 1 })
        }
        "finally" | "afterwards" | "afterward" | "later" | "lastly" if opens || after_and => found(i + 1),
        "after" if opens && matches!(text(i + 1), "that" | "this") => found(i + 2),
        "followed" if text(i + 1) == "by" && opens => found(i + 2),
        _ => None,
    }
}

fn numbered(text: &str) -> bool {
    text.parse::<u32>().is_ok() || matches!(text, "one" | "two" | "three" | "four" | "five" | "a" | "b" | "c")
}

/// Words that open a clause.
fn opens_clause(text: &str) -> bool {
    matches!(
        text,
        "a" | "an"
            | "the"
            | "it"
            | "he"
            | "she"
            | "they"
            | "we"
            | "there"
            | "two"
            | "three"
            | "another"
            | "its"
            | "his"
            | "her"
            | "their"
            | "one"
    )
}

/// Should this sentence start a shot of its own? Yes where it brings its own actor to its own place.
pub(super) fn differs(base: &Shot, next: &Shot) -> bool {
    let (Some(a), Some(b)) = (&base.setting, &next.setting) else {
        return false;
    };
    let own_actor = next.subjects.first().is_some_and(|s| !s.carried && !s.definite);
    let related = a.noun == b.noun || b.preposition.is_empty() && next.subjects.is_empty();
    !base.subjects.is_empty()
        && own_actor
        && !related
        && !base
            .subjects
            .iter()
            .any(|s| next.subjects.iter().any(|n| n.noun == s.noun))
}

/// Joins a sentence to the shot that it goes on describing.
pub(super) fn merge(base: &mut Shot, next: Shot) {
    let mut place = Vec::with_capacity(next.subjects.len());
    for s in next.subjects {
        let same = base
            .subjects
            .iter()
            .position(|b| b.noun == s.noun && (s.carried || s.definite));
        place.push(match same {
            Some(i) => {
                join(&mut base.subjects[i], s);
                i
            }
            None => {
                base.subjects.push(s);
                base.subjects.len() - 1
            }
        });
    }
    for r in next.relations {
        let r = Relation {
            from: place[r.from],
            to: place[r.to],
            ..r
        };
        if r.from != r.to && !base.relations.contains(&r) {
            base.relations.push(r);
        }
    }
    match (&mut base.setting, next.setting) {
        (Some(b), Some(n)) if b.noun == n.noun => b.attributes.extend(n.attributes),
        (Some(b), Some(n)) => {
            let words = n
                .attributes
                .iter()
                .map(|a| a.text.as_str())
                .chain([n.noun.as_str()])
                .collect::<Vec<_>>()
                .join(" ");
            b.details.push(format!("{} {words}", n.preposition).trim().to_owned());
            b.details.extend(n.details);
        }
        (b @ None, n) => *b = n,
        (Some(_), None) => {}
    }
    base.time_of_day = base.time_of_day.take().or(next.time_of_day);
    base.season = base.season.take().or(next.season);
    for w in next.weather {
        if base.weather.iter().all(|b| b.kind != w.kind) {
            base.weather.push(w);
        }
    }
    base.lighting.extend(next.lighting);
    base.mood.extend(next.mood);
    base.style.extend(next.style);
    base.negations.extend(next.negations);
    base.rest.extend(next.rest);
    base.span = base.span.to(next.span);
    match (&mut base.camera, next.camera) {
        (Some(b), Some(n)) => {
            b.moves.extend(n.moves);
            b.framing = b.framing.or(n.framing);
            b.angle = b.angle.or(n.angle);
            b.pace = b.pace.or(n.pace);
            b.manner.extend(n.manner);
            b.phrases.extend(n.phrases);
        }
        (b @ None, n) => *b = n,
        (Some(_), None) => {}
    }
}

fn join(base: &mut Subject, next: Subject) {
    for a in next.attributes {
        if !base.attributes.contains(&a) {
            base.attributes.push(a);
        }
    }
    let more = next.motion.into_iter().chain(next.also);
    for m in more {
        if base.motion.is_none() {
            base.motion = Some(m);
        } else {
            base.also.push(m);
        }
    }
}
