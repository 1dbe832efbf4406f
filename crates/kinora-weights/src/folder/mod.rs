//! A model: a folder in the layout of diffusers (on disk or inside the program), a `model.json` that names parts, or a transformer file with
//! its parts around it.

mod assembled;
mod part;
mod role;
mod search;
mod tokenizer;

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use assembled::Assembled;
pub(crate) use assembled::ModelJson;
pub(crate) use part::{PICKLES, is_weights};
use role::role;
pub use tokenizer::TokenizerSource;

use crate::embedded::TOYBOX;
use crate::manifest::{MANIFEST, Manifest, stays_inside};
use crate::pull::{RECEIPT, Receipt};
use crate::recognise::{Component, identify, recognise};
use crate::verify::{self, Verified};
use crate::{Checkpoint, Error, Result, registry};

pub(crate) const INDEX: &str = "model_index.json";
pub(crate) const MODEL: &str = "model.json";
const FOLDER_HINT: &str = "a model is a folder with model_index.json and one folder for each part, as diffusers saves it; a folder with \
    model.json; or the file of a transformer";

/// A model with its parts: `transformer`, `transformer_2`, `vae`, `text_encoder`, `image_encoder`, `tokenizer`.
///
/// Whatever names and formats the files have, [`ModelFolder::checkpoint`] and [`ModelFolder::config`] speak those of diffusers.
#[derive(Debug, Clone)]
pub struct ModelFolder {
    place: Place,
    manifest: Option<Manifest>,
    receipt: Option<Receipt>,
}

#[derive(Debug, Clone)]
enum Place {
    Disk(PathBuf),
    Embedded,
    Assembled(Assembled),
}

impl ModelFolder {
    /// Opens a folder in the diffusers layout (a manifest, and what a pull left, are read if they are there), a folder with a `model.json`, or the file of a transformer,
    /// whose other parts are looked for beside it, in the folders of ComfyUI and in those of the registry.
    ///
    /// **Errors**: [`Error::BadModelFolder`], [`Error::BadJson`]; [`Error::WrongPart`] and [`Error::NotRecognised`] for a file that is no
    /// transformer. Parts that are missing are reported when they are asked for.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_among(path, &registry::folders())
    }

    /// As [`ModelFolder::open`], with other folders in which parts are looked for.
    ///
    /// **Errors**: as there.
    pub fn open_among(path: &Path, folders: &[PathBuf]) -> Result<Self> {
        if path.join(INDEX).is_file() {
            return Self::of_place(Place::Disk(path.into()));
        }
        let assembled = |assembled| Self {
            place: Place::Assembled(assembled),
            manifest: None,
            receipt: None,
        };
        if path.join(MODEL).is_file() {
            let model = ModelJson::read(path)?;
            return match &model.folder {
                Some(folder) if folder.join(INDEX).is_file() => Self::of_place(Place::Disk(folder.clone())),
                Some(folder) => Err(bad_folder(path, format!("{} has no {INDEX}", folder.display()))),
                None => Assembled::of_json(path, model).map(assembled),
            };
        }
        if path.is_dir() {
            let file = transformer_in(path)?;
            return Assembled::around(&file, folders).map(assembled);
        }
        if !path.exists() {
            return Err(bad_folder(path, "there is nothing of that name".into()));
        }
        Assembled::around(path, folders).map(assembled)
    }

    /// The model inside the program.
    pub fn embedded_toybox() -> Result<Self> {
        Self::of_place(Place::Embedded)
    }

    fn of_place(place: Place) -> Result<Self> {
        let mut folder = Self {
            place,
            manifest: None,
            receipt: None,
        };
        if folder.has(MANIFEST) {
            let name = format!("{}/{MANIFEST}", folder.location());
            folder.manifest = Some(Manifest::parse(&name, &folder.bytes(MANIFEST)?)?);
        }
        if folder.has(RECEIPT) {
            let name = format!("{}/{RECEIPT}", folder.location());
            folder.receipt = Some(Receipt::parse(&name, &folder.bytes(RECEIPT)?)?);
        }
        Ok(folder)
    }

    /// The folder's path, or `embedded toybox`: what messages and reports call it.
    pub fn location(&self) -> String {
        match &self.place {
            Place::Disk(path) => path.display().to_string(),
            Place::Embedded => "embedded toybox".into(),
            Place::Assembled(model) => model.home.display().to_string(),
        }
    }

    /// The path of the folder or of the transformer, if the model is on disk.
    pub fn path(&self) -> Option<&Path> {
        match &self.place {
            Place::Disk(path) => Some(path),
            Place::Embedded => None,
            Place::Assembled(model) => Some(&model.home),
        }
    }

    /// The parts that are there, and where they lie on disk.
    pub fn parts(&self) -> Vec<(String, Option<PathBuf>)> {
        let names = role::ROLES.iter().map(|role| role.name.to_owned());
        match &self.place {
            Place::Assembled(model) => {
                let paths = model.found.paths.iter();
                paths.map(|(name, path)| (name.clone(), Some(path.clone()))).collect()
            }
            Place::Embedded => names
                .filter(|name| TOYBOX.iter().any(|(file, _)| file.starts_with(&format!("{name}/"))))
                .map(|name| (name, None))
                .collect(),
            Place::Disk(root) => names
                .map(|name| (name.clone(), root.join(name)))
                .filter(|(_, path)| path.is_dir())
                .map(|(name, path)| (name, Some(path)))
                .collect(),
        }
    }

    /// True if the model has that part.
    pub fn has_part(&self, name: &str) -> bool {
        self.parts().iter().any(|(part, _)| part == name)
    }

    /// SPDX expression, if the model says one.
    pub fn licence(&self) -> Option<&str> {
        match &self.place {
            Place::Assembled(model) => model.licence.as_deref(),
            _ => {
                let pulled = || self.receipt.as_ref().map(|receipt| receipt.licence.as_str());
                let manifest = self.manifest.as_ref().map(|manifest| manifest.licence.as_str());
                manifest.or_else(pulled)
            }
        }
    }

    /// For a list of models: folders of diffusers may be of kinds that are not known here.
    pub(crate) fn require_parts_that_are_scattered(&self) -> Result<()> {
        match &self.place {
            Place::Assembled(model) => model.require_all(),
            Place::Disk(_) | Place::Embedded => Ok(()),
        }
    }

    /// **Errors**: [`Error::MissingPart`] for the first part that such a model cannot do without.
    pub fn require_all(&self) -> Result<()> {
        match &self.place {
            Place::Assembled(model) => model.require_all(),
            Place::Disk(_) => self.checkpoint("transformer").map(drop),
            Place::Embedded => Ok(()),
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
            (None, Place::Assembled(model)) => model.name.clone(),
        }
    }

    /// The text of `model_index.json`, or what it would say for this model: the class of each part, `_class_name`, `expand_timesteps`,
    /// `boundary_ratio`, and `preset` if `model.json` names one.
    pub fn index(&self) -> Result<String> {
        match &self.place {
            Place::Assembled(model) => model.index(),
            _ => self.text(INDEX),
        }
    }

    /// The text of a component's configuration: `config.json`, or `<component>_config.json`, in its folder; where there is none, what the
    /// weights say.
    ///
    /// **Errors**: [`Error::MissingPart`] and all of [`recognise`].
    pub fn config(&self, component: &str) -> Result<String> {
        if let Place::Assembled(model) = &self.place {
            return model.config(self.role(component)?);
        }
        let (named, plain) = (
            format!("{component}/{component}_config.json"),
            format!("{component}/config.json"),
        );
        if self.has(&named) {
            return self.text(&named);
        }
        if !self.has(&plain)
            && let Ok(weights) = self.own_checkpoint(component)
        {
            match recognise(&weights) {
                Ok(found) => return Ok(found.config_json),
                // Only the file could say it.
                Err(Error::NotRecognised { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.text(&plain)
    }

    /// The weights of a component under diffusers' names: a sharded index, a file with a usual name, or the only one in its folder.
    ///
    /// **Errors**: [`Error::BadModelFolder`] if there is none or no telling which, [`Error::MissingPart`], and all of [`Checkpoint::open`].
    pub fn checkpoint(&self, component: &str) -> Result<Checkpoint> {
        if let Place::Assembled(model) = &self.place {
            return model.checkpoint(self.role(component)?);
        }
        let checkpoint = self.own_checkpoint(component)?;
        let Some(role) = role(component) else {
            return Ok(checkpoint);
        };
        match identify(&checkpoint, None) {
            Ok(found) if role.components.contains(&found.component) => checkpoint.in_diffusers_names(&found),
            Ok(found) => match found.component {
                Component::Lora => found.expect(&checkpoint, role.components).map(|()| checkpoint),
                _ => Ok(checkpoint),
            },
            // A model that is not of the Wan family; whoever loads it knows it.
            Err(Error::NotRecognised { .. }) => Ok(checkpoint),
            Err(error) => Err(error),
        }
    }

    /// The weights in the names of their file.
    fn own_checkpoint(&self, component: &str) -> Result<Checkpoint> {
        let names = self.files_in(component)?;
        match part::choose(&names) {
            Ok(chosen) => self.open_checkpoint(&format!("{component}/{chosen}")),
            Err(count) => Err(self.no_weights(component, &names, count)),
        }
    }

    fn role(&self, component: &str) -> Result<&'static role::Role> {
        role(component).ok_or_else(|| self.bad(format!("it has no {component}")))
    }

    /// The tokenizer of the text encoder, in the JSON form of the `tokenizers` library.
    ///
    /// **Errors**: [`Error::BadModelFolder`] if there is none or if it has another form; see [`ModelFolder::tokenizer_source`].
    pub fn tokenizer(&self) -> Result<Cow<'static, [u8]>> {
        match self.tokenizer_source()? {
            TokenizerSource::Json(bytes) => Ok(bytes),
            _ => Err(self.bad("its tokenizer is not a tokenizer.json".into())),
        }
    }

    /// The tokenizer of the text encoder in the form that the model has.
    ///
    /// **Errors**: [`Error::BadModelFolder`], [`Error::MissingPart`] if there is none.
    pub fn tokenizer_source(&self) -> Result<TokenizerSource> {
        let folders = ["tokenizer", "text_encoder"];
        let json = folders.map(|folder| format!("{folder}/tokenizer.json"));
        match &self.place {
            Place::Assembled(model) => tokenizer::read(model.path(self.role("tokenizer")?)?),
            _ if json.iter().any(|file| self.has(file)) => {
                let file = json.iter().find(|file| self.has(file)).map_or("", String::as_str);
                Ok(TokenizerSource::Json(self.bytes(file)?))
            }
            Place::Disk(root) => match folders.iter().find(|folder| tokenizer::is_in(&root.join(folder))) {
                Some(folder) => tokenizer::read(&root.join(folder)),
                None => Err(self.bad(format!("it has no {}", json[1]))),
            },
            Place::Embedded => Err(self.bad(format!("it has no {}", json[1]))),
        }
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
    /// tokenizer, concepts. Taken from the manifest; without one, the files are hashed now (of single files beyond 1 GiB, pieces).
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
            (None, Place::Assembled(model)) => {
                let mut size_bytes = 0;
                for (_, path) in model.files()? {
                    size_bytes += path.metadata().map_err(Error::io("read", &path))?.len();
                }
                Ok(size_bytes)
            }
        }
    }

    /// Every file of a model whose parts lie in different places, with the name of its part; `None` for a folder.
    pub(crate) fn scattered_files(&self) -> Result<Option<Vec<(String, PathBuf)>>> {
        match &self.place {
            Place::Assembled(model) => model.files().map(Some),
            _ => Ok(None),
        }
    }

    /// True if the folder holds this file. `file` is relative, with `/`.
    pub fn has(&self, file: &str) -> bool {
        match &self.place {
            Place::Disk(root) => stays_inside(file) && root.join(file).is_file(),
            Place::Embedded => embedded(file).is_some(),
            Place::Assembled(_) => false,
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
            Place::Assembled(_) => Err(self.bad(format!("it has no {file}"))),
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
            Place::Assembled(_) => Err(self.bad(format!("it has no {file}"))),
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
            Place::Assembled(_) => return Ok(Vec::new()),
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
        let pickled = PICKLES.iter().any(|end| names.iter().any(|n| n.ends_with(end)));
        let reason = match candidates {
            0 if names.is_empty() => format!("it has no {component} folder"),
            0 if pickled => format!(
                "{component} has only pickle files, which can run code and are refused; `kinora convert` makes safetensors files of them"
            ),
            0 => format!("{component} has no .safetensors and no .gguf file"),
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

/// True for the expert for low noise whose other one is there too: both are one model.
pub(crate) fn is_low_of_a_pair(file: &Path) -> bool {
    search::other_expert(file).is_some_and(|(_, other_is_high)| other_is_high)
}

fn bad_folder(path: &Path, reason: String) -> Error {
    Error::BadModelFolder {
        folder: path.display().to_string(),
        reason,
        hint: FOLDER_HINT,
    }
}

/// The transformer in a folder that is neither of diffusers nor of kinora: as Wan-Video publishes it, with experts in two folders, or one
/// file among others.
fn transformer_in(folder: &Path) -> Result<PathBuf> {
    let high = folder.join("high_noise_model");
    if high.is_dir() {
        return part::weights_of(&high);
    }
    let files: Vec<(String, PathBuf)> = list(folder)?.into_iter().filter(|(_, path)| path.is_file()).collect();
    let mut found: Vec<&PathBuf> = Vec::new();
    for (_, path) in files.iter().filter(|(name, _)| is_weights(name)) {
        let header = Checkpoint::open_header_only(path);
        if header.is_ok_and(|header| identify(&header, Some(Component::WanTransformer)).is_ok()) {
            found.push(path);
        }
    }
    found.sort();
    let pickled = files
        .iter()
        .any(|(name, _)| PICKLES.iter().any(|end| name.ends_with(end)));
    match found.as_slice() {
        [one] => Ok((*one).clone()),
        [first, second] if search::other_expert(first).is_some_and(|(other, _)| other == **second) => Ok((*first).clone()),
        [] if pickled => Err(bad_folder(
            folder,
            "it has no model_index.json, and only pickle files, which can run code and are refused; `kinora convert` makes \
             safetensors files of them"
                .into(),
        )),
        [] => Err(bad_folder(folder, "it has no model_index.json, no model.json and no transformer".into())),
        more => Err(bad_folder(
            folder,
            format!("it has {} transformers and no telling which is meant; give the file itself", more.len()),
        )),
    }
}

fn embedded(file: &str) -> Option<&'static [u8]> {
    TOYBOX.iter().find(|(name, _)| *name == file).map(|&(_, bytes)| bytes)
}

/// Name and path of everything in a folder, sorted.
pub(crate) fn list(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(Error::io("list", folder))? {
        let path = entry.map_err(Error::io("list", folder))?.path();
        if let Some(name) = path.file_name() {
            entries.push((name.to_string_lossy().into_owned(), path));
        }
    }
    entries.sort();
    Ok(entries)
}
