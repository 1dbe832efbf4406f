//! LoRAs against a model: which tensor is changed by what, and the changing.

use std::collections::BTreeMap;

use kinora_kernels::{Linear, Precision};
use kinora_tensor::Tensor;

use super::keys::{Key, Role};
use super::names::{Spellings, is_of_image};
use super::{Layer, Lora, LoraError, LoraUse};
use crate::{Checkpoint, Error, Result};

/// All changes of a model, by the name of its tensor.
#[derive(Debug)]
pub(crate) struct Changes {
    by_tensor: BTreeMap<String, Vec<Change>>,
    pub how: LoraUse,
    /// What was left out.
    pub notes: Vec<String>,
}

/// One change of one tensor.
#[derive(Debug, Clone)]
struct Change {
    lora: Lora,
    /// What it is multiplied with.
    factor: f32,
    what: What,
}

/// Names in the file of the LoRA.
#[derive(Debug, Clone)]
enum What {
    Pair { down: String, up: String, rank: usize },
    Whole(String),
}

impl Changes {
    /// **Errors**: see [`Checkpoint::with_loras`].
    pub fn new(model: &Checkpoint, loras: &[(Lora, f32)], how: LoraUse) -> Result<Self> {
        let mut changes = match model.changes() {
            Some(before) => Self {
                by_tensor: before.by_tensor.clone(),
                notes: before.notes.clone(),
                how,
            },
            None => Self {
                by_tensor: BTreeMap::new(),
                notes: Vec::new(),
                how,
            },
        };
        let spellings = Spellings::of(model);
        for (lora, strength) in loras {
            if !strength.is_finite() {
                let (file, strength) = (lora.name().into(), *strength);
                return Err(LoraError::BadStrength { file, strength }.into());
            }
            changes.add(model, &spellings, lora, *strength)?;
        }
        Ok(changes)
    }

    fn add(&mut self, model: &Checkpoint, spellings: &Spellings, lora: &Lora, strength: f32) -> Result<()> {
        let mut left_out = 0;
        for (name, layer) in &lora.inner.layers {
            if is_of_image(name) && !spellings.has_image_layers() {
                left_out += 1;
                continue;
            }
            for (role, tensor) in &layer.tensors {
                let Some((what, factor)) = part(layer, *role, tensor) else {
                    continue;
                };
                let key = Key {
                    layer: name.clone(),
                    role: *role,
                    flat: layer.flat,
                };
                let target = spellings.find(&key).ok_or_else(|| LoraError::NoSuchLayer {
                    file: lora.name().into(),
                    key: tensor.clone(),
                    model: model.name().into(),
                    similar: spellings.nearest(&key),
                })?;
                let change = Change {
                    lora: lora.clone(),
                    factor: factor * strength,
                    what,
                };
                change.check(model, target)?;
                if strength != 0.0 {
                    self.by_tensor.entry(target.to_owned()).or_default().push(change);
                }
            }
        }
        if left_out > 0 {
            self.notes.push(format!(
                "{}: {left_out} layers for the tokens of a picture were left out, because the model has none",
                lora.name()
            ));
        }
        Ok(())
    }

    /// What is added to a tensor, read into memory; `None` if nothing is.
    pub fn of(&self, tensor: &str) -> Result<Option<Patch>> {
        let Some(changes) = self.by_tensor.get(tensor) else {
            return Ok(None);
        };
        let parts = changes.iter().map(Change::read).collect::<Result<_>>()?;
        Ok(Some(Patch { parts }))
    }
}

/// What a tensor in the role `role` adds to its target, and with which factor; `None` for those that come with another.
fn part(layer: &Layer, role: Role, tensor: &str) -> Option<(What, f32)> {
    Some(match role {
        Role::Down => {
            let pair = What::Pair {
                down: tensor.to_owned(),
                up: layer.tensors.get(&Role::Up)?.clone(),
                rank: layer.rank,
            };
            (pair, layer.factor)
        }
        Role::Up | Role::Alpha => return None,
        Role::UpBias => (What::Whole(tensor.to_owned()), layer.factor),
        Role::Diff | Role::DiffBias | Role::DiffModulation => (What::Whole(tensor.to_owned()), 1.0),
    })
}

impl Change {
    /// Compares the shapes with those of the model's tensor.
    fn check(&self, model: &Checkpoint, target: &str) -> Result<()> {
        let of_model = model.require(target)?.shape;
        let rows = of_model.first().copied().unwrap_or(1);
        let width: usize = of_model.iter().skip(1).product();
        let shape = |name: &str| Ok::<_, Error>(self.lora.inner.checkpoint.require(name)?.shape.to_vec());
        let misfit = |key: &str, got: Vec<usize>| LoraError::Misfit {
            file: self.lora.name().into(),
            key: key.into(),
            got,
            tensor: target.into(),
            expected: of_model.to_vec(),
            model: model.name().into(),
        };
        match &self.what {
            What::Pair { down, up, .. } => {
                let (first, second) = (shape(down)?, shape(up)?);
                if first.iter().skip(1).product::<usize>() != width {
                    return Err(misfit(down, first).into());
                }
                if second.first() != Some(&rows) {
                    return Err(misfit(up, second).into());
                }
            }
            What::Whole(name) => {
                let whole = shape(name)?;
                // Some tools leave out extents of 1.
                let long = |dims: &[usize]| dims.iter().copied().filter(|&n| n != 1).collect::<Vec<_>>();
                if long(&whole) != long(of_model) {
                    return Err(misfit(name, whole).into());
                }
            }
        }
        Ok(())
    }

    fn read(&self) -> Result<Part> {
        let reader = self.lora.inner.checkpoint.reader();
        let tensor = |name: &str| reader.tensor(name, &reader.shape(name)?);
        Ok(match &self.what {
            What::Pair { down, up, rank } => {
                let mut up = tensor(up)?;
                up.as_mut_slice().iter_mut().for_each(|v| *v *= self.factor);
                Part::Pair {
                    down: tensor(down)?,
                    up,
                    rank: *rank,
                }
            }
            What::Whole(name) => {
                let mut whole = tensor(name)?;
                whole.as_mut_slice().iter_mut().for_each(|v| *v *= self.factor);
                Part::Whole(whole)
            }
        })
    }
}

/// What is added to one tensor, seen as `[rows, width]`. Factors are in it.
#[derive(Debug)]
pub(crate) struct Patch {
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    /// `down [rank, width]`, `up [rows, rank]`.
    Pair {
        down: Tensor,
        up: Tensor,
        rank: usize,
    },
    Whole(Tensor),
}

impl Patch {
    /// Adds the change of row `n` to it. **Shapes**: `row [width]`.
    pub fn add_to_row(&self, n: usize, row: &mut [f32]) {
        for part in &self.parts {
            match part {
                Part::Pair { down, up, rank } => {
                    add_product(&up.as_slice()[n * rank..][..*rank], down.as_slice(), row);
                }
                Part::Whole(whole) => {
                    let whole = &whole.as_slice()[n * row.len()..][..row.len()];
                    row.iter_mut().zip(whole).for_each(|(to, more)| *to += more);
                }
            }
        }
    }

    /// Whether it is pairs alone, which can stand beside a layer.
    pub fn is_low_rank(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, Part::Pair { .. }))
    }

    /// `layer` with all pairs as one branch beside it.
    ///
    /// **Errors**: those of packing.
    pub fn beside(&self, layer: Linear, precision: Precision) -> std::result::Result<Linear, kinora_kernels::Error> {
        let (rows, width) = (layer.out_features(), layer.in_features());
        let pairs: Vec<(&Tensor, &Tensor, usize)> = self
            .parts
            .iter()
            .filter_map(|part| match part {
                Part::Pair { down, up, rank } => Some((down, up, *rank)),
                Part::Whole(_) => None,
            })
            .collect();
        let total = pairs.iter().map(|&(.., rank)| rank).sum();
        let mut down = Vec::with_capacity(total * width);
        pairs
            .iter()
            .for_each(|(first, ..)| down.extend_from_slice(first.as_slice()));
        let down = Linear::pack_as(&down, None, total, width, precision)?;
        let up = Linear::pack_rows(None, rows, total, precision, |n, row| {
            let mut at = 0;
            for (_, second, rank) in &pairs {
                row[at..at + rank].copy_from_slice(&second.as_slice()[n * rank..][..*rank]);
                at += rank;
            }
        })?;
        layer.with_branch(down, up)
    }
}

/// row += factors * matrix. **Shapes**: `factors [R]`, `matrix [R, width]`, `row [width]`.
fn add_product(factors: &[f32], matrix: &[f32], row: &mut [f32]) {
    /// Of the row, so that it stays in the first-level cache.
    const STRETCH: usize = 2048;
    let width = row.len();
    for (start, out) in (0..).step_by(STRETCH).zip(row.chunks_mut(STRETCH)) {
        let length = out.len();
        let of = |r: usize| &matrix[r * width + start..][..length];
        let (fours, rest) = factors.as_chunks::<4>();
        for (i, [a, b, c, d]) in fours.iter().enumerate() {
            let [v, w, x, y] = [0, 1, 2, 3].map(|j| of(4 * i + j));
            for ((((to, v), w), x), y) in out.iter_mut().zip(v).zip(w).zip(x).zip(y) {
                *to += (a * v + b * w) + (c * x + d * y);
            }
        }
        for (factor, r) in rest.iter().zip(4 * fours.len()..) {
            out.iter_mut().zip(of(r)).for_each(|(to, v)| *to += factor * v);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_those_of_plain_loops() {
        for (rank, width) in [(1, 1), (3, 5), (4, 2049), (9, 100), (8, 4096)] {
            let number = |i: usize| ((i * 7919 + 13) % 64) as f32 / 16.0 - 2.0;
            let factors: Vec<f32> = (0..rank).map(number).collect();
            let matrix: Vec<f32> = (0..rank * width).map(number).collect();
            let mut row: Vec<f32> = (0..width).map(number).collect();
            // Sixteenths with small sums: exact in any order.
            let expected: Vec<f32> = (0..width)
                .map(|k| row[k] + (0..rank).map(|r| factors[r] * matrix[r * width + k]).sum::<f32>())
                .collect();
            add_product(&factors, &matrix, &mut row);
            assert_eq!(row, expected, "{rank}x{width}");
        }
    }
}
