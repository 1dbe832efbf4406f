//! **diffuse**: from noise to the latents of a clip, one denoising step after the other.

mod blocks;
mod denoiser;
mod halfway;
mod held;
mod known;
mod preview;

use kinora_kernels::trace;
use kinora_models::wan::LoadOptions;
use kinora_sampling::{
    CacheKind, CacheReport, Eval, Expert, ExpertSwitch, Guidance, Sampler, SamplerRun, Schedule, Stream, noise_in,
};
use kinora_tensor::{Arena, Tensor};

pub(crate) use blocks::{Emit, WINDOW_FRAMES, cache_options, diffuse_blocks};
pub(crate) use halfway::{AfterStep, Between, Halfway};
pub(crate) use held::Held;
pub(crate) use known::Known;
pub(crate) use preview::Previewer;

use crate::map::Conditioning;
use crate::memory_plan::GuidanceMode;
use crate::model::Experts;
use crate::progress::{CancelToken, Event, Observer, Stage};
use crate::{Error, Result};

use denoiser::Denoiser;

/// Said where the frames before a part are not those of the earlier attempt: going on would show where that was stopped.
const DOES_NOT_FIT: &str = "the checkpoint does not fit what came before; this part is made anew";

/// What one pass of the model is made with.
pub(crate) struct Settings {
    /// Latent frames, rows and columns.
    pub(crate) grid: [usize; 3],
    pub(crate) seed: u64,
    /// Separates the noise of the parts of a long clip.
    pub(crate) stream: Stream,
    pub(crate) schedule: Schedule,
    pub(crate) sampler: Sampler,
    pub(crate) guidance: Guidance,
    pub(crate) guidance_mode: GuidanceMode,
    /// When the second of two experts takes over.
    pub(crate) switch: Option<ExpertSwitch>,
    /// How the experts are loaded.
    pub(crate) load: LoadOptions,
    /// Which steps may take over the prediction of the step before, if any.
    pub(crate) cache: Option<CacheKind>,
    /// Whether an expert stays loaded when the other one takes over.
    pub(crate) keep_experts: bool,
}

impl Settings {
    /// Which expert is asked; the first one if there is only one.
    fn expert_at(&self, eval: &Eval<'_>) -> Expert {
        let switch = self.switch.as_ref();
        switch.map_or(Expert::HighNoise, |switch| {
            switch.expert(eval.step_index, eval.timestep)
        })
    }
}

/// What a pass of the model made.
pub(crate) struct Denoised {
    /// `[1, C, F, h, w]`, normalised.
    pub(crate) latents: Tensor,
    /// What the step cache saved and may have cost, if there was one.
    pub(crate) cache: Option<CacheReport>,
}

/// Makes noise and denoises it; a clip that is made anew is mixed into it first, as much as the first noise level leaves
/// of it. `halfway` is where an earlier attempt was.
///
/// **Errors**: as [`denoise`].
pub(crate) fn diffuse(
    experts: &Experts,
    previewer: Previewer<'_>,
    channels: usize,
    arena: &Arena,
    conditioning: &Conditioning<'_>,
    settings: &Settings,
    halfway: Option<Halfway>,
    observer: &mut dyn Observer,
    cancel: &CancelToken,
    after_step: &mut AfterStep<'_>,
) -> Result<Denoised> {
    let [frames, height, width] = settings.grid;
    let shape = [1, channels, frames, height, width];
    let noise = noise_in(arena, settings.seed, settings.stream, shape)?;
    let mut noise = scaled_noise(noise, &settings.schedule);
    let pure = conditioning.held.as_ref().filter(|held| !held.clean);
    let pure = pure.map(|_| noise.try_clone()).transpose()?;
    if let Some(start) = &conditioning.start {
        let sigma = settings.schedule.sigmas()[0].0;
        let pairs = noise.as_mut_slice().iter_mut().zip(start.as_slice());
        pairs
            .for_each(|(noise, clean)| *noise = ((1.0 - sigma) * f64::from(*clean) + sigma * f64::from(*noise)) as f32);
    }
    denoise(
        experts,
        previewer,
        conditioning,
        settings,
        noise,
        pure,
        halfway,
        observer,
        cancel,
        after_step,
    )
}

/// The prediction of a step, if all of it are numbers.
fn finite(velocity: Tensor, step_index: usize) -> Result<Tensor> {
    match velocity.as_slice().iter().all(|value| value.is_finite()) {
        true => Ok(velocity),
        false => Err(Error::NotFinite { step: step_index + 1 }),
    }
}

/// Noise as large as the first level of a schedule wants it.
fn scaled_noise(mut noise: Tensor, schedule: &Schedule) -> Tensor {
    let scale = schedule.start_scale();
    if scale != 1.0 {
        let values = noise.as_mut_slice().iter_mut();
        values.for_each(|noise| *noise = (f64::from(*noise) * scale) as f32);
    }
    noise
}

/// Runs the denoising loop from `noise [1, C, F, h, w]`, or on from `halfway` if that began with it, showing the run to
/// `after_step` after each step. `pure` is the noise alone where a clip was mixed into it.
///
/// **Errors**: [`Error::Cancelled`] at the step after `cancel` was set; those of `after_step`.
pub(crate) fn denoise(
    experts: &Experts,
    previewer: Previewer<'_>,
    conditioning: &Conditioning<'_>,
    settings: &Settings,
    noise: Tensor,
    pure: Option<Tensor>,
    halfway: Option<Halfway>,
    observer: &mut dyn Observer,
    cancel: &CancelToken,
    after_step: &mut AfterStep<'_>,
) -> Result<Denoised> {
    let mut denoiser = Denoiser::new(experts, conditioning, settings, pure.as_ref().unwrap_or(&noise))?;
    let mut run =
        SamplerRun::new(settings.sampler, &settings.schedule, noise)?.with_fresh_noise(settings.seed, settings.stream);
    if let Some(clean) = conditioning.clean()? {
        run = run.with_clean(clean)?;
    }
    match halfway {
        Some(Halfway { run: kept, cache, last }) if kept.continues(&run) => {
            denoiser.go_on(cache, last);
            run = kept;
        }
        Some(_) => observer.event(&Event::Note(DOES_NOT_FIT)),
        None => {}
    }

    let steps = settings.schedule.steps();
    observer.event(&Event::StageStarted {
        stage: Stage::Diffuse,
        units: steps,
    });
    while let Some(eval) = run.next_eval() {
        if cancel.is_cancelled() {
            return Err(Error::Cancelled {
                step: run.steps_done(),
                of: steps,
            });
        }
        let step = trace::span("step", 0.0);
        let velocity = finite(denoiser.velocity(&eval)?, eval.step_index)?;
        if observer.wants_preview() {
            let frames = previewer.frames(eval.latents, &velocity, eval.sigma)?;
            observer.event(&Event::Preview(&frames));
        }
        let before = run.steps_done();
        run.provide(velocity)?;
        drop(step);
        if run.steps_done() > before {
            let (cache, last) = denoiser.memory();
            after_step(&Between { run: &run, cache, last }, observer)?;
            observer.event(&Event::Progress {
                stage: Stage::Diffuse,
                done: run.steps_done(),
                of: steps,
            });
        }
    }
    let mut latents = run.into_latents();
    conditioning.known.finish(&mut latents);
    if let Some(held) = &conditioning.held {
        held.finish(&mut latents);
    }
    Ok(Denoised {
        latents,
        cache: denoiser.cache_report(),
    })
}

#[cfg(test)]
pub(crate) use tests::one_step;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod whole_runs;
