//! Parse: prompt text to a [`Scene`], by rules that can be read and tested.
//!
//! The way of the text: tokens with spans ([`token`](self)) → parts of speech from a lexicon and word endings → phrases
//! about the camera, the style and the file are taken out → noun phrases, verb groups and prepositions → one pass over each
//! clause that attaches verbs to their subjects → sentences joined into shots. Nothing is learned and nothing is random:
//! the same text gives the same Scene. Words that found no place are kept in [`Shot::rest`].
//!
//! ```
//! use kinora_pipeline::parse::{Count, parse};
//! let scene = parse("A small brown dog chases two cats across a snowy field at dusk while the camera pans left")?;
//! let shot = &scene.shots[0];
//! assert_eq!(shot.subjects[0].noun, "dog");
//! assert_eq!(shot.subjects[1].count, Count::Exact(2));
//! assert_eq!(shot.setting.as_ref().map(|s| s.noun.as_str()), Some("field"));
//! # Ok::<(), kinora_pipeline::parse::Error>(())
//! ```

mod actors;
mod ambiguous;
mod attach;
mod camera;
mod chunk;
mod circumstance;
mod clause;
mod error;
mod expand;
mod ground;
mod grounder;
mod hints;
mod language;
mod lexicon;
mod morphology;
mod motion_concepts;
mod negation;
mod own_words;
mod phrase_index;
mod render;
mod scene;
mod shots;
mod style;
mod tag;
mod token;
mod verb_group;
mod vocabulary;

pub use error::Error;
pub use expand::{ExpansionPolicy, expand, expand_shot};
pub use ground::{Grounding, How, Match, Role, SentenceEncoder, Unknown, ground};

pub use scene::*;
pub use vocabulary::{Concept, Group, Phrase as VocabularyPhrase, Vocabulary};

use tag::Word;
use token::{Kind, Token};

/// The longest prompt that is parsed, in bytes. Longer texts are refused, not cut: no model reads that much.
pub const MAX_PROMPT_BYTES: usize = 16 * 1024;

/// Parses a prompt. Time is linear in its length.
///
/// # Errors
/// [`Error`] for an empty prompt, one above [`MAX_PROMPT_BYTES`], and control characters. Text that is not English,
/// or has no words, is no error: the Scene then holds the raw text and a note.
pub fn parse(prompt: &str) -> Result<Scene, Error> {
    check(prompt)?;
    let mut tokens = token::tokenize(prompt);
    let language = language::guess(&tokens, prompt);
    let mut scene = Scene {
        raw: prompt.to_owned(),
        language,
        shots: Vec::new(),
        hints: Vec::new(),
        quoted: Vec::new(),
        notes: Vec::new(),
        grounding: None,
    };
    if let Some(note) = language::note(language) {
        scene.notes.push(note);
        scene.shots.push(Shot {
            span: Span {
                start: 0,
                end: prompt.len(),
            },
            ..Shot::default()
        });
        return Ok(scene);
    }
    tokens = token::join_adjectives(unquote(tokens, prompt));
    for segment in shots::segments(&tokens) {
        let shot = sentence(&tokens[segment.from..segment.to], &mut scene);
        match scene.shots.last_mut() {
            Some(last) if !segment.new_shot && !shots::differs(last, &shot) => shots::merge(last, shot),
            _ => scene.shots.push(shot),
        }
    }
    if scene.shots.is_empty() {
        scene.shots.push(Shot::default());
    }
    scene.shots.iter_mut().for_each(camera::tidy);
    let left: Vec<&str> = scene
        .shots
        .iter()
        .flat_map(|s| &s.rest)
        .map(|p| p.text.as_str())
        .collect();
    if !left.is_empty() {
        let text = format!("kept without a place in the scene: {}", left.join(", "));
        scene.notes.push(Note {
            kind: NoteKind::LeftOver,
            text,
        });
    }
    Ok(scene)
}

/// Refuses what cannot be a prompt.
fn check(prompt: &str) -> Result<(), Error> {
    if prompt.len() > MAX_PROMPT_BYTES {
        return Err(Error::TooLong {
            bytes: prompt.len(),
            limit: MAX_PROMPT_BYTES,
        });
    }
    if let Some((offset, c)) = prompt
        .char_indices()
        .find(|(_, c)| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
    {
        return Err(Error::ControlCharacter {
            offset,
            code: u32::from(c),
        });
    }
    let nothing = prompt.chars().all(|c| c.is_whitespace() || c.is_ascii_punctuation() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '…' | '—' | '–'));
    if nothing { Err(Error::Empty) } else { Ok(()) }
}

/// A prompt that is one whole quotation is read without its quotation marks.
fn unquote(tokens: Vec<Token>, prompt: &str) -> Vec<Token> {
    match tokens.as_slice() {
        [t] if t.kind == Kind::Quote => {
            let inner = prompt[t.span.start..t.span.end].trim_matches(['"', '“', '”', '„', '«', '»']);
            let shift = t.span.start + prompt[t.span.start..t.span.end].find(inner).unwrap_or(0);
            let mut out = token::tokenize(inner);
            for t in &mut out {
                t.span = Span {
                    start: t.span.start + shift,
                    end: t.span.end + shift,
                };
            }
            out
        }
        _ => tokens,
    }
}

/// One sentence to a shot of its own; `scene.shots` tells what pronouns may mean.
fn sentence(tokens: &[Token], scene: &mut Scene) -> Shot {
    let mut words: Vec<Word> = tag::tag(tokens);
    let span = tokens
        .first()
        .map_or(Span::default(), |t| t.span)
        .to(tokens.last().map_or(Span::default(), |t| t.span));
    let mut shot = Shot {
        span,
        ..Shot::default()
    };
    for w in words.iter_mut().filter(|w| w.kind == Kind::Quote) {
        scene.quoted.push(Phrase {
            text: scene.raw[w.span.start..w.span.end]
                .trim_matches(['"', '“', '”', '„', '«', '»'])
                .trim()
                .to_owned(),
            span: w.span,
        });
        w.used = true;
    }
    hints::find(&mut words, &mut scene.hints);
    camera::find(&mut words, &mut shot);
    style::find(&mut words, &mut shot);
    circumstance::weather_clauses(&mut words, &mut shot);
    let items = chunk::chunk(&words);
    clause::read(&items, &mut shot, scene.shots.last());
    shot
}
