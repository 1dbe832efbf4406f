//! Convolutions over channels-last images and clips, with fused endings.

mod conv2d;
mod conv3d;
mod fast;
mod padded;
#[cfg(test)]
mod tests;

use kinora_tensor::Tensor;

pub use conv2d::{Conv2d, Padding, conv2d, conv2d_concat, conv2d_residual, conv2d_upsampled_2x};
pub use conv3d::{Conv3d, conv3d_causal};
pub use padded::{PaddedFrame, conv3d_frames, conv3d_frames_residual};

use crate::ending::Ending;
use crate::product::{Kind, Panels};
use crate::reference::ConvShape;
use crate::{Error, Path, Precision, Result, check, reference, threads, trace};

/// The weights of a convolution, packed once: rows of the panels are (kt, ky, kx, c), columns are output channels.
struct Weights {
    out_channels: usize,
    in_channels: usize,
    /// Along time, and along both sides.
    kernel: [usize; 2],
    /// Along time, and along both sides.
    stride: [usize; 2],
    /// Zeros before the first and after the last row and column.
    padding: [usize; 2],
    panels: Panels,
    /// Zeros where there is none.
    bias: Vec<f32>,
}

impl Weights {
    /// **Shapes**: `weight` `[O,C,kt,k,k]`, `bias` `[O]`.
    fn pack(
        op: &'static str,
        weight: &[f32],
        bias: Option<&[f32]>,
        [out_channels, in_channels]: [usize; 2],
        kernel: [usize; 2],
        stride: [usize; 2],
        precision: Precision,
    ) -> Result<Self> {
        check::at_least_one(op, "out_channels", out_channels)?;
        check::at_least_one(op, "in_channels", in_channels)?;
        for (edge, step) in kernel.into_iter().zip(stride) {
            one_of(op, "kernel", edge, [1, 3], "1 or 3")?;
            one_of(op, "stride", step, [1, 2], "1 or 2")?;
        }
        let taps = kernel[0] * kernel[1] * kernel[1];
        let size = check::elements(op, "the size of the weight", &[out_channels, in_channels, taps])?;
        check::length(op, "weight", weight.len(), size)?;
        if let Some(bias) = bias {
            check::length(op, "bias", bias.len(), out_channels)?;
        }
        let kind = precision.of_convolutions()?.kind();
        let padded = kind.words(in_channels) * kind.group();
        let panels = Panels::pack(kind, taps * padded, out_channels, |o, out| {
            let weight = &weight[o * in_channels * taps..][..in_channels * taps];
            for (i, v) in out.iter_mut().enumerate() {
                let (tap, c) = (i / padded, i % padded);
                *v = if c < in_channels { weight[c * taps + tap] } else { 0.0 };
            }
        })?;
        Ok(Self {
            out_channels,
            in_channels,
            kernel,
            stride,
            padding: [kernel[1] / 2; 2],
            panels,
            bias: bias.map_or_else(|| vec![0.0; out_channels], <[f32]>::to_vec),
        })
    }

    /// The extents of a call on frames of this (enlarged) size.
    const fn shape(&self, height: usize, width: usize) -> ConvShape {
        ConvShape {
            height,
            width,
            in_channels: self.in_channels,
            out_channels: self.out_channels,
            kernel: self.kernel[1],
            stride: self.stride[1],
            padding: self.padding,
        }
    }

    /// Words that a pixel's channels fill.
    const fn pixel_words(&self) -> usize {
        self.panels.kind().words(self.in_channels)
    }

    fn bytes(&self) -> usize {
        self.panels.bytes() + size_of_val(self.bias.as_slice())
    }

    /// `[O,C,kt,k,k]` again, as the kernels see them.
    fn to_plain(&self) -> Vec<f32> {
        let (packed, depth) = (self.panels.to_columns(), self.panels.depth());
        let taps = self.kernel[0] * self.kernel[1] * self.kernel[1];
        let padded = depth / taps;
        let at = |i: usize| {
            let (o, rest) = (i / (self.in_channels * taps), i % (self.in_channels * taps));
            o * depth + rest % taps * padded + rest / taps
        };
        (0..self.out_channels * self.in_channels * taps)
            .map(|i| packed[at(i)])
            .collect()
    }
}

fn one_of(op: &'static str, what: &'static str, got: usize, allowed: [usize; 2], expected: &'static str) -> Result<()> {
    if allowed.contains(&got) {
        return Ok(());
    }
    Err(Error::Value {
        op,
        what,
        expected,
        got: got.to_string(),
    })
}

/// The channels of a frame: one block, or two that are read as if they were joined; (values, channels) each.
type Blocks<'a> = [(&'a [f32], usize); 2];

/// The input: frames of one tensor, of two whose channels are joined, or of two that follow each other in time.
#[derive(Clone, Copy)]
struct Frames<'a> {
    /// Frames that are zero, before all others.
    zeros: usize,
    /// Frames before `first`.
    past: Option<&'a Tensor>,
    first: &'a Tensor,
    /// More channels of the frames of `first`.
    second: Option<&'a Tensor>,
    /// 2 where every pixel is read as if it stood twice on both axes, else 1.
    enlarge: usize,
}

impl<'a> Frames<'a> {
    const fn one(first: &'a Tensor) -> Self {
        Self {
            zeros: 0,
            past: None,
            first,
            second: None,
            enlarge: 1,
        }
    }

    /// Frame `index`, counted from the first zero one; `None` if it is zero.
    fn at(&self, index: usize) -> Option<Blocks<'a>> {
        let index = index.checked_sub(self.zeros)?;
        let past = self.past.map_or(0, |p| p.dims()[0]);
        let (tensor, index) = match self.past {
            Some(tensor) if index < past => (tensor, index),
            _ => (self.first, index - past),
        };
        let block = |tensor: &'a Tensor| {
            let frame = tensor.elements() / tensor.dims()[0].max(1);
            let channels = tensor.dims().last().copied().unwrap_or(0);
            (&tensor.as_slice()[index * frame..][..frame], channels)
        };
        Some([block(tensor), self.second.map_or((&[][..], 0), block)])
    }
}

/// The extents of one call.
#[derive(Clone, Copy)]
struct Extents {
    /// Height and width of the (enlarged) input.
    height: usize,
    width: usize,
    /// Frames, height and width of the output.
    out: [usize; 3],
}

impl Extents {
    fn new(frames: usize, height: usize, width: usize, weights: &Weights) -> Self {
        let (out_height, out_width) = weights.shape(height, width).out_size();
        Self {
            height,
            width,
            out: [frames, out_height, out_width],
        }
    }
}

/// What the fast paths read.
#[derive(Clone, Copy)]
enum Input<'a> {
    /// Plain frames, to be copied and converted row by row.
    Plain(Frames<'a>),
    /// Frames that are words already, read where they are.
    Padded(&'a padded::Window<'a>),
}

fn span(weights: &Weights, out: usize) -> trace::Span {
    let taps = weights.kernel[0] * weights.kernel[1] * weights.kernel[1];
    let name = match (weights.kernel[0], weights.panels.kind()) {
        (1, Kind::Bf16) => "conv2d bf16",
        (1, _) => "conv2d f32",
        (_, Kind::Bf16) => "conv3d bf16",
        _ => "conv3d f32",
    };
    trace::span(name, 2.0 * (out * weights.in_channels * taps) as f64)
}

fn run(frames: Frames, weights: &Weights, extents: Extents, ending: Ending, out: &mut Tensor) -> Result<()> {
    let _span = span(weights, out.elements());
    let path = Path::enter()?;
    if out.elements() == 0 {
        return Ok(());
    }
    if path == Path::Reference {
        run_reference(frames, weights, extents, ending, out.as_mut_slice());
    } else {
        fast::conv(path, Input::Plain(frames), weights, extents, ending, out.as_mut_slice());
    }
    Ok(())
}

fn run_reference(frames: Frames, weights: &Weights, extents: Extents, ending: Ending, out: &mut [f32]) {
    let plain = weights.to_plain();
    let is_bf16 = weights.panels.kind() == Kind::Bf16;
    let [_, height, width] = extents.out;
    threads::for_chunks(out, height * width * weights.out_channels, |frame, out| {
        let taps: Vec<_> = (0..weights.kernel[0])
            .map(|t| {
                let blocks = frames.at(frame * weights.stride[0] + t)?;
                Some(reference::join_pixels(
                    blocks,
                    frames.enlarge,
                    [extents.height, extents.width],
                    is_bf16,
                ))
            })
            .collect();
        run_plain(&taps, weights, &plain, extents, ending, out);
    });
}

/// One frame of the reference path; `plain` are the weights as it reads them.
fn run_plain(
    taps: &[Option<Vec<f32>>],
    weights: &Weights,
    plain: &[f32],
    extents: Extents,
    ending: Ending,
    out: &mut [f32],
) {
    let mut sums = vec![0.0; out.len()];
    let shape = weights.shape(extents.height, extents.width);
    reference::conv(taps, plain, &weights.bias, shape, &mut sums);
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = match ending {
            Ending::Residual(act) => reference::activation(f64::from(sum) + f64::from(*out), act) as f32,
            Ending::Activation(act) => reference::activation(f64::from(sum), act) as f32,
            Ending::Gated(_) => sum,
        };
    }
}
