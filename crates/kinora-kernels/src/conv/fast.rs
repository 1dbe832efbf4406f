//! Implicit matrix product of the fast paths.
//!
//! A work item is a few output rows of one frame. The input rows that they need are copied (and converted to words) once,
//! with zeros left and right, into a buffer of the thread, unless the input is words with a border already; there, the
//! values under a kernel row are one contiguous stretch for every output pixel, so the matrix kernel reads a 3x3 window
//! as three segments (a 3x3x3 one as nine) and no patch matrix is made.

use super::{Extents, Frames, Input, Weights};
use crate::Path;
use crate::ending::{Ending, finish};
use crate::product::{Engine, PANEL, Segment, Sums, TILE_ROWS, convert};
use crate::threads::{self, TileMut};

/// Output rows of a work item: enough to share input rows and panels, few enough for the second-level cache.
const ROWS: usize = 4;
/// Columns of a pass over the pixels.
const COLUMNS: usize = 2 * PANEL;
/// Most kernel rows: three frames of three.
const SEGMENTS: usize = 9;

/// The ending of the convolution, into `out` `[F',H',W',O]`.
pub(super) fn conv(path: Path, input: Input, weights: &Weights, extents: Extents, ending: Ending, out: &mut [f32]) {
    let [count, height, width] = extents.out;
    let enough = 4 * threads::threads();
    let rows = ROWS.min((count * height / enough).max(1));
    // A row of the matrix of tiles is a row of pixels.
    let row = width * weights.out_channels;
    let tiles = threads::tiles(out, row, height, rows, row);
    let engine = Engine::of(path, weights.panels.kind());
    threads::for_each(tiles, |out| {
        Item {
            path,
            engine,
            input,
            weights,
            extents,
            ending,
        }
        .run(out);
    });
}

/// What all work items of a call share.
struct Item<'a> {
    path: Path,
    engine: Engine,
    input: Input<'a>,
    weights: &'a Weights,
    extents: Extents,
    ending: Ending<'a>,
}

/// The words that a work item reads.
struct Rows<'a> {
    /// For each frame under the kernel that is not zero, its words from the window of the first output pixel on.
    frames: [&'a [u32]; 3],
    /// Frames under the kernel that are zero, before the others.
    zeros: usize,
    /// Words from row to row.
    row_words: usize,
}

impl Item<'_> {
    fn run(&self, mut out: TileMut) {
        let Weights { kernel, stride, .. } = *self.weights;
        let [_, out_height, _] = self.extents.out;
        let (frame, first_row) = (out.rows.start / out_height, out.rows.start % out_height);
        let frames = match self.input {
            Input::Plain(frames) => frames,
            Input::Padded(window) => {
                let mut rows = Rows {
                    frames: [&[]; 3],
                    zeros: window.zeros,
                    row_words: window.frames[0].row_words(),
                };
                let at = window.start(kernel[1]) + first_row * rows.row_words;
                for (words, frame) in rows.frames[window.zeros..].iter_mut().zip(&window.frames) {
                    *words = &frame.words()[at..];
                }
                return threads::with_scratch(TILE_ROWS * COLUMNS, |sums| self.multiply(&rows, sums, &mut out));
            }
        };
        // Words of a pixel, of a padded input row, of the rows of one frame.
        let pixel = self.weights.pixel_words();
        let [before, after] = self.weights.padding;
        let padded = (before + self.extents.width + after) * pixel;
        let in_rows = (out.rows.len() - 1) * stride[1] + kernel[1];
        let channels = self.weights.in_channels;
        let input = kernel[0] * in_rows * padded;
        threads::with_scratch(input + TILE_ROWS * COLUMNS + channels, |scratch| {
            let (input, rest) = scratch.split_at_mut(input);
            let (sums, buffer) = rest.split_at_mut(TILE_ROWS * COLUMNS);
            let input: &mut [u32] = bytemuck::cast_slice_mut(input);
            for (i, row) in input.chunks_exact_mut(padded.max(1)).enumerate() {
                // Above the frame wraps to a huge row, which is outside as well.
                let y = (first_row * stride[1] + i % in_rows).wrapping_sub(before);
                self.copy_row(frames, frame * stride[0] + i / in_rows, y, row, buffer);
            }
            let mut rows = Rows {
                frames: [&[]; 3],
                zeros: 0,
                row_words: padded,
            };
            for (words, frame) in rows
                .frames
                .iter_mut()
                .zip(input.chunks_exact((in_rows * padded).max(1)))
            {
                *words = frame;
            }
            self.multiply(&rows, sums, &mut out);
        });
    }

    /// Goes over the output pixels.
    fn multiply(&self, rows: &Rows, sums: &mut [f32], out: &mut TileMut) {
        let Weights {
            kernel,
            stride,
            out_channels,
            ref panels,
            ref bias,
            ..
        } = *self.weights;
        let (pixel, out_width) = (self.weights.pixel_words(), self.extents.out[2]);
        let mut segments = [Segment { words: &[], len: 0 }; SEGMENTS];
        // What zero frames would be multiplied by is left out.
        let skipped = rows.zeros * kernel[1];
        let segments = &mut segments[skipped..kernel[0] * kernel[1]];
        for from in (0..out_channels).step_by(COLUMNS) {
            let columns = from..out_channels.min(from + COLUMNS);
            for (i, row) in out.rows.clone().enumerate() {
                for x in (0..out_width).step_by(TILE_ROWS) {
                    let count = TILE_ROWS.min(out_width - x);
                    for (s, segment) in segments.iter_mut().enumerate() {
                        let (t, ky) = ((s + skipped) / kernel[1], s % kernel[1]);
                        let at = (i * stride[1] + ky) * rows.row_words + x * stride[1] * pixel;
                        *segment = Segment {
                            words: &rows.frames[t][at..],
                            len: kernel[1] * pixel,
                        };
                    }
                    for column in columns.clone().step_by(PANEL) {
                        let sums = Sums {
                            words: bytemuck::cast_slice_mut(&mut sums[column - from..]),
                            stride: COLUMNS,
                            add: false,
                        };
                        let size = (count, PANEL.min(columns.end - column));
                        let panel = panels.panel(column / PANEL, skipped * kernel[1] * pixel);
                        self.engine.tile(size, segments, stride[1] * pixel, panel, sums);
                    }
                    let out = &mut out.row(row)[x * out_channels..];
                    for (j, sums) in sums.chunks_exact(COLUMNS).take(count).enumerate() {
                        let out = &mut out[j * out_channels..][columns.clone()];
                        finish(self.path, sums, &bias[columns.clone()], self.ending.of_row(0, 0), out);
                    }
                }
            }
        }
    }

    /// Row `y` of the input frame with the number `frame` (counted from the first past one), its channel blocks joined,
    /// with zeros on both sides; all zeros if there is no such row.
    fn copy_row(&self, frames: Frames, frame: usize, y: usize, out: &mut [u32], buffer: &mut [f32]) {
        let blocks = match frames.at(frame) {
            Some(blocks) if y < self.extents.height => blocks,
            _ => return out.fill(0),
        };
        let (kind, pixel) = (self.weights.panels.kind(), self.weights.pixel_words());
        let [left, right] = self.weights.padding.map(|pixels| pixels * pixel);
        let end = out.len() - right;
        out[..left].fill(0);
        out[end..].fill(0);
        let (out, enlarge) = (&mut out[left..end], frames.enlarge);
        let (y, width) = (y / enlarge, self.extents.width / enlarge);
        let channels = self.weights.in_channels;
        let row = |(values, channels)| -> &[f32] {
            let row = width * channels;
            &<[f32]>::as_ref(values)[y * row..][..row]
        };
        let whole = blocks[0].1 == channels;
        if whole && enlarge == 1 && kind.words(channels) * kind.group() == channels {
            convert::to_words(self.path, kind, row(blocks[0]), out);
            return;
        }
        for (x, copies) in out.chunks_exact_mut(pixel * enlarge).enumerate() {
            let from = if whole {
                &row(blocks[0])[x * channels..][..channels]
            } else {
                let (first, second) = buffer.split_at_mut(blocks[0].1);
                first.copy_from_slice(&row(blocks[0])[x * blocks[0].1..][..blocks[0].1]);
                second.copy_from_slice(&row(blocks[1])[x * blocks[1].1..][..blocks[1].1]);
                &*buffer
            };
            let (first, second) = copies.split_at_mut(pixel);
            convert::to_words(self.path, kind, from, first);
            second
                .chunks_exact_mut(pixel)
                .for_each(|copy| copy.copy_from_slice(first));
        }
    }
}
