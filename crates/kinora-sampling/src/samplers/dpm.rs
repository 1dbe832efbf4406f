//! DPM-Solver++ 2M in its midpoint form, for flow models.
//!
//! It integrates in `lambda = ln((1 - sigma) / sigma)` with a line through the last two estimates of the clean
//! latents. The first step has only one estimate and the last goes to infinity in lambda: both are of first order.
//!
//! Source: Lu et al., "DPM-Solver++" (arXiv:2211.01095), algorithm 2; diffusers 0.42 `DPMSolverMultistepScheduler`
//! with `use_flow_sigmas`, `solver_order=2`, `solver_type="midpoint"`; parity by `tests/goldens.rs`.

use kinora_tensor::Tensor;

use super::{History, Next, Step, clean_estimate, lambda};
use crate::Result;
use crate::combine::combine;

pub(super) fn advance(at: &Step<'_>, latents: &Tensor, velocity: &Tensor, history: &mut History) -> Result<Next> {
    let (sigma, next) = at.sigmas();
    let clean = clean_estimate(latents, velocity, sigma)?;
    let h = lambda(next) - lambda(sigma);
    let gain = -(1.0 - next) * libm::expm1(-h); // share of the estimate in the next latents
    let latents = match &history.clean {
        Some(before) if !at.is_last() => {
            let (earlier, _) = at.schedule.around(at.step_index - 1);
            // 0 where the run started from pure noise: lambda was infinite there, and the line is flat.
            let slope = 0.5 * h / (lambda(sigma) - lambda(earlier));
            let weights = [
                (next / sigma, latents),
                (gain * (1.0 + slope), &clean),
                (-gain * slope, before),
            ];
            combine("dpmpp-2m", weights)?
        }
        _ => combine("dpmpp-2m", [(next / sigma, latents), (gain, &clean)])?,
    };
    history.clean = Some(clean);
    Ok(Next::Step(latents))
}
