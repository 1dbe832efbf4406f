//! The camera: clauses about it ("the camera slowly pushes in on …") and phrases of its trade ("slow pan left", "aerial view of").
//!
//! This pass runs before the clause reader and takes its words away, so that what the camera sees is left as plain content.

use super::lexicon::phrases::{CAMERA_TERMS, Term};
use super::morphology;
use super::phrase_index::{PhraseIndex, take, text_of};
use super::scene::{Angle, Camera, CameraMove, Pace, Phrase, Shot};
use super::tag::{Pos, Word};
use std::sync::LazyLock;

static TERMS: LazyLock<PhraseIndex> = LazyLock::new(|| PhraseIndex::new(CAMERA_TERMS.iter().map(|t| t.0)));

/// Words that mean the camera as the subject of a clause.
const CAMERAS: &[&str] = &["camera", "cam", "lens", "viewpoint"];
/// Nouns that may close a camera phrase.
const HEADS: &[&str] = &[
    "shot",
    "shots",
    "view",
    "angle",
    "footage",
    "perspective",
    "camera",
    "cam",
    "lens",
    "video",
    "photography",
    "mode",
    "clip",
    "take",
    "cinematography",
    "movement",
    "framing",
    "close-up",
    "sequence",
    "effect",
    "work",
];
/// How a camera moves.
const MANNER: &[&str] = &[
    "slow",
    "slowly",
    "smooth",
    "smoothly",
    "gentle",
    "gently",
    "fast",
    "quick",
    "quickly",
    "steady",
    "steadily",
    "rapid",
    "rapidly",
    "dramatic",
    "sweeping",
    "continuous",
    "gradually",
    "gradual",
    "subtle",
    "suddenly",
    "whip",
    "crash",
];

/// Finds and takes everything about the camera.
pub(super) fn find(words: &mut [Word], shot: &mut Shot) {
    let mut camera = shot.camera.take().unwrap_or_default();
    let mut i = 0;
    while i < words.len() {
        let end = if words[i].used {
            None
        } else {
            clause(words, i, &mut camera).or_else(|| phrase(words, i, &mut camera, shot))
        };
        i = end.unwrap_or(i + 1).max(i + 1);
    }
    shot.camera = (camera != Camera::default()).then_some(camera);
}

fn free(words: &[Word], i: usize) -> Option<&Word> {
    words.get(i).filter(|w| !w.used)
}

fn is(words: &[Word], i: usize, list: &[&str]) -> bool {
    free(words, i).is_some_and(|w| list.contains(&w.text.as_str()))
}

/// The camera's verb at `i`: what it does, and the index after it.
fn camera_verb(words: &[Word], i: usize) -> Option<(String, usize)> {
    let w = free(words, i)?;
    let (lemma, _) = verb_form(&w.text)?;
    let known = [
        "pan", "tilt", "zoom", "dolly", "track", "follow", "orbit", "circle", "push", "pull", "move", "glide", "fly",
        "rise", "crane", "descend", "sweep", "rotate", "drift", "float", "hover", "stay", "remain", "hold", "truck",
        "arc", "spin", "swoop", "soar", "linger", "shake", "start", "begin", "look", "turn", "back", "pull", "travel",
        "lower", "ascend", "climb", "revolve", "reveal", "capture", "show", "focus", "creep", "ease", "swing", "trail",
        "chase", "keep", "continue", "come", "go", "wobble", "sit", "dive", "pass", "slide", "close", "weave",
    ];
    known.contains(&lemma.as_str()).then_some((lemma, i + 1))
}

/// Camera verbs that are no verbs of the general lexicon.
fn verb_form(text: &str) -> Option<(String, bool)> {
    for base in [
        "pan", "tilt", "dolly", "track", "truck", "crane", "arc", "swoop", "focus", "ease", "swoop",
    ] {
        let doubled = format!("{base}{}", &base[base.len() - 1..]);
        let forms = [
            base.to_owned(),
            format!("{base}s"),
            format!("{base}es"),
            format!("{base}ing"),
            format!("{doubled}ing"),
            format!("{base}ed"),
            format!("{doubled}ed"),
            format!("{}ing", base.trim_end_matches('e')),
            format!("{}ies", base.trim_end_matches('y')),
        ];
        if forms.iter().any(|f| f == text) {
            return Some((base.to_owned(), true));
        }
    }
    morphology::verb(text).map(|v| (v.0, false))
}

/// "the camera slowly pans left and tilts up": returns the end and marks the words.
fn clause(words: &mut [Word], at: usize, camera: &mut Camera) -> Option<usize> {
    let text = words[at].text.as_str();
    let subject = CAMERAS.contains(&text)
        || (matches!(text, "shot" | "view" | "frame")
            && words.get(at + 1).is_some_and(|w| {
                w.text.ends_with("ly")
                    || camera_verb(words, at + 1).is_some_and(|v| {
                        ["pan", "zoom", "tilt", "follow", "track", "move", "pull", "push"].contains(&v.0.as_str())
                    })
            }));
    if !subject {
        return None;
    }
    let mut i = at + 1;
    let mut manner = Vec::new();
    while let Some(w) = free(words, i) {
        match w.pos {
            _ if MANNER.contains(&w.text.as_str()) => manner.push(w.text.clone()),
            Pos::Adv => {}
            Pos::Aux => {}
            _ if w.text == "then" || w.text == "work" => {}
            _ => break,
        }
        i += 1;
    }
    let adjective = free(words, i).map(|w| w.text.clone()).unwrap_or_default();
    if matches!(
        adjective.as_str(),
        "static" | "still" | "fixed" | "stationary" | "locked" | "motionless" | "steady"
    ) {
        camera.moves.push(CameraMove::Static);
        i += 1;
        if is(words, i, &["off"]) {
            i += 1;
        }
    } else if matches!(adjective.as_str(), "handheld" | "shaky" | "hand-held") {
        camera.moves.push(CameraMove::Handheld);
        i += 1;
    } else if camera_verb(words, i).is_some() {
        i = moves(words, i, camera, &mut manner);
    } else if is(words, i, &["movement", "motion", "shake"]) {
        i += 1;
    } else {
        return None;
    }
    let start = lead(words, at, &mut manner, camera);
    finish(words, start, i, manner, camera);
    Some(i)
}

/// Steps back over what introduces a camera phrase: "while the", "shot from a", "with slow".
fn lead(words: &[Word], at: usize, manner: &mut Vec<String>, camera: &mut Camera) -> usize {
    let mut start = at;
    while start > 0 && !words[start - 1].used {
        let w = &words[start - 1];
        let t = w.text.as_str();
        if MANNER.contains(&t) {
            manner.insert(0, t.to_owned());
        } else if t == "wide" {
            camera.framing = camera.framing.or(Some(super::scene::Framing::Wide));
        } else if t == "aerial" {
            camera.angle = camera.angle.or(Some(Angle::Aerial));
        } else if t == "handheld" || t == "static" {
            camera.moves.push(if t == "handheld" {
                CameraMove::Handheld
            } else {
                CameraMove::Static
            });
        } else if !matches!(w.pos, Pos::Det)
            && !matches!(
                t,
                "while" | "as" | "our" | "smooth" | "and" | "with" | "very" | "camera" | "drone"
            )
        {
            break;
        }
        start -= 1;
    }
    // "and the" may join content to content; a conjunction alone before the camera still belongs to the camera's clause.
    start
}

/// One or more movements from a verb on; returns the index after them.
fn moves(words: &[Word], from: usize, camera: &mut Camera, manner: &mut Vec<String>) -> usize {
    let mut i = from;
    while let Some((lemma, after)) = camera_verb(words, i) {
        i = after;
        if matches!(lemma.as_str(), "start" | "begin" | "continue" | "keep") {
            while is(words, i, &["to", "by"]) {
                i += 1;
            }
            if camera_verb(words, i).is_some() {
                continue;
            }
        }
        let (directions, end, stopped) = directions(words, i, manner);
        i = end;
        camera.moves.extend(movement(&lemma, &directions));
        if stopped {
            break;
        }
        // "and then zooms out", ", tilting up"
        let mut j = i;
        while is(
            words,
            j,
            &["and", "then", ",", "before", "to", "slowly", "smoothly", "while"],
        ) {
            j += 1;
        }
        let next = camera_verb(words, j).filter(|v| {
            j > i
                && [
                    "pan", "tilt", "zoom", "dolly", "orbit", "push", "pull", "track", "crane", "truck", "reveal",
                    "show", "follow", "focus", "descend",
                ]
                .contains(&v.0.as_str())
        });
        if next.is_none() {
            break;
        }
        i = j;
    }
    i
}

/// Particles, sides and prepositions after a camera verb. The flag says that a preposition opened the way to content.
fn directions(words: &[Word], from: usize, manner: &mut Vec<String>) -> (Vec<String>, usize, bool) {
    let mut found = Vec::new();
    let mut i = from;
    while let Some(w) = free(words, i) {
        let t = w.text.as_str();
        let side = |k: usize| {
            (1..=2)
                .map(|n| k + n)
                .find(|n| is(words, *n, &["left", "right"]))
                .filter(|n| *n == k + 1 || is(words, k + 1, &["the"]))
        };
        if MANNER.contains(&t) {
            manner.push(t.to_owned());
        } else if matches!(t, "to" | "towards" | "toward" | "from") && side(i).is_some() {
            let end = side(i).unwrap_or(i);
            if t != "from" {
                found.push(words[end].text.clone());
            }
            i = end;
        } else if matches!(
            t,
            "in" | "out"
                | "left"
                | "right"
                | "up"
                | "down"
                | "back"
                | "backwards"
                | "backward"
                | "forward"
                | "forwards"
                | "away"
                | "closer"
                | "upwards"
                | "upward"
                | "downwards"
                | "downward"
                | "off"
                | "overhead"
                | "still"
                | "static"
                | "sideways"
        ) {
            found.push(t.to_owned());
        } else if matches!(w.pos, Pos::Adv) {
        } else if matches!(
            t,
            "around"
                | "over"
                | "above"
                | "through"
                | "across"
                | "along"
                | "toward"
                | "towards"
                | "past"
                | "behind"
                | "alongside"
                | "with"
                | "on"
                | "onto"
                | "at"
                | "into"
                | "from"
                | "to"
                | "under"
                | "beside"
                | "for"
                | "of"
                | "between"
                | "among"
        ) {
            found.push(t.to_owned());
            i += 1;
            return (found, vague_object(words, i), true);
        } else if matches!(t, "it" | "him" | "her" | "them")
            && free(words, i + 1).is_none_or(|n| !matches!(n.pos, Pos::Noun))
        {
        } else {
            break;
        }
        i += 1;
    }
    let end = vague_object(words, i);
    (found, end, end > i)
}

/// Skips "the subject", "the scene", "it": objects that name no content.
fn vague_object(words: &[Word], i: usize) -> usize {
    let det = usize::from(free(words, i).is_some_and(|w| w.pos == Pos::Det));
    let vague = is(
        words,
        i + det,
        &[
            "subject", "scene", "action", "viewer", "frame", "it", "them", "him", "centre", "center",
        ],
    );
    if vague { i + det + 1 } else { i }
}

/// The movement that a verb and its directions mean.
fn movement(lemma: &str, directions: &[String]) -> Option<CameraMove> {
    let has = |list: &[&str]| directions.iter().any(|d| list.contains(&d.as_str()));
    let left = has(&["left"]);
    let right = has(&["right"]);
    let (up, down) = (
        has(&["up", "upwards", "upward"]),
        has(&["down", "downwards", "downward"]),
    );
    let closer = has(&["in", "closer", "forward", "forwards", "toward", "towards", "into"]);
    let away = has(&["out", "back", "backwards", "backward", "away"]);
    Some(match lemma {
        "pan" | "turn" | "swing" | "sweep" if left => CameraMove::PanLeft,
        "pan" | "turn" | "swing" | "sweep" if right => CameraMove::PanRight,
        "pan" | "tilt" | "look" | "turn" if up => CameraMove::TiltUp,
        "pan" | "tilt" | "look" | "turn" if down => CameraMove::TiltDown,
        "pan" | "turn" => CameraMove::Pan,
        "tilt" => CameraMove::TiltUp,
        "zoom" if away => CameraMove::ZoomOut,
        "zoom" => CameraMove::ZoomIn,
        "follow" | "track" | "trail" | "chase" if !(lemma == "track" && (closer || away || left || right)) => {
            CameraMove::Follow
        }
        "orbit" | "circle" | "arc" | "revolve" | "rotate" | "spin" => CameraMove::Orbit,
        "crane" | "rise" | "ascend" | "climb" | "lift" if !down => CameraMove::CraneUp,
        "crane" | "descend" | "lower" | "dive" | "swoop" => CameraMove::CraneDown,
        "stay" | "remain" | "hold" | "linger" | "sit" | "focus" => CameraMove::Static,
        "shake" | "wobble" => CameraMove::Handheld,
        "truck" if left => CameraMove::TruckLeft,
        "truck" if right => CameraMove::TruckRight,
        "reveal" | "capture" | "show" | "start" | "begin" | "keep" | "continue" => return None,
        _ if has(&["around"]) => CameraMove::Orbit,
        "move" | "slide" | "go" | "track" | "glide" | "drift" | "come" if left => CameraMove::PanLeft,
        "move" | "slide" | "go" | "track" | "glide" | "drift" | "come" if right => CameraMove::PanRight,
        _ if has(&["over", "above", "across"]) => CameraMove::FlyOver,
        "move" if has(&["with", "alongside"]) => CameraMove::Follow,
        "push" | "dolly" if !away => CameraMove::DollyIn,
        "pull" | "back" | "dolly" => CameraMove::DollyOut,
        _ if closer => CameraMove::DollyIn,
        _ if away => CameraMove::DollyOut,
        _ if up => CameraMove::CraneUp,
        _ if down => CameraMove::CraneDown,
        _ => CameraMove::Glide,
    })
}

/// "slow zoom in on", "aerial view of", "in slow motion".
fn phrase(words: &mut [Word], at: usize, camera: &mut Camera, shot: &mut Shot) -> Option<usize> {
    let (n, len) = TERMS.at(words, at)?;
    let (name, term) = &CAMERA_TERMS[n];
    let mut i = at + len;
    let head = is(words, i, HEADS);
    // Adjectives like "aerial", "static", "macro" and "tracking" need a camera word or a break after them.
    let loose = matches!(
        *name,
        "aerial"
            | "static"
            | "macro"
            | "tracking"
            | "tripod"
            | "telephoto"
            | "steadicam"
            | "from above"
            | "from below"
            | "top down"
    );
    let ends = free(words, i).is_none_or(|w| matches!(w.pos, Pos::Punct | Pos::Prep | Pos::Conj));
    if (loose && !head && !ends) || (*name == "tracking" && !head) {
        return None;
    }
    let of_light = at > 0
        && matches!(
            words[at - 1].text.as_str(),
            "light" | "lit" | "spotlight" | "shines" | "shining" | "sunlight" | "moonlight"
        );
    if name.starts_with("from ") && of_light {
        return None;
    }
    let mut manner = Vec::new();
    match term {
        Term::Move(CameraMove::Pan) => {
            let (found, end, _) = directions(words, i, &mut manner);
            let side = movement("pan", &found).unwrap_or(CameraMove::Pan);
            if side != CameraMove::Pan {
                i = end;
            }
            camera.moves.push(side);
        }
        Term::Move(m) => camera.moves.push(*m),
        Term::Framing(f) => camera.framing = camera.framing.or(Some(*f)),
        Term::Angle(a) => camera.angle = camera.angle.or(Some(*a)),
        Term::Pace(p) => camera.pace = camera.pace.or(Some(*p)),
        Term::Style(s) => shot.style.push(Phrase {
            text: (*s).to_owned(),
            span: words[at].span.to(words[i - 1].span),
        }),
    }
    if let Some(first) = name
        .split(' ')
        .next()
        .filter(|w| MANNER.contains(w) && !matches!(term, Term::Pace(_)))
    {
        manner.push(first.to_owned());
    }
    while is(words, i, HEADS) || (is(words, i, &["-", "drone"]) && is(words, i + 1, HEADS)) {
        i += 1;
    }
    while let Some(w) = free(words, i).filter(|w| MANNER.contains(&w.text.as_str()) && w.text.ends_with("ly")) {
        manner.push(w.text.clone());
        i += 1;
    }
    let after_camera = i > at && CAMERAS.contains(&words[i - 1].text.as_str());
    let moving =
        (after_camera || free(words, i).is_some_and(|w| w.text.ends_with("ing"))) && !matches!(term, Term::Pace(_));
    if moving && camera_verb(words, i).is_some() && !matches!(words[i].text.as_str(), "showing" | "revealing") {
        i = moves(words, i, camera, &mut manner);
    } else if is(
        words,
        i,
        &[
            "of",
            "on",
            "showing",
            "revealing",
            "capturing",
            "over",
            "at",
            "into",
            "across",
            "around",
            "through",
            "from",
        ],
    ) && !matches!(term, Term::Pace(_))
    {
        let opens = !is(words, i, &["from", "at"]) || TERMS.at(words, i + 2).or(TERMS.at(words, i + 1)).is_none();
        if opens && !is(words, i, &["at", "from"]) {
            i += 1;
        }
    } else if matches!(term, Term::Pace(_)) && is(words, i, &["of"]) {
        i += 1;
    }
    let mut start = lead(words, at, &mut manner, camera);
    start = shot_in(words, start);
    if start > 0
        && matches!(term, Term::Pace(_))
        && !is(words, start.saturating_sub(1), &["in"])
        && words[start].pos == Pos::Conj
    {
        start = at;
    }
    finish(words, start, i, manner, camera);
    Some(i)
}

/// "shot in", "filmed from a", "in", "with a" before a camera phrase.
fn shot_in(words: &[Word], at: usize) -> usize {
    let mut start = at;
    if start > 0 && is(words, start - 1, &["in", "from", "with", "at", "as", "on", "using"]) {
        start -= 1;
    }
    if start < at
        && start > 0
        && is(
            words,
            start - 1,
            &[
                "shot",
                "filmed",
                "captured",
                "seen",
                "taken",
                "shown",
                "viewed",
                "presented",
                "recorded",
                "video",
            ],
        )
    {
        start -= 1;
    }
    start
}

fn finish(words: &mut [Word], start: usize, end: usize, manner: Vec<String>, camera: &mut Camera) {
    let span = words[start].span.to(words[end - 1].span);
    let text = text_of(&words[start..end]);
    let words_of = text.trim_matches(|c: char| c == ',' || c == ' ').to_owned();
    camera.phrases.push(Phrase { text: words_of, span });
    for m in manner {
        if !camera.manner.contains(&m) {
            camera.manner.push(m);
        }
    }
    camera.moves.dedup();
    take(words, start, end);
}

/// A drone or aerial camera that also flies over something needs no second word for it.
pub(super) fn tidy(shot: &mut Shot) {
    let Some(camera) = shot.camera.as_mut() else { return };
    if camera.angle == Some(Angle::Aerial) && camera.moves == [CameraMove::Glide] {
        camera.moves = vec![CameraMove::FlyOver];
    }
    let mut seen = Vec::new();
    camera.moves.retain(|m| {
        let new = !seen.contains(m);
        seen.push(*m);
        new
    });
    if camera.moves.len() > 1 && camera.pace != Some(Pace::TimeLapse) {
        camera.moves.retain(|m| *m != CameraMove::Glide);
    }
}
