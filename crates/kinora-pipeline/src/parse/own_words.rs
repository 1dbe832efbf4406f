//! Whether a prompt is made of a model's own phrases alone. Such a prompt is what the model was trained on: whatever the
//! rules of the parser make of it, nothing in it is unknown, and it is best left as it is.

use std::collections::HashSet;

use super::ground::{Grounding, Role};
use super::morphology;
use super::scene::Scene;
use super::token::{Kind, Span, Token, tokenize};
use super::vocabulary::{Concept, Group, Vocabulary};

/// The longest phrase of a model, in words.
const LONGEST: usize = 8;
const ARTICLES: &[&str] = &["a", "an", "the"];

/// All ways in which the captions write the concepts, but for actors: those are looked up with their plurals.
///
/// `groups` are the ways to name several actors: "two X", "X next to Y".
pub(super) fn phrases(concepts: &[Concept], groups: &[String]) -> HashSet<String> {
    let colours: Vec<&str> = concepts
        .iter()
        .filter(|concept| concept.group == Group::Color)
        .map(|concept| concept.name.as_str())
        .collect();
    let mut out: HashSet<String> = ARTICLES.iter().map(|&article| article.to_owned()).collect();
    out.extend(groups.iter().map(|group| normal(&group.replace(['X', 'Y'], " "))));
    for concept in concepts {
        for phrase in &concept.phrases {
            match concept.group {
                Group::Actor | Group::Color => {}
                Group::Motion => out.extend(motions(phrase)),
                _ if phrase.contains("{c}") => {
                    out.extend(colours.iter().map(|colour| normal(&phrase.replace("{c}", colour))));
                    // Written by a template: "on a orange background" is what a few captions have, and nobody types.
                    out.extend(
                        colours
                            .iter()
                            .map(|colour| normal(&phrase.replace("a {c}", &format!("an {colour}")))),
                    );
                }
                _ => _ = out.insert(normal(phrase)),
            }
        }
    }
    out
}

/// "move/walk to the left" and "zigzag" in the forms of a caption; of travelling the way alone too, for other verbs.
fn motions(phrase: &str) -> Vec<String> {
    let (verbs, rest) = phrase.split_once(' ').unwrap_or((phrase, ""));
    let mut out = Vec::new();
    for verb in verbs.split('/') {
        for form in [verb.to_owned(), morphology::third(verb), morphology::ing(verb)] {
            out.push(normal(&format!("{form} {rest}")));
        }
    }
    if verbs.contains('/') {
        out.push(normal(rest));
    }
    out
}

/// The words of a text as the tokens of a prompt are written.
fn normal(text: &str) -> String {
    let words: Vec<String> = tokenize(text).into_iter().map(|token| token.text).collect();
    words.join(" ")
}

impl Vocabulary {
    /// Whether every word of the scene's prompt belongs to a phrase of the model, to a movement of the camera that it
    /// knows, or to a motion that it knows by that verb.
    #[must_use]
    pub fn spells_out(&self, scene: &Scene, grounding: &Grounding) -> bool {
        let tokens: Vec<Token> = tokenize(&scene.raw)
            .into_iter()
            .filter(|token| token.kind != Kind::Punct)
            .collect();
        let known = known_spans(scene, grounding);
        let in_span = |token: &Token| {
            let holds = |span: &Span| span.start <= token.span.start && token.span.end <= span.end;
            known.iter().any(holds)
        };
        let mut at = 0;
        while at < tokens.len() {
            let longest = LONGEST.min(tokens.len() - at);
            let phrase = (1..=longest).rev().find(|&length| self.has(&tokens[at..at + length]));
            match phrase {
                Some(length) => at += length,
                None if in_span(&tokens[at]) => at += 1,
                None => return false,
            }
        }
        !tokens.is_empty()
    }

    fn has(&self, tokens: &[Token]) -> bool {
        let words: Vec<&str> = tokens.iter().map(|token| token.text.as_str()).collect();
        let text = words.join(" ");
        self.own_phrases().contains(&text) || self.find(Group::Actor, &text).is_some()
    }
}

/// Where a camera moves, or an actor, in words that the parser knows to be the model's.
fn known_spans(scene: &Scene, grounding: &Grounding) -> Vec<Span> {
    let motions = grounding
        .matches
        .iter()
        .filter(|found| matches!(found.role, Role::Motion(_)) && !found.how.is_instead())
        .map(|found| found.span);
    let mut out: Vec<Span> = motions.collect();
    for (number, shot) in scene.shots.iter().enumerate() {
        let Some(camera) = &shot.camera else { continue };
        let known = |index| {
            grounding
                .of(number, Role::Camera(index))
                .is_some_and(|found| !found.how.is_instead())
        };
        if !camera.moves.is_empty() && (0..camera.moves.len()).all(known) {
            out.extend(camera.phrases.iter().map(|phrase| phrase.span));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::ground::{SentenceEncoder, ground};
    use super::super::parse;
    use super::*;

    /// Knows no sentence.
    struct Silent;

    impl SentenceEncoder for Silent {
        type Error = std::io::Error;

        fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, Self::Error> {
            Ok(vec![vec![0.0]; texts.len()])
        }
    }

    fn spelt_out(prompt: &str) -> bool {
        let concepts = include_str!("../../../../models/toybox/concepts.json");
        let vocabulary = Vocabulary::new(concepts, Vec::new()).unwrap();
        let scene = parse(prompt).unwrap();
        let grounding = ground(&scene, &vocabulary, &Silent).unwrap();
        vocabulary.spells_out(&scene, &grounding)
    }

    #[test]
    fn words_of_the_captions_are_known() {
        for prompt in [
            "an alien and a robot on the surface of the moon",
            "A tiger moves in a zigzag on the surface of the moon, slow pan right.",
            "a lion rises into the air on the moon",
            "three frogs hover on a stage with curtains",
            "a fire truck spins around on a black background",
            "a pizza in front of a plain orange backdrop",
            "A bicycle rolls from right to left on the surface of the moon.",
            "Three turtles go round and round on a meadow on a clear day.",
            "a dolphin shakes among stars and planets, the camera moves to the right",
            "in the moonlight, a big red car drives to the left on a highway while it rains",
            "polar bears rocking back and forth next to a red barn",
        ] {
            assert!(spelt_out(prompt), "{prompt}");
        }
    }

    #[test]
    fn one_strange_word_is_enough() {
        for prompt in [
            "an alien and a wombat on the surface of the moon",
            "a lion sneezes on the moon",
            "a lion on the moon, cinematic",
            "a lion in the desert, the camera rolls over",
            "a table on the moon",
            "a lion on the moon 🦁",
            "a sign says \"lion\" on the moon",
        ] {
            assert!(!spelt_out(prompt), "{prompt}");
        }
    }
}
