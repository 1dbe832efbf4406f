//! Euler's rule: `x' = x + (sigma' - sigma) * v`.
//!
//! Source: diffusers 0.42 `FlowMatchEulerDiscreteScheduler.step`; parity by `tests/goldens.rs`.

use kinora_tensor::Tensor;

use super::{Next, Step};
use crate::Result;
use crate::combine::combine;

pub(super) fn advance(at: &Step<'_>, latents: &Tensor, velocity: &Tensor) -> Result<Next> {
    let (sigma, next) = at.sigmas();
    combine("euler", [(1.0, latents), (next - sigma, velocity)]).map(Next::Step)
}
