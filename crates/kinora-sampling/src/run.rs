//! The denoising loop turned inside out: one model evaluation at a time, the caller keeps control.

use kinora_tensor::Tensor;

use crate::samplers::{History, Next, Step};
use crate::{Clean, Error, Prediction, Result, Sampler, Schedule, Sigma, Stream, Timestep, fill_fresh_noise};

/// One model evaluation that is due.
#[derive(Debug)]
pub struct Eval<'a> {
    /// What the model is to be shown.
    pub latents: &'a Tensor,
    /// How noisy they are.
    pub sigma: Sigma,
    /// What the model is to be told about it.
    pub timestep: Timestep,
    /// Which step of the schedule this belongs to, from 0.
    pub step_index: usize,
    /// 0, or 1 for the second evaluation of a step.
    pub call: usize,
    /// How many leading latent frames are given and therefore clean; see [`Clean::Prefix`].
    pub clean_frames: usize,
}

impl Eval<'_> {
    /// A timestep for each of `latent_frames` frames: 0 for those that are clean, for models that are told so
    /// (Wan 2.2 TI2V's `expand_timesteps`, Toybox).
    pub fn frame_timesteps(&self, latent_frames: usize) -> Vec<Timestep> {
        let clean = Timestep(0.0);
        (0..latent_frames)
            .map(|f| if f < self.clean_frames { clean } else { self.timestep })
            .collect()
    }
}

/// A run of a sampler over a schedule. The page of the crate shows the loop.
#[derive(Debug)]
pub struct SamplerRun {
    pub(crate) sampler: Sampler,
    pub(crate) prediction: Prediction,
    pub(crate) schedule: Schedule,
    pub(crate) clean: Option<Clean>,
    /// Seed and stream of the noise that is added between the steps. How much was drawn follows from the step.
    pub(crate) fresh: Option<(u64, Stream)>,
    pub(crate) step_index: usize,
    /// The second evaluation of the step is due.
    pub(crate) midway: bool,
    pub(crate) latents: Tensor,
    pub(crate) history: History,
}

impl SamplerRun {
    /// A run that starts from `latents`: noise, at the first noise level of `schedule` ([`Schedule::start_scale`]).
    ///
    /// **Shapes**: any; `[B,C,F,H,W]` if frames are given by [`SamplerRun::with_clean`].
    /// **Errors**: [`Error::NotFinite`] if the latents hold something that is not a number.
    pub fn new(sampler: Sampler, schedule: &Schedule, latents: Tensor) -> Result<Self> {
        check_finite(&latents, 0)?;
        Ok(Self {
            sampler,
            prediction: Prediction::default(),
            schedule: schedule.clone(),
            clean: None,
            fresh: None,
            step_index: 0,
            midway: false,
            latents,
            history: History::default(),
        })
    }

    /// For models that predict something else than the velocity.
    #[must_use]
    pub fn with_prediction(mut self, prediction: Prediction) -> Self {
        self.prediction = prediction;
        self
    }

    /// Where the noise comes from that [`Sampler::Renoise`] adds between the steps; other samplers draw none. The seed and
    /// stream of the start noise are right here too: the steps have values of their own ([`fill_fresh_noise`]).
    #[must_use]
    pub const fn with_fresh_noise(mut self, seed: u64, stream: Stream) -> Self {
        self.fresh = Some((seed, stream));
        self
    }

    /// Holds some latents clean: they are put in place now and after each evaluation.
    ///
    /// **Errors**: [`Error::CleanShape`] if they do not fit the latents.
    pub fn with_clean(mut self, clean: Clean) -> Result<Self> {
        clean.check(&self.latents)?;
        clean.impose(&mut self.latents);
        self.clean = Some(clean);
        Ok(self)
    }

    /// The evaluation that is due; `None` when all steps are done. Asking twice gives the same one.
    pub fn next_eval(&self) -> Option<Eval<'_>> {
        let at = self.step_index + usize::from(self.midway);
        let timestep = *self.schedule.timesteps().get(at)?;
        Some(Eval {
            latents: &self.latents,
            sigma: self.schedule.sigmas()[at],
            timestep,
            step_index: self.step_index,
            call: usize::from(self.midway),
            clean_frames: self.clean.as_ref().map_or(0, Clean::prefix_frames),
        })
    }

    /// Takes the model's prediction for the evaluation that is due, and moves on.
    ///
    /// **Shapes**: like the latents. **Errors**: [`Error::Finished`], [`Error::NotFinite`],
    /// [`Error::EpsilonAtPureNoise`], [`Error::NoiseMissing`], another shape, no memory. After an error the run is as it
    /// was before.
    pub fn provide(&mut self, predicted: Tensor) -> Result<()> {
        let fresh = match self.fresh {
            Some((seed, stream)) if self.sampler.needs_noise() && self.step_index + 1 < self.schedule.steps() => {
                let mut fresh = self.latents.uninit_like(self.latents.dims())?;
                fill_fresh_noise(seed, stream, self.step_index, 0, fresh.as_mut_slice());
                Some(fresh)
            }
            _ => None,
        };
        self.advance(predicted, fresh.as_ref())
    }

    /// As [`SamplerRun::provide`], with the noise of this step from elsewhere: for comparison with a reference that has
    /// another generator.
    ///
    /// **Shapes**: both like the latents. **Errors**: as [`SamplerRun::provide`].
    pub fn provide_with_noise(&mut self, predicted: Tensor, fresh: &Tensor) -> Result<()> {
        check_finite(fresh, self.step_index)?;
        self.advance(predicted, Some(fresh))
    }

    fn advance(&mut self, predicted: Tensor, fresh: Option<&Tensor>) -> Result<()> {
        let Some(eval) = self.next_eval() else {
            return Err(Error::Finished {
                steps: self.schedule.steps(),
            });
        };
        if predicted.shape() != self.latents.shape() {
            return Err(predicted
                .mismatch("prediction", self.latents.shape().to_string())
                .into());
        }
        check_finite(&predicted, self.step_index)?;
        let velocity = self.prediction.to_velocity(predicted, &self.latents, eval.sigma)?;
        let at = Step {
            schedule: &self.schedule,
            step_index: self.step_index,
        };
        let next = self
            .sampler
            .advance(&at, &self.latents, velocity, &mut self.history, fresh)?;
        (self.latents, self.midway) = match next {
            Next::Midway(latents) => (latents, true),
            Next::Step(latents) => {
                self.step_index += 1;
                (latents, false)
            }
        };
        if let Some(clean) = &self.clean {
            clean.impose(&mut self.latents);
        }
        Ok(())
    }

    /// How many steps are done.
    pub const fn steps_done(&self) -> usize {
        self.step_index
    }

    /// The rule that this run follows.
    pub const fn sampler(&self) -> Sampler {
        self.sampler
    }

    /// The noise levels that it goes through.
    pub const fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// The latents as they are now, still noisy unless the run is done.
    pub const fn latents(&self) -> &Tensor {
        &self.latents
    }

    /// The latents, given up by the run.
    pub fn into_latents(self) -> Tensor {
        self.latents
    }
}

fn check_finite(tensor: &Tensor, step_index: usize) -> Result<()> {
    match tensor.as_slice().iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(element) => Err(Error::NotFinite {
            step_index,
            element,
            value: tensor.as_slice()[element],
        }),
    }
}
