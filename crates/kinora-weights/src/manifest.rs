//! `manifest.json` of a model folder: what the model is, under which licence, and the hash of every file.

use std::path::{Component, Path};

use crate::{Error, Result};

/// Its name in the folder of a model.
pub(crate) const MANIFEST: &str = "manifest.json";

/// What a model folder says about itself.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Manifest {
    /// The word that `--model` takes.
    pub name: String,
    /// Version of the weights.
    pub version: String,
    /// SPDX expression over all parts.
    pub licence: String,
    /// What the model can do: `text-to-video`, `image-to-video`, ...
    #[serde(default)]
    pub tasks: Vec<String>,
    /// Licence and source of each part.
    #[serde(default)]
    pub parts: Vec<Part>,
    /// What the weights were trained on, where that has to be named.
    #[serde(default)]
    pub training_assets: Vec<TrainingAsset>,
    /// Every file but the manifest itself.
    pub files: Vec<ManifestFile>,
}

/// One component of the model.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Part {
    /// Folder or topic: `transformer`, `vae`, `text_encoder`.
    pub part: String,
    /// SPDX expression.
    pub licence: String,
    /// Where it comes from.
    pub source: String,
    /// How the numbers are stored.
    #[serde(default)]
    pub stored: String,
}

/// Something that the training data was made of.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct TrainingAsset {
    /// What it is.
    pub asset: String,
    /// SPDX expression.
    pub licence: String,
    /// Who holds the rights.
    pub owner: String,
}

/// One file of the folder.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct ManifestFile {
    /// Path inside the folder, with `/`.
    pub path: String,
    /// Length.
    pub bytes: u64,
    /// Hash in lower-case hexadecimal.
    pub sha256: String,
    /// SPDX expression.
    #[serde(default)]
    pub licence: String,
}

impl Manifest {
    /// Reads the text of a `manifest.json`; `file` is its name for messages.
    ///
    /// **Errors**: [`Error::BadJson`], also for paths that would leave the folder.
    pub fn parse(file: &str, text: &[u8]) -> Result<Self> {
        let bad = |reason: String| Error::BadJson {
            file: file.into(),
            reason,
        };
        let manifest: Self = serde_json::from_slice(text).map_err(|e| bad(e.to_string()))?;
        for entry in &manifest.files {
            if !stays_inside(&entry.path) {
                return Err(bad(format!("`{}` leads out of the folder", entry.path)));
            }
        }
        Ok(manifest)
    }

    /// Length of all files.
    pub fn size_bytes(&self) -> u64 {
        self.files.iter().map(|f| f.bytes).sum()
    }
}

/// A relative path made of names only.
pub(crate) fn stays_inside(path: &str) -> bool {
    !path.is_empty() && Path::new(path).components().all(|c| matches!(c, Component::Normal(_)))
}
