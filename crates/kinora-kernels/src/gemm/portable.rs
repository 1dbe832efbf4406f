//! The block in plain Rust: 4 x 8 accumulators fit the registers of SSE2 and NEON.

use super::{Block, PANEL};
use crate::simd::{Baseline, Isa};

const ROWS: usize = 4;
const COLUMNS: usize = 8;

/// # Safety
/// The pointers of `block` must be valid for its extents.
pub(super) unsafe fn block(block: &Block) {
    for row in (0..block.rows).step_by(ROWS) {
        for column in (0..block.columns).step_by(COLUMNS) {
            // SAFETY: rows and columns stay below those of the block (columns rounded up within the panel).
            unsafe {
                match block.rows - row {
                    1 => corner::<1>(block, row, column),
                    2 => corner::<2>(block, row, column),
                    3 => corner::<3>(block, row, column),
                    _ => corner::<ROWS>(block, row, column),
                }
            }
        }
    }
}

/// # Safety
/// As [`block`]; `row + R` rows and `column + COLUMNS` columns must exist.
unsafe fn corner<const R: usize>(block: &Block, row: usize, column: usize) {
    let mut sums = [[0.0; COLUMNS]; R];
    // SAFETY: the caller vouches for the extents; `c` does not overlap `a` or the panel (it is a `&mut` in `tile`).
    unsafe {
        let a = block.a.add(row * block.a_stride);
        let c = block.c.add(row * block.c_stride + column);
        if block.add {
            for (r, sums) in sums.iter_mut().enumerate() {
                *sums = c.add(r * block.c_stride).cast::<[f32; COLUMNS]>().read();
            }
        }
        for k in 0..block.depth {
            let panel = block.panel.add(k * PANEL + column).cast::<[f32; COLUMNS]>().read();
            for (r, sums) in sums.iter_mut().enumerate() {
                let a = *a.add(r * block.a_stride + k);
                for (sum, b) in sums.iter_mut().zip(panel) {
                    *sum = Baseline::fma(a, b, *sum);
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            c.add(r * block.c_stride).cast::<[f32; COLUMNS]>().write(*sums);
        }
    }
}
