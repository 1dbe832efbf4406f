//! A model folder in the layout of diffusers, on disk or inside the program.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use crate::embedded::TOYBOX;
use crate::manifest::{Manifest, stays_inside};
use crate::verify::{self, Verified};
use crate::{Checkpoint, Error, Result};

const INDEX: &str = "model_index.json";
const MANIFEST: &str = "manifest.json";
const FOLDER_HINT: &str = "a model folder holds model_index.json and one folder for each part, as diffusers saves it";

/// `model_index.json`, one folder for each component, and what Kinora adds: a manifest, concepts.
#[derive(Debug, Clone)]
pub struct ModelFolder {
    place: Place,
    manifest: Option<Manifest>,
}

#[derive(Debug, Clone)]
enum Place {
    Disk(PathBuf),
    Embedded,
}

impl ModelFolder {
    /// Opens a folder on disk. A manifest is read if there is one; models from elsewhere have none.
    ///
    /// **Errors**: [`Error::BadModelFolder`] without a `model_index.json`; [`Error::BadJson`].
    pub fn open(path: &Path) -> Result<Self> {
        if !path.join(INDEX).is_file() {
            let reason = if path.is_dir() {
                "it has no model_index.json"
            } else {
                "it is no folder"
            };
            return Err(Error::BadModelFolder {
                folder: path.display().to_string(),
                reason: reason.into(),
                hint: FOLDER_HINT,
            });
        }
        Self::with_manifest(Place::Disk(path.into()))
    }

    /// The model inside the program.
    pub fn embedded_toybox() -> Result<Self> {
        Self::with_manifest(Place::Embedded)
    }

    fn with_manifest(place: Place) -> Result<Self> {
        let mut folder = Self { place, manifest: None };
        if folder.has(MANIFEST) {
            let name = format!("{}/{MANIFEST}", folder.location());
            folder.manifest = Some(Manifest::parse(&name, &folder.bytes(MANIFEST)?)?);
        }
        Ok(folder)
    }

    /// The folder's path, or `embedded toybox`: what messages and reports call it.
    pub fn location(&self) -> String {
        match &self.place {
            Place::Disk(path) => path.display().to_string(),
            Place::Embedded => "embedded toybox".into(),
        }
    }

    /// The folder's path, if it is on disk.
    pub fn path(&self) -> Option<&Path> {
        match &self.place {
            Place::Disk(path) => Some(path),
            Place::Embedded => None,
        }
    }

    /// What the folder says about itself, if it says anything.
    pub const fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref()
    }

    /// The manifest's name, or the folder's.
    pub fn name(&self) -> String {
        match (&self.manifest, &self.place) {
            (Some(manifest), _) => manifest.name.clone(),
            (None, Place::Disk(path)) => path.file_name().map_or_else(
                || path.display().to_string(),
                |name| name.to_string_lossy().into_owned(),
            ),
            (None, Place::Embedded) => "toybox".into(),
        }
    }

    /// The text of `model_index.json`.
    pub fn index(&self) -> Result<String> {
        self.text(INDEX)
    }

    /// The text of a component's configuration: `config.json`, or `<component>_config.json`, in its folder.
    pub fn config(&self, component: &str) -> Result<String> {
        let named = format!("{component}/{component}_config.json");
        if self.has(&named) {
            self.text(&named)
        } else {
            self.text(&format!("{component}/config.json"))
        }
    }

    /// The weights of a component: a sharded index, a file with a usual name, or the only one in its folder.
    ///
    /// **Errors**: [`Error::BadModelFolder`] if there is none or no telling which, and all of [`Checkpoint::open`].
    pub fn checkpoint(&self, component: &str) -> Result<Checkpoint> {
        let names = self.files_in(component)?;
        let ending = |end: &str| names.iter().filter(|n| n.ends_with(end)).collect::<Vec<_>>();
        let usual = |n: &&&String| ["diffusion_pytorch_model.safetensors", "model.safetensors"].contains(&n.as_str());
        let (indices, files) = (ending(".safetensors.index.json"), ending(".safetensors"));
        let chosen = match (indices.as_slice(), files.as_slice()) {
            ([index], _) => *index,
            ([], [file]) => *file,
            ([], files) => match files.iter().find(usual) {
                Some(file) => *file,
                None => return Err(self.no_weights(component, &names, files.len())),
            },
            (indices, _) => return Err(self.no_weights(component, &names, indices.len())),
        };
        self.open_checkpoint(&format!("{component}/{chosen}"))
    }

    /// The tokenizer of the text encoder, in the JSON form of the `tokenizers` library.
    pub fn tokenizer(&self) -> Result<Cow<'static, [u8]>> {
        let own = "tokenizer/tokenizer.json";
        self.bytes(if self.has(own) {
            own
        } else {
            "text_encoder/tokenizer.json"
        })
    }

    /// The text of `concepts.json` (what the model knows, by name), if the model has a list.
    pub fn concepts(&self) -> Result<Option<String>> {
        self.has("concepts.json")
            .then(|| self.text("concepts.json"))
            .transpose()
    }

    /// Sentence embeddings of all concept phrases, `vectors` f16 `[n, width]`; the metadata string `phrases` is a JSON
    /// list of `{group, concept, text}` in the same order.
    pub fn concept_vectors(&self) -> Result<Option<Checkpoint>> {
        let name = "concepts.safetensors";
        self.has(name).then(|| self.open_checkpoint(name)).transpose()
    }

    /// Compares every file that the manifest lists with its length and hash, in parallel. `None` without a manifest.
    ///
    /// **Errors**: [`Error::HashMismatch`], [`Error::Truncated`], [`Error::BadModelFolder`] for a missing file.
    pub fn verify_hashes(&self) -> Result<Option<Verified>> {
        let Some(manifest) = &self.manifest else {
            return Ok(None);
        };
        verify::files(self, manifest).map(Some)
    }

    /// Sixteen hexadecimal digits that stand for all files that decide what is generated: weights, configurations,
    /// tokenizer, concepts. Taken from the manifest; without one, the files are hashed now.
    pub fn weights_hash(&self) -> Result<String> {
        verify::weights_hash(self)
    }

    /// Length of all files: from the manifest, or from the disk.
    pub fn size_bytes(&self) -> Result<u64> {
        match (&self.manifest, &self.place) {
            (Some(manifest), _) => Ok(manifest.size_bytes()),
            (None, Place::Embedded) => Ok(TOYBOX.iter().map(|(_, bytes)| bytes.len() as u64).sum()),
            (None, Place::Disk(root)) => {
                let mut size_bytes = 0;
                for file in self.all_files()? {
                    let path = root.join(file);
                    size_bytes += path.metadata().map_err(Error::io("read", &path))?.len();
                }
                Ok(size_bytes)
            }
        }
    }

    /// True if the folder holds this file. `file` is relative, with `/`.
    pub fn has(&self, file: &str) -> bool {
        match &self.place {
            Place::Disk(root) => stays_inside(file) && root.join(file).is_file(),
            Place::Embedded => embedded(file).is_some(),
        }
    }

    /// A whole file.
    ///
    /// **Errors**: [`Error::BadModelFolder`] if it is missing, [`Error::Io`].
    pub fn bytes(&self, file: &str) -> Result<Cow<'static, [u8]>> {
        match &self.place {
            _ if !self.has(file) => Err(self.bad(format!("it has no {file}"))),
            Place::Disk(root) => {
                let path = root.join(file);
                Ok(Cow::Owned(std::fs::read(&path).map_err(Error::io("read", &path))?))
            }
            Place::Embedded => Ok(Cow::Borrowed(embedded(file).unwrap_or_default())),
        }
    }

    fn text(&self, file: &str) -> Result<String> {
        let bytes = self.bytes(file)?.into_owned();
        String::from_utf8(bytes).map_err(|e| Error::BadJson {
            file: format!("{}/{file}", self.location()),
            reason: e.to_string(),
        })
    }

    fn open_checkpoint(&self, file: &str) -> Result<Checkpoint> {
        match &self.place {
            Place::Disk(root) => Checkpoint::open(&root.join(file)),
            Place::Embedded => {
                let bytes = embedded(file).ok_or_else(|| self.bad(format!("it has no {file}")))?;
                Checkpoint::from_static(&format!("{}/{file}", self.location()), bytes)
            }
        }
    }

    /// Sorted names of the files directly in a component's folder.
    fn files_in(&self, component: &str) -> Result<Vec<String>> {
        let prefix = format!("{component}/");
        let inside = |file: &String| {
            file.strip_prefix(&prefix)
                .filter(|n| !n.contains('/'))
                .map(String::from)
        };
        Ok(self.all_files()?.iter().filter_map(inside).collect())
    }

    /// Sorted relative paths of the files at the top and one folder down, where models keep everything.
    pub(crate) fn all_files(&self) -> Result<Vec<String>> {
        let root = match &self.place {
            Place::Embedded => return Ok(TOYBOX.iter().map(|&(name, _)| name.to_owned()).collect()),
            Place::Disk(root) => root,
        };
        let mut files = Vec::new();
        for (name, path) in list(root)? {
            if path.is_dir() {
                files.extend(
                    list(&path)?
                        .into_iter()
                        .filter(|(_, p)| p.is_file())
                        .map(|(n, _)| format!("{name}/{n}")),
                );
            } else {
                files.push(name);
            }
        }
        files.sort();
        Ok(files)
    }

    fn no_weights(&self, component: &str, names: &[String], candidates: usize) -> Error {
        let pickled = [".bin", ".pt", ".pth", ".ckpt"]
            .iter()
            .any(|end| names.iter().any(|n| n.ends_with(end)));
        let reason = match candidates {
            0 if names.is_empty() => format!("it has no {component} folder"),
            0 if pickled => format!("{component} has only pickle files, which can run code and are refused"),
            0 => format!("{component} has no .safetensors file"),
            n => format!("{component} has {n} checkpoints and no telling which is meant"),
        };
        self.bad(reason)
    }

    pub(crate) fn bad(&self, reason: String) -> Error {
        Error::BadModelFolder {
            folder: self.location(),
            reason,
            hint: FOLDER_HINT,
        }
    }
}

fn embedded(file: &str) -> Option<&'static [u8]> {
    TOYBOX.iter().find(|(name, _)| *name == file).map(|&(_, bytes)| bytes)
}

/// Name and path of everything in a folder.
fn list(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(Error::io("list", folder))? {
        let path = entry.map_err(Error::io("list", folder))?.path();
        if let Some(name) = path.file_name() {
            entries.push((name.to_string_lossy().into_owned(), path));
        }
    }
    Ok(entries)
}
