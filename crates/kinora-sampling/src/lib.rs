//! Schedules (sigmas), samplers (update rules), guidance, step caches and seeded noise; knows no model.
//!
//! A clip starts as noise and is cleaned in steps. The [`Schedule`] lists how noisy the latents are before each step
//! ([`Sigma`], from 1 down to 0) and what the model is told about it ([`Timestep`]). The [`Sampler`] decides where the
//! latents go next from what the model predicts. [`SamplerRun`] is the loop turned inside out: it hands out one model
//! evaluation at a time and takes the prediction back, so the caller owns the loop and can show progress, stop, or
//! keep a checkpoint ([`SamplerRun::save`]) between two calls.
//!
//! The interpolation everywhere is that of rectified flow (Liu et al. 2022, arXiv:2209.03003):
//! `latents = (1 - sigma) * clean + sigma * noise`, and the velocity is its slope, `noise - clean`.
//!
//! What this crate does not know: models, prompts, frames on disk, threads. All coefficients are computed in f64 with
//! `libm`, and each element of an update is summed in f64 in a fixed order, so the same inputs give the same bits on
//! every machine.
//!
//! ```
//! use kinora_sampling::{SamplerRun, Sampler, Schedule, Stream, noise};
//!
//! let schedule = Schedule::rectified_flow(8, 3.0)?;
//! let latents = noise(42, Stream::default(), [1, 4, 3, 8, 8])?; // [B,C,F,H,W]
//! let mut run = SamplerRun::new(Sampler::UniPc, &schedule, latents)?;
//! let mut calls = 0;
//! while let Some(eval) = run.next_eval() {
//!     // A model goes here; this one believes that there is nothing behind the noise.
//!     let mut velocity = eval.latents.try_clone()?;
//!     velocity.as_mut_slice().iter_mut().for_each(|value| *value /= eval.sigma.0 as f32);
//!     run.provide(velocity)?;
//!     calls += 1;
//! }
//! let clean = run.into_latents();
//! assert_eq!(calls, 8);
//! assert!(clean.as_slice().iter().all(|value| value.abs() < 1e-6));
//! # Ok::<(), kinora_sampling::Error>(())
//! ```

mod bytes;
mod cache;
mod clean;
mod combine;
mod error;
mod expert;
mod few_steps;
mod guidance;
mod noise;
mod philox;
mod prediction;
mod presets;
mod run;
mod samplers;
mod schedule;
mod state;

pub use cache::{Branch, CacheKind, CacheReport, Decision, MagCalibration, MagCurve, StepCache};
pub use clean::Clean;
pub use error::{Error, Result};
pub use expert::{Expert, ExpertSwitch};
pub use few_steps::{DMD_LIST, FASTWAN_LIST};
pub use guidance::{Guidance, GuidanceInterval, guide};
pub use noise::{Stream, fill_fresh_noise, fill_noise, noise, noise_in};
pub use prediction::Prediction;
pub use presets::{Levels, ModelFacts, NEGATIVE_PROMPT, NEGATIVE_PROMPT_ONE_SHOT, NameHints, PRESETS, Preset, Variant};
pub use run::{Eval, SamplerRun};
pub use samplers::Sampler;
pub use schedule::{Schedule, ScheduleKind, Sigma, Timestep};
