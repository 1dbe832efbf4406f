//! Other files to safetensors: PyTorch files, GGUF, sharded checkpoints.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::Path;

use half::{bf16, f16};

use crate::stored::{Stored, is_marker};
use crate::write::{NewTensor, write_safetensors};
use crate::{Checkpoint, Encoding, Error, Result};

/// Floats to write. **Range**: f16 ends at 65504, which some text encoders leave; bf16 has the range of f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FloatType {
    /// 32 bits.
    F32,
    /// 16 bits, 11 of them digits.
    F16,
    /// 16 bits, 8 of them digits.
    Bf16,
}

impl FloatType {
    /// In the spelling of safetensors.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
        }
    }

    /// Appends the nearest values to `out`.
    pub(crate) fn append(self, values: &[f32], out: &mut Vec<u8>) {
        match self {
            Self::F32 => values.iter().for_each(|v| out.extend(v.to_le_bytes())),
            Self::F16 => values.iter().for_each(|&v| out.extend(f16::from_f32(v).to_le_bytes())),
            Self::Bf16 => values.iter().for_each(|&v| out.extend(bf16::from_f32(v).to_le_bytes())),
        }
    }
}

/// What [`convert`] does besides.
#[derive(Debug, Clone, Default)]
pub struct ConvertOptions {
    /// The type of all weights; `None` keeps each as it is. Block types of GGUF have no place in safetensors and become bf16.
    pub float_type: Option<FloatType>,
    /// Only the tensors below this name (`generator_ema`), without it.
    pub only: Option<String>,
}

/// How far a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteProgress<'a> {
    /// The tensor that was written.
    pub tensor: &'a str,
    /// Bytes of all tensors so far.
    pub done_bytes: u64,
    /// Bytes of all tensors.
    pub total_bytes: u64,
}

/// What [`convert`] has written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// Number of tensors.
    pub tensors: usize,
    /// Length of the input and of the output.
    pub bytes: [u64; 2],
}

/// Opens anything of which tensors can be read, PyTorch files included.
///
/// **Errors**: those of [`Checkpoint::open`] and [`Checkpoint::open_pickle`].
pub fn open_any(path: &Path) -> Result<Checkpoint> {
    let mut start = Vec::new();
    let file = std::fs::File::open(path).map_err(Error::io("open", path))?;
    file.take(64).read_to_end(&mut start).map_err(Error::io("read", path))?;
    match crate::pickle::looks_like_pickle(&start) {
        true => Checkpoint::open_pickle(path),
        false => Checkpoint::open(path),
    }
}

/// Writes the tensors of `input` (a PyTorch file, GGUF, an index of shards, safetensors) as one safetensors file. Names stay. One
/// tensor at a time is in memory.
///
/// **Errors**: those of opening and reading the input; [`Error::CannotWrite`] if nothing is left to write, if a value leaves the range
/// of the type, or if the output is the input.
pub fn convert(
    input: &Path,
    output: &Path,
    options: &ConvertOptions,
    progress: &mut dyn FnMut(WriteProgress),
) -> Result<Converted> {
    not_itself(input, output)?;
    let checkpoint = open_any(input)?;
    let mut companions = BTreeSet::new();
    let mut jobs = Vec::new();
    let start = options.only.as_ref().map(|only| format!("{only}."));
    for name in checkpoint.names() {
        let Some(new_name) = name.strip_prefix(start.as_deref().unwrap_or_default()) else {
            continue;
        };
        let encoding = checkpoint.describe(name)?.encoding;
        let has_place = encoding.is_none_or(|e| e.block().0 == 1);
        let how = match (options.float_type, encoding) {
            (None, _) if has_place => How::Copy,
            (_, None) => How::Copy,
            (kind, Some(_)) => {
                let stored = Stored::find(&checkpoint, name, &mut |beside| {
                    companions.insert(beside.to_owned());
                });
                match stored {
                    Ok(stored) => How::Floats(stored, kind.unwrap_or(FloatType::Bf16)),
                    // Bytes without scales are no weights.
                    Err(Error::MissingTensor { .. }) if encoding == Some(Encoding::I8) => How::Copy,
                    Err(error) => return Err(error),
                }
            }
        };
        jobs.push(Job::new(&checkpoint, name, new_name, how)?);
    }
    if options.float_type.is_some() {
        jobs.retain(|job| !companions.contains(&job.name) && !is_marker(&job.name));
    }
    if jobs.is_empty() {
        return Err(Error::CannotWrite {
            tensor: options.only.clone().unwrap_or_default(),
            reason: "no tensor of the input has a name below it".into(),
        });
    }
    let bytes = run(&checkpoint, output, &jobs, progress)?;
    Ok(Converted {
        tensors: jobs.len(),
        bytes: [checkpoint.size_bytes(), bytes],
    })
}

/// What becomes of a tensor.
pub(crate) enum How {
    Copy,
    Floats(Stored, FloatType),
}

pub(crate) struct Job {
    /// In the input.
    pub name: String,
    pub new: NewTensor,
    pub how: How,
}

impl Job {
    pub fn new(checkpoint: &Checkpoint, name: &str, new_name: &str, how: How) -> Result<Self> {
        let raw = checkpoint.describe(name)?;
        let dtype = match &how {
            How::Copy => raw.dtype_name,
            How::Floats(_, kind) => kind.name(),
        };
        Ok(Self {
            name: name.to_owned(),
            new: NewTensor {
                name: new_name.to_owned(),
                dtype: dtype.to_owned(),
                shape: raw.shape.to_vec(),
            },
            how,
        })
    }

    pub fn write(&self, checkpoint: &Checkpoint, out: &mut dyn Write) -> Result<()> {
        match &self.how {
            How::Copy => {
                let bytes = checkpoint.require(&self.name)?.bytes;
                write_to(out, &self.name, bytes)?;
            }
            How::Floats(stored, kind) => each_stretch(checkpoint, &self.name, stored, |values| {
                let mut bytes = Vec::with_capacity(values.len() * 4);
                kind.append(values, &mut bytes);
                if *kind == FloatType::F16 && values.iter().any(|v| v.abs() > f16::MAX.to_f32()) {
                    return Err(Error::CannotWrite {
                        tensor: self.name.clone(),
                        reason: "a value leaves the range of f16; take bf16".into(),
                    });
                }
                write_to(out, &self.name, &bytes)
            })?,
        }
        checkpoint.release(&self.name);
        Ok(())
    }
}

/// All jobs into one file, with the metadata of the input.
fn run(checkpoint: &Checkpoint, output: &Path, jobs: &[Job], progress: &mut dyn FnMut(WriteProgress)) -> Result<u64> {
    let tensors: Vec<NewTensor> = jobs.iter().map(|job| job.new.clone()).collect();
    let mut count = Count::of(&tensors)?;
    write_safetensors(output, &tensors, checkpoint.metadata(), |i, out| {
        jobs[i].write(checkpoint, out)?;
        count.advance(&tensors[i], progress)
    })
}

/// Counts the bytes of progress.
pub(crate) struct Count {
    done: u64,
    total: u64,
}

impl Count {
    pub fn of(tensors: &[NewTensor]) -> Result<Self> {
        let total = tensors.iter().map(NewTensor::size_bytes).sum::<Result<u64>>()?;
        Ok(Self { done: 0, total })
    }

    pub fn advance(&mut self, tensor: &NewTensor, progress: &mut dyn FnMut(WriteProgress)) -> Result<()> {
        self.done += tensor.size_bytes()?;
        progress(WriteProgress {
            tensor: &tensor.name,
            done_bytes: self.done,
            total_bytes: self.total,
        });
        Ok(())
    }
}

/// The values of a weight, some rows at a time.
pub(crate) fn each_stretch(
    checkpoint: &Checkpoint,
    name: &str,
    stored: &Stored,
    mut work: impl FnMut(&[f32]) -> Result<()>,
) -> Result<()> {
    let bytes = checkpoint.require(name)?.bytes;
    let width = stored.width.max(1);
    let at_once = ((1 << 18) / width).max(1);
    let mut values = vec![0.0; at_once.min(stored.rows) * stored.width];
    for first in (0..stored.rows).step_by(at_once) {
        let rows = at_once.min(stored.rows - first);
        let values = &mut values[..rows * stored.width];
        for (n, row) in (first..).zip(values.chunks_exact_mut(width)) {
            stored.row(bytes, n, row);
        }
        if values.iter().any(|v| !v.is_finite()) {
            return Err(checkpoint.not_finite(name));
        }
        work(values)?;
    }
    Ok(())
}

pub(crate) fn write_to(out: &mut dyn Write, name: &str, bytes: &[u8]) -> Result<()> {
    out.write_all(bytes).map_err(|source| Error::Io {
        action: "write tensor",
        path: name.into(),
        source,
    })
}

/// Refuses to write over what is being read.
pub(crate) fn not_itself(input: &Path, output: &Path) -> Result<()> {
    let same = matches!((input.canonicalize(), output.canonicalize()), (Ok(a), Ok(b)) if a == b);
    match same {
        false => Ok(()),
        true => Err(Error::CannotWrite {
            tensor: output.display().to_string(),
            reason: "the output is the input; give another name".into(),
        }),
    }
}
