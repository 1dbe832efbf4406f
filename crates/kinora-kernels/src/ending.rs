//! What happens to a finished sum on its way to memory: bias, activation, gate, residual, in one pass.

use crate::math::{Source, map_activation};
use crate::simd::{Isa, on_path};
use crate::{Activation, PerToken};

/// The ending of an operation that makes sums.
#[derive(Clone, Copy)]
pub(crate) enum Ending<'a> {
    /// act(sum + bias).
    Activation(Activation),
    /// act(out + sum + bias): `out` holds the residual.
    Residual(Activation),
    /// out + gate * (sum + bias): `out` holds the residual.
    Gated(PerToken<'a>),
}

impl<'a> Ending<'a> {
    /// The ending of `token`, columns from `column` on.
    pub(crate) fn of_row(&self, token: usize, column: usize) -> RowEnding<'a> {
        match self {
            Self::Activation(act) => RowEnding::Activation(*act),
            Self::Residual(act) => RowEnding::Residual(*act),
            Self::Gated(gate) => RowEnding::Gated(&gate.row(token)[column..]),
        }
    }
}

/// The ending of a stretch of a row.
#[derive(Clone, Copy)]
pub(crate) enum RowEnding<'a> {
    Activation(Activation),
    Residual(Activation),
    Gated(&'a [f32]),
}

/// Exact integer sums and what turns them into numbers.
#[derive(Clone, Copy)]
pub(crate) struct IntegerSums<'a> {
    pub(crate) sums: &'a [i32],
    /// What to take off each sum.
    pub(crate) surplus: &'a [i32],
    /// What one step of each weight is worth.
    pub(crate) steps: &'a [f32],
    /// What one step of the activations is worth.
    pub(crate) step: f32,
}

/// sum + bias.
struct Biased<'a> {
    sums: &'a [f32],
    bias: &'a [f32],
}

impl Source for Biased<'_> {
    #[inline(always)]
    fn at<I: Isa>(&self, i: usize, _: f32) -> f32 {
        self.sums[i] + self.bias[i]
    }
}

/// (sum - surplus) * step * step of the weight + bias.
struct Dequantised<'a> {
    sums: &'a [i32],
    surplus: &'a [i32],
    steps: &'a [f32],
    bias: &'a [f32],
    step: f32,
}

impl Source for Dequantised<'_> {
    #[inline(always)]
    fn at<I: Isa>(&self, i: usize, _: f32) -> f32 {
        // Wrapping, because a check would keep this scalar in builds with assertions; it cannot overflow.
        let sum = self.sums[i].wrapping_sub(self.surplus[i]);
        I::fma(sum as f32, self.step * self.steps[i], self.bias[i])
    }
}

/// What is there plus another source.
struct Added<S>(S);

impl<S: Source> Source for Added<S> {
    #[inline(always)]
    fn at<I: Isa>(&self, i: usize, before: f32) -> f32 {
        before + self.0.at::<I>(i, before)
    }
}

#[inline(always)]
fn end<I: Isa>(source: impl Source, ending: RowEnding, out: &mut [f32]) {
    match ending {
        RowEnding::Activation(act) => map_activation::<I>(act, out, &source),
        RowEnding::Residual(act) => map_activation::<I>(act, out, &Added(source)),
        RowEnding::Gated(gate) => {
            let gate = &gate[..out.len()];
            for i in 0..out.len() {
                out[i] = I::fma(gate[i], source.at::<I>(i, out[i]), out[i]);
            }
        }
    }
}

#[inline(always)]
fn finish_body<I: Isa>(sums: &[f32], bias: &[f32], ending: RowEnding, out: &mut [f32]) {
    let n = out.len();
    let source = Biased {
        sums: &sums[..n],
        bias: &bias[..n],
    };
    end::<I>(source, ending, out);
}

#[inline(always)]
fn finish_integers_body<I: Isa>(sums: IntegerSums, bias: &[f32], ending: RowEnding, out: &mut [f32]) {
    let n = out.len();
    let source = Dequantised {
        sums: &sums.sums[..n],
        surplus: &sums.surplus[..n],
        steps: &sums.steps[..n],
        bias: &bias[..n],
        step: sums.step,
    };
    end::<I>(source, ending, out);
}

on_path! { pub(crate) fn finish(sums: &[f32], bias: &[f32], ending: RowEnding, out: &mut [f32]) = finish_body }
on_path! {
    pub(crate) fn finish_integers(sums: IntegerSums, bias: &[f32], ending: RowEnding, out: &mut [f32])
        = finish_integers_body
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::fast_paths;

    #[test]
    fn integer_sums_become_numbers_before_they_end() {
        let sums = IntegerSums {
            sums: &[7, 12],
            surplus: &[3, 2],
            steps: &[0.5, -1.0],
            step: 2.0,
        };
        for path in fast_paths() {
            let mut out = [100.0, 200.0];
            finish_integers(path, sums, &[1.0, 2.0], RowEnding::Gated(&[1.0, 10.0]), &mut out);
            // (7 - 3) * 2 * 0.5 + 1 = 5 and (12 - 2) * 2 * -1 + 2 = -18.
            assert_eq!(out, [105.0, 20.0], "{path}");
            finish_integers(
                path,
                sums,
                &[1.0, 2.0],
                RowEnding::Activation(Activation::Relu),
                &mut out,
            );
            assert_eq!(out, [5.0, 0.0], "{path}");
        }
    }
}
