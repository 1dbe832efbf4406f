//! A model whose parts lie in different places: what `model.json` says, or what was found around a transformer.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::role::{ROLES, Role, role};
use super::{part, search};
use crate::recognise::Component;
use crate::{Checkpoint, Error, Result};

/// `model.json`.
#[derive(Debug, Clone, Default, serde::Deserialize, serde::Serialize)]
pub(crate) struct ModelJson {
    pub name: String,
    /// Paths by part, absolute or from the folder of `model.json`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parts: BTreeMap<String, PathBuf>,
    /// A complete folder in the diffusers layout instead of parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
}

impl ModelJson {
    /// Reads `model.json` in `folder`; paths become absolute or relative to the working folder.
    ///
    /// **Errors**: [`Error::Io`]; [`Error::BadJson`], also for a part that does not exist in any model.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(super::MODEL);
        let bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
        let mut model = Self::parse(&path.display().to_string(), &bytes)?;
        for path in model.parts.values_mut().chain(model.folder.iter_mut()) {
            *path = folder.join(path.as_path());
        }
        Ok(model)
    }

    /// Reads the text of a `model.json`; `file` is its name for messages.
    ///
    /// **Errors**: [`Error::BadJson`].
    pub fn parse(file: &str, text: &[u8]) -> Result<Self> {
        let bad = |reason: String| Error::BadJson {
            file: file.into(),
            reason,
        };
        let model: Self = serde_json::from_slice(text).map_err(|e| bad(e.to_string()))?;
        if let Some(unknown) = model.parts.keys().find(|name| role(name).is_none()) {
            let known: Vec<&str> = ROLES.iter().map(|role| role.name).collect();
            return Err(bad(format!(
                "there is no part `{unknown}`; parts are {}",
                known.join(", ")
            )));
        }
        if model.folder.is_none() && !model.parts.contains_key("transformer") {
            return Err(bad(
                "it names neither a `folder` nor a `transformer` among its `parts`".into()
            ));
        }
        Ok(model)
    }
}

/// A model with its parts by name.
#[derive(Debug, Clone)]
pub(super) struct Assembled {
    pub name: String,
    /// The transformer, or the folder of `model.json`.
    pub home: PathBuf,
    pub preset: Option<String>,
    pub licence: Option<String>,
    pub found: search::Found,
}

impl Assembled {
    /// **Errors**: [`Error::BadModelFolder`] for a part that is not where `model.json` says.
    pub fn of_json(home: &Path, model: ModelJson) -> Result<Self> {
        if let Some((name, path)) = model.parts.iter().find(|(_, path)| !path.exists()) {
            return Err(Error::BadModelFolder {
                folder: home.display().to_string(),
                reason: format!(
                    "model.json says that `{name}` is {}, where there is nothing",
                    path.display()
                ),
                hint: "correct the path in model.json, or add the model again",
            });
        }
        let mut found = search::Found {
            paths: model.parts,
            ..search::Found::default()
        };
        // A text encoder may bring its vocabulary with it.
        if let (None, Some(encoder)) = (found.paths.get("tokenizer"), found.paths.get("text_encoder").cloned())
            && super::tokenizer::is_in(&encoder)
        {
            found.paths.insert("tokenizer".into(), encoder);
        }
        Ok(Self {
            name: model.name,
            home: home.to_owned(),
            preset: model.preset,
            licence: model.licence,
            found,
        })
    }

    /// A transformer and what is found around it.
    pub fn around(file: &Path, others: &[PathBuf]) -> Result<Self> {
        let stem = |path: &Path| {
            let name = path
                .file_name()
                .unwrap_or(path.as_os_str())
                .to_string_lossy()
                .into_owned();
            let ends = [".safetensors.index.json", ".safetensors", ".gguf"];
            ends.iter()
                .find_map(|end| name.strip_suffix(end))
                .unwrap_or(&name)
                .to_owned()
        };
        Ok(Self {
            name: stem(file),
            home: file.to_owned(),
            preset: None,
            licence: None,
            found: search::around(file, others)?,
        })
    }

    /// Where a part lies.
    ///
    /// **Errors**: [`Error::MissingPart`].
    pub fn path(&self, role: &Role) -> Result<&Path> {
        if let Some(path) = self.found.paths.get(role.name) {
            return Ok(path);
        }
        let show = |paths: Option<&Vec<PathBuf>>| -> Vec<String> {
            paths
                .into_iter()
                .flatten()
                .map(|path| path.display().to_string())
                .collect()
        };
        let searched = show(self.found.searched.get(role.name));
        Err(Error::MissingPart {
            model: self.name.clone(),
            part: role.words,
            usual: role.usual,
            searched: match searched.is_empty() {
                true => vec![self.home.display().to_string()],
                false => searched,
            },
            found_pickles: show(self.found.pickles.get(role.name)),
            hint: "put it into one of these folders, or name it under `parts` in a model.json",
        })
    }

    pub fn checkpoint(&self, role: &Role) -> Result<Checkpoint> {
        let (checkpoint, found) = part::open(self.path(role)?, role)?;
        checkpoint.in_diffusers_names(&found)
    }

    pub fn config(&self, role: &Role) -> Result<String> {
        part::config(self.path(role)?, role)
    }

    /// Every file of the model once, with the name of its first part.
    pub fn files(&self) -> Result<Vec<(String, PathBuf)>> {
        let mut files: Vec<(String, PathBuf)> = Vec::new();
        for (name, path) in &self.found.paths {
            for path in files_of(path)? {
                if files.iter().all(|(_, other)| *other != path) {
                    files.push((name.clone(), path));
                }
            }
        }
        Ok(files)
    }

    /// What a `model_index.json` of this model would say.
    pub fn index(&self) -> Result<String> {
        let config: Value = parse(&self.config(&ROLES[0])?);
        let class = |name: &str| -> Value {
            match name {
                "transformer" | "transformer_2" => {
                    let class = config["_class_name"].as_str().unwrap_or("WanTransformer3DModel");
                    json!(["diffusers", class])
                }
                "vae" => match self.component("vae") {
                    Some(Component::Taehv) => json!(["toybox", "TAEHV"]),
                    _ => json!(["diffusers", "AutoencoderKLWan"]),
                },
                "text_encoder" => json!(["transformers", "UMT5EncoderModel"]),
                "image_encoder" => json!(["transformers", "CLIPVisionModel"]),
                _ => json!(["transformers", "T5TokenizerFast"]),
            }
        };
        let channels = |field: &str| config[field].as_u64();
        let is_vace = config.get("vace_layers").is_some_and(|layers| !layers.is_null());
        let is_image = channels("in_channels") != channels("out_channels");
        let pair = self.found.paths.contains_key("transformer_2");
        let mut index = json!({
            "_class_name": match (is_vace, is_image) {
                (true, _) => "WanVACEPipeline",
                (false, true) => "WanImageToVideoPipeline",
                (false, false) => "WanPipeline",
            },
            // Text or image to video of 2.2: given frames are clean tokens, so every token has its own timestep.
            "expand_timesteps": channels("in_channels") == Some(48) && channels("out_channels") == Some(48),
            // The published boundaries between the two experts.
            "boundary_ratio": pair.then_some(if is_image { 0.9 } else { 0.875 }),
            "scheduler": ["diffusers", "UniPCMultistepScheduler"],
        });
        for name in self.found.paths.keys() {
            index[name] = class(name);
        }
        if let Some(preset) = &self.preset {
            index["preset"] = preset.as_str().into();
        }
        Ok(index.to_string())
    }

    fn component(&self, name: &str) -> Option<Component> {
        let role = role(name)?;
        Some(part::open(self.path(role).ok()?, role).ok()?.1.component)
    }

    /// **Errors**: [`Error::MissingPart`] for the first part that the model cannot do without.
    pub fn require_all(&self) -> Result<()> {
        let config: Value = parse(&self.config(&ROLES[0])?);
        let needs_image = config.get("image_dim").is_some_and(|dim| !dim.is_null());
        let lone_expert = search::is_expert(&self.home) && !self.found.paths.contains_key("transformer_2");
        for role in &ROLES {
            match role.name {
                "transformer_2" if !lone_expert => {}
                "image_encoder" if !needs_image => {}
                _ => self.path(role).map(drop)?,
            }
        }
        Ok(())
    }
}

/// A configuration is JSON by now, or it is reported where it is used.
fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

/// The files of a part that is a file, an index with its shards, or a folder.
fn files_of(path: &Path) -> Result<Vec<PathBuf>> {
    let weights = match part::weights_of(path) {
        Ok(weights) => weights,
        // A tokenizer's folder has none.
        Err(_) => {
            return Ok(super::list(path)?
                .into_iter()
                .map(|(_, p)| p)
                .filter(|p| p.is_file())
                .collect());
        }
    };
    let name = weights.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut files = vec![weights.clone()];
    if let (Some(stem), Some(folder)) = (name.strip_suffix(".safetensors.index.json"), weights.parent()) {
        let shards = super::list(folder)?.into_iter();
        files.extend(
            shards
                .filter(|(n, _)| n.starts_with(&format!("{stem}-")))
                .map(|(_, p)| p),
        );
    }
    Ok(files)
}
