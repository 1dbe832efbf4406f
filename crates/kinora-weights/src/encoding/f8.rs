//! Floats of 8 bits, as tables of all 256.

use std::sync::LazyLock;

use half::f16;

/// **Source**: "FP8 Formats for Deep Learning", arXiv 2209.05433, table 1: bias 7, all ones is not a number, no infinity.
static E4M3: LazyLock<[f32; 256]> = LazyLock::new(|| {
    std::array::from_fn(|bits| {
        let (exponent, fraction) = ((bits >> 3 & 15) as i32, (bits & 7) as f32 / 8.0);
        let magnitude = match exponent {
            15 if bits & 7 == 7 => f32::NAN,
            0 => fraction * 2f32.powi(-6),
            _ => (1.0 + fraction) * 2f32.powi(exponent - 7),
        };
        if bits & 128 == 0 { magnitude } else { -magnitude }
    })
});

/// The upper half of a half.
static E5M2: LazyLock<[f32; 256]> =
    LazyLock::new(|| std::array::from_fn(|bits| f16::from_bits((bits as u16) << 8).to_f32()));

pub(super) fn e4m3(bytes: &[u8], out: &mut [f32]) {
    look_up(&E4M3, bytes, out);
}

pub(super) fn e5m2(bytes: &[u8], out: &mut [f32]) {
    look_up(&E5M2, bytes, out);
}

fn look_up(table: &[f32; 256], bytes: &[u8], out: &mut [f32]) {
    for (to, &bits) in out.iter_mut().zip(bytes) {
        *to = table[usize::from(bits)];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_the_range_are_those_of_the_standard() {
        let one = |decode: fn(&[u8], &mut [f32]), bits: u8| {
            let mut out = [0.0];
            decode(&[bits], &mut out);
            out[0]
        };
        for (bits, value) in [
            (0x7e, 448.0),
            (0x08, 0.015_625),
            (0x01, 0.001_953_125),
            (0xb8, -1.0),
            (0x3d, 1.625),
        ] {
            assert_eq!(one(e4m3, bits), value, "{bits:#x}");
        }
        assert!(one(e4m3, 0x7f).is_nan() && one(e4m3, 0xff).is_nan() && one(e5m2, 0x7e).is_nan());
        for (bits, value) in [
            (0x7b, 57344.0),
            (0x01, 1.525_878_9e-5),
            (0x7c, f32::INFINITY),
            (0xbd, -1.25),
        ] {
            assert_eq!(one(e5m2, bits), value, "{bits:#x}");
        }
        assert_eq!(one(e4m3, 0x80).to_bits(), (-0.0_f32).to_bits());
    }
}
