//! Two-dimensional convolution, channels last.

/// The extents of a convolution with zero padding `kernel / 2`.
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
}

impl ConvShape {
    /// (height, width) of the output.
    pub const fn out_size(&self) -> (usize, usize) {
        (self.out_extent(self.height), self.out_extent(self.width))
    }

    const fn out_extent(&self, extent: usize) -> usize {
        let padded = extent + 2 * (self.kernel / 2);
        if extent == 0 || padded < self.kernel {
            return 0;
        }
        (padded - self.kernel) / self.stride + 1
    }
}

/// `x` `[N,H,W,C]`, `weight` `[O,C,k,k]`, `bias` `[O]` -> `out` `[N,H',W',O]`.
pub fn conv2d(x: &[f32], weight: &[f32], bias: Option<&[f32]>, shape: ConvShape, out: &mut [f32]) {
    let (out_height, out_width) = shape.out_size();
    let ConvShape {
        height,
        width,
        in_channels,
        out_channels,
        kernel,
        stride,
    } = shape;
    for (index, out) in out.chunks_exact_mut(out_channels).enumerate() {
        let (image, y, x0) = (
            index / out_width / out_height,
            index / out_width % out_height,
            index % out_width,
        );
        for (o, out) in out.iter_mut().enumerate() {
            let mut sum = bias.map_or(0.0, |b| f64::from(b[o]));
            for (ky, kx) in (0..kernel * kernel).map(|i| (i / kernel, i % kernel)) {
                // Below zero wraps to a huge number, which is outside as well.
                let row = (y * stride + ky).wrapping_sub(kernel / 2);
                let column = (x0 * stride + kx).wrapping_sub(kernel / 2);
                if row >= height || column >= width {
                    continue;
                }
                let pixel = &x[((image * height + row) * width + column) * in_channels..][..in_channels];
                for (c, &value) in pixel.iter().enumerate() {
                    sum += f64::from(value) * f64::from(weight[((o * in_channels + c) * kernel + ky) * kernel + kx]);
                }
            }
            *out = sum as f32;
        }
    }
}
