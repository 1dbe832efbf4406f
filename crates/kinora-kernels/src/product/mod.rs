//! The one matrix kernel that linear layers, convolutions and attention share.
//!
//! Whatever the numbers are, a kernel sees 32-bit *words*: one f32, two bf16 or four bytes. The
//! right-hand side is packed into [`PANEL`]-wide column panels `[K in words][PANEL]`; the left-hand side is rows of
//! words, read in place: row i starts at `i * stride` of each of a few segments that follow each other along K (a linear
//! layer has one, a 3x3 convolution one for each kernel row). [`Engine::tile`] makes a block of up to [`TILE_ROWS`] x
//! [`PANEL`] sums, 32 bits each as well. So an instruction set brings its loads and stores once and only the multiplying
//! instruction differs from [`Kind`] to [`Kind`].
//!
//! Each sum runs over K in order, whatever the size of the block, so results depend neither on the blocking nor on the
//! number of threads. Integer sums are exact, so every path gives the same ones.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub(crate) mod convert;
mod engine;
#[cfg(target_arch = "aarch64")]
mod neon;
mod panels;
mod portable;
#[cfg(test)]
mod tests;

pub(crate) use engine::Engine;
pub(crate) use panels::{Panels, put_column};

/// Columns of a panel.
pub(crate) const PANEL: usize = 32;
/// Most rows of a tile: 12 x 2 accumulators, two registers of a panel row and one for a value leave a few of AVX-512's
/// 32 registers free.
pub(crate) const TILE_ROWS: usize = 12;

/// What a word holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// One f32; sums are f32.
    F32,
    /// Two bf16, the first in the lower half; sums are f32.
    Bf16,
    /// Four bytes, the first lowest: unsigned on the left-hand side, signed on the right; sums are i32.
    Int8,
}

impl Kind {
    /// Every kind.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 3] = [Self::F32, Self::Bf16, Self::Int8];

    /// Values in a word.
    pub(crate) const fn group(self) -> usize {
        match self {
            Self::F32 => 1,
            Self::Bf16 => 2,
            Self::Int8 => 4,
        }
    }

    /// Words of `values` values.
    pub(crate) const fn words(self, values: usize) -> usize {
        values.div_ceil(self.group())
    }
}

/// A stretch of the left-hand side along K.
#[derive(Clone, Copy)]
pub(crate) struct Segment<'a> {
    /// Row i is `words[i * stride..][..len]`.
    pub(crate) words: &'a [u32],
    pub(crate) len: usize,
}

/// Where a tile goes: row i is `words[i * stride..]`, the bits of an f32 or an i32 each.
pub(crate) struct Sums<'a> {
    pub(crate) words: &'a mut [u32],
    pub(crate) stride: usize,
    /// Add to what is there instead of replacing it.
    pub(crate) add: bool,
}

/// One segment of a checked call.
struct Block<'a> {
    /// Rows of `a`, 1 to [`TILE_ROWS`].
    rows: usize,
    /// Columns of the panel in use, 1 to [`PANEL`]; kernels may compute all of them.
    columns: usize,
    a: &'a [u32],
    a_stride: usize,
    /// Words along K.
    depth: usize,
    panel: &'a [[u32; PANEL]],
    c: &'a mut [u32],
    c_stride: usize,
    add: bool,
}
