//! The block in plain Rust: 4 x 8 accumulators fit the registers of SSE2 and NEON.

use std::array::from_fn;

use super::{Block, Kind};
use crate::simd::{Baseline, Isa};

const ROWS: usize = 4;
const COLUMNS: usize = 8;

/// The block for `kind`.
pub(super) const fn block(kind: Kind) -> unsafe fn(Block) {
    match kind {
        Kind::F32 => blocks::<F32>,
        Kind::Bf16 => blocks::<Bf16>,
        Kind::Int8 => blocks::<Int8>,
    }
}

/// The product of two words, added to a sum.
trait Dot {
    type Sum: Copy + bytemuck::Pod;

    fn dot(sum: Self::Sum, a: u32, b: u32) -> Self::Sum;
}

struct F32;
struct Bf16;
struct Int8;

impl Dot for F32 {
    type Sum = f32;

    #[inline(always)]
    fn dot(sum: f32, a: u32, b: u32) -> f32 {
        Baseline::fma(f32::from_bits(a), f32::from_bits(b), sum)
    }
}

impl Dot for Bf16 {
    type Sum = f32;

    #[inline(always)]
    fn dot(sum: f32, a: u32, b: u32) -> f32 {
        let low = |word: u32| f32::from_bits(word << 16);
        let high = |word: u32| f32::from_bits(word & 0xffff_0000);
        Baseline::fma(high(a), high(b), Baseline::fma(low(a), low(b), sum))
    }
}

// Wrapping, because checks would keep this scalar in builds with assertions; it cannot overflow.
impl Dot for Int8 {
    type Sum = i32;

    #[inline(always)]
    fn dot(mut sum: i32, a: u32, b: u32) -> i32 {
        for i in 0..4 {
            let (a, b) = ((a >> (8 * i)) as u8, (b >> (8 * i)) as i8);
            sum = sum.wrapping_add(i32::from(a).wrapping_mul(i32::from(b)));
        }
        sum
    }
}

fn blocks<D: Dot>(mut block: Block) {
    for row in (0..block.rows).step_by(ROWS) {
        for column in (0..block.columns).step_by(COLUMNS) {
            let block = &mut block;
            match block.rows - row {
                1 => corner::<D, 1>(block, row, column),
                2 => corner::<D, 2>(block, row, column),
                3 => corner::<D, 3>(block, row, column),
                _ => corner::<D, ROWS>(block, row, column),
            }
        }
    }
}

fn corner<D: Dot, const R: usize>(block: &mut Block, row: usize, column: usize) {
    let depth = block.depth;
    // Cut to one length, so that the loop needs no checks.
    let rows: [&[u32]; R] = from_fn(|r| &block.a[(row + r) * block.a_stride..][..depth]);
    let panel = &block.panel[..depth];
    let at = |r: usize| (row + r) * block.c_stride + column;
    let mut sums: [[D::Sum; COLUMNS]; R] = bytemuck::Zeroable::zeroed();
    if block.add {
        for (r, sums) in sums.iter_mut().enumerate() {
            sums.copy_from_slice(bytemuck::cast_slice(&block.c[at(r)..][..COLUMNS]));
        }
    }
    let which = column / COLUMNS;
    for k in 0..depth {
        let b = panel[k].as_chunks::<COLUMNS>().0[which];
        for (sums, row) in sums.iter_mut().zip(rows) {
            let a = row[k];
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum = D::dot(*sum, a, b);
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        block.c[at(r)..][..COLUMNS].copy_from_slice(bytemuck::cast_slice(sums));
    }
}
