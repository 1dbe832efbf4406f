//! The update rules. Each file is one rule: latents at one noise level and a velocity in, latents at the next out.

mod dpm;
mod euler;
mod heun;
mod renoise;
mod uni_pc;

use std::str::FromStr;

use kinora_tensor::Tensor;

use crate::combine::combine;
use crate::{Error, Result, Schedule};

/// How latents go from one noise level to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Sampler {
    /// Straight on along the velocity: first order, one evaluation a step.
    #[default]
    Euler,
    /// Average of the velocities at both ends: second order, two evaluations a step (one in the last).
    Heun,
    /// UniPC (predictor and corrector) of order 2, variant B2: one evaluation a step.
    UniPc,
    /// DPM-Solver++ 2M, midpoint: second order from the last two evaluations, one a step.
    DpmPp2m,
    /// To the estimate of the clean latents and back with fresh noise: models distilled to a few steps (DMD, LCM, rCM).
    /// A run needs [`crate::SamplerRun::with_fresh_noise`].
    Renoise,
}

impl Sampler {
    /// All samplers.
    pub const ALL: [Self; 5] = [Self::Euler, Self::Heun, Self::UniPc, Self::DpmPp2m, Self::Renoise];

    /// The word that users type and run reports hold.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Euler => "euler",
            Self::Heun => "heun",
            Self::UniPc => "unipc",
            Self::DpmPp2m => "dpmpp-2m",
            Self::Renoise => "renoise",
        }
    }

    /// Order of accuracy.
    pub const fn order(self) -> usize {
        match self {
            Self::Euler | Self::Renoise => 1,
            Self::Heun | Self::UniPc | Self::DpmPp2m => 2,
        }
    }

    /// How many times the model is asked in a run of so many steps.
    pub const fn evaluations(self, steps: usize) -> usize {
        match self {
            Self::Heun => (2 * steps).saturating_sub(1),
            Self::Euler | Self::UniPc | Self::DpmPp2m | Self::Renoise => steps,
        }
    }

    /// Whether fresh noise is drawn between the steps.
    pub const fn needs_noise(self) -> bool {
        matches!(self, Self::Renoise)
    }

    /// Applies the rule to the velocity that the model gave for `latents`.
    ///
    /// **Shapes**: `velocity` and `fresh` like `latents`. **Errors**: [`Error::NoiseMissing`], no memory; then `history` is
    /// as before.
    pub(crate) fn advance(
        self,
        at: &Step<'_>,
        latents: &Tensor,
        velocity: Tensor,
        history: &mut History,
        fresh: Option<&Tensor>,
    ) -> Result<Next> {
        match self {
            Self::Euler => euler::advance(at, latents, &velocity),
            Self::Heun => heun::advance(at, latents, velocity, history),
            Self::UniPc => uni_pc::advance(at, latents, &velocity, history),
            Self::DpmPp2m => dpm::advance(at, latents, &velocity, history),
            Self::Renoise => renoise::advance(at, latents, &velocity, fresh),
        }
    }
}

impl FromStr for Sampler {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|sampler| sampler.name() == name)
            .ok_or_else(|| Error::UnknownName {
                what: "sampler",
                name: name.chars().take(40).collect(),
                known: Self::ALL.map(Self::name).join(", "),
            })
    }
}

/// Where in the schedule an update happens.
pub(crate) struct Step<'a> {
    pub schedule: &'a Schedule,
    pub step_index: usize,
}

impl Step<'_> {
    fn sigmas(&self) -> (f64, f64) {
        self.schedule.around(self.step_index)
    }

    fn is_last(&self) -> bool {
        self.step_index + 1 == self.schedule.steps()
    }
}

/// Where an update leads.
pub(crate) enum Next {
    /// To the next noise level of the schedule.
    Step(Tensor),
    /// To a second evaluation at that level before the step is done.
    Midway(Tensor),
}

/// What a rule keeps from earlier evaluations: all that a checkpoint needs besides the latents.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// Latents that the last update started from.
    pub start: Option<Tensor>,
    /// Heun: the velocity there.
    pub velocity: Option<Tensor>,
    /// Estimate of the clean latents at the last evaluation.
    pub clean: Option<Tensor>,
    /// The estimate before that.
    pub older_clean: Option<Tensor>,
}

impl History {
    /// All fields in the order in which checkpoints hold them.
    pub fn slots(&self) -> [&Option<Tensor>; 4] {
        [&self.start, &self.velocity, &self.clean, &self.older_clean]
    }

    pub fn from_slots([start, velocity, clean, older_clean]: [Option<Tensor>; 4]) -> Self {
        Self {
            start,
            velocity,
            clean,
            older_clean,
        }
    }
}

/// Half the logarithm of the signal-to-noise ratio: minus infinity at pure noise, plus infinity at 0.
fn lambda(sigma: f64) -> f64 {
    libm::log(1.0 - sigma) - libm::log(sigma)
}

/// Estimate of the clean latents: `latents - sigma * velocity`.
fn clean_estimate(latents: &Tensor, velocity: &Tensor, sigma: f64) -> Result<Tensor> {
    combine("clean estimate", [(1.0, latents), (-sigma, velocity)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_sampler() {
        for sampler in Sampler::ALL {
            assert_eq!(sampler.name().parse::<Sampler>().unwrap(), sampler);
        }
        let text = "ddim".parse::<Sampler>().unwrap_err().to_string();
        assert!(
            text.contains("ddim") && text.contains("euler, heun, unipc, dpmpp-2m, renoise"),
            "{text}"
        );
    }

    #[test]
    fn lambda_is_infinite_at_both_ends_and_zero_in_the_middle() {
        assert_eq!(lambda(1.0), f64::NEG_INFINITY);
        assert_eq!(lambda(0.0), f64::INFINITY);
        assert_eq!(lambda(0.5), 0.0);
    }
}
