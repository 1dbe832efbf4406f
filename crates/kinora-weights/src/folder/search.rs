//! Finding the parts that belong to a transformer file: beside it, where ComfyUI keeps them, and in the folders of the registry.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::assembled::ModelJson;
use super::part::{self, PICKLES, is_weights};
use super::role::{ROLES, Role};
use super::{list, tokenizer};
use crate::recognise::{Component, identify};
use crate::{Checkpoint, Error, Result};

/// How far above the file the folders of ComfyUI are looked for: `models/diffusion_models/wan/14B`.
const LEVELS: usize = 3;

/// What was found, and where it was looked for.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    pub paths: BTreeMap<String, PathBuf>,
    /// Folders that exist and were searched, by part.
    pub searched: BTreeMap<String, Vec<PathBuf>>,
    /// Pickles that lie in them, by part.
    pub pickles: BTreeMap<String, Vec<PathBuf>>,
}

/// Numbers that parts of one model share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fits {
    latent_channels: usize,
    text_width: usize,
    image_width: Option<usize>,
}

/// Parts for the transformer at `file`, which may be one of two experts. `others` are folders of the registry.
///
/// **Errors**: those of opening the file; [`Error::WrongPart`] for a file of another kind.
pub(super) fn around(file: &Path, others: &[PathBuf]) -> Result<Found> {
    let role = &ROLES[0];
    let (checkpoint, what) = part::open(file, role)?;
    let checkpoint = checkpoint.in_diffusers_names(&what)?;
    let fits = Fits {
        latent_channels: extent(&checkpoint, "proj_out.weight", 0)? / 4,
        text_width: extent(&checkpoint, "condition_embedder.text_embedder.linear_1.weight", 1)?,
        image_width: extent(&checkpoint, "condition_embedder.image_embedder.norm1.weight", 0).ok(),
    };
    let mut found = Found::default();
    let (first, second) = match other_expert(file) {
        Some((other, true)) => (other, Some(file.to_owned())),
        Some((other, false)) => (file.to_owned(), Some(other)),
        None => (file.to_owned(), None),
    };
    found.paths.insert("transformer".into(), first);
    if let Some(second) = second {
        found.paths.insert("transformer_2".into(), second);
    }
    for role in ROLES.iter().filter(|role| !role.name.starts_with("transformer")) {
        let folders = folders(file, role, others);
        let path = match role.components {
            [] => find_tokenizer(&found, &folders),
            _ => find(file, role, &folders, fits).or_else(|| added_earlier(role, others, fits)),
        };
        found.pickles.insert(role.name.into(), pickles(&folders, role));
        found.searched.insert(role.name.into(), folders);
        if let Some(path) = path {
            found.paths.insert(role.name.into(), path);
        }
    }
    Ok(found)
}

fn extent(checkpoint: &Checkpoint, name: &str, axis: usize) -> Result<usize> {
    let raw = checkpoint.describe(name)?;
    raw.shape.get(axis).copied().ok_or_else(|| Error::WrongShape {
        file: checkpoint.name().into(),
        tensor: checkpoint.label(name),
        expected: format!("more than {axis} axes"),
        got: raw.shape.to_vec(),
    })
}

/// Folders that exist, in the order in which they are searched.
fn folders(file: &Path, role: &Role, others: &[PathBuf]) -> Vec<PathBuf> {
    let home = file
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let home = std::path::absolute(home).unwrap_or_else(|_| home.to_owned());
    let mut folders = vec![home.clone()];
    // As Wan-Video publishes it, each expert has a folder of its own below the one with everything else.
    let is_of_expert = home
        .file_name()
        .is_some_and(|name| name.to_string_lossy().ends_with("_noise_model"));
    folders.extend(home.parent().filter(|_| is_of_expert).map(Path::to_owned));
    for above in home
        .ancestors()
        .take(LEVELS + 1)
        .map(Path::to_owned)
        .chain(others.iter().cloned())
    {
        folders.extend(role.folders.iter().map(|name| above.join(name)));
    }
    folders.extend(others.iter().cloned());
    // One folder deeper, where people sort their files by model.
    let deeper: Vec<PathBuf> = folders
        .iter()
        .filter(|folder| role.folders.iter().any(|name| folder.ends_with(name)) && !others.contains(folder))
        .flat_map(|folder| list(folder).unwrap_or_default())
        .map(|(_, path)| path)
        .filter(|path| path.is_dir())
        .collect();
    folders.extend(deeper);
    let mut unique = Vec::new();
    for folder in folders {
        if folder.is_dir() && !unique.contains(&folder) {
            unique.push(folder);
        }
    }
    unique
}

/// The best file for a part: from the first folder that has one; of several there the kind that is named first, the least rounded.
fn find(file: &Path, role: &Role, folders: &[PathBuf], fits: Fits) -> Option<PathBuf> {
    if rank(file, role, fits).is_some() {
        return Some(file.to_owned()); // an all-in-one file
    }
    folders.iter().find_map(|folder| {
        let files = list(folder).unwrap_or_default().into_iter();
        let files = files.filter(|(name, path)| is_weights(name) && path.is_file());
        files
            .filter_map(|(name, path)| Some((rank(&path, role, fits)?, name, path)))
            .min()
            .map(|(_, _, path)| path)
    })
}

/// The best of the parts that models of the registry name in their `model.json`.
fn added_earlier(role: &Role, others: &[PathBuf], fits: Fits) -> Option<PathBuf> {
    let children = others.iter().flat_map(|folder| list(folder).unwrap_or_default());
    let parts = children.filter_map(|(_, child)| ModelJson::read(&child).ok()?.parts.remove(role.name));
    parts
        .filter_map(|path| Some((rank(&part::weights_of(&path).ok()?, role, fits)?, path)))
        .min()
        .map(|(_, path)| path)
}

/// How good a file is for a part, the smaller the better; `None` if it does not fit.
fn rank(path: &Path, role: &Role, fits: Fits) -> Option<(usize, usize)> {
    let checkpoint = Checkpoint::open_header_only(path).ok()?;
    let (kind, found) = role
        .components
        .iter()
        .enumerate()
        .find_map(|(kind, component)| Some((kind, identify(&checkpoint, Some(*component)).ok()?)))?;
    let part = checkpoint.in_diffusers_names(&found).ok()?;
    let is = |name: &str, axis, wanted: usize| extent(&part, name, axis).ok() == Some(wanted);
    let good = match found.component {
        Component::WanVae => is("post_quant_conv.weight", 0, fits.latent_channels),
        Component::Taehv => is("decoder.1.weight", 1, fits.latent_channels),
        Component::Umt5 => is("encoder.final_layer_norm.weight", 0, fits.text_width),
        Component::ClipVision => {
            let wanted = fits.image_width?;
            is("vision_model.embeddings.class_embedding", 0, wanted)
        }
        Component::WanTransformer | Component::Lora => false,
    };
    let rounded = part
        .names()
        .filter_map(|name| part.get(name)?.encoding)
        .filter(|e| e.is_quantised());
    good.then_some((
        kind,
        rounded.map(|e| 8 - e.bits().min(8)).max().map_or(0, |lost| lost + 1),
    ))
}

fn find_tokenizer(found: &Found, folders: &[PathBuf]) -> Option<PathBuf> {
    let encoder = found.paths.get("text_encoder")?;
    let beside = encoder.parent().map(Path::to_owned).into_iter();
    beside
        .chain(folders.iter().cloned())
        .find_map(|folder| tokenizer::file_in(&folder))
        .or_else(|| tokenizer::is_in(encoder).then(|| encoder.clone()))
}

/// Pickles whose names say that they may be the part.
fn pickles(folders: &[PathBuf], role: &Role) -> Vec<PathBuf> {
    let words: &[&str] = match role.name {
        "text_encoder" => &["t5"],
        "vae" => &["vae"],
        "image_encoder" => &["clip"],
        _ => return Vec::new(),
    };
    let files = folders.iter().flat_map(|folder| list(folder).unwrap_or_default());
    files
        .filter(|(name, _)| {
            let name = name.to_lowercase();
            PICKLES.iter().any(|end| name.ends_with(end)) && words.iter().any(|word| name.contains(word))
        })
        .map(|(_, path)| path)
        .collect()
}

/// The other of two experts, and whether that is the one for high noise: the same name in the same folder or in one beside it, with `high` and
/// `low` exchanged.
pub(super) fn other_expert(file: &Path) -> Option<(PathBuf, bool)> {
    let name = file.file_name()?.to_string_lossy().into_owned();
    let exchanged = |text: &str| {
        let lower = text.to_lowercase();
        let (from, to) = match (lower.contains("high"), lower.contains("low")) {
            (true, false) => ("high", "low"),
            (false, true) => ("low", "high"),
            _ => return None,
        };
        Some((lower.replace(from, to), to == "high"))
    };
    let folder = file.parent()?;
    let same_folder = exchanged(&name).and_then(|(wanted, is_high)| {
        let files = list(folder).ok()?.into_iter();
        let other = files
            .filter(|(n, path)| n.to_lowercase() == wanted && path.is_file())
            .map(|(_, p)| p)
            .next()?;
        Some((other, is_high))
    });
    // `high_noise_model/x.safetensors` and `low_noise_model/x.safetensors`
    same_folder.or_else(|| {
        let (wanted, is_high) = exchanged(&folder.file_name()?.to_string_lossy())?;
        let beside = list(folder.parent()?).ok()?.into_iter();
        let folders = beside.filter(|(n, path)| n.to_lowercase() == wanted && path.is_dir());
        let names = [Some((name.to_lowercase(), is_high)), exchanged(&name)];
        folders
            .flat_map(|(_, path)| list(&path).unwrap_or_default())
            .find(|(n, _)| names.iter().flatten().any(|(wanted, _)| n.to_lowercase() == *wanted))
            .map(|(_, path)| (path, is_high))
    })
}

/// True if the name says that the file is one of two experts.
pub(super) fn is_expert(file: &Path) -> bool {
    let name = file.to_string_lossy().to_lowercase();
    ["high", "low"].iter().any(|word| {
        ["_noise", "-noise", "noise", " noise"]
            .iter()
            .any(|end| name.contains(&format!("{word}{end}")))
    })
}
