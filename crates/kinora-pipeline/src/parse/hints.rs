//! What a prompt says about the file: length, shape, size, frame rate, looping. Recorded, never acted on here.

use super::phrase_index::{take, text_of};
use super::scene::{Hint, HintKind};
use super::tag::{Pos, Word};

/// Finds and takes hints and the words that ask for a video.
pub(super) fn find(words: &mut [Word], hints: &mut Vec<Hint>) {
    for i in 0..words.len() {
        if words[i].used {
            continue;
        }
        let Some((kind, value, len)) = hint(words, i) else {
            continue;
        };
        let from = if i > 0 && matches!(words[i - 1].text.as_str(), "for" | "at" | "in") && !words[i - 1].used {
            i - 1
        } else {
            i
        };
        let span = words[i].span.to(words[i + len - 1].span);
        hints.push(Hint {
            kind,
            value,
            text: text_of(&words[i..i + len]),
            span,
        });
        take(words, from, i + len);
    }
    lead_in(words);
}

fn text(words: &[Word], i: usize) -> &str {
    words.get(i).filter(|w| !w.used).map_or("", |w| w.text.as_str())
}

/// The number before a unit that may be glued to it ("5s", "5-second", "24fps").
fn split_unit(t: &str) -> Option<(f64, &str)> {
    let cut = t.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
    Some((t[..cut].parse().ok()?, t[cut..].trim_start_matches('-')))
}

fn hint(words: &[Word], i: usize) -> Option<(HintKind, String, usize)> {
    let w = text(words, i);
    let next = text(words, i + 1);
    let number = w.parse::<f64>().ok().or_else(|| {
        super::lexicon::function_words::NUMBERS
            .iter()
            .find(|n| n.0 == w)
            .map(|n| f64::from(n.1))
    });
    let long = |n: usize| {
        if matches!(text(words, i + n), "long" | "duration") {
            n + 1
        } else {
            n
        }
    };
    if let Some((a, b)) = w.split_once(':').or_else(|| w.split_once('x'))
        && let (Ok(x), Ok(y)) = (a.parse::<u32>(), b.parse::<u32>())
        && x > 0
        && y > 0
    {
        let n = if matches!(next, "aspect" | "format") {
            if text(words, i + 2) == "ratio" { 3 } else { 2 }
        } else {
            1
        };
        let shape = w.contains(':') && x < 100 && y < 100;
        return if shape {
            Some((HintKind::Aspect, w.to_owned(), n))
        } else {
            w.contains('x').then(|| (HintKind::Resolution, w.to_owned(), n))
        };
    }
    if let Some(n) = number
        && matches!(next, "second" | "seconds" | "sec" | "secs" | "s")
        && (next != "second" || n == 1.0 || !matches!(text(words, i + 2), "floor" | "row"))
    {
        return Some((HintKind::Seconds, format!("{n}"), long(2)));
    }
    if let Some(n) = number
        && matches!(next, "fps" | "frames")
        && w != "one"
    {
        return Some((
            HintKind::Fps,
            format!("{n}"),
            if text(words, i + 2) == "per" { 4 } else { 2 },
        ));
    }
    // "1940s" is a decade, not a length.
    if let Some((n, unit)) = split_unit(w).filter(|u| u.0 < 1000.0 || u.1 != "s") {
        match unit {
            "s" | "sec" | "secs" | "second" | "seconds" | "second-long" => {
                return Some((HintKind::Seconds, format!("{n}"), long(1)));
            }
            "fps" => return Some((HintKind::Fps, format!("{n}"), 1)),
            "k" if matches!(w, "2k" | "4k" | "8k" | "5k") => {
                return Some((
                    HintKind::Resolution,
                    w.to_owned(),
                    if matches!(next, "resolution" | "quality" | "uhd") {
                        2
                    } else {
                        1
                    },
                ));
            }
            "p" if matches!(w, "480p" | "720p" | "1080p" | "1440p" | "2160p") => {
                return Some((HintKind::Resolution, w.to_owned(), 1));
            }
            _ => {}
        }
    }
    let format = |n: usize| {
        matches!(
            text(words, n),
            "video" | "format" | "orientation" | "mode" | "clip" | "aspect" | "frame"
        )
    };
    let alone = i == 0 || matches!(words[i - 1].pos, Pos::Punct);
    let ends = words.get(i + 1).is_none_or(|w| w.used || w.pos == Pos::Punct);
    let shape = match w {
        "vertical" => Some("9:16"),
        "horizontal" | "widescreen" => Some("16:9"),
        "portrait" | "landscape" if matches!(next, "orientation" | "mode" | "format" | "aspect") => {
            Some(if w == "portrait" { "9:16" } else { "16:9" })
        }
        "square" if format(i + 1) => Some("1:1"),
        _ => None,
    };
    if let Some(value) = shape
        && (format(i + 1) || (alone && ends) || w == "widescreen")
    {
        let takes = matches!(next, "format" | "orientation" | "mode" | "aspect");
        return Some((HintKind::Aspect, value.to_owned(), if takes { 2 } else { 1 }));
    }
    if w == "loop" && next == "of" {
        return Some((HintKind::Loop, "loop".to_owned(), 1));
    }
    let looping = (w == "seamless" && matches!(next, "loop" | "looping")) || (w == "perfect" && next == "loop");
    if looping
        || (matches!(w, "looping" | "looped") && (format(i + 1) || (alone && ends)))
        || (w == "loop" && alone && ends)
    {
        return Some((HintKind::Loop, "loop".to_owned(), if looping { 2 } else { 1 }));
    }
    None
}

/// "please make me a video of", "I want to see", "imagine": words that ask for the picture and show nothing.
fn lead_in(words: &mut [Word]) {
    const ASK: &[&str] = &[
        "please",
        "can",
        "could",
        "you",
        "i",
        "want",
        "would",
        "like",
        "to",
        "see",
        "need",
        "generate",
        "create",
        "make",
        "render",
        "show",
        "me",
        "us",
        "imagine",
        "picture",
        "give",
        "let",
        "'s",
        "'d",
        "have",
        "produce",
        "visualize",
        "visualise",
        "animate",
        "hey",
        "hi",
        "ok",
        "just",
        "we",
        "there",
        "is",
        "are",
        "'m",
        "looking",
        "for",
        "prompt",
        "video",
        ":",
    ];
    const OPENERS: &[&str] = &[
        "please",
        "can",
        "could",
        "i",
        "generate",
        "create",
        "make",
        "render",
        "show",
        "imagine",
        "picture",
        "give",
        "let",
        "produce",
        "visualize",
        "visualise",
        "animate",
        "hey",
        "hi",
        "ok",
        "we",
        "there",
        "prompt",
        "video",
    ];
    let Some(first) = words.iter().position(|w| !w.used && w.pos != Pos::Punct) else {
        return;
    };
    if !OPENERS.contains(&words[first].text.as_str()) {
        return;
    }
    let asks = words[first..]
        .iter()
        .take_while(|w| !w.used && ASK.contains(&w.text.as_str()))
        .count();
    let end = first + asks;
    let verbs = [
        "generate",
        "create",
        "make",
        "render",
        "show",
        "imagine",
        "picture",
        "give",
        "produce",
        "see",
        "visualize",
        "visualise",
        "animate",
        "want",
        "need",
        "for",
        "is",
        "are",
        "like",
        "have",
        ":",
    ];
    let asked = words[first..end].iter().any(|w| verbs.contains(&w.text.as_str()))
        || matches!(words.get(end), Some(w) if w.text == "showing");
    // "make-up", "show jumping": an asking verb needs something to ask for.
    let object = words.get(end).is_some_and(|w| {
        !matches!(w.pos, Pos::Verb | Pos::Punct) || w.used || w.pos == Pos::Verb && w.text.ends_with("ing")
    });
    if asked && (object || words[first].text == "imagine") {
        take(words, first, end);
    }
}
