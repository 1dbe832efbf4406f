//! A model's experts under classifier-free guidance: both predictions at once, or one after the other to save memory.

use std::sync::Arc;

use kinora_models::wan::{Context, Timesteps, Transformer};
use kinora_sampling::{Eval, Expert};
use kinora_tensor::Tensor;

use super::{Known, Settings};
use crate::Result;
use crate::map::Conditioning;
use crate::memory_plan::GuidanceMode;
use crate::model::Experts;

/// Text prepared for one of the ways to call the model.
enum Text {
    /// The prompt alone.
    Single(Context),
    /// Prompt and negative prompt as a batch of two.
    Batched(Context),
    /// Prompt, then negative prompt.
    Sequential { cond: Context, uncond: Context },
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
    conditioning: &'a Conditioning,
    settings: &'a Settings,
    /// What the run starts from, kept where the model must see known frames at the run's noise level.
    noise: Option<Tensor>,
    active: Option<Active>,
}

impl<'a> Denoiser<'a> {
    /// **Shapes**: `noise [1, C, F, h, w]`, what the run starts from.
    pub(super) fn new(
        experts: &'a Experts,
        conditioning: &'a Conditioning,
        settings: &'a Settings,
        noise: &Tensor,
    ) -> Result<Self> {
        let needs_noise = matches!(conditioning.known, Known::Noised(_));
        Ok(Self {
            experts,
            conditioning,
            settings,
            noise: needs_noise.then(|| noise.try_clone()).transpose()?,
            active: None,
        })
    }

    /// **Shapes**: the evaluation's latents `[1, C, F, h, w]` → velocity of the same shape.
    pub(super) fn velocity(&mut self, eval: &Eval<'_>) -> Result<Tensor> {
        let (conditioning, guidance) = (self.conditioning, &self.settings.guidance);
        let expert = self.settings.expert_at(eval);
        let guided = guidance.needs_uncond(eval.step_index, eval.sigma, expert);
        let noise = self.noise.as_ref().unwrap_or(eval.latents);
        let shown = conditioning.known.shown(eval.latents, noise, eval.sigma)?;
        let active = self.activate(expert, guided)?;
        let shown = shown.as_ref().unwrap_or(eval.latents);
        let transformer = &active.transformer;
        let patch_frames = transformer.config().patch_size[0];
        let timesteps = conditioning
            .known
            .timesteps(eval.timestep.0, transformer.token_grid(shown)?, patch_frames);
        let (cond, uncond) = active.predict(shown, &timesteps)?;
        Ok(guidance.apply(eval.step_index, eval.sigma, expert, cond, uncond.as_ref())?)
    }

    /// The expert with its text, for guided or unguided steps; another one is given up first.
    fn activate(&mut self, expert: Expert, guided: bool) -> Result<&Active> {
        let fits = |active: &Active| active.expert == expert && active.text.is_guided() == guided;
        let active = match self.active.take() {
            Some(active) if fits(&active) => active,
            old => {
                if let Some(old) = old.filter(|old| old.expert != expert) {
                    let slot = self.experts.slot(old.expert);
                    drop(old);
                    if !self.settings.keep_experts {
                        slot.release();
                    }
                }
                let transformer = self.experts.slot(expert).get(())?;
                let text = self.prepare(&transformer, guided)?;
                Active {
                    expert,
                    transformer,
                    text,
                }
            }
        };
        Ok(self.active.insert(active))
    }

    fn prepare(&self, transformer: &Transformer, guided: bool) -> Result<Text> {
        let conditioning = self.conditioning;
        let embed = |text: &Tensor| transformer.embed_context(text, None);
        let uncond = conditioning.uncond.as_ref().filter(|_| guided);
        Ok(match uncond {
            None => Text::Single(embed(&conditioning.cond)?),
            Some(uncond) if self.settings.guidance_mode == GuidanceMode::Batched => {
                Text::Batched(embed(&concat_batch(&conditioning.cond, uncond)?)?)
            }
            Some(uncond) => Text::Sequential {
                cond: embed(&conditioning.cond)?,
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
    /// What the model predicts with the prompt and, on guided steps, without.
    fn predict(&self, latents: &Tensor, timesteps: &Timesteps) -> Result<(Tensor, Option<Tensor>)> {
        let forward = |context| self.transformer.forward(latents, timesteps, context);
        Ok(match &self.text {
            Text::Single(context) => (forward(context)?, None),
            Text::Sequential { cond, uncond } => (forward(cond)?, Some(forward(uncond)?)),
            Text::Batched(context) => {
                let twice = Timesteps {
                    distinct: timesteps.distinct.clone(),
                    row_of_token: timesteps.row_of_token.repeat(2),
                };
                let both = self
                    .transformer
                    .forward(&concat_batch(latents, latents)?, &twice, context)?;
                let (cond, uncond) = split_batch(&both)?;
                (cond, Some(uncond))
            }
        })
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
