//! The layers of the autoencoder as a pipeline that one frame at a time is pushed through.
//!
//! A layer may hold state between frames (the previous frame, or half a pair) and may give out no frame, one, or two.
//! Pushing depth first means that at any time each layer holds at most one frame: memory does not grow with the clip.

use kinora_kernels::{Activation, Conv2d, activate, conv2d, conv2d_concat, conv2d_residual, conv2d_upsampled_2x};
use kinora_tensor::Tensor;
use kinora_weights::Reader;

use crate::Result;

/// Two frames in, one out of the concatenated channels: `relu(conv³([x, previous x]) + skip(x))`.
pub(super) struct MemBlock {
    conv_0: Conv2d,
    conv_2: Conv2d,
    conv_4: Conv2d,
    /// 1×1 convolution when the width changes.
    skip: Option<Conv2d>,
}

impl MemBlock {
    fn load(reader: &Reader, inputs: usize, outputs: usize) -> Result<Self> {
        Ok(Self {
            conv_0: reader.conv2d("conv.0", outputs, 2 * inputs, 3, 1, true)?,
            conv_2: reader.conv2d("conv.2", outputs, outputs, 3, 1, true)?,
            conv_4: reader.conv2d("conv.4", outputs, outputs, 3, 1, true)?,
            skip: (inputs != outputs)
                .then(|| reader.conv2d("skip", outputs, inputs, 1, 1, false))
                .transpose()?,
        })
    }

    /// **Shapes**: `x` and `previous` `[1, H, W, C]` → `[1, H, W, C']`.
    fn forward(&self, x: &Tensor, previous: &Tensor) -> Result<Tensor> {
        let inner = conv2d_concat(x, previous, &self.conv_0, Activation::Relu)?;
        let inner = conv2d(&inner, &self.conv_2, Activation::Relu)?;
        let skipped = match &self.skip {
            Some(skip) => conv2d(x, skip, Activation::None)?,
            None => x.try_clone()?,
        };
        Ok(conv2d_residual(&inner, &self.conv_4, skipped, Activation::Relu)?)
    }
}

/// One layer; the number in a checkpoint name is its place in the list.
pub(super) enum Layer {
    /// An element-wise function without weights.
    Activate(Activation),
    /// A convolution with the activation that follows it (which has a place of its own in the checkpoint's count).
    Conv(Conv2d, Activation),
    MemBlock(Box<MemBlock>),
    /// Nearest-neighbour doubling of both sides, then a convolution.
    UpsampledConv(Conv2d, Activation),
    /// `stride` frames in, one out: a 1×1 convolution over their concatenated channels.
    TemporalPool {
        conv: Conv2d,
        stride: usize,
    },
    /// One frame in, `stride` out: the channel groups of a 1×1 convolution.
    TemporalGrow {
        conv: Conv2d,
        stride: usize,
    },
}

impl Layer {
    pub(super) fn mem_block(reader: &Reader, place: usize, inputs: usize, outputs: usize) -> Result<Self> {
        Ok(Self::MemBlock(Box::new(MemBlock::load(
            &reader.at(place),
            inputs,
            outputs,
        )?)))
    }

    pub(super) fn temporal_pool(reader: &Reader, place: usize, width: usize, halves: bool) -> Result<Self> {
        let stride = if halves { 2 } else { 1 };
        let conv = reader.at(place).conv2d("conv", width, width * stride, 1, 1, false)?;
        Ok(Self::TemporalPool { conv, stride })
    }

    pub(super) fn temporal_grow(reader: &Reader, place: usize, width: usize, doubles: bool) -> Result<Self> {
        let stride = if doubles { 2 } else { 1 };
        let conv = reader.at(place).conv2d("conv", width * stride, width, 1, 1, false)?;
        Ok(Self::TemporalGrow { conv, stride })
    }
}

/// What the layers of one stream remember between frames: for each layer, the previous frame or the first half of a pair.
pub(super) struct Memory {
    held: Vec<Option<Tensor>>,
}

impl Memory {
    pub(super) fn new(layers: &[Layer]) -> Self {
        Self {
            held: layers.iter().map(|_| None).collect(),
        }
    }

    /// Pushes one frame `[1, H, W, C]` through `layers` and hands every frame that comes out to `emit`.
    pub(super) fn push(
        &mut self,
        layers: &[Layer],
        frame: Tensor,
        emit: &mut dyn FnMut(Tensor) -> Result<()>,
    ) -> Result<()> {
        push_from(0, layers, &mut self.held, frame, emit)
    }
}

fn push_from(
    place: usize,
    layers: &[Layer],
    held: &mut [Option<Tensor>],
    frame: Tensor,
    emit: &mut dyn FnMut(Tensor) -> Result<()>,
) -> Result<()> {
    let Some(layer) = layers.get(place) else {
        return emit(frame);
    };
    let mut next = |held: &mut [Option<Tensor>], frame| push_from(place + 1, layers, held, frame, &mut *emit);
    match layer {
        Layer::Activate(activation) => next(held, activate(frame, *activation)?),
        Layer::Conv(conv, activation) => next(held, conv2d(&frame, conv, *activation)?),
        Layer::UpsampledConv(conv, activation) => next(held, conv2d_upsampled_2x(&frame, conv, *activation)?),
        Layer::MemBlock(block) => {
            let out = match &held[place] {
                Some(previous) => block.forward(&frame, previous)?,
                None => block.forward(&frame, &zeros_like(&frame)?)?,
            };
            held[place] = Some(frame);
            next(held, out)
        }
        Layer::TemporalPool { conv, stride: 2 } => match held[place].take() {
            Some(first) => next(held, conv2d_concat(&first, &frame, conv, Activation::None)?),
            None => {
                held[place] = Some(frame);
                Ok(())
            }
        },
        Layer::TemporalGrow { conv, stride: 2 } => {
            let [first, second] = halve_channels(&conv2d(&frame, conv, Activation::None)?)?;
            drop(frame);
            next(held, first)?;
            next(held, second)
        }
        Layer::TemporalPool { conv, .. } | Layer::TemporalGrow { conv, .. } => {
            next(held, conv2d(&frame, conv, Activation::None)?)
        }
    }
}

fn zeros_like(frame: &Tensor) -> Result<Tensor> {
    let mut zeros = frame.uninit_like(frame.dims())?;
    zeros.as_mut_slice().fill(0.0);
    Ok(zeros)
}

/// `[1, H, W, 2C]` → two of `[1, H, W, C]`: the first and the second half of the channels.
fn halve_channels(frame: &Tensor) -> Result<[Tensor; 2]> {
    let [batch, height, width, channels] = frame.dims_of("halve_channels", "[1, H, W, 2C]")?;
    let half = channels / 2;
    let mut halves = [0, 1].map(|_| frame.uninit_like([batch, height, width, half]));
    for (i, out) in halves.iter_mut().enumerate() {
        if let Ok(out) = out {
            for (out, pixel) in out
                .as_mut_slice()
                .chunks_exact_mut(half)
                .zip(frame.as_slice().chunks_exact(channels))
            {
                out.copy_from_slice(&pixel[i * half..][..half]);
            }
        }
    }
    let [first, second] = halves;
    Ok([first?, second?])
}
