//! The blocked f32 product of the fast paths.

use crate::Path;
use crate::ending::{Ending, finish};
use crate::gemm::{PANEL, Panels, Segment, Sums, TILE_ROWS, tile};
use crate::threads::{self, TileMut};

/// K is cut here, so that a tile's rows of x stay in the first-level cache and a block's panels in the second.
const DEPTH: usize = 512;
/// Rows of a work item where there are enough of them.
const ROWS: usize = 8 * TILE_ROWS;
/// Columns of a work item where there are enough of them: 512 KiB of panels at full depth.
const COLUMNS: usize = 8 * PANEL;

/// The ending of `x` `[T,K]` times the panels, into `out` `[T,N]`.
pub(super) fn linear(path: Path, x: &[f32], panels: &Panels, bias: &[f32], ending: Ending, out: &mut [f32]) {
    let columns = panels.columns();
    let rows = out.len().checked_div(columns).unwrap_or(0);
    let (row_block, column_block) = block_size(rows, columns, COLUMNS);
    let tiles = threads::tiles(out, columns, rows, row_block, column_block);
    let work = |out: TileMut| run(path, x, panels, bias, ending, out);
    if rows * columns * panels.depth() < 1 << 16 {
        tiles.into_iter().for_each(work);
    } else {
        threads::for_each(tiles, work);
    }
}

/// Blocks of (rows, at most `most` columns), smaller where there would not be four for each thread.
pub(super) fn block_size(rows: usize, columns: usize, most: usize) -> (usize, usize) {
    let enough = 4 * threads::threads();
    let (mut row_block, mut column_block) = (ROWS, most.next_multiple_of(PANEL));
    while rows.div_ceil(row_block) * columns.div_ceil(column_block) < enough {
        if row_block > 2 * TILE_ROWS && rows > row_block / 2 {
            row_block /= 2;
        } else if column_block > PANEL {
            column_block = (column_block / 2).next_multiple_of(PANEL);
        } else {
            break;
        }
    }
    (row_block, column_block)
}

fn run(path: Path, x: &[f32], panels: &Panels, bias: &[f32], ending: Ending, mut out: TileMut) {
    let (depth, rows, columns) = (panels.depth(), out.rows.clone(), out.columns.clone());
    let stride = columns.len().next_multiple_of(PANEL);
    let bias = &bias[columns.clone()];
    threads::with_scratch(rows.len() * stride, |sums| {
        for from in (0..depth.max(1)).step_by(DEPTH) {
            let len = DEPTH.min(depth - from);
            for first in rows.clone().step_by(TILE_ROWS) {
                let count = TILE_ROWS.min(rows.end - first);
                let sums = &mut sums[(first - rows.start) * stride..][..count * stride];
                let segment = [Segment {
                    values: x.get(first * depth + from..).unwrap_or(&[]),
                    len,
                }];
                for column in columns.clone().step_by(PANEL) {
                    let sums = Sums {
                        values: &mut sums[column - columns.start..],
                        stride,
                        add: from > 0,
                    };
                    let panel = &panels.panel(column / PANEL, from)[..len * PANEL];
                    tile(
                        path,
                        count,
                        PANEL.min(columns.end - column),
                        &segment,
                        depth,
                        panel,
                        sums,
                    );
                }
                if from + len == depth {
                    for (i, sums) in sums.chunks_exact(stride).enumerate() {
                        let ending = ending.of_row(first + i, columns.start);
                        finish(path, sums, bias, ending, out.row(first + i));
                    }
                }
            }
        }
    });
}
