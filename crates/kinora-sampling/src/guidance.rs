//! Classifier-free guidance: the prediction is pushed away from the one without a prompt.
//!
//! Source: Ho, Salimans, "Classifier-free diffusion guidance" (arXiv:2207.12598), eq. 6, in the form that video models
//! publish their scales for: `uncond + guidance_scale * (cond - uncond)`. Leaving it out at the ends of the run: Kynkäänniemi
//! et al. 2024 (arXiv:2404.07724).

use std::ops::RangeInclusive;

use kinora_tensor::Tensor;

use crate::combine::combine;
use crate::{Error, Result};

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

/// How strongly and at which steps a run is guided.
#[derive(Debug, Clone, PartialEq)]
pub struct Guidance {
    scale: f64,
    steps: Option<RangeInclusive<usize>>,
}

impl Guidance {
    /// Guidance at all steps; a scale of 1 turns it off.
    ///
    /// **Errors**: [`Error::GuidanceScale`] unless finite.
    pub fn new(guidance_scale: impl Into<f64>) -> Result<Self> {
        let guidance_scale = guidance_scale.into();
        if !guidance_scale.is_finite() {
            return Err(Error::GuidanceScale { guidance_scale });
        }
        Ok(Self {
            scale: guidance_scale,
            steps: None,
        })
    }

    /// Guidance only at these steps, counted from 0, both ends included.
    #[must_use]
    pub fn within(mut self, steps: RangeInclusive<usize>) -> Self {
        self.steps = Some(steps);
        self
    }

    /// The scale where guidance applies.
    pub const fn scale(&self) -> f64 {
        self.scale
    }

    /// Whether the model must also be asked without the prompt at this step: half of the work.
    pub fn needs_uncond(&self, step_index: usize) -> bool {
        self.scale != 1.0 && self.steps.as_ref().is_none_or(|steps| steps.contains(&step_index))
    }

    /// The prediction to go on with: guided where guidance applies, `cond` itself elsewhere.
    ///
    /// **Errors**: [`Error::UncondMissing`] if guidance applies and `uncond` is `None`; shapes differ.
    pub fn apply(&self, step_index: usize, cond: Tensor, uncond: Option<&Tensor>) -> Result<Tensor> {
        if !self.needs_uncond(step_index) {
            return Ok(cond);
        }
        match uncond {
            Some(uncond) => guide(&cond, uncond, self.scale),
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

    #[test]
    fn steps_outside_the_interval_cost_nothing_and_change_nothing() {
        let guidance = Guidance::new(5.0).unwrap().within(2..=4);
        let needed: Vec<bool> = (0..6).map(|step| guidance.needs_uncond(step)).collect();
        assert_eq!(needed, [false, false, true, true, true, false]);
        let (cond, uncond) = pair();
        let kept = guidance.apply(0, cond.try_clone().unwrap(), None).unwrap();
        assert_eq!(kept.as_slice(), cond.as_slice());
        let guided = guidance.apply(2, cond.try_clone().unwrap(), Some(&uncond)).unwrap();
        assert_eq!(guided.as_slice(), &[3.0, -14.0, 0.5]);
        assert_eq!(
            guidance.apply(3, cond, None).unwrap_err(),
            Error::UncondMissing { step_index: 3 }
        );
        assert!(!Guidance::new(1.0).unwrap().needs_uncond(0));
    }

    #[test]
    fn scales_that_are_no_numbers_and_other_shapes_are_refused() {
        let (cond, uncond) = pair();
        for scale in [f64::NAN, f64::INFINITY] {
            assert!(matches!(guide(&cond, &uncond, scale), Err(Error::GuidanceScale { .. })));
            assert!(Guidance::new(scale).is_err());
        }
        assert!(matches!(
            guide(&cond, &Tensor::zeros([4]).unwrap(), 5.0),
            Err(Error::Tensor(_))
        ));
    }
}
