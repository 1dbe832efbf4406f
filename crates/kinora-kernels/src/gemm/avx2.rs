//! The block for AVX2 with FMA: 6 x 16, twelve of sixteen registers for sums.

use std::arch::x86_64::*;

use super::{Block, PANEL};

const ROWS: usize = 6;
const COLUMNS: usize = 16;

/// # Safety
/// The pointers of `block` must be valid for its extents; the processor must have AVX2 and FMA.
pub(super) unsafe fn block(block: &Block) {
    for column in (0..block.columns).step_by(COLUMNS) {
        for row in (0..block.rows).step_by(ROWS) {
            // SAFETY: rows and columns stay below those of the block (columns rounded up within the panel).
            unsafe {
                match block.rows - row {
                    1 => corner::<1>(block, row, column),
                    2 => corner::<2>(block, row, column),
                    3 => corner::<3>(block, row, column),
                    4 => corner::<4>(block, row, column),
                    5 => corner::<5>(block, row, column),
                    _ => corner::<ROWS>(block, row, column),
                }
            }
        }
    }
}

/// # Safety
/// As [`block`]; `row + R` rows and `column + COLUMNS` columns must exist.
#[target_feature(enable = "avx2,fma")]
unsafe fn corner<const R: usize>(block: &Block, row: usize, column: usize) {
    // SAFETY: the caller vouches for the extents; loads and stores are unaligned ones.
    unsafe {
        let mut sums = [[_mm256_setzero_ps(); 2]; R];
        let stride = block.a_stride;
        let mut a = block.a.add(row * stride);
        let mut panel = block.panel.add(column);
        let c = block.c.add(row * block.c_stride + column);
        if block.add {
            for (r, sums) in sums.iter_mut().enumerate() {
                let c = c.add(r * block.c_stride);
                *sums = [_mm256_loadu_ps(c), _mm256_loadu_ps(c.add(8))];
            }
        }
        for _ in 0..block.depth {
            let b = [_mm256_loadu_ps(panel), _mm256_loadu_ps(panel.add(8))];
            for (r, sums) in sums.iter_mut().enumerate() {
                let a = _mm256_broadcast_ss(&*a.add(r * stride));
                *sums = [_mm256_fmadd_ps(a, b[0], sums[0]), _mm256_fmadd_ps(a, b[1], sums[1])];
            }
            a = a.add(1);
            panel = panel.add(PANEL);
        }
        for (r, sums) in sums.iter().enumerate() {
            let c = c.add(r * block.c_stride);
            _mm256_storeu_ps(c, sums[0]);
            _mm256_storeu_ps(c.add(8), sums[1]);
        }
    }
}
