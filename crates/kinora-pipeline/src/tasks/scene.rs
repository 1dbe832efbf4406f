//! The words of a storyboard.

use super::Shot;
use crate::parse::{self, Scene};
use crate::{Error, Result};

/// One text for all shots: `Shot 1: ... Shot 2: ...`, which the parser takes apart again.
pub(crate) fn derived_prompt<'a>(prompts: impl Iterator<Item = &'a str>) -> String {
    let mut text = String::new();
    for (index, prompt) in prompts.enumerate() {
        let prompt = prompt.trim();
        let end = if prompt.ends_with(['.', '!', '?']) { "" } else { "." };
        let gap = if text.is_empty() { "" } else { " " };
        text += &format!("{gap}Shot {}: {prompt}{end}", index + 1);
    }
    text
}

/// The scene of all `shots`, whose prompts are told as `words`.
///
/// **Errors**: [`Error::Prompt`] naming nothing more than the parser does; a shot without words is refused by its number.
pub(crate) fn parse_shots(shots: &[Shot], words: &[String]) -> Result<Scene> {
    for (index, shot) in shots.iter().enumerate() {
        if let Err(parse::Error::Empty) = parse::parse(&shot.prompt) {
            return Err(Error::Invalid {
                what: "shot",
                got: (index + 1).to_string(),
                reason: "it has no words".into(),
                hint: "say what it shows".into(),
            });
        }
    }
    Ok(parse::parse(&derived_prompt(words.iter().map(String::as_str)))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parser_finds_the_shots_again() {
        let shots = [
            "A red car drives along a road",
            "A blue boat sails on a lake.",
            "two cats sleep",
        ]
        .map(Shot::new);
        let words = shots.clone().map(|shot| shot.prompt);
        let scene = parse_shots(&shots, &words).unwrap();
        assert!(
            scene
                .raw
                .starts_with("Shot 1: A red car drives along a road. Shot 2: A blue boat"),
            "{}",
            scene.raw
        );
        let nouns: Vec<&str> = scene.shots.iter().map(|shot| shot.subjects[0].noun.as_str()).collect();
        assert_eq!(nouns, ["car", "boat", "cat"]);
    }

    #[test]
    fn a_shot_without_words_is_refused_by_its_number() {
        let shots = [Shot::new("a cat"), Shot::new(" . ")];
        let words = shots.clone().map(|shot| shot.prompt);
        let error = parse_shots(&shots, &words).unwrap_err().to_string();
        assert!(error.contains("shot 2: it has no words"), "{error}");
    }
}
