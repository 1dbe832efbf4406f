//! What steers a model's control branch (VACE): a clip to follow, a mask of what is made anew, pictures of what shall
//! appear.
//!
//! **Source**: `WanVACEPipeline.prepare_video_latents` and `prepare_masks`, diffusers 0.42.1 (Apache-2.0).

use kinora_media::Frame;
use kinora_models::wan::Control;
use kinora_tensor::{Arena, Tensor};

use super::encode::{encode, frame_to_tensor};
use super::start::grey;
use crate::Result;
use crate::model::Vae;
use crate::request::Size;

/// What steers one frame.
#[derive(Clone, Copy)]
pub(crate) enum Steer<'a> {
    /// Nothing: the frame is made from words.
    Nothing,
    /// A frame that is part of the clip, as it is.
    Kept(&'a Frame),
    /// A frame that is followed and made anew.
    Followed(&'a Frame),
    /// A frame of which what the second one shows in white is made anew.
    Masked(&'a Frame, &'a Frame),
}

impl<'a> Steer<'a> {
    const fn frame(self) -> Option<&'a Frame> {
        match self {
            Self::Nothing => None,
            Self::Kept(frame) | Self::Followed(frame) | Self::Masked(frame, _) => Some(frame),
        }
    }
}

/// What steers one part.
pub(crate) struct ControlClip<'a> {
    /// For each frame of the part.
    pub(crate) at: &'a dyn Fn(usize) -> Steer<'a>,
    /// Pictures of what shall appear, at the size of the clip.
    pub(crate) references: &'a [Frame],
    /// For each control block.
    pub(crate) scales: Vec<f32>,
}

/// The control latents of a part of `latent_frames` latent frames. Those of the reference pictures stand in front.
///
/// **Shapes**: → `[1, 2C + s², R + F, h, w]` with s pixels along a side of a latent position.
pub(crate) fn control(
    vae: &Vae,
    arena: &Arena,
    clip: ControlClip<'_>,
    latent_frames: usize,
    size: Size,
) -> Result<Control> {
    let frames = vae.frames_of(latent_frames);
    let masks = (0..frames)
        .map(|index| mask(arena, (clip.at)(index), size))
        .collect::<Result<Vec<_>>>()?;
    let half = |anew: bool| {
        let parts = (0..frames).map(|index| {
            let mut frame = match (clip.at)(index).frame() {
                Some(frame) => frame_to_tensor(arena, frame, size)?,
                None => grey(arena, size)?,
            };
            // What a half does not hold is grey.
            for (pixel, &mask) in frame.as_mut_slice().chunks_exact_mut(3).zip(masks[index].as_slice()) {
                if (mask > 0.5) != anew {
                    pixel.fill(0.5);
                }
            }
            Ok(frame)
        });
        encode(vae, arena, parts)
    };
    let (inactive, reactive) = (half(false)?, half(true)?);
    let folded = fold(arena, &masks, &inactive)?;
    let references = clip
        .references
        .iter()
        .rev() // each one is put in front of those before it
        .map(|picture| encode(vae, arena, std::iter::once(frame_to_tensor(arena, picture, size))))
        .collect::<Result<Vec<_>>>()?;
    Ok(Control {
        latents: assemble(arena, &references, [&inactive, &reactive, &folded])?,
        scales: clip.scales,
    })
}

/// 1 where a frame is made anew, `[H, W]`.
fn mask(arena: &Arena, steer: Steer<'_>, size: Size) -> Result<Tensor> {
    let dims = [size.height_px as usize, size.width_px as usize];
    let mut mask = Tensor::zeros_in(arena, dims)?;
    match steer {
        Steer::Kept(_) => {}
        Steer::Nothing | Steer::Followed(_) => mask.as_mut_slice().fill(1.0),
        Steer::Masked(_, frame) => {
            let grey = frame_to_tensor(arena, frame, size)?;
            let levels = grey
                .as_slice()
                .chunks_exact(3)
                .map(|pixel| pixel.iter().sum::<f32>() / 3.0);
            mask.as_mut_slice()
                .iter_mut()
                .zip(levels)
                .for_each(|(mask, level)| *mask = level);
        }
    }
    Ok(mask)
}

/// Masks `[H, W]` of all frames → `[1, s², F, h, w]`: the pixels of a latent position as channels, row by row, and of the
/// frames those that `nearest-exact` takes.
fn fold(arena: &Arena, masks: &[Tensor], like: &Tensor) -> Result<Tensor> {
    let [_, _, latent_frames, height, width] = like.dims_of("fold", "[1, C, F, h, w]")?;
    let [rows, columns] = masks
        .first()
        .map_or(Ok([0, 0]), |mask| mask.dims_of("fold", "[H, W]"))?;
    let side = rows / height.max(1);
    let mut out = Tensor::zeros_in(arena, [1, side * side, latent_frames, height, width])?;
    for (place, plane) in out.as_mut_slice().chunks_exact_mut((height * width).max(1)).enumerate() {
        let (channel, latent_frame) = (place / latent_frames, place % latent_frames);
        let (row, column) = (channel / side, channel % side);
        let source = ((2 * latent_frame + 1) * masks.len()) / (2 * latent_frames);
        for (at, value) in plane.iter_mut().enumerate() {
            let (y, x) = (at / width * side + row, at % width * side + column);
            *value = masks[source].as_slice()[y * columns + x];
        }
    }
    Ok(out)
}

/// References `[1, C, 1, h, w]` in front of `parts` `[1, _, F, h, w]` put side by side; they have no reactive half and no
/// mask.
fn assemble(arena: &Arena, references: &[Tensor], parts: [&Tensor; 3]) -> Result<Tensor> {
    let [_, channels, frames, height, width] = parts[0].dims_of("assemble", "[1, C, F, h, w]")?;
    let (area, all_frames) = (height * width, references.len() + frames);
    let all_channels: usize = parts.iter().map(|part| part.dims()[1]).sum();
    let mut out = Tensor::zeros_in(arena, [1, all_channels, all_frames, height, width])?;
    let sources = parts
        .iter()
        .flat_map(|part| part.as_slice().chunks_exact((frames * area).max(1)));
    for (channel, (target, source)) in out
        .as_mut_slice()
        .chunks_exact_mut((all_frames * area).max(1))
        .zip(sources)
        .enumerate()
    {
        let (front, rest) = target.split_at_mut(references.len() * area);
        rest.copy_from_slice(source);
        for (target, reference) in front.chunks_exact_mut(area.max(1)).zip(references) {
            if channel < channels {
                target.copy_from_slice(&reference.as_slice()[channel * area..][..area]);
            }
        }
    }
    Ok(out)
}
