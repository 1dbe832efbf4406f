//! How one weight is stored: its encoding, the scales that lie beside it, and whether it was turned before it was rounded.
//!
//! **Source**: Toybox's own convention (`x` and `x.scale`); ComfyUI `comfy/utils.py` (`convert_old_quants`) and comfy-kitchen 0.2.40 for
//! `<layer>.scale_weight`, `<layer>.weight_scale` and the note `<layer>.comfy_quant` (facts, not code).

use std::sync::Arc;

use crate::checkpoint::RawTensor;
use crate::encoding::{Encoding, is_group, turn};
use crate::error::one_of;
use crate::lora::Patch;
use crate::{Checkpoint, Error, Result};

const PLAIN: [Encoding; 3] = [Encoding::F32, Encoding::F16, Encoding::Bf16];

/// Endings that stand beside a weight and change nothing where activations are floats: scales of activations.
const IDLE: [&str; 2] = ["scale_input", "input_scale"];

pub(crate) const OTHER_FILE: &str =
    "get the same model in bf16, as fp8 with one scale for each tensor (`fp8_scaled`), or as GGUF (Q8_0, Q6_K, Q4_K_M)";

/// All that is needed to read a row of a weight, but its bytes.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub encoding: Encoding,
    /// Extent of the first axis; 1 for a single number.
    pub rows: usize,
    /// Elements of a row.
    pub width: usize,
    scale: Scale,
    /// Length of the groups that were turned; see [`turn`].
    turned: Option<usize>,
    /// What LoRAs add to each row.
    pub change: Option<Arc<Patch>>,
}

#[derive(Debug, Clone)]
enum Scale {
    None,
    All(f32),
    Rows(Arc<[f32]>),
}

/// What `<layer>.comfy_quant` says.
#[derive(serde::Deserialize)]
struct Note {
    format: String,
    #[serde(default)]
    convrot: bool,
    #[serde(default)]
    convrot_groupsize: Option<usize>,
}

impl Stored {
    /// Looks up the tensor `name` and what lies beside it; `mark` gets the names of all companions.
    ///
    /// **Errors**: [`Error::UnsupportedFormat`] naming tensor and format; [`Error::WrongDtype`] for what is no weight;
    /// [`Error::MissingTensor`] for int8 without scales.
    pub fn find(checkpoint: &Checkpoint, name: &str, mark: &mut dyn FnMut(&str)) -> Result<Self> {
        let raw = checkpoint.describe(name)?;
        let layer = name.strip_suffix(".weight");
        let beside = |end: &str| {
            layer
                .map(|layer| format!("{layer}.{end}"))
                .filter(|n| checkpoint.has(n))
        };
        let refuse = |format: String| Error::UnsupportedFormat {
            file: checkpoint.name().into(),
            tensor: checkpoint.label(name),
            format,
            hint: OTHER_FILE,
        };
        let note = beside("comfy_quant").map(|n| {
            mark(&n);
            read_note(checkpoint, &n)
        });
        let note = note.transpose()?;
        let encoding = match (&note, raw.encoding) {
            (Some(note), Some(encoding)) if fits(&note.format, encoding) => encoding,
            (Some(note), _) => return Err(refuse(format!("`{}` stored as {}", note.format, raw.dtype_name))),
            (None, Some(encoding)) => encoding,
            (None, None) if is_block_type(raw.dtype_name) => return Err(refuse(format!("`{}`", raw.dtype_name))),
            (None, None) => {
                return Err(Error::WrongDtype {
                    file: checkpoint.name().into(),
                    tensor: checkpoint.label(name),
                    expected: format!("{} or another type of weights", one_of(&PLAIN)),
                    got: raw.dtype_name.into(),
                });
            }
        };
        for end in ["weight_scale_inv", "weight_scale_2"] {
            if beside(end).is_some() {
                return Err(refuse(format!("with a scale for each block (`{end}`)")));
            }
        }
        for end in IDLE {
            if let Some(idle) = beside(end) {
                mark(&idle);
            }
        }
        let rows = raw.shape.first().copied().unwrap_or(1);
        let elements: usize = raw.shape.iter().product();
        let width = elements.checked_div(rows).unwrap_or(0);
        let turned = match note {
            Some(note) if note.convrot => {
                let group = note.convrot_groupsize.unwrap_or(256);
                if !is_group(group) || !width.is_multiple_of(group) {
                    return Err(refuse(format!("`convrot` in groups of {group} with rows of {width}")));
                }
                Some(group)
            }
            _ => None,
        };
        let own = format!("{name}.scale");
        let scaled = match encoding {
            Encoding::I8 | Encoding::F8E4M3 | Encoding::F8E5M2 => beside("weight_scale")
                .or_else(|| beside("scale_weight"))
                .or_else(|| checkpoint.has(&own).then_some(own.clone())),
            _ => None,
        };
        let scale = match scaled {
            Some(scale) => {
                mark(&scale);
                read_scale(checkpoint, &scale, rows)?.ok_or_else(|| {
                    let shape = checkpoint.get(&scale).map(|t| t.shape.to_vec()).unwrap_or_default();
                    refuse(format!(
                        "with a scale of shape {shape:?}: one for each block, not for each row"
                    ))
                })?
            }
            // Integers mean nothing without.
            None if encoding == Encoding::I8 => return Err(checkpoint.missing(&own)),
            None => Scale::None,
        };
        Ok(Self {
            encoding,
            rows,
            width,
            scale,
            turned,
            change: None,
        })
    }

    /// Writes row `n` into `out`. **Shapes**: `out [width]`; `bytes` are all of the tensor.
    pub fn row(&self, bytes: &[u8], n: usize, out: &mut [f32]) {
        let (count, size) = self.encoding.block();
        let (first, end) = (n * self.width, (n + 1) * self.width);
        let whole = |from: usize, to: usize| bytes.get(from / count * size..to / count * size).unwrap_or_default();
        if first.is_multiple_of(count) && self.width.is_multiple_of(count) {
            self.encoding.to_f32(whole(first, end), out);
        } else {
            // Some writers cut tensors into rows of whole blocks, whatever their shape.
            let (from, to) = (first / count * count, end.div_ceil(count) * count);
            let mut values = vec![0.0; to - from];
            self.encoding.to_f32(whole(from, to), &mut values);
            out.copy_from_slice(&values[first - from..][..self.width]);
        }
        match &self.scale {
            Scale::None => {}
            Scale::All(scale) => out.iter_mut().for_each(|v| *v *= scale),
            Scale::Rows(scales) => {
                let scale = scales[n];
                out.iter_mut().for_each(|v| *v *= scale);
            }
        }
        if let Some(group) = self.turned {
            turn(out, group);
        }
        if let Some(change) = &self.change {
            change.add_to_row(n, out);
        }
    }

    /// The scales of rows that are bytes as they lie, for kernels that keep them.
    pub fn row_scales(&self) -> Option<Vec<f32>> {
        if self.change.is_some() {
            return None;
        }
        match (&self.scale, self.encoding, self.turned) {
            (Scale::Rows(scales), Encoding::I8, None) => Some(scales.to_vec()),
            (Scale::All(scale), Encoding::I8, None) => Some(vec![*scale; self.rows]),
            _ => None,
        }
    }
}

/// True for a tensor that says something about a whole file and holds no weights.
pub(crate) fn is_marker(name: &str) -> bool {
    name == "scaled_fp8" || name.ends_with(".scaled_fp8")
}

/// True for the name of a GGUF type in blocks that is not read here.
fn is_block_type(name: &str) -> bool {
    ["IQ", "TQ", "Q", "MXFP", "NVFP"]
        .iter()
        .any(|start| name.starts_with(start))
}

fn fits(format: &str, encoding: Encoding) -> bool {
    matches!(
        (format, encoding),
        ("float8_e4m3fn", Encoding::F8E4M3) | ("float8_e5m2", Encoding::F8E5M2) | ("int8_tensorwise", Encoding::I8)
    )
}

fn read_note(checkpoint: &Checkpoint, name: &str) -> Result<Note> {
    let raw = checkpoint.require(name)?;
    serde_json::from_slice(raw.bytes).map_err(|e| Error::BadJson {
        file: format!("tensor `{name}` of {}", checkpoint.name()),
        reason: e.to_string(),
    })
}

/// `None` if there is neither one scale nor one for each row.
fn read_scale(checkpoint: &Checkpoint, name: &str, rows: usize) -> Result<Option<Scale>> {
    let raw: RawTensor = checkpoint.require(name)?;
    let Some(encoding) = raw.encoding.filter(|e| PLAIN.contains(e)) else {
        // f8 and bytes are scales of blocks.
        return Ok(None);
    };
    let elements: usize = raw.shape.iter().product();
    let by_rows = raw.shape.first() == Some(&rows) && elements == rows;
    if elements != 1 && !by_rows {
        return Ok(None);
    }
    let mut values = vec![0.0; elements];
    encoding.to_f32(raw.bytes, &mut values);
    if values.iter().any(|v| !v.is_finite()) {
        return Err(checkpoint.not_finite(name));
    }
    Ok(Some(match values.as_slice() {
        [one] if !by_rows => Scale::All(*one),
        _ => Scale::Rows(values.into()),
    }))
}
