//! The integer block for AVX-512 VNNI: 12 x 32, like the f32 one.

use std::arch::x86_64::*;

use super::{Block, GROUP};
use crate::gemm::PANEL;

const VECTOR: usize = 16;

/// # Safety
/// The processor must have AVX-512F and AVX-512 VNNI.
pub(super) unsafe fn block(block: Block) {
    macro_rules! by_rows {
        ($vectors:literal: $($rows:literal $name:ident)*) => {
            match block.rows {
                // SAFETY: the caller vouches for the processor.
                $($rows => unsafe { $name::<$vectors>(block) },)*
                _ => unreachable!("tile checks the rows"),
            }
        };
    }
    if block.columns > VECTOR {
        by_rows!(2: 1 r1 2 r2 3 r3 4 r4 5 r5 6 r6 7 r7 8 r8 9 r9 10 r10 11 r11 12 r12);
    } else {
        by_rows!(1: 1 r1 2 r2 3 r3 4 r4 5 r5 6 r6 7 r7 8 r8 9 r9 10 r10 11 r11 12 r12);
    }
}

/// One function for each number of rows, with a variable of its own for each row and its sums: in an array, the compiler
/// would not always keep them in registers nor see that all rows are equally long.
macro_rules! corner {
    ($name:ident: $(($row:ident $sums:ident $index:literal))*) => {
        /// V vectors of columns.
        #[target_feature(enable = "avx512f,avx512vnni")]
        fn $name<const V: usize>(block: Block) {
            let panel = block.panel;
            let groups = panel.len();
            $(let $row: &[[u8; GROUP]] = &block.a[$index * block.a_stride..].as_chunks().0[..groups];)*
            $(let mut $sums = [_mm512_setzero_si512(); V];)*
            for k in 0..groups {
                let b = vectors::<V>(&panel[k]);
                $(
                    let a = _mm512_set1_epi32(i32::from_ne_bytes($row[k]));
                    for v in 0..V {
                        $sums[v] = _mm512_dpbusd_epi32($sums[v], a, b[v]);
                    }
                )*
            }
            $(finish(&mut block.c[$index * block.c_stride..], $sums);)*
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

corners!([]
    (r1 a0 s0 0) (r2 a1 s1 1) (r3 a2 s2 2) (r4 a3 s3 3) (r5 a4 s4 4) (r6 a5 s5 5)
    (r7 a6 s6 6) (r8 a7 s7 7) (r9 a8 s8 8) (r10 a9 s9 9) (r11 a10 s10 10) (r12 a11 s11 11));

#[target_feature(enable = "avx512f")]
#[inline]
fn vectors<const V: usize>(row: &[[i8; GROUP]; PANEL]) -> [__m512i; V] {
    let mut vectors = [_mm512_setzero_si512(); V];
    let (values, _) = row.as_chunks();
    for v in 0..V {
        vectors[v] = load(&values[v]);
    }
    vectors
}

#[target_feature(enable = "avx512f")]
#[inline]
fn finish<const V: usize>(c: &mut [i32], sums: [__m512i; V]) {
    for (c, sum) in c.as_chunks_mut().0.iter_mut().zip(sums) {
        *c = store(sum);
    }
}

// A cast of values and not a load through a pointer: that one is slowed down by checks in builds with assertions.
#[target_feature(enable = "avx512f")]
#[inline]
fn load(values: &[[i8; GROUP]; VECTOR]) -> __m512i {
    // SAFETY: same size, every bit pattern is valid.
    unsafe { std::mem::transmute(*values) }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn store(vector: __m512i) -> [i32; VECTOR] {
    // SAFETY: same size, every bit pattern is valid.
    unsafe { std::mem::transmute(vector) }
}
