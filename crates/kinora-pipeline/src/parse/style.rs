//! The look: "in the style of …", "black and white", "watercolour painting of", "cinematic".

use super::lexicon::phrases::{STRONG_STYLES, STYLE_HEADS, WEAK_STYLES};
use super::phrase_index::{PhraseIndex, take, text_of};
use super::scene::{Phrase, Shot};
use super::tag::{Pos, Word};
use std::sync::LazyLock;

static STRONG: LazyLock<PhraseIndex> = LazyLock::new(|| PhraseIndex::new(STRONG_STYLES.iter().copied()));
static WEAK: LazyLock<PhraseIndex> = LazyLock::new(|| PhraseIndex::new(WEAK_STYLES.iter().copied()));

/// Finds and takes style phrases.
pub(super) fn find(words: &mut [Word], shot: &mut Shot) {
    let mut i = 0;
    while i < words.len() {
        i = if words[i].used {
            i + 1
        } else {
            in_the_style_of(words, i, shot)
                .or_else(|| listed(words, i, shot))
                .unwrap_or(i + 1)
        };
    }
}

fn is(words: &[Word], i: usize, list: &[&str]) -> bool {
    words.get(i).is_some_and(|w| !w.used && list.contains(&w.text.as_str()))
}

fn boundary(words: &[Word], i: usize) -> bool {
    words
        .get(i)
        .is_none_or(|w| w.used || matches!(w.pos, Pos::Punct | Pos::Sub))
}

/// "in the style of Van Gogh": everything up to the next break.
fn in_the_style_of(words: &mut [Word], at: usize, shot: &mut Shot) -> Option<usize> {
    if !is(words, at, &["style", "manner", "spirit"]) || !is(words, at + 1, &["of"]) {
        return None;
    }
    let mut start = at;
    while start > 0
        && is(
            words,
            start - 1,
            &["in", "the", "a", "visual", "rendered", "animated", "painted", "done"],
        )
    {
        start -= 1;
    }
    let mut end = at + 2;
    while !boundary(words, end) && (words[end].pos != Pos::Verb || STYLE_HEADS.contains(&words[end].text.as_str())) {
        end += 1;
    }
    let name = text_of(&words[at + 2..end]);
    let name = name
        .trim_start_matches("a ")
        .trim_start_matches("an ")
        .trim_start_matches("the ");
    shot.style.push(Phrase {
        text: name.to_owned(),
        span: words[start].span.to(words[end - 1].span),
    });
    take(words, start, end);
    Some(end)
}

/// A listed style with the words around it.
fn listed(words: &mut [Word], at: usize, shot: &mut Shot) -> Option<usize> {
    let (strong, len) = match (STRONG.at(words, at), WEAK.at(words, at)) {
        (Some((_, n)), weak) if weak.is_none_or(|w| w.1 <= n) => (true, n),
        (_, Some((_, n))) => (false, n),
        _ => return None,
    };
    let mut end = at + len;
    let mut heads = 0;
    while is(words, end, STYLE_HEADS) && heads < 3 {
        end += 1;
        heads += 1;
    }
    let mut start = at;
    if start > 0
        && is(
            words,
            start - 1,
            &["very", "highly", "hyper", "ultra", "super", "fully", "more", "slightly"],
        )
    {
        start -= 1;
    }
    let first = start;
    while start > 0 && matches!(words[start - 1].pos, Pos::Det) && !words[start - 1].used {
        start -= 1;
    }
    let shot_on = start > 1 && is(words, start - 1, &["on"]) && is(words, start - 2, &["shot", "filmed", "captured"]);
    let introduced = shot_on || start > 0 && is(words, start - 1, &["in", "as", "with", "like"]);
    let painting = words[at..end].iter().any(|w| {
        [
            "painting",
            "sketch",
            "illustration",
            "drawing",
            "render",
            "animation",
            "artwork",
            "photo",
            "film",
            "footage",
            "cartoon",
            "paint",
        ]
        .contains(&w.text.as_str())
    });
    let of = is(words, end, &["of", "showing", "depicting"]) && (heads > 0 || painting);
    let closed = boundary(words, end)
        || of
        || words
            .get(end)
            .is_some_and(|w| matches!(w.pos, Pos::Conj | Pos::Prep | Pos::Verb) && heads > 0);
    let opened = start == 0
        || words[start - 1].used
        || matches!(words[start - 1].pos, Pos::Punct | Pos::Conj | Pos::Adj)
        || introduced;
    let weak_ok = closed && (heads > 0 || opened && first == start);
    if !strong && !weak_ok {
        return None;
    }
    // "a 3d animation of a boy": "animation" said what it is; "a cinematic shot of" leaves the shot to others.
    let whole = closed && opened || of;
    if !whole && heads > 0 && !strong {
        return None;
    }
    let text_end = if matches!(
        words[end - 1].text.as_str(),
        "style"
            | "styled"
            | "aesthetic"
            | "aesthetics"
            | "look"
            | "feel"
            | "quality"
            | "video"
            | "clip"
            | "scene"
            | "image"
            | "picture"
    ) && end - 1 > at
        && end > at + len
    {
        end - 1
    } else {
        end
    };
    let text = text_of(&words[at..text_end]);
    let mut take_from = at;
    if whole {
        take_from = if introduced { start - 1 } else { start };
        while take_from > 0
            && introduced
            && is(
                words,
                take_from - 1,
                &[
                    "shot",
                    "filmed",
                    "rendered",
                    "painted",
                    "drawn",
                    "made",
                    "done",
                    "presented",
                    "animated",
                    "captured",
                    "created",
                ],
            )
        {
            take_from -= 1;
        }
    }
    let take_to = if of { end + 1 } else { end };
    let span = words[take_from].span.to(words[end - 1].span);
    if shot.style.iter().all(|s| s.text != text) {
        shot.style.push(Phrase { text, span });
    }
    take(words, take_from, take_to);
    Some(take_to)
}
