//! The 16-bit block for AVX2: 6 x 16, like the f32 one.

use std::arch::x86_64::*;

use super::{Block, PAIR, PanelRow};
use crate::gemm::PANEL;

const ROWS: usize = 6;
const COLUMNS: usize = 16;
const VECTOR: usize = 8;

/// Half of a panel row.
type Half = [[i16; PAIR]; COLUMNS];

/// # Safety
/// The processor must have AVX2.
pub(super) unsafe fn block(mut block: Block) {
    for column in (0..block.columns).step_by(COLUMNS) {
        for row in (0..block.rows).step_by(ROWS) {
            let block = &mut block;
            // SAFETY: the caller vouches for the processor.
            unsafe {
                match block.rows - row {
                    1 => r1(block, row, column),
                    2 => r2(block, row, column),
                    3 => r3(block, row, column),
                    4 => r4(block, row, column),
                    5 => r5(block, row, column),
                    _ => r6(block, row, column),
                }
            }
        }
    }
}

/// As for AVX-512: a variable of its own for each row and its sums.
macro_rules! corner {
    ($name:ident: $(($row:ident $sums:ident $index:literal))*) => {
        #[target_feature(enable = "avx2")]
        fn $name(block: &mut Block, row: usize, column: usize) {
            let panel = block.panel;
            let pairs = panel.len();
            let right = column > 0;
            $(let $row: &[[i16; PAIR]] = &block.a[(row + $index) * block.a_stride..].as_chunks().0[..pairs];)*
            $(let mut $sums = [_mm256_setzero_si256(); 2];)*
            for k in 0..pairs {
                let (left_half, right_half) = halves(&panel[k]);
                let [b0, b1] = vectors(if right { right_half } else { left_half });
                $(
                    let a = _mm256_set1_epi32(both($row[k]));
                    $sums = [
                        _mm256_add_epi32($sums[0], _mm256_madd_epi16(a, b0)),
                        _mm256_add_epi32($sums[1], _mm256_madd_epi16(a, b1)),
                    ];
                )*
            }
            $(finish(&mut block.c[(row + $index) * block.c_stride + column..], $sums);)*
        }
    };
}

macro_rules! corners {
    ([$($rows:tt)*]) => {};
    ([$($rows:tt)*] ($name:ident $row:ident $sums:ident $index:literal) $($rest:tt)*) => {
        corner!($name: $($rows)* ($row $sums $index));
        corners!([$($rows)* ($row $sums $index)] $($rest)*);
    };
}

corners!([] (r1 a0 s0 0) (r2 a1 s1 1) (r3 a2 s2 2) (r4 a3 s3 3) (r5 a4 s4 4) (r6 a5 s5 5));

/// The two halves of a panel row.
#[inline(always)]
fn halves(row: &PanelRow) -> (&Half, &Half) {
    const { assert!(PANEL == 2 * COLUMNS) };
    let (halves, _) = row.as_chunks::<COLUMNS>();
    (&halves[0], &halves[1])
}

/// The two values of a pair in the halves of an integer, the first in the lower one.
#[inline(always)]
fn both([low, high]: [i16; PAIR]) -> i32 {
    i32::from(low as u16) | i32::from(high) << 16
}

#[target_feature(enable = "avx2")]
#[inline]
fn vectors(row: &Half) -> [__m256i; 2] {
    let (b, _) = row.as_chunks();
    [load(&b[0]), load(&b[1])]
}

#[target_feature(enable = "avx2")]
#[inline]
fn finish(c: &mut [i32], sums: [__m256i; 2]) {
    let (c, _) = c.as_chunks_mut();
    [c[0], c[1]] = [store(sums[0]), store(sums[1])];
}

// A cast of values and not a load through a pointer: that one is slowed down by checks in builds with assertions.
#[target_feature(enable = "avx2")]
#[inline]
fn load(values: &[[i16; PAIR]; VECTOR]) -> __m256i {
    // SAFETY: same size, every bit pattern is valid.
    unsafe { std::mem::transmute(*values) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn store(vector: __m256i) -> [i32; VECTOR] {
    // SAFETY: same size, every bit pattern is valid.
    unsafe { std::mem::transmute(vector) }
}
