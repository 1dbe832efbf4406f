//! How much memory the autoencoder takes, from its config alone, before anything is loaded.
//!
//! Each function walks through the layers as the network does, taking and giving back buffers of the sizes that the network
//! takes, from a pool that reuses them by the rule of [`kinora_tensor::Arena`]. The first latent frames show all:
//! what comes later takes the same buffers again, so a clip of any length needs no more. Tests compare with real runs.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use kinora_kernels::Precision;

use super::config::{COLOURS, Config, Stage};
use super::names::tensors;
use super::tiles::{Tiling, first_tiled_stage, squares, tiles_with_halo};
use crate::Result;

const FLOAT: usize = size_of::<f32>();
/// Floats of a cache line.
const LINE: usize = 16;
/// Columns that weights are packed in.
const PANEL: usize = 32;
/// Latent frames after which nothing new is taken: the first is alone, the second has zeros before it, and then it can take
/// a few until each buffer has found its size.
const LATENT_FRAMES: usize = 6;

/// What the packed weights take.
///
/// **Errors**: those of [`Precision::of_convolutions`].
pub fn weights_bytes(config: &Config, precision: Precision, with_encoder: bool) -> Result<u64> {
    let words = Words::of(precision)?;
    let of = |(name, shape): (String, Vec<usize>)| {
        let is_read = with_encoder || !(name.starts_with("encoder.") || name.starts_with("quant_conv."));
        if !is_read {
            return 0;
        }
        let (outputs, taps) = (shape[0], shape.iter().skip(2).product::<usize>());
        let is_norm = name.ends_with("gamma");
        let floats = match shape.get(1) {
            Some(&inputs) if !is_norm => outputs.next_multiple_of(PANEL) * taps * words.of_pixel(inputs),
            _ => outputs,
        };
        (FLOAT * floats) as u64
    };
    Ok(tensors(config).into_iter().map(of).sum())
}

/// What decoding a clip of latents of `size` (rows, columns) holds at most, beside the weights and the latents.
///
/// **Errors**: those of [`Precision::of_convolutions`].
pub fn decode_bytes(config: &Config, size: [usize; 2], tiling: Tiling, precision: Precision) -> Result<u64> {
    let mut walk = Walk::new(config, precision)?;
    for _ in 0..LATENT_FRAMES {
        walk.decode(size, tiling);
    }
    Ok(walk.pool.held_bytes())
}

/// What encoding a clip with frames of latents of `size` (rows, columns) holds at most, beside the weights.
///
/// **Errors**: those of [`Precision::of_convolutions`].
pub fn encode_bytes(config: &Config, size: [usize; 2], precision: Precision) -> Result<u64> {
    let mut walk = Walk::new(config, precision)?;
    for _ in 0..1 + (LATENT_FRAMES - 1) * config.temporal_factor() {
        walk.encode(size);
    }
    Ok(walk.pool.held_bytes())
}

/// How many values of a pixel are in a word.
#[derive(Clone, Copy)]
struct Words {
    values: usize,
}

impl Words {
    fn of(precision: Precision) -> Result<Self> {
        let values = match precision.of_convolutions()? {
            Precision::Bf16 => 2,
            _ => 1,
        };
        Ok(Self { values })
    }

    const fn of_pixel(self, channels: usize) -> usize {
        channels.div_ceil(self.values)
    }
}

/// The floats of a buffer that was taken.
#[must_use]
struct Buffer(usize);

/// Buffers as an arena keeps them.
#[derive(Default)]
struct Pool {
    free: Vec<usize>,
    /// Floats that were taken from the system.
    held: usize,
}

impl Pool {
    fn take(&mut self, floats: usize) -> Buffer {
        let floats = floats.next_multiple_of(LINE);
        let best = (0..self.free.len())
            .filter(|&i| (floats..=floats + floats / 4).contains(&self.free[i]))
            .min_by_key(|&i| self.free[i]);
        match best {
            Some(i) => Buffer(self.free.swap_remove(i)),
            None => {
                self.held += floats;
                Buffer(floats)
            }
        }
    }

    fn give(&mut self, buffer: impl IntoIterator<Item = Buffer>) {
        self.free.extend(buffer.into_iter().map(|b| b.0));
    }

    const fn held_bytes(&self) -> u64 {
        (FLOAT * self.held) as u64
    }
}

impl IntoIterator for Buffer {
    type Item = Self;
    type IntoIter = std::iter::Once<Self>;

    fn into_iter(self) -> Self::IntoIter {
        std::iter::once(self)
    }
}

/// What a layer remembers, as [`super::cache::Slot`].
#[derive(Default)]
struct Slot {
    older: Option<Buffer>,
    newer: Option<Buffer>,
    half: Option<Buffer>,
    is_started: bool,
}

/// Which memory, which stage, which layer of it.
type Key = [usize; 3];

/// Keys of stages that are not one.
const FRONT: usize = 100;
const HEAD: usize = 101;

struct Walk<'a> {
    config: &'a Config,
    words: Words,
    pool: Pool,
    slots: BTreeMap<Key, Slot>,
}

impl<'a> Walk<'a> {
    fn new(config: &'a Config, precision: Precision) -> Result<Self> {
        Ok(Self {
            config,
            words: Words::of(precision)?,
            pool: Pool::default(),
            slots: BTreeMap::new(),
        })
    }

    fn frame(&mut self, [height, width]: [usize; 2], channels: usize) -> Buffer {
        self.pool.take(height * width * channels)
    }

    fn padded(&mut self, [height, width]: [usize; 2], channels: usize) -> Buffer {
        self.pool
            .take((height + 2) * (width + 2) * self.words.of_pixel(channels))
    }

    /// The newest frame pushes the oldest out.
    fn remember(&mut self, key: Key, frame: Buffer) {
        let slot = self.slots.entry(key).or_default();
        let newer = slot.newer.replace(frame);
        let gone = std::mem::replace(&mut slot.older, newer);
        self.pool.give(gone);
    }

    fn is_first(&mut self, key: Key) -> bool {
        !std::mem::replace(&mut self.slots.entry(key).or_default().is_started, true)
    }

    /// `CausalConv::push`.
    fn conv(&mut self, key: Key, x: Buffer, size: [usize; 2], [inputs, outputs]: [usize; 2]) -> Buffer {
        let frame = self.padded(size, inputs);
        let out = self.frame(size, outputs);
        self.remember(key, frame);
        self.pool.give(x);
        out
    }

    /// `CausalConv::push_normed`.
    fn normed_conv(&mut self, key: Key, x: Buffer, size: [usize; 2], [inputs, outputs]: [usize; 2]) -> Buffer {
        let frame = self.padded(size, inputs);
        self.pool.give(x);
        let out = self.frame(size, outputs);
        self.remember(key, frame);
        out
    }

    /// `ResBlock::push`.
    fn res_block(&mut self, [memory, stage, layer]: Key, x: Buffer, size: [usize; 2], channels: [usize; 2]) -> Buffer {
        let [inputs, outputs] = channels;
        let frame = self.padded(size, inputs);
        let inner = self.frame(size, outputs);
        self.remember([memory, stage, layer], frame);
        let frame = self.padded(size, outputs);
        self.pool.give(inner);
        let mut residual = x;
        if inputs != outputs {
            let shortcut = self.frame(size, outputs);
            self.pool.give(std::mem::replace(&mut residual, shortcut));
        }
        self.remember([memory, stage, layer + 1], frame);
        residual
    }

    fn res_blocks(
        &mut self,
        [memory, index]: [usize; 2],
        mut x: Buffer,
        size: [usize; 2],
        stage: &Stage,
        count: usize,
    ) -> Buffer {
        for i in 0..count {
            let inputs = if i == 0 { stage.inputs } else { stage.width };
            x = self.res_block([memory, index, 2 * i], x, size, [inputs, stage.width]);
        }
        x
    }

    /// `MidBlock::push`.
    fn middle(&mut self, memory: usize, x: Buffer, size: [usize; 2], width: usize) -> Buffer {
        let x = self.res_block([memory, FRONT, 1], x, size, [width, width]);
        let normed = self.frame(size, width);
        let [q, k, v] = [(); 3].map(|()| self.frame(size, width));
        self.pool.give(normed);
        let mixed = self.frame(size, width);
        let (tokens, panels) = (size[0] * size[1], PANEL);
        let packed = tokens.next_multiple_of(panels) * width + tokens * width.next_multiple_of(panels);
        let packed = self.pool.take(packed);
        self.pool.give([packed, q, k, v, mixed]);
        self.res_block([memory, FRONT, 3], x, size, [width, width])
    }

    /// `decoder::Network::front`, with the latents scaled.
    fn front(&mut self, memory: usize, latent: Buffer, size: [usize; 2]) -> Buffer {
        let (z, width) = (self.config.z_dim, self.config.decoder_middle());
        let x = self.frame(size, z);
        self.pool.give(latent);
        let x = self.conv([memory, FRONT, 0], x, size, [z, width]);
        self.middle(memory, x, size, width)
    }

    /// `decoder::Network::stages_from`; `deliver` gets each frame with its size.
    fn stages(
        &mut self,
        [memory, from, to]: Key,
        x: Buffer,
        size: [usize; 2],
        deliver: &mut dyn FnMut(&mut Self, Buffer, [usize; 2]),
    ) {
        if from == to {
            return deliver(self, x, size);
        }
        let stage = self.config.decoder_stages()[from];
        let has_shortcut = self.config.is_residual && stage.resizes;
        let mut shortcut = has_shortcut.then(|| self.frame(size, stage.inputs));
        let x = self.res_blocks([memory, from], x, size, &stage, self.config.num_res_blocks + 1);
        let next = [memory, from + 1, to];
        if !stage.resizes {
            return self.stages(next, x, size, deliver);
        }
        let large = size.map(|v| 2 * v);
        let key = [memory, from, FRONT];
        if !stage.in_time || self.is_first(key) {
            let frame = self.frame(large, stage.outputs);
            self.pool.give(x);
            self.pool.give(shortcut);
            return self.stages(next, frame, large, deliver);
        }
        let past = self.padded(size, stage.width);
        self.pool.give(x);
        for i in 0..stage.frames() {
            let grown = self.frame(size, stage.width);
            let frame = self.frame(large, stage.outputs);
            self.pool.give(grown);
            if i + 1 == stage.frames() {
                self.pool.give(shortcut.take());
            }
            self.stages(next, frame, large, deliver);
        }
        self.remember(key, past);
    }

    /// `decoder::Network::head`.
    fn head(&mut self, memory: usize, x: Buffer, size: [usize; 2]) -> Buffer {
        let last = self.config.decoder_stages().last().map_or(1, |s| s.outputs);
        self.normed_conv([memory, HEAD, 0], x, size, [last, self.config.out_channels])
    }

    /// `decoder::Network::push`: the pixels of all frames.
    fn network(&mut self, memory: usize, latent: Buffer, size: [usize; 2]) -> Vec<Buffer> {
        let x = self.front(memory, latent, size);
        let mut pixels = Vec::new();
        let stages = self.config.dim_mult.len();
        self.stages([memory, 0, stages], x, size, &mut |walk, x, size| {
            pixels.push(walk.head(memory, x, size));
        });
        pixels
    }

    /// `Decoder::push`.
    fn decode(&mut self, size: [usize; 2], tiling: Tiling) {
        let config = self.config;
        let latent = self.frame(size, config.z_dim);
        let factor = config.spatial_factor();
        let pixels = match tiling {
            Tiling::Halo { tile_px } => self.in_halos(latent, size, tile_px),
            Tiling::Blend { tile_px, stride_px } if size.iter().any(|&v| v > tile_px / factor) => {
                self.blended(latent, size, [tile_px / factor, stride_px / factor])
            }
            _ => self.network(0, latent, size),
        };
        for frame in pixels {
            let finished = self.frame(size.map(|v| v * factor), COLOURS);
            self.pool.give([finished, frame]);
        }
    }

    fn in_halos(&mut self, latent: Buffer, size: [usize; 2], tile_px: usize) -> Vec<Buffer> {
        let config = self.config;
        let (from, stages) = (first_tiled_stage(config), config.dim_mult.len());
        let x = self.front(0, latent, size);
        let mut pixels = Vec::new();
        let whole = size.map(|v| v * config.spatial_factor() / config.patch());
        self.stages([0, 0, from], x, size, &mut |walk, x, size| {
            let width = config.decoder_stages()[from].inputs;
            let mut frames: Vec<Buffer> = Vec::new();
            for (i, (area, _)) in tiles_with_halo(config, tile_px, size).into_iter().enumerate() {
                let (mut count, tile) = (0, walk.frame(area.size(), width));
                walk.stages([1 + i, from, stages], tile, area.size(), &mut |walk, x, size| {
                    let tile = walk.head(1 + i, x, size);
                    if frames.len() == count {
                        frames.push(walk.frame(whole, config.out_channels));
                    }
                    walk.pool.give(tile);
                    count += 1;
                });
            }
            walk.pool.give(x);
            pixels.append(&mut frames);
        });
        pixels
    }

    fn blended(&mut self, latent: Buffer, size: [usize; 2], [tile, stride]: [usize; 2]) -> Vec<Buffer> {
        let config = self.config;
        let mut frames: Vec<Vec<Buffer>> = Vec::new();
        for (i, area) in squares(size, tile, stride).into_iter().enumerate() {
            let crop = self.frame(area.size(), config.z_dim);
            let of_tile = self.network(i, crop, area.size());
            frames.resize_with(of_tile.len(), Vec::new);
            frames
                .iter_mut()
                .zip(of_tile)
                .for_each(|(frame, tile)| frame.push(tile));
        }
        let whole = size.map(|v| v * config.spatial_factor() / config.patch());
        let put_together = |tiles: Vec<Buffer>| {
            let frame = self.frame(whole, config.out_channels);
            self.pool.give(tiles);
            frame
        };
        let pixels = frames.into_iter().map(put_together).collect();
        self.pool.give(latent);
        pixels
    }

    /// `Encoder::push` of one frame, which the caller holds meanwhile.
    fn encode(&mut self, latent_size: [usize; 2]) {
        let config = self.config;
        let given = self.frame(latent_size.map(|v| v * config.spatial_factor()), COLOURS);
        self.encoder(latent_size);
        self.pool.give(given);
    }

    /// `encoder::Network::push`, and what is made of its result.
    fn encoder(&mut self, latent_size: [usize; 2]) {
        let config = self.config;
        let mut size = latent_size.map(|v| v * config.spatial_factor() / config.patch());
        let pixels = self.frame(size, config.in_channels);
        let mut x = self.conv([0, FRONT, 0], pixels, size, [config.in_channels, config.base_dim]);
        for (i, stage) in config.encoder_stages().iter().enumerate() {
            let around = config.is_residual.then(|| self.average(i, size, stage));
            x = self.res_blocks([0, i], x, size, stage, config.num_res_blocks);
            if stage.resizes {
                match self.down(i, x, size, stage) {
                    Some(small) => x = small,
                    None => return,
                }
                size = size.map(|v| v / 2);
            }
            self.pool.give(around.flatten());
        }
        let (width, z) = (config.encoder_middle(), config.z_dim);
        let x = self.middle(0, x, size, width);
        let x = self.normed_conv([0, HEAD, 0], x, size, [width, 2 * z]);
        let moments = self.frame(size, 2 * z);
        self.pool.give(x);
        let latent = self.frame(size, z);
        self.pool.give([latent, moments]);
    }

    /// `AvgDown::push`.
    fn average(&mut self, index: usize, size: [usize; 2], stage: &Stage) -> Option<Buffer> {
        let small = size.map(|v| v / stage.side());
        let key = [0, index, HEAD];
        let share = self.frame(small, stage.outputs);
        if !stage.in_time || self.is_first(key) {
            return Some(share);
        }
        let slot = self.slots.entry(key).or_default();
        match slot.half.take() {
            Some(first) => {
                self.pool.give(first);
                Some(share)
            }
            None => {
                slot.half = Some(share);
                None
            }
        }
    }

    /// `Down::push`.
    fn down(&mut self, index: usize, x: Buffer, size: [usize; 2], stage: &Stage) -> Option<Buffer> {
        let half = size.map(|v| v / 2);
        let small = self.frame(half, stage.width);
        self.pool.give(x);
        if !stage.in_time {
            return Some(small);
        }
        let key = [0, index, FRONT];
        let frame = self.padded(half, stage.width);
        let is_first = self.is_first(key);
        let slot = self.slots.entry(key).or_default();
        if is_first {
            slot.older = Some(frame);
            return Some(small);
        }
        self.pool.give(small);
        let Some(first) = slot.newer.take() else {
            slot.newer = Some(frame);
            return None;
        };
        let older = slot.older.replace(frame);
        let out = self.frame(half, stage.width);
        self.pool.give(older);
        self.pool.give(first);
        Some(out)
    }
}
