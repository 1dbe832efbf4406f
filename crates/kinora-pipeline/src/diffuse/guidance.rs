//! The model under classifier-free guidance: both predictions at once, or one after the other to save memory.

use kinora_models::wan::{Context, Timesteps, Transformer};
use kinora_sampling::{Guidance, guide};
use kinora_tensor::Tensor;

use crate::Result;
use crate::map::Conditioning;
use crate::memory_plan::GuidanceMode;

/// Text prepared for one of the three ways to call the model.
enum Text {
    /// No guidance: the prompt alone.
    Single(Context),
    /// Prompt and negative prompt as a batch of two.
    Batched(Context),
    /// Prompt, then negative prompt.
    Sequential { cond: Context, uncond: Context },
}

/// A transformer with its text and guidance.
pub(super) struct Guided<'a> {
    transformer: &'a Transformer,
    text: Text,
    guidance: Guidance,
}

impl<'a> Guided<'a> {
    /// Prepares the text once for all steps.
    pub(super) fn new(
        transformer: &'a Transformer,
        conditioning: &Conditioning,
        guidance: Guidance,
        mode: GuidanceMode,
    ) -> Result<Self> {
        let text = match &conditioning.uncond {
            None => Text::Single(transformer.embed_context(&conditioning.cond)?),
            Some(uncond) if mode == GuidanceMode::Batched => {
                Text::Batched(transformer.embed_context(&concat_batch(&conditioning.cond, uncond)?)?)
            }
            Some(uncond) => Text::Sequential {
                cond: transformer.embed_context(&conditioning.cond)?,
                uncond: transformer.embed_context(uncond)?,
            },
        };
        Ok(Self {
            transformer,
            text,
            guidance,
        })
    }

    /// **Shapes**: latents `[1, C, F, H, W]` → velocity of the same shape.
    pub(super) fn velocity(&self, latents: &Tensor, timesteps: &Timesteps) -> Result<Tensor> {
        let (cond, uncond) = match &self.text {
            Text::Single(context) => return Ok(self.transformer.forward(latents, timesteps, context)?),
            Text::Batched(context) => {
                let twice = Timesteps {
                    distinct: timesteps.distinct.clone(),
                    row_of_token: timesteps.row_of_token.repeat(2),
                };
                let both = self
                    .transformer
                    .forward(&concat_batch(latents, latents)?, &twice, context)?;
                split_batch(&both, latents)?
            }
            Text::Sequential { cond, uncond } => (
                self.transformer.forward(latents, timesteps, cond)?,
                self.transformer.forward(latents, timesteps, uncond)?,
            ),
        };
        Ok(guide(&cond, &uncond, self.guidance.scale())?)
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

fn split_batch(both: &Tensor, like: &Tensor) -> Result<(Tensor, Tensor)> {
    let (mut first, mut second) = (both.uninit_like(like.dims())?, both.uninit_like(like.dims())?);
    let (a, b) = both.as_slice().split_at(like.elements());
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
        let (first, second) = split_batch(&both, &a).unwrap();
        assert_eq!((first.as_slice(), second.as_slice()), (a.as_slice(), b.as_slice()));
    }
}
