//! The Wan video transformer: noisy latents, timesteps and text in, velocity out.
//!
//! **Source**: `WanTransformer3DModel`, diffusers 0.42.1 (Apache-2.0), <https://github.com/huggingface/diffusers>,
//! `src/diffusers/models/transformers/transformer_wan.py`; Wan 2.1 report, arXiv 2503.20314.
//!
//! **Flow**: latents `[B,C,F,H,W]` → patchify `[B,L,M]` → blocks (self-attention with rope, cross-attention to the text,
//! feed-forward; each modulated by the timestep of its token) → head `[B,L,P·C]` → unpatchify `[B,C,F,H,W]`. Channels that
//! go in and come out may differ: image to video puts a mask and the given frames beside the noise. A picture's tokens
//! ([`Transformer::embed_context`]), control latents ([`Control`]) and the frames before ([`KvCache`]) join in the blocks.
//!
//! **Numerics**: activations, norms, softmax and modulation are f32. Timesteps may differ from token to token (Wan 2.2
//! `expand_timesteps`); the modulation is computed once for each *distinct* timestep and looked up per token, which
//! gives the reference's numbers without its `[B,L,6,M]` tensor. Keys and values of
//! text and picture are computed once for a run, unless [`LoadOptions`] says otherwise.

use std::sync::{Arc, Mutex, PoisonError};

use kinora_kernels::{Activation, Input, Linear, PerToken, layer_norm, linear};
use kinora_tensor::Tensor;
use kinora_weights::Checkpoint;

use super::block::{ModulationTable, Surroundings};
use super::blocks::Blocks;
use super::causal::{KvCache, WriteCache};
use super::config::Config;
use super::context::{Context, ContextEmbedder};
use super::layout::Place;
use super::options::{ContextMemory, LoadOptions};
use super::patch::{patchify, unpatchify};
use super::rope::Rope;
use super::tap::Taps;
use super::time::{Time, TimeEmbedder, Timesteps};
use super::vace::{Control, ControlBranch, add_hint};
use crate::{Error, Result};

/// One prediction: what goes in beside the weights.
struct Call<'a> {
    latents: &'a Tensor,
    timesteps: &'a Timesteps,
    context: &'a Context,
    control: Option<&'a Control>,
    past: Option<(&'a mut KvCache, WriteCache)>,
}

impl<'a> Call<'a> {
    const fn of(latents: &'a Tensor, timesteps: &'a Timesteps, context: &'a Context) -> Self {
        Self {
            latents,
            timesteps,
            context,
            control: None,
            past: None,
        }
    }
}

/// The transformer with its weights.
pub struct Transformer {
    config: Config,
    patch_embedding: Linear,
    time_embedder: TimeEmbedder,
    context_embedder: ContextEmbedder,
    blocks: Blocks,
    contexts: ContextMemory,
    control: Option<ControlBranch>,
    head_modulation: ModulationTable,
    proj_out: Linear,
    /// That of the last grid: all steps of a run have the same.
    rope: Mutex<Option<(usize, [usize; 3], Arc<Rope>)>>,
}

impl Transformer {
    /// Reads every tensor of `checkpoint`; streamed blocks are read when a step comes to them.
    ///
    /// The attention and feed-forward layers of the blocks are packed in the precision of `options`. Patch, time, text and
    /// image embedders, the modulation and the head stay f32: they are small, and an error in them reaches every token.
    ///
    /// **Errors**: a tensor that is missing, has another shape, or that nothing reads.
    pub fn load(checkpoint: &Checkpoint, config_json: &str, options: impl Into<LoadOptions>) -> Result<Self> {
        let (config, options) = (Config::from_json(config_json)?, options.into());
        let reader = checkpoint.reader();
        let in_blocks = reader.with_precision(options.precision);
        let (width, embedder) = (config.width(), reader.at("condition_embedder"));
        let transformer = Self {
            patch_embedding: reader.linear("patch_embedding", width, config.in_channels * config.patch_volume())?,
            rope: Mutex::new(None),
            time_embedder: TimeEmbedder::load(&embedder, &config)?,
            context_embedder: ContextEmbedder::load(&embedder, &config, options.padding)?,
            control: ControlBranch::load(&reader, &in_blocks, &config)?,
            blocks: Blocks::load(checkpoint, &in_blocks, &config, options.residency)?,
            contexts: options.contexts,
            head_modulation: ModulationTable(reader.tensor("scale_shift_table", &[1, 2, width])?),
            proj_out: reader.linear("proj_out", config.out_channels() * config.patch_volume(), width)?,
            config,
        };
        let unread = transformer.blocks.unread(&transformer.config);
        reader.finish(&unread.iter().map(String::as_str).collect::<Vec<_>>())?;
        Ok(transformer)
    }

    /// The hyper-parameters.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Memory of the packed weights. Of streamed blocks those count that are being read or used.
    pub fn bytes(&self) -> usize {
        self.bytes_outside_blocks() + self.blocks.bytes()
    }

    /// The largest value that [`Transformer::bytes`] has had.
    pub fn peak_bytes(&self) -> usize {
        self.bytes_outside_blocks() + self.blocks.peak_bytes()
    }

    fn bytes_outside_blocks(&self) -> usize {
        self.patch_embedding.bytes()
            + self.time_embedder.bytes()
            + self.context_embedder.bytes()
            + self.control.as_ref().map_or(0, ControlBranch::bytes)
            + size_of::<f32>() * self.head_modulation.0.elements()
            + self.proj_out.bytes()
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

    fn rope(&self, first_frame: usize, grid: [usize; 3]) -> Arc<Rope> {
        let mut kept = self.rope.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some((from, of, rope)) if (*from, *of) == (first_frame, grid) => rope.clone(),
            _ => {
                let rope = Arc::new(Rope::for_grid(first_frame, grid, self.config.attention_head_dim));
                *kept = Some((first_frame, grid, rope.clone()));
                rope
            }
        }
    }

    /// Prepares text, and the picture of a model that attends to one, for any number of [`Transformer::forward`] calls.
    ///
    /// **Shapes**: `text [B, S, text_dim]` as the text encoder gives it; `image [B, T, image_dim]`, the last hidden layer
    /// but one of CLIP. One picture serves all texts (B = 1). With first and last frame (`pos_embed_seq_len`) the two
    /// pictures of each clip follow each other: `[2B, T, image_dim]`.
    ///
    /// **Errors**: other shapes; a picture that the model has no layers for, or none where it has.
    pub fn embed_context(&self, text: &Tensor, image: Option<&Tensor>) -> Result<Context> {
        self.embed(text, image, &mut Taps::none())
    }

    /// As [`Transformer::embed_context`], showing intermediate tensors to `tap` under the names that the goldens use.
    pub fn embed_context_tapped(
        &self,
        text: &Tensor,
        image: Option<&Tensor>,
        tap: &mut dyn FnMut(&str, &Tensor),
    ) -> Result<Context> {
        self.embed(text, image, &mut Taps::to(tap))
    }

    fn embed(&self, text: &Tensor, image: Option<&Tensor>, tap: &mut Taps) -> Result<Context> {
        let tokens = self.context_embedder.forward(text, image, tap)?;
        let places: Vec<Place> = Place::all(&self.config).collect();
        match (&self.blocks, self.contexts) {
            (Blocks::Resident { .. }, ContextMemory::Kept) => {
                Context::of(tokens, places.len()).complete(self.blocks.visit(places), &self.config, tap)
            }
            // No pass over all blocks for the text alone: each adds its part when a step comes to it.
            (Blocks::Streamed(_), ContextMemory::Kept) => Ok(Context::of(tokens, places.len())),
            (_, ContextMemory::Remade) => Ok(Context::of(tokens, 0)),
        }
    }

    /// The predicted velocity (noise − clean latents).
    ///
    /// **Shapes**: latents `[B, C_in, F, H, W]` → `[B, C_out, F, H, W]`; `timesteps` has one row for each of the B·L tokens.
    pub fn forward(&self, latents: &Tensor, timesteps: &Timesteps, context: &Context) -> Result<Tensor> {
        self.run(Call::of(latents, timesteps, context), &mut Taps::none())
    }

    /// As [`Transformer::forward`], showing intermediate tensors to `tap` under the names that the goldens use. What a
    /// fused operation never writes is computed once more for it.
    pub fn forward_tapped(
        &self,
        latents: &Tensor,
        timesteps: &Timesteps,
        context: &Context,
        tap: &mut dyn FnMut(&str, &Tensor),
    ) -> Result<Tensor> {
        self.run(Call::of(latents, timesteps, context), &mut Taps::to(tap))
    }

    /// As [`Transformer::forward`], steered by control latents as well. `None` is the same as a scale of 0 for each hint.
    ///
    /// **Shapes**: as there; see [`Control`].
    ///
    /// **Errors**: control on a model without `vace_layers`, or of other extents than the latents.
    pub fn forward_controlled(
        &self,
        latents: &Tensor,
        timesteps: &Timesteps,
        context: &Context,
        control: Option<&Control>,
    ) -> Result<Tensor> {
        let call = Call::of(latents, timesteps, context);
        self.run(Call { control, ..call }, &mut Taps::none())
    }

    /// As [`Transformer::forward_controlled`], showing intermediate tensors to `tap` as [`Transformer::forward_tapped`] does.
    pub fn forward_controlled_tapped(
        &self,
        latents: &Tensor,
        timesteps: &Timesteps,
        context: &Context,
        control: Option<&Control>,
        tap: &mut dyn FnMut(&str, &Tensor),
    ) -> Result<Tensor> {
        let call = Call::of(latents, timesteps, context);
        self.run(Call { control, ..call }, &mut Taps::to(tap))
    }

    /// As [`Transformer::forward`] for the next frames of a clip, which see themselves and what `cache` remembers of the
    /// frames before; see [`KvCache`]. With [`WriteCache::Yes`] they are remembered too.
    ///
    /// **Shapes**: as there. Blocks may have any number of frames; the other extents are those of the blocks before.
    ///
    /// **Errors**: other extents, a block that the window has no room for. A call that fails remembers nothing.
    pub fn forward_causal(
        &self,
        latents_block: &Tensor,
        timesteps: &Timesteps,
        context: &Context,
        cache: &mut KvCache,
        write: WriteCache,
    ) -> Result<Tensor> {
        self.run_causal(
            Call::of(latents_block, timesteps, context),
            cache,
            write,
            &mut Taps::none(),
        )
    }

    /// As [`Transformer::forward_causal`], showing intermediate tensors to `tap` as [`Transformer::forward_tapped`] does.
    pub fn forward_causal_tapped(
        &self,
        latents_block: &Tensor,
        timesteps: &Timesteps,
        context: &Context,
        cache: &mut KvCache,
        write: WriteCache,
        tap: &mut dyn FnMut(&str, &Tensor),
    ) -> Result<Tensor> {
        self.run_causal(
            Call::of(latents_block, timesteps, context),
            cache,
            write,
            &mut Taps::to(tap),
        )
    }

    fn run_causal(&self, call: Call, cache: &mut KvCache, write: WriteCache, tap: &mut Taps) -> Result<Tensor> {
        let grid @ [frames, ..] = self.token_grid(call.latents)?;
        cache.prepare(call.latents, grid, &self.config)?;
        let past = Some((&mut *cache, write));
        let velocity = self.run(Call { past, ..call }, tap)?;
        if write == WriteCache::Yes {
            cache.advance(frames);
        }
        Ok(velocity)
    }

    fn run(&self, call: Call, tap: &mut Taps) -> Result<Tensor> {
        let Call {
            latents,
            timesteps,
            context,
            control,
            mut past,
        } = call;
        let grid = self.token_grid(latents)?;
        // 1. Patches and positions
        let patches = patchify(latents, self.config.patch_size)?; // [B, L, C·P]
        let mut tokens = linear(&patches, &self.patch_embedding, Activation::None)?; // [B, L, M]
        drop(patches);
        tap.show("patch_embedding", &tokens);
        let first_frame = past.as_ref().map_or(0, |(cache, _)| cache.frames());
        let rope = self.rope(first_frame, grid);

        // 2. Timesteps
        let time = self.time_embedder.forward(latents, &timesteps.distinct, tap)?;

        // 3. Blocks
        let around = Surroundings {
            time_projection: &time.projection,
            row_of_token: &timesteps.row_of_token,
            rope: &rope,
        };
        let mut control = match control {
            Some(control) => Some((&control.scales, self.control_tokens(control, &tokens, latents, tap)?)),
            None => None,
        };
        for visited in self.blocks.visit(Place::visited(&self.config, control.is_some())) {
            let (place, block) = visited?;
            let context = context.for_block(&block, place, &self.config, tap)?;
            match (place, control.take()) {
                (Place::Control(i), Some((scales, steering))) => {
                    let steering = block.forward(steering, &around, &context, None, place, tap)?;
                    tap.show(format_args!("{place}.tokens"), &steering);
                    if let Some(hint) = block.hint(&steering)? {
                        tap.show(format_args!("{place}.hint"), &hint);
                        tokens = add_hint(tokens, hint, scales[i])?;
                    }
                    control = Some((scales, steering));
                }
                (_, waiting) => {
                    let past = past
                        .as_mut()
                        .and_then(|(cache, write)| cache.block(place.index(&self.config), *write));
                    tokens = block.forward(tokens, &around, &context, past, place, tap)?;
                    tap.show(place, &tokens);
                    control = waiting;
                }
            }
        }
        drop(control);

        // 4. Head
        let patches = self.head(&tokens, &time, &timesteps.row_of_token, tap)?; // [B, L, P·C]
        unpatchify(&patches, grid, self.config.patch_size)
    }

    /// What the first control block reads, `[B, L, M]`.
    fn control_tokens(&self, control: &Control, main: &Tensor, latents: &Tensor, tap: &mut Taps) -> Result<Tensor> {
        let Some(branch) = &self.control else {
            return Err(Error::Refused {
                model: "wan transformer",
                reason: "control latents are given, and this model has no control branch".into(),
                hint: "a VACE model has one: its config names vace_layers",
            });
        };
        let extents = latents.dims_of("wan transformer", "[B, C, F, H, W]")?;
        branch.tokens(control, main, extents, &self.config, tap)
    }

    /// (1 + scale) · norm(x) + shift, then to patches. Both rows of its table are offsets of the same time embedding.
    fn head(&self, tokens: &Tensor, time: &Time, row_of_token: &[u32], tap: &mut Taps) -> Result<Tensor> {
        let [rows, width] = time.embedding.dims_of("wan transformer", "[R, M]")?;
        let mut twice = time.embedding.uninit_like([rows, 2, width])?;
        let pairs = twice.as_mut_slice().chunks_exact_mut(2 * width);
        for (pair, row) in pairs.zip(time.embedding.as_slice().chunks_exact(width)) {
            pair[..width].copy_from_slice(row);
            pair[width..].copy_from_slice(row);
        }
        let (shift, scale) = (
            self.head_modulation.part(&twice, 0)?,
            self.head_modulation.part(&twice, 1)?,
        );
        tap.make("norm_out", || Ok(layer_norm(tokens, None, None, self.config.eps)?))?;
        let input = Input::Modulated {
            x: tokens,
            shift: PerToken::new(&shift, row_of_token)?,
            scale: PerToken::new(&scale, row_of_token)?,
            eps: self.config.eps,
        };
        let patches = linear(input, &self.proj_out, Activation::None)?;
        tap.show("proj_out", &patches);
        Ok(patches)
    }
}
