//! The integer block for AVX-512 VNNI: 12 x 32, like the f32 one.

use std::arch::x86_64::*;

use super::{Block, GROUP};
use crate::gemm::PANEL;

const VECTOR: usize = 16;

/// # Safety
/// The pointers of `block` must be valid for its extents; the processor must have AVX-512F and AVX-512 VNNI.
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
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn corner<const R: usize, const V: usize>(block: &Block) {
    // SAFETY: the caller vouches for the extents; loads and stores are unaligned ones.
    unsafe {
        let mut sums = [[_mm512_setzero_si512(); V]; R];
        let stride = block.a_stride;
        let mut a = block.a;
        let mut panel = block.panel;
        for _ in 0..block.groups {
            let mut b = [_mm512_setzero_si512(); V];
            for (v, b) in b.iter_mut().enumerate() {
                *b = _mm512_loadu_si512(panel.add(v * VECTOR * GROUP).cast());
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let a = _mm512_set1_epi32(a.add(r * stride).cast::<i32>().read_unaligned());
                for (sum, b) in sums.iter_mut().zip(b) {
                    *sum = _mm512_dpbusd_epi32(*sum, a, b);
                }
            }
            a = a.add(GROUP);
            panel = panel.add(PANEL * GROUP);
        }
        for (r, sums) in sums.iter().enumerate() {
            for (v, sum) in sums.iter().enumerate() {
                _mm512_storeu_si512(block.c.add(r * block.c_stride + v * VECTOR).cast(), *sum);
            }
        }
    }
}
