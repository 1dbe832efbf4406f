//! Convolution over space and time, channels last.

use crate::product::convert::{bf16_bits, bf16_value};

/// The extents of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvShape {
    /// Height of the input.
    pub height: usize,
    /// Width of the input.
    pub width: usize,
    /// Input channels.
    pub in_channels: usize,
    /// Output channels.
    pub out_channels: usize,
    /// Edge of the square kernel.
    pub kernel: usize,
    /// Step between outputs on both axes.
    pub stride: usize,
    /// Zeros before the first and after the last row and column.
    pub padding: [usize; 2],
}

impl ConvShape {
    /// (height, width) of the output.
    pub const fn out_size(&self) -> (usize, usize) {
        (self.out_extent(self.height), self.out_extent(self.width))
    }

    const fn out_extent(&self, extent: usize) -> usize {
        let padded = extent + self.padding[0] + self.padding[1];
        if extent == 0 || padded < self.kernel {
            return 0;
        }
        (padded - self.kernel) / self.stride + 1
    }
}

/// One output frame: `taps` are the input frames `[H,W,C]` under the kernel, oldest first, `None` where a frame is zero;
/// `weight` `[O,C,taps,k,k]`, `bias` `[O]` -> `out` `[H',W',O]`.
pub fn conv(taps: &[Option<Vec<f32>>], weight: &[f32], bias: &[f32], shape: ConvShape, out: &mut [f32]) {
    let (_, out_width) = shape.out_size();
    let ConvShape {
        height,
        width,
        in_channels,
        out_channels,
        kernel,
        stride,
        padding: [before, _],
    } = shape;
    for (index, out) in out.chunks_exact_mut(out_channels).enumerate() {
        let (y, x0) = (index / out_width, index % out_width);
        for (o, out) in out.iter_mut().enumerate() {
            let mut sum = f64::from(bias[o]);
            for (t, ky, kx) in window(taps.len(), kernel) {
                // Below zero wraps to a huge number, which is outside as well.
                let row = (y * stride + ky).wrapping_sub(before);
                let column = (x0 * stride + kx).wrapping_sub(before);
                let Some(frame) = taps[t].as_ref().filter(|_| row < height && column < width) else {
                    continue;
                };
                let pixel = &frame[(row * width + column) * in_channels..][..in_channels];
                for (c, &value) in pixel.iter().enumerate() {
                    let at = (((o * in_channels + c) * taps.len() + t) * kernel + ky) * kernel + kx;
                    sum += f64::from(value) * f64::from(weight[at]);
                }
            }
            *out = sum as f32;
        }
    }
}

fn window(taps: usize, kernel: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..taps).flat_map(move |t| (0..kernel * kernel).map(move |i| (t, i / kernel, i % kernel)))
}

/// A frame as a convolution reads it: the channels of two blocks (values, channels) joined, every pixel standing
/// `enlarge` times on both axes, in (enlarged) `height` and `width`, values rounded to bf16 if asked.
pub fn join_pixels(
    blocks: [(&[f32], usize); 2],
    enlarge: usize,
    [height, width]: [usize; 2],
    is_bf16: bool,
) -> Vec<f32> {
    let small = width / enlarge;
    let mut joined = Vec::new();
    for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y / enlarge, x / enlarge))) {
        for (values, channels) in blocks {
            joined.extend_from_slice(&values[(y * small + x) * channels..][..channels]);
        }
    }
    if is_bf16 {
        joined.iter_mut().for_each(|v| *v = bf16_value(bf16_bits(*v)));
    }
    joined
}
