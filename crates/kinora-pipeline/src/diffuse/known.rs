//! What is known of a clip before it is made, in the way in which a model wants to be told.

use kinora_models::wan::Timesteps;
use kinora_sampling::Sigma;
use kinora_tensor::Tensor;

use super::Held;
use crate::Result;

/// Given latents, and how the model sees them.
pub(crate) enum Known {
    /// Everything is made from noise.
    Nothing,
    /// The first latent frames `[1, C, P, h, w]`, clean; their tokens have timestep 0 (Toybox, Wan 2.2 TI2V).
    Prefix(Tensor),
    /// Channels beside the latents, `[1, 4 + C, F, h, w]`: a mask, and the latents of a clip in which what is not given is
    /// grey (Wan image to video).
    Channels(Tensor),
    /// The first latent frames `[1, C, P, h, w]`, for models that were never trained to start from anything: they see the
    /// given frames at the noise level of the others.
    Noised(Tensor),
}

impl Known {
    /// What the model is shown: `latents [1, C, F, h, w]` with what is known put in place or beside; `noise` is what the run
    /// started from. `None` if the latents are shown as they are.
    pub(crate) fn shown(&self, latents: &Tensor, noise: &Tensor, sigma: Sigma) -> Result<Option<Tensor>> {
        match self {
            // The sampler holds a clean prefix in place itself.
            Self::Nothing | Self::Prefix(_) => Ok(None),
            Self::Channels(beside) => join_channels(latents, beside).map(Some),
            Self::Noised(clean) => {
                let mut shown = latents.try_clone()?;
                over_prefix(&mut shown, clean, |at, clean| {
                    ((1.0 - sigma.0) * f64::from(clean) + sigma.0 * f64::from(noise.as_slice()[at])) as f32
                });
                Ok(Some(shown))
            }
        }
    }

    /// Puts what is known into the finished latents.
    pub(crate) fn finish(&self, latents: &mut Tensor) {
        if let Self::Noised(clean) = self {
            over_prefix(latents, clean, |_, clean| clean);
        }
    }

    /// A timestep for each of the tokens `[frames, rows, columns]`: 0 for those of clean frames, `timestep` for the rest.
    /// `held` says which latent frames are given beside these.
    pub(crate) fn timesteps(
        &self,
        held: Option<&Held>,
        timestep: f32,
        [frames, rows, columns]: [usize; 3],
        patch_frames: usize,
    ) -> Timesteps {
        let held = held.filter(|held| held.clean);
        let prefix_frames = match self {
            Self::Prefix(prefix) => prefix.dims().get(2).copied().unwrap_or(0),
            _ if held.is_none() => return Timesteps::uniform(timestep, frames * rows * columns),
            _ => 0,
        };
        let held_frames = held.map_or(&[][..], |held| &held.frames);
        let is_clean = |token: usize| {
            let frame = token / (rows * columns) * patch_frames;
            let in_patch = held_frames.iter().skip(frame).take(patch_frames);
            frame + patch_frames <= prefix_frames || (in_patch.len() > 0 && in_patch.copied().all(|held| held))
        };
        let is_clean: Vec<bool> = (0..frames * rows * columns).map(is_clean).collect();
        Timesteps::with_clean(timestep, &is_clean)
    }
}

/// `[1, A, F, h, w]` and `[1, B, F, h, w]` → `[1, A + B, F, h, w]`.
fn join_channels(latents: &Tensor, beside: &Tensor) -> Result<Tensor> {
    let [batch, channels, frames, height, width] = latents.dims_of("join_channels", "[1, A, F, h, w]")?;
    let [_, others, ..] = beside.dims_of::<5>("join_channels", "[1, B, F, h, w]")?;
    if beside.dims() != [batch, others, frames, height, width] || batch != 1 {
        return Err(beside
            .mismatch("join_channels", format!("[1, B, {frames}, {height}, {width}]"))
            .into());
    }
    let mut joined = latents.uninit_like([1, channels + others, frames, height, width])?;
    let (first, second) = joined.as_mut_slice().split_at_mut(latents.elements());
    first.copy_from_slice(latents.as_slice());
    second.copy_from_slice(beside.as_slice());
    Ok(joined)
}

/// Writes over the first P frames of `latents [1, C, F, h, w]` what `value` makes of the place of a latent and of the value
/// of `prefix [1, C, P, h, w]` there.
fn over_prefix(latents: &mut Tensor, prefix: &Tensor, value: impl Fn(usize, f32) -> f32) {
    let (&[.., frames, height, width], &[_, _, given, ..]) = (latents.dims(), prefix.dims()) else {
        return;
    };
    let (whole, part) = (frames * height * width, given * height * width);
    let channels = prefix.as_slice().chunks_exact(part.max(1)).enumerate();
    for (channel, prefix) in channels {
        let start = channel * whole;
        let latents = latents.as_mut_slice()[start..].iter_mut().zip(prefix).enumerate();
        latents.for_each(|(i, (latent, &clean))| *latent = value(start + i, clean));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(values: &[f32], dims: [usize; 5]) -> Tensor {
        Tensor::from_slice(values, dims).unwrap()
    }

    #[test]
    fn channels_are_put_behind_the_latents() {
        let latents = tensor(&[1.0, 2.0], [1, 1, 2, 1, 1]);
        let known = Known::Channels(tensor(&[3.0, 4.0, 5.0, 6.0], [1, 2, 2, 1, 1]));
        let shown = known.shown(&latents, &latents, Sigma(0.5)).unwrap().unwrap();
        assert_eq!(
            (shown.dims(), shown.as_slice()),
            (&[1, 3, 2, 1, 1][..], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0][..])
        );
        let other = Known::Channels(tensor(&[0.0; 3], [1, 1, 3, 1, 1]));
        assert!(other.shown(&latents, &latents, Sigma(0.5)).is_err());
    }

    #[test]
    fn frames_for_an_untrained_model_are_as_noisy_as_the_rest_and_clean_in_the_end() {
        let mut latents = tensor(&[9.0; 6], [1, 2, 3, 1, 1]);
        let noise = tensor(&[-1.0, 0.0, 0.0, 4.0, 0.0, 0.0], [1, 2, 3, 1, 1]);
        let known = Known::Noised(tensor(&[1.0, 2.0], [1, 2, 1, 1, 1]));
        let shown = known.shown(&latents, &noise, Sigma(0.25)).unwrap().unwrap();
        assert_eq!(shown.as_slice(), &[0.5, 9.0, 9.0, 2.5, 9.0, 9.0]);
        known.finish(&mut latents);
        assert_eq!(latents.as_slice(), &[1.0, 9.0, 9.0, 2.0, 9.0, 9.0]);
        assert_eq!(known.timesteps(None, 700.0, [3, 1, 1], 1), Timesteps::uniform(700.0, 3));
    }

    #[test]
    fn the_tokens_of_a_clean_prefix_have_timestep_zero() {
        let known = Known::Prefix(tensor(&[0.0; 2], [1, 1, 1, 1, 2]));
        let timesteps = known.timesteps(None, 700.0, [2, 1, 2], 1);
        assert_eq!(
            (timesteps.distinct, timesteps.row_of_token),
            (vec![700.0, 0.0], vec![1, 1, 0, 0])
        );
    }
}
