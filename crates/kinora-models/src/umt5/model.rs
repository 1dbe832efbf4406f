//! The encoder of umT5: token ids of a prompt in, context tokens out.
//!
//! **Source**: `UMT5EncoderModel`, transformers 5.23.0 (Apache-2.0); weights google/umt5-xxl (Apache-2.0); UniMax, arXiv
//! 2304.09151; T5, arXiv 1910.10683.
//!
//! **Flow**: ids of one text `[S]` -> rows of the token table `[S,M]` -> blocks (self-attention with a learnt bias by
//! distance, gated feed-forward; each on the RMS norm of its input, added to it) -> RMS norm `[S,M]`.
//!
//! **Numerics**: activations are f32. Real activations of this model leave the range of f16. What the reference does to a
//! batch with padding is done here to each text alone: hidden keys weigh nothing there, so both are equal.
//! In [`Precision::Int8`] the layer out of the feed-forward stays bf16 (in the reference too it is the one that is kept
//! in a wider type): single values of its input are far larger than the rest.
//!
//! umT5-XXL has 5.7 G parameters and is needed for seconds, once for a clip. So nothing of it is held: [`Umt5::open`]
//! checks names and shapes, [`Umt5::embed`] reads one block at a time for all texts and gives it back, and of the token
//! table only the rows that occur are read.

use kinora_kernels::{
    Activation, KeyMask, Linear, Precision, ScoreBias, add, attention_biased, linear, linears, rms_norm,
};
use kinora_tensor::{Arena, Tensor};
use kinora_weights::{Checkpoint, Reader, Table};

use super::config::Config;
use crate::{Error, Result};

/// The two names of the token table; files have either or both, with the same content.
const TABLES: [&str; 2] = ["shared.weight", "encoder.embed_tokens.weight"];

/// What may stand in a file beside the encoder: the tokenizer, and markers of how weights are stored.
const NOT_WEIGHTS: [&str; 2] = ["spiece_model", "scaled_fp8"];

/// Shows intermediate tensors: place of the text, name, value.
type Tap<'a> = &'a mut dyn FnMut(usize, &str, &Tensor);

/// Self-attention with a bias by distance.
struct SelfAttention {
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    /// `[buckets, N]`.
    relative_bias: Tensor,
}

impl SelfAttention {
    fn expect(reader: &Reader, config: &Config) -> Result<()> {
        let (width, inner) = (config.d_model, config.inner_width());
        for name in ["q", "k", "v"] {
            reader.expect(&format!("{name}.weight"), &[inner, width])?;
        }
        reader.expect("o.weight", &[width, inner])?;
        let buckets = config.relative_attention_num_buckets;
        Ok(reader.expect("relative_attention_bias.weight", &[buckets, config.num_heads])?)
    }

    fn load(reader: &Reader, config: &Config) -> Result<Self> {
        let (width, inner) = (config.d_model, config.inner_width());
        let buckets = config.relative_attention_num_buckets;
        Ok(Self {
            q: reader.linear_no_bias("q", inner, width)?,
            k: reader.linear_no_bias("k", inner, width)?,
            v: reader.linear_no_bias("v", inner, width)?,
            o: reader.linear_no_bias("o", width, inner)?,
            relative_bias: reader.tensor("relative_attention_bias.weight", &[buckets, config.num_heads])?,
        })
    }

    /// The learnt bias of every head and distance, `[N, 2S-1]` by key - query + S - 1.
    fn bias_by_distance(&self, config: &Config, tokens: usize) -> Result<Tensor> {
        let (heads, columns) = (config.num_heads, 2 * tokens - 1);
        let mut table = self.relative_bias.uninit_like([heads, columns])?;
        for (column, distance) in (1 - tokens as isize..tokens as isize).enumerate() {
            let row = &self.relative_bias.as_slice()[config.bucket(distance) * heads..][..heads];
            for (head, &bias) in row.iter().enumerate() {
                table.as_mut_slice()[head * columns + column] = bias;
            }
        }
        Ok(table)
    }

    /// **Shapes**: `x [S, M]` -> `[S, M]`, without the residual.
    fn forward(&self, x: &Tensor, config: &Config, tap: &mut dyn FnMut(&str, &Tensor)) -> Result<Tensor> {
        let [tokens, _] = x.dims_of("umt5", "[S, M]")?;
        let bias = self.bias_by_distance(config, tokens)?;
        tap("bias", &bias);
        let heads = [1, tokens, config.num_heads, config.d_kv];
        let [q, k, v] = linears(x, [&self.q, &self.k, &self.v])?;
        let [q, k, v] = [q.reshape(heads)?, k.reshape(heads)?, v.reshape(heads)?]; // [1, S, N, D]
        // Scores are not divided by the root of the head width.
        let mixed = attention_biased(&q, &k, &v, KeyMask::None, ScoreBias::Relative(&bias), 1.0)?;
        let mixed = mixed.reshape([tokens, config.inner_width()])?; // [S, N*D]
        Ok(linear(&mixed, &self.o, Activation::None)?)
    }
}

/// wo(gelu(wi_0(x)) * wi_1(x)).
struct GatedFeedForward {
    wi_0: Linear,
    wi_1: Linear,
    wo: Linear,
}

impl GatedFeedForward {
    fn expect(reader: &Reader, config: &Config) -> Result<()> {
        let (width, inner) = (config.d_model, config.d_ff);
        reader.expect("wi_0.weight", &[inner, width])?;
        reader.expect("wi_1.weight", &[inner, width])?;
        Ok(reader.expect("wo.weight", &[width, inner])?)
    }

    fn load(reader: &Reader, config: &Config) -> Result<Self> {
        let (width, inner) = (config.d_model, config.d_ff);
        let wide = reader.with_precision(precision_of_wo(reader.precision()));
        Ok(Self {
            wo: wide.linear_no_bias("wo", width, inner)?,
            wi_0: reader.linear_no_bias("wi_0", inner, width)?,
            wi_1: reader.linear_no_bias("wi_1", inner, width)?,
        })
    }

    /// **Shapes**: `x [S, M]` -> `[S, M]`, without the residual.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut inner = linear(x, &self.wi_0, Activation::GeluTanh)?; // [S, d_ff]
        let gate = linear(x, &self.wi_1, Activation::None)?;
        let both = inner.as_mut_slice().iter_mut().zip(gate.as_slice());
        both.for_each(|(inner, gate)| *inner *= gate);
        drop(gate);
        Ok(linear(&inner, &self.wo, Activation::None)?)
    }
}

/// What the last layer of the feed-forward is packed in.
pub(super) const fn precision_of_wo(precision: Precision) -> Precision {
    match precision {
        Precision::Int8 => Precision::Bf16,
        other => other,
    }
}

/// One block, in memory while it is needed.
struct Block {
    attn_norm: Vec<f32>,
    self_attn: SelfAttention,
    ffn_norm: Vec<f32>,
    ffn: GatedFeedForward,
}

impl Block {
    fn expect(reader: &Reader, config: &Config) -> Result<()> {
        reader.expect("layer.0.layer_norm.weight", &[config.d_model])?;
        SelfAttention::expect(&reader.at("layer.0.SelfAttention"), config)?;
        reader.expect("layer.1.layer_norm.weight", &[config.d_model])?;
        GatedFeedForward::expect(&reader.at("layer.1.DenseReluDense"), config)
    }

    /// The largest layers first: while a layer is packed, its part of the file is in memory beside what is packed already.
    fn load(reader: &Reader, config: &Config) -> Result<Self> {
        Ok(Self {
            ffn: GatedFeedForward::load(&reader.at("layer.1.DenseReluDense"), config)?,
            self_attn: SelfAttention::load(&reader.at("layer.0.SelfAttention"), config)?,
            attn_norm: reader.vector("layer.0.layer_norm.weight", config.d_model)?,
            ffn_norm: reader.vector("layer.1.layer_norm.weight", config.d_model)?,
        })
    }

    /// **Shapes**: `x [S, M]` -> `[S, M]`.
    fn forward(&self, x: Tensor, config: &Config, tap: &mut dyn FnMut(&str, &Tensor)) -> Result<Tensor> {
        let eps = config.layer_norm_epsilon;
        // 1. Self-attention: x += attn(norm(x))
        let normed = rms_norm(x.try_clone()?, &self.attn_norm, eps)?;
        tap("attn_norm", &normed);
        let attended = self.self_attn.forward(&normed, config, tap)?;
        tap("attn", &attended);
        drop(normed);
        let x = add(x, &attended)?;
        // 2. Feed-forward: x += ffn(norm(x))
        let normed = rms_norm(x.try_clone()?, &self.ffn_norm, eps)?;
        tap("ffn_norm", &normed);
        let inner = self.ffn.forward(&normed)?;
        tap("ffn", &inner);
        Ok(add(x, &inner)?)
    }
}

/// The encoder, of which nothing but the small ends is in memory.
pub struct Umt5 {
    config: Config,
    reader: Reader,
    table: Table,
    final_norm: Vec<f32>,
}

impl Umt5 {
    /// Checks that `checkpoint` holds exactly this model; its blocks are read in [`Umt5::embed`], packed in `precision`.
    ///
    /// **Errors**: a configuration that is not understood; a tensor that is missing, has another shape, or that nothing
    /// reads.
    pub fn open(checkpoint: &Checkpoint, config_json: &str, precision: Precision) -> Result<Self> {
        let config = Config::from_json(config_json)?;
        let reader = checkpoint.reader().with_precision(precision);
        let [shared, tied] = TABLES;
        let (first, second) = if reader.has(shared) {
            (shared, tied)
        } else {
            (tied, shared)
        };
        // The error for neither names the usual one.
        let name = if reader.has(first) { first } else { shared };
        let table = reader.table(name, config.vocab_size, config.d_model)?;
        if reader.has(second) {
            reader.expect(second, &[config.vocab_size, config.d_model])?;
        }
        for i in 0..config.num_layers {
            Block::expect(&block_of(&reader, i), &config)?;
        }
        let final_norm = reader.vector("encoder.final_layer_norm.weight", config.d_model)?;
        reader.finish(&NOT_WEIGHTS)?;
        Ok(Self {
            config,
            reader,
            table,
            final_norm,
        })
    }

    /// The hyper-parameters.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// What the blocks are packed in.
    pub const fn precision(&self) -> Precision {
        self.reader.precision()
    }

    /// Context tokens of each text, without padding: the transformer wants them filled up with zeros to its text length.
    /// The blocks are read once for all texts.
    ///
    /// **Shapes**: texts of S ids each -> `[S, M]` each, in the same order; S may be 0.
    ///
    /// **Errors**: [`Error::TokenOutOfRange`]; a file that cannot be read.
    pub fn embed(&self, texts: &[Vec<u32>]) -> Result<Vec<Tensor>> {
        self.walk(texts, &mut |_| true, &mut |_, _, _| ())
            .map(Option::unwrap_or_default)
    }

    /// As [`Umt5::embed`], asking `go_on(blocks done)` before each block; `None` if it said no.
    pub fn embed_while(&self, texts: &[Vec<u32>], go_on: &mut dyn FnMut(usize) -> bool) -> Result<Option<Vec<Tensor>>> {
        self.walk(texts, go_on, &mut |_, _, _| ())
    }

    /// As [`Umt5::embed`], showing intermediate tensors to `tap` (place of the text, name, value) under the names that
    /// the goldens use.
    pub fn embed_tapped(&self, texts: &[Vec<u32>], tap: Tap) -> Result<Vec<Tensor>> {
        self.walk(texts, &mut |_| true, tap).map(Option::unwrap_or_default)
    }

    fn walk(&self, texts: &[Vec<u32>], go_on: &mut dyn FnMut(usize) -> bool, tap: Tap) -> Result<Option<Vec<Tensor>>> {
        let config = &self.config;
        let arena = Arena::new();
        let mut states = Vec::with_capacity(texts.len());
        for (text, ids) in texts.iter().enumerate() {
            let x = self.words(ids, &arena)?; // [S, M]
            tap(text, "hidden.0", &x);
            states.push(x);
        }
        self.table.release();
        for i in 0..config.num_layers {
            if !go_on(i) {
                return Ok(None);
            }
            let block = Block::load(&block_of(&self.reader, i), config)?;
            let mut next = Vec::with_capacity(states.len());
            for (text, x) in states.into_iter().enumerate() {
                let x = match x.elements() {
                    0 => x,
                    _ => block.forward(x, config, &mut |name, x| tap(text, &format!("block.{i}.{name}"), x))?,
                };
                tap(text, &format!("hidden.{}", i + 1), &x);
                next.push(x);
                // The next text has another length, which these buffers do not fit.
                arena.trim();
            }
            states = next;
        }
        let eps = config.layer_norm_epsilon;
        let normed = states.into_iter().map(|x| Ok(rms_norm(x, &self.final_norm, eps)?));
        normed.collect::<Result<_>>().map(Some)
    }

    /// **Shapes**: S ids -> `[S, M]`.
    fn words(&self, ids: &[u32], arena: &Arena) -> Result<Tensor> {
        let vocab_size = self.config.vocab_size;
        if let Some(&id) = ids.iter().find(|&&id| id as usize >= vocab_size) {
            return Err(Error::TokenOutOfRange { id, vocab_size });
        }
        let mut words = Tensor::zeros_in(arena, [ids.len(), self.config.d_model])?;
        self.table.gather_into(ids, words.as_mut_slice())?;
        Ok(words)
    }
}

fn block_of(reader: &Reader, i: usize) -> Reader {
    reader.at(format_args!("encoder.block.{i}"))
}
