//! The integer block for AVX2: 6 x 8 on 16-bit values. `vpmaddubsw` would sum pairs of byte products in 16 bits and
//! saturate; widened, `vpmaddwd` sums them exactly in 32 bits.

use std::arch::x86_64::*;
use std::array::from_fn;

use super::{Block, GROUP};

const ROWS: usize = 6;
const COLUMNS: usize = 8;
/// Columns whose groups fill half a register of bytes.
const HALF: usize = 4;

/// # Safety
/// The processor must have AVX2.
pub(super) unsafe fn block(mut block: Block) {
    for column in (0..block.columns).step_by(COLUMNS) {
        for row in (0..block.rows).step_by(ROWS) {
            let block = &mut block;
            // SAFETY: the caller vouches for the processor.
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

#[target_feature(enable = "avx2")]
fn corner<const R: usize>(block: &mut Block, row: usize, column: usize) {
    let groups = block.panel.len();
    // Two bytes a value: a group fills eight.
    let rows: [&[[u8; 2 * GROUP]]; R] = from_fn(|r| &block.a[(row + r) * block.a_stride..].as_chunks().0[..groups]);
    // Each register holds two partial sums (of k0, k1 and of k2, k3) for four columns.
    let mut sums = [[_mm256_setzero_si256(); 2]; R];
    for k in 0..groups {
        let (b, _) = block.panel[k].as_chunks::<COLUMNS>().0[column / COLUMNS].as_chunks::<HALF>();
        let b = [widen(&b[0]), widen(&b[1])];
        for (sums, row) in sums.iter_mut().zip(rows) {
            let a = _mm256_set1_epi64x(i64::from_ne_bytes(row[k]));
            for half in 0..2 {
                sums[half] = _mm256_add_epi32(sums[half], _mm256_madd_epi16(a, b[half]));
            }
        }
    }
    for (r, sums) in sums.into_iter().enumerate() {
        // Pairs of [c0 c0 c1 c1 | c2 c2 c3 c3] and [c4 ..] add up to [c0 c1 c4 c5 | c2 c3 c6 c7].
        let pairs = _mm256_hadd_epi32(sums[0], sums[1]);
        let ordered = store(_mm256_permute4x64_epi64::<0b11_01_10_00>(pairs));
        block.c[(row + r) * block.c_stride + column..][..COLUMNS].copy_from_slice(&ordered);
    }
}

#[target_feature(enable = "avx2")]
#[inline]
fn widen(bytes: &[[i8; GROUP]; HALF]) -> __m256i {
    // SAFETY: same size, every bit pattern is valid.
    _mm256_cvtepi8_epi16(unsafe { std::mem::transmute::<[[i8; GROUP]; HALF], __m128i>(*bytes) })
}

#[target_feature(enable = "avx2")]
#[inline]
fn store(vector: __m256i) -> [i32; COLUMNS] {
    // SAFETY: same size, every bit pattern is valid.
    unsafe { std::mem::transmute(vector) }
}
