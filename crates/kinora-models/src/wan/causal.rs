//! Making a clip block by block in time: what the model remembers of the blocks that are done.
//!
//! **Source**: facts from Self-Forcing, arXiv 2506.08009 (<https://github.com/guandeh17/Self-Forcing>,
//! `pipeline/causal_inference.py`, `wan/modules/causal_model.py`), and CausVid, arXiv 2412.07772. Models of this kind have
//! the weights and names of text to video; what differs is who sees whom.
//!
//! **Flow**: the clip is cut into blocks of a few latent frames (three in published models). A token sees its own block and
//! all blocks before it. For each block: a few steps at falling timesteps, which read the cache; then one more call at
//! timestep 0 with the clean latents, which writes their keys and values. Positions are counted from the start of the clip,
//! so keys are kept turned. With a window the oldest frames are forgotten, except for the first few (sink).
//!
//! **Numerics**: with [`CacheElement::F32`] a step gives the numbers of one call over the whole clip with a block-causal
//! mask.

use kinora_tensor::Tensor;

use super::config::Config;
use crate::{Error, Result};

/// Whether a call remembers the keys and values of its block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WriteCache {
    /// A step on the way: the latents will change.
    No,
    /// The clean block, at timestep 0: later blocks see it.
    Yes,
}

/// What keys and values are kept as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CacheElement {
    /// As they were computed.
    #[default]
    F32,
    /// Half of the memory; each is rounded to 8 bits of mantissa, as the published implementations keep them.
    Bf16,
}

impl CacheElement {
    /// Bytes of one element.
    pub const fn size_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }
}

/// What a [`KvCache`] keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct CacheOptions {
    /// The most frames that a token sees, those of its own block included; all if absent.
    pub window_frames: Option<usize>,
    /// How many of them are the first ones of the clip, for good.
    pub sink_frames: usize,
    /// What they are kept as.
    pub element: CacheElement,
}

/// Keys and values of the clean blocks of a clip, for every block of the transformer.
pub struct KvCache {
    options: CacheOptions,
    /// Frames written so far, forgotten ones included: where the next block begins.
    frames: usize,
    /// Frames in memory.
    kept_frames: usize,
    /// Batch entries, rows and columns of a frame, and the model's width: set by the first call.
    extents: Option<[usize; 4]>,
    blocks: Vec<BlockCache>,
}

/// Keys and values of one block of the transformer, for each entry of the batch `[S, N, D]`.
#[derive(Default)]
pub(super) struct BlockCache {
    keys: Vec<Floats>,
    values: Vec<Floats>,
}

/// The cache of one block of the transformer during a call.
pub(super) struct Past<'a> {
    pub(super) cache: &'a mut BlockCache,
    pub(super) write: WriteCache,
}

impl KvCache {
    /// An empty cache.
    ///
    /// **Errors**: a window of nothing but sink frames.
    pub fn new(options: CacheOptions) -> Result<Self> {
        match options.window_frames {
            Some(window) if window <= options.sink_frames => Err(Error::Refused {
                model: "wan transformer",
                reason: format!("a window of {window} frames with {} sink frames", options.sink_frames),
                hint: "the window holds the sink, the block that is made and what it follows",
            }),
            _ => Ok(Self {
                options,
                frames: 0,
                kept_frames: 0,
                extents: None,
                blocks: Vec::new(),
            }),
        }
    }

    /// Frames of tokens written so far, forgotten ones included.
    pub const fn frames(&self) -> usize {
        self.frames
    }

    /// Frames of tokens in memory.
    pub const fn kept_frames(&self) -> usize {
        self.kept_frames
    }

    /// Memory of the keys and values.
    pub fn bytes(&self) -> usize {
        let stores = self
            .blocks
            .iter()
            .flat_map(|block| block.keys.iter().chain(&block.values));
        stores.map(Floats::bytes).sum()
    }

    /// Forgets everything: another clip begins.
    pub fn clear(&mut self) {
        *self = Self {
            options: self.options,
            frames: 0,
            kept_frames: 0,
            extents: None,
            blocks: Vec::new(),
        };
    }

    /// Forgets what a block of these extents leaves no room for.
    ///
    /// **Errors**: other extents than those of the blocks before; a block larger than the window.
    pub(super) fn prepare(
        &mut self,
        latents: &Tensor,
        [frames, rows, columns]: [usize; 3],
        config: &Config,
    ) -> Result<()> {
        let batch = latents.dims().first().copied().unwrap_or(0);
        let extents = [batch, rows, columns, config.width()];
        if self.frames == 0 {
            let stores = || (0..batch).map(|_| Floats::new(self.options.element)).collect();
            let block = || BlockCache {
                keys: stores(),
                values: stores(),
            };
            self.blocks = (0..config.num_layers).map(|_| block()).collect();
            self.extents = Some(extents);
        } else if self.extents != Some(extents) {
            let [batch, rows, columns, _] = self.extents.unwrap_or(extents);
            let expected = format!("a batch of {batch} with {rows} x {columns} tokens a frame, as the blocks before");
            return Err(latents.mismatch("wan causal block", expected).into());
        }
        let too_many = match self.options.window_frames {
            Some(window) if self.options.sink_frames + frames > window => {
                return Err(Error::Refused {
                    model: "wan transformer",
                    reason: format!(
                        "a block of {frames} frames in a window of {window} with {} sink frames",
                        self.options.sink_frames
                    ),
                    hint: "a larger window, or smaller blocks",
                });
            }
            Some(window) => (self.kept_frames + frames).saturating_sub(window),
            None => 0,
        };
        let frame = rows * columns * config.width();
        let forgotten = self.options.sink_frames * frame..(self.options.sink_frames + too_many) * frame;
        for block in &mut self.blocks {
            for store in block.keys.iter_mut().chain(&mut block.values) {
                // A call that failed half-way may have written to some.
                store.truncate(self.kept_frames * frame);
                if too_many > 0 {
                    store.remove(forgotten.clone());
                }
            }
        }
        self.kept_frames -= too_many;
        Ok(())
    }

    /// The cache of block `index` of the transformer.
    pub(super) fn block(&mut self, index: usize, write: WriteCache) -> Option<Past<'_>> {
        let cache = self.blocks.get_mut(index)?;
        Some(Past { cache, write })
    }

    /// A block of `frames` has been written by all blocks of the transformer.
    pub(super) const fn advance(&mut self, frames: usize) {
        self.frames += frames;
        self.kept_frames += frames;
    }
}

impl Past<'_> {
    /// The keys and values that the block's queries see: those before, then its own.
    ///
    /// **Shapes**: each `[B, L, N, D]` → `[B, S + L, N, D]`.
    pub(super) fn joined(self, [k, v]: [Tensor; 2]) -> Result<[Tensor; 2]> {
        let BlockCache { keys, values } = self.cache;
        let all = [join(keys, &k)?, join(values, &v)?];
        if self.write == WriteCache::Yes {
            append(keys, &k);
            append(values, &v);
        }
        let [all_k, all_v] = all;
        Ok([all_k.unwrap_or(k), all_v.unwrap_or(v)])
    }
}

/// `None` if nothing comes before.
fn join(before: &[Floats], x: &Tensor) -> Result<Option<Tensor>> {
    let [batch, tokens, heads, head_dim] = x.dims_of("wan causal attention", "[B, L, N, D]")?;
    let kept = before.first().map_or(0, Floats::len);
    if kept == 0 {
        return Ok(None);
    }
    let own = tokens * heads * head_dim;
    let mut all = x.uninit_like([batch, kept / (heads * head_dim) + tokens, heads, head_dim])?;
    let entries = before.iter().zip(x.as_slice().chunks_exact(own));
    for (all, (before, x)) in all.as_mut_slice().chunks_exact_mut(kept + own).zip(entries) {
        let (first, last) = all.split_at_mut(kept);
        before.write_to(first);
        last.copy_from_slice(x);
    }
    Ok(Some(all))
}

fn append(stores: &mut [Floats], x: &Tensor) {
    let entry = x.elements() / stores.len().max(1);
    for (store, x) in stores.iter_mut().zip(x.as_slice().chunks_exact(entry.max(1))) {
        store.append(x);
    }
}

/// A growing row of floats.
enum Floats {
    F32(Vec<f32>),
    Bf16(Vec<u16>),
}

impl Floats {
    const fn new(element: CacheElement) -> Self {
        match element {
            CacheElement::F32 => Self::F32(Vec::new()),
            CacheElement::Bf16 => Self::Bf16(Vec::new()),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::Bf16(values) => values.len(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::F32(values) => values.capacity() * CacheElement::F32.size_bytes(),
            Self::Bf16(values) => values.capacity() * CacheElement::Bf16.size_bytes(),
        }
    }

    /// Grows by no more than is needed: a cache is large, and grows a few times in a clip.
    fn append(&mut self, x: &[f32]) {
        match self {
            Self::F32(values) => {
                values.reserve_exact(x.len());
                values.extend_from_slice(x);
            }
            Self::Bf16(values) => {
                values.reserve_exact(x.len());
                values.extend(x.iter().copied().map(to_bf16));
            }
        }
    }

    fn write_to(&self, out: &mut [f32]) {
        match self {
            Self::F32(values) => out.copy_from_slice(values),
            Self::Bf16(values) => {
                let floats = values.iter().map(|&bits| f32::from_bits(u32::from(bits) << 16));
                out.iter_mut().zip(floats).for_each(|(out, value)| *out = value);
            }
        }
    }

    fn truncate(&mut self, len: usize) {
        match self {
            Self::F32(values) => values.truncate(len),
            Self::Bf16(values) => values.truncate(len),
        }
    }

    fn remove(&mut self, range: std::ops::Range<usize>) {
        match self {
            Self::F32(values) => drop(values.drain(range)),
            Self::Bf16(values) => drop(values.drain(range)),
        }
    }
}

/// The upper half of a float, to the nearest, ties to even.
const fn to_bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    if value.is_nan() {
        return (bits >> 16) as u16 | 0x40; // still one, whatever its lower half was
    }
    (bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_rounded_to_the_nearest_even() {
        let bits = |value: f32| to_bf16(value);
        assert_eq!(bits(1.0), 0x3f80);
        assert_eq!(bits(1.0 + 1.0 / 256.0), 0x3f80, "half-way, down to even");
        assert_eq!(bits(1.0 + 3.0 / 256.0), 0x3f82, "half-way, up to even");
        assert_eq!(bits(-1.0 - 1.1 / 256.0), 0xbf81);
        assert_eq!(bits(f32::INFINITY), 0x7f80);
        assert!(f32::from_bits(u32::from(bits(f32::from_bits(0x7f80_0001))) << 16).is_nan());
    }
}
