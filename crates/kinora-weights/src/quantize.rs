//! Making a model smaller: the matrices of its blocks in 8 bits, everything else as it is, and what that costs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::convert_model::{Count, FloatType, How, Job, WriteProgress, each_stretch, not_itself, open_any, write_to};
use crate::stored::{Stored, is_marker};
use crate::write::{NewTensor, write_safetensors};
use crate::{Checkpoint, Error, Result};

/// How matrices are rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QuantKind {
    /// Bytes with a scale for each row, in `x.scale` beside `x`: what Kinora computes with as it lies in the file.
    Int8,
    /// 8-bit floats (4 bits of exponent) with one scale for each matrix, in `scale_weight`: other programs read it as
    /// `fp8_scaled`.
    F8E4M3,
}

/// What [`quantize`] has written.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantized {
    /// Matrices that were rounded.
    pub rounded: usize,
    /// Tensors that stayed as they were.
    pub kept: usize,
    /// Length of the input and of the output.
    pub bytes: [u64; 2],
    /// What rounding costs, for each kind of matrix.
    pub classes: Vec<ClassError>,
}

/// The error of all matrices of one kind (the same layer of all blocks).
#[derive(Debug, Clone, PartialEq)]
pub struct ClassError {
    /// The name with `*` for the number of the block: `blocks.*.attn1.to_q.weight`.
    pub class: String,
    /// Matrices.
    pub matrices: usize,
    /// sum((rounded - weight)^2) / sum(weight^2) over all of them.
    pub nmse: f64,
    /// Cosine of the angle between the rounded and the exact weights.
    pub cosine: f64,
    /// The matrix with the largest error, and its nmse.
    pub worst: (String, f64),
}

/// Rounds the large matrices of the blocks of `input` and writes everything into one safetensors file. The input may be a PyTorch file,
/// GGUF, an index or safetensors; one tensor at a time is in memory.
///
/// Rounded is what a model packs in its precision: weights `[out, in]` of linear layers inside blocks. Embeddings, norms, biases,
/// modulation and heads stay as they are; rows are never split.
///
/// **Errors**: those of opening and reading; [`Error::CannotWrite`] if there is no such matrix, or if the output is the input.
pub fn quantize(
    input: &Path,
    output: &Path,
    kind: QuantKind,
    progress: &mut dyn FnMut(WriteProgress),
) -> Result<Quantized> {
    not_itself(input, output)?;
    let checkpoint = open_any(input)?;
    let (plan, rounded) = plan(&checkpoint, kind)?;
    if rounded == 0 {
        return Err(Error::CannotWrite {
            tensor: input.display().to_string(),
            reason: "it has no matrices in blocks that could be rounded".into(),
        });
    }
    let tensors: Vec<NewTensor> = plan.iter().map(|(new, _)| new.clone()).collect();
    let (mut count, mut errors) = (Count::of(&tensors)?, BTreeMap::new());
    let mut scales_of: BTreeMap<&str, Vec<f32>> = BTreeMap::new();
    let bytes = write_safetensors(output, &tensors, checkpoint.metadata(), |i, out| {
        match &plan[i].1 {
            Source::Job(job) => job.write(&checkpoint, out)?,
            Source::Bytes(bytes) => write_to(out, &plan[i].0.name, bytes)?,
            // Behind the matrix.
            Source::Scales { of } => {
                let mut bytes = Vec::new();
                FloatType::F32.append(&scales_of.remove(of.as_str()).unwrap_or_default(), &mut bytes);
                write_to(out, of, &bytes)?;
            }
            Source::Rounded { of, stored } => {
                let scales = scales(&checkpoint, of, stored, kind)?;
                let mut sums = Sums::default();
                let mut row = 0;
                each_stretch(&checkpoint, of, stored, |values| {
                    let mut bytes = Vec::with_capacity(values.len());
                    for values in values.chunks_exact(stored.width.max(1)) {
                        let scale = scales[if scales.len() == 1 { 0 } else { row }];
                        kind.round(values, scale, &mut bytes, &mut sums);
                        row += 1;
                    }
                    write_to(out, of, &bytes)
                })?;
                errors
                    .entry(class(of))
                    .or_insert_with(Vec::new)
                    .push((of.clone(), sums));
                checkpoint.release(of);
                scales_of.insert(of, scales);
            }
        }
        count.advance(&tensors[i], progress)
    })?;
    let kept = plan
        .iter()
        .filter(|(_, source)| matches!(source, Source::Job(_)))
        .count();
    Ok(Quantized {
        rounded,
        kept,
        bytes: [checkpoint.size_bytes(), bytes],
        classes: errors
            .into_iter()
            .map(|(class, of)| ClassError::new(class, &of))
            .collect(),
    })
}

/// Where the bytes of a new tensor come from.
enum Source {
    Job(Job),
    Bytes(Vec<u8>),
    Scales { of: String },
    Rounded { of: String, stored: Stored },
}

/// All tensors of the new file, and how many are rounded.
fn plan(checkpoint: &Checkpoint, kind: QuantKind) -> Result<(Vec<(NewTensor, Source)>, usize)> {
    let mut companions = BTreeSet::new();
    let (mut plan, mut rounded) = (Vec::new(), 0);
    for name in checkpoint.names() {
        let raw = checkpoint.describe(name)?;
        let Some(encoding) = raw.encoding else {
            let job = Job::new(checkpoint, name, name, How::Copy)?;
            plan.push((job.new.clone(), Source::Job(job)));
            continue;
        };
        let stored = Stored::find(checkpoint, name, &mut |beside| {
            companions.insert(beside.to_owned());
        })?;
        if !is_block_matrix(name, raw.shape) {
            let how = match encoding.is_quantised() {
                true => How::Floats(stored, FloatType::Bf16),
                false => How::Copy,
            };
            let job = Job::new(checkpoint, name, name, how)?;
            plan.push((job.new.clone(), Source::Job(job)));
            continue;
        }
        rounded += 1;
        let new = |name: String, dtype: &str, shape: &[usize]| NewTensor {
            name,
            dtype: dtype.into(),
            shape: shape.to_vec(),
        };
        let (dtype, scale_name, scale_shape) = match kind {
            QuantKind::Int8 => ("I8", format!("{name}.scale"), vec![stored.rows]),
            QuantKind::F8E4M3 => {
                let layer = name.strip_suffix(".weight").unwrap_or(name);
                ("F8_E4M3", format!("{layer}.scale_weight"), Vec::new())
            }
        };
        let of = name.to_owned();
        let scales = Source::Scales { of: of.clone() };
        plan.push((new(of.clone(), dtype, raw.shape), Source::Rounded { of, stored }));
        plan.push((new(scale_name, "F32", &scale_shape), scales));
    }
    // What stood beside weights is replaced.
    plan.retain(|(new, source)| match source {
        Source::Job(job) => !companions.contains(&job.name) && !is_marker(&new.name),
        _ => true,
    });
    if kind == QuantKind::F8E4M3 {
        // Two elements: multiply in full precision.
        let prefix = "model.diffusion_model.";
        let is_nested = checkpoint.names().any(|name| name.starts_with(prefix));
        let marker = NewTensor {
            name: format!("{}scaled_fp8", if is_nested { prefix } else { "" }),
            dtype: "F8_E4M3".into(),
            shape: vec![2],
        };
        plan.push((marker, Source::Bytes(vec![0; 2])));
    }
    Ok((plan, rounded))
}

/// True for the weights `[out, in]` of linear layers inside numbered blocks.
fn is_block_matrix(name: &str, shape: &[usize]) -> bool {
    let words: Vec<&str> = name.split('.').collect();
    let in_block = words.windows(2).any(|pair| {
        let is_list = ["blocks", "vace_blocks", "block", "layers", "layer", "blk"].contains(&pair[0]);
        is_list && pair[1].parse::<usize>().is_ok()
    });
    let is_table = ["relative_attention_bias", "attn_rel_b", "embed", "norm", "modulation"];
    let is_table = words
        .iter()
        .any(|word| is_table.iter().any(|table| word.contains(table)));
    in_block && !is_table && words.last() == Some(&"weight") && shape.len() == 2 && shape.iter().all(|&n| n > 1)
}

/// The largest magnitude of each row, or of all, over the largest value of the kind.
fn scales(checkpoint: &Checkpoint, name: &str, stored: &Stored, kind: QuantKind) -> Result<Vec<f32>> {
    let mut of_rows = Vec::with_capacity(stored.rows);
    each_stretch(checkpoint, name, stored, |values| {
        let rows = values.chunks_exact(stored.width.max(1));
        of_rows.extend(rows.map(|row| row.iter().fold(0.0_f32, |max, v| max.max(v.abs()))));
        Ok(())
    })?;
    let scale = |max: f32, largest: f32| if max > 0.0 { max / largest } else { 1.0 };
    Ok(match kind {
        QuantKind::Int8 => of_rows.iter().map(|&max| scale(max, 127.0)).collect(),
        QuantKind::F8E4M3 => vec![scale(of_rows.iter().fold(0.0_f32, |max, &v| max.max(v)), 448.0)],
    })
}

impl QuantKind {
    fn round(self, values: &[f32], scale: f32, out: &mut Vec<u8>, sums: &mut Sums) {
        for &value in values {
            let quotient = value / scale;
            let (byte, near) = match self {
                Self::Int8 => {
                    let whole = quotient.round_ties_even().clamp(-127.0, 127.0);
                    (whole as i8 as u8, whole)
                }
                Self::F8E4M3 => e4m3(quotient),
            };
            out.push(byte);
            sums.add(value, near * scale);
        }
    }
}

/// The nearest 8-bit float with 4 bits of exponent, ties to even, the largest where it would leave the range; and its value.
fn e4m3(value: f32) -> (u8, f32) {
    let sign = if value.is_sign_negative() { 0x80 } else { 0 };
    let magnitude = value.abs().min(448.0);
    // Steps of 2^(exponent - 3); below 2^-6 those of 2^-9.
    let exponent = (magnitude.to_bits() >> 23) as i32 - 127;
    let exponent = exponent.max(-6);
    let step = 2_f32.powi(exponent - 3);
    let near = (magnitude / step).round_ties_even() * step;
    // Rounding may have reached the next exponent.
    let exponent = ((near.to_bits() >> 23) as i32 - 127).max(-6);
    let digits = (near / 2_f32.powi(exponent - 3)) as u8;
    let byte = match digits >= 8 {
        true => ((exponent + 7) as u8) << 3 | (digits - 8),
        false => digits,
    };
    (sign | byte, if sign == 0 { near } else { -near })
}

#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    exact: f64,
    rounded: f64,
    product: f64,
    error: f64,
}

impl Sums {
    fn add(&mut self, exact: f32, rounded: f32) {
        let (exact, rounded) = (f64::from(exact), f64::from(rounded));
        self.exact += exact * exact;
        self.rounded += rounded * rounded;
        self.product += exact * rounded;
        self.error += (rounded - exact).powi(2);
    }

    fn nmse(&self) -> f64 {
        if self.error == 0.0 {
            0.0
        } else {
            self.error / self.exact
        }
    }
}

impl ClassError {
    fn new(class: String, matrices: &[(String, Sums)]) -> Self {
        let mut all = Sums::default();
        for (_, sums) in matrices {
            all.exact += sums.exact;
            all.rounded += sums.rounded;
            all.product += sums.product;
            all.error += sums.error;
        }
        let worst = matrices.iter().max_by(|a, b| a.1.nmse().total_cmp(&b.1.nmse()));
        let size = (all.exact * all.rounded).sqrt();
        Self {
            class,
            matrices: matrices.len(),
            nmse: all.nmse(),
            cosine: if size == 0.0 { 1.0 } else { all.product / size },
            worst: worst
                .map(|(name, sums)| (name.clone(), sums.nmse()))
                .unwrap_or_default(),
        }
    }
}

/// The name with `*` for its first number, which is that of the block.
fn class(name: &str) -> String {
    let mut words: Vec<&str> = name.split('.').collect();
    if let Some(number) = words.iter_mut().find(|word| word.parse::<usize>().is_ok()) {
        *number = "*";
    }
    words.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Encoding;

    #[test]
    fn eight_bit_floats_are_the_nearest() {
        let all: Vec<f32> = (0..=255_u8)
            .map(|byte| {
                let mut value = [0.0];
                Encoding::F8E4M3.to_f32(&[byte], &mut value);
                value[0]
            })
            .collect();
        for (byte, &value) in (0..=255_u8).zip(&all).filter(|(_, v)| v.is_finite()) {
            assert_eq!(e4m3(value), (byte, value), "{value}");
        }
        for i in -40_000..40_000 {
            let value = i as f32 / 80.0 * if i % 3 == 0 { 0.001 } else { 1.0 };
            let (byte, near) = e4m3(value);
            assert_eq!(all[usize::from(byte)].to_bits(), near.to_bits(), "{value}");
            let best = all
                .iter()
                .filter(|v| v.is_finite())
                .map(|v| (v - value).abs())
                .fold(f32::MAX, f32::min);
            assert!((near - value).abs() <= best * 1.000_001, "{value}: {near}");
        }
        assert_eq!(e4m3(1e9).1, 448.0);
    }

    #[test]
    fn the_matrices_of_blocks_are_chosen() {
        for (name, shape, expected) in [
            ("blocks.0.attn1.to_q.weight", &[32, 32][..], true),
            ("model.diffusion_model.blocks.12.ffn.2.weight", &[32, 256], true),
            ("vace_blocks.1.proj_out.weight", &[32, 32], true),
            ("encoder.block.3.layer.1.DenseReluDense.wo.weight", &[64, 128], true),
            (
                "encoder.block.3.layer.0.SelfAttention.relative_attention_bias.weight",
                &[32, 64],
                false,
            ),
            ("blocks.0.attn1.to_q.bias", &[32], false),
            ("blocks.0.attn1.norm_q.weight", &[32], false),
            ("blocks.0.scale_shift_table", &[1, 6, 32], false),
            ("condition_embedder.time_proj.weight", &[192, 32], false),
            ("patch_embedding.weight", &[32, 16, 1, 2, 2], false),
            ("proj_out.weight", &[16, 32], false),
        ] {
            assert_eq!(is_block_matrix(name, shape), expected, "{name}");
        }
        assert_eq!(
            class("blocks.12.ffn.net.0.proj.weight"),
            "blocks.*.ffn.net.0.proj.weight"
        );
    }
}
