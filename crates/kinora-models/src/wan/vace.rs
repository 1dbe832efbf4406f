//! The control branch (VACE): latents that say what stays, what is made anew and where steer a text to video model.
//!
//! **Source**: `WanVACETransformer3DModel`, diffusers 0.42.1 (Apache-2.0); VACE, arXiv 2503.07598.
//!
//! **Flow**: control latents `[B,96,F,H,W]` → patchify, `proj_in`, plus the main tokens → control blocks, one after the
//! other; each hands a hint `[B,L,M]` to the main block of its number, which adds scale · hint to its result.
//!
//! The control tokens depend on the main tokens before the first block only, so the two lists of blocks run interleaved
//! and one hint is alive at a time; the reference keeps them all.

use kinora_kernels::{Activation, Linear, add, linear};
use kinora_tensor::Tensor;
use kinora_weights::Reader;

use super::config::Config;
use super::layout::Place;
use super::patch::patchify;
use super::tap::Taps;
use crate::{Error, Result};

/// What steers a call beside its text.
pub struct Control {
    /// `[B, C, F, H, W]` or `[1, C, F, H, W]` for all entries of a batch: the latents of what stays, of what is to be made
    /// anew, and the folded mask, side by side (C is the config's `vace_in_channels`, 96 in published models).
    pub latents: Tensor,
    /// How much each hint counts, one for each of the config's `vace_layers`; usually 1.
    pub scales: Vec<f32>,
}

/// The layers in front of the control blocks.
pub(super) struct ControlBranch {
    patch_embedding: Linear,
    proj_in: Linear,
}

impl ControlBranch {
    /// `None` for a model without a control branch. `blocks` packs in the precision of the blocks.
    pub(super) fn load(reader: &Reader, blocks: &Reader, config: &Config) -> Result<Option<Self>> {
        let Some(channels) = config.vace_in_channels else {
            return Ok(None);
        };
        let width = config.width();
        Ok(Some(Self {
            patch_embedding: reader.linear("vace_patch_embedding", width, channels * config.patch_volume())?,
            proj_in: blocks.at(Place::Control(0)).linear("proj_in", width, width)?,
        }))
    }

    pub(super) fn bytes(&self) -> usize {
        self.patch_embedding.bytes() + self.proj_in.bytes()
    }

    /// What the first control block reads.
    ///
    /// **Shapes**: `main [B, L, M]`, the patched latents of extents `[B, C, F, H, W]` → `[B, L, M]`.
    ///
    /// **Errors**: control latents of other extents; another number of scales than of control blocks.
    pub(super) fn tokens(
        &self,
        control: &Control,
        main: &Tensor,
        [batch, _, frames, height, width]: [usize; 5],
        config: &Config,
        tap: &mut Taps,
    ) -> Result<Tensor> {
        let (channels, blocks) = (config.vace_in_channels.unwrap_or(0), config.control_layers().len());
        if control.scales.len() != blocks {
            return Err(Error::Refused {
                model: "wan transformer",
                reason: format!("{} scales for {blocks} control blocks", control.scales.len()),
                hint: "one for each of the config's vace_layers, 1 where the hint counts in full",
            });
        }
        let latents = &control.latents;
        let [entries, rest @ ..] = latents.dims_of::<5>("wan control", "[B, C, F, H, W]")?;
        if rest != [channels, frames, height, width] || ![1, batch].contains(&entries) {
            let expected = format!("[{batch} or 1, {channels}, {frames}, {height}, {width}]");
            return Err(latents.mismatch("wan control", expected).into());
        }
        let patches = patchify(latents, config.patch_size)?; // [B, L, C·P]
        let tokens = linear(&patches, &self.patch_embedding, Activation::None)?; // [B, L, M]
        drop(patches);
        tap.show("vace_patch_embedding", &tokens);
        let tokens = linear(&tokens, &self.proj_in, Activation::None)?;
        tap.show("vace_blocks.0.proj_in", &tokens);
        if entries == batch {
            return Ok(add(tokens, main)?);
        }
        let mut all = main.try_clone()?;
        for entry in all.as_mut_slice().chunks_exact_mut(tokens.elements()) {
            entry.iter_mut().zip(tokens.as_slice()).for_each(|(a, b)| *a += b);
        }
        Ok(all)
    }
}

/// tokens + scale · hint.
pub(super) fn add_hint(tokens: Tensor, mut hint: Tensor, scale: f32) -> Result<Tensor> {
    if scale != 1.0 {
        hint.as_mut_slice().iter_mut().for_each(|v| *v *= scale);
    }
    Ok(add(tokens, &hint)?)
}
