//! The classes that this version can run, by component of `model_index.json`.

use kinora_weights::ModelFolder;

use crate::{Error, Result};

/// Families of text encoders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextKind {
    MiniLm,
    Umt5,
}

/// Families of autoencoders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VaeKind {
    Taehv,
    Wan,
}

/// What the parts of a model are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kinds {
    pub(crate) text: TextKind,
    pub(crate) vae: VaeKind,
    pub(crate) has_second_expert: bool,
    pub(crate) has_image_encoder: bool,
}

const TRANSFORMERS: [(&str, ()); 2] = [("WanTransformer3DModel", ()), ("WanVACETransformer3DModel", ())];
const TEXT_ENCODERS: [(&str, TextKind); 2] = [("BertModel", TextKind::MiniLm), ("UMT5EncoderModel", TextKind::Umt5)];
const VAES: [(&str, VaeKind); 2] = [("TAEHV", VaeKind::Taehv), ("AutoencoderKLWan", VaeKind::Wan)];
/// The parts that a model may lack.
const SECOND_EXPERT: &str = "transformer_2";
const IMAGE_ENCODER: &str = "image_encoder";

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
        has_second_expert: index[SECOND_EXPERT][1].is_string(),
        has_image_encoder: index[IMAGE_ENCODER][1].is_string(),
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
        // Of a model whose parts lie here and there, one may not have been found; that error says where it was looked for.
        folder.require_all()?;
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
