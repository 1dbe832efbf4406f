//! Latent frames that are given anywhere in a part: where a blend is one of its clips, where a loop begins again.

use kinora_sampling::{Clean, Sigma};
use kinora_tensor::Tensor;

use super::Known;
use crate::Result;

/// Given latent frames, and how the model sees them.
pub(crate) struct Held {
    /// `[1, C, F, h, w]`; only those of held frames are read.
    pub(crate) values: Tensor,
    /// Which latent frames are given.
    pub(crate) frames: Vec<bool>,
    /// Whether the model sees them clean, with timestep 0; else at the noise level of the others.
    pub(crate) clean: bool,
}

impl Held {
    /// Whether anything is given.
    pub(crate) fn holds(&self) -> bool {
        self.frames.contains(&true)
    }

    /// What the model is shown of `latents [1, C, F, h, w]`; `noise` is the noise that the run started from. `None` if it is
    /// shown them as they are.
    pub(crate) fn shown(&self, latents: &Tensor, noise: &Tensor, sigma: Sigma) -> Result<Option<Tensor>> {
        if self.clean {
            // The sampler holds them in place itself.
            return Ok(None);
        }
        let mut shown = latents.try_clone()?;
        self.over(&mut shown, |at, clean| {
            ((1.0 - sigma.0) * f64::from(clean) + sigma.0 * f64::from(noise.as_slice()[at])) as f32
        });
        Ok(Some(shown))
    }

    /// Puts what is given into the finished latents.
    pub(crate) fn finish(&self, latents: &mut Tensor) {
        self.over(latents, |_, clean| clean);
    }

    /// What a sampler has to hold in place: these frames and a clean prefix.
    pub(crate) fn clean(&self, known: &Known) -> Result<Clean> {
        let mut values = self.values.try_clone()?;
        let mut frames = self.frames.clone();
        if let Known::Prefix(prefix) = known {
            let &[.., given, height, width] = prefix.dims() else {
                return Ok(Clean::Prefix(prefix.try_clone()?));
            };
            let (whole, part) = (self.frames.len() * height * width, given * height * width);
            let channels = values.as_mut_slice().chunks_exact_mut(whole.max(1));
            for (channel, kept) in channels.zip(prefix.as_slice().chunks_exact(part.max(1))) {
                channel[..part].copy_from_slice(kept);
            }
            frames.iter_mut().take(given).for_each(|frame| *frame = true);
        }
        let mut mask = values.try_clone()?;
        mask.as_mut_slice().fill(0.0);
        over_frames(&mut mask, &frames, |_, value| *value = 1.0);
        Ok(Clean::Elements { mask, values })
    }

    fn over(&self, latents: &mut Tensor, value: impl Fn(usize, f32) -> f32) {
        let values = self.values.as_slice();
        over_frames(latents, &self.frames, |at, latent| *latent = value(at, values[at]));
    }
}

/// Calls `change` with the place and the value of each element of the chosen frames of `latents [1, C, F, h, w]`.
fn over_frames(latents: &mut Tensor, frames: &[bool], change: impl Fn(usize, &mut f32)) {
    let &[.., height, width] = latents.dims() else {
        return;
    };
    let area = (height * width).max(1);
    for (place, plane) in latents.as_mut_slice().chunks_exact_mut(area).enumerate() {
        if frames[place % frames.len()] {
            plane
                .iter_mut()
                .enumerate()
                .for_each(|(i, value)| change(place * area + i, value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(values: &[f32], dims: [usize; 5]) -> Tensor {
        Tensor::from_slice(values, dims).unwrap()
    }

    fn held(clean: bool) -> Held {
        Held {
            values: tensor(&[0.0, 0.0, 1.0, 0.0, 0.0, 2.0], [1, 2, 3, 1, 1]),
            frames: vec![false, false, true],
            clean,
        }
    }

    #[test]
    fn held_frames_are_as_noisy_as_the_rest_and_clean_in_the_end() {
        let mut latents = tensor(&[9.0; 6], [1, 2, 3, 1, 1]);
        let noise = tensor(&[0.0, 0.0, -1.0, 0.0, 0.0, 4.0], [1, 2, 3, 1, 1]);
        let shown = held(false).shown(&latents, &noise, Sigma(0.25)).unwrap().unwrap();
        assert_eq!(shown.as_slice(), [9.0, 9.0, 0.5, 9.0, 9.0, 2.5]);
        assert!(held(true).shown(&latents, &noise, Sigma(0.25)).unwrap().is_none());
        held(false).finish(&mut latents);
        assert_eq!(latents.as_slice(), [9.0, 9.0, 1.0, 9.0, 9.0, 2.0]);
    }

    #[test]
    fn clean_frames_join_a_clean_prefix() {
        let prefix = Known::Prefix(tensor(&[5.0, 6.0], [1, 2, 1, 1, 1]));
        let Clean::Elements { mask, values } = held(true).clean(&prefix).unwrap() else {
            panic!("both are elements")
        };
        assert_eq!(mask.as_slice(), [1.0, 0.0, 1.0, 1.0, 0.0, 1.0]);
        assert_eq!(values.as_slice(), [5.0, 0.0, 1.0, 6.0, 0.0, 2.0]);
    }
}
