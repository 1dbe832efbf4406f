//! The blocks for 64-bit Arm: 4 x 16, sixteen of thirty-two registers for sums.
//!
//! Instructions take one factor from a lane, so a few words of each row are loaded at once and never broadcast. What
//! the compiler has no stable function for (the dot products) is one line of assembly.

use std::arch::aarch64::*;
use std::arch::asm;

use super::{Block, PANEL};

const ROWS: usize = 4;
const COLUMNS: usize = 16;
/// Words of a vector.
const VECTOR: usize = 4;

type Vector = uint32x4_t;
/// Sixteen words.
type Row = [Vector; COLUMNS / VECTOR];
/// A 16-bit value of each of sixteen columns: the left half, the right one.
type Halves = [int16x8_t; 2];

/// As for AVX-512: a variable of its own for each row and its sums.
macro_rules! corner {
    ($features:tt ($left:ident $right:ident $dot:ident $words:tt) $name:ident:
     $(($row:ident $sums:ident $index:literal))*) => {
        #[target_feature(enable = $features)]
        fn $name(block: &mut Block, row: usize, column: usize, surplus: Row) {
            const WORDS: usize = $words.len();
            let depth = block.depth;
            let (panel, panel_rest) = block.panel[..depth].as_chunks::<WORDS>();
            let right = column > 0;
            $(let $row = block.a[(row + $index) * block.a_stride..][..depth].as_chunks::<WORDS>();)*
            $(let mut $sums = start(block, row + $index, column, surplus);)*
            for k in 0..panel.len() {
                let panel = &panel[k];
                $(let $row = $left(&$row.0[k]);)*
                words!($right $dot $words panel right $(($row $sums))*);
            }
            for k in 0..panel_rest.len() {
                let panel = &panel_rest[k..];
                $(let $row = $left(&alone($row.1[k]));)*
                words!($right $dot [0] panel right $(($row $sums))*);
            }
            $(finish(&mut block.c[(row + $index) * block.c_stride + column..], $sums);)*
        }
    };
}

/// Adds the products with some panel rows; the number of a word is that of its lane too, so it has to be a constant.
macro_rules! words {
    ($right:ident $dot:ident [] $panel:ident $half:ident $($rows:tt)*) => {};
    ($right:ident $dot:ident [$word:literal $(, $more:literal)*] $panel:ident $half:ident $(($row:ident $sums:ident))*) => {
        let b = $right(vectors(&$panel[$word], $half));
        $($sums = $dot::<$word>($sums, $row, b);)*
        words!($right $dot [$($more),*] $panel $half $(($row $sums))*);
    };
}

macro_rules! corners {
    ($features:tt $how:tt [$($rows:tt)*]) => {};
    ($features:tt $how:tt [$($rows:tt)*] ($name:ident $row:ident $sums:ident $index:literal) $($rest:tt)*) => {
        corner!($features $how $name: $($rows)* ($row $sums $index));
        corners!($features $how [$($rows)* ($row $sums $index)] $($rest)*);
    };
}

/// A module with the block that loads the numbered words of a row at once, makes of them what `left` says, of a panel
/// row what `right` says, and multiplies these by `dot`. `surplus` is what all sums of a column start with.
macro_rules! engine {
    ($(#[$doc:meta])* $name:ident, $features:tt, $left:ident, $right:ident, $dot:ident, $words:tt, $surplus:ident) => {
        $(#[$doc])*
        pub(super) mod $name {
            use super::*;

            /// # Safety
            /// The processor must have the features that `dot` is compiled for.
            pub(in super::super) unsafe fn block(mut block: Block) {
                for column in (0..block.columns).step_by(COLUMNS) {
                    // SAFETY: the caller vouches for the processor.
                    let surplus = unsafe { $surplus(&block, column) };
                    for row in (0..block.rows).step_by(ROWS) {
                        let block = &mut block;
                        // SAFETY: as above.
                        unsafe {
                            match block.rows - row {
                                1 => r1(block, row, column, surplus),
                                2 => r2(block, row, column, surplus),
                                3 => r3(block, row, column, surplus),
                                _ => r4(block, row, column, surplus),
                            }
                        }
                    }
                }
            }

            corners!($features ($left $right $dot $words) [] (r1 a0 s0 0) (r2 a1 s1 1) (r3 a2 s2 2) (r4 a3 s3 3));
        }
    };
}

engine!(fp32, "neon", load, as_they_are, dot_f32, [0, 1, 2, 3], no_surplus);
engine!(bf16, "neon,bf16", load, as_they_are, dot_bf16, [0, 1, 2, 3], no_surplus);
engine!(
    /// Without bf16 instructions: each half is an f32 whose lower half is zero.
    bf16_widened, "neon", widened_pairs, bf16_halves, dot_bf16_widened, [0, 1], no_surplus
);
engine!(
    int8_i8mm,
    "neon,i8mm",
    load,
    as_they_are,
    dot_int8_i8mm,
    [0, 1, 2, 3],
    no_surplus
);
engine!(
    /// Without products of unsigned and signed bytes: `u * b` is `(u - 128) * b`, which is a product of signed ones, and
    /// `128 * b`, the same for all rows.
    int8_dotprod, "neon,dotprod", less_128, as_they_are, dot_int8_dotprod, [0, 1, 2, 3], surplus_of_128
);
engine!(
    /// Without dot products: every byte as a 16-bit value.
    int8_widened, "neon", widened_bytes, int8_quarters, dot_int8_widened, [0, 1], no_surplus
);

#[target_feature(enable = "neon")]
#[inline]
fn as_they_are(b: Row) -> Row {
    b
}

#[target_feature(enable = "neon")]
#[inline]
fn dot_f32<const WORD: i32>(mut sums: Row, a: Vector, b: Row) -> Row {
    for v in 0..sums.len() {
        sums[v] = fma_f32::<WORD>(sums[v], a, b[v]);
    }
    sums
}

#[target_feature(enable = "neon")]
#[inline]
fn fma_f32<const LANE: i32>(sums: Vector, a: Vector, b: Vector) -> Vector {
    let [sums, a, b] = [sums, a, b].map(|v| vreinterpretq_f32_u32(v));
    vreinterpretq_u32_f32(vfmaq_laneq_f32::<LANE>(sums, b, a))
}

/// Adds the dot products with one lane, by the named instruction; `b` is its first factor.
macro_rules! dot_lane {
    ($name:ident, $features:tt, $instruction:literal) => {
        #[target_feature(enable = $features)]
        #[inline]
        fn $name<const WORD: i32>(mut sums: Row, a: Vector, b: Row) -> Row {
            for v in 0..sums.len() {
                // SAFETY: arithmetic on registers, and this function is compiled for the feature that it needs.
                unsafe {
                    asm!(
                        $instruction,
                        sums = inout(vreg) sums[v],
                        a = in(vreg) a,
                        b = in(vreg) b[v],
                        word = const WORD,
                        options(pure, nomem, nostack, preserves_flags),
                    );
                }
            }
            sums
        }
    };
}

dot_lane!(dot_bf16, "neon,bf16", "bfdot {sums:v}.4s, {b:v}.8h, {a:v}.2h[{word}]");
dot_lane!(
    dot_int8_i8mm,
    "neon,i8mm",
    "sudot {sums:v}.4s, {b:v}.16b, {a:v}.4b[{word}]"
);
dot_lane!(
    dot_int8_dotprod,
    "neon,dotprod",
    "sdot {sums:v}.4s, {b:v}.16b, {a:v}.4b[{word}]"
);

/// Four bf16 as f32.
#[target_feature(enable = "neon")]
#[inline]
fn widened_pairs(a: &[u32; 2]) -> Vector {
    vshll_n_u16::<16>(vreinterpret_u16_u32(half(a)))
}

/// The lower halves as f32, then the upper ones.
#[target_feature(enable = "neon")]
#[inline]
fn bf16_halves(b: Row) -> [Row; 2] {
    let high = vdupq_n_u32(0xffff_0000);
    let (mut low_halves, mut high_halves) = (b, b);
    for v in 0..b.len() {
        low_halves[v] = vshlq_n_u32::<16>(b[v]);
        high_halves[v] = vandq_u32(b[v], high);
    }
    [low_halves, high_halves]
}

#[target_feature(enable = "neon")]
#[inline]
fn dot_bf16_widened<const WORD: i32>(sums: Row, a: Vector, [low, high]: [Row; 2]) -> Row {
    match WORD {
        0 => dot_f32::<1>(dot_f32::<0>(sums, a, low), a, high),
        _ => dot_f32::<3>(dot_f32::<2>(sums, a, low), a, high),
    }
}

/// Adds the products of one 16-bit lane with one 16-bit value of each column.
#[target_feature(enable = "neon")]
#[inline]
fn fma_int16<const LANE: i32>(sums: Row, a: Vector, [left, right]: Halves) -> Row {
    let a = vreinterpretq_s16_u32(a);
    let [s0, s1, s2, s3] = sums.map(|v| vreinterpretq_s32_u32(v));
    [
        vmlal_laneq_s16::<LANE>(s0, vget_low_s16(left), a),
        vmlal_high_laneq_s16::<LANE>(s1, left, a),
        vmlal_laneq_s16::<LANE>(s2, vget_low_s16(right), a),
        vmlal_high_laneq_s16::<LANE>(s3, right, a),
    ]
    .map(|v| vreinterpretq_u32_s32(v))
}

/// q of q + 128.
#[target_feature(enable = "neon")]
#[inline]
fn less_128(a: &[u32; VECTOR]) -> Vector {
    veorq_u32(load(a), vdupq_n_u32(0x8080_8080))
}

/// 128 times the sum of each column.
#[target_feature(enable = "neon,dotprod")]
fn surplus_of_128(block: &Block, column: usize) -> Row {
    let mut sums = no_surplus(block, column);
    let minus_128 = vdupq_n_u32(0x8080_8080);
    for row in &block.panel[..block.depth] {
        sums = dot_int8_dotprod::<0>(sums, minus_128, vectors(row, column > 0));
    }
    sums.map(|v| vsubq_u32(vdupq_n_u32(0), v))
}

#[target_feature(enable = "neon")]
#[inline]
fn no_surplus(_: &Block, _: usize) -> Row {
    [vdupq_n_u32(0); COLUMNS / VECTOR]
}

/// Eight unsigned bytes.
#[target_feature(enable = "neon")]
#[inline]
fn widened_bytes(a: &[u32; 2]) -> Vector {
    vreinterpretq_u32_u16(vmovl_u8(vreinterpret_u8_u32(half(a))))
}

/// Each byte of a word in turn.
#[target_feature(enable = "neon")]
#[inline]
fn int8_quarters(b: Row) -> [Halves; 4] {
    let b = b.map(|v| vreinterpretq_s16_u32(v));
    let even = b.map(|v| vshrq_n_s16::<8>(vshlq_n_s16::<8>(v)));
    let odd = b.map(|v| vshrq_n_s16::<8>(v));
    let low = |[b0, b1, b2, b3]: [_; 4]| [vuzp1q_s16(b0, b1), vuzp1q_s16(b2, b3)];
    let high = |[b0, b1, b2, b3]: [_; 4]| [vuzp2q_s16(b0, b1), vuzp2q_s16(b2, b3)];
    [low(even), low(odd), high(even), high(odd)]
}

#[target_feature(enable = "neon")]
#[inline]
fn dot_int8_widened<const WORD: i32>(sums: Row, a: Vector, b: [Halves; 4]) -> Row {
    match WORD {
        0 => {
            let sums = fma_int16::<1>(fma_int16::<0>(sums, a, b[0]), a, b[1]);
            fma_int16::<3>(fma_int16::<2>(sums, a, b[2]), a, b[3])
        }
        _ => {
            let sums = fma_int16::<5>(fma_int16::<4>(sums, a, b[0]), a, b[1]);
            fma_int16::<7>(fma_int16::<6>(sums, a, b[2]), a, b[3])
        }
    }
}

/// One word and zeros.
#[inline(always)]
fn alone<const WORDS: usize>(word: u32) -> [u32; WORDS] {
    let mut words = [0; WORDS];
    words[0] = word;
    words
}

#[target_feature(enable = "neon")]
#[inline]
fn start(block: &Block, row: usize, column: usize, surplus: Row) -> Row {
    if !block.add {
        return surplus;
    }
    let mut sums = surplus;
    let (c, _) = block.c[row * block.c_stride + column..].as_chunks();
    for v in 0..sums.len() {
        // Integers; for floats, which have no surplus, this leaves the bits of `c`.
        sums[v] = vaddq_u32(sums[v], load(&c[v]));
    }
    sums
}

/// One half of a panel row.
#[target_feature(enable = "neon")]
#[inline]
fn vectors(row: &[u32; PANEL], right: bool) -> Row {
    const { assert!(PANEL == 2 * COLUMNS) };
    let (halves, _) = row.as_chunks::<COLUMNS>();
    let (b, _) = (if right { &halves[1] } else { &halves[0] }).as_chunks();
    [load(&b[0]), load(&b[1]), load(&b[2]), load(&b[3])]
}

#[target_feature(enable = "neon")]
#[inline]
fn finish(c: &mut [u32], sums: Row) {
    for (c, sum) in c.as_chunks_mut().0.iter_mut().zip(sums) {
        *c = store(sum);
    }
}

// Casts of values and not loads through a pointer: those are slowed down by checks in builds with assertions.
#[target_feature(enable = "neon")]
#[inline]
fn load(words: &[u32; VECTOR]) -> Vector {
    // SAFETY: same size, every bit pattern is valid.
    unsafe { std::mem::transmute(*words) }
}

#[target_feature(enable = "neon")]
#[inline]
fn half(words: &[u32; 2]) -> uint32x2_t {
    // SAFETY: same size, every bit pattern is valid.
    unsafe { std::mem::transmute(*words) }
}

#[target_feature(enable = "neon")]
#[inline]
fn store(vector: Vector) -> [u32; VECTOR] {
    // SAFETY: same size, every bit pattern is valid.
    unsafe { std::mem::transmute(vector) }
}
