//! Which part of which model a file holds, in whose names, and with which configuration.
//!
//! People have the same weights as diffusers folders, as Wan-Video published them, as ComfyUI repackaged them and as GGUF. All are told by names of
//! tensors and by shapes alone; [`Checkpoint::in_diffusers_names`] then gives the same bytes under the names that the models ask for.

mod config;
mod latents;
mod names;
mod rules;
mod signs;

use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) use config::is_of;
pub(crate) use names::{Names, Picked, VaeBlocks};

use crate::stored::Stored;
use crate::{Checkpoint, Error, Result};

/// A part of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Component {
    /// The denoiser of the Wan family.
    WanTransformer,
    /// The autoencoder of Wan 2.1 or 2.2.
    WanVae,
    /// The text encoder umT5.
    Umt5,
    /// The vision half of CLIP, for Wan 2.1 image to video.
    ClipVision,
    /// A tiny autoencoder in place of the Wan one.
    Taehv,
    /// Differences to a transformer; no model by itself.
    Lora,
}

impl Component {
    /// The folder of a diffusers model that holds such a part; empty for a LoRA.
    pub const fn folder(self) -> &'static str {
        match self {
            Self::WanTransformer => "transformer",
            Self::WanVae | Self::Taehv => "vae",
            Self::Umt5 => "text_encoder",
            Self::ClipVision => "image_encoder",
            Self::Lora => "",
        }
    }

    /// What messages call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WanTransformer => "a Wan transformer",
            Self::WanVae => "a Wan autoencoder",
            Self::Umt5 => "a umT5 text encoder",
            Self::ClipVision => "a CLIP vision encoder",
            Self::Taehv => "a TAEHV autoencoder",
            Self::Lora => "a LoRA",
        }
    }
}

/// Whose names the tensors have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// Those of diffusers and transformers, which the models ask for.
    Diffusers,
    /// Those of Wan-Video, which ComfyUI and GGUF files of transformers keep.
    Original,
    /// Those of llama.cpp, for text encoders as GGUF.
    LlamaCpp,
    /// Those of open_clip.
    OpenClip,
}

impl Dialect {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Diffusers => "diffusers",
            Self::Original => "original",
            Self::LlamaCpp => "llama.cpp",
            Self::OpenClip => "open_clip",
        }
    }
}

/// What [`recognise`] found.
#[derive(Debug, Clone)]
pub struct Recognised {
    /// Which part it is.
    pub component: Component,
    /// Whose names it uses.
    pub dialect: Dialect,
    /// What stands before all names of this part in the file: `model.diffusion_model.` or nothing.
    pub prefix: String,
    /// The configuration in diffusers' spelling; empty for a LoRA.
    pub config_json: String,
    /// What else a user may want to know, a sentence each.
    pub notes: Vec<String>,
    names: Names,
}

/// Tells what a checkpoint is. A configuration in its metadata wins over what shapes say.
///
/// **Errors**: [`Error::NotRecognised`]; [`Error::NoConfig`] if the shapes do not say all; [`Error::UnsupportedFormat`].
pub fn recognise(checkpoint: &Checkpoint) -> Result<Recognised> {
    recognise_as(checkpoint, None, None)
}

/// As [`recognise`], for a file of which one part is wanted (all-in-one files hold several) or whose configuration is known.
///
/// **Errors**: as there.
pub fn recognise_as(checkpoint: &Checkpoint, wanted: Option<Component>, config: Option<&str>) -> Result<Recognised> {
    let mut found = identify(checkpoint, wanted)?;
    if found.component == Component::Lora {
        return Ok(found);
    }
    let renamed = checkpoint.in_diffusers_names(&found)?;
    let written = checkpoint
        .metadata()
        .get("config")
        .filter(|text| is_of(found.component, text));
    let (config_json, mut notes) = match config.or(written.map(String::as_str)) {
        Some(config) => (config.to_owned(), Vec::new()),
        None => config::derive(found.component, &renamed)?,
    };
    found.config_json = config_json;
    notes.push(format!(
        "names of {}{}",
        found.dialect.name(),
        prefix_note(&found.prefix)
    ));
    notes.push(format!("stored as {}", encodings(&renamed)));
    let left_out = checkpoint
        .names()
        .filter(|name| !name.starts_with(&found.prefix))
        .count();
    if left_out > 0 {
        notes.push(format!("{left_out} tensors of other parts in the same file"));
    }
    found.notes = notes;
    Ok(found)
}

/// As [`recognise_as`], without a configuration.
pub(crate) fn identify(checkpoint: &Checkpoint, wanted: Option<Component>) -> Result<Recognised> {
    check_formats(checkpoint)?;
    let Some(sign) = signs::find(checkpoint, wanted) else {
        return Err(signs::not_recognised(checkpoint, wanted));
    };
    let blocks = signs::blocks(checkpoint, &sign);
    Ok(Recognised {
        component: sign.component,
        dialect: sign.dialect,
        names: Names::new(sign.component, sign.dialect, &sign.prefix, blocks),
        prefix: sign.prefix,
        config_json: String::new(),
        notes: Vec::new(),
    })
}

fn prefix_note(prefix: &str) -> String {
    match prefix {
        "" => String::new(),
        prefix => format!(" behind `{prefix}`"),
    }
}

/// How many tensors have which encoding, the most frequent first.
fn encodings(checkpoint: &Checkpoint) -> String {
    let mut counts = BTreeMap::new();
    for raw in checkpoint.names().filter_map(|name| checkpoint.get(name)) {
        *counts
            .entry(raw.encoding.map_or(raw.dtype_name, |e| e.name()))
            .or_insert(0_usize) += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    let words: Vec<_> = counts
        .into_iter()
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    words.join(", ")
}

/// A format that is not read changes shapes too, so it is told before anything is concluded from them.
fn check_formats(checkpoint: &Checkpoint) -> Result<()> {
    let noted = checkpoint.names().filter_map(|name| name.strip_suffix(".comfy_quant"));
    for layer in noted {
        let weight = format!("{layer}.weight");
        if checkpoint.has(&weight) && !checkpoint.is_header_only() {
            Stored::find(checkpoint, &weight, &mut |_| {})?;
        }
    }
    Ok(())
}

impl Checkpoint {
    /// The same bytes under diffusers' names; messages name the file's own ones too. Tensors of other parts in the same file are left out, and
    /// names that are not known are kept, so that a model reports them.
    ///
    /// **Errors**: [`Error::BadHeader`] if two tensors would have the same name.
    pub fn in_diffusers_names(&self, found: &Recognised) -> Result<Self> {
        let (names, back) = (found.names.clone(), found.names.clone());
        self.renamed(
            |own, shape| names.to_diffusers(own, shape),
            Arc::new(move |name| back.to_own(name)),
        )
    }
}

impl Recognised {
    /// **Errors**: [`Error::WrongPart`] if the file is not one of the parts that are `wanted`.
    pub(crate) fn expect(&self, checkpoint: &Checkpoint, wanted: &[Component]) -> Result<()> {
        if wanted.contains(&self.component) {
            return Ok(());
        }
        let hint = match self.component {
            Component::Lora => "a LoRA changes a model: give the model with --model and this file with --lora",
            Component::WanTransformer => "give it with --model",
            _ => "it is one part of a model; give the transformer with --model, or the folder that holds all parts",
        };
        Err(Error::WrongPart {
            file: checkpoint.name().into(),
            found: self.component.name(),
            wanted: wanted.first().map_or("nothing", |c| c.name()),
            hint,
        })
    }
}
