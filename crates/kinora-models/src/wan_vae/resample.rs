//! Changes of size in space and time, and the shortcuts of Wan 2.2 that lead around a stage.

use kinora_kernels::{
    Activation, Conv2d, Conv3d, PaddedFrame, Padding, add, conv2d, conv2d_upsampled_2x, conv3d_frames,
};
use kinora_tensor::Tensor;
use kinora_weights::Reader;

use super::cache::{Cache, Places};
use super::config::Stage;
use crate::Result;

/// Halves both sides, and the frame rate if it has a convolution over time.
pub(super) struct Down {
    conv: Conv2d,
    time: Option<Conv3d>,
    place: usize,
}

impl Down {
    pub(super) fn load(reader: &Reader, places: &Places, stage: &Stage) -> Result<Self> {
        let width = stage.width;
        let time = || reader.conv3d("time_conv", width, width, [3, 1], [1, 1], true);
        Ok(Self {
            conv: reader
                .conv2d("resample.1", width, width, 3, 2, true)?
                .with_padding(Padding::RightBottom),
            time: stage.in_time.then(time).transpose()?,
            place: places.next(),
        })
    }

    /// The first frame of a clip passes alone; after it, two frames become one, together with the frame before them.
    ///
    /// **Shapes**: `x [1, H, W, C]` → `[1, H/2, W/2, C]`.
    pub(super) fn push(&self, cache: &mut Cache, x: Tensor) -> Result<Option<Tensor>> {
        let small = conv2d(&x, &self.conv, Activation::None)?;
        drop(x);
        let Some(time) = &self.time else {
            return Ok(Some(small));
        };
        let slot = cache.slot(self.place);
        let frame = PaddedFrame::new(&small, time)?;
        if !slot.is_started {
            (slot.is_started, slot.older) = (true, Some(frame));
            return Ok(Some(small));
        }
        drop(small);
        let Some(first) = slot.newer.take() else {
            slot.newer = Some(frame);
            return Ok(None);
        };
        let window = [slot.older.as_ref(), Some(&first), Some(&frame)];
        let out = conv3d_frames(&window, time, Activation::None)?;
        slot.older = Some(frame);
        Ok(Some(out))
    }
}

/// Doubles both sides, and the frame rate if it has convolutions over time.
pub(super) struct Up {
    conv: Conv2d,
    /// What makes the first and the second of two frames.
    time: Option<[Conv3d; 2]>,
    place: usize,
}

impl Up {
    pub(super) fn load(reader: &Reader, places: &Places, stage: &Stage) -> Result<Self> {
        Ok(Self {
            conv: reader.conv2d("resample.1", stage.outputs, stage.width, 3, 1, true)?,
            time: stage.in_time.then(|| load_pair(reader, stage.width)).transpose()?,
            place: places.next(),
        })
    }

    /// Hands on one frame of twice the size, or two in the order of time; `deliver` also gets their place among the frames
    /// that one becomes.
    ///
    /// The first frame of a clip does not become two, and is not remembered either: before the second one stand zeros.
    ///
    /// **Shapes**: `x [1, H, W, C]` → `[1, 2H, 2W, O]`.
    pub(super) fn push(
        &self,
        cache: &mut Cache,
        x: Tensor,
        deliver: &mut dyn FnMut(&mut Cache, Tensor, usize) -> Result<()>,
    ) -> Result<()> {
        let Some(pair) = &self.time else {
            return deliver(cache, self.enlarge(x)?, 0);
        };
        let slot = cache.slot(self.place);
        if !std::mem::replace(&mut slot.is_started, true) {
            return deliver(cache, self.enlarge(x)?, 1);
        }
        let frame = PaddedFrame::new(&x, &pair[0])?;
        drop(x);
        for (i, conv) in pair.iter().enumerate() {
            let slot = cache.slot(self.place);
            let window = [slot.older.as_ref(), slot.newer.as_ref(), Some(&frame)];
            let grown = conv3d_frames(&window, conv, Activation::None)?;
            deliver(cache, self.enlarge(grown)?, i)?;
        }
        let slot = cache.slot(self.place);
        slot.older = slot.newer.replace(frame);
        Ok(())
    }

    fn enlarge(&self, x: Tensor) -> Result<Tensor> {
        Ok(conv2d_upsampled_2x(&x, &self.conv, Activation::None)?)
    }
}

/// `time_conv` gives twice the channels: those of the first frame, then those of the second.
fn load_pair(reader: &Reader, width: usize) -> Result<[Conv3d; 2]> {
    let weight = reader.tensor("time_conv.weight", &[2 * width, width, 3, 1, 1])?;
    let bias = reader.vector("time_conv.bias", 2 * width)?;
    let half = |i: usize| {
        let (rows, floats) = (i * width, 3 * width * width);
        let weight = &weight.as_slice()[i * floats..][..floats];
        let bias = Some(&bias[rows..][..width]);
        Conv3d::pack_as(weight, bias, [width; 2], [3, 1], [1, 1], reader.precision())
    };
    Ok([half(0)?, half(1)?])
}

/// The shortcut around a stage of the encoder: means of consecutive values among `[C, frames, rows, columns]`.
pub(super) struct AvgDown {
    stage: Stage,
    place: usize,
}

impl AvgDown {
    pub(super) fn new(places: &Places, stage: &Stage) -> Self {
        Self {
            stage: *stage,
            place: places.next(),
        }
    }

    /// **Shapes**: `x [1, H, W, C]` → `[1, H/side, W/side, O]`, for as many frames as [`Down::push`] gives.
    pub(super) fn push(&self, cache: &mut Cache, x: &Tensor) -> Result<Option<Tensor>> {
        if !self.stage.in_time {
            return self.share(x, 0).map(Some);
        }
        let slot = cache.slot(self.place);
        if !std::mem::replace(&mut slot.is_started, true) {
            // A frame of zeros stands before the first one.
            return self.share(x, 1).map(Some);
        }
        match slot.half.take() {
            Some(first) => Ok(Some(add(self.share(x, 1)?, &first)?)),
            None => {
                slot.half = Some(self.share(x, 0)?);
                Ok(None)
            }
        }
    }

    /// What the frame at place `time` of a group adds to the means.
    fn share(&self, x: &Tensor, time: usize) -> Result<Tensor> {
        let [_, height, width, channels] = x.dims_of("wan_vae shortcut", "[1, H, W, C]")?;
        let Stage { outputs, .. } = self.stage;
        let (side, factor) = (self.stage.side(), self.stage.factor());
        let group = channels * factor / outputs;
        // Where the values of each mean are, seen from the first pixel of a block.
        let places: Vec<Vec<usize>> = (0..outputs)
            .map(|o| {
                let values = (o * group..(o + 1) * group).map(|i| (i / factor, i % factor));
                let here = values.filter(|(_, place)| place / (side * side) == time);
                here.map(|(c, place)| (place / side % side * width + place % side) * channels + c)
                    .collect()
            })
            .collect();
        let (out_height, out_width) = (height / side, width / side);
        let mut out = x.uninit_like([1, out_height, out_width, outputs])?;
        let (values, weight) = (x.as_slice(), 1.0 / group as f32);
        for (i, pixel) in out.as_mut_slice().chunks_exact_mut(outputs).enumerate() {
            let block = &values[(i / out_width * width + i % out_width) * side * channels..];
            for (mean, places) in pixel.iter_mut().zip(&places) {
                *mean = places.iter().map(|&at| block[at]).sum::<f32>() * weight;
            }
        }
        Ok(out)
    }
}

/// Adds the shortcut around a stage of the decoder to frame `time` of those that `x` has become: each channel of `x` stands
/// for as many consecutive values of `[O, frames, rows, columns]` as there are.
///
/// **Shapes**: `out [1, 2H, 2W, O]`, `x [1, H, W, C]`.
pub(super) fn add_repeated(out: &mut Tensor, x: &Tensor, stage: &Stage, time: usize) -> Result<()> {
    let [_, _, width, channels] = x.dims_of("wan_vae shortcut", "[1, H, W, C]")?;
    let (side, factor, outputs) = (stage.side(), stage.factor(), stage.outputs);
    let repeats = outputs * factor / channels;
    // For each pixel of a block, the channel that stands for each output.
    let sources: Vec<Vec<usize>> = (0..side * side)
        .map(|place| {
            (0..outputs)
                .map(|o| (o * factor + time * side * side + place) / repeats)
                .collect()
        })
        .collect();
    let rows = out.as_mut_slice().chunks_exact_mut(width * side * outputs);
    for (y, row) in rows.enumerate() {
        let from = &x.as_slice()[y / side * width * channels..][..width * channels];
        for (i, pixel) in row.chunks_exact_mut(outputs).enumerate() {
            let from = &from[i / side * channels..][..channels];
            let sources = &sources[y % side * side + i % side];
            for (value, &source) in pixel.iter_mut().zip(sources) {
                *value += from[source];
            }
        }
    }
    Ok(())
}
