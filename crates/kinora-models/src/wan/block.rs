//! One transformer block: self-attention, cross-attention, feed-forward, each on its modulated input.

use kinora_kernels::{Activation, Input, Linear, PerToken, linear, linear_gated_residual, linear_residual};
use kinora_tensor::Tensor;
use kinora_weights::Reader;

use super::attention::{Attention, CrossAttention, CrossKeyValue};
use super::causal::Past;
use super::config::Config;
use super::context::ContextTokens;
use super::layout::Place;
use super::rope::Rope;
use super::tap::Taps;
use crate::Result;

const FLOAT: usize = size_of::<f32>();

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
            shift: PerToken::new(&self.shift, row_of_token)?,
            scale: PerToken::new(&self.scale, row_of_token)?,
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

/// What all blocks of a call read beside their tokens.
pub(super) struct Surroundings<'a> {
    /// `[R, 6, M]`.
    pub(super) time_projection: &'a Tensor,
    /// B·L rows below R.
    pub(super) row_of_token: &'a [u32],
    pub(super) rope: &'a Rope,
}

/// One block. **Source**: `WanTransformerBlock` and `WanVACETransformerBlock`, diffusers 0.42.1 (Apache-2.0).
pub(super) struct Block {
    modulation: ModulationTable,
    self_attn: Attention,
    cross_attn: CrossAttention,
    cross_attn_norm: Option<(Vec<f32>, Vec<f32>)>,
    ffn_in: Linear,
    ffn_out: Linear,
    /// Of a control block: what makes a hint of its tokens.
    proj_out: Option<Linear>,
    eps: f32,
}

impl Block {
    pub(super) fn load(reader: &Reader, config: &Config, place: Place) -> Result<Self> {
        let (reader, width) = (reader.at(place), config.width());
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
            cross_attn: CrossAttention::load(&reader.at("attn2"), config)?,
            cross_attn_norm,
            ffn_in: reader.linear("ffn.net.0.proj", config.ffn_dim, width)?,
            ffn_out: reader.linear("ffn.net.2", width, config.ffn_dim)?,
            proj_out: match place {
                Place::Main(_) => None,
                Place::Control(_) => Some(reader.linear("proj_out", width, width)?),
            },
            eps: config.eps,
        })
    }

    /// Memory of the packed weights.
    pub(super) fn bytes(&self) -> usize {
        let norm = self
            .cross_attn_norm
            .iter()
            .map(|(weight, bias)| weight.len() + bias.len());
        let floats = self.modulation.0.elements() + norm.sum::<usize>();
        let layers = [&self.ffn_in, &self.ffn_out].into_iter().chain(&self.proj_out);
        FLOAT * floats + self.self_attn.bytes() + self.cross_attn.bytes() + layers.map(Linear::bytes).sum::<usize>()
    }

    /// What a control block hands to its main block, `[B, L, M]`; `None` from a main block.
    pub(super) fn hint(&self, tokens: &Tensor) -> Result<Option<Tensor>> {
        let hint = |layer| linear(tokens, layer, Activation::None);
        Ok(self.proj_out.as_ref().map(hint).transpose()?)
    }

    /// What cross-attention reads of these tokens.
    pub(super) fn cross_key_value(
        &self,
        tokens: &ContextTokens,
        place: Place,
        tap: &mut Taps,
    ) -> Result<CrossKeyValue> {
        self.cross_attn.keys_and_values(tokens, place, tap)
    }

    /// **Shapes**: tokens `[B, L, M]` → `[B, L, M]`. With a `past` they attend to it as well.
    pub(super) fn forward(
        &self,
        tokens: Tensor,
        around: &Surroundings,
        context: &CrossKeyValue,
        past: Option<Past>,
        place: Place,
        tap: &mut Taps,
    ) -> Result<Tensor> {
        let Surroundings {
            time_projection,
            row_of_token,
            rope,
        } = *around;
        // 1. Self-attention: x += gate · attn((1 + scale) · norm(x) + shift)
        let m = self.modulation.sub_layer(time_projection, 0)?;
        let [q, k, v] = self.self_attn.turned(m.input(&tokens, row_of_token, self.eps)?, rope)?;
        let [k, v] = match past {
            Some(past) => past.joined([k, v])?,
            None => [k, v],
        };
        let attended = self.self_attn.mix([&q, &k, &v])?;
        drop((q, k, v));
        let out = &self.self_attn.to_out;
        tap.make(format_args!("{place}.self_attn"), || {
            Ok(linear(&attended, out, Activation::None)?)
        })?;
        let gate = PerToken::new(&m.gate, row_of_token)?;
        let tokens = linear_gated_residual(&attended, out, tokens, gate)?;
        drop(attended);

        // 2. Cross-attention to the text and the picture: x += attn(norm(x), text)
        let input = match &self.cross_attn_norm {
            Some((weight, bias)) => Input::Normed {
                x: &tokens,
                weight,
                bias,
                eps: self.eps,
            },
            None => Input::Plain(&tokens),
        };
        let attended = self.cross_attn.mix(input, context)?;
        let out = &self.cross_attn.attention.to_out;
        tap.make(format_args!("{place}.cross_attn"), || {
            Ok(linear(&attended, out, Activation::None)?)
        })?;
        let tokens = linear_residual(&attended, out, tokens)?;
        drop(attended);

        // 3. Feed-forward: x += gate · ffn((1 + scale) · norm(x) + shift)
        let m = self.modulation.sub_layer(time_projection, 3)?;
        let input = m.input(&tokens, row_of_token, self.eps)?;
        let inner = linear(input, &self.ffn_in, Activation::GeluTanh)?;
        tap.make(format_args!("{place}.ffn"), || {
            Ok(linear(&inner, &self.ffn_out, Activation::None)?)
        })?;
        let gate = PerToken::new(&m.gate, row_of_token)?;
        Ok(linear_gated_residual(&inner, &self.ffn_out, tokens, gate)?)
    }
}
