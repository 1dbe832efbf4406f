//! Where a judge is looked for. It is not inside the program: only `kinora eval` needs it.

use std::path::{Path, PathBuf};

use kinora_models::judge::Judge;
use kinora_weights::registry;
use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// Where the repository has it, from the folder in which the program runs.
pub const DEFAULT_FOLDER: &str = "models/judge";
/// The same below the folders where users keep models.
const NAME: &str = "judge";

/// The judge in `folder`; without one, that of `models/judge`, or of `judge` in a folder of `$KINORA_MODELS` or of the
/// user's models. Gives it with a short hash over its files.
///
/// **Errors**: [`Error::NoJudge`] with the places that were looked at; [`Error::Judge`] if it is damaged.
pub fn find_judge(folder: Option<&Path>) -> Result<(Judge, String)> {
    let places = match folder {
        Some(folder) => vec![folder.to_owned()],
        None => std::iter::once(PathBuf::from(DEFAULT_FOLDER))
            .chain(registry::folders().into_iter().map(|folder| folder.join(NAME)))
            .collect(),
    };
    let Some(folder) = places
        .iter()
        .find(|place| Judge::FILES.iter().any(|file| place.join(file).exists()))
    else {
        return Err(Error::NoJudge { looked: places });
    };
    let judge = Judge::open(folder).map_err(|source| Error::Judge {
        folder: folder.clone(),
        source: Box::new(source),
    })?;
    Ok((judge, hash(folder)?))
}

/// The first 16 digits of a SHA-256 over both files.
fn hash(folder: &Path) -> Result<String> {
    let mut hasher = Sha256::new();
    for file in Judge::FILES {
        let path = folder.join(file);
        let bytes = std::fs::read(&path).map_err(|source| Error::Io {
            action: "read",
            path,
            source,
        })?;
        hasher.update((bytes.len() as u64).to_le_bytes());
        hasher.update(&bytes);
    }
    Ok(short_hex(&hasher.finalize()))
}

/// The first 16 hexadecimal digits.
pub(crate) fn short_hex(digest: &[u8]) -> String {
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
