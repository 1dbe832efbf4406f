//! The blocks for AVX2: 6 x 16, twelve of sixteen registers for sums.

use std::arch::x86_64::*;

use super::{Block, PANEL};

const ROWS: usize = 6;
const COLUMNS: usize = 16;
const VECTOR: usize = 8;

/// As for AVX-512: a variable of its own for each row and its sums.
macro_rules! corner {
    ($features:tt $dot:ident $name:ident: $(($row:ident $sums:ident $index:literal))*) => {
        #[target_feature(enable = $features)]
        fn $name(block: &mut Block, row: usize, column: usize) {
            let depth = block.depth;
            let panel = &block.panel[..depth];
            let right = column > 0;
            $(let $row = &block.a[(row + $index) * block.a_stride..][..depth];)*
            $(let mut $sums = start(block, row + $index, column);)*
            for k in 0..depth {
                let (left_half, right_half) = halves(&panel[k]);
                let [b0, b1] = vectors(if right { right_half } else { left_half });
                $(
                    let a = _mm256_set1_epi32($row[k] as i32);
                    $sums = [$dot($sums[0], a, b0), $dot($sums[1], a, b1)];
                )*
            }
            $(finish(&mut block.c[(row + $index) * block.c_stride + column..], $sums);)*
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
            pub(in super::super) unsafe fn block(mut block: Block) {
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

            corners!($features $dot [] (r1 a0 s0 0) (r2 a1 s1 1) (r3 a2 s2 2) (r4 a3 s3 3) (r5 a4 s4 4) (r6 a5 s5 5));
        }
    };
}

engine!(fp32, "avx2,fma", dot_f32);
engine!(
    /// Each half is an f32 whose lower half is zero.
    bf16_widened, "avx2,fma", dot_bf16_widened
);
engine!(
    /// `vpmaddubsw` would sum pairs of byte products in 16 bits and saturate; as 16-bit values, even and odd bytes apart,
    /// `vpmaddwd` sums them exactly.
    int8_widened, "avx2", dot_int8_widened
);
engine!(
    /// AVX-VNNI: thirty-two products an instruction.
    int8_vnni, "avx2,avxvnni", dot_int8_vnni
);

#[target_feature(enable = "avx2,fma")]
#[inline]
fn dot_f32(sums: __m256i, a: __m256i, b: __m256i) -> __m256i {
    _mm256_castps_si256(_mm256_fmadd_ps(
        _mm256_castsi256_ps(a),
        _mm256_castsi256_ps(b),
        _mm256_castsi256_ps(sums),
    ))
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn dot_bf16_widened(sums: __m256i, a: __m256i, b: __m256i) -> __m256i {
    let high = _mm256_set1_epi32(0xffff_0000_u32 as i32);
    let sums = dot_f32(sums, _mm256_slli_epi32::<16>(a), _mm256_slli_epi32::<16>(b));
    dot_f32(sums, _mm256_and_si256(a, high), _mm256_and_si256(b, high))
}

#[target_feature(enable = "avx2")]
#[inline]
fn dot_int16(sums: __m256i, a: __m256i, b: __m256i) -> __m256i {
    _mm256_add_epi32(sums, _mm256_madd_epi16(a, b))
}

#[target_feature(enable = "avx2")]
#[inline]
fn dot_int8_widened(sums: __m256i, a: __m256i, b: __m256i) -> __m256i {
    let (even, odd) = (_mm256_and_si256(a, _mm256_set1_epi16(0xff)), _mm256_srli_epi16::<8>(a));
    let sums = dot_int16(sums, even, _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(b)));
    dot_int16(sums, odd, _mm256_srai_epi16::<8>(b))
}

#[target_feature(enable = "avx2,avxvnni")]
#[inline]
fn dot_int8_vnni(sums: __m256i, a: __m256i, b: __m256i) -> __m256i {
    _mm256_dpbusd_avx_epi32(sums, a, b)
}

/// The two halves of a panel row.
#[inline(always)]
fn halves(row: &[u32; PANEL]) -> (&[u32; COLUMNS], &[u32; COLUMNS]) {
    const { assert!(PANEL == 2 * COLUMNS) };
    let (halves, _) = row.as_chunks::<COLUMNS>();
    (&halves[0], &halves[1])
}

#[target_feature(enable = "avx2")]
#[inline]
fn start(block: &Block, row: usize, column: usize) -> [__m256i; 2] {
    if !block.add {
        return [_mm256_setzero_si256(); 2];
    }
    let (c, _) = block.c[row * block.c_stride + column..].as_chunks();
    [load(&c[0]), load(&c[1])]
}

#[target_feature(enable = "avx2")]
#[inline]
fn vectors(row: &[u32; COLUMNS]) -> [__m256i; 2] {
    let (b, _) = row.as_chunks();
    [load(&b[0]), load(&b[1])]
}

#[target_feature(enable = "avx2")]
#[inline]
fn finish(c: &mut [u32], sums: [__m256i; 2]) {
    let (c, _) = c.as_chunks_mut();
    [c[0], c[1]] = [store(sums[0]), store(sums[1])];
}

// A cast of values and not a load through a pointer: that one is slowed down by checks in builds with assertions.
#[target_feature(enable = "avx2")]
#[inline]
fn load(words: &[u32; VECTOR]) -> __m256i {
    // SAFETY: same size, every bit pattern is valid.
    unsafe { std::mem::transmute(*words) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn store(vector: __m256i) -> [u32; VECTOR] {
    // SAFETY: same size, every bit pattern is valid.
    unsafe { std::mem::transmute(vector) }
}
