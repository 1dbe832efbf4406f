//! One transformer block: self-attention, cross-attention, feed-forward, each on its modulated input.

use kinora_kernels::{
    Activation, AttentionMode, Input, KeyMask, Linear, PerToken, attention_as, linear, linear_gated_residual,
    linear_residual, linears, rms_norm, rms_norm_rope,
};
use kinora_tensor::Tensor;
use kinora_weights::Reader;

use super::config::Config;
use super::rope::Rope;
use crate::Result;

/// Shift, scale and gate of one sub-layer, one row for each distinct timestep: each `[R, M]`.
struct Modulation {
    shift: Tensor,
    scale: Tensor,
    gate: Tensor,
}

impl Modulation {
    /// (1 + scale) · norm(x) + shift.
    fn input<'a>(&'a self, x: &'a Tensor, row_of_token: &'a [u32], eps: f32) -> Result<Input<'a>> {
        Ok(Input::Modulated {
            x,
            shift: per_token(&self.shift, row_of_token)?,
            scale: per_token(&self.scale, row_of_token)?,
            eps,
        })
    }
}

/// The six learnt offsets of a block, `[6, M]`: shift, scale, gate of self-attention, then of the feed-forward layer.
pub(super) struct ModulationTable(pub(super) Tensor);

impl ModulationTable {
    /// Row `part` of the table plus the same part of the time projection.
    ///
    /// **Shapes**: `time_projection [R, P, M]` with P parts → `[R, M]`.
    pub(super) fn part(&self, time_projection: &Tensor, part: usize) -> Result<Tensor> {
        let [rows, parts, width] = time_projection.dims_of("modulation", "[R, P, M]")?;
        let offsets = &self.0.as_slice()[part * width..][..width];
        let mut out = time_projection.uninit_like([rows, width])?;
        for (row, out) in out.as_mut_slice().chunks_exact_mut(width).enumerate() {
            let projected = &time_projection.as_slice()[(row * parts + part) * width..][..width];
            out.iter_mut()
                .zip(offsets.iter().zip(projected))
                .for_each(|(out, (a, b))| *out = a + b);
        }
        Ok(out)
    }

    fn sub_layer(&self, time_projection: &Tensor, first: usize) -> Result<Modulation> {
        Ok(Modulation {
            shift: self.part(time_projection, first)?,
            scale: self.part(time_projection, first + 1)?,
            gate: self.part(time_projection, first + 2)?,
        })
    }
}

/// Which row of the modulation each token takes: the tokens of one batch entry after the other.
pub(super) fn per_token<'a>(values: &'a Tensor, row_of_token: &'a [u32]) -> Result<PerToken<'a>> {
    Ok(PerToken::new(values, row_of_token)?)
}

/// Projections of one attention layer with RMS-normalised queries and keys.
struct Attention {
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
    norm_q: Vec<f32>,
    norm_k: Vec<f32>,
    heads: usize,
    eps: f32,
    mode: AttentionMode,
}

impl Attention {
    fn load(reader: &Reader, config: &Config) -> Result<Self> {
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

    /// Queries, keys and values of the same tokens, turned by their positions.
    fn turned(&self, x: Input, rope: &Rope) -> Result<[Tensor; 3]> {
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

    fn keys_and_values(&self, x: &Tensor) -> Result<[Tensor; 2]> {
        let [k, v] = linears(x, [&self.to_k, &self.to_v])?;
        Ok([
            self.split_heads(rms_norm(k, &self.norm_k, self.eps)?)?,
            self.split_heads(v)?,
        ])
    }

    /// softmax(q·kᵀ)·v, heads side by side again: `[B, L, M]`.
    fn mix(&self, [q, k, v]: [&Tensor; 3]) -> Result<Tensor> {
        merge_heads(attention_as(q, k, v, KeyMask::None, self.mode)?)
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

/// Text keys and values of one block, `[B, S, N, D]` each. They do not depend on the timestep.
pub(super) struct CrossKeyValue {
    keys: Tensor,
    values: Tensor,
}

/// One block. **Source**: `WanTransformerBlock`, diffusers 0.42.1 (Apache-2.0).
pub(super) struct Block {
    modulation: ModulationTable,
    self_attn: Attention,
    cross_attn: Attention,
    cross_attn_norm: Option<(Vec<f32>, Vec<f32>)>,
    ffn_in: Linear,
    ffn_out: Linear,
    eps: f32,
}

impl Block {
    pub(super) fn load(reader: &Reader, config: &Config) -> Result<Self> {
        let width = config.width();
        let cross_attn_norm = match config.cross_attn_norm {
            true => Some((
                reader.vector("norm2.weight", width)?,
                reader.vector("norm2.bias", width)?,
            )),
            false => None,
        };
        Ok(Self {
            modulation: ModulationTable(reader.tensor("scale_shift_table", &[1, 6, width])?),
            self_attn: Attention::load(&reader.at("attn1"), config)?,
            cross_attn: Attention::load(&reader.at("attn2"), config)?,
            cross_attn_norm,
            ffn_in: reader.linear("ffn.net.0.proj", config.ffn_dim, width)?,
            ffn_out: reader.linear("ffn.net.2", width, config.ffn_dim)?,
            eps: config.eps,
        })
    }

    /// **Shapes**: text tokens `[B, S, M]` → keys and values `[B, S, N, D]`.
    pub(super) fn cross_key_value(&self, text: &Tensor) -> Result<CrossKeyValue> {
        let [keys, values] = self.cross_attn.keys_and_values(text)?;
        Ok(CrossKeyValue { keys, values })
    }

    /// **Shapes**: tokens `[B, L, M]`, `time_projection [R, 6, M]`, `row_of_token` B·L rows below R → `[B, L, M]`.
    pub(super) fn forward(
        &self,
        tokens: Tensor,
        time_projection: &Tensor,
        row_of_token: &[u32],
        context: &CrossKeyValue,
        rope: &Rope,
    ) -> Result<Tensor> {
        // 1. Self-attention: x += gate · attn((1 + scale) · norm(x) + shift)
        let m = self.modulation.sub_layer(time_projection, 0)?;
        let [q, k, v] = self.self_attn.turned(m.input(&tokens, row_of_token, self.eps)?, rope)?;
        let attended = self.self_attn.mix([&q, &k, &v])?;
        drop((q, k, v));
        let gate = per_token(&m.gate, row_of_token)?;
        let tokens = linear_gated_residual(&attended, &self.self_attn.to_out, tokens, gate)?;

        // 2. Cross-attention to the text: x += attn(norm(x), text)
        let input = match &self.cross_attn_norm {
            Some((weight, bias)) => Input::Normed {
                x: &tokens,
                weight,
                bias,
                eps: self.eps,
            },
            None => Input::Plain(&tokens),
        };
        let q = self.cross_attn.queries(input)?;
        let attended = self.cross_attn.mix([&q, &context.keys, &context.values])?;
        drop(q);
        let tokens = linear_residual(&attended, &self.cross_attn.to_out, tokens)?;

        // 3. Feed-forward: x += gate · ffn((1 + scale) · norm(x) + shift)
        let m = self.modulation.sub_layer(time_projection, 3)?;
        let input = m.input(&tokens, row_of_token, self.eps)?;
        let inner = linear(input, &self.ffn_in, Activation::GeluTanh)?;
        Ok(linear_gated_residual(
            &inner,
            &self.ffn_out,
            tokens,
            per_token(&m.gate, row_of_token)?,
        )?)
    }
}
