//! Rows of f32 to words.

use super::Kind;
use crate::Path;
use crate::math::ROUND;
use crate::simd::{Isa, LANES, on_path};

/// Writes `x` as words of `kind`, zero beyond its end; gives what one step of an integer is worth (1 for floats).
pub(crate) fn to_words(path: Path, kind: Kind, x: &[f32], out: &mut [u32]) -> f32 {
    let out = &mut out[..kind.words(x.len())];
    if let Some(last) = out.last_mut() {
        *last = 0;
    }
    match kind {
        Kind::F32 => {
            out.copy_from_slice(bytemuck::cast_slice(x));
            1.0
        }
        Kind::Bf16 => {
            bf16(path, x, bytemuck::cast_slice_mut(out));
            1.0
        }
        Kind::Int8 => bytes(path, x, bytemuck::cast_slice_mut(out)),
    }
}

/// The bits of the nearest bf16, ties to even; NaN stays NaN.
#[inline(always)]
pub(crate) fn bf16_bits(v: f32) -> u16 {
    let bits = v.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    let is_nan = bits & 0x7fff_ffff > 0x7f80_0000;
    (if is_nan { bits | 0x0040_0000 } else { rounded } >> 16) as u16
}

/// The value of a bf16.
#[inline(always)]
pub(crate) fn bf16_value(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

#[inline(always)]
fn bf16_body<I: Isa>(x: &[f32], out: &mut [u16]) {
    let out = &mut out[..x.len()];
    for i in 0..x.len() {
        out[i] = bf16_bits(x[i]);
    }
}

/// Largest magnitude; infinity and NaN win, NaN over infinity.
#[inline(always)]
pub(crate) fn largest_magnitude(x: &[f32]) -> f32 {
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
    f32::from_bits(lanes.into_iter().fold(0, i32::max) as u32)
}

/// (step, 1 / step) for numbers whose largest magnitude `max` becomes `steps`. An infinite or NaN `max` makes the step
/// so, and through it every result that the step takes part in.
#[inline(always)]
pub(crate) fn step_of(max: f32, steps: f32) -> (f32, f32) {
    // Below this, steps / max overflows; such numbers are as good as zero.
    if max < 1e-33 {
        (0.0, 0.0)
    } else {
        (max / steps, steps / max)
    }
}

/// q + 128 for one value; two roundings on every path.
#[inline(always)]
pub(crate) fn byte(v: f32, inv_step: f32) -> u8 {
    ((v * inv_step + ROUND).to_bits() as u8).wrapping_add(128)
}

/// What of a sum over `bytes` is due to the other side being stored as q + 128.
pub(crate) fn surplus(bytes: &[i8]) -> i32 {
    128 * bytes.iter().map(|&v| i32::from(v)).sum::<i32>()
}

#[inline(always)]
fn bytes_body<I: Isa>(x: &[f32], out: &mut [u8]) -> f32 {
    let (step, inv_step) = step_of(largest_magnitude(x), 127.0);
    let out = &mut out[..x.len()];
    for i in 0..x.len() {
        out[i] = byte(x[i], inv_step);
    }
    step
}

#[inline(always)]
fn signed_body<I: Isa>(x: &[f32], out: &mut [i8]) -> f32 {
    let (step, inv_step) = step_of(largest_magnitude(x), 127.0);
    let out = &mut out[..x.len()];
    for i in 0..x.len() {
        out[i] = byte(x[i], inv_step).wrapping_sub(128) as i8;
    }
    step
}

on_path! { fn bf16(x: &[f32], out: &mut [u16]) = bf16_body }
on_path! { fn bytes(x: &[f32], out: &mut [u8]) -> f32 = bytes_body }
on_path! {
    /// Quantises one column of weights to signed bytes; returns its step.
    pub(crate) fn signed(x: &[f32], out: &mut [i8]) -> f32 = signed_body
}
