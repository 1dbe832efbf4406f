//! Pictures as cross-attention reads them (Wan 2.1 image to video): hidden layers of CLIP become tokens of the model's width.
//!
//! **Source**: `WanImageEmbedding`, diffusers 0.42.1 (Apache-2.0).
//!
//! **Flow**: `[B,T,I]` → (first and last frame: `[2B,T,I]` → `[B,2T,I]`, plus a learnt code of the position) → norm → I →
//! GELU → M → norm → `[B,T,M]`.
//!
//! **Numerics**: the GELU is the exact one (erf), not the tanh form of the rest of the model; both norms have an eps of
//! 1e-5 whatever the configuration says. Mistaking either is an error of about 1e-3.

use kinora_kernels::{Activation, Input, Linear, layer_norm, linear};
use kinora_tensor::Tensor;
use kinora_weights::Reader;

use super::config::Config;
use super::tap::Taps;
use crate::Result;

const EPS: f32 = 1e-5;

/// The layers between CLIP and cross-attention.
pub(super) struct ImageEmbedding {
    /// `[P, I]`: of models that take two pictures, whose tokens stand one after the other.
    positions: Option<Tensor>,
    norm_in: [Vec<f32>; 2],
    inner: Linear,
    outer: Linear,
    norm_out: [Vec<f32>; 2],
}

impl ImageEmbedding {
    /// `None` for a model that takes no image tokens.
    pub(super) fn load(reader: &Reader, config: &Config) -> Result<Option<Self>> {
        let Some(inputs) = config.image_dim else {
            return Ok(None);
        };
        let width = config.width();
        let norm = |name: &str, n| -> Result<[Vec<f32>; 2]> {
            let norm = reader.at(name);
            Ok([norm.vector("weight", n)?, norm.vector("bias", n)?])
        };
        let positions = match config.pos_embed_seq_len {
            Some(positions) => Some(
                reader
                    .tensor("pos_embed", &[1, positions, inputs])?
                    .reshape([positions, inputs])?,
            ),
            None => None,
        };
        Ok(Some(Self {
            positions,
            norm_in: norm("norm1", inputs)?,
            inner: reader.linear("ff.net.0.proj", inputs, inputs)?,
            outer: reader.linear("ff.net.2", width, inputs)?,
            norm_out: norm("norm2", width)?,
        }))
    }

    pub(super) fn bytes(&self) -> usize {
        let norms = self.norm_in.iter().chain(&self.norm_out).map(Vec::len).sum::<usize>();
        let positions = self.positions.as_ref().map_or(0, Tensor::elements);
        size_of::<f32>() * (norms + positions) + self.inner.bytes() + self.outer.bytes()
    }

    /// **Shapes**: `[B, T, I]` → `[B, T, M]`; with positions `[2B, P/2, I]` → `[B, P, M]`, the two pictures of a clip next
    /// to each other.
    ///
    /// **Errors**: another rank or width; pictures that do not come in pairs of P tokens.
    pub(super) fn forward(&self, image: &Tensor, tap: &mut Taps) -> Result<Tensor> {
        let paired = match &self.positions {
            Some(positions) => Some(with_positions(image, positions)?), // [B, P, I]
            None => None,
        };
        let x = paired.as_ref().unwrap_or(image);
        let [_, _, _] = x.dims_of("image embedding", "[B, T, I]")?;
        let [weight, bias] = &self.norm_in;
        tap.make("image_embedding.norm1", || {
            Ok(layer_norm(x, Some(weight), Some(bias), EPS)?)
        })?;
        let normed = Input::Normed {
            x,
            weight,
            bias,
            eps: EPS,
        };
        let inner = linear(normed, &self.inner, Activation::GeluErf)?;
        let outer = linear(&inner, &self.outer, Activation::None)?; // [B, T, M]
        tap.show("image_embedding.ff", &outer);
        let [weight, bias] = &self.norm_out;
        let tokens = layer_norm(&outer, Some(weight), Some(bias), EPS)?;
        tap.show("image_embedding", &tokens);
        Ok(tokens)
    }
}

/// `[2B, P/2, I]` → `[B, P, I]` with the code of each position added.
fn with_positions(image: &Tensor, positions: &Tensor) -> Result<Tensor> {
    let [pictures, tokens, inputs] = image.dims_of("image embedding", "[2B, T, I]")?;
    let [of_clip, width] = positions.dims_of("image embedding", "[P, I]")?;
    if pictures % 2 != 0 || 2 * tokens != of_clip || inputs != width {
        let expected = format!("[2B, {}, {width}]: first and last frame of each clip", of_clip / 2);
        return Err(image.mismatch("image embedding", expected).into());
    }
    let mut out = image.uninit_like([pictures / 2, of_clip, width])?; // [B, P, I]
    let clips = image.as_slice().chunks_exact(positions.elements());
    for (out, clip) in out.as_mut_slice().chunks_exact_mut(positions.elements()).zip(clips) {
        for ((out, value), code) in out.iter_mut().zip(clip).zip(positions.as_slice()) {
            *out = value + code;
        }
    }
    Ok(out)
}
