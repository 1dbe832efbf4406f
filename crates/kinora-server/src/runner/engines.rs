//! The models of a worker: one pipeline each, opened when it is first asked for, kept, and preferred while it is warm.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kinora_api::{LoraRef, failure as code};
use kinora_jobs::{Failure, Stop};
use kinora_pipeline::{LoraChoice, OpenOptions, Pipeline};
use kinora_weights::registry;

use super::failure;
use crate::{Error, Result};

/// So many jobs of the loaded model in a row are preferred over those of others.
const IN_A_ROW: u32 = 4;

/// A model that a worker runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// What jobs call it.
    pub engine: String,
    /// Its name in the registry, or its folder.
    pub source: String,
}

impl Model {
    /// The model of this name in the registry or in this folder.
    ///
    /// **Errors**: [`Error::Pipeline`] if there is none.
    pub fn find(source: &str) -> Result<Self> {
        let of_weights = |error: kinora_weights::Error| Error::Pipeline(error.into());
        let folder = registry::find(source, &[]).and_then(|entry| entry.open());
        Ok(Self {
            engine: folder.map_err(of_weights)?.name(),
            source: source.to_owned(),
        })
    }
}

/// LoRAs of a pipeline, by name.
type Loras = Vec<(String, f64)>;

/// The pipelines of a worker.
pub(super) struct Engines {
    models: Vec<Model>,
    max_memory_bytes: Option<u64>,
    open: Mutex<BTreeMap<String, (Loras, Pipeline)>>,
    /// The LoRAs of the pipeline that is at work.
    at_work: Mutex<Loras>,
}

impl std::fmt::Debug for Engines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engines")
            .field("models", &self.models)
            .finish_non_exhaustive()
    }
}

impl Engines {
    pub(super) const fn new(models: Vec<Model>, max_memory_bytes: Option<u64>) -> Self {
        Self {
            models,
            max_memory_bytes,
            open: Mutex::new(BTreeMap::new()),
            at_work: Mutex::new(Vec::new()),
        }
    }

    /// The pipeline of a model with these LoRAs, for one job.
    ///
    /// **Errors**: how the attempt ends.
    pub(super) fn take(&self, engine: &str, loras: &[LoraRef]) -> Result<Pipeline, Stop> {
        let wanted: Loras = loras.iter().map(|lora| (lora.name.clone(), lora.scale)).collect();
        let kept = locked(&self.open).remove(engine);
        locked(&self.at_work).clone_from(&wanted);
        if let Some((_, pipeline)) = kept.filter(|(with, _)| *with == wanted) {
            return Ok(pipeline);
        }
        let Some(model) = self.models.iter().find(|model| model.engine == engine) else {
            let message = format!("This worker has no model {engine}.");
            return Err(Stop::Failed(Failure::new(code::INTERNAL_ERROR, message)));
        };
        let options = OpenOptions {
            max_memory_bytes: self.max_memory_bytes,
            loras: loras.iter().map(lora_choice).collect::<Result<_, Stop>>()?,
            ..OpenOptions::default()
        };
        Pipeline::open(&model.source, options).map_err(|error| failure::of_pipeline(&error))
    }

    /// Keeps the pipeline for the next job of its model.
    pub(super) fn give_back(&self, engine: &str, pipeline: Pipeline) {
        let loras = std::mem::take(&mut *locked(&self.at_work));
        locked(&self.open).insert(engine.to_owned(), (loras, pipeline));
    }

    /// Gives up the pipelines that are not at work; false if there are none.
    pub(super) fn release_others(&self) -> bool {
        let others = std::mem::take(&mut *locked(&self.open));
        !others.is_empty()
    }
}

/// A pipeline that is in the map is whole: one that panicked is not put back.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn lora_choice(lora: &LoraRef) -> Result<LoraChoice, Stop> {
    let missing = || {
        let message = format!("There is no LoRA {:?} on this server.", lora.name);
        Stop::Failed(Failure::new(code::INVALID_INPUT, message))
    };
    Ok(LoraChoice {
        path: lora_path(&lora.name, &registry::folders()).ok_or_else(missing)?,
        strength: lora.scale as f32,
        expert: None,
    })
}

/// The file of a LoRA: `loras/NAME.safetensors` in a folder of models. A name is one part of a path and not a way out of it.
fn lora_path(name: &str, folders: &[PathBuf]) -> Option<PathBuf> {
    let mut parts = Path::new(name).components();
    let is_plain = matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
    if !is_plain || name.contains(['/', '\\', '\0']) {
        return None;
    }
    let places = folders.iter().map(|folder| folder.join("loras"));
    let files = places.flat_map(|place| [place.join(format!("{name}.safetensors")), place.join(name)]);
    files.into_iter().find(|file| file.is_file())
}

/// Which jobs a worker asks for: those of the model that is loaded, a bounded number of times in a row, if there are any.
#[derive(Debug)]
pub(super) struct Affinity {
    kinds: Vec<String>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The kind of the last job, and how many of it came one after the other.
    last: Option<(String, u32)>,
    /// Whether only those were asked for the last time, and no job has come since.
    asked_alone: bool,
}

impl Affinity {
    pub(super) const fn new(kinds: Vec<String>) -> Self {
        Self {
            kinds,
            state: Mutex::new(State {
                last: None,
                asked_alone: false,
            }),
        }
    }

    /// What to ask for now. Two calls without a job between them mean that there was none: the second asks for all.
    pub(super) fn kinds(&self) -> Vec<String> {
        let mut state = locked(&self.state);
        let alone = match &state.last {
            Some((kind, count)) if *count < IN_A_ROW && !state.asked_alone && self.kinds.len() > 1 => {
                Some(kind.clone())
            }
            _ => None,
        };
        state.asked_alone = alone.is_some();
        alone.map_or_else(|| self.kinds.clone(), |kind| vec![kind])
    }

    /// A job of this kind has come.
    pub(super) fn began(&self, kind: &str) {
        let mut state = locked(&self.state);
        state.asked_alone = false;
        state.last = Some(match state.last.take() {
            Some((last, count)) if last == kind && count < IN_A_ROW => (last, count + 1),
            _ => (kind.to_owned(), 1),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loaded_model_is_preferred_for_a_while() {
        let affinity = Affinity::new(vec!["a".into(), "b".into()]);
        assert_eq!(affinity.kinds(), ["a", "b"], "nothing is loaded");
        affinity.began("b");
        for _ in 1..IN_A_ROW {
            assert_eq!(affinity.kinds(), ["b"]);
            affinity.began("b");
        }
        assert_eq!(affinity.kinds(), ["a", "b"], "others have waited");
        affinity.began("b");
        assert_eq!(affinity.kinds(), ["b"]);
        assert_eq!(affinity.kinds(), ["a", "b"], "there was no job of it");
        affinity.began("a");
        assert_eq!(affinity.kinds(), ["a"]);
        let only = Affinity::new(vec!["a".into()]);
        only.began("a");
        assert_eq!(only.kinds(), ["a"]);
    }

    #[test]
    fn a_lora_is_found_by_its_name_and_never_by_a_path() {
        let folder = tempfile::tempdir().unwrap();
        let loras = folder.path().join("loras");
        std::fs::create_dir(&loras).unwrap();
        std::fs::write(loras.join("ink.safetensors"), "x").unwrap();
        std::fs::write(folder.path().join("secret.safetensors"), "x").unwrap();
        let folders = [folder.path().to_owned()];
        for name in ["ink", "ink.safetensors"] {
            assert_eq!(lora_path(name, &folders), Some(loras.join("ink.safetensors")));
        }
        let absolute = folder.path().join("secret.safetensors");
        let absolute = absolute.to_str().unwrap();
        for name in [
            "",
            ".",
            "..",
            "../secret",
            "../secret.safetensors",
            "a/../ink",
            "ink/",
            "..\\secret",
            absolute,
        ] {
            assert_eq!(lora_path(name, &folders), None, "{name}");
        }
    }
}
