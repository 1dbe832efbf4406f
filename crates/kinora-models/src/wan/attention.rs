//! The two attentions of a block: over the clip's own tokens, and over the text (and the picture) that steers it.

use kinora_kernels::{
    Activation, AttentionMode, Input, KeyMask, Linear, ScoreBias, add, attention_as, attention_biased, linear, linears,
    rms_norm, rms_norm_rope,
};
use kinora_tensor::Tensor;
use kinora_weights::Reader;

use super::config::Config;
use super::context::ContextTokens;
use super::layout::Place;
use super::rope::Rope;
use super::tap::Taps;
use crate::Result;

/// Projections of one attention layer with RMS-normalised queries and keys.
pub(super) struct Attention {
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    pub(super) to_out: Linear,
    norm_q: Vec<f32>,
    norm_k: Vec<f32>,
    heads: usize,
    eps: f32,
    mode: AttentionMode,
}

impl Attention {
    pub(super) fn load(reader: &Reader, config: &Config) -> Result<Self> {
        let width = config.width();
        Ok(Self {
            to_q: reader.linear("to_q", width, width)?,
            to_k: reader.linear("to_k", width, width)?,
            to_v: reader.linear("to_v", width, width)?,
            to_out: reader.linear("to_out.0", width, width)?,
            norm_q: reader.vector("norm_q.weight", width)?,
            norm_k: reader.vector("norm_k.weight", width)?,
            heads: config.num_attention_heads,
            eps: config.eps,
            // What is rounded in front of attention need not be exact in it.
            mode: reader.precision().attention_mode(),
        })
    }

    pub(super) fn bytes(&self) -> usize {
        let layers = [&self.to_q, &self.to_k, &self.to_v, &self.to_out];
        size_of_val(&*self.norm_q) + size_of_val(&*self.norm_k) + layers.map(Linear::bytes).iter().sum::<usize>()
    }

    /// Queries, keys and values of the same tokens, turned by their positions.
    pub(super) fn turned(&self, x: Input, rope: &Rope) -> Result<[Tensor; 3]> {
        let [q, k, v] = linears(x, [&self.to_q, &self.to_k, &self.to_v])?;
        let turn = |x, norm| -> Result<Tensor> {
            Ok(rms_norm_rope(
                self.split_heads(x)?,
                norm,
                self.eps,
                &rope.cos,
                &rope.sin,
            )?)
        };
        Ok([turn(q, &self.norm_q)?, turn(k, &self.norm_k)?, self.split_heads(v)?])
    }

    fn queries(&self, x: Input) -> Result<Tensor> {
        let q = linear(x, &self.to_q, Activation::None)?;
        self.split_heads(rms_norm(q, &self.norm_q, self.eps)?)
    }

    /// softmax(q·kᵀ)·v, heads side by side again: `[B, L, M]`.
    pub(super) fn mix(&self, [q, k, v]: [&Tensor; 3]) -> Result<Tensor> {
        merge_heads(attention_as(q, k, v, KeyMask::None, self.mode)?)
    }

    /// As [`Attention::mix`] with the last key as often as `last_counts` says: exp(s + ln n) = n exp(s).
    fn mix_folded(&self, [q, k, v]: [&Tensor; 3], last_counts: usize) -> Result<Tensor> {
        let [batch, keys, _, head_dim] = k.dims_of("attention", "[B, S, N, D]")?;
        let mut bias = q.uninit_like([batch, keys])?;
        bias.as_mut_slice().fill(0.0);
        for of_entry in bias.as_mut_slice().chunks_exact_mut(keys) {
            of_entry[keys - 1] = (last_counts as f32).ln();
        }
        let scale = 1.0 / (head_dim as f32).sqrt();
        merge_heads(attention_biased(q, k, v, KeyMask::None, ScoreBias::Keys(&bias), scale)?)
    }

    fn split_heads(&self, x: Tensor) -> Result<Tensor> {
        let [batch, tokens, width] = x.dims_of("attention", "[B, L, M]")?;
        Ok(x.reshape([batch, tokens, self.heads, width / self.heads])?) // [B, L, N, D]
    }
}

fn merge_heads(x: Tensor) -> Result<Tensor> {
    let [batch, tokens, heads, head_dim] = x.dims_of("attention", "[B, L, N, D]")?;
    Ok(x.reshape([batch, tokens, heads * head_dim])?) // [B, L, M]
}

/// What cross-attention of one block reads, free of the timestep: keys and values `[B, S, N, D]` of the text, and
/// `[B, T, N, D]` of the picture in models that take one.
pub(super) struct CrossKeyValue {
    text: [Tensor; 2],
    image: Option<[Tensor; 2]>,
    /// How many tokens of the text the last key stands for.
    last_counts: usize,
}

impl CrossKeyValue {
    pub(super) fn bytes(&self) -> usize {
        let tensors = self.text.iter().chain(self.image.iter().flatten());
        size_of::<f32>() * tensors.map(Tensor::elements).sum::<usize>()
    }
}

/// Attention to the text, and to a picture's tokens with keys and values of their own.
///
/// The two have a softmax each and are summed in front of `to_out`: not one attention over joined keys.
pub(super) struct CrossAttention {
    pub(super) attention: Attention,
    image: Option<ImageKeys>,
}

struct ImageKeys {
    to_k: Linear,
    to_v: Linear,
    norm_k: Vec<f32>,
}

impl CrossAttention {
    pub(super) fn load(reader: &Reader, config: &Config) -> Result<Self> {
        let image = match config.added_kv_proj_dim {
            Some(inputs) => Some(ImageKeys {
                to_k: reader.linear("add_k_proj", config.width(), inputs)?,
                to_v: reader.linear("add_v_proj", config.width(), inputs)?,
                norm_k: reader.vector("norm_added_k.weight", config.width())?,
            }),
            None => None,
        };
        Ok(Self {
            attention: Attention::load(reader, config)?,
            image,
        })
    }

    pub(super) fn bytes(&self) -> usize {
        let image = self
            .image
            .iter()
            .map(|image| size_of_val(&*image.norm_k) + image.to_k.bytes() + image.to_v.bytes());
        self.attention.bytes() + image.sum::<usize>()
    }

    /// Free of the timestep. There is a picture just where the model takes one.
    pub(super) fn keys_and_values(
        &self,
        tokens: &ContextTokens,
        place: Place,
        tap: &mut Taps,
    ) -> Result<CrossKeyValue> {
        let Attention {
            to_k,
            to_v,
            norm_k,
            eps,
            ..
        } = &self.attention;
        let heads = |k, v, norm: &[f32]| -> Result<[Tensor; 2]> {
            let k = rms_norm(k, norm, *eps)?;
            Ok([self.attention.split_heads(k)?, self.attention.split_heads(v)?])
        };
        let [k, v] = linears(&tokens.text, [to_k, to_v])?;
        let text = heads(k, v, norm_k)?;
        let image = match self.image.as_ref().zip(tokens.image.as_ref()) {
            Some((layers, image)) => {
                let [k, v] = linears(image, [&layers.to_k, &layers.to_v])?;
                tap.show(format_args!("{place}.cross_attn.image_values"), &v);
                let [k, v] = heads(k, v, &layers.norm_k)?;
                tap.show(format_args!("{place}.cross_attn.image_keys"), &k);
                Some([k, v])
            }
            None => None,
        };
        Ok(CrossKeyValue {
            text,
            image,
            last_counts: tokens.last_counts,
        })
    }

    /// What `to_out` reads. **Shapes**: `[B, L, M]` → `[B, L, M]`.
    pub(super) fn mix(&self, x: Input, context: &CrossKeyValue) -> Result<Tensor> {
        let q = self.attention.queries(x)?; // [B, L, N, D]
        let [k, v] = &context.text;
        let attended = match context.last_counts {
            1 => self.attention.mix([&q, k, v])?,
            n => self.attention.mix_folded([&q, k, v], n)?,
        };
        match &context.image {
            Some([k, v]) => Ok(add(attended, &self.attention.mix([&q, k, v])?)?),
            None => Ok(attended),
        }
    }
}
