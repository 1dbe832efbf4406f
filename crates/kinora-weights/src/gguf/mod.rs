//! GGUF files: header, metadata, and the blocks that numbers lie in.
//!
//! **Source**: the format description `docs/gguf.md` of ggml (facts, not code): magic, version, numbers of tensors and values, the values,
//! then for each tensor name, dimensions (the last one of the shape first), type and offset; the data begins at the next multiple of
//! `general.alignment`. Files of image and video models have tensors of five dimensions, one more than the description allows, or say under
//! `comfy.gguf.orig_shape.<tensor>` which shape a flattened one has.

pub(crate) mod blocks;
mod cursor;
mod types;
mod value;

use std::collections::BTreeMap;
use std::ops::Range;

use cursor::{Cursor, Read, Stop, bad};
use kinora_tensor::Shape;
pub use value::Value;

use crate::header::TensorInfo;
use crate::{Error, Result};

pub(crate) const MAGIC: &[u8; 4] = b"GGUF";
const MAX_RANK: u32 = 8;
const ALIGNMENT: &str = "general.alignment";
const SHAPE_OF: &str = "comfy.gguf.orig_shape.";

/// What a GGUF file says before its data.
#[derive(Debug)]
pub struct Header {
    /// 2 or 3.
    pub version: u32,
    /// The metadata.
    pub values: BTreeMap<String, Value>,
    /// Where the data ends, counted from the beginning of the file.
    pub end: u64,
    pub(crate) tensors: BTreeMap<String, TensorInfo>,
}

impl Header {
    /// Number of tensors.
    pub fn count(&self) -> usize {
        self.tensors.len()
    }
}

/// Reads and checks the header at the beginning of `bytes`, which need not hold the data; `file` is its name for messages.
///
/// **Errors**: [`Error::Truncated`] if the header itself is cut off; [`Error::BadHeader`] naming the tensor or the value.
pub fn header(file: &str, bytes: &[u8]) -> Result<Header> {
    read(bytes).map_err(|stop| match stop {
        Stop::Short(expected_bytes) => Error::Truncated {
            file: file.into(),
            expected_bytes,
            got_bytes: bytes.len() as u64,
        },
        Stop::Bad(reason) => Error::BadHeader {
            file: file.into(),
            reason,
        },
    })
}

/// As [`header`], for a whole file.
///
/// **Errors**: also [`Error::Truncated`] if data is missing.
pub(crate) fn parse(file: &str, bytes: &[u8]) -> Result<Header> {
    let header = header(file, bytes)?;
    if header.end > bytes.len() as u64 {
        return Err(Error::Truncated {
            file: file.into(),
            expected_bytes: header.end,
            got_bytes: bytes.len() as u64,
        });
    }
    Ok(header)
}

/// A tensor as the header describes it.
struct Described {
    name: String,
    info: TensorInfo,
    /// From the beginning of the data.
    offset: u64,
}

fn read(bytes: &[u8]) -> Read<Header> {
    let mut cursor = Cursor::new(bytes, MAGIC.len());
    let version = cursor.u32()?;
    match version {
        2 | 3 => {}
        _ if matches!(version.swap_bytes(), 1..=3) => return bad("it is big-endian"),
        1 => return bad("it is of version 1, which nobody writes any more; get a newer one"),
        _ => return bad(format!("version {version} is unknown")),
    }
    // The least that a tensor and a value take.
    let tensor_count = cursor.count(24)?;
    let value_count = cursor.count(13)?;
    let mut values = BTreeMap::new();
    for _ in 0..value_count {
        let name = cursor.text()?;
        let kind = cursor.u32()?;
        let value = cursor.value(kind).map_err(|stop| within(stop, "value", &name))?;
        if values.insert(name.clone(), value).is_some() {
            return bad(format!("value `{name}` is there twice"));
        }
    }
    let mut described = Vec::with_capacity(tensor_count.min(1 << 16));
    for _ in 0..tensor_count {
        let name = cursor.text()?;
        described.push(tensor(&mut cursor, &values, name)?);
    }
    let alignment = alignment(&values)?;
    let data_start = (cursor.position() as u64).next_multiple_of(alignment);
    place(described, data_start, alignment).map(|(tensors, end)| Header {
        version,
        values,
        end,
        tensors,
    })
}

fn within(stop: Stop, what: &str, name: &str) -> Stop {
    match stop {
        Stop::Bad(reason) => Stop::Bad(format!("{what} `{name}`: {reason}")),
        short => short,
    }
}

fn alignment(values: &BTreeMap<String, Value>) -> Read<u64> {
    match values.get(ALIGNMENT) {
        None => Ok(32),
        Some(Value::Integer(n)) if matches!(n, 1..=0x10_0000) => Ok(*n as u64),
        Some(other) => bad(format!("{ALIGNMENT} is {other:?}")),
    }
}

fn tensor(cursor: &mut Cursor, values: &BTreeMap<String, Value>, name: String) -> Read<Described> {
    let rank = cursor.u32()?;
    if rank > MAX_RANK {
        return bad(format!("tensor `{name}` has {rank} dimensions"));
    }
    let mut shape = Vec::new();
    for _ in 0..rank {
        let extent = cursor.u64()?;
        let Ok(extent) = usize::try_from(extent) else {
            return bad(format!("tensor `{name}` has an extent of {extent}"));
        };
        shape.push(extent);
    }
    shape.reverse();
    let number = cursor.u32()?;
    let offset = cursor.u64()?;
    let Some((dtype_name, count, bytes)) = types::of(number) else {
        return bad(format!("tensor `{name}` is of type {number}, which is unknown"));
    };
    let elements = match Shape::new(&shape) {
        Ok(shape) => shape.elements(),
        Err(error) => return bad(format!("tensor `{name}`: {error}")),
    };
    let row = shape.last().copied().unwrap_or(1);
    if !row.is_multiple_of(count) {
        return bad(format!(
            "tensor `{name}` has rows of {row}, but {dtype_name} comes in blocks of {count}"
        ));
    }
    let Some(size) = (elements / count).checked_mul(bytes) else {
        return bad(format!(
            "tensor `{name}` of shape {shape:?} is too large for this machine"
        ));
    };
    if let Some(value) = values.get(&format!("{SHAPE_OF}{name}")) {
        shape = real_shape(&name, value, elements)?;
    }
    let info = TensorInfo {
        dtype_name: dtype_name.into(),
        shape,
        range: 0..size,
    };
    Ok(Described { name, info, offset })
}

/// The shape that a flattened tensor has.
fn real_shape(name: &str, value: &Value, elements: usize) -> Read<Vec<usize>> {
    let extents = value.integers().unwrap_or_default();
    let shape: Vec<usize> = extents.iter().filter_map(|&n| usize::try_from(n).ok()).collect();
    let real = Shape::new(&shape).is_ok_and(|shape| shape.elements() == elements);
    if shape.is_empty() || shape.len() != extents.len() || !real {
        return bad(format!(
            "{SHAPE_OF}{name} is {value:?}, but the tensor has {elements} elements"
        ));
    }
    Ok(shape)
}

/// Sets the ranges of all tensors, which must not overlap. Returns where the last one ends.
fn place(described: Vec<Described>, data_start: u64, alignment: u64) -> Read<(BTreeMap<String, TensorInfo>, u64)> {
    let mut ordered = Vec::with_capacity(described.len());
    for Described { name, mut info, offset } in described {
        if !offset.is_multiple_of(alignment) {
            return bad(format!(
                "the offset {offset} of tensor `{name}` is no multiple of {alignment}"
            ));
        }
        let start = data_start.checked_add(offset).and_then(|n| usize::try_from(n).ok());
        let Some(range) = start.and_then(|start| Some(start..start.checked_add(info.range.len())?)) else {
            return bad(format!("the offset {offset} of tensor `{name}` is too large"));
        };
        info.range = range;
        ordered.push((name, info));
    }
    ordered.sort_by_key(|(_, info)| (info.range.start, info.range.end));
    let mut end = 0;
    for (
        name,
        TensorInfo {
            range: Range { start, end: to },
            ..
        },
    ) in &ordered
    {
        if *start < end && start != to {
            return bad(format!("tensor `{name}` overlaps the one before it"));
        }
        end = end.max(*to);
    }
    let count = ordered.len();
    let tensors: BTreeMap<String, TensorInfo> = ordered.into_iter().collect();
    if tensors.len() < count {
        return bad("two tensors have the same name");
    }
    Ok((tensors, end as u64))
}
