//! Frames that are converted once and then read by convolutions in place.
//!
//! A causal convolution reads each frame three times: when it comes and as the past of the next two. [`PaddedFrame`] is
//! what its kernel reads, words with a border of zeros, made in the same pass that normalises the frame. So a
//! convolution copies nothing, and what is kept of the past takes half the memory where words are bf16, for the same bits.

use kinora_tensor::Tensor;

use super::{Conv3d, Extents, Input, fast, run_plain, span};
use crate::ending::Ending;
use crate::product::{Kind, convert};
use crate::{Activation, Error, Path, Result, check, elementwise, math, reference, threads, trace};

/// Rows and columns of zeros on each side.
const BORDER: usize = 1;
/// Floats that are normalised, activated and converted while they are in the first-level cache.
const BLOCK: usize = 2048;

/// One frame as convolutions of one precision read it.
pub struct PaddedFrame {
    /// Bits of words, `[H + 2, W + 2, words of a pixel]`.
    words: Tensor,
    height: usize,
    width: usize,
    channels: usize,
    kind: Kind,
}

impl PaddedFrame {
    /// `x` as `w` reads it.
    ///
    /// **Shapes**: `x` `[1,H,W,C]`.
    ///
    /// **Errors**: another rank or number of channels.
    pub fn new(x: &Tensor, w: &Conv3d) -> Result<Self> {
        let _span = trace::span("padded frame", 0.0);
        Self::make("padded frame", x, w, |_, _| {})
    }

    /// act(x / sqrt(mean(x^2) + eps) * weight) of each pixel, as `w` reads it.
    ///
    /// **Shapes**: `x` `[1,H,W,C]`, `weight` `[C]`.
    ///
    /// **Errors**: another rank or number of channels; another length.
    pub fn normed(x: &Tensor, weight: &[f32], eps: f32, act: Activation, w: &Conv3d) -> Result<Self> {
        const OP: &str = "padded frame, normed";
        check::length(OP, "weight", weight.len(), w.in_channels())?;
        let _span = trace::span(OP, 0.0);
        Self::make(OP, x, w, |path, pixels| {
            for pixel in pixels.chunks_exact_mut(weight.len()) {
                elementwise::rms_norm_row(path, pixel, weight, eps);
            }
            match path {
                Path::Reference => pixels
                    .iter_mut()
                    .for_each(|v| *v = reference::activation(f64::from(*v), act) as f32),
                _ => math::activate(path, pixels, act),
            }
        })
    }

    /// `change(path, whole pixels)` is what happens to the values before they become words.
    fn make(op: &'static str, x: &Tensor, w: &Conv3d, change: impl Fn(Path, &mut [f32]) + Sync + Send) -> Result<Self> {
        let [count, height, width, channels] = x.dims_of(op, "[1,H,W,C]")?;
        if count != 1 || channels != w.in_channels() {
            return Err(x.mismatch(op, format!("[1,H,W,{}]", w.in_channels())).into());
        }
        let path = Path::enter()?;
        let (kind, pixel) = (w.0.panels.kind(), w.0.pixel_words());
        let mut words = x.uninit_like([height + 2 * BORDER, width + 2 * BORDER, pixel])?;
        let row_words = (width + 2 * BORDER) * pixel;
        let block = (BLOCK / channels).max(1) * channels;
        let values = x.as_slice();
        threads::for_chunks(words.as_mut_slice(), row_words, |y, row| {
            let row: &mut [u32] = bytemuck::cast_slice_mut(row);
            if !(BORDER..height + BORDER).contains(&y) {
                return row.fill(0);
            }
            let (first, rest) = row.split_at_mut(BORDER * pixel);
            let (inner, last) = rest.split_at_mut(width * pixel);
            first.fill(0);
            last.fill(0);
            let from = &values[(y - BORDER) * width * channels..][..width * channels];
            threads::with_scratch(block, |buffer| {
                for (values, words) in from.chunks(block).zip(inner.chunks_mut(block / channels * pixel)) {
                    let buffer = &mut buffer[..values.len()];
                    buffer.copy_from_slice(values);
                    change(path, buffer);
                    if pixel * kind.group() == channels {
                        convert::to_words(path, kind, buffer, words);
                        continue;
                    }
                    for (values, words) in buffer.chunks_exact(channels).zip(words.chunks_exact_mut(pixel)) {
                        convert::to_words(path, kind, values, words);
                    }
                }
            });
        });
        Ok(Self {
            words,
            height,
            width,
            channels,
            kind,
        })
    }

    /// Memory that it holds.
    pub fn bytes(&self) -> usize {
        size_of_val(self.words.as_slice())
    }

    pub(super) fn words(&self) -> &[u32] {
        bytemuck::cast_slice(self.words.as_slice())
    }

    /// Words from row to row.
    pub(super) const fn row_words(&self) -> usize {
        (self.width + 2 * BORDER) * self.kind.words(self.channels)
    }

    /// `[H,W,C]` as the reference reads it.
    fn to_plain(&self) -> Vec<f32> {
        let (pixel, group) = (self.kind.words(self.channels), self.kind.group());
        let words = self.words();
        let value = |y: usize, x: usize, c: usize| {
            let word = words[(y + BORDER) * self.row_words() + (x + BORDER) * pixel + c / group];
            match self.kind {
                Kind::Bf16 => convert::bf16_value((word >> (16 * (c % 2))) as u16),
                _ => f32::from_bits(word),
            }
        };
        (0..self.height * self.width * self.channels)
            .map(|i| {
                let (pixel, c) = (i / self.channels, i % self.channels);
                value(pixel / self.width, pixel % self.width, c)
            })
            .collect()
    }
}

/// act(conv(frames)): the one output frame whose newest input is the last of `frames`, `None` where one is zero.
///
/// **Shapes**: as many `frames` `[H,W,C]` as the kernel is long, oldest first -> `[1,H,W,O]`.
///
/// **Errors**: frames of different sizes, or made for another precision or number of channels; a zero one after one that
/// is not, or none at all; a stride along the sides.
pub fn conv3d_frames(frames: &[Option<&PaddedFrame>], w: &Conv3d, act: Activation) -> Result<Tensor> {
    let input = check_frames("conv3d_frames", frames, w)?;
    let newest = input.frames[0];
    let mut out = newest
        .words
        .uninit_like([1, newest.height, newest.width, w.out_channels()])?;
    run(&input, w, Ending::Activation(act), &mut out)?;
    Ok(out)
}

/// As [`conv3d_frames`], conv(frames) + residual, written over `residual`.
///
/// **Shapes**: `residual` `[1,H,W,O]` -> `[1,H,W,O]`.
///
/// **Errors**: as there; another shape of `residual`.
pub fn conv3d_frames_residual(frames: &[Option<&PaddedFrame>], w: &Conv3d, mut residual: Tensor) -> Result<Tensor> {
    const OP: &str = "conv3d_frames_residual";
    let input = check_frames(OP, frames, w)?;
    let want = [1, input.frames[0].height, input.frames[0].width, w.out_channels()];
    if residual.dims() != want {
        return Err(residual.mismatch(OP, format!("{want:?}")).into());
    }
    run(&input, w, Ending::Residual(Activation::None), &mut residual)?;
    Ok(residual)
}

/// The frames under a kernel that are not zero, oldest first, and how many zero ones stand before them.
pub(super) struct Window<'a> {
    pub(super) frames: Vec<&'a PaddedFrame>,
    pub(super) zeros: usize,
}

impl Window<'_> {
    /// Where the window of the output pixel (0, 0) begins in the words of each frame, for a kernel of this edge.
    pub(super) fn start(&self, edge: usize) -> usize {
        let (skip, newest) = (BORDER - edge / 2, self.frames[0]);
        skip * (newest.row_words() + newest.kind.words(newest.channels))
    }
}

fn check_frames<'a>(op: &'static str, frames: &[Option<&'a PaddedFrame>], w: &Conv3d) -> Result<Window<'a>> {
    let refuse = |what, expected, got: String| {
        Err(Error::Value {
            op,
            what,
            expected,
            got,
        })
    };
    if w.0.stride != [1, 1] {
        return refuse("the stride", "1", format!("{:?}", w.0.stride));
    }
    let zeros = frames.iter().take_while(|frame| frame.is_none()).count();
    let present: Vec<&PaddedFrame> = frames[zeros..].iter().filter_map(|frame| *frame).collect();
    if frames.len() != w.0.kernel[0] || present.is_empty() || zeros + present.len() != frames.len() {
        let got = format!("{zeros} zero, then {} others of {}", present.len(), frames.len());
        return refuse("the frames", "as many as the kernel is long, zero ones first", got);
    }
    let want = (present[0].height, present[0].width, w.in_channels(), w.0.panels.kind());
    for frame in &present {
        let got = (frame.height, frame.width, frame.channels, frame.kind);
        if got != want {
            return refuse(
                "a frame",
                "of the size, channels and precision of the others",
                format!("{got:?}, not {want:?}"),
            );
        }
    }
    Ok(Window { frames: present, zeros })
}

fn run(window: &Window, w: &Conv3d, ending: Ending, out: &mut Tensor) -> Result<()> {
    let _span = span(&w.0, out.elements());
    let path = Path::enter()?;
    let newest = window.frames[0];
    let extents = Extents::new(1, newest.height, newest.width, &w.0);
    if out.elements() == 0 {
        return Ok(());
    }
    if path == Path::Reference {
        let zeros = (0..window.zeros).map(|_| None);
        let taps: Vec<_> = zeros.chain(window.frames.iter().map(|f| Some(f.to_plain()))).collect();
        run_plain(&taps, &w.0, &w.0.to_plain(), extents, ending, out.as_mut_slice());
    } else {
        fast::conv(path, Input::Padded(window), &w.0, extents, ending, out.as_mut_slice());
    }
    Ok(())
}
