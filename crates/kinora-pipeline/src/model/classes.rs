//! The classes that this version can run, by component of `model_index.json`.

use kinora_weights::ModelFolder;

use crate::{Error, Result};

/// Families of text encoders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextKind {
    MiniLm,
}

/// Families of autoencoders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VaeKind {
    Taehv,
}

/// What the parts of a model are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kinds {
    pub(crate) text: TextKind,
    pub(crate) vae: VaeKind,
}

const TRANSFORMERS: [(&str, ()); 1] = [("WanTransformer3DModel", ())];
const TEXT_ENCODERS: [(&str, TextKind); 1] = [("BertModel", TextKind::MiniLm)];
const VAES: [(&str, VaeKind); 1] = [("TAEHV", VaeKind::Taehv)];

/// Reads the classes of `folder`'s parts.
///
/// **Errors**: [`Error::UnsupportedModel`] naming the part and what is known.
pub(crate) fn read(folder: &ModelFolder) -> Result<Kinds> {
    let index: serde_json::Value =
        serde_json::from_str(&folder.index()?).map_err(|error| refuse(folder, format!("model_index.json: {error}")))?;
    kind_of(folder, &index, "transformer", &TRANSFORMERS)?;
    Ok(Kinds {
        text: kind_of(folder, &index, "text_encoder", &TEXT_ENCODERS)?,
        vae: kind_of(folder, &index, "vae", &VAES)?,
    })
}

fn kind_of<K: Copy>(
    folder: &ModelFolder,
    index: &serde_json::Value,
    part: &str,
    known: &[(&'static str, K)],
) -> Result<K> {
    let names = || known.iter().map(|(class, _)| *class).collect::<Vec<_>>().join(" or ");
    let Some(class) = index[part][1].as_str() else {
        let reason = format!("model_index.json names no {part}; expected {}", names());
        return Err(refuse(folder, reason));
    };
    match known.iter().find(|(name, _)| *name == class) {
        Some(&(_, kind)) => Ok(kind),
        None => Err(refuse(
            folder,
            format!("its {part} is a {class}; this version runs {}", names()),
        )),
    }
}

fn refuse(folder: &ModelFolder, reason: String) -> Error {
    Error::UnsupportedModel {
        model: folder.name(),
        reason,
    }
}
