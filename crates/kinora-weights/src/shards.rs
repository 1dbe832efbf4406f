//! A checkpoint in several safetensors files, and the index that says what is where.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::checkpoint::{Part, map};
use crate::{Checkpoint, Error, Result};

#[derive(serde::Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Which file holds which tensor, from the text of an index.
///
/// **Errors**: [`Error::BadJson`]; [`Error::BadShards`] for a file that is not in the folder of the index.
pub(crate) fn parse(file: &str, text: &[u8]) -> Result<BTreeMap<String, String>> {
    let index: Index = serde_json::from_slice(text).map_err(|e| Error::BadJson {
        file: file.into(),
        reason: e.to_string(),
    })?;
    // An index is a file from outside: it must not lead out of its folder.
    let is_plain = |shard: &str| {
        Path::new(shard)
            .file_name()
            .is_some_and(|n| n.to_string_lossy() == shard)
    };
    match index.weight_map.values().find(|shard| !is_plain(shard)) {
        Some(shard) => Err(Error::BadShards {
            file: file.into(),
            reason: format!("`{shard}` is not a plain file name"),
        }),
        None => Ok(index.weight_map),
    }
}

/// Opens all files that the index at `path` names.
///
/// **Errors**: [`Error::BadShards`] for a file that is missing, naming it and a tensor that it should hold, and for a tensor that is in
/// another file than the index says, naming both.
pub(crate) fn open(path: &Path, part: Part) -> Result<Checkpoint> {
    let name = path.display().to_string();
    let text = std::fs::read(path).map_err(Error::io("read", path))?;
    let weight_map = parse(&name, &text)?;
    let bad = |reason: String| Error::BadShards {
        file: name.clone(),
        reason,
    };
    let shards: BTreeSet<&String> = weight_map.values().collect();
    let mut files = Vec::new();
    for shard in shards {
        let file = path.with_file_name(shard);
        if !file.is_file() {
            let mut inside = weight_map
                .iter()
                .filter(|(_, file)| *file == shard)
                .map(|(name, _)| name);
            let (first, more) = (inside.next(), inside.count());
            return Err(bad(format!(
                "{shard} is missing, which holds tensor `{}` and {more} more\nhint: copy or download it too",
                first.map_or("", String::as_str)
            )));
        }
        files.push((shard.clone(), map(&file)?));
    }
    let checkpoint = Checkpoint::new(name.clone(), files, part)?;
    for (tensor, file) in &weight_map {
        match checkpoint.file_of(tensor) {
            None => {
                return Err(bad(format!(
                    "no file holds tensor `{tensor}`, which the index lists in {file}"
                )));
            }
            Some(other) if other != file => {
                return Err(bad(format!(
                    "tensor `{tensor}` is in {other}, but the index says {file}"
                )));
            }
            Some(_) => {}
        }
    }
    Ok(checkpoint)
}
