//! How much memory a transformer needs, before there is one: pure functions of its config.
//!
//! Weights and contexts are counted layer by layer. What a step takes from its arena is found by going through the same
//! buffers, in the same order, with an arena that only counts: which buffers stand in for each other depends on their sizes,
//! so there is no simpler formula that holds for a few tokens and for many. Tests compare all of it with what loaded models
//! and real arenas say.
//!
//! Numbers that a config or a request makes absurdly large end at `usize::MAX`.

use kinora_kernels::{AttentionMode, Linear, Precision, attention_buffers};

use super::causal::CacheElement;
use super::config::Config;
use super::layout::{Part, Place, parts};
use super::options::{ContextMemory, LoadOptions, Residency, TextPadding};

const FLOAT: usize = size_of::<f32>();

fn product(factors: &[usize]) -> usize {
    factors
        .iter()
        .fold(1, |product, &factor| product.saturating_mul(factor))
}

fn sum(terms: impl IntoIterator<Item = usize>) -> usize {
    terms.into_iter().fold(0, usize::saturating_add)
}

/// The packed weights of a resident model: what [`Transformer::bytes`](super::Transformer::bytes) will say of it.
pub fn resident_bytes(config: &Config, precision: Precision) -> usize {
    let of_control = |place: &Place| matches!(place, Place::Control(_));
    let main = block_bytes(config, Place::Main(0), precision).saturating_mul(config.num_layers);
    let control = Place::all(config)
        .filter(of_control)
        .map(|place| block_bytes(config, place, precision));
    sum([bytes_outside_blocks(config, precision), main, sum(control)])
}

/// The most that a streamed model holds of its weights: all but the blocks, and two of these.
pub fn streamed_bytes(config: &Config, precision: Precision) -> usize {
    let order = Place::visited(config, true);
    let of = |place: &Place| block_bytes(config, *place, precision);
    let two = order.windows(2).map(|pair| sum(pair.iter().map(of))).max();
    let one = order.first().map_or(0, of);
    bytes_outside_blocks(config, precision).saturating_add(two.unwrap_or(one))
}

fn block_bytes(config: &Config, place: Place, precision: Precision) -> usize {
    sum(parts(config, place).into_iter().map(|part| match part {
        Part::Linear(_, outputs, inputs) => Linear::packed_bytes(outputs, inputs, precision),
        Part::Floats(_, dims) => FLOAT.saturating_mul(product(&dims)),
    }))
}

/// Everything but the blocks is packed in f32, except for the entry of the control branch.
fn bytes_outside_blocks(config: &Config, precision: Precision) -> usize {
    let (width, patch) = (config.width(), config.patch_volume());
    let layer = |outputs, inputs| Linear::packed_bytes(outputs, inputs, Precision::F32);
    let mlp = |inputs| layer(width, inputs).saturating_add(layer(width, width));
    let image = config.image_dim.map_or(0, |inputs| {
        let positions = config.pos_embed_seq_len.unwrap_or(0) * inputs;
        let floats = FLOAT * (positions + 2 * inputs + 2 * width);
        sum([layer(inputs, inputs), layer(width, inputs), floats])
    });
    let control = config.vace_in_channels.map_or(0, |channels| {
        layer(width, channels * patch).saturating_add(Linear::packed_bytes(width, width, precision))
    });
    sum([
        layer(width, config.in_channels * patch),
        mlp(config.freq_dim),
        layer(6 * width, width),
        mlp(config.text_dim),
        image,
        control,
        FLOAT * 2 * width,
        layer(config.out_channels() * patch, width),
    ])
}

/// What a [`Context`](super::Context) holds, of `batch` texts with their pictures, once a step has used it.
/// Tokens as in [`Step`].
pub fn context_bytes(
    config: &Config,
    batch: usize,
    text_tokens: usize,
    image_tokens: usize,
    options: impl Into<LoadOptions>,
) -> usize {
    let options = options.into();
    let tokens = product(&[FLOAT, batch, text_tokens.saturating_add(image_tokens), config.width()]);
    let kept = product(&[2, tokens, config.num_layers + config.control_layers().len()]);
    match (options.contexts, options.residency) {
        (ContextMemory::Remade, _) => tokens,
        (ContextMemory::Kept, Residency::Resident) => kept,
        (ContextMemory::Kept, Residency::Streamed) => kept.saturating_add(tokens),
    }
}

/// What a [`KvCache`](super::KvCache) holds of `frames` frames of `[rows, columns]` tokens each.
pub fn kv_cache_bytes(
    config: &Config,
    [rows, columns]: [usize; 2],
    frames: usize,
    batch: usize,
    element: CacheElement,
) -> usize {
    let tokens = product(&[batch, frames, rows, columns]);
    product(&[2, config.num_layers, tokens, config.width(), element.size_bytes()])
}

/// One call of a transformer, as far as its memory goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Step {
    /// Frames, rows and columns of tokens.
    pub token_grid: [usize; 3],
    /// Entries of the batch.
    pub batch: usize,
    /// Tokens of a text; where padding is folded, those of the longest text and one more.
    pub text_tokens: usize,
    /// Tokens of the picture beside it; 0 without one.
    pub image_tokens: usize,
    /// How the model is loaded.
    pub options: LoadOptions,
    /// Whether control latents steer it.
    pub control: bool,
    /// Frames in the cache that the call reads; 0 without one.
    pub cached_frames: usize,
}

/// Elements of a tensor that no machine holds; numbers below can be multiplied without a thought.
const ABSURD: usize = 1 << 48;

/// What the arena of the latents and the context holds because of calls like `step`, once they are over: with the buffers
/// that wait to be used again, without the latents, the context, the cache and the weights. At most two timesteps in the
/// batch.
pub fn step_bytes(config: &Config, step: &Step) -> usize {
    let [frames, rows, columns] = step.token_grid;
    let frames = frames.saturating_add(step.cached_frames);
    let inputs = config.in_channels.max(config.vace_in_channels.unwrap_or(0)) * config.patch_volume();
    let widest = config.ffn_dim.max(config.width()).max(inputs);
    let own = product(&[step.batch, frames, rows, columns, widest]);
    let context = product(&[step.batch, step.text_tokens.max(step.image_tokens), config.width()]);
    if own.max(context) > ABSURD {
        return usize::MAX;
    }
    let mut arena = Counting::default();
    forward(config, step, &mut arena);
    if kept_by_blocks(step) {
        // The second call may miss a buffer that a context has taken for good in the first.
        let options = LoadOptions {
            residency: Residency::Resident,
            ..step.options
        };
        forward(config, &Step { options, ..*step }, &mut arena);
    }
    arena.held_bytes - arena.kept_bytes
}

/// An arena that hands out numbers.
#[derive(Default)]
struct Counting {
    free: Vec<usize>,
    held_bytes: usize,
    /// Of tensors that are taken during a call and outlive it: they are not of the call.
    kept_bytes: usize,
}

/// Floats of a buffer.
type Buffer = usize;

impl Counting {
    /// As `kinora_tensor::Arena` does it: the smallest free buffer that wastes at most a quarter, else a new one.
    fn take(&mut self, dims: &[usize]) -> Buffer {
        const LINE: usize = 16;
        let floats = product(dims).checked_next_multiple_of(LINE).unwrap_or(usize::MAX);
        let fits = floats..=floats.saturating_add(floats / 4);
        let best = (0..self.free.len())
            .filter(|&i| fits.contains(&self.free[i]))
            .min_by_key(|&i| self.free[i]);
        match best {
            Some(i) => self.free.swap_remove(i),
            None => {
                self.held_bytes = self.held_bytes.saturating_add(floats.saturating_mul(FLOAT));
                floats
            }
        }
    }

    fn give<const N: usize>(&mut self, buffers: [Buffer; N]) {
        self.free.extend(buffers);
    }

    fn several<const N: usize>(&mut self, dims: &[usize]) -> [Buffer; N] {
        [(); N].map(|()| self.take(dims))
    }
}

/// Distinct timesteps of a call: those of what is made, and 0 of what is given.
const TIMESTEPS: usize = 2;

/// The buffers of `Transformer::forward`, in its order.
fn forward(config: &Config, step: &Step, arena: &mut Counting) {
    let (width, patch) = (config.width(), config.patch_volume());
    let tokens = step.batch.saturating_mul(product(&step.token_grid));
    // 1. Patches
    let patches = arena.take(&[tokens, config.in_channels, patch]);
    let main = arena.take(&[tokens, width]);
    arena.give([patches]);

    // 2. Timesteps
    let [codes, inner, embedding] = [config.freq_dim, width, width].map(|n| arena.take(&[TIMESTEPS, n]));
    arena.give([inner]);
    let activated = arena.take(&[TIMESTEPS, width]);
    let projection = arena.take(&[TIMESTEPS, 6, width]);
    arena.give([activated, codes]);

    // 3. Blocks
    let steering = step.control.then(|| {
        let channels = config.vace_in_channels.unwrap_or(0);
        let patches = arena.take(&[tokens, channels, patch]);
        let embedded = arena.take(&[tokens, width]);
        arena.give([patches]);
        let steering = arena.take(&[tokens, width]);
        arena.give([embedded]);
        steering
    });
    // Blocks of a kind take the same buffers, and the second finds what the first has left: unless each keeps a context.
    let mut order = Place::visited(config, step.control);
    if !kept_by_blocks(step) {
        order.truncate(4);
    }
    for place in order {
        block(config, step, place, arena);
        if let Place::Control(_) = place {
            let hint = arena.take(&[tokens, width]);
            arena.give([hint]);
        }
    }
    steering.into_iter().for_each(|steering| arena.give([steering]));

    // 4. Head
    let twice = arena.take(&[TIMESTEPS, 2, width]);
    let [shift, scale] = arena.several(&[TIMESTEPS, width]);
    let patches = arena.take(&[tokens, config.out_channels(), patch]);
    arena.give([shift, scale, twice]);
    let velocity = arena.take(&[tokens, config.out_channels(), patch]);
    arena.give([patches, velocity, main, embedding, projection]);
}

/// Whether blocks make their context in this step, the first that comes to them, and keep it.
fn kept_by_blocks(step: &Step) -> bool {
    let options = step.options;
    options.contexts == ContextMemory::Kept && options.residency == Residency::Streamed && step.cached_frames == 0
}

/// The buffers of `Block::forward`, and of the context that it reads if that is made for it.
fn block(config: &Config, step: &Step, place: Place, arena: &mut Counting) {
    let cached_frames = match place {
        Place::Main(_) => step.cached_frames,
        Place::Control(_) => 0,
    };
    let (width, heads) = (config.width(), config.num_attention_heads);
    let [_, rows, columns] = step.token_grid;
    let own = product(&step.token_grid);
    let all = &[step.batch, own, width];
    let mode = step.options.precision.attention_mode();
    let attention = |keys: usize, mode, arena: &mut Counting| {
        let q = [step.batch, own, heads, config.attention_head_dim];
        let attended = arena.take(all);
        let [queries, packed] = attention_buffers(q, keys, mode).map(|floats| arena.take(&[floats]));
        arena.give([packed, queries]);
        attended
    };
    let kept = kept_by_blocks(step);
    let made = kept || step.options.contexts == ContextMemory::Remade;
    let with_picture = config.image_dim.is_some() && step.image_tokens > 0;
    let context = |tokens: usize, arena: &mut Counting| -> [Buffer; 2] {
        arena.several(&[if made { step.batch } else { 0 }, tokens, width])
    };
    let text = context(step.text_tokens, arena);
    let picture = context(if with_picture { step.image_tokens } else { 0 }, arena);

    // 1. Self-attention
    let first: [Buffer; 3] = arena.several(&[TIMESTEPS, width]);
    let [q, k, v]: [Buffer; 3] = arena.several(all);
    let attended = if cached_frames > 0 {
        let keys = product(&[cached_frames, rows, columns]).saturating_add(own);
        let [all_k, all_v] = arena.several(&[step.batch, keys, width]);
        arena.give([k, v]);
        let attended = attention(keys, mode, arena);
        arena.give([q, all_k, all_v]);
        attended
    } else {
        let attended = attention(own, mode, arena);
        arena.give([q, k, v]);
        attended
    };
    arena.give([attended]);

    // 2. Cross-attention
    let q = arena.take(all);
    let folded = step.options.padding == TextPadding::Folded;
    let bias = arena.take(&[if folded { step.batch } else { 0 }, step.text_tokens]);
    let exact = if folded { AttentionMode::Exact } else { mode };
    let attended = attention(step.text_tokens, exact, arena);
    arena.give([bias]);
    if with_picture {
        let to_picture = attention(step.image_tokens, mode, arena);
        arena.give([to_picture]);
    }
    arena.give([q, attended]);

    // 3. Feed-forward
    let second: [Buffer; 3] = arena.several(&[TIMESTEPS, width]);
    let inner = arena.take(&[step.batch, own, config.ffn_dim]);
    arena.give([inner]);
    arena.give(second);
    arena.give(first);
    if kept {
        let tokens = step.text_tokens + if with_picture { step.image_tokens } else { 0 };
        arena.kept_bytes += 2 * FLOAT * step.batch * tokens * width;
    } else {
        arena.give(picture);
        arena.give(text);
    }
}
