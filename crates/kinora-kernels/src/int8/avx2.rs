//! The integer block for AVX2: 6 x 8 on 16-bit values. `vpmaddubsw` would sum pairs of byte products in 16 bits and
//! saturate; widened, `vpmaddwd` sums them exactly in 32 bits.

use std::arch::x86_64::*;

use super::{Block, GROUP};
use crate::gemm::PANEL;

const ROWS: usize = 6;
const COLUMNS: usize = 8;

/// # Safety
/// The pointers of `block` must be valid for its extents, `a` with two bytes a value; the processor must have AVX2.
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
#[target_feature(enable = "avx2")]
unsafe fn corner<const R: usize>(block: &Block, row: usize, column: usize) {
    // SAFETY: the caller vouches for the extents; loads and stores are unaligned ones.
    unsafe {
        // Each register holds two partial sums (of k0, k1 and of k2, k3) for four columns.
        let mut sums = [[_mm256_setzero_si256(); 2]; R];
        let stride = block.a_stride;
        let mut a = block.a.add(row * stride);
        let mut panel = block.panel.add(column * GROUP);
        for _ in 0..block.groups {
            let b = [0, 16].map(|at| _mm256_cvtepi8_epi16(_mm_loadu_si128(panel.add(at).cast())));
            for (r, sums) in sums.iter_mut().enumerate() {
                let a = _mm256_set1_epi64x(a.add(r * stride).cast::<i64>().read_unaligned());
                for (sum, b) in sums.iter_mut().zip(b) {
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(a, b));
                }
            }
            a = a.add(2 * GROUP);
            panel = panel.add(PANEL * GROUP);
        }
        for (r, sums) in sums.iter().enumerate() {
            // Pairs of [c0 c0 c1 c1 | c2 c2 c3 c3] and [c4 ..] add up to [c0 c1 c4 c5 | c2 c3 c6 c7].
            let pairs = _mm256_hadd_epi32(sums[0], sums[1]);
            let ordered = _mm256_permute4x64_epi64::<0b11_01_10_00>(pairs);
            let c = block.c.add((row + r) * block.c_stride + column);
            _mm256_storeu_si256(c.cast(), ordered);
        }
    }
}
