//! What a part is made of that does not start from noise alone: the latents of one clip, or of two that are mixed.

use kinora_media::Frame;
use kinora_tensor::{Arena, Tensor};

use super::Blend;
use crate::Result;
use crate::map::encode_frames;
use crate::model::Vae;
use crate::request::Size;
use crate::saved::SavedPart;

/// A clip as latents of its parts, or as frames that become such.
pub(crate) enum StartSource {
    /// Latents that were kept, part by part.
    Parts(Vec<SavedPart>),
    /// The frames of the clip, at the rate of the model. The last one is held where there are too few.
    Frames(Vec<Frame>),
}

/// Where a part lies in its clip.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// Which part.
    pub(crate) part: usize,
    /// Its latent frames.
    pub(crate) latent_frames: usize,
    /// Where its first frame lies.
    pub(crate) first_frame: usize,
    /// The frames of the whole clip.
    pub(crate) clip_frames: usize,
    /// Size of the frames.
    pub(crate) size: Size,
}

impl StartSource {
    /// **Shapes**: → `[1, C, F, h, w]`.
    fn part(&self, vae: &Vae, arena: &Arena, place: Place) -> Result<Tensor> {
        match self {
            Self::Parts(parts) => match parts.get(place.part) {
                Some(part) => Ok(part.latents.try_clone()?),
                None => Ok(Tensor::zeros_in(arena, [1, 0, 0, 0, 0])?),
            },
            Self::Frames(frames) => {
                let count = vae.frames_of(place.latent_frames);
                let at = |index: usize| frames.get(place.first_frame + index).or(frames.last()).cloned();
                let frames: Vec<Frame> = (0..count).filter_map(at).collect();
                encode_frames(vae, arena, &frames, place.size)
            }
        }
    }
}

/// What all parts of a clip start from.
pub(crate) struct Start {
    pub(crate) from: StartSource,
    /// What is mixed in, and how much of it.
    pub(crate) to: Option<(StartSource, Blend)>,
}

impl Start {
    /// The clean latents of a part, and which of its latent frames stay as they are: those that are wholly one of two clips.
    ///
    /// **Shapes**: → `[1, C, F, h, w]`.
    pub(crate) fn part(&self, vae: &Vae, arena: &Arena, place: Place) -> Result<(Tensor, Vec<bool>)> {
        let mut latents = self.from.part(vae, arena, place)?;
        let Some((to, blend)) = &self.to else {
            return Ok((latents, vec![false; place.latent_frames]));
        };
        let other = to.part(vae, arena, place)?;
        let last = place.clip_frames.saturating_sub(1).max(1) as f64;
        let shares: Vec<f32> = (1..=place.latent_frames)
            .map(|latent_frames| {
                // A latent frame is where the last of its frames is, so that the ends of a clip are at the ends of the curve.
                let frame = place.first_frame + vae.frames_of(latent_frames) - 1;
                blend.share_at(frame as f64 / last)
            })
            .collect();
        mix(&mut latents, &other, &shares)?;
        Ok((
            latents,
            shares.iter().map(|&share| share == 0.0 || share == 1.0).collect(),
        ))
    }
}

/// Mixes `share[f]` of `other` into each frame of `latents`, both `[1, C, F, h, w]`.
fn mix(latents: &mut Tensor, other: &Tensor, shares: &[f32]) -> Result<()> {
    let [_, channels, frames, height, width] = latents.dims_of("blend", "[1, C, F, h, w]")?;
    if other.dims() != latents.dims() || frames != shares.len() {
        let expected = format!("[1, {channels}, {}, {height}, {width}]", shares.len());
        return Err(other.mismatch("blend", expected).into());
    }
    let area = (height * width).max(1);
    let planes = latents.as_mut_slice().chunks_exact_mut(area);
    for (place, (plane, other)) in planes.zip(other.as_slice().chunks_exact(area)).enumerate() {
        let share = f64::from(shares[place % frames]);
        for (value, &other) in plane.iter_mut().zip(other) {
            *value = ((1.0 - share) * f64::from(*value) + share * f64::from(other)) as f32;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_latent_frame_is_mixed_by_its_own_share() {
        let mut latents = Tensor::from_slice(&[0.0, 0.0, 0.0, 10.0, 10.0, 10.0], [1, 2, 3, 1, 1]).unwrap();
        let other = Tensor::from_slice(&[1.0, 1.0, 1.0, 20.0, 20.0, 20.0], [1, 2, 3, 1, 1]).unwrap();
        mix(&mut latents, &other, &[0.0, 0.25, 1.0]).unwrap();
        assert_eq!(latents.as_slice(), [0.0, 0.25, 1.0, 10.0, 12.5, 20.0]);
        assert!(mix(&mut latents, &other, &[0.0, 1.0]).is_err());
    }
}
