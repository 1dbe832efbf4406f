//! Elements of a file to `f32`: half, bfloat16 and scaled bytes.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use kinora_tensor::DType;

/// Converts the little-endian elements of `bytes` into `out`; for int8 these are the unscaled integers.
///
/// **Shapes**: `bytes.len() == out.len() * dtype.size_bytes()`; the caller has checked it.
pub(crate) fn to_f32(dtype: DType, bytes: &[u8], out: &mut [f32]) {
    debug_assert_eq!(bytes.len(), out.len() * dtype.size_bytes());
    match dtype {
        DType::F32 => match native::<f32>(bytes) {
            Some(values) => out.copy_from_slice(values),
            None => each(bytes, out, f32::from_le_bytes),
        },
        DType::F16 => match native::<f16>(bytes) {
            Some(values) => values.convert_to_f32_slice(out),
            None => each(bytes, out, |b| f16::from_le_bytes(b).to_f32()),
        },
        DType::Bf16 => match native::<bf16>(bytes) {
            Some(values) => values.convert_to_f32_slice(out),
            None => each(bytes, out, |b| bf16::from_le_bytes(b).to_f32()),
        },
        // I8, the only type left.
        _ => each(bytes, out, |[b]: [u8; 1]| f32::from(b as i8)),
    }
}

/// The bytes as elements where they lie, if this machine is little-endian and they are aligned.
fn native<T: bytemuck::AnyBitPattern>(bytes: &[u8]) -> Option<&[T]> {
    if cfg!(target_endian = "little") {
        bytemuck::try_cast_slice(bytes).ok()
    } else {
        None
    }
}

fn each<const N: usize>(bytes: &[u8], out: &mut [f32], convert: impl Fn([u8; N]) -> f32) {
    let (words, _) = bytes.as_chunks::<N>();
    for (to, &word) in out.iter_mut().zip(words) {
        *to = convert(word);
    }
}

/// Multiplies each row of `values` by its scale. **Shapes**: `values [rows, *]`, `scales [rows]`.
pub(crate) fn scale_rows(values: &mut [f32], scales: &[f32]) {
    let columns = (values.len() / scales.len().max(1)).max(1);
    for (row, &scale) in values.chunks_exact_mut(columns).zip(scales) {
        row.iter_mut().for_each(|v| *v *= scale);
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
            to_f32(DType::F16, data, &mut out);
            assert!((0..=u16::MAX).all(|i| same(out[usize::from(i)], plain_half(i))));
            to_f32(DType::Bf16, data, &mut out);
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
        to_f32(DType::F32, &bytes[1..], &mut out);
        assert_eq!(out.map(f32::to_bits), [1.5, -0.0, f32::MIN_POSITIVE].map(f32::to_bits));
        to_f32(DType::I8, &[127, 128, 255], &mut out);
        assert_eq!(out, [127.0, -128.0, -1.0]);
    }

    #[test]
    fn each_row_has_its_own_scale() {
        let mut values = [1.0, 2.0, 3.0, 4.0];
        scale_rows(&mut values, &[0.5, -1.0]);
        assert_eq!(values, [0.5, 1.0, -3.0, -4.0]);
        scale_rows(&mut [], &[]);
    }
}
