//! What decides the bytes of a clip, as one number: a checkpoint is used by a run with the same one only.

use std::path::{Path, PathBuf};

use kinora_media::Format;
use sha2::{Digest, Sha256};

use crate::Result;
use crate::map::{file_sha256, hex};
use crate::memory_plan::{MemoryPlan, WeightsMode};
use crate::plan::Plan;
use crate::report::Recipe;
use crate::request::Request;
use crate::saved::json;
use crate::tasks::{Blend, CharacterUse, CloseLoop, Shot};

/// All that a clip depends on.
pub(crate) struct Decisive<'a> {
    /// Has the model with its hash, the version of Kinora, the precision, the instruction set, and the hashes of what was
    /// given.
    pub(crate) recipe: &'a Recipe,
    pub(crate) request: &'a Request,
    pub(crate) plan: &'a Plan,
    pub(crate) memory: &'a MemoryPlan,
    /// What decodes instead of the model's own autoencoder.
    pub(crate) tiny_decoder: Option<&'a Path>,
}

/// The fingerprint of a run.
///
/// **Errors**: [`crate::Error::Input`] if the tiny decoder cannot be read.
pub(crate) fn fingerprint(run: &Decisive<'_>) -> Result<String> {
    let tiny_decoder = run.tiny_decoder.map(file_sha256).transpose()?;
    let words = [
        json(run.recipe)?,
        format!("{:?}", decisive_part(run.request)),
        format!("{:?}", run.plan),
        of_memory(run),
        format!("{tiny_decoder:?}"),
    ];
    let mut sum = Sha256::new();
    for word in &words {
        sum.update((word.len() as u64).to_le_bytes());
        sum.update(word);
    }
    Ok(hex(&sum.finalize()))
}

/// A request without what changes no frame, and without the names of files whose hashes the recipe has. A field that is
/// not named here counts as it is.
fn decisive_part(request: &Request) -> Request {
    let given = |path: &Option<PathBuf>| path.is_some().then(PathBuf::new);
    let shot = |shot: &Shot| Shot {
        image: given(&shot.image),
        ..shot.clone()
    };
    let character = |character: &CharacterUse| CharacterUse {
        picture: PathBuf::new(),
        ..character.clone()
    };
    Request {
        image: given(&request.image),
        last_image: given(&request.last_image),
        extend: given(&request.extend),
        video: given(&request.video),
        video_latents: given(&request.video_latents),
        blend: request.blend.as_ref().map(|blend| Blend {
            from: PathBuf::new(),
            to: PathBuf::new(),
            curve: blend.curve.clone(),
        }),
        close_loop: request.close_loop.as_ref().map(|close_loop| CloseLoop {
            source: PathBuf::new(),
            ..close_loop.clone()
        }),
        shots: request.shots.iter().map(shot).collect(),
        characters: request.characters.iter().map(character).collect(),
        control: given(&request.control),
        control_mask: given(&request.control_mask),
        references: vec![PathBuf::new(); request.references.len()],
        output: PathBuf::new(),
        format: Format::Mp4,
        poster: false,
        sheet: false,
        overwrite: true,
        keep_latents: false,
        frames_only: false,
        ..request.clone()
    }
}

/// The ways of saving memory that round differently. Blocks that are streamed and guidance one after the other give the
/// same bits, with two exceptions: streamed LoRAs are computed beside the weights, and a step cache is asked only by
/// guidance one after the other.
fn of_memory(run: &Decisive<'_>) -> String {
    let MemoryPlan {
        weights,
        guidance,
        tile_px,
        ..
    } = run.memory;
    let are_beside = !run.recipe.loras.is_empty() && *weights == WeightsMode::Streamed;
    let guidance = run.plan.cache.as_ref().map(|_| guidance);
    format!("{tile_px:?} {are_beside} {guidance:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_clip_goes_changes_nothing_and_what_it_shows_does() {
        let request = Request::new("a cat", "cat.mp4", Format::Mp4);
        let of = |request: &Request| format!("{:?}", decisive_part(request));
        let same: [fn(&mut Request); 4] = [
            |r| r.output = "dog.webm".into(),
            |r| (r.poster, r.sheet, r.keep_latents, r.overwrite) = (true, true, true, false),
            |r| r.format = Format::WebM,
            |r| r.frames_only = true,
        ];
        for change in same {
            let mut other = request.clone();
            change(&mut other);
            assert_eq!(of(&other), of(&request));
        }
        let different: [fn(&mut Request); 8] = [
            |r| r.prompt = "a dog".into(),
            |r| r.seed = 1,
            |r| r.image = Some("a.png".into()),
            |r| r.extend = Some("a.mp4".into()),
            |r| r.references = vec!["a.png".into()],
            |r| r.strength = 0.700_000_05,
            |r| r.control_scale = 0.5,
            |r| r.steps = Some(7),
        ];
        for change in different {
            let mut other = request.clone();
            change(&mut other);
            assert_ne!(of(&other), of(&request));
        }
        let named = |name: &str| Request {
            image: Some(name.into()),
            ..request.clone()
        };
        assert_eq!(of(&named("a.png")), of(&named("b.png")), "its hash is in the recipe");
    }
}
