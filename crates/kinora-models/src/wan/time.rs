//! Timesteps of tokens, and what they become: the time embedding and its projection, once for each distinct timestep.

use kinora_kernels::{Activation, Linear, activate, linear};
use kinora_tensor::Tensor;
use kinora_weights::Reader;

use super::config::Config;
use super::tap::Taps;
use crate::Result;

/// The noise level of every token: the distinct timesteps, and which of them each token has.
#[derive(Debug, Clone, PartialEq)]
pub struct Timesteps {
    /// Distinct timesteps, 0 (clean) to 1000 (pure noise).
    pub distinct: Vec<f32>,
    /// For each token of each batch entry, its place in `distinct`; B·L entries.
    pub row_of_token: Vec<u32>,
}

impl Timesteps {
    /// The same timestep for all `tokens` (of all batch entries together).
    pub fn uniform(timestep: f32, tokens: usize) -> Self {
        Self {
            distinct: vec![timestep],
            row_of_token: vec![0; tokens],
        }
    }

    /// Clean tokens (timestep 0) where `is_clean`, `timestep` elsewhere.
    pub fn with_clean(timestep: f32, is_clean: &[bool]) -> Self {
        let row_of_token = is_clean.iter().map(|&clean| u32::from(clean)).collect();
        Self {
            distinct: vec![timestep, 0.0],
            row_of_token,
        }
    }
}

/// Two linear layers with an activation between them.
pub(super) struct Mlp {
    linear_1: Linear,
    activation: Activation,
    linear_2: Linear,
}

impl Mlp {
    pub(super) fn load(reader: &Reader, inputs: usize, width: usize, activation: Activation) -> Result<Self> {
        Ok(Self {
            linear_1: reader.linear("linear_1", width, inputs)?,
            activation,
            linear_2: reader.linear("linear_2", width, width)?,
        })
    }

    pub(super) fn bytes(&self) -> usize {
        self.linear_1.bytes() + self.linear_2.bytes()
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let inner = linear(x, &self.linear_1, self.activation)?;
        Ok(linear(&inner, &self.linear_2, Activation::None)?)
    }
}

/// The layers that every modulation starts from.
pub(super) struct TimeEmbedder {
    embedder: Mlp,
    projection: Linear,
    freq_dim: usize,
}

/// What the timesteps of a call became.
pub(super) struct Time {
    /// `[R, M]`, for the head.
    pub(super) embedding: Tensor,
    /// `[R, 6, M]`, for the blocks.
    pub(super) projection: Tensor,
}

impl TimeEmbedder {
    pub(super) fn load(reader: &Reader, config: &Config) -> Result<Self> {
        let width = config.width();
        Ok(Self {
            embedder: Mlp::load(&reader.at("time_embedder"), config.freq_dim, width, Activation::Silu)?,
            projection: reader.linear("time_proj", 6 * width, width)?,
            freq_dim: config.freq_dim,
        })
    }

    pub(super) fn bytes(&self) -> usize {
        self.embedder.bytes() + self.projection.bytes()
    }

    /// **Shapes**: R timesteps; the results lie in the arena of `like`.
    pub(super) fn forward(&self, like: &Tensor, distinct: &[f32], tap: &mut Taps) -> Result<Time> {
        let codes = sinusoidal_code(like, distinct, self.freq_dim)?; // [R, freq_dim]
        let embedding = self.embedder.forward(&codes)?; // [R, M]
        tap.show("temb", &embedding);
        let activated = activate(embedding.try_clone()?, Activation::Silu)?;
        let projection = linear(&activated, &self.projection, Activation::None)?;
        let [rows, parts] = projection.dims_of("time projection", "[R, 6·M]")?;
        let projection = projection.reshape([rows, 6, parts / 6])?; // [R, 6, M]
        tap.show("time_proj", &projection);
        Ok(Time { embedding, projection })
    }
}

/// `[cos, sin]` code of timesteps at frequencies 10000^(−i/half). **Shapes**: R timesteps → `[R, dim]`.
fn sinusoidal_code(like: &Tensor, timesteps: &[f32], dim: usize) -> Result<Tensor> {
    let half = dim / 2;
    let mut code = like.uninit_like([timesteps.len(), dim])?;
    for (row, &timestep) in code.as_mut_slice().chunks_exact_mut(dim).zip(timesteps) {
        for i in 0..half {
            // The reference computes frequency and angle in f32; at timestep 1000 that is visible in the fourth digit.
            let frequency = (-(10_000f32.ln()) * i as f32 / half as f32).exp();
            let angle = timestep * frequency;
            row[i] = angle.cos();
            row[half + i] = angle.sin();
        }
    }
    Ok(code)
}
