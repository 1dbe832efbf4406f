//! Estimate the clean latents, then add fresh noise of the next level: the rule of models distilled to a few steps.
//!
//! `clean = x - sigma v`, `x' = (1 - sigma') clean + sigma' noise`; the last step ends at the estimate itself. The
//! direction that led to the estimate is thrown away, so this does not converge to the flow of a model that was not
//! trained for it.
//!
//! Source: Song et al., "Consistency models" (arXiv:2303.01469), algorithm 1; Yin et al., "DMD2" (arXiv:2405.14867);
//! diffusers 0.42 `FlowMatchLCMScheduler.step`. Parity by `tests/wan_schedules.rs`.

use kinora_tensor::Tensor;

use super::{Next, Step};
use crate::combine::combine;
use crate::{Error, Result};

/// `fresh` is not read in the last step.
pub(super) fn advance(at: &Step<'_>, latents: &Tensor, velocity: &Tensor, fresh: Option<&Tensor>) -> Result<Next> {
    let (sigma, next) = at.sigmas();
    if at.is_last() {
        return combine("renoise", [(1.0, latents), (-sigma, velocity)]).map(Next::Step);
    }
    let Some(fresh) = fresh else {
        return Err(Error::NoiseMissing {
            step_index: at.step_index,
        });
    };
    let kept = 1.0 - next;
    let terms = [(kept, latents), (-kept * sigma, velocity), (next, fresh)];
    combine("renoise", terms).map(Next::Step)
}
