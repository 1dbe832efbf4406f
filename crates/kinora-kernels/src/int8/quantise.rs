//! Rows of f32 to bytes.

use super::{Dot, padded_depth};
use crate::Path;
use crate::simd::{Isa, LANES, on_path};

/// (step, 1 / step) of a row: its largest magnitude is 127 steps. Infinity and NaN in the row make the step so, and
/// through it every result of the token.
#[inline(always)]
pub(crate) fn step(x: &[f32]) -> (f32, f32) {
    // As integers, magnitudes are in order and NaN is above infinity.
    let mut lanes = [0i32; LANES];
    let (whole, rest) = x.as_chunks::<LANES>();
    for chunk in whole {
        for j in 0..LANES {
            lanes[j] = lanes[j].max((chunk[j].to_bits() & 0x7fff_ffff) as i32);
        }
    }
    for (lane, v) in lanes.iter_mut().zip(rest) {
        *lane = (*lane).max((v.to_bits() & 0x7fff_ffff) as i32);
    }
    let max = f32::from_bits(lanes.into_iter().fold(0, i32::max) as u32);
    // Below this, 127 / max overflows; such a row is as good as zero.
    if max < 1e-36 {
        (0.0, 0.0)
    } else {
        (max / 127.0, 127.0 / max)
    }
}

/// q + 128 for one value, rounded half to even by adding 1.5 * 2^23; two roundings on every path.
#[inline(always)]
fn byte(v: f32, inv_step: f32) -> u8 {
    ((v * inv_step + 12_582_912.0).to_bits() as u8).wrapping_add(128)
}

#[inline(always)]
fn bytes_body<I: Isa>(x: &[f32], out: &mut [u8]) -> f32 {
    let (step, inv_step) = step(x);
    let out = &mut out[..x.len()];
    for i in 0..x.len() {
        out[i] = byte(x[i], inv_step);
    }
    step
}

#[inline(always)]
fn signed_body<I: Isa>(x: &[f32], out: &mut [i8]) -> f32 {
    let (step, inv_step) = step(x);
    let out = &mut out[..x.len()];
    for i in 0..x.len() {
        out[i] = byte(x[i], inv_step).wrapping_sub(128) as i8;
    }
    step
}

#[inline(always)]
fn words_body<I: Isa>(x: &[f32], out: &mut [u16]) -> f32 {
    let (step, inv_step) = step(x);
    let out = &mut out[..x.len()];
    for i in 0..x.len() {
        out[i] = u16::from(byte(x[i], inv_step));
    }
    step
}

on_path! { fn bytes(x: &[f32], out: &mut [u8]) -> f32 = bytes_body }
on_path! {
    /// Quantises one row of weights; returns its step.
    pub(crate) fn signed(x: &[f32], out: &mut [i8]) -> f32 = signed_body
}
on_path! { fn words(x: &[f32], out: &mut [u16]) -> f32 = words_body }
/// Quantises one token into the activations that `dot` reads; returns its step. What lies beyond K meets zero weights.
pub(crate) fn quantise(path: Path, dot: Dot, x: &[f32], out: &mut [u8]) -> f32 {
    debug_assert!(out.len() >= padded_depth(x.len()) * dot.activation_bytes());
    match dot {
        Dot::Avx2 => words(path, x, bytemuck::cast_slice_mut(out)),
        Dot::Vnni512 | Dot::Portable => bytes(path, x, out),
    }
}
