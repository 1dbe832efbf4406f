//! A checkpoint in several safetensors files, and the index that says what is where.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::checkpoint::{Part, map};
use crate::{Checkpoint, Error, Result};

#[derive(serde::Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Opens all files that the index at `path` names.
///
/// **Errors**: [`Error::BadShards`] for a file that is missing, naming it and a tensor that it should hold, and for a tensor that is in
/// another file than the index says, naming both.
pub(crate) fn open(path: &Path, part: Part) -> Result<Checkpoint> {
    let name = path.display().to_string();
    let text = std::fs::read(path).map_err(Error::io("read", path))?;
    let index: Index = serde_json::from_slice(&text).map_err(|e| Error::BadJson {
        file: name.clone(),
        reason: e.to_string(),
    })?;
    let bad = |reason: String| Error::BadShards {
        file: name.clone(),
        reason,
    };
    let shards: BTreeSet<&String> = index.weight_map.values().collect();
    let mut files = Vec::new();
    for shard in shards {
        // An index is a file from outside: it must not lead out of its folder.
        if Path::new(shard)
            .file_name()
            .is_none_or(|n| n.to_string_lossy() != shard.as_str())
        {
            return Err(bad(format!("`{shard}` is not a plain file name")));
        }
        let file = path.with_file_name(shard);
        if !file.is_file() {
            let mut inside = index
                .weight_map
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
    for (tensor, file) in &index.weight_map {
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
