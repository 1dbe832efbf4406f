//! Tiles of 16-bit integer products with 32-bit sums, for attention: twice the rate of f32 on AVX-512 VNNI at a
//! precision that int8 does not have. The caller keeps |a * b| * K below 2^31; then every path gives the same integers.
//!
//! Panels hold two values of K for each of [`PANEL`] columns side by side: `[ceil(K / 2)][PANEL][2]`.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;
#[cfg(test)]
mod tests;

use crate::Path;
use crate::gemm::{PANEL, TILE_ROWS};
use crate::int8::Dot;

/// Values of K that one instruction sums up.
pub(crate) const PAIR: usize = 2;

/// One row of a panel: a pair for each column.
pub(crate) type PanelRow = [[i16; PAIR]; PANEL];

/// One checked call.
struct Block<'a> {
    rows: usize,
    columns: usize,
    a: &'a [i16],
    a_stride: usize,
    panel: &'a [PanelRow],
    c: &'a mut [i32],
    c_stride: usize,
}

/// Sums of `rows` (at most [`TILE_ROWS`]) rows of `a`, `a_stride` apart, with one panel, into rows of `stride`;
/// `columns` (at most [`PANEL`]) says how many matter, up to the next multiple of 16 are written.
///
/// Panics if a slice is too short for that.
pub(crate) fn tile(
    path: Path,
    (rows, columns): (usize, usize),
    a: &[i16],
    a_stride: usize,
    panel: &[PanelRow],
    sums: &mut [i32],
    stride: usize,
) {
    assert!((1..=TILE_ROWS).contains(&rows) && (1..=PANEL).contains(&columns));
    let width = columns.next_multiple_of(PANEL / 2);
    assert!(stride >= width && sums.len() >= (rows - 1) * stride + width);
    assert!(a.len() >= (rows - 1) * a_stride + panel.len() * PAIR);
    let block = Block {
        rows,
        columns,
        a,
        a_stride,
        panel,
        c: sums,
        c_stride: stride,
    };
    match Dot::of(path) {
        // SAFETY: `Dot::of` gives no instructions that this processor lacks.
        #[cfg(target_arch = "x86_64")]
        Dot::Vnni512 => unsafe { avx512::block(block) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Dot::Avx2 => unsafe { avx2::block(block) },
        _ => portable::block(block),
    }
}
