//! What given frames become for a model: clean latents at the start, channels beside the noisy ones, or frames that are
//! held at their noise level.

use kinora_media::Frame;
use kinora_tensor::{Arena, Tensor};

use super::encode::{encode, encode_frames, frame_to_tensor};
use crate::Result;
use crate::description::StartsFrom;
use crate::diffuse::Known;
use crate::model::Vae;
use crate::request::Size;

/// The frames of a part that are known before it is made.
#[derive(Clone, Copy)]
pub(crate) struct Given<'a> {
    /// Its first ones, in playing order.
    pub(crate) first: &'a [Frame],
    /// Its last ones, in playing order.
    pub(crate) last: &'a [Frame],
}

impl<'a> Given<'a> {
    /// Frame `index` of a part of `frames` frames, if it is given.
    pub(crate) fn at(&self, index: usize, frames: usize) -> Option<&'a Frame> {
        let from_last = (index + self.last.len()).checked_sub(frames);
        self.first
            .get(index)
            .or_else(|| from_last.and_then(|index| self.last.get(index)))
    }
}

/// The latents of a part that ends with given frames, for models that have no place for them: `given.first`, a fade, then
/// `given.last`. Those of the fade are no good; those of the given frames are as a clip's are that comes to them.
///
/// **Shapes**: → `[1, C, F, h, w]` with `latent_frames` F.
pub(crate) fn ending(vae: &Vae, arena: &Arena, given: Given<'_>, latent_frames: usize, size: Size) -> Result<Tensor> {
    let frames = vae.frames_of(latent_frames);
    let between = frames.saturating_sub(given.first.len() + given.last.len());
    let tensors = (0..frames).map(|index| {
        if let Some(frame) = given.at(index, frames) {
            return frame_to_tensor(arena, frame, size);
        }
        let share = (index + 1 - given.first.len()) as f32 / (between + 1) as f32;
        let Some(end) = given.last.first() else {
            return grey(arena, size);
        };
        let mut faded = frame_to_tensor(arena, end, size)?;
        if let Some(start) = given.first.last() {
            let start = frame_to_tensor(arena, start, size)?;
            let pixels = faded.as_mut_slice().iter_mut().zip(start.as_slice());
            pixels.for_each(|(end, start)| *end = (1.0 - share) * start + share * *end);
        }
        Ok(faded)
    });
    encode(vae, arena, tensors)
}

/// What `given` is for a model that starts as `starts` says, in a part of `latent_frames` latent frames of `size`.
pub(crate) fn known(
    starts: StartsFrom,
    vae: &Vae,
    arena: &Arena,
    given: Given<'_>,
    latent_frames: usize,
    size: Size,
) -> Result<Known> {
    match starts {
        StartsFrom::Channels => channels(vae, arena, given, latent_frames, size).map(Known::Channels),
        StartsFrom::Control => Ok(Known::Nothing),
        _ if given.first.is_empty() => Ok(Known::Nothing),
        StartsFrom::CleanFrames => encode_frames(vae, arena, given.first, size).map(Known::Prefix),
        StartsFrom::Anything => encode_frames(vae, arena, given.first, size).map(Known::Noised),
    }
}

/// A mask of as many channels as frames belong to a latent frame, and the latents of the given frames with grey ones
/// where nothing is given.
///
/// **Source**: `WanImageToVideoPipeline.prepare_latents`, diffusers 0.42.1 (Apache-2.0). **Shapes**: → `[1, t + C, F, h, w]`.
fn channels(vae: &Vae, arena: &Arena, given: Given<'_>, latent_frames: usize, size: Size) -> Result<Tensor> {
    let frames = vae.frames_of(latent_frames);
    let is_given = |frame: usize| given.at(frame, frames).is_some();
    let tensors = (0..frames).map(|index| match given.at(index, frames) {
        Some(frame) => frame_to_tensor(arena, frame, size),
        None => grey(arena, size),
    });
    let latents = encode(vae, arena, tensors)?;
    let [_, channels, latent_frames, height, width] = latents.dims_of("channels", "[1, C, F, h, w]")?;
    let factor = (frames - 1)
        .checked_div(latent_frames - 1)
        .unwrap_or(vae.frames_of(2) - 1);
    let (area, volume) = (height * width, latent_frames * height * width);
    let mut out = Tensor::zeros_in(arena, [1, factor + channels, latent_frames, height, width])?;
    let (mask, beside) = out.as_mut_slice().split_at_mut(factor * volume);
    for (place, plane) in mask.chunks_exact_mut(area.max(1)).enumerate() {
        let (channel, latent_frame) = (place / latent_frames, place % latent_frames);
        // The first latent frame stands for the first frame alone, which counts for all channels.
        let frame = (latent_frame * factor + channel).saturating_sub(factor - 1);
        plane.fill(f32::from(u8::from(is_given(if latent_frame == 0 { 0 } else { frame }))));
    }
    beside.copy_from_slice(latents.as_slice());
    Ok(out)
}

/// Half of the way from black to white: what the reference's pipelines put where no frame is given.
pub(super) fn grey(arena: &Arena, size: Size) -> Result<Tensor> {
    let mut frame = Tensor::zeros_in(arena, [size.height_px as usize, size.width_px as usize, 3])?;
    frame.as_mut_slice().fill(0.5);
    Ok(frame)
}
