//! `kinora inspect` of a file of weights, or of latents that were kept.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use kinora_pipeline::{Error, SavedLatents};
use kinora_weights::{Checkpoint, Recognised, recognise, recognise_as};
use serde_json::{Value, json};

use super::table;
use crate::{stdout, units};

/// Whether the first bytes or the name of a file say that it holds tensors.
pub fn is_one(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let endings = [
        ".safetensors",
        ".gguf",
        ".safetensors.index.json",
        ".pt",
        ".pth",
        ".ckpt",
    ];
    if !path.is_file() || endings.iter().any(|ending| name.ends_with(ending)) {
        return path.is_file();
    }
    let mut start = [0; 9];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut start));
    // The length of a JSON header, and its first character; pictures begin otherwise.
    let header = start.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    read.is_ok() && (start.starts_with(b"GGUF") || start[8] == b'{' && header < 1 << 30)
}

/// Prints what the file holds.
pub fn run(path: &Path, json: bool) -> anyhow::Result<()> {
    if let Ok(saved) = SavedLatents::read(path) {
        let recipe = &saved.recipe;
        return match json {
            true => stdout::write_json(&json!({ "file": { "path": path, "holds": "latents" }, "recipe": recipe })),
            false => {
                let made = recipe.size.generated;
                let lines = table::pairs(&[
                    (
                        "file",
                        format!("{}: latents of a clip, {}", path.display(), length(path)),
                    ),
                    ("prompt", recipe.prompt.clone()),
                    ("model", format!("{} {}", recipe.model.name, recipe.model.version)),
                    ("seed", recipe.seed.to_string()),
                    ("size", format!("{made}, {} frames", recipe.length.new_frames)),
                ]);
                let name = path.display().to_string();
                let command = format!(
                    "\nto make the clip of them:\n  kinora decode {}\n",
                    table::printable(&name)
                );
                stdout::write((lines + &command).as_bytes())
            }
        };
    }
    let file = kinora_weights::open_any(path).map_err(Error::from)?;
    let found = recognised(&file, path);
    match json {
        true => stdout::write_json(&as_json(path, &file, &found)),
        false => stdout::write(described(path, &file, &found).as_bytes()),
    }
}

/// What the file is, with the help of the configuration that lies beside it where the file alone does not say it all.
fn recognised(file: &Checkpoint, path: &Path) -> kinora_weights::Result<Recognised> {
    let found = recognise(file);
    match std::fs::read_to_string(path.with_file_name("config.json")) {
        Ok(config) if matches!(found, Err(kinora_weights::Error::NoConfig { .. })) => {
            recognise_as(file, None, Some(&config))
        }
        _ => found,
    }
}

fn length(path: &Path) -> String {
    std::fs::metadata(path).map_or_else(|_| "of unknown size".into(), |file| units::bytes(file.len()))
}

fn described(path: &Path, file: &Checkpoint, found: &kinora_weights::Result<Recognised>) -> String {
    let what = match found {
        Ok(found) => found.component.name(),
        Err(kinora_weights::Error::NoConfig { .. }) => "weights without their configuration",
        Err(_) => "nothing that Kinora runs",
    };
    let types: Vec<_> = types(file)
        .into_iter()
        .map(|(name, (tensors, bytes))| format!("{tensors} of {name} ({})", units::bytes(bytes)))
        .collect();
    let notes = found.as_ref().map(|found| found.notes.join("; ")).unwrap_or_default();
    let metadata: Vec<_> = file
        .metadata()
        .iter()
        .map(|(key, value)| format!("{key}: {}", cut(value)))
        .collect();
    let mut text = table::pairs(&[
        (
            "file",
            format!("{}: {what}, {}", path.display(), units::bytes(file.size_bytes())),
        ),
        ("tensors", types.join(", ")),
        ("notes", notes),
        (
            "config",
            found
                .as_ref()
                .map(|found| found.config_json.clone())
                .unwrap_or_default(),
        ),
        ("metadata", metadata.join("; ")),
    ]);
    if let Err(error) = found {
        let lines = error.to_string();
        // The hint of a file that is not recognised leads here.
        let is_foreign = matches!(error, kinora_weights::Error::NotRecognised { .. });
        let lines = lines.lines().filter(|line| !is_foreign || !line.starts_with("hint: "));
        text.extend(lines.map(|line| {
            table::printable(line)
                + "
"
        }));
    }
    text
}

/// The start of a long text.
fn cut(text: &str) -> String {
    const MOST: usize = 120;
    match text.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}... ({} bytes)", &text[..at], text.len()),
        None => text.to_owned(),
    }
}

fn as_json(path: &Path, file: &Checkpoint, found: &kinora_weights::Result<Recognised>) -> Value {
    let config = found.as_ref().ok().map(|found| found.config_json.as_str());
    let types: BTreeMap<_, _> = types(file)
        .into_iter()
        .map(|(name, (tensors, bytes))| (name, json!({ "tensors": tensors, "bytes": bytes })))
        .collect();
    json!({
        "file": {
            "path": path,
            "bytes": file.size_bytes(),
            "holds": found.as_ref().map_or("unknown", |found| found.component.name()),
            "names": found.as_ref().ok().map(|found| found.dialect.name()),
            "types": types,
            "notes": found.as_ref().map(|found| found.notes.clone()).unwrap_or_default(),
            "config": config.and_then(|text| serde_json::from_str::<Value>(text).ok()),
            "metadata": file.metadata(),
            "problem": found.as_ref().err().map(ToString::to_string),
        },
    })
}

/// Number and bytes of the tensors of each type.
fn types(file: &Checkpoint) -> BTreeMap<String, (usize, u64)> {
    let mut types = BTreeMap::new();
    for tensor in file.names().filter_map(|name| file.get(name)) {
        let (tensors, bytes) = types.entry(tensor.dtype_name.to_owned()).or_insert((0, 0));
        *tensors += 1;
        *bytes += tensor.size_bytes as u64;
    }
    types
}
