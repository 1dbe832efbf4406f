//! The models that are installed: Toybox inside the program, and folders where users keep models.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::folder::{INDEX, MODEL, ModelJson, is_low_of_a_pair, is_weights, list};
use crate::recognise::{Component, identify};
use crate::write::write_json;
use crate::{Checkpoint, Error, ModelFolder, Result, similar};

/// Where a model lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// Inside the program.
    Embedded,
    /// A folder on disk, or the file of a transformer.
    Folder(PathBuf),
}

/// One installed model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelEntry {
    /// The word that `--model` takes.
    pub name: String,
    /// Version of the weights; empty if the folder does not say.
    pub version: String,
    /// SPDX expression; `unknown` if the folder does not say.
    pub licence: String,
    /// Length of all files.
    pub size_bytes: u64,
    /// Where it lies.
    pub location: Location,
    /// What it can do; empty if the folder does not say.
    pub tasks: Vec<String>,
    /// Why it cannot be used, if it cannot.
    pub problem: Option<String>,
}

impl ModelEntry {
    /// Opens the model.
    pub fn open(&self) -> Result<ModelFolder> {
        self.open_among(&folders())
    }

    fn open_among(&self, dirs: &[PathBuf]) -> Result<ModelFolder> {
        match &self.location {
            Location::Embedded => ModelFolder::embedded_toybox(),
            Location::Folder(path) => ModelFolder::open_among(path, dirs),
        }
    }

    fn of(location: Location, dirs: &[PathBuf]) -> Self {
        let name = match &location {
            Location::Embedded => "toybox".into(),
            Location::Folder(path) => path
                .file_name()
                .unwrap_or(path.as_os_str())
                .to_string_lossy()
                .into_owned(),
        };
        let mut entry = Self {
            name,
            version: String::new(),
            licence: "unknown".into(),
            size_bytes: 0,
            location,
            tasks: Vec::new(),
            problem: None,
        };
        if let Err(problem) = entry.describe(dirs) {
            entry.problem = Some(problem.to_string());
        }
        entry
    }

    fn describe(&mut self, dirs: &[PathBuf]) -> Result<()> {
        let folder = self.open_among(dirs)?;
        if folder.path().is_some() {
            self.name = folder.name();
        }
        if let Some(licence) = folder.licence() {
            self.licence = licence.to_owned();
        }
        if folder.manifest().is_none() {
            folder.require_parts_that_are_scattered()?;
        }
        self.size_bytes = folder.size_bytes()?;
        if let Some(manifest) = folder.manifest() {
            self.name.clone_from(&manifest.name);
            self.version.clone_from(&manifest.version);
            self.licence.clone_from(&manifest.licence);
            self.tasks.clone_from(&manifest.tasks);
        }
        Ok(())
    }
}

/// All installed models, Toybox first, then by path: below `extra_dirs`, the folders of `$KINORA_MODELS` and
/// `kinora/models` in the user's data directory. A folder counts if it is a model or holds models; so does the file of a transformer in it, of
/// two experts the one for high noise.
pub fn installed(extra_dirs: &[PathBuf]) -> Vec<ModelEntry> {
    installed_in(&search_dirs(extra_dirs, |name| std::env::var_os(name)))
}

/// The folders in which models are looked for: those of `$KINORA_MODELS`, then `kinora/models` in the user's data
/// directory. They need not exist.
pub fn folders() -> Vec<PathBuf> {
    search_dirs(&[], |name| std::env::var_os(name))
}

/// The model of that name, or the model in that folder.
///
/// **Errors**: [`Error::UnknownModel`] with the closest name; [`Error::BadModelFolder`] for a path that is none.
pub fn find(name_or_path: &str, extra_dirs: &[PathBuf]) -> Result<ModelEntry> {
    find_in(name_or_path, &search_dirs(extra_dirs, |name| std::env::var_os(name)))
}

fn find_in(name_or_path: &str, dirs: &[PathBuf]) -> Result<ModelEntry> {
    let models = installed_in(dirs);
    let names = || models.iter().map(|m| m.name.as_str());
    if let Some(model) = models.iter().find(|m| m.name.eq_ignore_ascii_case(name_or_path)) {
        return Ok(model.clone());
    }
    let path = Path::new(name_or_path);
    if path.exists() || path.components().count() > 1 {
        ModelFolder::open_among(path, dirs)?; // the error says what is wrong with it
        return Ok(ModelEntry::of(Location::Folder(path.into()), dirs));
    }
    Err(Error::UnknownModel {
        name: name_or_path.into(),
        similar: similar::closest(name_or_path, names()),
        installed: names().map(String::from).collect(),
    })
}

fn installed_in(dirs: &[PathBuf]) -> Vec<ModelEntry> {
    let mut models = vec![ModelEntry::of(Location::Embedded, dirs)];
    let mut found = BTreeSet::new();
    for dir in dirs {
        // A search folder that is not there yet is no error.
        let children = list(dir).unwrap_or_default().into_iter().map(|(_, path)| path);
        found.extend(
            std::iter::once(dir.clone())
                .chain(children)
                .filter(|path| is_model(path)),
        );
    }
    models.extend(
        found
            .into_iter()
            .map(|path| ModelEntry::of(Location::Folder(path), dirs)),
    );
    models
}

fn is_model(path: &Path) -> bool {
    if path.is_dir() {
        return path.join(INDEX).is_file() || path.join(MODEL).is_file();
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_transformer = || {
        let header = Checkpoint::open_header_only(path)?;
        identify(&header, Some(Component::WanTransformer))
    };
    is_weights(&name) && is_transformer().is_ok() && !is_low_of_a_pair(path)
}

/// Makes a model out of what lies at `path` (a folder, or a transformer with its parts around it) known under its name: a folder with a
/// `model.json` in the user's model folder. Nothing is copied.
///
/// **Errors**: all of [`ModelFolder::open`]; [`Error::MissingPart`]; [`Error::NotAdded`] for one that is there already.
pub fn add(path: &Path) -> Result<ModelEntry> {
    let dirs = folders();
    let Some(dir) = dirs.first() else {
        return Err(Error::NotAdded {
            path: path.display().to_string(),
            reason: "there is no folder for models".into(),
            hint: "set KINORA_MODELS to one",
        });
    };
    add_among(dir, path, &dirs)
}

/// As [`add`], with another folder for models.
///
/// **Errors**: as there.
pub fn add_in(dir: &Path, path: &Path) -> Result<ModelEntry> {
    add_among(dir, path, &[dir.to_owned()])
}

fn add_among(dir: &Path, path: &Path, dirs: &[PathBuf]) -> Result<ModelEntry> {
    let path = std::path::absolute(path).map_err(Error::io("open", path))?;
    let refused = |reason: String, hint: &'static str| Error::NotAdded {
        path: path.display().to_string(),
        reason,
        hint,
    };
    let folder = ModelFolder::open_among(&path, dirs)?;
    folder.require_all()?;
    let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
    let is_complete = path.join(INDEX).is_file();
    let parts = folder
        .parts()
        .into_iter()
        .filter_map(|(name, at)| Some((name, absolute(at?))));
    let model = ModelJson {
        name: folder.name(),
        parts: if is_complete { BTreeMap::new() } else { parts.collect() },
        folder: is_complete.then(|| path.clone()),
        preset: None,
        licence: folder.licence().map(String::from),
    };
    for other in installed_in(&[dir.to_owned()]) {
        let Location::Folder(at) = &other.location else {
            if other.name.eq_ignore_ascii_case(&model.name) {
                return Err(refused(
                    format!("`{}` is the model inside the program", other.name),
                    RENAME,
                ));
            }
            continue;
        };
        let same = *at == path
            || ModelJson::read(at).is_ok_and(|o| {
                o.folder == model.folder && o.parts.get("transformer") == model.parts.get("transformer")
            });
        if same {
            return Err(refused(
                format!("it is installed already, as `{}`", other.name),
                "use it by that name",
            ));
        }
        if other.name.eq_ignore_ascii_case(&model.name) {
            return Err(refused(
                format!("a model of the name `{}` is installed already", other.name),
                RENAME,
            ));
        }
    }
    let home = dir.join(&model.name);
    if home.exists() {
        return Err(refused(format!("{} exists already", home.display()), RENAME));
    }
    std::fs::create_dir_all(&home).map_err(Error::io("make", &home))?;
    write_json(&home.join(MODEL), &model)?;
    Ok(ModelEntry::of(Location::Folder(home), dirs))
}

const RENAME: &str = "rename the file or the folder first";

/// `env` looks up a variable; a parameter so that tests need not change the process.
fn search_dirs(extra: &[PathBuf], env: impl Fn(&str) -> Option<std::ffi::OsString>) -> Vec<PathBuf> {
    let mut dirs = extra.to_vec();
    if let Some(list) = env("KINORA_MODELS") {
        dirs.extend(std::env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()));
    }
    let set = |name| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let data = set("XDG_DATA_HOME").or_else(|| set("HOME").map(|home| home.join(".local/share")));
    dirs.extend(data.map(|data| data.join("kinora/models")));
    dirs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn search_dirs_come_in_order_and_empty_variables_count_as_unset() {
        let env = |models: &'static str, xdg: &'static str| {
            move |name: &str| match name {
                "KINORA_MODELS" => Some(models.into()),
                "XDG_DATA_HOME" => Some(xdg.into()),
                _ => Some("/u".into()),
            }
        };
        let text = |dirs: Vec<PathBuf>| {
            dirs.iter()
                .map(|d| d.display().to_string())
                .collect::<Vec<_>>()
                .join(" ")
        };
        let dirs = search_dirs(&["/extra".into()], env("/a:/b", "/data"));
        assert_eq!(text(dirs), "/extra /a /b /data/kinora/models");
        assert_eq!(text(search_dirs(&[], env("", ""))), "/u/.local/share/kinora/models");
        assert!(search_dirs(&[], |_| None).is_empty());
    }

    #[test]
    fn toybox_is_installed_and_a_near_miss_is_suggested() {
        let models = installed_in(&[]);
        assert_eq!(models.len(), 1);
        assert_eq!((models[0].name.as_str(), &models[0].problem), ("toybox", &None));
        assert!(models[0].tasks.iter().any(|t| t == "text-to-video"));
        assert!(models[0].size_bytes > 50_000_000 && models[0].licence.contains("Apache-2.0"));
        assert_eq!(find_in("Toybox", &[]).unwrap(), models[0]);
        let text = find_in("toybx", &[]).unwrap_err().to_string();
        assert!(
            text.contains("did you mean `toybox`") && text.contains("kinora models"),
            "{text}"
        );
        let text = find_in("no/such/folder", &[]).unwrap_err().to_string();
        assert!(text.contains("no/such/folder") && text.contains("hint:"), "{text}");
    }

    #[test]
    fn folders_are_found_and_broken_ones_say_why() {
        let root = tempfile::tempdir().unwrap();
        for (name, manifest) in [("plain", None), ("broken", Some("{")), ("named", Some(NAMED))] {
            let dir = root.path().join(name);
            std::fs::create_dir(&dir).unwrap();
            std::fs::write(dir.join("model_index.json"), "{}").unwrap();
            if let Some(text) = manifest {
                std::fs::write(dir.join("manifest.json"), text).unwrap();
            }
        }
        std::fs::create_dir(root.path().join("empty")).unwrap();
        let dirs = [root.path().to_path_buf(), root.path().join("absent")];
        let models = installed_in(&dirs);
        let names: Vec<_> = models.iter().map(|m| m.name.as_str()).collect();
        assert_eq!(names, ["toybox", "broken", "wan-mini", "plain"]);
        assert!(
            models[1]
                .problem
                .as_ref()
                .unwrap()
                .contains("manifest.json cannot be understood")
        );
        assert_eq!(
            (models[2].version.as_str(), models[2].licence.as_str()),
            ("2.1", "Apache-2.0")
        );
        assert_eq!((models[3].licence.as_str(), models[3].size_bytes), ("unknown", 2));
        let plain = root.path().join("plain");
        assert_eq!(find_in(&plain.display().to_string(), &[]).unwrap().name, "plain");
        assert!(find_in(&root.path().join("empty").display().to_string(), &[]).is_err());
    }

    const NAMED: &str = r#"{"name":"wan-mini","version":"2.1","licence":"Apache-2.0","files":[]}"#;
}
