//! Where a tokenizer's vocabulary comes from.

use std::borrow::Cow;
use std::path::Path;

use super::part;
use super::role::role;
use crate::gguf::Value;
use crate::{Checkpoint, Error, Result};

/// A tokenizer in one of the forms that people have.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum TokenizerSource {
    /// `tokenizer.json` of the `tokenizers` library.
    Json(Cow<'static, [u8]>),
    /// `spiece.model` of sentencepiece, also from inside a text encoder of ComfyUI.
    SentencePiece(Vec<u8>),
    /// The vocabulary of a GGUF file.
    Pieces {
        /// The pieces, by their number.
        tokens: Vec<String>,
        /// Their scores (logarithms of probabilities).
        scores: Vec<f32>,
        /// Their kinds: 1 normal, 2 unknown, 3 control, 4 given by the user, 5 unused, 6 a byte. May be empty.
        kinds: Vec<i64>,
    },
}

/// Files that hold a tokenizer, the best first.
const FILES: [&str; 4] = [
    "tokenizer.json",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
];

/// The tokenizer's file in a folder.
pub(super) fn file_in(folder: &Path) -> Option<std::path::PathBuf> {
    FILES.iter().map(|name| folder.join(name)).find(|path| path.is_file())
}

/// What a checkpoint holds, if it is a text encoder with a vocabulary.
pub(super) fn inside(checkpoint: &Checkpoint) -> Option<Result<TokenizerSource>> {
    let piece = checkpoint
        .names()
        .find(|name| *name == "spiece_model" || name.ends_with(".spiece_model"));
    if let Some(name) = piece {
        let raw = checkpoint.require(name);
        return Some(raw.map(|raw| TokenizerSource::SentencePiece(raw.bytes.to_vec())));
    }
    let tokens = checkpoint.value("tokenizer.ggml.tokens").and_then(Value::texts)?;
    let scores = checkpoint.value("tokenizer.ggml.scores").and_then(Value::floats)?;
    if scores.len() != tokens.len() {
        return Some(Err(Error::BadHeader {
            file: checkpoint.name().into(),
            reason: format!("{} tokens with {} scores", tokens.len(), scores.len()),
        }));
    }
    let kinds = checkpoint.value("tokenizer.ggml.token_type").and_then(Value::integers);
    Some(Ok(TokenizerSource::Pieces {
        tokens: tokens.to_vec(),
        scores: scores.iter().map(|&s| s as f32).collect(),
        kinds: kinds.unwrap_or_default().to_vec(),
    }))
}

/// Reads a tokenizer from its file, its folder, or a text encoder.
pub(super) fn read(path: &Path) -> Result<TokenizerSource> {
    let file = match path.is_dir() {
        true => file_in(path).or_else(|| part::weights_of(path).ok()),
        false => Some(path.to_owned()),
    };
    let bad = |reason: &str| Error::BadModelFolder {
        folder: path.display().to_string(),
        reason: reason.into(),
        hint: role("tokenizer").map_or("", |role| role.usual),
    };
    let Some(file) = file else {
        return Err(bad("it holds no tokenizer"));
    };
    let name = file.to_string_lossy();
    if !part::is_weights(&name) {
        let bytes = std::fs::read(&file).map_err(Error::io("read", &file))?;
        return Ok(match name.ends_with(".json") {
            true => TokenizerSource::Json(Cow::Owned(bytes)),
            false => TokenizerSource::SentencePiece(bytes),
        });
    }
    inside(&Checkpoint::open(&file)?).unwrap_or_else(|| Err(bad("the file holds no vocabulary")))
}

/// True if the tokenizer can be read from there.
pub(super) fn is_in(path: &Path) -> bool {
    if path.is_dir() {
        return file_in(path).is_some() || part::weights_of(path).is_ok_and(|weights| is_in(&weights));
    }
    Checkpoint::open(path).is_ok_and(|checkpoint| inside(&checkpoint).is_some())
}
