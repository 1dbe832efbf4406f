//! The one matrix kernel that linear layers, convolutions and attention share.
//!
//! The right-hand side is packed into [`PANEL`]-wide column panels `[K][PANEL]`, zero beyond the last column, in the
//! same layout for every path. The left-hand side is read in place: row i starts at `i * stride` of each of a few
//! segments that follow each other along K (a linear layer has one, a 3x3 convolution one for each kernel row).
//! [`tile`] makes a block of up to [`TILE_ROWS`] x [`PANEL`] sums. Each sum runs over K in order, whatever the size of
//! the block, so results depend neither on the blocking nor on the number of threads.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;
#[cfg(test)]
mod tests;

use kinora_tensor::Tensor;

use crate::{Path, Result, check, threads};

/// Columns of a panel.
pub(crate) const PANEL: usize = 32;
/// Most rows of a tile: 12 x 2 accumulators, two registers of a panel row and one for a value leave a few of AVX-512's
/// 32 registers free.
pub(crate) const TILE_ROWS: usize = 12;

/// A stretch of the left-hand side along K.
#[derive(Clone, Copy)]
pub(crate) struct Segment<'a> {
    /// Row i is `values[i * stride..][..len]`.
    pub(crate) values: &'a [f32],
    pub(crate) len: usize,
}

/// Where a tile goes: row i is `values[i * stride..]`.
pub(crate) struct Sums<'a> {
    pub(crate) values: &'a mut [f32],
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
    a: &'a [f32],
    a_stride: usize,
    depth: usize,
    panel: &'a [[f32; PANEL]],
    c: &'a mut [f32],
    c_stride: usize,
    add: bool,
}

/// Sums of `rows` rows with one panel. `columns` (at most [`PANEL`]) says how many columns matter; up to the next
/// multiple of 16 are written.
///
/// Panics if a slice is too short for that.
pub(crate) fn tile(
    path: Path,
    rows: usize,
    columns: usize,
    segments: &[Segment],
    stride: usize,
    panel: &[f32],
    sums: Sums,
) {
    assert!((1..=TILE_ROWS).contains(&rows) && (1..=PANEL).contains(&columns));
    let width = columns.next_multiple_of(PANEL / 2);
    assert!(sums.stride >= width && sums.values.len() >= (rows - 1) * sums.stride + width);
    let (panel, _) = panel.as_chunks::<PANEL>();
    if segments.iter().all(|s| s.len == 0) && !sums.add {
        (0..rows).for_each(|i| sums.values[i * sums.stride..][..width].fill(0.0));
    }
    let (mut done, mut add) = (0, sums.add);
    for segment in segments.iter().filter(|s| s.len > 0) {
        let block = Block {
            rows,
            columns,
            a: segment.values,
            a_stride: stride,
            depth: segment.len,
            panel: &panel[done..],
            c: sums.values,
            c_stride: sums.stride,
            add,
        };
        match path {
            // SAFETY: operations get their path from `Path::enter`, which gives none that this processor lacks.
            #[cfg(target_arch = "x86_64")]
            Path::Avx512 => unsafe { avx512::block(block) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 => unsafe { avx2::block(block) },
            _ => portable::block(block),
        }
        done += segment.len;
        add = true;
    }
}

/// A packed right-hand side: `[ceil(N / PANEL)][K][PANEL]`.
pub(crate) struct Panels {
    values: Tensor,
    depth: usize,
    columns: usize,
}

impl Panels {
    /// Packs the matrix whose column n holds, for k in `0..depth`, the values that `column(n, buffer)` writes into a
    /// buffer of `depth`.
    pub(crate) fn pack(depth: usize, columns: usize, column: impl Fn(usize, &mut [f32]) + Sync + Send) -> Result<Self> {
        let panels = columns.div_ceil(PANEL);
        let mut values = Tensor::zeros([check::elements(
            "pack",
            "the size of the weight",
            &[panels, depth, PANEL],
        )?])?;
        threads::for_chunks(values.as_mut_slice(), depth * PANEL, |p, panel| {
            let mut buffer = vec![0.0; depth];
            for (j, n) in (p * PANEL..columns.min((p + 1) * PANEL)).enumerate() {
                column(n, &mut buffer);
                for (row, &v) in panel.chunks_exact_mut(PANEL).zip(&buffer) {
                    row[j] = v;
                }
            }
        });
        Ok(Self { values, depth, columns })
    }

    /// Panel `index`, from row `from` of K on.
    pub(crate) fn panel(&self, index: usize, from: usize) -> &[f32] {
        &self.values.as_slice()[index * self.depth * PANEL..][..self.depth * PANEL][from * PANEL..]
    }

    pub(crate) const fn depth(&self) -> usize {
        self.depth
    }

    pub(crate) const fn columns(&self) -> usize {
        self.columns
    }

    /// The matrix as it was given to [`Panels::pack`], one column after another.
    pub(crate) fn to_rows(&self) -> Vec<f32> {
        (0..self.columns)
            .flat_map(|n| {
                let panel = self.panel(n / PANEL, 0);
                (0..self.depth).map(move |k| panel[k * PANEL + n % PANEL])
            })
            .collect()
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.values.as_slice())
    }
}
