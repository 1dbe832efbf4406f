//! The blocked product behind every linear layer: rows are normalised and converted once, multiplied with every panel
//! while they are in the cache, and each block of sums is ended before it leaves it.

use kinora_tensor::Tensor;

use super::{Input, Linear};
use crate::Path;
use crate::ending::{Ending, IntegerSums, finish, finish_integers};
use crate::product::{Engine, Kind, PANEL, Panels, Segment, Sums, TILE_ROWS, convert};
use crate::threads::{self, TileMut};

/// K is cut here, in words, so that a tile's rows of x stay in the first-level cache and a block's panels in the second.
const DEPTH: usize = 512;
/// Rows of a work item where there are enough of them.
const ROWS: usize = 8 * TILE_ROWS;
/// Columns whose sums are made before they are ended: 512 KiB of panels at full depth.
const COLUMNS: usize = 8 * PANEL;
/// Products that are not worth waking the workers for.
const SMALL: usize = 1 << 16;

/// The ending of `input` times each of `layers` (of one precision and width), into the tensor at its place in `outs`.
pub(super) fn linears<const P: usize>(
    path: Path,
    input: Input,
    layers: [&Linear; P],
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
    let work = |outs: Vec<TileMut>| run(path, engine, input, &layers, ending, outs);
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

fn run(path: Path, engine: Engine, input: Input, layers: &[&Linear], ending: Ending, outs: Vec<TileMut>) {
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
    let floats = converted + rows.len() * (1 + stride) + width;
    threads::with_scratch(floats, |scratch| {
        let (converted, rest) = scratch.split_at_mut(converted);
        let (steps, rest) = rest.split_at_mut(rows.len());
        let (buffer, sums) = rest.split_at_mut(width);
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
        for (layer, mut out) in layers.iter().zip(outs) {
            for first in out.columns.clone().step_by(COLUMNS) {
                let columns = first..out.columns.end.min(first + COLUMNS);
                let sums = bytemuck::cast_slice_mut(sums);
                multiply(engine, &left, rows.len(), &layer.panels, columns.clone(), stride, sums);
                end(path, &left, layer, ending, columns, stride, sums, &mut out);
            }
        }
    });
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

/// Sums to results.
#[allow(clippy::too_many_arguments)] // one call, all of it about the same block
fn end(
    path: Path,
    left: &Rows,
    layer: &Linear,
    ending: Ending,
    columns: std::ops::Range<usize>,
    stride: usize,
    sums: &[u32],
    out: &mut TileMut,
) {
    let (panels, bias) = (&layer.panels, &layer.bias[columns.clone()]);
    let from = columns.start - out.columns.start;
    for (i, row) in out.rows.clone().enumerate() {
        let sums = &sums[i * stride..][..columns.len()];
        let ending = ending.of_row(row, columns.start);
        let out = &mut out.row(row)[from..][..columns.len()];
        if panels.kind() == Kind::Int8 {
            let sums = IntegerSums {
                sums: bytemuck::cast_slice(sums),
                surplus: &panels.surplus()[columns.clone()],
                steps: &panels.steps()[columns.clone()],
                step: left.steps[i],
            };
            finish_integers(path, sums, bias, ending, out);
        } else {
            finish(path, bytemuck::cast_slice(sums), bias, ending, out);
        }
    }
}
