//! Elements that stand for themselves: single, half, bfloat16, signed bytes. `bytes` holds as many as `out`.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

pub(super) fn f32s(bytes: &[u8], out: &mut [f32]) {
    match native::<f32>(bytes) {
        Some(values) => out.copy_from_slice(values),
        None => each(bytes, out, f32::from_le_bytes),
    }
}

pub(super) fn f16s(bytes: &[u8], out: &mut [f32]) {
    match native::<f16>(bytes) {
        Some(values) => values.convert_to_f32_slice(out),
        None => each(bytes, out, |b| f16::from_le_bytes(b).to_f32()),
    }
}

pub(super) fn bf16s(bytes: &[u8], out: &mut [f32]) {
    match native::<bf16>(bytes) {
        Some(values) => values.convert_to_f32_slice(out),
        None => each(bytes, out, |b| bf16::from_le_bytes(b).to_f32()),
    }
}

/// The unscaled integers.
pub(super) fn i8s(bytes: &[u8], out: &mut [f32]) {
    each(bytes, out, |[b]: [u8; 1]| f32::from(b as i8));
}

/// The bytes as elements where they lie, if this machine is little-endian and they are aligned.
fn native<T: bytemuck::AnyBitPattern>(bytes: &[u8]) -> Option<&[T]> {
    if cfg!(target_endian = "little") {
        bytemuck::try_cast_slice(bytes).ok()
    } else {
        None
    }
}

pub(super) fn each<const N: usize>(bytes: &[u8], out: &mut [f32], convert: impl Fn([u8; N]) -> f32) {
    let (words, _) = bytes.as_chunks::<N>();
    for (to, &word) in out.iter_mut().zip(words) {
        *to = convert(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The IEEE definition, bit by bit: sign, exponent, fraction.
    fn plain_half(bits: u16) -> f32 {
        let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
        let exponent = i32::from(bits >> 10 & 31);
        let fraction = f32::from(bits & 1023) / 1024.0;
        sign * match exponent {
            0 => fraction * 2f32.powi(-14),
            31 if fraction == 0.0 => f32::INFINITY,
            31 => f32::NAN,
            _ => (1.0 + fraction) * 2f32.powi(exponent - 15),
        }
    }

    fn same(a: f32, b: f32) -> bool {
        a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
    }

    #[test]
    fn all_halves_and_bfloats_convert_exactly_aligned_or_not() {
        // One byte in front shifts the elements off their alignment, so both ways are taken.
        let mut bytes = vec![0_u8];
        bytes.extend((0..=u16::MAX).flat_map(u16::to_le_bytes));
        let aligned = bytes[1..].to_vec();
        for data in [&bytes[1..], &aligned[..]] {
            let mut out = vec![0.0; 65536];
            f16s(data, &mut out);
            assert!((0..=u16::MAX).all(|i| same(out[usize::from(i)], plain_half(i))));
            bf16s(data, &mut out);
            assert!((0..=u16::MAX).all(|i| same(out[usize::from(i)], f32::from_bits(u32::from(i) << 16))));
        }
    }

    #[test]
    fn floats_pass_unchanged_and_bytes_are_signed() {
        let mut bytes = vec![0_u8];
        bytes.extend(
            [1.5_f32, -0.0, f32::MIN_POSITIVE]
                .into_iter()
                .flat_map(f32::to_le_bytes),
        );
        let mut out = [0.0; 3];
        f32s(&bytes[1..], &mut out);
        assert_eq!(out.map(f32::to_bits), [1.5, -0.0, f32::MIN_POSITIVE].map(f32::to_bits));
        i8s(&[127, 128, 255], &mut out);
        assert_eq!(out, [127.0, -128.0, -1.0]);
    }
}
