//! LayerNorm with weight and bias.

use kinora_kernels::{Input, layer_norm};
use kinora_tensor::Tensor;
use kinora_weights::Reader;

use crate::Result;

/// Weight and bias of a LayerNorm.
pub(crate) struct LayerNorm {
    weight: Vec<f32>,
    bias: Vec<f32>,
    eps: f32,
}

impl LayerNorm {
    /// Reads `name.weight` and `name.bias`, `width` values each.
    pub(crate) fn load(reader: &Reader, name: &str, width: usize, eps: f32) -> Result<Self> {
        let reader = reader.at(name);
        Ok(Self {
            weight: reader.vector("weight", width)?,
            bias: reader.vector("bias", width)?,
            eps,
        })
    }

    /// `x` `[..,M]`, normalised.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(layer_norm(x, Some(&self.weight), Some(&self.bias), self.eps)?)
    }

    /// `x` as the input of a product that normalises while it reads.
    pub(crate) const fn of<'a>(&'a self, x: &'a Tensor) -> Input<'a> {
        Input::Normed {
            x,
            weight: self.weight.as_slice(),
            bias: self.bias.as_slice(),
            eps: self.eps,
        }
    }
}
