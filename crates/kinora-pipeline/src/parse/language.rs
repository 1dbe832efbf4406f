//! Is it English? A coarse guess: script, function words and known words.

use super::lexicon::INDEX;
use super::morphology;
use super::scene::{Language, Note, NoteKind};
use super::token::{Kind, Token};

/// Guesses the language of a tokenised prompt.
pub(super) fn guess(tokens: &[Token], raw: &str) -> Language {
    let words: Vec<&Token> = tokens
        .iter()
        .filter(|t| matches!(t.kind, Kind::Word | Kind::Quote))
        .collect();
    if words.is_empty() {
        return Language::NoWords;
    }
    let letters = raw.chars().filter(|c| c.is_alphabetic()).count();
    let latin = raw
        .chars()
        .filter(|c| c.is_alphabetic() && u32::from(*c) < 0x250)
        .count();
    if latin * 2 < letters {
        return Language::Other;
    }
    let words: Vec<&str> = words.iter().flat_map(|t| t.text.split_whitespace()).collect();
    let english = words.iter().filter(|w| known(w)).count();
    let foreign = words
        .iter()
        .filter(|w| FOREIGN.split_whitespace().any(|f| f == **w))
        .count();
    // A few unknown words are names; a long text of them is another language.
    let unknown = words.len() >= 3 && english * 3 < words.len();
    if unknown || (foreign > 0 && foreign * 2 > english) {
        Language::Other
    } else {
        Language::English
    }
}

/// Frequent words of the neighbours that English does not share.
const FOREIGN: &str = "der das ein eine und auf mit dem den einem einen über ist le les un une et sur dans avec el los las y en una uno por \
    sobre il gli nel della um uma het een";

fn known(word: &str) -> bool {
    super::tag::CLOSED.contains_key(word)
        || INDEX.adjectives.contains_key(word)
        || INDEX.nouns.contains_key(&morphology::singular(word).0)
        || morphology::verb(word).is_some()
        || (word.ends_with("ly") || word.ends_with("ing")) && word.len() > 5
}

/// The note that a user gets where the rules do not apply.
pub(super) fn note(language: Language) -> Option<Note> {
    match language {
        Language::English => None,
        Language::Other => Some(Note {
            kind: NoteKind::NotEnglish,
            text: "the parser knows English only; the model gets your text as it is".to_owned(),
        }),
        Language::NoWords => Some(Note {
            kind: NoteKind::NoWords,
            text: "there are no words to parse; the model gets your text as it is".to_owned(),
        }),
    }
}
