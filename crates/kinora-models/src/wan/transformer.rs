//! The Wan video transformer: noisy latents, timesteps and text in, velocity out.
//!
//! **Source**: `WanTransformer3DModel`, diffusers 0.42.1 (Apache-2.0), <https://github.com/huggingface/diffusers>,
//! `src/diffusers/models/transformers/transformer_wan.py`; Wan 2.1 report, arXiv 2503.20314.
//!
//! **Flow**: latents `[B,C,F,H,W]` → patchify `[B,L,M]` → blocks (self-attention with rope, cross-attention to the text,
//! feed-forward; each modulated by the timestep of its token) → head `[B,L,P·C]` → unpatchify `[B,C,F,H,W]`.
//!
//! **Numerics**: activations, norms, softmax and modulation are f32. Timesteps may differ from token to token (Wan 2.2
//! `expand_timesteps`); the modulation is computed once for each *distinct* timestep and looked up per token, which
//! gives the reference's numbers without its `[B,L,6,M]` tensor. Text keys and values are computed once for a run.

use std::sync::{Arc, Mutex, PoisonError};

use kinora_kernels::{Activation, Input, Linear, Precision, activate, linear};
use kinora_tensor::Tensor;
use kinora_weights::{Checkpoint, Reader};

use super::block::{Block, CrossKeyValue, ModulationTable, per_token};
use super::config::Config;
use super::rope::Rope;
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

/// What a run's text turns into once: the keys and values of cross-attention of every block.
pub struct Context {
    blocks: Vec<CrossKeyValue>,
}

/// Two linear layers with an activation between them.
struct Mlp {
    linear_1: Linear,
    activation: Activation,
    linear_2: Linear,
}

impl Mlp {
    fn load(reader: &Reader, inputs: usize, width: usize, activation: Activation) -> Result<Self> {
        Ok(Self {
            linear_1: reader.linear("linear_1", width, inputs)?,
            activation,
            linear_2: reader.linear("linear_2", width, width)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(linear(
            &linear(x, &self.linear_1, self.activation)?,
            &self.linear_2,
            Activation::None,
        )?)
    }
}

/// The transformer with its weights.
pub struct Transformer {
    config: Config,
    patch_embedding: Linear,
    time_embedder: Mlp,
    time_proj: Linear,
    text_embedder: Mlp,
    blocks: Vec<Block>,
    head_modulation: ModulationTable,
    proj_out: Linear,
    /// That of the last grid: all steps of a run have the same.
    rope: Mutex<Option<([usize; 3], Arc<Rope>)>>,
}

impl Transformer {
    /// Reads every tensor of `checkpoint`.
    ///
    /// The attention and feed-forward layers of the blocks are packed in `precision`. Patch, time and text embedders, the
    /// modulation and the head stay f32: they are small, and an error in them reaches every token.
    ///
    /// **Errors**: a tensor that is missing, has another shape, or that nothing reads.
    pub fn load(checkpoint: &Checkpoint, config_json: &str, precision: Precision) -> Result<Self> {
        let config = Config::from_json(config_json)?;
        let reader = checkpoint.reader();
        let in_blocks = reader.with_precision(precision);
        let (width, embedder) = (config.width(), reader.at("condition_embedder"));
        let transformer = Self {
            patch_embedding: reader.linear("patch_embedding", width, config.in_channels * config.patch_volume())?,
            rope: Mutex::new(None),
            time_embedder: Mlp::load(&embedder.at("time_embedder"), config.freq_dim, width, Activation::Silu)?,
            time_proj: embedder.linear("time_proj", 6 * width, width)?,
            text_embedder: Mlp::load(
                &embedder.at("text_embedder"),
                config.text_dim,
                width,
                Activation::GeluTanh,
            )?,
            blocks: (0..config.num_layers)
                .map(|i| Block::load(&in_blocks.at(format_args!("blocks.{i}")), &config))
                .collect::<Result<_>>()?,
            head_modulation: ModulationTable(reader.tensor("scale_shift_table", &[1, 2, width])?),
            proj_out: reader.linear("proj_out", config.out_channels() * config.patch_volume(), width)?,
            config,
        };
        reader.finish(&[])?;
        Ok(transformer)
    }

    /// The hyper-parameters.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Tokens that latents of these extents become: frames, rows, columns.
    ///
    /// **Errors**: an extent that the patch size does not divide.
    pub fn token_grid(&self, latents: &Tensor) -> Result<[usize; 3]> {
        let [_, channels, frames, height, width] = latents.dims_of("wan transformer", "[B, C, F, H, W]")?;
        let [pf, ph, pw] = self.config.patch_size;
        let divides = frames % pf == 0 && height % ph == 0 && width % pw == 0;
        if channels != self.config.in_channels || !divides || latents.elements() == 0 {
            let expected = format!(
                "[B, {}, F, H, W] divisible by patches of {pf}x{ph}x{pw}",
                self.config.in_channels
            );
            return Err(latents.mismatch("wan transformer", expected).into());
        }
        Ok([frames / pf, height / ph, width / pw])
    }

    fn rope(&self, grid: [usize; 3]) -> Arc<Rope> {
        let mut kept = self.rope.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some((of, rope)) if *of == grid => rope.clone(),
            _ => {
                let rope = Arc::new(Rope::for_grid(grid, self.config.attention_head_dim));
                *kept = Some((grid, rope.clone()));
                rope
            }
        }
    }

    /// Prepares text for any number of [`Transformer::forward`] calls.
    ///
    /// **Shapes**: `text [B, S, text_dim]`, as the text encoder gives it.
    pub fn embed_context(&self, text: &Tensor) -> Result<Context> {
        let text = self.text_embedder.forward(text)?; // [B, S, M]
        let blocks = self
            .blocks
            .iter()
            .map(|block| block.cross_key_value(&text))
            .collect::<Result<_>>()?;
        Ok(Context { blocks })
    }

    /// The predicted velocity (noise − clean latents).
    ///
    /// **Shapes**: latents `[B, C_in, F, H, W]` → `[B, C_out, F, H, W]`; `timesteps` has one row for each of the B·L tokens.
    pub fn forward(&self, latents: &Tensor, timesteps: &Timesteps, context: &Context) -> Result<Tensor> {
        self.forward_tapped(latents, timesteps, context, &mut |_, _| ())
    }

    /// As [`Transformer::forward`], showing intermediate tensors to `tap` under the names that the goldens use.
    pub fn forward_tapped(
        &self,
        latents: &Tensor,
        timesteps: &Timesteps,
        context: &Context,
        tap: &mut dyn FnMut(&str, &Tensor),
    ) -> Result<Tensor> {
        let grid = self.token_grid(latents)?;
        // 1. Patches and positions
        let patches = patchify(latents, self.config.patch_size)?; // [B, L, C·P]
        let mut tokens = linear(&patches, &self.patch_embedding, Activation::None)?; // [B, L, M]
        tap("patch_embedding", &tokens);
        let rope = self.rope(grid);

        // 2. Timesteps
        let codes = sinusoidal_code(latents, &timesteps.distinct, self.config.freq_dim)?; // [R, freq_dim]
        let time = self.time_embedder.forward(&codes)?; // [R, M]
        tap("temb", &time);
        let rows = timesteps.distinct.len();
        let activated = activate(time.try_clone()?, Activation::Silu)?;
        let projection =
            linear(&activated, &self.time_proj, Activation::None)?.reshape([rows, 6, self.config.width()])?;
        tap("time_proj", &projection);

        // 3. Blocks
        for (i, (block, context)) in self.blocks.iter().zip(&context.blocks).enumerate() {
            tokens = block.forward(tokens, &projection, &timesteps.row_of_token, context, &rope)?;
            tap(&format!("blocks.{i}"), &tokens);
        }

        // 4. Head: both rows of its table are offsets of the same time embedding
        let mut twice = time.uninit_like([rows, 2, self.config.width()])?;
        for (pair, row) in twice
            .as_mut_slice()
            .chunks_exact_mut(2 * self.config.width())
            .zip(time.as_slice().chunks_exact(self.config.width()))
        {
            pair[..row.len()].copy_from_slice(row);
            pair[row.len()..].copy_from_slice(row);
        }
        let (shift, scale) = (
            self.head_modulation.part(&twice, 0)?,
            self.head_modulation.part(&twice, 1)?,
        );
        let rows = &timesteps.row_of_token;
        let input = Input::Modulated {
            x: &tokens,
            shift: per_token(&shift, rows)?,
            scale: per_token(&scale, rows)?,
            eps: self.config.eps,
        };
        let patches = linear(input, &self.proj_out, Activation::None)?; // [B, L, P·C]
        tap("proj_out", &patches);
        unpatchify(&patches, grid, self.config.patch_size)
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

/// `[B,C,F,H,W]` → `[B,L,C·P]`; a token's features are ordered (channel, frame, row, column of the patch), as the
/// weight of the reference's strided convolution is.
fn patchify(latents: &Tensor, [pf, ph, pw]: [usize; 3]) -> Result<Tensor> {
    let [batch, channels, frames, height, width] = latents.dims_of("patchify", "[B, C, F, H, W]")?;
    let tokens = (frames / pf) * (height / ph) * (width / pw);
    let mut out = latents.uninit_like([batch, tokens, channels * pf * ph * pw])?;
    let source = latents.as_slice();
    let mut values = out.as_mut_slice().iter_mut();
    for b in 0..batch {
        for_each_patch([frames / pf, height / ph, width / pw], |f, y, x| {
            for c in 0..channels {
                for_each_patch([pf, ph, pw], |df, dy, dx| {
                    let (f, y, x) = (f * pf + df, y * ph + dy, x * pw + dx);
                    let at = (((b * channels + c) * frames + f) * height + y) * width + x;
                    if let Some(value) = values.next() {
                        *value = source[at];
                    }
                });
            }
        });
    }
    Ok(out)
}

/// `[B,L,P·C]` → `[B,C,F,H,W]`; here a token's features are ordered (frame, row, column of the patch, channel).
fn unpatchify(tokens: &Tensor, [gf, gh, gw]: [usize; 3], [pf, ph, pw]: [usize; 3]) -> Result<Tensor> {
    let [batch, _, features] = tokens.dims_of("unpatchify", "[B, L, P·C]")?;
    let channels = features / (pf * ph * pw);
    let [frames, height, width] = [gf * pf, gh * ph, gw * pw];
    let mut out = tokens.uninit_like([batch, channels, frames, height, width])?;
    let target = out.as_mut_slice();
    let mut values = tokens.as_slice().iter();
    for b in 0..batch {
        for_each_patch([gf, gh, gw], |f, y, x| {
            for_each_patch([pf, ph, pw], |df, dy, dx| {
                let (f, y, x) = (f * pf + df, y * ph + dy, x * pw + dx);
                for (c, value) in (0..channels).zip(&mut values) {
                    target[(((b * channels + c) * frames + f) * height + y) * width + x] = *value;
                }
            });
        });
    }
    Ok(out)
}

fn for_each_patch([frames, height, width]: [usize; 3], mut visit: impl FnMut(usize, usize, usize)) {
    for f in 0..frames {
        for y in 0..height {
            for x in 0..width {
                visit(f, y, x);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_keep_every_value_and_know_their_place() {
        let values: Vec<f32> = (0..2 * 3 * 2 * 4 * 4).map(|v| v as f32).collect();
        let latents = Tensor::from_slice(&values, [2, 3, 2, 4, 4]).unwrap();
        let patches = patchify(&latents, [1, 2, 2]).unwrap();
        assert_eq!(patches.dims(), &[2, 8, 12]);
        // Second token of the first frame: columns 2 and 3 of rows 0 and 1, channel by channel.
        assert_eq!(&patches.as_slice()[12..18], &[2.0, 3.0, 6.0, 7.0, 34.0, 35.0]);
    }

    #[test]
    fn unpatchify_reads_channels_last() {
        let tokens = Tensor::from_slice(&[0.0, 10.0, 1.0, 11.0, 2.0, 12.0, 3.0, 13.0], [1, 1, 8]).unwrap();
        let latents = unpatchify(&tokens, [1, 1, 1], [1, 2, 2]).unwrap();
        assert_eq!(latents.dims(), &[1, 2, 1, 2, 2]);
        assert_eq!(latents.as_slice(), &[0.0, 1.0, 2.0, 3.0, 10.0, 11.0, 12.0, 13.0]);
    }
}
