//! The decoder, one latent frame at a time.
//!
//! **Source**: diffusers 0.42.1, `WanDecoder3d` with `post_quant_conv`.
//!
//! **Flow**: latent `[1,h,w,C]` → 1x1x1 → 3x3x3 → middle → stages of residual blocks, each but the last ending in twice the
//! size and perhaps twice the frames → norm, SiLU, 3x3x3 → pixels `[1,H,W,3]`, or patches of them. Where one frame becomes
//! two, the first goes all the way before the second is made.

use kinora_kernels::{Activation, Conv3d, conv3d_causal};
use kinora_tensor::Tensor;
use kinora_weights::Reader;

use super::blocks::{MidBlock, ResBlock};
use super::cache::{Cache, CausalConv, Places, gamma};
use super::config::{Config, Stage};
use super::model::Tap;
use super::resample::{Up, add_repeated};
use crate::Result;

/// Where frames go: `tap` sees what each layer gave, `emit` gets the results.
pub(super) struct Sink<'a> {
    pub(super) tap: Tap<'a>,
    pub(super) emit: &'a mut dyn FnMut(&mut Cache, Tensor) -> Result<()>,
}

struct UpBlock {
    stage: Stage,
    resnets: Vec<ResBlock>,
    up: Option<Up>,
    has_shortcut: bool,
}

/// The weights of the decoder.
pub(super) struct Network {
    post_quant: Conv3d,
    conv_in: CausalConv,
    mid: MidBlock,
    blocks: Vec<UpBlock>,
    norm_out: Vec<f32>,
    conv_out: CausalConv,
}

impl Network {
    pub(super) fn load(reader: &Reader, config: &Config) -> Result<Self> {
        let (places, z) = (&Places::default(), config.z_dim);
        let decoder = reader.at("decoder");
        let block = |(i, stage): (usize, &Stage)| {
            let reader = decoder.at("up_blocks").at(i);
            let up = reader.at(if config.is_residual {
                "upsampler"
            } else {
                "upsamplers.0"
            });
            Ok(UpBlock {
                stage: *stage,
                resnets: ResBlock::load_all(&reader, places, config.num_res_blocks + 1, [stage.inputs, stage.width])?,
                up: stage.resizes.then(|| Up::load(&up, places, stage)).transpose()?,
                has_shortcut: config.is_residual && stage.resizes,
            })
        };
        let middle = config.decoder_middle();
        let last = config.decoder_base() * config.dim_mult.first().copied().unwrap_or(1);
        Ok(Self {
            post_quant: reader.conv3d("post_quant_conv", z, z, [1, 1], [1, 1], true)?,
            conv_in: CausalConv::load(&decoder, places, "conv_in", middle, z)?,
            mid: MidBlock::load(&decoder.at("mid_block"), places, middle)?,
            blocks: config
                .decoder_stages()
                .iter()
                .enumerate()
                .map(block)
                .collect::<Result<_>>()?,
            norm_out: gamma(&decoder, "norm_out", last, 3)?,
            conv_out: CausalConv::load(&decoder, places, "conv_out", config.out_channels, last)?,
        })
    }

    /// Number of stages.
    pub(super) fn stages(&self) -> usize {
        self.blocks.len()
    }

    /// All of it. **Shapes**: `latent [1, h, w, C]` → pixels `[1, H, W, O]`, one frame or several.
    pub(super) fn push(
        &self,
        cache: &mut Cache,
        latent: Tensor,
        tap: Tap,
        emit: &mut dyn FnMut(Tensor) -> Result<()>,
    ) -> Result<()> {
        let x = self.front(cache, latent, tap)?;
        let mut finish = |cache: &mut Cache, x| emit(self.head(cache, x)?);
        let mut sink = Sink { tap, emit: &mut finish };
        self.stages_from(0, self.stages(), cache, x, &mut sink)
    }

    /// What comes before the stages. **Shapes**: `latent [1, h, w, C]` → `[1, h, w, M]`.
    pub(super) fn front(&self, cache: &mut Cache, latent: Tensor, tap: Tap) -> Result<Tensor> {
        let x = conv3d_causal(&latent, None, &self.post_quant, Activation::None)?;
        drop(latent);
        tap("post_quant", &x);
        let first = self.conv_in.push(cache, &x)?;
        drop(x);
        tap("conv_in", &first);
        self.mid.push(cache, first, tap)
    }

    /// The stages from `from` on, up to before `to`. **Shapes**: `x [1, H, W, C]` → larger ones, one or several.
    pub(super) fn stages_from(
        &self,
        from: usize,
        to: usize,
        cache: &mut Cache,
        mut x: Tensor,
        sink: &mut Sink,
    ) -> Result<()> {
        if from == to {
            return (sink.emit)(cache, x);
        }
        let UpBlock {
            stage,
            resnets,
            up,
            has_shortcut,
        } = &self.blocks[from];
        let mut shortcut = has_shortcut.then(|| x.try_clone()).transpose()?;
        for block in resnets {
            x = block.push(cache, x)?;
        }
        let name = format!("up_blocks.{from}");
        let Some(up) = up else {
            (sink.tap)(&name, &x);
            return self.stages_from(from + 1, to, cache, x, sink);
        };
        up.push(cache, x, &mut |cache, mut frame, time| {
            if let Some(x) = &shortcut {
                add_repeated(&mut frame, x, stage, time)?;
            }
            if time + 1 == stage.frames() {
                shortcut = None;
            }
            (sink.tap)(&name, &frame);
            self.stages_from(from + 1, to, cache, frame, sink)
        })
    }

    /// What comes after the stages. **Shapes**: `x [1, H, W, C]` → `[1, H, W, O]`.
    pub(super) fn head(&self, cache: &mut Cache, x: Tensor) -> Result<Tensor> {
        self.conv_out.push_normed(cache, x, &self.norm_out)
    }
}
