//! What a clip remembers between frames.
//!
//! **Source**: the feature cache of diffusers' `AutoencoderKLWan`. There, a call takes a group of frames and each
//! convolution keeps the last two frames that it saw. Here, one frame at a time passes through all layers, which gives the
//! same numbers, because no layer sees a later frame; so no layer holds more than one frame beside what it remembers.

use std::cell::Cell;

use kinora_kernels::{Activation, Conv3d, PaddedFrame, conv3d_frames, conv3d_frames_residual};
use kinora_tensor::Tensor;
use kinora_weights::Reader;

use crate::Result;

/// What one layer remembers; which of these it uses is up to the layer.
#[derive(Default)]
pub(super) struct Slot {
    /// The frame before the one before.
    pub(super) older: Option<PaddedFrame>,
    /// The frame before.
    pub(super) newer: Option<PaddedFrame>,
    /// The half of something that waits for the next frame.
    pub(super) half: Option<Tensor>,
    /// Whether the first frame has passed.
    pub(super) is_started: bool,
}

/// The memory of one clip, or of one tile of it: a slot for each layer that needs one.
#[derive(Default)]
pub(super) struct Cache {
    slots: Vec<Slot>,
}

impl Cache {
    pub(super) fn slot(&mut self, place: usize) -> &mut Slot {
        if place >= self.slots.len() {
            self.slots.resize_with(place + 1, Slot::default);
        }
        &mut self.slots[place]
    }
}

/// Gives out the places in a [`Cache`] while a model is loaded.
#[derive(Default)]
pub(super) struct Places(Cell<usize>);

impl Places {
    pub(super) fn next(&self) -> usize {
        self.0.replace(self.0.get() + 1)
    }
}

/// A convolution over three frames, the newest of which is the one that comes: zeros stand before the first.
pub(super) struct CausalConv {
    conv: Conv3d,
    place: usize,
}

impl CausalConv {
    /// `name` with a kernel of 3x3x3.
    pub(super) fn load(reader: &Reader, places: &Places, name: &str, outputs: usize, inputs: usize) -> Result<Self> {
        Ok(Self {
            conv: reader.conv3d(name, outputs, inputs, [3, 3], [1, 1], true)?,
            place: places.next(),
        })
    }

    /// **Shapes**: `x [1, H, W, C]` → `[1, H, W, O]`.
    pub(super) fn push(&self, cache: &mut Cache, x: &Tensor) -> Result<Tensor> {
        self.push_padded(cache, PaddedFrame::new(x, &self.conv)?)
    }

    /// conv(silu(norm(x))). **Shapes**: `x [1, H, W, C]`, which is given back before the result is made; → `[1, H, W, O]`.
    pub(super) fn push_normed(&self, cache: &mut Cache, x: Tensor, gamma: &[f32]) -> Result<Tensor> {
        let frame = self.normed(&x, gamma)?;
        drop(x);
        self.push_padded(cache, frame)
    }

    /// silu(norm(x)) as this convolution reads it.
    pub(super) fn normed(&self, x: &Tensor, gamma: &[f32]) -> Result<PaddedFrame> {
        Ok(PaddedFrame::normed(
            x,
            gamma,
            norm_eps(gamma),
            Activation::Silu,
            &self.conv,
        )?)
    }

    pub(super) fn push_padded(&self, cache: &mut Cache, frame: PaddedFrame) -> Result<Tensor> {
        let slot = cache.slot(self.place);
        let window = [slot.older.as_ref(), slot.newer.as_ref(), Some(&frame)];
        let out = conv3d_frames(&window, &self.conv, Activation::None)?;
        slot.older = slot.newer.replace(frame);
        Ok(out)
    }

    /// As [`CausalConv::push_padded`], added to `residual` in its place.
    pub(super) fn push_residual(&self, cache: &mut Cache, frame: PaddedFrame, residual: Tensor) -> Result<Tensor> {
        let slot = cache.slot(self.place);
        let window = [slot.older.as_ref(), slot.newer.as_ref(), Some(&frame)];
        let out = conv3d_frames_residual(&window, &self.conv, residual)?;
        slot.older = slot.newer.replace(frame);
        Ok(out)
    }
}

/// The eps with which a root mean square over C channels is the reference's x / max(|x|, 1e-12) * sqrt(C).
pub(super) fn norm_eps(gamma: &[f32]) -> f32 {
    1e-24 / gamma.len().max(1) as f32
}

/// The weight of a norm over channels, stored with axes of one for what it is spread over.
pub(super) fn gamma(reader: &Reader, name: &str, channels: usize, axes: usize) -> Result<Vec<f32>> {
    let dims = [&[channels][..], &vec![1; axes]].concat();
    Ok(reader.tensor(&format!("{name}.gamma"), &dims)?.as_slice().to_vec())
}
