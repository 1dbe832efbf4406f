//! A checkpoint as a safetensors file.
//!
//! Metadata: `format` is `kinora checkpoint 1`; `kinora.checkpoint` is a [`Head`] as JSON; `kinora.sha256` is over that JSON
//! and over name, extents and bytes of all tensors, in their order. Tensors: `part.0`, `part.1`, … are the latents of
//! parts (F32); `sampler` and `step_cache` are what [`SamplerRun::save`] and [`StepCache::save`] write (U8), if a part is
//! halfway.
//!
//! [`SamplerRun::save`]: kinora_sampling::SamplerRun::save
//! [`StepCache::save`]: kinora_sampling::StepCache::save

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use kinora_sampling::{CacheReport, Expert};
use kinora_weights::{Checkpoint, NewTensor, write_safetensors};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::diffuse::Between;
use crate::map::hex;
use crate::saved::{SavedPart, json, part_name, write_floats};
use crate::{Error, Result};

/// What the file says under `format`.
const FORMAT: &str = "kinora checkpoint 1";
const FORMAT_KEY: &str = "format";
const HEAD_KEY: &str = "kinora.checkpoint";
const SHA256_KEY: &str = "kinora.sha256";
const SAMPLER: &str = "sampler";
const STEP_CACHE: &str = "step_cache";

/// What a checkpoint says of itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Head {
    /// Of all that decides the bytes of the clip.
    pub(super) fingerprint: String,
    /// Steps of the whole run that are done.
    pub(super) step: u64,
    /// Those of them that belong to a part that is not finished.
    pub(super) steps_in_part: u64,
    /// Frames at the start of each part that belong to the part before.
    pub(super) not_new: Vec<usize>,
    /// Whether the last of the parts has some of its blocks only.
    pub(super) last_is_unfinished: bool,
    /// The expert of the last step.
    pub(super) expert: Option<KeptExpert>,
    /// What the step cache did in the finished parts.
    pub(super) cache: Option<KeptReport>,
}

/// [`Expert`] as the file spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum KeptExpert {
    HighNoise,
    LowNoise,
}

impl From<Expert> for KeptExpert {
    fn from(expert: Expert) -> Self {
        match expert {
            Expert::HighNoise => Self::HighNoise,
            Expert::LowNoise => Self::LowNoise,
        }
    }
}

impl From<KeptExpert> for Expert {
    fn from(expert: KeptExpert) -> Self {
        match expert {
            KeptExpert::HighNoise => Self::HighNoise,
            KeptExpert::LowNoise => Self::LowNoise,
        }
    }
}

/// [`CacheReport`] as the file spells it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct KeptReport {
    computed: usize,
    reused: usize,
    estimated_error: f64,
    largest_error: f64,
    measured_error: Option<f64>,
}

impl From<CacheReport> for KeptReport {
    fn from(report: CacheReport) -> Self {
        Self {
            computed: report.computed,
            reused: report.reused,
            estimated_error: report.estimated_error,
            largest_error: report.largest_error,
            measured_error: report.measured_error,
        }
    }
}

impl From<KeptReport> for CacheReport {
    fn from(report: KeptReport) -> Self {
        Self {
            computed: report.computed,
            reused: report.reused,
            estimated_error: report.estimated_error,
            largest_error: report.largest_error,
            measured_error: report.measured_error,
        }
    }
}

/// Writes `parts` and the state of the part that is halfway to `path`; when this returns, the file is whole and on the disk.
///
/// **Errors**: [`Error::Weights`] if it cannot be written; then no new file is left behind.
pub(super) fn write(path: &Path, head: Head, parts: &[SavedPart], between: Option<&Between<'_>>) -> Result<()> {
    let head = json(&Head {
        not_new: parts.iter().map(|part| part.not_new).collect(),
        ..head
    })?;
    let sampler = between.map(|between| between.run.save());
    let cache = between.and_then(|between| between.cache).map(|cache| cache.save());
    let states = [(SAMPLER, sampler), (STEP_CACHE, cache)];
    let states: Vec<(&str, &[u8])> = states
        .iter()
        .filter_map(|(name, bytes)| Some((*name, bytes.as_deref()?)))
        .collect();
    let of_parts = (0..parts.len()).map(|index| NewTensor {
        name: part_name(index),
        dtype: "F32".into(),
        shape: parts[index].latents.dims().to_vec(),
    });
    let of_states = states.iter().map(|(name, bytes)| NewTensor {
        name: (*name).to_owned(),
        dtype: "U8".into(),
        shape: vec![bytes.len()],
    });
    let tensors: Vec<NewTensor> = of_parts.chain(of_states).collect();
    let io = |source| kinora_weights::Error::Io {
        action: "write",
        path: path.to_owned(),
        source,
    };
    let data = |index: usize, out: &mut dyn Write| match index.checked_sub(parts.len()) {
        None => write_floats(&parts[index].latents, out),
        Some(state) => out.write_all(states[state].1),
    };
    let mut sum = Sum::new(&head);
    for (index, tensor) in tensors.iter().enumerate() {
        sum.start(&tensor.name, &tensor.shape);
        data(index, &mut sum.0).map_err(|source| Error::from(io(source)))?;
    }
    let metadata = BTreeMap::from([
        (FORMAT_KEY.to_owned(), FORMAT.to_owned()),
        (HEAD_KEY.to_owned(), head),
        (SHA256_KEY.to_owned(), sum.finish()),
    ]);
    write_safetensors(path, &tensors, &metadata, |index, out| data(index, out).map_err(io))?;
    // The name becomes durable with the folder; systems that cannot sync a folder may ignore it.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    drop(File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all()));
    Ok(())
}

/// What a file holds.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) head: Head,
    pub(super) parts: Vec<SavedPart>,
    pub(super) run: Option<Vec<u8>>,
    pub(super) cache: Option<Vec<u8>>,
}

impl Contents {
    /// Reads what [`write`] wrote.
    ///
    /// **Errors**: [`Error::Weights`] for a file that is missing or no safetensors file, [`Error::Checkpoint`] for one that is
    /// something else or was changed.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let file = Checkpoint::open(path)?;
        let refuse = |reason: &str| Error::Checkpoint {
            path: path.to_owned(),
            reason: reason.to_owned(),
        };
        let field = |key: &str| file.metadata().get(key).map(String::as_str).unwrap_or_default();
        if field(FORMAT_KEY) != FORMAT {
            return Err(refuse("it is no checkpoint, or of another version"));
        }
        let head: Head = serde_json::from_str(field(HEAD_KEY)).map_err(|_| refuse("its head is damaged"))?;
        let names = (0..head.not_new.len()).map(part_name);
        let states = [SAMPLER, STEP_CACHE].map(str::to_owned);
        let names: Vec<String> = names.chain(states.into_iter().filter(|name| file.has(name))).collect();
        let mut sum = Sum::new(field(HEAD_KEY));
        for name in &names {
            let tensor = file.require(name)?;
            sum.start(name, tensor.shape);
            sum.0.update(tensor.bytes);
        }
        if sum.finish() != field(SHA256_KEY) || file.names().count() != names.len() {
            return Err(refuse("it was changed"));
        }
        let reader = file.reader();
        let part = |(index, not_new): (usize, &usize)| -> Result<SavedPart> {
            let name = part_name(index);
            let latents = reader.tensor(&name, &reader.shape(&name)?)?;
            Ok(SavedPart {
                latents,
                not_new: *not_new,
                // The plan of the run that goes on says it.
                most_new: None,
            })
        };
        let bytes = |name: &str| file.get(name).map(|tensor| tensor.bytes.to_vec());
        Ok(Self {
            parts: head.not_new.iter().enumerate().map(part).collect::<Result<_>>()?,
            run: bytes(SAMPLER),
            cache: bytes(STEP_CACHE),
            head,
        })
    }
}

/// The sum over a file, fed with one thing after the other.
struct Sum(Sha256);

impl Sum {
    fn new(head: &str) -> Self {
        let mut sum = Self(Sha256::new());
        sum.word(head);
        sum
    }

    /// What comes next are the bytes of this tensor.
    fn start(&mut self, name: &str, shape: &[usize]) {
        self.word(name);
        self.0.update((shape.len() as u64).to_le_bytes());
        shape
            .iter()
            .for_each(|extent| self.0.update((*extent as u64).to_le_bytes()));
    }

    fn word(&mut self, word: &str) {
        self.0.update((word.len() as u64).to_le_bytes());
        self.0.update(word);
    }

    fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}
