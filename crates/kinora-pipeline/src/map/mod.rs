//! **map**: from words and given pictures to what steers the model.
//!
//! Text becomes context tokens; a picture, or the end of a clip, becomes clean latents that the new ones start from.

mod control;
mod encode;
mod source;
mod start;
mod text;

use kinora_models::wan::Control;
use kinora_sampling::Clean;
use kinora_tensor::Tensor;

pub(crate) use control::{ControlClip, Steer, control};
pub(crate) use encode::{encode_frames, whole_frame};
pub(crate) use source::{
    ClipTail, Picture, clip_head, clip_tail, file_sha256, hex, mask_frames, picture, probe_source, reference,
};
pub(crate) use start::{Given, ending, known};
pub(crate) use text::{TextEmbedder, vocabulary};

use crate::Result;
use crate::diffuse::{Held, Known};

/// Everything that steers one pass of the model.
pub(crate) struct Conditioning<'a> {
    /// Tokens of the prompt, `[1, S, T]`.
    pub(crate) cond: &'a Tensor,
    /// Tokens of the negative prompt, `[1, S, T]`; absent without guidance.
    pub(crate) uncond: Option<&'a Tensor>,
    /// What CLIP sees in the given pictures, `[1, S, I]` or `[2, S, I]`, for models that attend to it.
    pub(crate) image: Option<Tensor>,
    /// What is given of the clip itself.
    pub(crate) known: Known,
    /// What steers the control branch, for models that have one.
    pub(crate) control: Option<Control>,
    /// Latents of a clip that is made anew, `[1, C, F, h, w]`.
    pub(crate) start: Option<Tensor>,
    /// Latent frames that are given beside what is known.
    pub(crate) held: Option<Held>,
}

impl Conditioning<'_> {
    /// What the sampler holds in place.
    pub(crate) fn clean(&self) -> Result<Option<Clean>> {
        let held = self.held.as_ref().filter(|held| held.clean);
        match (&self.known, held) {
            (known, Some(held)) => held.clean(known).map(Some),
            (Known::Prefix(prefix), None) => Ok(Some(Clean::Prefix(prefix.try_clone()?))),
            _ => Ok(None),
        }
    }
}
