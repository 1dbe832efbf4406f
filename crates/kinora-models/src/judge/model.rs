//! The judge: what a clip shows, from a few of its frames.
//!
//! **Source**: `training/toybox/judge.py`, with each batch norm folded into the convolution before it.
//!
//! **Flow**: frames `[F,H,W,3]` in 0..1 → -1..1 → pixel unshuffle by 4 → stem → stages of residual blocks, halved twice →
//! `[F,H/16,W/16,C]`. Appearance: mean and maximum over each frame (`features [F,2C]`), then over the frames → actor,
//! background, time, weather. Motion: a few channels that keep their place → one vector a frame → all frames → motion,
//! camera, count.
//!
//! **Numerics**: f32 throughout, whatever the weights are stored as.

use std::path::Path;

use kinora_kernels::{Activation, Conv2d, Linear, conv2d, conv2d_residual, linear, pixel_unshuffle};
use kinora_tensor::Tensor;
use kinora_weights::{Checkpoint, Reader};

use super::config::{Config, Head};
use crate::{Error, Result};

/// Side of the pixel blocks that are folded into channels before the first convolution.
const PATCH: usize = 4;
/// Colour channels.
const COLOURS: usize = 3;

/// `relu(x + conv(relu(conv(x))))`.
struct Residual {
    first: Conv2d,
    second: Conv2d,
}

impl Residual {
    fn load(reader: &Reader, name: &str, width: usize) -> Result<Self> {
        let reader = reader.at(name);
        Ok(Self {
            first: reader.conv2d("first", width, width, 3, 1, true)?,
            second: reader.conv2d("second", width, width, 3, 1, true)?,
        })
    }

    /// **Shapes**: `x [F, H, W, C]` → the same.
    fn forward(&self, x: Tensor) -> Result<Tensor> {
        let inner = conv2d(&x, &self.first, Activation::Relu)?;
        Ok(conv2d_residual(&inner, &self.second, x, Activation::Relu)?)
    }
}

/// What the judge says of a clip.
#[derive(Debug)]
pub struct Judgement {
    logits: [Vec<f32>; Head::ALL.len()],
    /// The features of each frame that was looked at, `[F, 2C]`: neighbours should be alike.
    pub features: Tensor,
}

impl Judgement {
    /// One number for each answer to `head`, in the order of [`super::Classes`]; the largest is the judge's choice.
    pub fn logits(&self, head: Head) -> &[f32] {
        &self.logits[head as usize]
    }
}

/// The network with its weights.
pub struct Judge {
    config: Config,
    stem: Conv2d,
    stage1: Residual,
    down1: Conv2d,
    stage2: Residual,
    down2: Conv2d,
    stage3: [Residual; 2],
    appearance: Linear,
    grid: Conv2d,
    frame: Linear,
    motion: Linear,
    heads: Vec<(Head, Linear)>,
}

impl Judge {
    /// The files in a judge's folder: configuration and weights.
    pub const FILES: [&str; 2] = ["config.json", "model.safetensors"];

    /// Reads a judge's folder, [`Judge::FILES`].
    ///
    /// **Errors**: [`Error::JudgeFile`] for a file that is not there or not readable; as [`Judge::load`].
    pub fn open(folder: &Path) -> Result<Self> {
        let [config, weights] = Self::FILES.map(|file| folder.join(file));
        let json = std::fs::read_to_string(&config).map_err(|source| Error::JudgeFile { path: config, source })?;
        Self::load(&Checkpoint::open(&weights)?, &json)
    }

    /// Reads every tensor of `checkpoint`.
    ///
    /// **Errors**: a configuration that cannot be built; a tensor that is missing, has another shape, or that nothing
    /// reads.
    pub fn load(checkpoint: &Checkpoint, config_json: &str) -> Result<Self> {
        let config = Config::from_json(config_json)?;
        let reader = checkpoint.reader();
        let [a, b, c] = config.widths;
        let (hidden, frame_features) = (config.hidden, config.frame_features);
        let places: usize = config.grid().iter().product();
        let head = |head: Head| {
            let classes = config.classes.of(head).len();
            Ok((head, reader.at("heads").linear(head.name(), classes, hidden)?))
        };
        let judge = Self {
            stem: reader.conv2d("stem", a, COLOURS * PATCH * PATCH, 3, 1, true)?,
            stage1: Residual::load(&reader, "stage1", a)?,
            down1: reader.conv2d("down1", b, a, 3, 2, true)?,
            stage2: Residual::load(&reader, "stage2", b)?,
            down2: reader.conv2d("down2", c, b, 3, 2, true)?,
            stage3: [
                Residual::load(&reader, "stage3.0", c)?,
                Residual::load(&reader, "stage3.1", c)?,
            ],
            appearance: reader.linear("appearance", hidden, 4 * c)?,
            grid: reader.conv2d("grid", config.grid_channels, c, 1, 1, true)?,
            frame: reader.linear("frame", frame_features, config.grid_channels * places)?,
            motion: reader.linear("motion", hidden, config.frames * frame_features)?,
            heads: Head::ALL.into_iter().map(head).collect::<Result<_>>()?,
            config,
        };
        reader.finish(&[])?;
        Ok(judge)
    }

    /// Sizes and answers.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Looks at the frames of one clip; [`Config::choose_frames`] says which.
    ///
    /// **Shapes**: `frames [F, H, W, 3]` in 0..1, the sizes of the configuration. **Errors**: other shapes.
    pub fn forward(&self, frames: &Tensor) -> Result<Judgement> {
        self.forward_tapped(frames, &mut |_, _| ())
    }

    /// As [`Judge::forward`], showing intermediate tensors to `tap` under the names that the goldens use.
    pub fn forward_tapped(&self, frames: &Tensor, tap: &mut dyn FnMut(&str, &Tensor)) -> Result<Judgement> {
        let config = &self.config;
        let expected = [config.frames, config.height, config.width, COLOURS];
        if frames.dims() != expected {
            return Err(frames.mismatch("judge", format!("{expected:?}")).into());
        }
        let mut x = frames.try_clone()?;
        x.as_mut_slice().iter_mut().for_each(|v| *v = *v * 2.0 - 1.0);

        // 1. Convolutions, each frame by itself
        let x = conv2d(&pixel_unshuffle(&x, PATCH)?, &self.stem, Activation::Relu)?;
        tap("stem", &x);
        let x = self.stage1.forward(x)?; // [F, H/4, W/4, A]
        tap("stage1", &x);
        let x = self.stage2.forward(conv2d(&x, &self.down1, Activation::Relu)?)?; // [F, H/8, W/8, B]
        tap("stage2", &x);
        let mut x = conv2d(&x, &self.down2, Activation::Relu)?;
        for block in &self.stage3 {
            x = block.forward(x)?; // [F, H/16, W/16, C]
        }
        tap("stage3", &x);

        // 2. Who, where, when: pooled over the places, then over the frames
        let features = mean_and_max(&x)?; // [F, 2C]
        let [frame_count, width] = features.dims_of("judge", "[F, 2C]")?;
        let clip = mean_and_max(&features.try_clone()?.reshape([1, frame_count, 1, width])?)?; // [1, 4C]
        let looks = linear(&clip, &self.appearance, Activation::Relu)?;
        tap("appearance", &looks);

        // 3. Motion and camera: what keeps its place, over time
        let grid = channels_first(&conv2d(&x, &self.grid, Activation::Relu)?)?; // [F, G*h*w]
        let frame = linear(&grid, &self.frame, Activation::Relu)?;
        tap("frame", &frame);
        let all = frame.reshape([1, config.frames * config.frame_features])?;
        let moves = linear(&all, &self.motion, Activation::Relu)?;
        tap("motion", &moves);

        let mut logits: [Vec<f32>; Head::ALL.len()] = Default::default();
        for (head, layer) in &self.heads {
            let from = if head.is_of_appearance() { &looks } else { &moves };
            logits[*head as usize] = linear(from, layer, Activation::None)?.as_slice().to_vec();
        }
        Ok(Judgement { logits, features })
    }
}

/// `[N, H, W, C]` → `[N, 2C]`: the means over all places, then the maxima.
fn mean_and_max(x: &Tensor) -> Result<Tensor> {
    let [count, height, width, channels] = x.dims_of("judge", "[N, H, W, C]")?;
    let places = height * width;
    let mut out = x.uninit_like([count, 2 * channels])?;
    let images = x.as_slice().chunks_exact(places * channels);
    for (image, out) in images.zip(out.as_mut_slice().chunks_exact_mut(2 * channels)) {
        let (mean, max) = out.split_at_mut(channels);
        mean.fill(0.0);
        max.fill(f32::NEG_INFINITY);
        for pixel in image.chunks_exact(channels) {
            for ((mean, max), &v) in mean.iter_mut().zip(max.iter_mut()).zip(pixel) {
                *mean += v;
                *max = max.max(v);
            }
        }
        mean.iter_mut().for_each(|v| *v /= places as f32);
    }
    Ok(out)
}

/// `[N, H, W, C]` → `[N, C*H*W]`, as the reference flattens its images.
fn channels_first(x: &Tensor) -> Result<Tensor> {
    let [count, height, width, channels] = x.dims_of("judge", "[N, H, W, C]")?;
    let places = height * width;
    let mut out = x.uninit_like([count, channels * places])?;
    let images = x.as_slice().chunks_exact(places * channels);
    for (image, out) in images.zip(out.as_mut_slice().chunks_exact_mut(places * channels)) {
        for (place, pixel) in image.chunks_exact(channels).enumerate() {
            pixel.iter().enumerate().for_each(|(c, &v)| out[c * places + place] = v);
        }
    }
    Ok(out)
}
