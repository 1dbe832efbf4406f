//! The latents of a clip on disk: kept before its frames are made, so that hours of denoising outlive a failure behind
//! them.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use kinora_tensor::Tensor;
use kinora_weights::{Checkpoint, NewTensor, write_safetensors};

use crate::description::Description;
use crate::report::Recipe;
use crate::{Error, Result};

/// What the file says under `format`.
const FORMAT: &str = "kinora latents 1";
const FORMAT_KEY: &str = "format";
const RECIPE_KEY: &str = "kinora.recipe";
const NOT_NEW_KEY: &str = "kinora.not_new";
/// Absent in files whose parts are taken to their ends.
const MOST_NEW_KEY: &str = "kinora.most_new";

/// The latents of one part of a clip.
#[derive(Debug)]
pub(crate) struct SavedPart {
    /// `[1, C, F, h, w]`, normalised.
    pub(crate) latents: Tensor,
    /// Frames at its start that belong to the part before.
    pub(crate) not_new: usize,
    /// Frames after those that the clip gets, where the part made more.
    pub(crate) most_new: Option<usize>,
}

impl SavedPart {
    /// Frames of it that the clip gets.
    pub(crate) fn new_frames(&self, model: &Description) -> usize {
        let latent_frames = self.latents.dims().get(2).copied().unwrap_or(0);
        let made = model.frames_of(latent_frames).saturating_sub(self.not_new);
        made.min(self.most_new.unwrap_or(usize::MAX))
    }
}

/// The latents of a clip, and what it is.
#[derive(Debug)]
pub struct SavedLatents {
    /// What made them.
    pub recipe: Recipe,
    pub(crate) parts: Vec<SavedPart>,
}

impl SavedLatents {
    /// Latent frames of all parts.
    pub(crate) fn latent_frames(&self) -> usize {
        self.parts.iter().filter_map(|part| part.latents.dims().get(2)).sum()
    }

    /// Where the latents of the clip in `output` lie.
    pub fn path_for(output: &Path) -> PathBuf {
        output.with_extension("latents.safetensors")
    }

    /// Writes everything to `path`, replacing what is there.
    ///
    /// **Errors**: [`Error::Weights`] if it cannot be written; then nothing is left behind.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let tensors: Vec<NewTensor> = (0..self.parts.len())
            .map(|index| NewTensor {
                name: part_name(index),
                dtype: "F32".into(),
                shape: self.parts[index].latents.dims().to_vec(),
            })
            .collect();
        let not_new: Vec<usize> = self.parts.iter().map(|part| part.not_new).collect();
        let mut metadata = BTreeMap::from([
            (FORMAT_KEY.to_owned(), FORMAT.to_owned()),
            (RECIPE_KEY.to_owned(), json(&self.recipe)?),
            (NOT_NEW_KEY.to_owned(), json(&not_new)?),
        ]);
        let most_new: Vec<Option<usize>> = self.parts.iter().map(|part| part.most_new).collect();
        if most_new.iter().any(Option::is_some) {
            metadata.insert(MOST_NEW_KEY.to_owned(), json(&most_new)?);
        }
        write_safetensors(path, &tensors, &metadata, |index, out| {
            write_floats(&self.parts[index].latents, out).map_err(|source| kinora_weights::Error::Io {
                action: "write",
                path: path.to_owned(),
                source,
            })
        })?;
        Ok(())
    }

    /// Reads what `SavedLatents::write` wrote.
    ///
    /// **Errors**: [`Error::Weights`] for a file that is damaged, [`Error::NotLatents`] for one that is something else.
    pub fn read(path: &Path) -> Result<Self> {
        let file = Checkpoint::open(path)?;
        let refuse = |reason: &str| Error::NotLatents {
            path: path.to_owned(),
            reason: reason.to_owned(),
        };
        let field = |key: &str| file.metadata().get(key).map(String::as_str).unwrap_or_default();
        if field(FORMAT_KEY) != FORMAT {
            return Err(refuse("it was not written by `kinora generate`"));
        }
        let recipe: Recipe = serde_json::from_str(field(RECIPE_KEY)).map_err(|_| refuse("its recipe is damaged"))?;
        let not_new: Vec<usize> =
            serde_json::from_str(field(NOT_NEW_KEY)).map_err(|_| refuse("its list of parts is damaged"))?;
        let most_new: Vec<Option<usize>> = match file.metadata().get(MOST_NEW_KEY) {
            None => Vec::new(),
            Some(json) => serde_json::from_str(json).map_err(|_| refuse("its list of parts is damaged"))?,
        };
        let reader = file.reader();
        let mut parts = Vec::new();
        for (index, not_new) in not_new.into_iter().enumerate() {
            let name = part_name(index);
            let dims = reader.shape(&name)?;
            if dims.len() != 5 || dims[0] != 1 {
                return Err(refuse("its latents have other axes"));
            }
            parts.push(SavedPart {
                latents: reader.tensor(&name, &dims)?,
                not_new,
                most_new: most_new.get(index).copied().flatten(),
            });
        }
        reader.finish(&[])?;
        match parts.is_empty() {
            true => Err(refuse("it holds no latents")),
            false => Ok(Self { recipe, parts }),
        }
    }
}

/// The elements of a tensor, little endian.
pub(crate) fn write_floats(tensor: &Tensor, out: &mut dyn Write) -> std::io::Result<()> {
    for chunk in tensor.as_slice().chunks(1 << 14) {
        let bytes: Vec<u8> = chunk.iter().flat_map(|value| value.to_le_bytes()).collect();
        out.write_all(&bytes)?;
    }
    Ok(())
}

pub(crate) fn part_name(index: usize) -> String {
    format!("part.{index}")
}

pub(crate) fn json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::Record {
        reason: error.to_string(),
    })
}
