//! Exponential, hyperbolic tangent and the activations as straight-line f32 arithmetic that compilers vectorise.
//!
//! Largest errors against f64, over the whole range, are stated at each function and held by tests; NaN stays NaN.

use crate::Activation;
use crate::simd::{Isa, on_path};

/// Adding it to a small f32 rounds to an integer, half to even, which then stands in the low bits: 1.5 * 2^23.
pub(crate) const ROUND: f32 = 12_582_912.0;

/// e^x. Relative error below 2e-7 for x in [-87.3, 88.3]; clamped to the ends of that range outside.
#[inline(always)]
pub(crate) fn exp<I: Isa>(x: f32) -> f32 {
    // ln 2 in two parts, the first exact in few bits so that n * LN2_HIGH is exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // These comparisons, unlike `clamp`, are one instruction each and let NaN through.
    let x = if x > 88.3 { 88.3 } else { x };
    let x = if x < -87.3 { -87.3 } else { x };
    let rounded = I::fma(x, std::f32::consts::LOG2_E, ROUND);
    let n = rounded - ROUND;
    let r = I::fma(n, -LN2_LOW, I::fma(n, -LN2_HIGH, x));
    // The Taylor series to r^7: the rest is below 6e-9 for |r| <= ln(2)/2.
    let mut p = 1.0 / 5040.0;
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = I::fma(p, r, coefficient);
    }
    let power = f32::from_bits((rounded.to_bits() << 23).wrapping_add(1.0f32.to_bits()));
    p * power
}

/// 2^x for x of at most 0. Relative error below 4e-6 for x in [-125, 0]; clamped to that end below.
#[inline(always)]
pub(crate) fn exp2<I: Isa>(x: f32) -> f32 {
    let x = if x < -125.0 { -125.0 } else { x };
    let rounded = x + ROUND;
    let r = x - (rounded - ROUND);
    // The Taylor series to r^5: the rest is below 2.5e-6 for |r| <= 1/2.
    let mut p = 1.333_355_8e-3;
    for coefficient in [9.618_129e-3, 5.550_411e-2, 0.240_226_5, std::f32::consts::LN_2, 1.0] {
        p = I::fma(p, r, coefficient);
    }
    let power = f32::from_bits((rounded.to_bits() << 23).wrapping_add(1.0f32.to_bits()));
    p * power
}

/// tanh x. Relative error below 4e-7.
#[inline(always)]
fn tanh<I: Isa>(x: f32) -> f32 {
    // Below 0.65 the quotient would cancel: a least-squares fit of (tanh(x)/x - 1)/x^2 in x^2, error 1.1e-9.
    let t = x * x;
    let mut p = 2.218_369_4e-3;
    for coefficient in [
        -8.276_133e-3,
        2.174_755_4e-2,
        -5.395_655_7e-2,
        0.133_332_92,
        -0.333_333_33,
    ] {
        p = I::fma(p, t, coefficient);
    }
    let small = I::fma(x * t, p, x);
    let large = 1.0 - 2.0 / (exp::<I>(2.0 * x) + 1.0);
    if t < 0.65 * 0.65 { small } else { large }
}

/// x / (1 + e^-x). Absolute error below 3e-7 * max(1, |x|).
#[inline(always)]
fn silu<I: Isa>(x: f32) -> f32 {
    x / (1.0 + exp::<I>(-x))
}

/// x / (1 + e^(-2u)) with u the argument of tanh, which is the same function without its cancellation.
/// Absolute error below 3e-7 * max(1, |x|).
#[inline(always)]
fn gelu_tanh<I: Isa>(x: f32) -> f32 {
    const SCALE: f32 = -2.0 * 0.797_884_6;
    x / (1.0 + exp::<I>(SCALE * I::fma(x * x * x, 0.044_715, x)))
}

/// With erfc from Abramowitz and Stegun 7.1.26. Absolute error below 5e-7 * max(1, |x|).
#[inline(always)]
fn gelu_erf<I: Isa>(x: f32) -> f32 {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / I::fma(0.327_591_1, z, 1.0);
    let mut p = 1.061_405_4;
    for coefficient in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
        p = I::fma(p, t, coefficient);
    }
    let half_erfc = 0.5 * p * t * exp::<I>(-z * z);
    x * if x < 0.0 { half_erfc } else { 1.0 - half_erfc }
}

/// Where the values come from that an activation is applied to. A trait and not a closure, because only a function can
/// be `inline(always)`, and one that is not inlined is compiled without the instruction set of its caller.
pub(crate) trait Source {
    /// The value for index i, where `before` stands now.
    fn at<I: Isa>(&self, i: usize, before: f32) -> f32;
}

trait Pointwise {
    fn apply<I: Isa>(x: f32) -> f32;
}

macro_rules! pointwise {
    ($($name:ident($x:ident) = $value:expr;)*) => {$(
        struct $name;
        impl Pointwise for $name {
            #[inline(always)]
            fn apply<I: Isa>($x: f32) -> f32 {
                $value
            }
        }
    )*};
}

pointwise! {
    Identity(x) = x;
    GeluTanh(x) = gelu_tanh::<I>(x);
    GeluErf(x) = gelu_erf::<I>(x);
    Silu(x) = silu::<I>(x);
    // NaN stays.
    Relu(x) = if x < 0.0 { 0.0 } else { x };
    SoftClamp3(x) = 3.0 * tanh::<I>(x * (1.0 / 3.0));
}

/// out[i] = act(source at i), with `act` chosen once for the whole slice.
#[inline(always)]
pub(crate) fn map_activation<I: Isa>(act: Activation, out: &mut [f32], source: &impl Source) {
    match act {
        Activation::None => each::<I, Identity>(out, source),
        Activation::GeluTanh => each::<I, GeluTanh>(out, source),
        Activation::GeluErf => each::<I, GeluErf>(out, source),
        Activation::Silu => each::<I, Silu>(out, source),
        Activation::Relu => each::<I, Relu>(out, source),
        Activation::SoftClamp3 => each::<I, SoftClamp3>(out, source),
    }
}

#[inline(always)]
fn each<I: Isa, P: Pointwise>(out: &mut [f32], source: &impl Source) {
    // By index, like the slices of the source: only then does the compiler see that all end together, and leave out
    // the checks that would keep the last vector of each row scalar.
    for i in 0..out.len() {
        out[i] = P::apply::<I>(source.at::<I>(i, out[i]));
    }
}

struct InPlace;

impl Source for InPlace {
    #[inline(always)]
    fn at<I: Isa>(&self, _: usize, before: f32) -> f32 {
        before
    }
}

#[inline(always)]
fn activate_body<I: Isa>(values: &mut [f32], act: Activation) {
    map_activation::<I>(act, values, &InPlace);
}

on_path! {
    /// The activation of every value.
    pub(crate) fn activate(values: &mut [f32], act: Activation) = activate_body
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference;
    use crate::testing::fast_paths;

    fn exp_body<I: Isa>(values: &mut [f32]) {
        values.iter_mut().for_each(|v| *v = exp::<I>(*v));
    }
    on_path! { fn exp_all(values: &mut [f32]) = exp_body }

    fn exp2_body<I: Isa>(values: &mut [f32]) {
        values.iter_mut().for_each(|v| *v = exp2::<I>(*v));
    }
    on_path! { fn exp2_all(values: &mut [f32]) = exp2_body }

    #[test]
    fn exp2_holds_its_stated_error_and_clamps() {
        for path in fast_paths() {
            let xs: Vec<f32> = (0..=400_000).map(|i| i as f32 * -5e-4).collect();
            let mut ys = xs.clone();
            exp2_all(path, &mut ys);
            for (x, y) in xs.iter().zip(ys) {
                let expected = f64::from(x.max(-125.0)).exp2();
                assert!((f64::from(y) / expected - 1.0).abs() < 4e-6, "{path}: exp2({x}) = {y}");
            }
            let mut odd = [f32::NAN, f32::NEG_INFINITY, 0.0];
            exp2_all(path, &mut odd);
            assert!(odd[0].is_nan() && odd[1] < 1e-37 && odd[2] == 1.0, "{path}: {odd:?}");
        }
    }

    /// -100 to 100, dense near zero.
    fn sweep() -> Vec<f32> {
        (-200_000..=200_000)
            .map(|i| (i as f32 / 200_000.0).powi(3) * 100.0)
            .collect()
    }

    #[test]
    fn exp_holds_its_stated_error_and_clamps() {
        for path in fast_paths() {
            let xs = sweep();
            let mut ys = xs.clone();
            exp_all(path, &mut ys);
            for (x, y) in xs.iter().zip(ys) {
                let expected = f64::from(x.clamp(-87.3, 88.3)).exp();
                assert!((f64::from(y) / expected - 1.0).abs() < 2e-7, "{path}: exp({x}) = {y}");
            }
            let mut odd = [f32::NAN, f32::NEG_INFINITY, f32::INFINITY, 0.0];
            exp_all(path, &mut odd);
            assert!(odd[0].is_nan() && odd[1] < 2e-38 && odd[2] > 1e38 && odd[2].is_finite() && odd[3] == 1.0);
        }
    }

    #[test]
    fn activations_hold_their_stated_errors() {
        let cases = [
            (Activation::None, 0.0),
            (Activation::Relu, 0.0),
            (Activation::Silu, 3e-7),
            (Activation::GeluTanh, 3e-7),
            (Activation::GeluErf, 5e-7),
            (Activation::SoftClamp3, 4e-7),
        ];
        for (path, (act, tolerance)) in fast_paths().into_iter().flat_map(|p| cases.map(|c| (p, c))) {
            let xs = sweep();
            let mut ys = xs.clone();
            activate(path, &mut ys, act);
            let mut worst = 0.0f64;
            for (&x, y) in xs.iter().zip(ys) {
                let expected = reference::activation(f64::from(x), act);
                let unit = match act {
                    Activation::SoftClamp3 => expected.abs(),
                    _ => f64::from(x).abs().max(1.0),
                };
                worst = worst.max((f64::from(y) - expected).abs() / unit.max(1e-30));
            }
            assert!(worst <= tolerance, "{path} {act:?}: {worst:e}");
            println!("{path} {act:?}: {worst:.1e}");
            let mut nan = [f32::NAN; 3];
            activate(path, &mut nan, act);
            assert!(nan.iter().all(|v| v.is_nan()), "{path} {act:?} hides NaN");
        }
    }
}
