//! The row operations of the fast paths: each reads and writes a row once it is in the cache.

use crate::Path;
use crate::math::exp;
use crate::reference;
use crate::simd::{self, Isa, on_path};

/// (mean, 1 / sqrt(variance + eps)) of a row; the variance in a second pass, so that it does not cancel.
#[inline(always)]
fn moments(row: &[f32], eps: f32) -> (f32, f32) {
    let n = row.len() as f32;
    let mean = simd::sum(row, |v| v) / n;
    let square = simd::sum(row, |v| (v - mean) * (v - mean));
    (mean, 1.0 / (square / n + eps).sqrt())
}

#[inline(always)]
fn layer_norm_body<I: Isa>(x: &[f32], out: &mut [f32], weight: &[f32], bias: &[f32], eps: f32) {
    let (mean, inv_std) = moments(x, eps);
    let n = out.len();
    let (x, weight, bias) = (&x[..n], &weight[..n], &bias[..n]);
    for i in 0..n {
        out[i] = I::fma((x[i] - mean) * inv_std, weight[i], bias[i]);
    }
}

#[inline(always)]
fn modulate_body<I: Isa>(x: &[f32], out: &mut [f32], shift: &[f32], scale: &[f32], eps: f32) {
    let (mean, inv_std) = moments(x, eps);
    let n = out.len();
    let (x, shift, scale) = (&x[..n], &shift[..n], &scale[..n]);
    for i in 0..n {
        out[i] = I::fma((x[i] - mean) * inv_std, 1.0 + scale[i], shift[i]);
    }
}

#[inline(always)]
fn rms_norm_body<I: Isa>(row: &mut [f32], weight: &[f32], eps: f32) {
    let n = row.len();
    let square = simd::sum(row, |v| v * v);
    let scale = 1.0 / (square / n as f32 + eps).sqrt();
    let weight = &weight[..n];
    for i in 0..n {
        row[i] = row[i] * scale * weight[i];
    }
}

/// One token: all its heads of width 2 * cos.len().
#[inline(always)]
fn rope_body<I: Isa>(token: &mut [f32], cos: &[f32], sin: &[f32]) {
    for head in token.chunks_exact_mut((2 * cos.len()).max(1)) {
        let (pairs, _) = head.as_chunks_mut::<2>();
        let n = pairs.len();
        let (cos, sin) = (&cos[..n], &sin[..n]);
        for i in 0..n {
            let ([a, b], c, s) = (pairs[i], cos[i], sin[i]);
            pairs[i] = [I::fma(a, c, -(b * s)), I::fma(a, s, b * c)];
        }
    }
}

#[inline(always)]
fn softmax_body<I: Isa>(row: &mut [f32]) {
    let max = simd::max(row);
    for v in row.iter_mut() {
        *v = exp::<I>(*v - max);
    }
    let scale = 1.0 / simd::sum(row, |v| v);
    for v in row {
        *v *= scale;
    }
}

#[inline(always)]
fn add_body<I: Isa>(a: &mut [f32], b: &[f32]) {
    let b = &b[..a.len()];
    for i in 0..a.len() {
        a[i] += b[i];
    }
}

/// layer_norm(x) * weight + bias of one row, on any path.
pub(crate) fn norm(path: Path, x: &[f32], out: &mut [f32], weight: &[f32], bias: &[f32], eps: f32) {
    if path != Path::Reference {
        return layer_norm(path, x, out, weight, bias, eps);
    }
    out.copy_from_slice(x);
    reference::layer_norm(out, x.len(), Some(weight), Some(bias), eps);
}

/// layer_norm(x) * (1 + scale) + shift of one row, on any path.
pub(crate) fn norm_modulate(path: Path, x: &[f32], out: &mut [f32], shift: &[f32], scale: &[f32], eps: f32) {
    if path != Path::Reference {
        return modulate(path, x, out, shift, scale, eps);
    }
    out.copy_from_slice(x);
    reference::layer_norm(out, x.len(), None, None, eps);
    for ((v, scale), shift) in out.iter_mut().zip(scale).zip(shift) {
        *v = *v * (1.0 + scale) + shift;
    }
}

on_path! { fn layer_norm(x: &[f32], out: &mut [f32], weight: &[f32], bias: &[f32], eps: f32) = layer_norm_body }
on_path! { fn modulate(x: &[f32], out: &mut [f32], shift: &[f32], scale: &[f32], eps: f32) = modulate_body }
on_path! { pub(super) fn rms_norm(row: &mut [f32], weight: &[f32], eps: f32) = rms_norm_body }
on_path! { pub(super) fn rope(token: &mut [f32], cos: &[f32], sin: &[f32]) = rope_body }
on_path! { pub(super) fn softmax(row: &mut [f32]) = softmax_body }
on_path! { pub(super) fn add(a: &mut [f32], b: &[f32]) = add_body }
