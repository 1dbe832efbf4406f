//! The blocks for AVX-512: 12 x 32, twenty-four of thirty-two registers for sums.

use std::arch::x86_64::*;

use super::{Block, PANEL};

const VECTOR: usize = 16;

/// One function for each number of rows, with a variable of its own for each row and its sums: in an array, the compiler
/// would not always keep them in registers nor see that all rows are equally long.
macro_rules! corner {
    ($features:tt $dot:ident $name:ident: $(($row:ident $sums:ident $index:literal))*) => {
        /// V vectors of columns.
        #[target_feature(enable = $features)]
        fn $name<const V: usize>(block: Block) {
            let depth = block.depth;
            let panel = &block.panel[..depth];
            $(let $row = &block.a[$index * block.a_stride..][..depth];)*
            $(let mut $sums = start::<V>(&block, $index);)*
            for k in 0..depth {
                let b = first::<V>(panel[k].as_chunks().0);
                $(
                    let a = _mm512_set1_epi32($row[k] as i32);
                    for v in 0..V {
                        $sums[v] = $dot($sums[v], a, b[v]);
                    }
                )*
            }
            $(finish(&mut block.c[$index * block.c_stride..], $sums);)*
        }
    };
}

macro_rules! corners {
    ($features:tt $dot:ident [$($rows:tt)*]) => {};
    ($features:tt $dot:ident [$($rows:tt)*] ($name:ident $row:ident $sums:ident $index:literal) $($rest:tt)*) => {
        corner!($features $dot $name: $($rows)* ($row $sums $index));
        corners!($features $dot [$($rows)* ($row $sums $index)] $($rest)*);
    };
}

/// A module with the block whose words are multiplied by `dot`.
macro_rules! engine {
    ($(#[$doc:meta])* $name:ident, $features:tt, $dot:ident) => {
        $(#[$doc])*
        pub(super) mod $name {
            use super::*;

            /// # Safety
            /// The processor must have the features that `dot` is compiled for.
            pub(in super::super) unsafe fn block(block: Block) {
                macro_rules! by_rows {
                    ($vectors:literal: $r1:ident $r2:ident $r3:ident $r4:ident $r5:ident $r6:ident
                     $r7:ident $r8:ident $r9:ident $r10:ident $r11:ident $r12:ident) => {
                        match block.rows {
                            1 => $r1::<$vectors>(block),
                            2 => $r2::<$vectors>(block),
                            3 => $r3::<$vectors>(block),
                            4 => $r4::<$vectors>(block),
                            5 => $r5::<$vectors>(block),
                            6 => $r6::<$vectors>(block),
                            7 => $r7::<$vectors>(block),
                            8 => $r8::<$vectors>(block),
                            9 => $r9::<$vectors>(block),
                            10 => $r10::<$vectors>(block),
                            11 => $r11::<$vectors>(block),
                            _ => $r12::<$vectors>(block),
                        }
                    };
                }
                // SAFETY: the caller vouches for the processor.
                unsafe {
                    if block.columns > VECTOR {
                        by_rows!(2: r1 r2 r3 r4 r5 r6 r7 r8 r9 r10 r11 r12)
                    } else {
                        by_rows!(1: r1 r2 r3 r4 r5 r6 r7 r8 r9 r10 r11 r12)
                    }
                }
            }

            corners!($features $dot []
                (r1 a0 s0 0) (r2 a1 s1 1) (r3 a2 s2 2) (r4 a3 s3 3) (r5 a4 s4 4) (r6 a5 s5 5)
                (r7 a6 s6 6) (r8 a7 s7 7) (r9 a8 s8 8) (r10 a9 s9 9) (r11 a10 s10 10) (r12 a11 s11 11));
        }
    };
}

engine!(fp32, "avx512f", dot_f32);
engine!(bf16, "avx512f,avx512bf16", dot_bf16);
engine!(
    /// Without bf16 instructions: each half is an f32 whose lower half is zero.
    bf16_widened, "avx512f", dot_bf16_widened
);
engine!(int8, "avx512f,avx512vnni", dot_int8);
engine!(
    /// Without VNNI: byte products would saturate, so even and odd bytes are multiplied as 16-bit values.
    int8_widened, "avx512f,avx512bw", dot_int8_widened
);

#[target_feature(enable = "avx512f")]
#[inline]
fn dot_f32(sums: __m512i, a: __m512i, b: __m512i) -> __m512i {
    _mm512_castps_si512(_mm512_fmadd_ps(
        _mm512_castsi512_ps(a),
        _mm512_castsi512_ps(b),
        _mm512_castsi512_ps(sums),
    ))
}

#[target_feature(enable = "avx512f,avx512bf16")]
#[inline]
fn dot_bf16(sums: __m512i, a: __m512i, b: __m512i) -> __m512i {
    // SAFETY: same size, every bit pattern is valid.
    let pairs = |v: __m512i| unsafe { std::mem::transmute::<__m512i, __m512bh>(v) };
    _mm512_castps_si512(_mm512_dpbf16_ps(_mm512_castsi512_ps(sums), pairs(a), pairs(b)))
}

#[target_feature(enable = "avx512f")]
#[inline]
fn dot_bf16_widened(sums: __m512i, a: __m512i, b: __m512i) -> __m512i {
    let high = _mm512_set1_epi32(0xffff_0000_u32 as i32);
    let sums = dot_f32(sums, _mm512_slli_epi32::<16>(a), _mm512_slli_epi32::<16>(b));
    dot_f32(sums, _mm512_and_si512(a, high), _mm512_and_si512(b, high))
}

#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn dot_int16(sums: __m512i, a: __m512i, b: __m512i) -> __m512i {
    _mm512_add_epi32(sums, _mm512_madd_epi16(a, b))
}

#[target_feature(enable = "avx512f,avx512vnni")]
#[inline]
fn dot_int8(sums: __m512i, a: __m512i, b: __m512i) -> __m512i {
    _mm512_dpbusd_epi32(sums, a, b)
}

#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn dot_int8_widened(sums: __m512i, a: __m512i, b: __m512i) -> __m512i {
    let (even, odd) = (_mm512_and_si512(a, _mm512_set1_epi16(0xff)), _mm512_srli_epi16::<8>(a));
    let sums = dot_int16(sums, even, _mm512_srai_epi16::<8>(_mm512_slli_epi16::<8>(b)));
    dot_int16(sums, odd, _mm512_srai_epi16::<8>(b))
}

#[target_feature(enable = "avx512f")]
#[inline]
fn start<const V: usize>(block: &Block, row: usize) -> [__m512i; V] {
    if block.add {
        first(block.c[row * block.c_stride..].as_chunks().0)
    } else {
        [_mm512_setzero_si512(); V]
    }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn first<const V: usize>(words: &[[u32; VECTOR]]) -> [__m512i; V] {
    let mut vectors = [_mm512_setzero_si512(); V];
    for v in 0..V {
        vectors[v] = load(&words[v]);
    }
    vectors
}

#[target_feature(enable = "avx512f")]
#[inline]
fn finish<const V: usize>(c: &mut [u32], sums: [__m512i; V]) {
    for (c, sum) in c.as_chunks_mut().0.iter_mut().zip(sums) {
        *c = store(sum);
    }
}

// A cast of values and not a load through a pointer: that one is slowed down by checks in builds with assertions.
#[target_feature(enable = "avx512f")]
#[inline]
fn load(words: &[u32; VECTOR]) -> __m512i {
    // SAFETY: same size, every bit pattern is valid.
    unsafe { std::mem::transmute(*words) }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn store(vector: __m512i) -> [u32; VECTOR] {
    // SAFETY: same size, every bit pattern is valid.
    unsafe { std::mem::transmute(vector) }
}

const _: () = assert!(PANEL == 2 * VECTOR);
