//! UniPC of order 2 in its B2 variant, on estimates of the clean latents, for flow models.
//!
//! Each evaluation is used twice: first to correct the latents that it was made for, then to predict the next ones.
//! The order is 1 at the first step, where there is no history, and at the last, which goes to infinity in
//! `lambda = ln((1 - sigma) / sigma)`.
//!
//! Source: Zhao et al., "UniPC" (arXiv:2302.04867), algorithms 5 to 8 and appendix C; diffusers 0.42
//! `UniPCMultistepScheduler` with `use_flow_sigmas`, `solver_order=2`, `solver_type="bh2"`, `predict_x0`,
//! `lower_order_final`; parity by `tests/goldens.rs`. One difference: here a schedule may start at sigma 1, where the
//! source divides infinity by infinity; the coefficients below then take their limits.

use kinora_tensor::Tensor;

use super::{History, Next, Step, clean_estimate, lambda};
use crate::Result;
use crate::combine::combine;

pub(super) fn advance(at: &Step<'_>, latents: &Tensor, velocity: &Tensor, history: &mut History) -> Result<Next> {
    let (sigma, _) = at.sigmas();
    // The estimate belongs to the latents that the model saw, so it comes before the correction.
    let clean = clean_estimate(latents, velocity, sigma)?;
    let corrected = match (&history.start, &history.clean) {
        (Some(start), Some(before)) => correct(at, start, [before, &clean], history.older_clean.as_ref())?,
        _ => latents.try_clone()?,
    };
    let next = predict(at, &corrected, &clean, history.clean.as_ref())?;
    history.older_clean = history.clean.take();
    history.clean = Some(clean);
    history.start = Some(corrected);
    Ok(Next::Step(next))
}

/// From the corrected latents at this noise level to the next level.
fn predict(at: &Step<'_>, latents: &Tensor, clean: &Tensor, before: Option<&Tensor>) -> Result<Tensor> {
    let (sigma, next) = at.sigmas();
    let h = lambda(next) - lambda(sigma);
    let gain = -(1.0 - next) * libm::expm1(-h);
    match before {
        Some(before) if !at.is_last() => {
            let (earlier, _) = at.schedule.around(at.step_index - 1);
            let slope = 0.5 * h / (lambda(earlier) - lambda(sigma));
            let weights = [
                (next / sigma, latents),
                (gain * (1.0 - slope), clean),
                (gain * slope, before),
            ];
            combine("unipc predictor", weights)
        }
        _ => combine("unipc predictor", [(next / sigma, latents), (gain, clean)]),
    }
}

/// The last step again, from `start`, now that the estimate at its end is known: `clean` is [at its start, at its end].
fn correct(at: &Step<'_>, start: &Tensor, clean: [&Tensor; 2], older: Option<&Tensor>) -> Result<Tensor> {
    let [before, now] = clean;
    let (from, to) = at.schedule.around(at.step_index - 1);
    let h = lambda(to) - lambda(from);
    let gain = -(1.0 - to) * libm::expm1(-h);
    let Some(older) = older else {
        let half = 0.5 * gain;
        return combine("unipc corrector", [(to / from, start), (half, before), (half, now)]);
    };
    let (earlier, _) = at.schedule.around(at.step_index - 2);
    let r = (lambda(earlier) - lambda(from)) / h;
    let (rho_older, rho_now) = corrector_weights(h, r);
    combine(
        "unipc corrector",
        [
            (to / from, start),
            (gain * (1.0 - rho_older / r - rho_now), before),
            (gain * rho_older / r, older),
            (gain * rho_now, now),
        ],
    )
}

/// The solution of `[[1, 1], [r, 1]] rho = b` with `b` from the phi functions of -h, for B(h) = e^(-h) - 1.
fn corrector_weights(h: f64, r: f64) -> (f64, f64) {
    let (hh, e) = (-h, libm::expm1(-h));
    let phi_2 = e / hh - 1.0;
    let phi_3 = phi_2 / hh - 0.5;
    let (b_1, b_2) = (phi_2 / e, 2.0 * phi_3 / e);
    let rho_older = (b_1 - b_2) / (1.0 - r);
    (rho_older, b_1 - rho_older)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corrector_weights_solve_their_equations_and_have_a_limit() {
        for (h, r) in [(0.3, -1.0), (1.7, -0.4), (0.05, -2.5)] {
            let (older, now) = corrector_weights(h, r);
            let (hh, e) = (-h, f64::exp_m1(-h));
            let phi_2 = e / hh - 1.0;
            let b_2 = 2.0 * (phi_2 / hh - 0.5) / e;
            assert!((older + now - phi_2 / e).abs() < 1e-12);
            assert!((r * older + now - b_2).abs() < 1e-12);
        }
        let (older, now) = corrector_weights(0.3, f64::NEG_INFINITY);
        assert_eq!(older, 0.0);
        assert!(now.is_finite());
    }
}
