//! A model's experts under classifier-free guidance: both predictions at once, or one after the other to save memory.

use std::sync::Arc;

use kinora_models::wan::{Context, Timesteps, Transformer};
use kinora_sampling::{Branch, CacheReport, Decision, Eval, Expert, StepCache};
use kinora_tensor::Tensor;

use super::{Known, Settings};
use crate::Result;
use crate::map::Conditioning;
use crate::memory_plan::GuidanceMode;
use crate::model::Experts;

/// Text prepared for one of the ways to call the model.
enum Text {
    /// The prompt alone.
    Single(Box<Context>),
    /// Prompt and negative prompt as a batch of two.
    Batched(Box<Context>),
    /// Prompt, then negative prompt.
    Sequential { cond: Box<Context>, uncond: Box<Context> },
}

/// A loaded expert with its text.
struct Active {
    expert: Expert,
    transformer: Arc<Transformer>,
    text: Text,
}

/// Predicts velocities: one expert at a time is loaded, with the text and the guidance that are its own.
pub(super) struct Denoiser<'a> {
    experts: &'a Experts,
    conditioning: &'a Conditioning<'a>,
    settings: &'a Settings,
    /// Steps that take over the prediction of the step before.
    cache: Option<StepCache>,
    /// What the run starts from, kept where the model must see known frames at the run's noise level.
    noise: Option<Tensor>,
    active: Option<Active>,
    /// The expert of the last evaluation: what the cache remembers is of it.
    last: Option<Expert>,
}

impl<'a> Denoiser<'a> {
    /// **Shapes**: `noise [1, C, F, h, w]`, what the run starts from.
    pub(super) fn new(
        experts: &'a Experts,
        conditioning: &'a Conditioning<'a>,
        settings: &'a Settings,
        noise: &Tensor,
    ) -> Result<Self> {
        let held = conditioning.held.as_ref().is_some_and(|held| !held.clean);
        let needs_noise = held || matches!(conditioning.known, Known::Noised(_));
        Ok(Self {
            experts,
            conditioning,
            settings,
            cache: settings
                .cache
                .clone()
                .map(|kind| StepCache::new(kind, settings.schedule.steps()))
                .transpose()?,
            noise: needs_noise.then(|| noise.try_clone()).transpose()?,
            active: None,
            last: None,
        })
    }

    /// **Shapes**: the evaluation's latents `[1, C, F, h, w]` → velocity of the same shape.
    pub(super) fn velocity(&mut self, eval: &Eval<'_>) -> Result<Tensor> {
        let (conditioning, guidance) = (self.conditioning, &self.settings.guidance);
        let expert = self.settings.expert_at(eval);
        let guided = guidance.needs_uncond(eval.step_index, eval.sigma, expert);
        let noise = self.noise.as_ref().unwrap_or(eval.latents);
        let held = conditioning.held.as_ref();
        let with_held = held
            .map(|held| held.shown(eval.latents, noise, eval.sigma))
            .transpose()?
            .flatten();
        let with_held = with_held.as_ref().unwrap_or(eval.latents);
        let shown = conditioning.known.shown(with_held, noise, eval.sigma)?;
        let shown = shown.as_ref().unwrap_or(with_held);
        self.activate(expert, guided)?;
        let Some(active) = &self.active else {
            unreachable!("an expert was activated")
        };
        // The second evaluation of a step is one that a cache was never measured for.
        let cache = self.cache.as_mut().filter(|_| eval.call == 0);
        let (cond, uncond) = active.predict(eval, shown, conditioning, cache)?;
        Ok(guidance.apply(eval.step_index, eval.sigma, expert, cond, uncond.as_ref())?)
    }

    /// Goes on where another one was: with its cache, after an evaluation of its expert.
    pub(super) fn go_on(&mut self, cache: Option<StepCache>, last: Option<Expert>) {
        (self.cache, self.last) = (cache, last);
    }

    /// What is remembered between two steps.
    pub(super) const fn memory(&self) -> (Option<&StepCache>, Option<Expert>) {
        (self.cache.as_ref(), self.last)
    }

    /// What the cache of this run did, if there is one.
    pub(super) fn cache_report(&self) -> Option<CacheReport> {
        self.cache.as_ref().map(StepCache::report)
    }

    /// Makes the expert with its text ready, for guided or unguided steps; another one is given up first.
    fn activate(&mut self, expert: Expert, guided: bool) -> Result<()> {
        if self.last.replace(expert).is_some_and(|last| last != expert) {
            // What one expert predicted says nothing of the other.
            self.cache.iter_mut().for_each(StepCache::forget);
        }
        let fits = |active: &Active| active.expert == expert && active.text.is_guided() == guided;
        if self.active.as_ref().is_some_and(fits) {
            return Ok(());
        }
        if let Some(old) = self.active.take().filter(|old| old.expert != expert) {
            let slot = self.experts.slot(old.expert);
            drop(old);
            if !self.settings.keep_experts {
                slot.release();
            }
        }
        let transformer = self.experts.slot(expert).get(self.settings.load)?;
        let text = self.prepare(&transformer, guided)?;
        self.active = Some(Active {
            expert,
            transformer,
            text,
        });
        Ok(())
    }

    fn prepare(&self, transformer: &Transformer, guided: bool) -> Result<Text> {
        let conditioning = self.conditioning;
        let embed = |text: &Tensor| -> Result<Box<Context>> {
            Ok(Box::new(transformer.embed_context(text, conditioning.image.as_ref())?))
        };
        let uncond = conditioning.uncond.filter(|_| guided);
        Ok(match uncond {
            None => Text::Single(embed(conditioning.cond)?),
            Some(uncond) if self.settings.guidance_mode == GuidanceMode::Batched => {
                Text::Batched(embed(&concat_batch(conditioning.cond, uncond)?)?)
            }
            Some(uncond) => Text::Sequential {
                cond: embed(conditioning.cond)?,
                uncond: embed(uncond)?,
            },
        })
    }
}

impl Text {
    const fn is_guided(&self) -> bool {
        !matches!(self, Self::Single(_))
    }
}

impl Active {
    /// What the model predicts for `shown` with the prompt and, on guided steps, without.
    fn predict(
        &self,
        eval: &Eval<'_>,
        shown: &Tensor,
        conditioning: &Conditioning<'_>,
        mut cache: Option<&mut StepCache>,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let (patch_frames, grid) = (
            self.transformer.config().patch_size[0],
            self.transformer.token_grid(shown)?,
        );
        let held = conditioning.held.as_ref();
        let timesteps = conditioning.known.timesteps(held, eval.timestep.0, grid, patch_frames);
        let control = conditioning.control.as_ref();
        let forward = |context| -> Result<Tensor> {
            Ok(self
                .transformer
                .forward_controlled(shown, &timesteps, context, control)?)
        };
        Ok(match &self.text {
            Text::Single(context) => (cached(cache, Branch::Cond, eval, || forward(context))?, None),
            Text::Sequential { cond, uncond } => {
                let cond = cached(cache.as_deref_mut(), Branch::Cond, eval, || forward(cond))?;
                (cond, Some(cached(cache, Branch::Uncond, eval, || forward(uncond))?))
            }
            Text::Batched(context) => {
                let twice = Timesteps {
                    row_of_token: timesteps.row_of_token.repeat(2),
                    distinct: timesteps.distinct,
                };
                let both = concat_batch(shown, shown)?;
                let both = self.transformer.forward_controlled(&both, &twice, context, control)?;
                let (cond, uncond) = split_batch(&both)?;
                (cond, Some(uncond))
            }
        })
    }
}

/// The prediction of a branch, or what the cache says that it would be.
fn cached(
    cache: Option<&mut StepCache>,
    branch: Branch,
    eval: &Eval<'_>,
    predict: impl FnOnce() -> Result<Tensor>,
) -> Result<Tensor> {
    let Some(cache) = cache else {
        return predict();
    };
    match cache.decide(branch, eval.latents, eval.step_index)? {
        Decision::Reuse(velocity) => Ok(velocity),
        Decision::Compute => {
            let velocity = predict()?;
            cache.observe(branch, eval.latents, &velocity)?;
            Ok(velocity)
        }
    }
}

fn concat_batch(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let mut dims = a.dims().to_vec();
    dims[0] += b.dims()[0];
    let mut out = a.uninit_like(dims)?;
    let (first, second) = out.as_mut_slice().split_at_mut(a.elements());
    first.copy_from_slice(a.as_slice());
    second.copy_from_slice(b.as_slice());
    Ok(out)
}

fn split_batch(both: &Tensor) -> Result<(Tensor, Tensor)> {
    let mut dims = both.dims().to_vec();
    dims[0] /= 2;
    let (mut first, mut second) = (both.uninit_like(&dims)?, both.uninit_like(&dims)?);
    let (a, b) = both.as_slice().split_at(first.elements());
    first.as_mut_slice().copy_from_slice(a);
    second.as_mut_slice().copy_from_slice(b);
    Ok((first, second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_joined_and_split_without_loss() {
        let a = Tensor::from_slice(&[1.0, 2.0], [1, 2]).unwrap();
        let b = Tensor::from_slice(&[3.0, 4.0], [1, 2]).unwrap();
        let both = concat_batch(&a, &b).unwrap();
        assert_eq!((both.dims(), both.as_slice()), (&[2, 2][..], &[1.0, 2.0, 3.0, 4.0][..]));
        let (first, second) = split_batch(&both).unwrap();
        assert_eq!((first.as_slice(), second.as_slice()), (a.as_slice(), b.as_slice()));
    }
}
