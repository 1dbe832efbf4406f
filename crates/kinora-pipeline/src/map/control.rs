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
    let masks = (0..frames).map(|index| mask(arena, (clip.at)(index), size));
    let masks = masks.collect::<Result<Vec<_>>>()?;
    let frame = |index: usize| match (clip.at)(index).frame() {
        Some(frame) => frame_to_tensor(arena, frame, size),
        None => grey(arena, size),
    };
    let references = clip
        .references
        .iter()
        .map(|picture| frame_to_tensor(arena, picture, size));
    Ok(Control {
        latents: latents(vae, arena, &frame, &masks, &references.collect::<Result<Vec<_>>>()?)?,
        scales: clip.scales,
    })
}

/// The two halves of a clip as latents, what its masks keep and what they give free, with the folded masks beside them and
/// the reference pictures in front.
///
/// **Shapes**: `frame(i) [H, W, 3]` and `masks[i] [H, W]` for each frame, `references [H, W, 3]` → as [`control`].
fn latents(
    vae: &Vae,
    arena: &Arena,
    frame: &dyn Fn(usize) -> Result<Tensor>,
    masks: &[Tensor],
    references: &[Tensor],
) -> Result<Tensor> {
    let half = |anew: bool| {
        let parts = masks.iter().enumerate().map(|(index, mask)| {
            let mut frame = frame(index)?;
            // What a half does not hold is grey.
            for (pixel, &mask) in frame.as_mut_slice().chunks_exact_mut(3).zip(mask.as_slice()) {
                if (mask > 0.5) != anew {
                    pixel.fill(0.5);
                }
            }
            Ok(frame)
        });
        encode(vae, arena, parts)
    };
    let (inactive, reactive) = (half(false)?, half(true)?);
    let folded = fold(arena, masks, &inactive)?;
    let references = references
        .iter()
        .rev() // each one is put in front of those before it
        .map(|picture| encode(vae, arena, std::iter::once(picture.try_clone().map_err(Into::into))))
        .collect::<Result<Vec<_>>>()?;
    assemble(arena, &references, [&inactive, &reactive, &folded])
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

#[cfg(test)]
mod tests {
    use kinora_kernels::Precision;
    use kinora_models::wan_vae;
    use kinora_testkit::{Golden, Json, assert_close};
    use kinora_weights::Checkpoint;

    use super::*;
    use crate::model::VaeConfig;

    fn vae(golden: &Golden) -> Vae {
        let configs: Json = serde_json::from_str(golden.meta("configs")).unwrap();
        let json = configs["vae"].to_string();
        let config = VaeConfig::Wan(wan_vae::Config::from_json(&json).unwrap());
        let checkpoint = Checkpoint::from_bytes("vae", golden.checkpoint_bytes("vae.")).unwrap();
        Vae::load(&checkpoint, &config, &json, Precision::F32, crate::model::VaeHalf::Both).unwrap()
    }

    /// `[.., C, F, H, W]` in -1..1 → frame `index` as `[H, W, C]` in 0..1.
    fn frame(planes: &Tensor, [channels, frames]: [usize; 2], index: usize) -> Tensor {
        let [height, width] = [
            planes.dims()[planes.dims().len() - 2],
            planes.dims()[planes.dims().len() - 1],
        ];
        let area = height * width;
        let value = |i: usize| planes.as_slice()[(i % channels * frames + index) * area + i / channels];
        let values: Vec<f32> = (0..area * channels).map(|i| (value(i) + 1.0) / 2.0).collect();
        Tensor::from_slice(&values, [height, width, channels]).unwrap()
    }

    #[test]
    fn control_latents_equal_those_of_the_pipeline() {
        let golden = Golden::open(
            concat!(env!("CARGO_MANIFEST_DIR"), "/../kinora-models"),
            "wan_vace_condition_tiny",
        );
        let (vae, arena) = (vae(&golden), Arena::new());
        let (video, mask, picture) = (
            golden.tensor("video"),
            golden.tensor("mask"),
            golden.tensor("reference"),
        );
        let [_, _, frames, height, width] = video.dims_of("test", "[1, 3, F, H, W]").unwrap();
        let masks: Vec<Tensor> = mask
            .as_slice()
            .chunks_exact(height * width)
            .map(|plane| Tensor::from_slice(plane, [height, width]).unwrap())
            .collect();
        let picture = frame(&picture, [3, 1], 0);
        for (run, references) in [("plain", &[][..]), ("with_reference", std::slice::from_ref(&picture))] {
            let of_frame = |index| Ok(frame(&video, [3, frames], index));
            let got = latents(&vae, &arena, &of_frame, &masks, references).unwrap();
            let (want, folded) = (
                golden.tensor(&format!("{run}.latents")),
                golden.tensor(&format!("{run}.mask")),
            );
            let (of_clip, of_mask) = got.as_slice().split_at(want.elements());
            assert_eq!(got.dims()[1], want.dims()[1] + folded.dims()[1], "{run}");
            assert_close(&format!("{run}.latents"), of_clip, want.as_slice(), golden.tolerance());
            assert_close(&format!("{run}.mask"), of_mask, folded.as_slice(), golden.tolerance());
        }
    }
}
