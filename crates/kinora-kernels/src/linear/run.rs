//! The blocked product behind every linear layer: rows are normalised and converted once, multiplied with every panel
//! while they are in the cache, and each block of sums is ended before it leaves it.

use kinora_tensor::Tensor;

use super::branch::Waiting;
use super::{Input, Linear};
use crate::ending::{Ending, IntegerSums, RowEnding, finish, finish_integers};
use crate::product::{Engine, Kind, PANEL, Panels, Segment, Sums, TILE_ROWS, convert};
use crate::threads::{self, TileMut};
use crate::{Activation, Path};

/// K is cut here, in words, so that a tile's rows of x stay in the first-level cache and a block's panels in the second.
const DEPTH: usize = 512;
/// Rows of a work item where there are enough of them.
const ROWS: usize = 8 * TILE_ROWS;
/// Columns whose sums are made before they are ended: 512 KiB of panels at full depth.
const COLUMNS: usize = 8 * PANEL;
/// Products that are not worth waking the workers for.
const SMALL: usize = 1 << 16;

/// The ending of `input` times each of `layers` (of one precision and width), plus the `branches` of each, into the tensor
/// at its place in `outs`.
pub(super) fn linears<const P: usize>(
    path: Path,
    input: Input,
    layers: [&Linear; P],
    branches: &[Vec<Waiting>],
    ending: Ending,
    outs: [&mut Tensor; P],
) {
    let Some(first) = layers.first() else { return };
    let engine = Engine::of(path, first.panels.kind());
    let rows = outs[0].elements().checked_div(first.out_features()).unwrap_or(0);
    let columns: usize = layers.iter().map(|l| l.out_features()).sum();
    // Whole rows where possible, so that each is converted once; parts of a row only for a single layer.
    let (row_block, column_block) = block_size(rows, columns, P == 1);
    let mut lists = outs.map(|out| {
        let columns = out.dims().last().copied().unwrap_or(0);
        threads::tiles(out.as_mut_slice(), columns, rows, row_block, column_block).into_iter()
    });
    let items: Vec<Vec<TileMut>> = (0..lists[0].len())
        .map(|_| lists.iter_mut().filter_map(Iterator::next).collect())
        .collect();
    let work = |outs: Vec<TileMut>| run(path, engine, input, &layers, branches, ending, outs);
    if rows * columns * first.in_features() < SMALL {
        items.into_iter().for_each(work);
    } else {
        threads::for_each(items, work);
    }
}

/// Blocks of (rows, columns), smaller where there would not be four for each thread.
fn block_size(rows: usize, columns: usize, may_cut_rows: bool) -> (usize, usize) {
    let enough = 4 * threads::threads();
    let (mut row_block, mut column_block) = (ROWS, columns.next_multiple_of(PANEL).max(PANEL));
    while rows.div_ceil(row_block) * columns.div_ceil(column_block) < enough {
        if row_block > 2 * TILE_ROWS && rows > row_block / 2 {
            row_block /= 2;
        } else if may_cut_rows && column_block > PANEL {
            column_block = (column_block / 2).next_multiple_of(PANEL);
        } else {
            break;
        }
    }
    (row_block, column_block)
}

/// The left-hand side of a work item.
struct Rows<'a> {
    words: &'a [u32],
    /// Words from row to row.
    stride: usize,
    /// What one step of each row is worth.
    steps: &'a [f32],
}

#[allow(clippy::too_many_arguments)] // one call, all of it about the same block
fn run(
    path: Path,
    engine: Engine,
    input: Input,
    layers: &[&Linear],
    branches: &[Vec<Waiting>],
    ending: Ending,
    outs: Vec<TileMut>,
) {
    let Some((layer, item)) = layers.first().zip(outs.first()) else {
        return;
    };
    let (rows, width, words) = (item.rows.clone(), layer.in_features(), layer.panels.depth_words());
    let in_place = match input {
        Input::Plain(x) if engine.kind() == Kind::F32 => Some(x),
        _ => None,
    };
    let converted = if in_place.is_some() { 0 } else { rows.len() * words };
    let widest = outs.iter().map(|o| o.columns.len()).max().unwrap_or(0);
    let stride = COLUMNS.min(widest.next_multiple_of(PANEL));
    // What branches need: their rows as words, what a step of each row is worth, and their part of the block.
    let of_branches = branches.iter().flatten().map(|b| b.up.panels.depth_words() + 1).max();
    let of_branches = of_branches.map_or(0, |words| rows.len() * (words + stride));
    let floats = converted + rows.len() * (1 + stride) + width + of_branches;
    threads::with_scratch(floats, |scratch| {
        let (converted, rest) = scratch.split_at_mut(converted);
        let (steps, rest) = rest.split_at_mut(rows.len());
        let (buffer, rest) = rest.split_at_mut(width);
        let (sums, of_branches) = rest.split_at_mut(rows.len() * stride);
        let left = match in_place {
            Some(x) => bytemuck::cast_slice(&x.as_slice()[rows.start * width..]),
            None => {
                let converted: &mut [u32] = bytemuck::cast_slice_mut(converted);
                for (i, token) in rows.clone().enumerate() {
                    let row = input.row(path, token, buffer);
                    steps[i] = convert::to_words(path, engine.kind(), row, &mut converted[i * words..][..words]);
                }
                &*converted
            }
        };
        let left = Rows {
            words: left,
            stride: words,
            steps,
        };
        for ((layer, branches), mut out) in layers.iter().zip(branches).zip(outs) {
            for first in out.columns.clone().step_by(COLUMNS) {
                let columns = first..out.columns.end.min(first + COLUMNS);
                let block = Block {
                    path,
                    columns: columns.clone(),
                    stride,
                };
                let bias = &layer.bias[columns.clone()];
                let sums = bytemuck::cast_slice_mut(sums);
                let biases = if branches.is_empty() {
                    Biases::Shared(bias)
                } else {
                    let (biases, scratch) = of_branches.split_at_mut(rows.len() * stride);
                    biases
                        .chunks_exact_mut(stride)
                        .for_each(|row| row[..bias.len()].copy_from_slice(bias));
                    for branch in branches {
                        block.add(branch, rows.clone(), scratch, sums, biases);
                    }
                    Biases::EachRow(biases, stride)
                };
                multiply(engine, &left, rows.len(), &layer.panels, columns.clone(), stride, sums);
                let from = columns.start - out.columns.start;
                for (i, row) in out.rows.clone().enumerate() {
                    let ending = ending.of_row(row, columns.start);
                    let out = &mut out.row(row)[from..][..columns.len()];
                    block.end(&layer.panels, sums, &left, i, biases.row(i, columns.len()), ending, out);
                }
            }
        }
    });
}

/// What is added to the sums.
enum Biases<'a> {
    Shared(&'a [f32]),
    /// With its stride.
    EachRow(&'a [f32], usize),
}

impl Biases<'_> {
    fn row(&self, row: usize, columns: usize) -> &[f32] {
        match self {
            Self::Shared(bias) => bias,
            Self::EachRow(biases, stride) => &biases[row * stride..][..columns],
        }
    }
}

/// The sums of all rows with some columns.
fn multiply(
    engine: Engine,
    left: &Rows,
    rows: usize,
    panels: &Panels,
    columns: std::ops::Range<usize>,
    stride: usize,
    sums: &mut [u32],
) {
    let depth = panels.depth_words();
    for from in (0..depth).step_by(DEPTH) {
        let len = DEPTH.min(depth - from);
        for row in (0..rows).step_by(TILE_ROWS) {
            let segment = [Segment {
                words: &left.words[row * left.stride + from..],
                len,
            }];
            for column in columns.clone().step_by(PANEL) {
                let sums = Sums {
                    words: &mut sums[row * stride + column - columns.start..],
                    stride,
                    add: from > 0,
                };
                let size = (TILE_ROWS.min(rows - row), PANEL.min(columns.end - column));
                let panel = &panels.panel(column / PANEL, from)[..len * PANEL];
                engine.tile(size, &segment, left.stride, panel, sums);
            }
        }
    }
}

/// Some columns of a work item.
struct Block {
    path: Path,
    columns: std::ops::Range<usize>,
    /// Words from row to row of its sums.
    stride: usize,
}

impl Block {
    /// Adds what `branch` gives for `rows` to `biases`; `sums` is overwritten.
    fn add(
        &self,
        branch: &Waiting,
        rows: std::ops::Range<usize>,
        scratch: &mut [f32],
        sums: &mut [u32],
        biases: &mut [f32],
    ) {
        let (panels, width) = (&branch.up.panels, branch.up.in_features());
        let (engine, words) = (Engine::of(self.path, panels.kind()), panels.depth_words());
        let (steps, scratch) = scratch.split_at_mut(rows.len());
        let converted: &mut [u32] = bytemuck::cast_slice_mut(&mut scratch[..rows.len() * words]);
        for (i, row) in rows.clone().enumerate() {
            let row = &branch.x.as_slice()[row * width..][..width];
            steps[i] = convert::to_words(self.path, panels.kind(), row, &mut converted[i * words..][..words]);
        }
        let left = Rows {
            words: converted,
            stride: words,
            steps,
        };
        multiply(
            engine,
            &left,
            rows.len(),
            panels,
            self.columns.clone(),
            self.stride,
            sums,
        );
        for (i, out) in biases.chunks_exact_mut(self.stride).enumerate() {
            let bias = &branch.up.bias[self.columns.clone()];
            let ending = RowEnding::Residual(Activation::None);
            self.end(panels, sums, &left, i, bias, ending, &mut out[..bias.len()]);
        }
    }

    /// The sums of a row to results.
    #[allow(clippy::too_many_arguments)] // all of it about the same row
    fn end(
        &self,
        panels: &Panels,
        sums: &[u32],
        left: &Rows,
        row: usize,
        bias: &[f32],
        ending: RowEnding,
        out: &mut [f32],
    ) {
        let sums = &sums[row * self.stride..][..out.len()];
        if panels.kind() == Kind::Int8 {
            let sums = IntegerSums {
                sums: bytemuck::cast_slice(sums),
                surplus: &panels.surplus()[self.columns.clone()],
                steps: &panels.steps()[self.columns.clone()],
                step: left.steps[row],
            };
            finish_integers(self.path, sums, bias, ending, out);
        } else {
            finish(self.path, bytemuck::cast_slice(sums), bias, ending, out);
        }
    }
}
