//! What happens to a finished sum on its way to memory: bias, activation, gate, residual, in one pass.

use crate::math::activate_body;
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

impl Ending<'_> {
    /// Finishes `sums` of row `token`, columns from `column` on, into `out`; `bias` is for those columns, or empty.
    pub(crate) fn finish(
        &self,
        path: crate::Path,
        sums: &mut [f32],
        bias: &[f32],
        at: (usize, usize),
        out: &mut [f32],
    ) {
        let (token, column) = at;
        match self {
            Self::Activation(act) => finish_plain(path, sums, bias, *act, out),
            Self::Residual(act) => finish_residual(path, sums, bias, *act, out),
            Self::Gated(gate) => finish_gated(path, sums, bias, &gate.row(token)[column..][..out.len()], out),
        }
    }
}

#[inline(always)]
fn add_bias(sums: &mut [f32], bias: &[f32]) {
    if !bias.is_empty() {
        for (sum, b) in sums.iter_mut().zip(bias) {
            *sum += b;
        }
    }
}

#[inline(always)]
fn plain_body<I: Isa>(sums: &mut [f32], bias: &[f32], act: Activation, out: &mut [f32]) {
    add_bias(sums, bias);
    activate_body::<I>(sums, act);
    out.copy_from_slice(&sums[..out.len()]);
}

#[inline(always)]
fn residual_body<I: Isa>(sums: &mut [f32], bias: &[f32], act: Activation, out: &mut [f32]) {
    add_bias(sums, bias);
    for (out, sum) in out.iter_mut().zip(sums) {
        *out += *sum;
    }
    activate_body::<I>(out, act);
}

#[inline(always)]
fn gated_body<I: Isa>(sums: &mut [f32], bias: &[f32], gate: &[f32], out: &mut [f32]) {
    add_bias(sums, bias);
    for ((out, sum), gate) in out.iter_mut().zip(sums).zip(gate) {
        *out = I::fma(*gate, *sum, *out);
    }
}

on_path! { fn finish_plain(sums: &mut [f32], bias: &[f32], act: Activation, out: &mut [f32]) = plain_body }
on_path! { fn finish_residual(sums: &mut [f32], bias: &[f32], act: Activation, out: &mut [f32]) = residual_body }
on_path! { fn finish_gated(sums: &mut [f32], bias: &[f32], gate: &[f32], out: &mut [f32]) = gated_body }
