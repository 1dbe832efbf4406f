//! PyTorch's own files (`.pth`, `.pt`, `.bin`, `.ckpt`): their tensors, without running what is in them.
//!
//! A pickle is a program, and Python runs it: a file can do anything that its reader may do. Here a small interpreter knows the
//! instructions that build plain values and a list of a few names (`globals`); a file that refers to anything else is
//! refused, naming it. Numbers stay where they lie in the mapped file; only tensors that are no plain piece of it
//! (transposed ones) are copied.

mod error;
mod globals;
mod machine;
mod tensors;
mod zip;

use std::path::Path;

pub use error::PickleError;

use crate::checkpoint::{Bytes, map};
use crate::{Checkpoint, Result};

/// Pickles are small: numbers lie beside them.
const MAX_PICKLE_BYTES: usize = 64 << 20;

/// First bytes of the format before 2020: a pickle of a magic number.
const LEGACY: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";

impl Checkpoint {
    /// Opens the tensors of a PyTorch file (the zip format since 1.6, or the one before) without running anything.
    ///
    /// Names are those of the dict in the file; of dicts inside, joined with dots. If one dict holds all tensors
    /// (`state_dict`), its name is left out.
    ///
    /// **Errors**: a [`PickleError`] for another kind of file, for one that refers to anything but tensors (naming it), and
    /// for whatever does not fit together.
    pub fn open_pickle(path: &Path) -> Result<Self> {
        Self::from_pickle(path.display().to_string(), map(path)?)
    }

    /// As [`Checkpoint::open_pickle`], for a file in memory; `name` is what messages call it.
    pub fn from_pickle_bytes(name: &str, bytes: Vec<u8>) -> Result<Self> {
        Self::from_pickle(name.into(), Bytes::Owned(bytes))
    }

    fn from_pickle(name: String, bytes: Bytes) -> Result<Self> {
        let found = match bytes.as_slice() {
            data if data.starts_with(b"PK\x03\x04") => tensors::of_archive(&name, data)?,
            data if data.starts_with(LEGACY) => tensors::of_legacy(&name, data)?,
            _ => {
                return Err(PickleError::NotPyTorch {
                    file: name,
                    reason: "it begins neither like an archive nor like a pickle of PyTorch".into(),
                    hint: "files of torch.save can be read; a safetensors or GGUF file needs no conversion",
                }
                .into());
            }
        };
        Self::from_parts(name, bytes, found.mapped, found.copied)
    }
}

/// True for the first bytes of a file that [`Checkpoint::open_pickle`] may read.
pub(crate) fn looks_like_pickle(start: &[u8]) -> bool {
    start.starts_with(b"PK\x03\x04") || start.starts_with(LEGACY)
}

/// What went wrong at an instruction.
enum Broken {
    Damaged(String),
    Forbidden(String),
    TooLarge(String),
}

impl Broken {
    fn at(self, file: &str, at: usize) -> PickleError {
        let file = file.to_owned();
        match self {
            Self::Damaged(reason) => PickleError::Damaged { file, at, reason },
            Self::Forbidden(name) => PickleError::Forbidden { file, name },
            Self::TooLarge(what) => PickleError::TooLarge { file, what },
        }
    }
}

impl From<&str> for Broken {
    fn from(reason: &str) -> Self {
        Self::Damaged(reason.into())
    }
}

impl From<String> for Broken {
    fn from(reason: String) -> Self {
        Self::Damaged(reason)
    }
}
