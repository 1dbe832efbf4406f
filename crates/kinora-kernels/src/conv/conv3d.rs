//! Convolutions over space and time in which no frame sees a later one.

use kinora_tensor::Tensor;

use super::{Extents, Frames, Weights, run};
use crate::ending::Ending;
use crate::{Activation, Error, Precision, Result};

/// The weights of a convolution `[kt,k,k]` with zero padding `k / 2` on both sides of rows and columns, packed once.
pub struct Conv3d(pub(super) Weights);

impl Conv3d {
    /// Packs f32 weights. [`Precision::Int8`] computes in bf16, or in f32 where the processor has no instruction for it.
    ///
    /// **Shapes**: `weight` `[O,C,kt,k,k]` with `kernel` `[kt,k]`, `bias` `[O]`; `stride` is that of time, then of both
    /// sides.
    ///
    /// **Errors**: other lengths; no channels; kernels that are not 1 or 3; strides that are not 1 or 2.
    pub fn pack_as(
        weight: &[f32],
        bias: Option<&[f32]>,
        channels: [usize; 2],
        kernel: [usize; 2],
        stride: [usize; 2],
        precision: Precision,
    ) -> Result<Self> {
        Weights::pack("conv3d", weight, bias, channels, kernel, stride, precision).map(Self)
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

/// act(conv(past frames, then `x`)), so that a clip can be convolved piece by piece: hand the last kt - 1 input frames of
/// one piece to the next as `past`. Without a past, kt - 1 frames of zeros stand before the first one.
///
/// **Shapes**: `x` `[F,H,W,C]`, `past` `[P,H,W,C]` -> `[F',H',W',O]`, F' = (P + F - kt) / stride + 1.
///
/// **Errors**: another rank or number of channels; a past of another size; fewer frames than the kernel is long.
pub fn conv3d_causal(x: &Tensor, past: Option<&Tensor>, w: &Conv3d, act: Activation) -> Result<Tensor> {
    const OP: &str = "conv3d_causal";
    let [count, height, width, channels] = x.dims_of(OP, "[F,H,W,C]")?;
    if channels != w.in_channels() {
        return Err(x.mismatch(OP, format!("[F,H,W,{}]", w.in_channels())).into());
    }
    let Weights { kernel, stride, .. } = w.0;
    let before = match past {
        None => kernel[0] - 1,
        Some(past) => {
            let [frames, ..] = past.dims_of::<4>(OP, "[P,H,W,C]")?;
            if past.dims() != [frames, height, width, channels] {
                return Err(past.mismatch(OP, format!("[P,{height},{width},{channels}]")).into());
            }
            frames
        }
    };
    let Some(steps) = (before + count).checked_sub(kernel[0]) else {
        return Err(Error::Value {
            op: OP,
            what: "the number of frames with the past ones",
            expected: "at least the length of the kernel",
            got: (before + count).to_string(),
        });
    };
    let extents = Extents::new(steps / stride[0] + 1, height, width, &w.0);
    let [frames, out_height, out_width] = extents.out;
    let mut out = x.uninit_like([frames, out_height, out_width, w.out_channels()])?;
    let input = Frames {
        zeros: if past.is_none() { kernel[0] - 1 } else { 0 },
        past,
        ..Frames::one(x)
    };
    run(input, &w.0, extents, Ending::Activation(act), &mut out)?;
    Ok(out)
}
