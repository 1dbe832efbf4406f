//! Expansion: the prompt in the words that a model was trained on.
//!
//! The order is that of the training captions: subject, motion, place, time, weather, camera, style. Parts that the model
//! does not know are left out (the grounding's notes say so), except that a scene never loses its only subject.

use super::ground::{Grounding, Match, Role};
use super::morphology;
use super::scene::{Count, MotionKind, Scene, Shot};
use super::vocabulary::Group;
use serde::{Deserialize, Serialize};

/// What a model wants to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpansionPolicy {
    /// The user's own words.
    Raw,
    /// Its training vocabulary.
    Vocabulary,
}

/// The whole scene as a prompt in the model's vocabulary: one caption a shot, in order.
#[must_use]
pub fn expand(scene: &Scene, grounding: &Grounding) -> String {
    let captions: Vec<String> = (0..scene.shots.len())
        .map(|i| expand_shot(scene, grounding, i, ExpansionPolicy::Vocabulary))
        .filter(|c| !c.is_empty())
        .collect();
    if captions.is_empty() {
        scene.raw.trim().to_owned()
    } else {
        captions.join(". ")
    }
}

/// One shot as a prompt. A shot that names no place, time or style keeps those of the shot before.
#[must_use]
pub fn expand_shot(scene: &Scene, grounding: &Grounding, shot: usize, policy: ExpansionPolicy) -> String {
    let Some(s) = scene.shots.get(shot) else {
        return String::new();
    };
    let raw = scene.raw.get(s.span.start..s.span.end).unwrap_or(&scene.raw).trim();
    if policy == ExpansionPolicy::Raw {
        return if scene.shots.len() == 1 {
            scene.raw.trim().to_owned()
        } else {
            raw.to_owned()
        };
    }
    let kept = |role: Role| (0..=shot).rev().find_map(|i| grounding.of(i, role));
    let mut body = subjects(s, grounding, shot);
    let mut circumstances = Vec::new();
    if let Some(m) = kept(Role::Setting) {
        let color = kept(Role::Color).map_or("white", |c| c.concept.as_str());
        circumstances.push(m.phrase.replace("{c}", color));
    }
    circumstances.extend(kept(Role::TimeOfDay).map(|m| m.phrase.clone()));
    circumstances.extend(
        kept(Role::Weather(0))
            .or_else(|| kept(Role::Weather(1)))
            .map(|m| m.phrase.clone()),
    );
    if body.is_empty() && circumstances.is_empty() && grounding.matches.iter().all(|m| m.shot != shot) {
        return raw.to_owned();
    }
    if !circumstances.is_empty() {
        body = format!("{body} {}", circumstances.join(" ")).trim().to_owned();
    }
    let mut tail: Vec<String> = all(grounding, shot, Group::Camera).map(|m| m.phrase.clone()).collect();
    tail.extend(
        (0..=shot)
            .flat_map(|i| all(grounding, i, Group::Style))
            .map(|m| m.phrase.clone()),
    );
    tail.dedup();
    std::iter::once(body)
        .filter(|b| !b.is_empty())
        .chain(tail)
        .collect::<Vec<_>>()
        .join(", ")
}

fn all(grounding: &Grounding, shot: usize, group: Group) -> impl Iterator<Item = &Match> {
    grounding
        .matches
        .iter()
        .filter(move |m| m.shot == shot && m.group == group)
}

/// Up to two actors with their relation and the motion of the first.
fn subjects(shot: &Shot, grounding: &Grounding, n: usize) -> String {
    let known: Vec<usize> = (0..shot.subjects.len())
        .filter(|i| grounding.of(n, Role::Subject(*i)).is_some())
        .collect();
    let Some(&first) = known
        .iter()
        .find(|i| shot.subjects[**i].motion.is_some())
        .or(known.first())
    else {
        return shot.subjects.first().map(|s| article(&s.noun)).unwrap_or_default();
    };
    let second = partner(shot, &known, first);
    let name = |i: usize| named(shot, grounding, n, i);
    let many = plural(shot.subjects[first].count);
    let Some((other, link)) = second else {
        let motion = motion(grounding, n, first, many, false);
        return format!("{} {motion}", name(first)).trim().to_owned();
    };
    let (a, b) = if link == "to the right of" {
        (other, first)
    } else {
        (first, other)
    };
    let link = if link == "to the right of" {
        "to the left of"
    } else {
        link
    };
    let together = link == "and";
    let chase = link == "chasing";
    let motion = if chase {
        travel_only(grounding, n, first)
    } else {
        motion(grounding, n, first, many || together, !together)
    };
    format!("{} {link} {} {motion}", name(a), name(b)).trim().to_owned()
}

/// The second actor and the words that join them in the captions.
fn partner<'a>(shot: &Shot, known: &[usize], first: usize) -> Option<(usize, &'a str)> {
    for r in &shot.relations {
        let other = if r.from == first {
            r.to
        } else if r.to == first {
            r.from
        } else {
            continue;
        };
        if !known.contains(&other) {
            continue;
        }
        let chased = shot.subjects[r.from]
            .motion
            .as_ref()
            .is_some_and(|m| m.kind == MotionKind::Chase)
            && matches!(r.words.as_str(), "chase" | "pursue" | "hunt" | "follow" | "stalk");
        let link = match r.words.as_str() {
            _ if chased && r.from == first => "chasing",
            "to the left of" | "on the left of" => "to the left of",
            "to the right of" | "on the right of" => "to the right of",
            "next to" | "beside" | "near" | "by" | "close to" | "alongside" | "with" | "in front of" | "behind"
            | "on" | "under" | "opposite" | "together with" => "next to",
            _ => "and",
        };
        return Some((other, link));
    }
    known.iter().find(|i| **i != first).map(|i| (*i, "and"))
}

/// A subject as the captions write it: article or number, size, name.
fn named(shot: &Shot, grounding: &Grounding, n: usize, i: usize) -> String {
    let s = &shot.subjects[i];
    let phrase = grounding
        .of(n, Role::Subject(i))
        .map_or(s.noun.as_str(), |m| m.phrase.as_str());
    let size = grounding
        .of(n, Role::Size(i))
        .map(|m| format!("{} ", m.phrase))
        .unwrap_or_default();
    let number = match s.count {
        Count::One => return article(&format!("{size}{phrase}")),
        Count::Exact(2) => "two",
        Count::Exact(3) | Count::Few | Count::Plural => "three",
        Count::Exact(_) | Count::Many => "four",
    };
    format!("{number} {size}{}", morphology::plural(phrase))
}

/// Names that take no article in the captions.
const BARE: &[&str] = &[
    "grapes",
    "cherries",
    "blueberries",
    "french fries",
    "fries",
    "pancakes",
    "glasses",
    "headphones",
    "fireworks",
    "stack of books",
    "books",
    "scissors",
    "dice",
    "popcorn",
    "bread",
    "cheese",
    "spaghetti",
    "pasta",
    "sushi",
    "chocolate",
    "fire",
    "coffee",
    "milk",
    "yarn",
    "corn",
    "salad",
    "Santa Claus",
    "Mount Fuji",
    "Statue of Liberty",
    "planet Earth",
    "Saturn",
];

fn article(name: &str) -> String {
    if BARE.contains(&name) {
        return name.to_owned();
    }
    let lower = name.to_lowercase();
    let consonant = ["uni", "ufo", "one", "eu"].iter().any(|p| lower.starts_with(p));
    let an = (lower.starts_with(['a', 'e', 'i', 'o', 'u']) && !consonant)
        || name.starts_with("SUV")
        || lower.starts_with("hour");
    format!("{} {name}", if an { "an" } else { "a" })
}

fn plural(count: Count) -> bool {
    count != Count::One
}

/// The motion as the captions write it: "drives from left to right", "jump", "spinning around".
fn motion(grounding: &Grounding, n: usize, i: usize, many: bool, participle: bool) -> String {
    let Some(m) = grounding.of(n, Role::Motion(i)) else {
        return String::new();
    };
    let (verb, rest) = m.phrase.split_once(' ').unwrap_or((&m.phrase, ""));
    let verb = if participle {
        morphology::ing(verb)
    } else if many {
        verb.to_owned()
    } else {
        morphology::third(verb)
    };
    format!("{verb} {rest}").trim().to_owned()
}

/// After "chasing" the captions give only the direction.
fn travel_only(grounding: &Grounding, n: usize, i: usize) -> String {
    let m = grounding
        .of(n, Role::Motion(i))
        .filter(|m| m.concept == "left" || m.concept == "right");
    m.and_then(|m| m.phrase.split_once(' '))
        .map(|p| p.1.to_owned())
        .unwrap_or_default()
}
