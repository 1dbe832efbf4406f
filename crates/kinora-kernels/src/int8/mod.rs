//! Integer matrix tiles and the quantisation in front of them.
//!
//! Weights are int8 with one scale for each output; activations are quantised as they arrive with one scale for each
//! token: q = round(x * 127 / max|x|), half to even, stored as q + 128 in one unsigned byte, because the instructions
//! multiply unsigned by signed bytes. The surplus 128 * (sum of the column) is taken off with the dequantisation.
//! Sums are exact in i32, so every path gives the same integers.
//!
//! Panels hold four values of K for each of [`PANEL`] columns side by side: `[ceil(K / 4)][PANEL][4]`.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;
pub(crate) mod quantise;
#[cfg(test)]
mod tests;

use kinora_tensor::Tensor;

use crate::gemm::{PANEL, TILE_ROWS};
use crate::{Error, Path, Result, check, threads};

/// Values of K that one instruction sums up.
const GROUP: usize = 4;
/// Beyond this, 255 * 128 * K could leave i32.
const MAX_DEPTH: usize = 1 << 16;

/// The instructions that make the sums.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dot {
    /// AVX-512 VNNI: sixty-four products an instruction.
    Vnni512,
    /// AVX2 on values widened to 16 bits (byte products would saturate).
    Avx2,
    /// Plain Rust.
    Portable,
}

impl Dot {
    /// The best instructions that `path` may use here.
    pub(crate) fn of(path: Path) -> Self {
        match path {
            #[cfg(target_arch = "x86_64")]
            Path::Avx512 if is_x86_feature_detected!("avx512vnni") => Self::Vnni512,
            #[cfg(target_arch = "x86_64")]
            Path::Avx512 | Path::Avx2 => Self::Avx2,
            _ => Self::Portable,
        }
    }

    /// Bytes of one quantised activation.
    pub(crate) const fn activation_bytes(self) -> usize {
        match self {
            Self::Avx2 => 2,
            Self::Vnni512 | Self::Portable => 1,
        }
    }
}

/// Quantised weights, packed.
pub(crate) struct Int8Panels {
    /// The bytes of `[ceil(N / PANEL)][ceil(K / 4)][PANEL][4]`, in a tensor for its alignment.
    values: Tensor,
    /// 128 * sum over K, for each column.
    surplus: Vec<i32>,
    /// What one step of the weight is worth, for each column.
    scales: Vec<f32>,
    depth: usize,
}

impl Int8Panels {
    /// Packs the matrix whose column n holds, for k in `0..depth`, the values that `column(n, buffer)` writes into a
    /// buffer of `depth` and whose steps it returns.
    ///
    /// **Errors**: a `depth` whose sums could overflow.
    pub(crate) fn pack(
        depth: usize,
        columns: usize,
        column: impl Fn(usize, &mut [i8]) -> f32 + Sync + Send,
    ) -> Result<Self> {
        if depth > MAX_DEPTH {
            return Err(Error::Value {
                op: "linear",
                what: "in_features",
                expected: "at most 65536 in int8",
                got: depth.to_string(),
            });
        }
        let panel_bytes = panel_bytes(depth);
        let floats = [columns.div_ceil(PANEL), panel_bytes / size_of::<f32>()];
        let mut values = Tensor::zeros([check::elements("pack", "the size of the weight", &floats)?])?;
        let (mut surplus, mut scales) = (vec![0; columns], vec![0.0; columns]);
        let panels = values.as_mut_slice().chunks_exact_mut(floats[1]);
        let columns_of_panels = surplus.chunks_mut(PANEL).zip(scales.chunks_mut(PANEL));
        let items: Vec<_> = panels.zip(columns_of_panels).enumerate().collect();
        threads::for_each(items, |(p, (panel, (surplus, scales)))| {
            let panel: &mut [i8] = bytemuck::cast_slice_mut(panel);
            let mut buffer = vec![0; depth];
            for (j, (surplus, scale)) in surplus.iter_mut().zip(scales).enumerate() {
                *scale = column(p * PANEL + j, &mut buffer);
                *surplus = 128 * buffer.iter().map(|&v| i32::from(v)).sum::<i32>();
                for (group, from) in panel.chunks_exact_mut(PANEL * GROUP).zip(buffer.chunks(GROUP)) {
                    group[j * GROUP..][..from.len()].copy_from_slice(from);
                }
            }
        });
        Ok(Self {
            values,
            surplus,
            scales,
            depth,
        })
    }

    pub(crate) fn panel(&self, index: usize) -> &[i8] {
        let bytes = panel_bytes(self.depth);
        &bytemuck::cast_slice(self.values.as_slice())[index * bytes..][..bytes]
    }

    pub(crate) fn surplus(&self) -> &[i32] {
        &self.surplus
    }

    pub(crate) fn scales(&self) -> &[f32] {
        &self.scales
    }

    pub(crate) const fn depth(&self) -> usize {
        self.depth
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.values.as_slice()) + 2 * size_of_val(self.scales())
    }

    /// The values as they were given to [`Int8Panels::pack`], one column after another.
    pub(crate) fn to_rows(&self) -> Vec<i8> {
        (0..self.scales.len())
            .flat_map(|n| {
                let panel = self.panel(n / PANEL);
                (0..self.depth).map(move |k| panel[k / GROUP * PANEL * GROUP + n % PANEL * GROUP + k % GROUP])
            })
            .collect()
    }
}

const fn panel_bytes(depth: usize) -> usize {
    depth.div_ceil(GROUP) * GROUP * PANEL
}

/// Activations of a row, rounded up to whole groups.
pub(crate) const fn padded_depth(depth: usize) -> usize {
    depth.next_multiple_of(GROUP)
}

/// One checked call.
struct Block<'a> {
    rows: usize,
    columns: usize,
    /// Row i starts at byte `i * a_stride`.
    a: &'a [u8],
    a_stride: usize,
    panel: &'a [[[i8; GROUP]; PANEL]],
    c: &'a mut [i32],
    c_stride: usize,
}

/// Sums of `rows` (at most [`TILE_ROWS`]) rows of activations with one panel, into rows of `stride`; `columns` (at most
/// [`PANEL`]) says how many matter, up to the next multiple of 16 are written. `row_bytes` lie between rows of `a`.
///
/// Panics if a slice is too short for that.
pub(crate) fn tile(
    dot: Dot,
    (rows, columns): (usize, usize),
    a: &[u8],
    row_bytes: usize,
    panel: &[i8],
    sums: &mut [i32],
    stride: usize,
) {
    assert!((1..=TILE_ROWS).contains(&rows) && (1..=PANEL).contains(&columns));
    let width = columns.next_multiple_of(PANEL / 2);
    assert!(stride >= width && sums.len() >= (rows - 1) * stride + width);
    let block = Block {
        rows,
        columns,
        a,
        a_stride: row_bytes,
        panel: panel.as_chunks().0.as_chunks().0,
        c: sums,
        c_stride: stride,
    };
    match dot {
        // SAFETY: `Dot::of` gives no instructions that this processor lacks.
        #[cfg(target_arch = "x86_64")]
        Dot::Vnni512 => unsafe { avx512::block(block) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Dot::Avx2 => unsafe { avx2::block(block) },
        _ => portable::block(block),
    }
}
