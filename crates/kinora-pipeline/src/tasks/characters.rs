//! Characters: a name in the prompt becomes words that a model knows, and a picture that it is shown or starts from.

use std::path::Path;

use kinora_media::{BestFrame, ClipReader, Frame, Limits, Quality, best_frame, write_image};

use super::{CharacterUse, Transition};
use crate::description::StartsFrom;
use crate::request::Request;
use crate::{Error, Result};

/// A request whose characters were found: its pictures stand where the model takes them, its prompts are as typed.
pub(crate) struct Resolved {
    pub(crate) request: Request,
    /// What the model is told: for the prompt, or for each shot.
    pub(crate) words: Vec<String>,
    /// What was done about the characters.
    pub(crate) notes: Vec<String>,
}

/// Puts the characters of `request` where a model that starts as `starts` says takes them.
///
/// **Errors**: [`Error::Invalid`] if that makes too many reference pictures.
pub(crate) fn resolve(request: &Request, starts: StartsFrom) -> Result<Resolved> {
    let characters = &request.characters;
    let prompts: Vec<&str> = match request.shots.is_empty() {
        true => vec![&request.prompt],
        false => request.shots.iter().map(|shot| shot.prompt.as_str()).collect(),
    };
    let mut resolved = Resolved {
        words: prompts.iter().map(|prompt| told(prompt, characters)).collect(),
        request: request.clone(),
        notes: Vec::new(),
    };
    for character in characters {
        if !prompts.iter().any(|prompt| names(prompt, character)) {
            let note = format!("nothing in the prompt is called {}", character.name.trim());
            resolved.notes.push(note);
        }
    }
    let made_of_latents = request.video.is_some() || request.video_latents.is_some() || request.blend.is_some();
    match starts {
        StartsFrom::Control if !made_of_latents => show(&mut resolved),
        _ => start_from(&mut resolved),
    }
    resolved.request.validate()?;
    Ok(resolved)
}

/// Pictures for a model that is shown what shall appear.
fn show(resolved: &mut Resolved) {
    for character in resolved.request.characters.clone() {
        let (name, picture) = (character.name.trim(), character.picture.display());
        resolved
            .notes
            .push(format!("{name} is shown to the model as in {picture}"));
        resolved.request.references.push(character.picture);
    }
}

/// A picture for a model that starts from one; there is room for one at each beginning.
fn start_from(resolved: &mut Resolved) {
    let request = &mut resolved.request;
    let characters = request.characters.clone();
    let mut used: Vec<&CharacterUse> = Vec::new();
    let starts_from_something = request.image.is_some()
        || request.extend.is_some()
        || request.video.is_some()
        || request.video_latents.is_some()
        || request.control.is_some()
        || request.blend.is_some()
        || request.close_loop.is_some();
    if request.shots.is_empty() && !starts_from_something {
        let named = characters.iter().find(|character| names(&request.prompt, character));
        used.extend(named.or(characters.first()));
        request.image = used.first().map(|character| character.picture.clone());
    }
    for (index, shot) in request.shots.iter_mut().enumerate() {
        let opens = index == 0 || shot.transition == Transition::Cut;
        let named = characters.iter().find(|character| names(&shot.prompt, character));
        if let Some(character) = named.filter(|_| opens && shot.image.is_none()) {
            shot.image = Some(character.picture.clone());
            used.push(character);
        }
    }
    for character in &characters {
        let name = character.name.trim();
        resolved.notes.push(match used.contains(&character) {
            true => {
                format!("the picture of {name} is where the clip starts; this model does not hold on to it beyond that")
            }
            false => format!("this model has no place for the picture of {name}: words alone say what it looks like"),
        });
    }
}

/// `prompt` with subjects in place of names.
fn told(prompt: &str, characters: &[CharacterUse]) -> String {
    let mut by_length: Vec<&CharacterUse> = characters.iter().collect();
    by_length.sort_by_key(|character| std::cmp::Reverse(character.name.trim().len()));
    let mut text = String::new();
    let mut at = 0;
    while let Some(next) = prompt[at..].chars().next() {
        let found = by_length
            .iter()
            .find_map(|character| Some((name_at(prompt, at, &character.name)?, character)));
        match found {
            Some((end, character)) => {
                let subject = character
                    .subject
                    .as_deref()
                    .map(str::trim)
                    .filter(|text| !text.is_empty());
                text += subject.unwrap_or(&prompt[at..end]);
                at = end;
            }
            None => {
                text.push(next);
                at += next.len_utf8();
            }
        }
    }
    text
}

fn names(prompt: &str, character: &CharacterUse) -> bool {
    prompt
        .char_indices()
        .any(|(at, _)| name_at(prompt, at, &character.name).is_some())
}

/// Where the name ends, if it stands at byte `at` as a whole word, in any case and with or without a leading `@`.
fn name_at(prompt: &str, at: usize, name: &str) -> Option<usize> {
    if prompt[..at].chars().next_back().is_some_and(char::is_alphanumeric) {
        return None;
    }
    let rest = &prompt[at..];
    let name = name.trim();
    let rest = match name.starts_with('@') {
        true => rest,
        false => rest.strip_prefix('@').unwrap_or(rest),
    };
    let mut chars = rest.char_indices();
    for wanted in name.chars() {
        let (_, got) = chars.next()?;
        if !got.to_lowercase().eq(wanted.to_lowercase()) {
            return None;
        }
    }
    let end = chars.next();
    match end {
        Some((_, next)) if next.is_alphanumeric() => None,
        Some((offset, _)) => Some(prompt.len() - rest.len() + offset),
        None => Some(prompt.len()),
    }
}

/// The frame of a clip that shows best who or what is in it.
#[derive(Debug, Clone)]
pub struct CharacterPicture {
    /// The frame as it is in the clip: nothing is cut out of it, so what is behind the character comes along.
    pub frame: Frame,
    /// Which frame of the clip it is, from 0.
    pub index: u64,
    /// How many frames the clip has.
    pub frames: u64,
}

impl CharacterPicture {
    /// Writes the frame to `path`; a PNG keeps every pixel.
    ///
    /// **Errors**: [`Error::Output`] if it cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        write_image(path, &self.frame, Quality::default(), &[]).map_err(|source| Error::Output {
            path: path.to_owned(),
            source,
        })
    }
}

/// The picture of a character in the clip at `path`: its sharpest frame that is no fade, as for a poster.
///
/// It is a guess about the picture, not about who is in it: nobody looks for a face or a body. What a model makes of it is
/// like it in colours and shapes where the model starts from it, and drifts away from it from frame to frame; only models
/// with reference pictures are trained to keep to it.
///
/// **Errors**: [`Error::Input`] for a file that is no clip.
pub fn character_from_clip(path: &Path) -> Result<CharacterPicture> {
    let refuse = |source| Error::Input {
        path: path.to_owned(),
        source,
    };
    let clip = ClipReader::open(path, &Limits::default()).map_err(refuse)?;
    let BestFrame { frame, index, frames } = best_frame(clip).map_err(refuse)?;
    Ok(CharacterPicture { frame, index, frames })
}

#[cfg(test)]
mod tests {
    use kinora_media::Format;

    use super::super::Shot;
    use super::*;

    fn character(name: &str, subject: Option<&str>) -> CharacterUse {
        CharacterUse {
            name: name.into(),
            picture: format!("{name}.png").into(),
            subject: subject.map(Into::into),
        }
    }

    #[test]
    fn names_become_subjects_as_whole_words_only() {
        let characters = [
            character("Rusty", Some("a fox")),
            character("Rusty Two", Some("an owl")),
            character("Ella", None),
        ];
        for (prompt, expected) in [
            ("Rusty runs", "a fox runs"),
            ("@rusty runs, RUSTY jumps", "a fox runs, a fox jumps"),
            ("a trusty dog and rustyness", "a trusty dog and rustyness"),
            ("rusty two's hat; Ella", "an owl's hat; Ella"),
            ("", ""),
            ("Ünrusty Rusty", "Ünrusty a fox"),
        ] {
            assert_eq!(told(prompt, &characters), expected);
        }
        assert_eq!(
            told("ÉLAN flies", &[character("élan", Some("a moose"))]),
            "a moose flies"
        );
    }

    #[test]
    fn pictures_go_where_the_model_takes_them() {
        let mut request = Request::new("Ella meets Rusty", "a.mp4", Format::Mp4);
        request.characters = vec![
            character("Rusty", None),
            character("Ella", None),
            character("Max", None),
        ];
        let shown = resolve(&request, StartsFrom::Control).unwrap();
        assert_eq!((shown.request.references.len(), &shown.request.image), (3, &None));

        let started = resolve(&request, StartsFrom::CleanFrames).unwrap();
        // The first in the list that the prompt names.
        assert_eq!(started.request.image.as_deref(), Some(Path::new("Rusty.png")));
        let notes = started.notes.join("\n");
        assert!(notes.contains("nothing in the prompt is called Max"), "{notes}");
        assert!(notes.contains("no place for the picture of Ella"), "{notes}");

        request.image = Some("own.png".into());
        let own = resolve(&request, StartsFrom::CleanFrames).unwrap();
        assert_eq!(own.request.image.as_deref(), Some(Path::new("own.png")));

        request.references = vec!["a.png".into(); 8];
        assert!(resolve(&request, StartsFrom::Control).is_err(), "too many pictures");
    }

    #[test]
    fn each_shot_that_starts_anew_starts_from_whom_it_names() {
        let mut request = Request::new("", "a.mp4", Format::Mp4);
        request.characters = vec![character("Rusty", Some("a fox"))];
        let mut continued = Shot::new("Rusty sleeps");
        continued.transition = Transition::Continue;
        request.shots = vec![
            Shot::new("Rusty runs"),
            continued,
            Shot::new("a lake"),
            Shot::new("rusty swims"),
        ];
        let resolved = resolve(&request, StartsFrom::CleanFrames).unwrap();
        let images: Vec<bool> = resolved.request.shots.iter().map(|shot| shot.image.is_some()).collect();
        assert_eq!(images, [true, false, false, true]);
        assert_eq!(resolved.words, ["a fox runs", "a fox sleeps", "a lake", "a fox swims"]);
        assert_eq!(
            resolved.request.shots[0].prompt, "Rusty runs",
            "prompts stay as they were typed"
        );
    }
}
