//! The int8 product: quantise, multiply, dequantise and end, without leaving the second-level cache.

use crate::Path;
use crate::ending::{Ending, IntegerSums, finish_integers};
use crate::gemm::{PANEL, TILE_ROWS};
use crate::int8::{Dot, Int8Panels, padded_depth, quantise, tile};
use crate::threads::{self, TileMut};

/// Columns whose sums are made before they are ended.
const COLUMNS: usize = 8 * PANEL;

/// The ending of `x` `[T,K]`, quantised, times the panels, into `out` `[T,N]`.
pub(super) fn linear(path: Path, x: &[f32], panels: &Int8Panels, bias: &[f32], ending: Ending, out: &mut [f32]) {
    let columns = panels.scales().len();
    let rows = out.len() / columns;
    // Whole rows where possible, so that each is quantised once.
    let (row_block, column_block) = super::fast::block_size(rows, columns, columns);
    let tiles = threads::tiles(out, columns, rows, row_block, column_block);
    let work = |out: TileMut| run(path, x, panels, bias, ending, out);
    if rows * columns * panels.depth() < 1 << 18 {
        tiles.into_iter().for_each(work);
    } else {
        threads::for_each(tiles, work);
    }
}

fn run(path: Path, x: &[f32], panels: &Int8Panels, bias: &[f32], ending: Ending, mut out: TileMut) {
    let (dot, depth) = (Dot::of(path), panels.depth());
    let (rows, columns) = (out.rows.clone(), out.columns.clone());
    let row_bytes = padded_depth(depth) * dot.activation_bytes();
    let row_floats = row_bytes / size_of::<f32>();
    threads::with_scratch(rows.len() * (row_floats + 1) + TILE_ROWS * COLUMNS, |scratch| {
        let (activations, rest) = scratch.split_at_mut(rows.len() * row_floats);
        let (steps, sums) = rest.split_at_mut(rows.len());
        let activations: &mut [u8] = bytemuck::cast_slice_mut(activations);
        let sums: &mut [i32] = bytemuck::cast_slice_mut(sums);
        for (i, row) in rows.clone().enumerate() {
            let x = &x[row * depth..][..depth];
            steps[i] = quantise::quantise(path, dot, x, &mut activations[i * row_bytes..][..row_bytes]);
        }
        for first in columns.clone().step_by(COLUMNS) {
            let block = first..columns.end.min(first + COLUMNS);
            let (surplus, scales) = (&panels.surplus()[block.clone()], &panels.scales()[block.clone()]);
            for from in (0..rows.len()).step_by(TILE_ROWS) {
                let count = TILE_ROWS.min(rows.len() - from);
                let a = &activations[from * row_bytes..];
                for column in block.clone().step_by(PANEL) {
                    let size = (count, PANEL.min(block.end - column));
                    tile(
                        dot,
                        size,
                        a,
                        row_bytes,
                        panels.panel(column / PANEL),
                        &mut sums[column - first..],
                        COLUMNS,
                    );
                }
                for (i, sums) in sums.chunks_exact(COLUMNS).take(count).enumerate() {
                    let row = rows.start + from + i;
                    let out = &mut out.row(row)[first - columns.start..][..block.len()];
                    let sums = IntegerSums {
                        sums,
                        surplus,
                        steps: scales,
                        step: steps[from + i],
                    };
                    finish_integers(path, sums, &bias[block.clone()], ending.of_row(row, first), out);
                }
            }
        }
    });
}
