//! The residual block, the attention within a frame, and the middle that is made of both.

use kinora_kernels::{
    Activation, Conv3d, KeyMask, Linear, attention, conv3d_causal, linear_residual, linears, rms_norm,
};
use kinora_tensor::Tensor;
use kinora_weights::Reader;

use super::cache::{Cache, CausalConv, Places, gamma, norm_eps};
use super::model::Tap;
use crate::Result;

/// x' + conv(silu(norm(conv(silu(norm(x)))))), where x' is x, through a 1x1x1 convolution if the channels change.
pub(super) struct ResBlock {
    norm1: Vec<f32>,
    conv1: CausalConv,
    norm2: Vec<f32>,
    conv2: CausalConv,
    shortcut: Option<Conv3d>,
}

impl ResBlock {
    pub(super) fn load(reader: &Reader, places: &Places, inputs: usize, outputs: usize) -> Result<Self> {
        Ok(Self {
            norm1: gamma(reader, "norm1", inputs, 3)?,
            conv1: CausalConv::load(reader, places, "conv1", outputs, inputs)?,
            norm2: gamma(reader, "norm2", outputs, 3)?,
            conv2: CausalConv::load(reader, places, "conv2", outputs, outputs)?,
            shortcut: (inputs != outputs)
                .then(|| reader.conv3d("conv_shortcut", outputs, inputs, [1, 1], [1, 1], true))
                .transpose()?,
        })
    }

    /// `count` of them, below `name`, of which the first changes the channels.
    pub(super) fn load_all(
        reader: &Reader,
        places: &Places,
        count: usize,
        [inputs, width]: [usize; 2],
    ) -> Result<Vec<Self>> {
        (0..count)
            .map(|i| {
                Self::load(
                    &reader.at("resnets").at(i),
                    places,
                    if i == 0 { inputs } else { width },
                    width,
                )
            })
            .collect()
    }

    /// **Shapes**: `x [1, H, W, C]` → `[1, H, W, O]`.
    pub(super) fn push(&self, cache: &mut Cache, x: Tensor) -> Result<Tensor> {
        // 1. The first convolution.
        let frame = self.conv1.normed(&x, &self.norm1)?;
        let inner = self.conv1.push_padded(cache, frame)?;
        // 2. What the second one reads; the sums themselves are not needed any more.
        let frame = self.conv2.normed(&inner, &self.norm2)?;
        drop(inner);
        // 3. The second convolution, added to the shortcut in its place.
        let residual = match &self.shortcut {
            Some(conv) => {
                let shortcut = conv3d_causal(&x, None, conv, Activation::None)?;
                drop(x);
                shortcut
            }
            None => x,
        };
        self.conv2.push_residual(cache, frame, residual)
    }
}

/// Attention among the pixels of one frame: a single head as wide as the channels.
struct Attention {
    norm: Vec<f32>,
    qkv: [Linear; 3],
    proj: Linear,
}

impl Attention {
    fn load(reader: &Reader, width: usize) -> Result<Self> {
        let precision = reader.precision().of_convolutions()?;
        // 1x1 convolutions are linear layers over pixels; q, k and v stand below each other in one of them.
        let weight = reader.tensor("to_qkv.weight", &[3 * width, width, 1, 1])?;
        let bias = reader.vector("to_qkv.bias", 3 * width)?;
        let part = |i: usize| {
            let rows = &weight.as_slice()[i * width * width..][..width * width];
            Linear::pack_as(rows, Some(&bias[i * width..][..width]), width, width, precision)
        };
        Ok(Self {
            norm: gamma(reader, "norm", width, 2)?,
            qkv: [part(0)?, part(1)?, part(2)?],
            proj: reader.with_precision(precision).linear("proj", width, width)?,
        })
    }

    /// **Shapes**: `x [1, H, W, C]` → the same.
    fn forward(&self, x: Tensor) -> Result<Tensor> {
        let dims @ [_, height, width, channels] = x.dims_of("wan_vae attention", "[1, H, W, C]")?;
        let tokens = height * width;
        // 1. Queries, keys and values of all pixels.
        let normed = rms_norm(x.try_clone()?, &self.norm, norm_eps(&self.norm))?.reshape([tokens, channels])?;
        let [q, k, v] = &self.qkv;
        let [q, k, v] = linears(&normed, [q, k, v])?; // [H·W, C] each
        drop(normed);
        // 2. Every pixel looks at every other one.
        let heads = [1, tokens, 1, channels];
        let mixed = attention(
            &q.reshape(heads)?,
            &k.reshape(heads)?,
            &v.reshape(heads)?,
            KeyMask::None,
        )?;
        // 3. Back into the frame.
        let mixed = mixed.reshape([tokens, channels])?;
        let out = linear_residual(&mixed, &self.proj, x.reshape([tokens, channels])?)?;
        Ok(out.reshape(dims)?)
    }
}

/// The middle of both networks.
pub(super) struct MidBlock {
    first: ResBlock,
    attention: Attention,
    second: ResBlock,
}

impl MidBlock {
    pub(super) fn load(reader: &Reader, places: &Places, width: usize) -> Result<Self> {
        Ok(Self {
            first: ResBlock::load(&reader.at("resnets.0"), places, width, width)?,
            attention: Attention::load(&reader.at("attentions.0"), width)?,
            second: ResBlock::load(&reader.at("resnets.1"), places, width, width)?,
        })
    }

    /// **Shapes**: `x [1, H, W, C]` → the same.
    pub(super) fn push(&self, cache: &mut Cache, x: Tensor, tap: Tap) -> Result<Tensor> {
        let x = self.first.push(cache, x)?;
        tap("mid.resnet", &x);
        let x = self.attention.forward(x)?;
        tap("mid.attention", &x);
        let x = self.second.push(cache, x)?;
        tap("mid", &x);
        Ok(x)
    }
}
