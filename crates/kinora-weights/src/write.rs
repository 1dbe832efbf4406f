//! Writing safetensors files: the header first, then one tensor after the other, and the name only when all is there.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::header::element_bits;
use crate::{Error, Result};

/// Writes a small file of JSON, whole or not at all.
///
/// **Errors**: [`Error::BadJson`] for a value that JSON cannot say; [`Error::Io`].
pub(crate) fn write_json(file: &Path, value: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Error::BadJson {
        file: file.display().to_string(),
        reason: error.to_string(),
    })?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let unfinished = file.with_file_name(format!(".{name}.part"));
    std::fs::write(&unfinished, text + "\n").map_err(Error::io("write", &unfinished))?;
    std::fs::rename(&unfinished, file).map_err(Error::io("write", file))
}

/// What one tensor of a new file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTensor {
    /// Its name.
    pub name: String,
    /// Its type in the spelling of safetensors: `F32`, `BF16`, `I8`.
    pub dtype: String,
    /// Extents, outermost first.
    pub shape: Vec<usize>,
}

impl NewTensor {
    /// Its length in the file.
    ///
    /// **Errors**: [`Error::CannotWrite`] for a type that safetensors does not know, an extent that overflows.
    pub fn size_bytes(&self) -> Result<u64> {
        let bits = element_bits(&self.dtype);
        let bits = self
            .shape
            .iter()
            .try_fold(bits.unwrap_or(0) as u64, |all, &n| all.checked_mul(n as u64));
        match bits {
            Some(bits) if element_bits(&self.dtype).is_some() => Ok(bits.div_ceil(8)),
            _ => Err(Error::CannotWrite {
                tensor: self.name.clone(),
                reason: format!(
                    "{} of shape {:?} has no place in a safetensors file",
                    self.dtype, self.shape
                ),
            }),
        }
    }
}

/// Writes a safetensors file of `tensors`, in that order. `data(i, out)` writes the little-endian elements of tensor i; only what
/// it holds itself is in memory. The file is made beside `path` and gets its name when it is complete and on the disk.
///
/// Returns the length of the file.
///
/// **Errors**: [`Error::CannotWrite`] for two tensors of one name, and for `data` that writes another length than the shape
/// says; what `data` returns; [`Error::Io`]. Nothing is left behind then.
pub fn write_safetensors(
    path: &Path,
    tensors: &[NewTensor],
    metadata: &BTreeMap<String, String>,
    mut data: impl FnMut(usize, &mut dyn Write) -> Result<()>,
) -> Result<u64> {
    let (header, sizes) = header(tensors, metadata)?;
    let mut file = Unfinished::create(path)?;
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    for (i, (tensor, size)) in tensors.iter().zip(sizes).enumerate() {
        let mut counted = Counted {
            out: &mut file.out,
            bytes: 0,
        };
        data(i, &mut counted)?;
        let bytes = counted.bytes;
        if bytes != size {
            return Err(Error::CannotWrite {
                tensor: tensor.name.clone(),
                reason: format!("{bytes} bytes were written, {size} announced"),
            });
        }
    }
    file.finish()
}

/// The JSON, filled up to a multiple of 8, and the length of each tensor.
fn header(tensors: &[NewTensor], metadata: &BTreeMap<String, String>) -> Result<(String, Vec<u64>)> {
    let mut entries = serde_json::Map::new();
    if !metadata.is_empty() {
        entries.insert("__metadata__".into(), serde_json::json!(metadata));
    }
    let (mut at, mut sizes) = (0_u64, Vec::with_capacity(tensors.len()));
    for tensor in tensors {
        let size = tensor.size_bytes()?;
        let end = at.saturating_add(size);
        let entry = serde_json::json!({"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [at, end]});
        if entries.insert(tensor.name.clone(), entry).is_some() {
            return Err(Error::CannotWrite {
                tensor: tensor.name.clone(),
                reason: "it is there twice".into(),
            });
        }
        sizes.push(size);
        at = end;
    }
    let mut json = serde_json::Value::Object(entries).to_string();
    while !json.len().is_multiple_of(8) {
        json.push(' ');
    }
    Ok((json, sizes))
}

/// A file that has no name yet. It is removed if it never gets one.
pub(crate) struct Unfinished {
    out: BufWriter<File>,
    temporary: PathBuf,
    path: PathBuf,
    is_finished: bool,
}

impl Unfinished {
    pub fn create(path: &Path) -> Result<Self> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.unfinished", std::process::id()));
        let temporary = path.with_file_name(name);
        let file = File::create(&temporary).map_err(Error::io("create", &temporary))?;
        Ok(Self {
            out: BufWriter::with_capacity(1 << 20, file),
            temporary,
            path: path.to_owned(),
            is_finished: false,
        })
    }

    pub fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(Error::io("write", &self.temporary))
    }

    /// Gives it its name, once it is on the disk; returns its length.
    fn finish(mut self) -> Result<u64> {
        let io = |action| Error::io(action, &self.temporary);
        self.out.flush().map_err(io("write"))?;
        let file = self.out.get_ref();
        file.sync_all().map_err(io("write"))?;
        let length = file.metadata().map_err(io("read"))?.len();
        std::fs::rename(&self.temporary, &self.path).map_err(Error::io("rename to", &self.path))?;
        self.is_finished = true;
        Ok(length)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.is_finished {
            // The error that led here is the one to report.
            drop(std::fs::remove_file(&self.temporary));
        }
    }
}

struct Counted<'a> {
    out: &'a mut BufWriter<File>,
    bytes: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}
