//! What is known so far, a line a clip: `results.jsonl`. An interrupted evaluation goes on from it.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use kinora_pipeline::{ModelRecord, Size};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::answers::Answers;
use crate::prompts::Kind;
use crate::task::Task;
use crate::verdict::{Kept, Verdict};
use crate::{Error, Result};

/// Everything that decides the result of a prompt: the first line of the file, under `settings`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// What the model is asked to do; absent for clips from words.
    #[serde(default, skip_serializing_if = "Task::is_text")]
    pub task: Task,
    /// Version of Kinora.
    pub kinora: String,
    /// The weights.
    pub model: ModelRecord,
    /// A short hash of the judge's files.
    pub judge: String,
    /// A short hash of the prompt file.
    pub prompts: String,
    /// Size of the clips.
    pub size: Size,
    /// Their length.
    pub frames: u32,
    /// Denoising steps.
    pub steps: u32,
    /// Guidance scale.
    pub guidance_scale: f32,
    /// Update rule.
    pub sampler: String,
    /// What the large layers compute with.
    pub precision: String,
    /// The seed of prompt i is this plus i.
    pub seed: u64,
}

impl Settings {
    /// What differs, as `steps: 28 there, 14 now`.
    fn difference(&self, now: &Self) -> Result<String> {
        let fields = |settings: &Self| match serde_json::to_value(settings) {
            Ok(Value::Object(mut fields)) => {
                fields.insert("task".into(), settings.task.name().into());
                Ok(fields)
            }
            Ok(_) => Ok(serde_json::Map::new()),
            Err(error) => Err(record(&error)),
        };
        let (there, now) = (fields(self)?, fields(now)?);
        let differing = now.iter().filter(|(name, value)| there.get(*name) != Some(value));
        let lines: Vec<String> = differing
            .map(|(name, value)| {
                let old = there
                    .get(name)
                    .map_or_else(|| "nothing".to_owned(), ToString::to_string);
                format!("{name}: {old} there, {value} now")
            })
            .collect();
        Ok(lines.join("; "))
    }
}

fn record(error: &serde_json::Error) -> Error {
    Error::Record {
        reason: error.to_string(),
    }
}

/// What came out for one prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClipResult {
    /// The prompt's number.
    pub id: u64,
    /// Where the prompt comes from.
    pub kind: Kind,
    /// Its words.
    pub prompt: String,
    /// The words as the model got them.
    pub model_prompt: String,
    /// Seed of the clip.
    pub seed: u64,
    /// What the judge sees.
    pub answers: Answers,
    /// Whether that is what was asked for.
    pub verdict: Verdict,
    /// How alike neighbouring frames are to the judge.
    pub consistency: f64,
    /// How much the brightness jumps, of 255.
    pub flicker: f64,
    /// Seconds that the clip and its judgement took, what it was made of included.
    pub seconds: f64,
    /// What it was made of, if it was not made of words alone. Everything above is of the new clip or part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
}

/// The prompt's own clip, of which another was made, and what that one has to do with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// Its seed.
    pub seed: u64,
    /// What the judge sees in it.
    pub answers: Answers,
    /// Whether the judge sees the same in the new one.
    pub kept: Kept,
    /// Of an extension: how much the picture jumps where it begins; 1 is as much as beside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seam: Option<f64>,
    /// Of a clip from a picture: the PSNR of its first frame against that, in dB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_frame: Option<f64>,
}

#[derive(Serialize, Deserialize)]
struct Header<S> {
    settings: S,
}

/// The file, open for the next line.
pub(crate) struct Results {
    path: PathBuf,
    file: File,
    done: BTreeMap<u64, ClipResult>,
}

impl Results {
    /// Opens or begins the file. A last line that was cut off in the middle is removed.
    ///
    /// **Errors**: [`Error::OtherSettings`]; [`Error::Results`] for lines that are none; [`Error::Io`].
    pub(crate) fn open(path: &Path, settings: &Settings) -> Result<Self> {
        let refuse = |action| {
            move |source| Error::Io {
                action,
                path: path.to_owned(),
                source,
            }
        };
        let text = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(refuse("read")(error)),
        };
        let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let mut done = BTreeMap::new();
        for (index, line) in text[..whole].split_inclusive(|&byte| byte == b'\n').enumerate() {
            let bad = |error: serde_json::Error| Error::Results {
                path: path.to_owned(),
                line: index + 1,
                reason: error.to_string(),
            };
            if index == 0 {
                let Header::<Settings> { settings: there } = serde_json::from_slice(line).map_err(bad)?;
                if there != *settings {
                    return Err(Error::OtherSettings {
                        path: path.to_owned(),
                        difference: there.difference(settings)?,
                    });
                }
            } else {
                let result: ClipResult = serde_json::from_slice(line).map_err(bad)?;
                done.insert(result.id, result);
            }
        }
        let mut options = OpenOptions::new();
        let file = options.append(true).create(true).open(path).map_err(refuse("open"))?;
        file.set_len(whole as u64).map_err(refuse("repair"))?;
        let mut results = Self {
            path: path.to_owned(),
            file,
            done,
        };
        if whole == 0 {
            results.line(&Header { settings })?;
        }
        Ok(results)
    }

    /// What came out for a prompt, if it is known.
    pub(crate) fn get(&self, id: u64) -> Option<&ClipResult> {
        self.done.get(&id)
    }

    /// Adds a line.
    pub(crate) fn push(&mut self, result: &ClipResult) -> Result<()> {
        self.line(result)?;
        self.done.insert(result.id, result.clone());
        Ok(())
    }

    fn line(&mut self, value: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(value).map_err(|error| record(&error))?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(|source| Error::Io {
            action: "write",
            path: self.path.clone(),
            source,
        })
    }
}

/// Writes a small file whole or not at all: beside its place, then renamed.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let refuse = |source| Error::Io {
        action: "write",
        path: path.to_owned(),
        source,
    };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let beside = path.with_file_name(name);
    std::fs::write(&beside, bytes).map_err(refuse)?;
    std::fs::rename(&beside, path).map_err(refuse)
}

/// Indented JSON with a line end.
pub(crate) fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|error| record(&error))?;
    bytes.push(b'\n');
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        let model = ModelRecord {
            name: "toybox".into(),
            version: "0.1.0".into(),
            weights_hash: "abc".into(),
        };
        Settings {
            task: Task::Text,
            kinora: "0.1.0".into(),
            model,
            judge: "1".into(),
            prompts: "2".into(),
            size: Size {
                width_px: 512,
                height_px: 288,
            },
            frames: 33,
            steps: 28,
            guidance_scale: 4.1,
            sampler: "unipc".into(),
            precision: "int8".into(),
            seed: 0,
        }
    }

    fn result(id: u64) -> ClipResult {
        let word = || "x".to_owned();
        ClipResult {
            id,
            kind: Kind::Seen,
            prompt: "a \"cat\"\n".into(),
            model_prompt: word(),
            seed: id,
            answers: Answers {
                actors: vec![word()],
                count: word(),
                background: word(),
                time: word(),
                weather: word(),
                motion: word(),
                camera: word(),
            },
            verdict: Verdict {
                subject: true,
                count: false,
                setting: Some(true),
                time: None,
                weather: None,
                motion: Some(false),
                camera: None,
            },
            consistency: 0.300_001,
            flicker: 0.333_333,
            seconds: 2.0,
            source: None,
        }
    }

    #[test]
    fn lines_come_back_and_a_torn_one_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.jsonl");
        let mut results = Results::open(&path, &settings()).unwrap();
        results.push(&result(3)).unwrap();
        results.push(&result(5)).unwrap();
        drop(results);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 9]).unwrap();
        let mut results = Results::open(&path, &settings()).unwrap();
        assert_eq!(results.get(3), Some(&result(3)));
        assert_eq!(results.get(5), None);
        results.push(&result(5)).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), whole);
        // Interrupted while the first line was written: nothing is lost by starting over.
        std::fs::write(&path, &whole[..20]).unwrap();
        assert_eq!(Results::open(&path, &settings()).unwrap().get(3), None);
    }

    #[test]
    fn other_settings_are_refused_with_what_differs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.jsonl");
        drop(Results::open(&path, &settings()).unwrap());
        let mut other = settings();
        (other.steps, other.precision) = (14, "f32".into());
        let error = Results::open(&path, &other).err().unwrap().to_string();
        assert!(
            error.contains("precision: \"int8\" there, \"f32\" now; steps: 28 there, 14 now"),
            "{error}"
        );
    }

    #[test]
    fn a_task_is_told_apart_and_that_of_old_folders_is_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.jsonl");
        drop(Results::open(&path, &settings()).unwrap());
        assert!(!std::fs::read_to_string(&path).unwrap().contains("task"));
        let extend = Settings {
            task: Task::Extend,
            ..settings()
        };
        let refused = |settings| Results::open(&path, settings).err().unwrap().to_string();
        let error = refused(&extend);
        assert!(error.contains("task: \"text\" there, \"extend\" now"), "{error}");
        std::fs::remove_file(&path).unwrap();
        drop(Results::open(&path, &extend).unwrap());
        let error = refused(&settings());
        assert!(error.contains("task: \"extend\" there, \"text\" now"), "{error}");
    }

    #[test]
    fn a_line_that_is_no_result_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.jsonl");
        drop(Results::open(&path, &settings()).unwrap());
        let mut text = std::fs::read_to_string(&path).unwrap();
        text += "{\"id\": 1}\n";
        std::fs::write(&path, text).unwrap();
        let error = Results::open(&path, &settings()).err().unwrap().to_string();
        assert!(error.contains("line 2"), "{error}");
    }
}
