//! The safetensors header: eight bytes of length, JSON, then tensors without gaps.
//!
//! **Source**: the format description of <https://github.com/huggingface/safetensors> (facts, not code). As there,
//! tensors must cover the data exactly, in any order of names. This reader is our own so that a user is told in which
//! of the many possible ways a file is broken.

use std::collections::BTreeMap;
use std::ops::Range;

use kinora_tensor::Shape;

use crate::{Encoding, Error, Result};

/// The reference implementation's limit; a checkpoint with a million tensors stays below it.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// Where one tensor lies in its file.
#[derive(Debug, Clone)]
pub(crate) struct TensorInfo {
    /// The type in the file's spelling, `F32`, `BF16`, `I64`.
    pub dtype_name: String,
    pub shape: Vec<usize>,
    /// Absolute positions in the file.
    pub range: Range<usize>,
}

impl TensorInfo {
    /// The encoding, if it is one that weights can have.
    pub fn encoding(&self) -> Option<Encoding> {
        Encoding::of_file(&self.dtype_name)
    }

    /// A part along the first axis; `None` if there are not as many rows, or if they are not cut at whole bytes.
    pub fn rows(&self, rows: Range<usize>) -> Option<Self> {
        let all = *self.shape.first()?;
        let row_bytes = self.range.len().checked_div(all)?;
        if rows.end > all || rows.start > rows.end || row_bytes * all != self.range.len() {
            return None;
        }
        let mut part = self.clone();
        part.shape[0] = rows.len();
        part.range = self.range.start + rows.start * row_bytes..self.range.start + rows.end * row_bytes;
        Some(part)
    }
}

/// Tensors and free-form strings of one file.
#[derive(Debug, Default)]
pub(crate) struct Header {
    pub tensors: BTreeMap<String, TensorInfo>,
    pub metadata: BTreeMap<String, String>,
    /// Where the data ends, counted from the beginning of the file.
    pub end: u64,
}

#[derive(serde::Deserialize)]
struct RawTensor {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [usize; 2],
}

/// Reads and checks the header of a whole file in `bytes`; `file` is its name for messages.
pub(crate) fn parse(file: &str, bytes: &[u8]) -> Result<Header> {
    let header = parse_start(file, bytes)?;
    let got_bytes = bytes.len() as u64;
    if header.end > got_bytes {
        return Err(Error::Truncated {
            file: file.into(),
            expected_bytes: header.end,
            got_bytes,
        });
    }
    if header.end < got_bytes {
        return Err(Error::BadHeader {
            file: file.into(),
            reason: format!("{} bytes follow the last tensor", got_bytes - header.end),
        });
    }
    Ok(header)
}

/// As [`parse`], for bytes that need not hold the data.
pub(crate) fn parse_start(file: &str, bytes: &[u8]) -> Result<Header> {
    refuse_other_formats(file, bytes)?;
    let truncated = |expected: u64| Error::Truncated {
        file: file.into(),
        expected_bytes: expected,
        got_bytes: bytes.len() as u64,
    };
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
        return Err(truncated(8));
    };
    let header_bytes = u64::from_le_bytes(*length);
    if header_bytes > MAX_HEADER_BYTES {
        return Err(Error::HeaderTooLarge {
            file: file.into(),
            header_bytes,
        });
    }
    // Fits: the limit above is far below usize on every target.
    let header_len = header_bytes as usize;
    let Some(json) = rest.get(..header_len) else {
        return Err(truncated(8 + header_bytes));
    };
    if json.first() != Some(&b'{') {
        return Err(foreign(
            file,
            "its header is not JSON",
            "check that the right file was given",
        ));
    }
    let bad = |reason: String| Error::BadHeader {
        file: file.into(),
        reason,
    };
    let data_start = 8 + header_len;
    let mut header = Header::default();
    let raw: BTreeMap<String, serde_json::Value> = serde_json::from_slice(json).map_err(|e| bad(e.to_string()))?;
    for (name, value) in raw {
        if name == "__metadata__" {
            header.metadata = serde_json::from_value(value).map_err(|e| bad(format!("metadata: {e}")))?;
        } else {
            let info = tensor_info(value, data_start).map_err(|e| bad(format!("tensor `{name}`: {e}")))?;
            header.tensors.insert(name, info);
        }
    }
    header.end = check_coverage(&header, data_start).map_err(bad)? as u64;
    Ok(header)
}

fn tensor_info(value: serde_json::Value, data_start: usize) -> std::result::Result<TensorInfo, String> {
    let raw: RawTensor = serde_json::from_value(value).map_err(|e| e.to_string())?;
    let Some(bits) = element_bits(&raw.dtype) else {
        return Err(format!("unknown element type `{}`", raw.dtype));
    };
    let elements = Shape::new(&raw.shape).map_err(|e| e.to_string())?.elements();
    // `Shape` caps elements at isize::MAX / 4, so only 64-bit types could overflow.
    let expected = elements.checked_mul(bits).map(|b| b.div_ceil(8));
    let [begin, end] = raw.data_offsets;
    if expected.is_none() || end.checked_sub(begin) != expected {
        return Err(format!(
            "offsets {begin}..{end} do not hold {} of shape {:?}",
            raw.dtype, raw.shape
        ));
    }
    let shifted = begin.checked_add(data_start).zip(end.checked_add(data_start));
    let (begin, end) = shifted.ok_or("offsets are too large")?;
    Ok(TensorInfo {
        dtype_name: raw.dtype,
        shape: raw.shape,
        range: begin..end,
    })
}

/// Tensors must follow each other without gaps or overlaps. Returns where the last one ends.
fn check_coverage(header: &Header, data_start: usize) -> std::result::Result<usize, String> {
    let mut order: Vec<(&String, &Range<usize>)> = header.tensors.iter().map(|(n, t)| (n, &t.range)).collect();
    order.sort_by_key(|(_, range)| (range.start, range.end));
    let mut at = data_start;
    for (name, range) in order {
        if range.start < at {
            return Err(format!("tensor `{name}` overlaps the one before it"));
        }
        if range.start > at {
            return Err(format!(
                "{} bytes before tensor `{name}` belong to no tensor",
                range.start - at
            ));
        }
        at = range.end;
    }
    Ok(at)
}

/// Bits of the element types that the format knows.
pub(crate) fn element_bits(dtype: &str) -> Option<usize> {
    Some(match dtype {
        "F4" => 4,
        "F6_E2M3" | "F6_E3M2" => 6,
        "BOOL" | "U8" | "I8" | "F8_E5M2" | "F8_E4M3" | "F8_E8M0" => 8,
        "U16" | "I16" | "F16" | "BF16" => 16,
        "U32" | "I32" | "F32" => 32,
        "U64" | "I64" | "F64" | "C64" => 64,
        _ => return None,
    })
}

const PICKLE_HINT: &str = "pickle files can run code when they are read, so kinora refuses them; \
    `kinora convert` makes a safetensors file of one without running anything";

/// First bytes of files that people do hand to `--model`, what they are, and what to do then.
const OTHER_FORMATS: [(&[u8], &str, &str); 7] = [
    (b"PK\x03\x04", "it is a PyTorch archive (zip with pickle)", PICKLE_HINT),
    (b"\x80\x02", "it is a Python pickle", PICKLE_HINT),
    (b"\x80\x03", "it is a Python pickle", PICKLE_HINT),
    (b"\x80\x04", "it is a Python pickle", PICKLE_HINT),
    (
        b"version https://git-lfs",
        "it is a Git LFS pointer, not the file itself",
        "run `git lfs pull` where it came from",
    ),
    (
        b"<!DOCTYPE",
        "it is a web page",
        "download the file itself, not the page about it",
    ),
    (
        b"<html",
        "it is a web page",
        "download the file itself, not the page about it",
    ),
];

fn refuse_other_formats(file: &str, bytes: &[u8]) -> Result<()> {
    // A header of 640 bytes starts like a pickle; the brace of its JSON tells them apart.
    if bytes.get(8) == Some(&b'{') {
        return Ok(());
    }
    match OTHER_FORMATS.iter().find(|(magic, ..)| bytes.starts_with(magic)) {
        Some(&(_, reason, hint)) => Err(foreign(file, reason, hint)),
        None => Ok(()),
    }
}

fn foreign(file: &str, reason: &str, hint: &'static str) -> Error {
    Error::NotSafetensors {
        file: file.into(),
        reason: reason.into(),
        hint,
    }
}
