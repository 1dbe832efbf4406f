//! **map**: from words and given pictures to what steers the model.
//!
//! Text becomes context tokens; a picture, or the end of a clip, becomes clean latents that the new ones start from.

mod source;
mod text;

use kinora_kernels::trace;
use kinora_media::{Fit, Frame, fit};
use kinora_tensor::{Arena, Tensor};

pub(crate) use source::{ClipTail, clip_tail, file_sha256, first_frame, probe_source};
pub(crate) use text::{TextEmbedder, vocabulary};

use crate::diffuse::Known;
use crate::model::Vae;
use crate::request::Size;
use crate::{Error, Result};

/// Everything that steers one pass of the model.
pub(crate) struct Conditioning {
    /// Tokens of the prompt, `[1, S, T]`.
    pub(crate) cond: Tensor,
    /// Tokens of the negative prompt, `[1, S, T]`; absent without guidance.
    pub(crate) uncond: Option<Tensor>,
    /// What is given of the clip itself.
    pub(crate) known: Known,
}

/// Latents of given frames, which must be one more than a multiple of the autoencoder's temporal factor.
///
/// **Shapes**: frames of `size` → `[1, C, P, h, w]`, normalised.
pub(crate) fn encode_frames(vae: &Vae, arena: &Arena, frames: &[Frame], size: Size) -> Result<Tensor> {
    let _span = trace::span("encode", 0.0);
    let mut encoder = vae.encoder();
    let mut latents = Vec::new();
    for frame in frames {
        let tensor = frame_to_tensor(arena, frame, size)?;
        latents.extend(encoder.push(&tensor)?);
    }
    stack_frames(arena, &latents)
}

/// A frame scaled to cover `size`, as `[H, W, 3]` in 0..1.
fn frame_to_tensor(arena: &Arena, frame: &Frame, size: Size) -> Result<Tensor> {
    let scaled = fit(frame, size.width_px, size.height_px, Fit::Cover).map_err(Error::Media)?;
    let dims = [size.height_px as usize, size.width_px as usize, 3];
    let mut tensor = Tensor::zeros_in(arena, dims)?;
    tensor
        .as_mut_slice()
        .iter_mut()
        .zip(&scaled.rgb)
        .for_each(|(out, &byte)| *out = f32::from(byte) / 255.0);
    Ok(tensor)
}

/// P latent frames `[C, h, w]` → `[1, C, P, h, w]`.
fn stack_frames(arena: &Arena, frames: &[Tensor]) -> Result<Tensor> {
    let [channels, height, width] = match frames.first() {
        Some(frame) => frame.dims_of("stack_frames", "[C, h, w]")?,
        None => [0; 3],
    };
    let area = height * width;
    let mut out = Tensor::zeros_in(arena, [1, channels, frames.len(), height, width])?;
    for (place, plane) in out.as_mut_slice().chunks_exact_mut(area.max(1)).enumerate() {
        let (channel, frame) = (place / frames.len(), place % frames.len());
        plane.copy_from_slice(&frames[frame].as_slice()[channel * area..][..area]);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacked_frames_are_channel_major() {
        let arena = Arena::new();
        let frames: Vec<Tensor> = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
            .iter()
            .map(|v| Tensor::from_slice(v, [2, 1, 1]).unwrap())
            .collect();
        let stacked = stack_frames(&arena, &frames).unwrap();
        assert_eq!(stacked.dims(), &[1, 2, 3, 1, 1]);
        assert_eq!(stacked.as_slice(), &[1.0, 3.0, 5.0, 2.0, 4.0, 6.0]);
    }
}
