//! What a model predicts, and the way from each kind to the others.

use kinora_tensor::Tensor;

use crate::combine::combine;
use crate::{Error, Result, Sigma};

/// What the model returns for latents `x = (1 - sigma) * clean + sigma * noise`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Prediction {
    /// The slope `noise - clean`: rectified flow, so Wan, LTX, Toybox.
    #[default]
    Velocity,
    /// The noise.
    Epsilon,
    /// The clean latents.
    Clean,
}

impl Prediction {
    /// The velocity that `predicted` means for `latents` at `sigma`.
    ///
    /// **Shapes**: both the same. **Errors**: shapes differ; [`Error::EpsilonAtPureNoise`].
    pub fn to_velocity(self, predicted: Tensor, latents: &Tensor, sigma: Sigma) -> Result<Tensor> {
        let Sigma(s) = sigma;
        match self {
            Self::Velocity => Ok(predicted),
            // clean = (x - s * noise) / (1 - s), so noise - clean = (noise - x) / (1 - s).
            Self::Epsilon if s < 1.0 => {
                let scale = 1.0 / (1.0 - s);
                combine("velocity from epsilon", [(scale, &predicted), (-scale, latents)])
            }
            Self::Epsilon => Err(Error::EpsilonAtPureNoise { sigma: s }),
            // noise = (x - (1 - s) * clean) / s, so noise - clean = (x - clean) / s.
            Self::Clean => combine("velocity from clean", [(1.0 / s, latents), (-1.0 / s, &predicted)]),
        }
    }

    /// The clean latents that `predicted` means for `latents` at `sigma`, for previews.
    ///
    /// **Shapes**: both the same. **Errors**: shapes differ; [`Error::EpsilonAtPureNoise`].
    pub fn to_clean(self, predicted: Tensor, latents: &Tensor, sigma: Sigma) -> Result<Tensor> {
        match self {
            Self::Clean => Ok(predicted),
            _ => {
                let velocity = self.to_velocity(predicted, latents, sigma)?;
                combine("clean from velocity", [(1.0, latents), (-sigma.0, &velocity)])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_kinds_tell_the_same_story() {
        let clean = Tensor::from_slice(&[0.5, -1.0, 2.0], [3]).unwrap();
        let noise = Tensor::from_slice(&[-0.25, 0.125, 1.5], [3]).unwrap();
        let sigma = Sigma(0.6);
        let x = combine("x", [(0.4, &clean), (0.6, &noise)]).unwrap();
        let velocity = combine("v", [(1.0, &noise), (-1.0, &clean)]).unwrap();
        for (kind, predicted) in [
            (Prediction::Velocity, &velocity),
            (Prediction::Epsilon, &noise),
            (Prediction::Clean, &clean),
        ] {
            let v = kind.to_velocity(predicted.try_clone().unwrap(), &x, sigma).unwrap();
            let c = kind.to_clean(predicted.try_clone().unwrap(), &x, sigma).unwrap();
            for i in 0..3 {
                assert!((v.as_slice()[i] - velocity.as_slice()[i]).abs() < 1e-6, "{kind:?}");
                assert!((c.as_slice()[i] - clean.as_slice()[i]).abs() < 1e-6, "{kind:?}");
            }
        }
    }

    #[test]
    fn noise_says_nothing_about_the_clean_latents_at_pure_noise() {
        let x = Tensor::zeros([3]).unwrap();
        let refused = Prediction::Epsilon.to_velocity(x.try_clone().unwrap(), &x, Sigma(1.0));
        assert_eq!(refused.unwrap_err(), Error::EpsilonAtPureNoise { sigma: 1.0 });
    }
}
