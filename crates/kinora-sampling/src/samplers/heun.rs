//! Heun's rule: an Euler step, a second velocity at its end, and the step again with the average of both.
//!
//! The last step goes to sigma 0, where no model is trained, and is a plain Euler step.
//! Source: diffusers 0.42 `FlowMatchHeunDiscreteScheduler.step` without churn; parity by `tests/goldens.rs`.

use kinora_tensor::Tensor;

use super::{History, Next, Step};
use crate::Result;
use crate::combine::combine;

pub(super) fn advance(at: &Step<'_>, latents: &Tensor, velocity: Tensor, history: &mut History) -> Result<Next> {
    let (sigma, next) = at.sigmas();
    let length = next - sigma;
    if let (Some(start), Some(first)) = (&history.start, &history.velocity) {
        let half = 0.5 * length;
        let end = combine("heun", [(1.0, start), (half, first), (half, &velocity)])?;
        *history = History::default();
        return Ok(Next::Step(end));
    }
    let end = combine("heun", [(1.0, latents), (length, &velocity)])?;
    if at.is_last() {
        return Ok(Next::Step(end));
    }
    history.start = Some(latents.try_clone()?);
    history.velocity = Some(velocity);
    Ok(Next::Midway(end))
}
