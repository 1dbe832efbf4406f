//! Classifier-free guidance: the prediction is pushed away from the one without a prompt.
//!
//! Source: Ho, Salimans, "Classifier-free diffusion guidance" (arXiv:2207.12598), eq. 6, in the form that video models
//! publish their scales for: `uncond + guidance_scale * (cond - uncond)`. Leaving it out at the ends of the run: Kynkäänniemi
//! et al. 2024 (arXiv:2404.07724).

use std::ops::RangeInclusive;

use kinora_tensor::Tensor;

use crate::combine::combine;
use crate::{Error, Expert, ExpertSwitch, Result, Schedule, Sigma};

/// `uncond + guidance_scale * (cond - uncond)`.
///
/// **Shapes**: both the same, any. **Range**: 1 gives `cond`, 0 gives `uncond`; models state what suits them.
/// **Errors**: [`Error::GuidanceScale`] unless finite; shapes differ.
pub fn guide(cond: &Tensor, uncond: &Tensor, guidance_scale: impl Into<f64>) -> Result<Tensor> {
    let guidance_scale = guidance_scale.into();
    if !guidance_scale.is_finite() {
        return Err(Error::GuidanceScale { guidance_scale });
    }
    combine("guide", [(1.0 - guidance_scale, uncond), (guidance_scale, cond)])
}

/// Where in a run guidance applies; elsewhere the conditional prediction alone is used, at half of the work.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub enum GuidanceInterval {
    /// At all steps.
    #[default]
    Always,
    /// At these steps, counted from 0, both ends included.
    Steps(RangeInclusive<usize>),
    /// Before this step: guidance is left out from it on, where it changes little.
    Before(usize),
    /// At noise levels above `low` and up to `high`, as the paper counts its interval.
    Sigmas {
        /// The level down to which guidance applies, itself outside.
        low: f64,
        /// The noisiest level with guidance.
        high: f64,
    },
}

impl GuidanceInterval {
    /// Whether guidance applies at this step and noise level.
    pub fn contains(&self, step_index: usize, sigma: Sigma) -> bool {
        match self {
            Self::Always => true,
            Self::Steps(steps) => steps.contains(&step_index),
            Self::Before(end) => step_index < *end,
            Self::Sigmas { low, high } => *low < sigma.0 && sigma.0 <= *high,
        }
    }
}

/// How strongly a run is guided, and where.
#[derive(Debug, Clone, PartialEq)]
pub struct Guidance {
    high_noise: f64,
    low_noise: f64,
    interval: GuidanceInterval,
}

impl Guidance {
    /// The same scale at all steps; 1 turns guidance off.
    ///
    /// **Errors**: [`Error::GuidanceScale`] unless finite.
    pub fn new(guidance_scale: impl Into<f64>) -> Result<Self> {
        let guidance_scale = guidance_scale.into();
        Self::per_expert(guidance_scale, guidance_scale)
    }

    /// A scale for each expert; models with one network follow the first.
    ///
    /// **Errors**: [`Error::GuidanceScale`] unless both are finite.
    pub fn per_expert(high_noise: f64, low_noise: f64) -> Result<Self> {
        for guidance_scale in [high_noise, low_noise] {
            if !guidance_scale.is_finite() {
                return Err(Error::GuidanceScale { guidance_scale });
            }
        }
        Ok(Self {
            high_noise,
            low_noise,
            interval: GuidanceInterval::Always,
        })
    }

    /// Guidance only there.
    #[must_use]
    pub fn within(mut self, interval: GuidanceInterval) -> Self {
        self.interval = interval;
        self
    }

    /// The scale of the only network, or of the expert for high noise.
    pub const fn scale(&self) -> f64 {
        self.high_noise
    }

    /// The scale of an expert.
    pub const fn scale_of(&self, expert: Expert) -> f64 {
        match expert {
            Expert::HighNoise => self.high_noise,
            Expert::LowNoise => self.low_noise,
        }
    }

    /// The scale for an evaluation, 1 where guidance does not apply: then the model need not be asked without the prompt.
    pub fn scale_at(&self, step_index: usize, sigma: Sigma, expert: Expert) -> f64 {
        if self.interval.contains(step_index, sigma) {
            self.scale_of(expert)
        } else {
            1.0
        }
    }

    /// Whether any of the steps is guided, so that the text of the negative prompt is needed at all.
    pub fn is_on(&self, schedule: &Schedule, switch: Option<&ExpertSwitch>) -> bool {
        let sigmas = schedule.sigmas().iter().zip(schedule.timesteps());
        sigmas.enumerate().any(|(step_index, (&sigma, &timestep))| {
            let expert = switch.map_or(Expert::HighNoise, |switch| switch.expert(step_index, timestep));
            self.needs_uncond(step_index, sigma, expert)
        })
    }

    /// Whether the model must also be asked without the prompt at this step: half of the work.
    pub fn needs_uncond(&self, step_index: usize, sigma: Sigma, expert: Expert) -> bool {
        self.scale_at(step_index, sigma, expert) != 1.0
    }

    /// The prediction to go on with: guided where guidance applies, `cond` itself elsewhere.
    ///
    /// **Errors**: [`Error::UncondMissing`] if guidance applies and `uncond` is `None`; shapes differ.
    pub fn apply(
        &self,
        step_index: usize,
        sigma: Sigma,
        expert: Expert,
        cond: Tensor,
        uncond: Option<&Tensor>,
    ) -> Result<Tensor> {
        let scale = self.scale_at(step_index, sigma, expert);
        if scale == 1.0 {
            return Ok(cond);
        }
        match uncond {
            Some(uncond) => guide(&cond, uncond, scale),
            None => Err(Error::UncondMissing { step_index }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Tensor, Tensor) {
        let cond = Tensor::from_slice(&[1.0, -2.0, 0.5], [3]).unwrap();
        let uncond = Tensor::from_slice(&[0.5, 1.0, 0.5], [3]).unwrap();
        (cond, uncond)
    }

    #[test]
    fn moves_away_from_the_unconditional_prediction() {
        let (cond, uncond) = pair();
        assert_eq!(guide(&cond, &uncond, 5.0).unwrap().as_slice(), &[3.0, -14.0, 0.5]);
        assert_eq!(guide(&cond, &uncond, 1.0).unwrap().as_slice(), cond.as_slice());
        assert_eq!(guide(&cond, &uncond, 0.0).unwrap().as_slice(), uncond.as_slice());
    }

    const ANY: (Sigma, Expert) = (Sigma(0.5), Expert::HighNoise);

    #[test]
    fn steps_outside_the_interval_cost_nothing_and_change_nothing() {
        let guidance = Guidance::new(5.0).unwrap().within(GuidanceInterval::Steps(2..=4));
        let needed: Vec<bool> = (0..6).map(|step| guidance.needs_uncond(step, ANY.0, ANY.1)).collect();
        assert_eq!(needed, [false, false, true, true, true, false]);
        let (cond, uncond) = pair();
        let kept = guidance
            .apply(0, ANY.0, ANY.1, cond.try_clone().unwrap(), None)
            .unwrap();
        assert_eq!(kept.as_slice(), cond.as_slice());
        let guided = guidance
            .apply(2, ANY.0, ANY.1, cond.try_clone().unwrap(), Some(&uncond))
            .unwrap();
        assert_eq!(guided.as_slice(), &[3.0, -14.0, 0.5]);
        assert_eq!(
            guidance.apply(3, ANY.0, ANY.1, cond, None).unwrap_err(),
            Error::UncondMissing { step_index: 3 }
        );
        assert!(!Guidance::new(1.0).unwrap().needs_uncond(0, ANY.0, ANY.1));
    }

    #[test]
    fn intervals_count_steps_or_noise_levels() {
        let schedule = Schedule::rectified_flow(4, 3.0).unwrap(); // 1, 0.9, 0.75, 0.5
        let guided = |interval: GuidanceInterval| -> Vec<bool> {
            let at = schedule.sigmas().iter().take(4).enumerate();
            at.map(|(step_index, &sigma)| interval.contains(step_index, sigma))
                .collect()
        };
        assert_eq!(guided(GuidanceInterval::Always), [true; 4]);
        assert_eq!(guided(GuidanceInterval::Before(1)), [true, false, false, false]);
        assert_eq!(guided(GuidanceInterval::Before(0)), [false; 4]);
        let middle = GuidanceInterval::Sigmas { low: 0.5, high: 0.95 };
        assert_eq!(guided(middle), [false, true, true, false]);
    }

    #[test]
    fn experts_have_scales_of_their_own() {
        let guidance = Guidance::per_expert(4.0, 1.0).unwrap();
        let (cond, uncond) = pair();
        let high = guidance.apply(0, ANY.0, Expert::HighNoise, cond.try_clone().unwrap(), Some(&uncond));
        assert_eq!(high.unwrap().as_slice(), &[2.5, -11.0, 0.5]);
        let low = guidance.apply(0, ANY.0, Expert::LowNoise, cond.try_clone().unwrap(), None);
        assert_eq!(low.unwrap().as_slice(), cond.as_slice());
        assert_eq!(guidance.scale(), 4.0);

        let schedule = Schedule::rectified_flow(4, 3.0).unwrap();
        let switch = ExpertSwitch::Timestep(900.0);
        assert!(guidance.is_on(&schedule, Some(&switch)));
        let late = guidance.clone().within(GuidanceInterval::Steps(2..=3));
        assert!(
            !late.is_on(&schedule, Some(&switch)),
            "only the expert without guidance is at work there"
        );
        assert!(late.is_on(&schedule, None));
    }

    #[test]
    fn scales_that_are_no_numbers_and_other_shapes_are_refused() {
        let (cond, uncond) = pair();
        for scale in [f64::NAN, f64::INFINITY] {
            assert!(matches!(guide(&cond, &uncond, scale), Err(Error::GuidanceScale { .. })));
            assert!(Guidance::new(scale).is_err());
            assert!(Guidance::per_expert(1.0, scale).is_err());
        }
        assert!(matches!(
            guide(&cond, &Tensor::zeros([4]).unwrap(), 5.0),
            Err(Error::Tensor(_))
        ));
    }
}
