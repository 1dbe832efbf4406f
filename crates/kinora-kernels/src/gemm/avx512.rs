//! The block for AVX-512: 12 x 32, twenty-four of thirty-two registers for sums.

use std::arch::x86_64::*;

use super::{Block, PANEL};

const VECTOR: usize = 16;

/// # Safety
/// The pointers of `block` must be valid for its extents; the processor must have AVX-512F.
pub(super) unsafe fn block(block: &Block) {
    macro_rules! by_rows {
        ($vectors:literal: $($rows:literal)*) => {
            match block.rows {
                // SAFETY: the match gives exactly the rows of the block, the vectors cover its columns.
                $($rows => unsafe { corner::<$rows, $vectors>(block) },)*
                _ => unreachable!("tile checks the rows"),
            }
        };
    }
    if block.columns > VECTOR {
        by_rows!(2: 1 2 3 4 5 6 7 8 9 10 11 12);
    } else {
        by_rows!(1: 1 2 3 4 5 6 7 8 9 10 11 12);
    }
}

/// # Safety
/// As [`block`]; the block must have R rows and V vectors of columns.
#[target_feature(enable = "avx512f")]
unsafe fn corner<const R: usize, const V: usize>(block: &Block) {
    // SAFETY: the caller vouches for the extents; loads and stores are unaligned ones.
    unsafe {
        let mut sums = [[_mm512_setzero_ps(); V]; R];
        let stride = block.a_stride;
        let mut a = block.a;
        let mut panel = block.panel;
        if block.add {
            for (r, sums) in sums.iter_mut().enumerate() {
                for (v, sum) in sums.iter_mut().enumerate() {
                    *sum = _mm512_loadu_ps(block.c.add(r * block.c_stride + v * VECTOR));
                }
            }
        }
        for _ in 0..block.depth {
            let mut b = [_mm512_setzero_ps(); V];
            for (v, b) in b.iter_mut().enumerate() {
                *b = _mm512_loadu_ps(panel.add(v * VECTOR));
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let a = _mm512_set1_ps(*a.add(r * stride));
                for (sum, b) in sums.iter_mut().zip(b) {
                    *sum = _mm512_fmadd_ps(a, b, *sum);
                }
            }
            a = a.add(1);
            panel = panel.add(PANEL);
        }
        for (r, sums) in sums.iter().enumerate() {
            for (v, sum) in sums.iter().enumerate() {
                _mm512_storeu_ps(block.c.add(r * block.c_stride + v * VECTOR), *sum);
            }
        }
    }
}
