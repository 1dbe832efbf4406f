//! What each operation means, in plain loops over slices: f64 sums, nothing blocked, nothing fused.
//!
//! Slices are dense and row-major; shapes are those of the operation of the same name. These functions trust their
//! caller with the lengths (a wrong one panics); the operations check before they call.

mod attention;
mod conv;
mod linear;
mod pixels;
mod rows;

pub use attention::attention;
pub use conv::{ConvShape, conv, join_pixels};
pub use linear::{linear, linear_int8};
pub use pixels::{pixel_shuffle, pixel_unshuffle, upsample_nearest_2x};
pub use rows::{layer_norm, rms_norm, rope_interleaved, softmax};

use crate::Activation;

/// The activation of one value, in f64.
pub fn activation(x: f64, act: Activation) -> f64 {
    match act {
        Activation::None => x,
        Activation::GeluTanh => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
            0.5 * x * (1.0 + inner.tanh())
        }
        Activation::GeluErf => 0.5 * x * erfc(-x / std::f64::consts::SQRT_2),
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Relu => x.max(0.0),
        Activation::SoftClamp3 => 3.0 * (x / 3.0).tanh(),
    }
}

/// The complementary error function to about 1e-15: the Taylor series of erf near 0, the continued fraction beyond
/// (Abramowitz and Stegun 7.1.6 and 7.1.14).
fn erfc(x: f64) -> f64 {
    if x < 0.0 {
        return 2.0 - erfc(-x);
    }
    if x < 2.5 {
        // erf(x) = 2/sqrt(pi) exp(-x^2) sum 2^n x^(2n+1) / (1*3*..*(2n+1)); all terms positive, so nothing cancels.
        let (mut term, mut sum, mut odd) = (x, x, 1.0);
        while term > sum * 1e-17 {
            odd += 2.0;
            term *= 2.0 * x * x / odd;
            sum += term;
        }
        return 1.0 - std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum;
    }
    // erfc(x) = exp(-x^2)/sqrt(pi) / (x + (1/2)/(x + 1/(x + (3/2)/(x + 2/(x + ...))))).
    let fraction = (1..=60).rev().fold(x, |below, n| x + f64::from(n) * 0.5 / below);
    (-x * x).exp() / (std::f64::consts::PI.sqrt() * fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activations_have_their_textbook_values() {
        let cases = [
            (Activation::None, -1.5, -1.5),
            (Activation::Relu, -1.5, 0.0),
            (Activation::Relu, 2.5, 2.5),
            (Activation::Silu, 1.0, 0.731_058_578_630_004_9),
            (Activation::GeluErf, 1.0, 0.841_344_746_068_542_9),
            (Activation::GeluErf, -1.0, -0.158_655_253_931_457_05),
            (Activation::GeluErf, -6.0, -5.919_525_8e-9),
            (Activation::GeluTanh, 1.0, 0.841_191_990_608_276_2),
            (Activation::SoftClamp3, 3.0, 2.284_782_467_867_294),
        ];
        for (act, x, expected) in cases {
            let got = activation(x, act);
            assert!(
                (got - expected).abs() < 1e-12_f64.max(expected.abs() * 1e-7),
                "{act:?}({x}) = {got}"
            );
        }
    }

    #[test]
    fn the_two_halves_of_erfc_meet() {
        assert!((erfc(2.5 - 1e-12) / erfc(2.5 + 1e-12) - 1.0).abs() < 1e-10);
        assert!((erfc(1.0) - 0.157_299_207_050_285_13).abs() < 1e-15);
        assert!((erfc(4.0) / 1.541_725_790_028_002e-8 - 1.0).abs() < 1e-12);
    }
}
