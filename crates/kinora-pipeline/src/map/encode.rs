//! Frames to latents, one frame at a time.

use kinora_kernels::trace;
use kinora_media::{Fit, Frame, fit};
use kinora_tensor::{Arena, Tensor};

use crate::model::Vae;
use crate::request::Size;
use crate::{Error, Result};

/// Latents of given frames, which must be one more than a multiple of the autoencoder's temporal factor.
///
/// **Shapes**: frames of `size` → `[1, C, P, h, w]`, normalised.
pub(crate) fn encode_frames(vae: &Vae, arena: &Arena, frames: &[Frame], size: Size) -> Result<Tensor> {
    let tensors = frames.iter().map(|frame| frame_to_tensor(arena, frame, size));
    encode(vae, arena, tensors)
}

/// Latents of frames `[H, W, 3]` in 0..1 as they come; their number must be one more than a multiple of the
/// autoencoder's temporal factor.
///
/// **Shapes**: → `[1, C, P, h, w]`, normalised.
pub(super) fn encode(vae: &Vae, arena: &Arena, frames: impl Iterator<Item = Result<Tensor>>) -> Result<Tensor> {
    let _span = trace::span("encode", 0.0);
    let mut encoder = vae.encoder();
    let mut latents = Vec::new();
    for frame in frames {
        latents.extend(encoder.push(&frame?)?);
    }
    encoder.finish()?;
    stack_frames(arena, &latents)
}

/// A frame scaled to cover `size`, as `[H, W, 3]` in 0..1.
pub(super) fn frame_to_tensor(arena: &Arena, frame: &Frame, size: Size) -> Result<Tensor> {
    let scaled = fit(frame, size.width_px, size.height_px, Fit::Cover).map_err(Error::Media)?;
    let dims = [size.height_px as usize, size.width_px as usize, 3];
    let mut tensor = Tensor::zeros_in(arena, dims)?;
    write_frame(&scaled, &mut tensor);
    Ok(tensor)
}

/// A frame as it is, as `[H, W, 3]` in 0..1.
pub(crate) fn whole_frame(frame: &Frame) -> Result<Tensor> {
    let mut tensor = Tensor::zeros([frame.height_px as usize, frame.width_px as usize, 3])?;
    write_frame(frame, &mut tensor);
    Ok(tensor)
}

fn write_frame(frame: &Frame, tensor: &mut Tensor) {
    let values = tensor.as_mut_slice().iter_mut().zip(&frame.rgb);
    values.for_each(|(out, &byte)| *out = f32::from(byte) / 255.0);
}

/// P latent frames `[C, h, w]` → `[1, C, P, h, w]`.
pub(super) fn stack_frames(arena: &Arena, frames: &[Tensor]) -> Result<Tensor> {
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
