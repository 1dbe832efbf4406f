//! The encoder, one frame at a time.
//!
//! **Source**: diffusers 0.42.1, `WanEncoder3d` with `quant_conv`.
//!
//! **Flow**: pixels `[1,H,W,3]`, or patches of them → 3x3x3 → stages of residual blocks, each but the last ending in half the
//! size and perhaps half the frames → middle → norm, SiLU, 3x3x3 → 1x1x1 → `[1,h,w,2C]`: means, then logarithms of
//! variances. A layer that makes one frame of two waits for the second, so most frames give nothing.

use kinora_kernels::{Activation, Conv3d, add, conv3d_causal};
use kinora_tensor::Tensor;
use kinora_weights::Reader;

use super::blocks::{MidBlock, ResBlock};
use super::cache::{Cache, CausalConv, Places, gamma};
use super::config::{Config, Stage};
use super::model::Tap;
use super::resample::{AvgDown, Down};
use crate::Result;

/// One entry of `down_blocks`: Wan 2.1 lists the parts of all stages one after the other, Wan 2.2 the stages.
enum Layer {
    Residual(Box<ResBlock>),
    Down(Box<Down>),
    Stage {
        shortcut: AvgDown,
        resnets: Vec<ResBlock>,
        down: Option<Box<Down>>,
    },
}

impl Layer {
    /// **Shapes**: `x [1, H, W, C]` → `[1, H', W', O]`, or nothing yet.
    fn push(&self, cache: &mut Cache, mut x: Tensor) -> Result<Option<Tensor>> {
        match self {
            Self::Residual(block) => block.push(cache, x).map(Some),
            Self::Down(down) => down.push(cache, x),
            Self::Stage {
                shortcut,
                resnets,
                down,
            } => {
                let around = shortcut.push(cache, &x)?;
                for block in resnets {
                    x = block.push(cache, x)?;
                }
                let through = match down {
                    Some(down) => down.push(cache, x)?,
                    None => Some(x),
                };
                // Both wait for the same frames.
                match (through, around) {
                    (Some(through), Some(around)) => Ok(Some(add(through, &around)?)),
                    _ => Ok(None),
                }
            }
        }
    }
}

/// The weights of the encoder.
pub(super) struct Network {
    conv_in: CausalConv,
    layers: Vec<Layer>,
    mid: MidBlock,
    norm_out: Vec<f32>,
    conv_out: CausalConv,
    quant: Conv3d,
}

impl Network {
    pub(super) fn load(reader: &Reader, config: &Config) -> Result<Self> {
        let (places, moments) = (&Places::default(), 2 * config.z_dim);
        let encoder = reader.at("encoder");
        let middle = config.encoder_middle();
        Ok(Self {
            conv_in: CausalConv::load(&encoder, places, "conv_in", config.base_dim, config.in_channels)?,
            layers: load_layers(&encoder.at("down_blocks"), places, config)?,
            mid: MidBlock::load(&encoder.at("mid_block"), places, middle)?,
            norm_out: gamma(&encoder, "norm_out", middle, 3)?,
            conv_out: CausalConv::load(&encoder, places, "conv_out", moments, middle)?,
            quant: reader.conv3d("quant_conv", moments, moments, [1, 1], [1, 1], true)?,
        })
    }

    /// **Shapes**: `pixels [1, H, W, 3]` → `[1, h, w, 2C]`, or nothing yet.
    pub(super) fn push(&self, cache: &mut Cache, pixels: Tensor, tap: Tap) -> Result<Option<Tensor>> {
        let mut x = self.conv_in.push(cache, &pixels)?;
        drop(pixels);
        tap("conv_in", &x);
        for (i, layer) in self.layers.iter().enumerate() {
            match layer.push(cache, x)? {
                Some(out) => x = out,
                None => return Ok(None),
            }
            tap(&format!("down_blocks.{i}"), &x);
        }
        let x = self.mid.push(cache, x, tap)?;
        let x = self.conv_out.push_normed(cache, x, &self.norm_out)?;
        tap("conv_out", &x);
        Ok(Some(conv3d_causal(&x, None, &self.quant, Activation::None)?))
    }
}

fn load_layers(reader: &Reader, places: &Places, config: &Config) -> Result<Vec<Layer>> {
    let mut layers = Vec::new();
    for stage in &config.encoder_stages() {
        let Stage { inputs, width, .. } = *stage;
        if config.is_residual {
            let reader = reader.at(layers.len());
            let down = || Down::load(&reader.at("downsampler"), places, stage);
            layers.push(Layer::Stage {
                shortcut: AvgDown::new(places, stage),
                resnets: ResBlock::load_all(&reader, places, config.num_res_blocks, [inputs, width])?,
                down: stage.resizes.then(down).transpose()?.map(Box::new),
            });
            continue;
        }
        for i in 0..config.num_res_blocks {
            let inputs = if i == 0 { inputs } else { width };
            let block = ResBlock::load(&reader.at(layers.len()), places, inputs, width)?;
            layers.push(Layer::Residual(Box::new(block)));
        }
        if stage.resizes {
            let down = Down::load(&reader.at(layers.len()), places, stage)?;
            layers.push(Layer::Down(Box::new(down)));
        }
    }
    Ok(layers)
}
