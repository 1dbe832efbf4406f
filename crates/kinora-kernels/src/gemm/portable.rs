//! The block in plain Rust: 4 x 8 accumulators fit the registers of SSE2 and NEON.

use std::array::from_fn;

use super::Block;
use crate::simd::{Baseline, Isa};

const ROWS: usize = 4;
const COLUMNS: usize = 8;

pub(super) fn block(mut block: Block) {
    for row in (0..block.rows).step_by(ROWS) {
        for column in (0..block.columns).step_by(COLUMNS) {
            let block = &mut block;
            match block.rows - row {
                1 => corner::<1>(block, row, column),
                2 => corner::<2>(block, row, column),
                3 => corner::<3>(block, row, column),
                _ => corner::<ROWS>(block, row, column),
            }
        }
    }
}

fn corner<const R: usize>(block: &mut Block, row: usize, column: usize) {
    let depth = block.depth;
    // Cut to one length, so that the loop needs no checks.
    let rows: [&[f32]; R] = from_fn(|r| &block.a[(row + r) * block.a_stride..][..depth]);
    let panel = &block.panel[..depth];
    let at = |r: usize| (row + r) * block.c_stride + column;
    let mut sums = [[0.0; COLUMNS]; R];
    if block.add {
        for (r, sums) in sums.iter_mut().enumerate() {
            sums.copy_from_slice(&block.c[at(r)..][..COLUMNS]);
        }
    }
    let which = column / COLUMNS;
    for k in 0..depth {
        let b = panel[k].as_chunks::<COLUMNS>().0[which];
        for (sums, row) in sums.iter_mut().zip(rows) {
            let a = row[k];
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum = Baseline::fma(a, b, *sum);
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        block.c[at(r)..][..COLUMNS].copy_from_slice(sums);
    }
}
