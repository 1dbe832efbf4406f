//! One part of a model: a file, or a folder with weights and a configuration.

use std::path::{Path, PathBuf};

use super::list;
use super::role::Role;
use crate::recognise::{Recognised, identify, is_of, recognise_as};
use crate::{Checkpoint, Error, Result};

/// Endings of files that can run code when they are read.
pub(crate) const PICKLES: [&str; 4] = [".bin", ".pt", ".pth", ".ckpt"];
/// Endings of checkpoints.
const WEIGHTS: [&str; 2] = [".safetensors", ".gguf"];
const INDEX: &str = ".safetensors.index.json";
const USUAL: [&str; 2] = ["diffusion_pytorch_model.safetensors", "model.safetensors"];

/// True for a file that may be a checkpoint; the shards of an index are none by themselves.
pub(crate) fn is_weights(name: &str) -> bool {
    name.ends_with(INDEX) || WEIGHTS.iter().any(|end| name.ends_with(end)) && !is_shard(name)
}

fn is_shard(name: &str) -> bool {
    name.rsplit_once("-of-").is_some_and(|(_, rest)| {
        rest.as_bytes()
            .first_chunk::<5>()
            .is_some_and(|n| n.iter().all(u8::is_ascii_digit))
    })
}

/// The weights among the files of one folder: a sharded index, a file with a usual name, or the only one. `Err` counts the candidates.
pub(crate) fn choose(names: &[String]) -> std::result::Result<&String, usize> {
    let ending = |end: &str| names.iter().filter(|n| n.ends_with(end)).collect::<Vec<_>>();
    let files: Vec<&String> = WEIGHTS.iter().flat_map(|end| ending(end)).collect();
    match (ending(INDEX).as_slice(), files.as_slice()) {
        ([index], _) => Ok(index),
        ([], [file]) => Ok(file),
        ([], files) => files
            .iter()
            .find(|n| USUAL.contains(&n.as_str()))
            .copied()
            .ok_or(files.len()),
        (indices, _) => Err(indices.len()),
    }
}

/// The file that holds the weights of a part given as a file or as its folder.
pub(crate) fn weights_of(path: &Path) -> Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let names: Vec<String> = list(path)?
        .into_iter()
        .filter(|(_, p)| p.is_file())
        .map(|(n, _)| n)
        .collect();
    choose(&names)
        .map(|name| path.join(name))
        .map_err(|count| Error::BadModelFolder {
            folder: path.display().to_string(),
            reason: match count {
                0 => "it has no .safetensors and no .gguf file".into(),
                n => format!("it has {n} checkpoints and no telling which is meant"),
            },
            hint: "name the file itself",
        })
}

/// The configuration that lies beside the weights, if it is one of that part.
pub(crate) fn config_beside(weights: &Path, role: &Role) -> Option<String> {
    let text = std::fs::read_to_string(weights.with_file_name("config.json")).ok()?;
    role.components.iter().any(|c| is_of(*c, &text)).then_some(text)
}

/// Opens a part and tells what it is.
///
/// **Errors**: [`Error::WrongPart`] if it is another one.
pub(crate) fn open(path: &Path, role: &Role) -> Result<(Checkpoint, Recognised)> {
    let weights = weights_of(path)?;
    let checkpoint = Checkpoint::open(&weights)?;
    let found = match identify(&checkpoint, None) {
        Ok(found) if role.components.contains(&found.component) => found,
        // An all-in-one file, or something else.
        Ok(other) => {
            let wanted = role
                .components
                .iter()
                .find_map(|c| identify(&checkpoint, Some(*c)).ok());
            let Some(found) = wanted else {
                other.expect(&checkpoint, role.components)?;
                return Err(Error::NotRecognised {
                    file: checkpoint.name().into(),
                    wanted: role.words,
                    found: other.component.name().into(),
                    names: Vec::new(),
                });
            };
            found
        }
        Err(Error::NotRecognised { file, found, names, .. }) => {
            return Err(Error::NotRecognised {
                file,
                wanted: role.words,
                found,
                names,
            });
        }
        Err(error) => return Err(error),
    };
    Ok((checkpoint, found))
}

/// The configuration of a part: the one beside its weights, or what the weights say.
pub(crate) fn config(path: &Path, role: &Role) -> Result<String> {
    let (checkpoint, found) = open(path, role)?;
    let beside = config_beside(&weights_of(path)?, role);
    Ok(recognise_as(&checkpoint, Some(found.component), beside.as_deref())?.config_json)
}
