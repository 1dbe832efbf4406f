//! Refuses tasks that make no sense, before a file is opened.

use std::collections::BTreeSet;

use super::{Blend, CharacterUse, Shot, Transition};
use crate::request::{Length, Request, check_length};
use crate::{Error, Result};

/// Refuses what of `request` no task can be made of.
///
/// **Errors**: [`Error::Invalid`] naming the field, what came, and what would do.
pub(crate) fn validate(request: &Request) -> Result<()> {
    if let Some(blend) = &request.blend {
        validate_curve(blend)?;
    }
    if let Some(close_loop) = &request.close_loop {
        if close_loop.seam_frames == Some(0) {
            return refuse("seam frames", 0, "a loop is closed by new frames", "1 or more");
        }
        if request.length != Length::Default {
            let reason = "the length of a loop is that of its source and of its seam";
            return refuse(
                "length",
                words(request.length),
                reason,
                "leave it out, or set the seam frames",
            );
        }
    }
    if !request.shots.is_empty() {
        validate_shots(request)?;
    }
    validate_characters(&request.characters)
}

fn validate_curve(blend: &Blend) -> Result<()> {
    if blend.curve.len() > Blend::MAX_POINTS {
        let most = format!("at most {} points", Blend::MAX_POINTS);
        return refuse("curve", format!("of {} points", blend.curve.len()), "too long", &most);
    }
    match blend.curve.iter().find(|share| !(0.0..=1.0).contains(*share)) {
        Some(share) => refuse(
            "curve",
            share,
            "a point is the share of the second clip",
            "numbers from 0 to 1, for example 0,0.5,1",
        ),
        None => Ok(()),
    }
}

fn validate_shots(request: &Request) -> Result<()> {
    let shots = &request.shots;
    if shots.len() > Shot::MAX_SHOTS {
        let most = format!("at most {}; continue the clip with another request", Shot::MAX_SHOTS);
        return refuse("shots", shots.len(), "too many for one clip", &most);
    }
    if request.length != Length::Default {
        let reason = "each shot has a length of its own";
        return refuse("length", words(request.length), reason, "give it to the shots");
    }
    for (index, shot) in shots.iter().enumerate() {
        check_length(shot.length)?;
        if shot.image.is_some() && index > 0 && shot.transition == Transition::Continue {
            return refuse(
                "shot",
                index + 1,
                "one that continues starts from the shot before, not from a picture",
                "leave out the picture, or let it start with a cut",
            );
        }
    }
    Ok(())
}

fn validate_characters(characters: &[CharacterUse]) -> Result<()> {
    if characters.len() > CharacterUse::MAX_CHARACTERS {
        let most = format!("at most {}", CharacterUse::MAX_CHARACTERS);
        return refuse("characters", characters.len(), "too many for one clip", &most);
    }
    let mut names = BTreeSet::new();
    for character in characters {
        let name = character.name.trim();
        if name.is_empty() || !name.chars().any(char::is_alphanumeric) {
            return refuse(
                "character",
                &character.name,
                "it has no name",
                "a word that the prompt says",
            );
        }
        if !names.insert(name.to_lowercase()) {
            return refuse(
                "character",
                name,
                "two characters have the same name",
                "a name for each",
            );
        }
    }
    Ok(())
}

fn words(length: Length) -> String {
    match length {
        Length::Default => "as the model likes".into(),
        Length::Frames(frames) => format!("of {frames} frames"),
        Length::Seconds(seconds) => format!("of {seconds} seconds"),
    }
}

fn refuse(what: &'static str, got: impl ToString, reason: &str, hint: &str) -> Result<()> {
    Err(Error::Invalid {
        what,
        got: got.to_string(),
        reason: reason.into(),
        hint: hint.into(),
    })
}

#[cfg(test)]
mod tests {
    use kinora_media::Format;

    use super::*;
    use crate::{CloseLoop, Transition};

    fn blend(curve: &[f32]) -> Option<Blend> {
        Some(Blend {
            from: "a.mp4".into(),
            to: "b.mp4".into(),
            curve: curve.to_vec(),
        })
    }

    fn character(name: &str) -> CharacterUse {
        CharacterUse {
            name: name.into(),
            picture: "fox.png".into(),
            subject: None,
        }
    }

    fn continued(image: Option<&str>) -> Shot {
        Shot {
            transition: Transition::Continue,
            image: image.map(Into::into),
            ..Shot::new("a dog")
        }
    }

    #[test]
    fn tasks_that_make_no_sense_are_refused_by_name() {
        let close_loop = |seam_frames| {
            let source = "a.mp4".into();
            Some(CloseLoop { source, seam_frames })
        };
        let cases: [(&str, &str, &dyn Fn(&mut Request)); 16] = [
            ("input", "kept latents", &|r| {
                (r.video_latents, r.video) = (Some("a.safetensors".into()), Some("b.mp4".into()))
            }),
            ("input", "clips to blend", &|r| {
                (r.blend, r.image) = (blend(&[]), Some("b.png".into()))
            }),
            ("input", "a clip to close", &|r| {
                (r.close_loop, r.extend) = (close_loop(None), Some("b.mp4".into()))
            }),
            ("input", "shots", &|r| {
                (r.shots, r.image) = (vec![Shot::new("a cat")], Some("b.png".into()))
            }),
            ("input", "shots", &|r| {
                (r.shots, r.blend) = (vec![Shot::new("a cat")], blend(&[]))
            }),
            ("curve", "0 to 1", &|r| r.blend = blend(&[0.0, 1.5])),
            ("curve", "0 to 1", &|r| r.blend = blend(&[f32::NAN])),
            ("curve", "at most 256", &|r| r.blend = blend(&[0.5; 257])),
            ("seam frames", "1 or more", &|r| r.close_loop = close_loop(Some(0))),
            ("length", "seam", &|r| {
                (r.close_loop, r.length) = (close_loop(None), Length::Frames(9))
            }),
            ("length", "shots", &|r| {
                (r.shots, r.length) = (vec![Shot::new("a cat")], Length::Seconds(2.0))
            }),
            ("shots", "at most 32", &|r| r.shots = vec![Shot::new("a cat"); 33]),
            ("shot", "a cut", &|r| {
                r.shots = vec![Shot::new("a cat"), continued(Some("b.png"))];
            }),
            ("frames", "1 (a still image)", &|r| {
                r.shots = vec![Shot {
                    length: Length::Frames(0),
                    ..Shot::new("a cat")
                }];
            }),
            ("character", "a word", &|r| r.characters = vec![character(" ")]),
            ("character", "for each", &|r| {
                r.characters = vec![character("Rusty"), character("rusty")];
            }),
        ];
        for (what, word, spoil) in cases {
            let mut request = Request::new("a cat", "cat.mp4", Format::Mp4);
            spoil(&mut request);
            let error = request.validate().unwrap_err();
            let named = matches!(&error, Error::Invalid { what: named, .. } if *named == what);
            assert!(named && error.to_string().contains(word), "{what}: {error}");
        }
    }

    #[test]
    fn tasks_that_make_sense_are_not_refused() {
        let mut request = Request::new("a cat", "cat.mp4", Format::Mp4);
        request.shots = vec![continued(Some("first.png")), continued(None)];
        request.characters = vec![character("Rusty"), character("Ella")];
        request.validate().unwrap();
        request.shots.clear();
        request.blend = blend(&[0.0, 0.0, 1.0, 0.5]);
        request.validate().unwrap();
    }
}
