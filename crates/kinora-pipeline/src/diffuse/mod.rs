//! **diffuse**: from noise to the latents of a clip, one denoising step after the other.

mod guidance;
mod preview;

use kinora_kernels::trace;
use kinora_models::taehv::Taehv;
use kinora_models::wan::{Timesteps, Transformer};
use kinora_sampling::{Clean, Guidance, Sampler, SamplerRun, Schedule, Stream, noise_in};
use kinora_tensor::{Arena, Tensor};

use crate::map::Conditioning;
use crate::memory_plan::GuidanceMode;
use crate::progress::{CancelToken, Event, Observer, Stage};
use crate::{Error, Result};

use guidance::Guided;

/// What one pass of the model is made with.
pub(crate) struct Settings {
    /// Latent frames, rows and columns.
    pub(crate) grid: [usize; 3],
    pub(crate) seed: u64,
    /// Separates the noise of the parts of a long clip.
    pub(crate) stream: Stream,
    pub(crate) schedule: Schedule,
    pub(crate) sampler: Sampler,
    pub(crate) guidance_scale: f32,
    pub(crate) guidance_mode: GuidanceMode,
}

/// Runs the denoising loop.
///
/// **Shapes**: → `[1, C, F, h, w]`, normalised latents. **Errors**: [`Error::Cancelled`] at the step after `cancel` was set.
pub(crate) fn diffuse(
    transformer: &Transformer,
    vae: &Taehv,
    arena: &Arena,
    conditioning: &Conditioning,
    settings: &Settings,
    observer: &mut dyn Observer,
    cancel: &CancelToken,
) -> Result<Tensor> {
    let [frames, height, width] = settings.grid;
    let channels = transformer.config().in_channels;
    let noise = noise_in(
        arena,
        settings.seed,
        settings.stream,
        [1, channels, frames, height, width],
    )?;
    let model = Guided::new(
        transformer,
        conditioning,
        Guidance::new(settings.guidance_scale)?,
        settings.guidance_mode,
    )?;
    let mut run = SamplerRun::new(settings.sampler, &settings.schedule, noise)?;
    if let Some(prefix) = &conditioning.prefix {
        run = run.with_clean(Clean::Prefix(prefix.try_clone()?))?;
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
        let timesteps = token_timesteps(transformer, eval.latents, eval.timestep.0, eval.clean_frames)?;
        let velocity = model.velocity(eval.latents, &timesteps)?;
        if observer.wants_preview() {
            let frames = preview::frames(eval.latents, &velocity, eval.sigma, vae.config())?;
            observer.event(&Event::Preview(&frames));
        }
        let before = run.steps_done();
        run.provide(velocity)?;
        drop(step);
        if run.steps_done() > before {
            observer.event(&Event::Progress {
                stage: Stage::Diffuse,
                done: run.steps_done(),
                of: steps,
            });
        }
    }
    Ok(run.into_latents())
}

/// Timestep 0 for the tokens of given frames, `timestep` for the rest.
fn token_timesteps(
    transformer: &Transformer,
    latents: &Tensor,
    timestep: f32,
    clean_frames: usize,
) -> Result<Timesteps> {
    let [frames, rows, columns] = transformer.token_grid(latents)?;
    if clean_frames == 0 {
        return Ok(Timesteps::uniform(timestep, frames * rows * columns));
    }
    let clean_tokens = clean_frames / transformer.config().patch_size[0] * rows * columns;
    let is_clean: Vec<bool> = (0..frames * rows * columns).map(|token| token < clean_tokens).collect();
    Ok(Timesteps::with_clean(timestep, &is_clean))
}

#[cfg(test)]
pub(crate) use tests::one_step;

#[cfg(test)]
mod tests;
