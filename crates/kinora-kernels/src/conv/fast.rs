//! Implicit matrix product of the fast paths.
//!
//! A work item is a few output rows of one image. The input rows that they need are copied once, with zeros left and
//! right, into a buffer of the thread; there, the values under a kernel row are one contiguous stretch for every
//! output pixel, so the matrix kernel reads a 3x3 window as three segments and no patch matrix is made.

use crate::Path;
use crate::ending::{Ending, finish};
use crate::gemm::{PANEL, Panels, Segment, Sums, TILE_ROWS, tile};
use crate::reference::ConvShape;
use crate::threads::{self, TileMut};

/// Output rows of a work item: enough to share input rows and panels, few enough for the second-level cache.
const ROWS: usize = 4;
/// Columns of a pass over the pixels.
const COLUMNS: usize = 2 * PANEL;

/// The input: channel blocks of the same pixels that are read as if they were joined.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    /// (values, channels).
    pub(super) blocks: [(&'a [f32], usize); 2],
    /// How often each pixel stands for itself on both axes: 1, or 2 where the image is enlarged on the way in.
    pub(super) enlarge: usize,
}

/// The weight `[O,C,k,k]` as panels: row (ky*k + kx)*C + c of column o.
pub(super) fn column(weight: &[f32], o: usize, in_channels: usize, kernel: usize, out: &mut [f32]) {
    let taps = kernel * kernel;
    let weight = &weight[o * in_channels * taps..][..in_channels * taps];
    for (i, v) in out.iter_mut().enumerate() {
        *v = weight[i % in_channels * taps + i / in_channels];
    }
}

/// The ending of the convolution, into `out` `[N,H',W',O]`.
pub(super) fn conv2d(
    path: Path,
    source: Source,
    panels: &Panels,
    bias: &[f32],
    shape: ConvShape,
    ending: Ending,
    out: &mut [f32],
) {
    let (height, width) = shape.out_size();
    let enough = 4 * threads::threads();
    let images = out.len() / (height * width * shape.out_channels).max(1);
    let rows = ROWS.min((images * height / enough).max(1));
    // A row of the matrix of tiles is a row of pixels.
    let tiles = threads::tiles(
        out,
        width * shape.out_channels,
        height,
        rows,
        width * shape.out_channels,
    );
    threads::for_each(tiles, |out| run(path, source, panels, bias, shape, ending, out));
}

fn run(path: Path, source: Source, panels: &Panels, bias: &[f32], shape: ConvShape, ending: Ending, mut out: TileMut) {
    let ConvShape {
        in_channels,
        out_channels,
        kernel,
        stride,
        ..
    } = shape;
    let (out_height, out_width) = shape.out_size();
    let (image, first_row) = (out.rows.start / out_height, out.rows.start % out_height);
    let padded = (shape.width + 2 * (kernel / 2)) * in_channels;
    let in_rows = (out.rows.len() - 1) * stride + kernel;
    threads::with_scratch(in_rows * padded + TILE_ROWS * COLUMNS, |scratch| {
        let (input, sums) = scratch.split_at_mut(in_rows * padded);
        for (i, row) in input.chunks_exact_mut(padded.max(1)).enumerate() {
            // Above the image wraps to a huge row, which is outside as well.
            let y = (first_row * stride + i).wrapping_sub(kernel / 2);
            source.copy_row(image, y, shape, row);
        }
        for from in (0..out_channels).step_by(COLUMNS) {
            let columns = from..out_channels.min(from + COLUMNS);
            let bias = &bias[columns.clone()];
            for (i, row) in out.rows.clone().enumerate() {
                for x in (0..out_width).step_by(TILE_ROWS) {
                    let count = TILE_ROWS.min(out_width - x);
                    let at = |ky: usize| (i * stride + ky) * padded + x * stride * in_channels;
                    let segment = |ky| Segment {
                        values: &input[at(ky)..],
                        len: kernel * in_channels,
                    };
                    let segments = [0, 1, 2].map(|ky| segment(ky.min(kernel - 1)));
                    for column in columns.clone().step_by(PANEL) {
                        let sums = Sums {
                            values: &mut sums[column - from..],
                            stride: COLUMNS,
                            add: false,
                        };
                        let panel = panels.panel(column / PANEL, 0);
                        let width = PANEL.min(columns.end - column);
                        tile(
                            path,
                            count,
                            width,
                            &segments[..kernel],
                            stride * in_channels,
                            panel,
                            sums,
                        );
                    }
                    let out = &mut out.row(row)[x * out_channels..];
                    for (j, sums) in sums.chunks_exact(COLUMNS).take(count).enumerate() {
                        let out = &mut out[j * out_channels..][columns.clone()];
                        finish(path, sums, bias, ending.of_row(0, 0), out);
                    }
                }
            }
        }
    });
}

impl Source<'_> {
    /// Row `y` of image `image` with its blocks joined and zeros on both sides; all zeros if there is no such row.
    fn copy_row(&self, image: usize, y: usize, shape: ConvShape, out: &mut [f32]) {
        let ConvShape {
            height,
            width,
            in_channels,
            kernel,
            ..
        } = shape;
        if y >= height {
            return out.fill(0.0);
        }
        let side = kernel / 2 * in_channels;
        let end = out.len() - side;
        out[..side].fill(0.0);
        out[end..].fill(0.0);
        let (y, width, enlarge) = (y / self.enlarge, width / self.enlarge, self.enlarge);
        let mut channel = 0;
        for (values, channels) in self.blocks {
            let row = &values[(image * (height / enlarge) + y) * width * channels..][..width * channels];
            if channels == in_channels && enlarge == 1 {
                return out[side..end].copy_from_slice(row);
            }
            if channels > 0 {
                let pixels = out[side..end].chunks_exact_mut(in_channels * enlarge);
                for (copies, from) in pixels.zip(row.chunks_exact(channels)) {
                    for copy in copies.chunks_exact_mut(in_channels) {
                        copy[channel..channel + channels].copy_from_slice(from);
                    }
                }
            }
            channel += channels;
        }
    }
}
