//! Two-dimensional convolutions.

use kinora_tensor::Tensor;

use super::{Extents, Frames, Weights, run};
use crate::ending::Ending;
use crate::{Activation, Precision, Result};

/// Where the `kernel / 2` rows and columns of zeros of a convolution stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Padding {
    /// On all four sides.
    #[default]
    Same,
    /// Right and below only, so that a stride of two starts at the first pixel.
    RightBottom,
}

/// The weights of a square convolution, packed once; it is padded with `kernel / 2` zeros on all sides unless
/// [`Conv2d::with_padding`] says otherwise.
pub struct Conv2d(Weights);

impl Conv2d {
    /// Packs f32 weights. [`Precision::Int8`] computes in bf16, or in f32 where the processor has no instruction for it.
    ///
    /// **Shapes**: `weight` `[O,C,kernel,kernel]`, `bias` `[O]`.
    ///
    /// **Errors**: other lengths; no channels; a kernel that is not 1 or 3; a stride that is not 1 or 2.
    pub fn pack_as(
        weight: &[f32],
        bias: Option<&[f32]>,
        [out_channels, in_channels]: [usize; 2],
        kernel: usize,
        stride: usize,
        precision: Precision,
    ) -> Result<Self> {
        let channels = [out_channels, in_channels];
        Weights::pack("conv2d", weight, bias, channels, [1, kernel], [1, stride], precision).map(Self)
    }

    /// [`Conv2d::pack_as`] in f32.
    ///
    /// **Shapes**, **Errors**: as there.
    pub fn pack(
        weight: &[f32],
        bias: Option<&[f32]>,
        out_channels: usize,
        in_channels: usize,
        kernel: usize,
        stride: usize,
    ) -> Result<Self> {
        let channels = [out_channels, in_channels];
        Self::pack_as(weight, bias, channels, kernel, stride, Precision::F32)
    }

    /// The same weights with another padding.
    pub const fn with_padding(mut self, padding: Padding) -> Self {
        let edge = self.0.kernel[1] / 2;
        self.0.padding = match padding {
            Padding::Same => [edge, edge],
            Padding::RightBottom => [0, edge],
        };
        self
    }

    /// O.
    pub const fn out_channels(&self) -> usize {
        self.0.out_channels
    }

    /// C.
    pub const fn in_channels(&self) -> usize {
        self.0.in_channels
    }

    /// Memory held by the packed weights and the bias.
    pub fn bytes(&self) -> usize {
        self.0.bytes()
    }
}

/// act(conv(x)).
///
/// **Shapes**: `x` `[N,H,W,C]` -> `[N,H',W',O]`, H' = ceil(H / stride), or floor with [`Padding::RightBottom`] and a kernel
/// of 3 at stride 2.
///
/// **Errors**: another rank or number of channels.
pub fn conv2d(x: &Tensor, w: &Conv2d, act: Activation) -> Result<Tensor> {
    activated("conv2d", Frames::one(x), w, act)
}

/// act(conv(upsample_nearest_2x(x))); the enlarged image is never made.
///
/// A 1x1 convolution commutes with the enlargement: do it before, at a quarter of the work.
///
/// **Shapes**: `x` `[N,H,W,C]` -> `[N,H',W',O]`, H' = ceil(2 H / stride).
///
/// **Errors**: another rank or number of channels.
pub fn conv2d_upsampled_2x(x: &Tensor, w: &Conv2d, act: Activation) -> Result<Tensor> {
    let frames = Frames {
        enlarge: 2,
        ..Frames::one(x)
    };
    activated("conv2d_upsampled_2x", frames, w, act)
}

/// act(conv(the channels of `a`, then those of `b`)); the joined image is never made.
///
/// **Shapes**: `a` `[N,H,W,A]`, `b` `[N,H,W,C-A]` -> `[N,H',W',O]`.
///
/// **Errors**: another rank, different images, another sum of channels.
pub fn conv2d_concat(a: &Tensor, b: &Tensor, w: &Conv2d, act: Activation) -> Result<Tensor> {
    let frames = Frames {
        second: Some(b),
        ..Frames::one(a)
    };
    activated("conv2d_concat", frames, w, act)
}

/// act(conv(x) + residual), written over `residual`.
///
/// **Shapes**: `x` `[N,H,W,C]`, `residual` `[N,H',W',O]` -> `[N,H',W',O]`.
///
/// **Errors**: other shapes.
pub fn conv2d_residual(x: &Tensor, w: &Conv2d, mut residual: Tensor, act: Activation) -> Result<Tensor> {
    let frames = Frames::one(x);
    let (extents, out_dims) = check_input("conv2d_residual", frames, w)?;
    if residual.dims() != out_dims {
        return Err(residual.mismatch("conv2d_residual", format!("{out_dims:?}")).into());
    }
    run(frames, &w.0, extents, Ending::Residual(act), &mut residual)?;
    Ok(residual)
}

fn activated(op: &'static str, frames: Frames, w: &Conv2d, act: Activation) -> Result<Tensor> {
    let (extents, out_dims) = check_input(op, frames, w)?;
    let mut out = frames.first.uninit_like(out_dims)?;
    run(frames, &w.0, extents, Ending::Activation(act), &mut out)?;
    Ok(out)
}

fn check_input(op: &'static str, frames: Frames, w: &Conv2d) -> Result<(Extents, [usize; 4])> {
    let [count, height, width, first] = frames.first.dims_of(op, "[N,H,W,C]")?;
    let second = match frames.second {
        None => 0,
        Some(b) => {
            let [.., channels] = b.dims_of::<4>(op, "[N,H,W,C]")?;
            if b.dims() != [count, height, width, channels] {
                return Err(b.mismatch(op, format!("[{count},{height},{width},C]")).into());
            }
            channels
        }
    };
    if first + second != w.in_channels() {
        let joined = if second > 0 {
            format!("{} channels with the second input's {second}", w.in_channels())
        } else {
            format!("[N,H,W,{}]", w.in_channels())
        };
        return Err(frames.first.mismatch(op, joined).into());
    }
    let extents = Extents::new(count, height * frames.enlarge, width * frames.enlarge, &w.0);
    let [count, out_height, out_width] = extents.out;
    Ok((extents, [count, out_height, out_width, w.out_channels()]))
}
