//! The block types of GGUF: what one block holds and how its numbers are read.
//!
//! **Source**: the layouts of `block_*` in ggml's `ggml-common.h` and their reading in gguf-py `quants.py` (MIT; facts, not code).
//! All numbers are little endian; `d` is the scale of the block, `dmin` that of its minima, both halves.

use half::f16;

/// Decodes block after block. **Shapes**: as many blocks of `BYTES` as there are `N` elements in `out`.
pub(crate) fn each<const BYTES: usize, const N: usize>(
    bytes: &[u8],
    out: &mut [f32],
    decode: impl Fn(&[u8; BYTES], &mut [f32; N]),
) {
    let (blocks, _) = bytes.as_chunks::<BYTES>();
    let (values, _) = out.as_chunks_mut::<N>();
    for (block, values) in blocks.iter().zip(values) {
        decode(block, values);
    }
}

fn half(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// `d`, 16 bytes: low nibbles are the first 16 numbers, high ones the rest; 8 is zero.
pub(crate) fn q4_0(block: &[u8; 18], out: &mut [f32; 32]) {
    let d = half(block, 0);
    for (j, &q) in block[2..].iter().enumerate() {
        out[j] = d * (f32::from(q & 15) - 8.0);
        out[j + 16] = d * (f32::from(q >> 4) - 8.0);
    }
}

/// `d`, minimum, 16 bytes of nibbles.
pub(crate) fn q4_1(block: &[u8; 20], out: &mut [f32; 32]) {
    let (d, min) = (half(block, 0), half(block, 2));
    for (j, &q) in block[4..].iter().enumerate() {
        out[j] = d * f32::from(q & 15) + min;
        out[j + 16] = d * f32::from(q >> 4) + min;
    }
}

/// The fifth bits of 32 numbers and their nibbles. **Shapes**: `data [20]`.
fn five_bits(data: &[u8], mut take: impl FnMut(usize, f32)) {
    let high = u32::from_le_bytes([data[0], data[1], data[2], data[3]]);
    for (j, &q) in data[4..].iter().enumerate() {
        let fifth = |bit: usize| ((high >> bit & 1) << 4) as u8;
        take(j, f32::from(q & 15 | fifth(j)));
        take(j + 16, f32::from(q >> 4 | fifth(j + 16)));
    }
}

/// `d`, 32 fifth bits, 16 bytes of nibbles; 16 is zero.
pub(crate) fn q5_0(block: &[u8; 22], out: &mut [f32; 32]) {
    let d = half(block, 0);
    five_bits(&block[2..], |j, q| out[j] = d * (q - 16.0));
}

/// `d`, minimum, 32 fifth bits, 16 bytes of nibbles.
pub(crate) fn q5_1(block: &[u8; 24], out: &mut [f32; 32]) {
    let (d, min) = (half(block, 0), half(block, 2));
    five_bits(&block[4..], |j, q| out[j] = d * q + min);
}

/// `d`, 32 signed bytes.
pub(crate) fn q8_0(block: &[u8; 34], out: &mut [f32; 32]) {
    let d = half(block, 0);
    for (out, &q) in out.iter_mut().zip(&block[2..]) {
        *out = d * f32::from(q as i8);
    }
}

/// 16 bytes of (scale, minimum) nibbles, 64 bytes of four 2-bit numbers, `d`, `dmin`. Bits 2s of the bytes of each half are the
/// numbers 32s to 32s + 31 of that half.
pub(crate) fn q2_k(block: &[u8; 84], out: &mut [f32; 256]) {
    let (d, dmin) = (half(block, 80), half(block, 82));
    for (group, out) in out.chunks_exact_mut(16).enumerate() {
        let (part, shift, side) = (group / 8, group % 8 / 2 * 2, group % 2);
        let (scale, min) = (d * f32::from(block[group] & 15), dmin * f32::from(block[group] >> 4));
        let numbers = &block[16 + 32 * part + 16 * side..][..16];
        for (out, &q) in out.iter_mut().zip(numbers) {
            *out = scale * f32::from(q >> shift & 3) - min;
        }
    }
}

/// 32 bytes of third bits (bit b of byte l belongs to number 32b + l; clear takes 4 away), 64 bytes of 2-bit numbers as in
/// [`q2_k`], 16 scales of 6 bits (nibbles in 8 bytes, upper pairs in 4) with 32 as zero, `d`.
pub(crate) fn q3_k(block: &[u8; 110], out: &mut [f32; 256]) {
    let d = half(block, 108);
    let packed = &block[96..108];
    for (group, out) in out.chunks_exact_mut(16).enumerate() {
        let (part, shift, side) = (group / 8, group % 8 / 2 * 2, group % 2);
        let low = packed[group % 8] >> (4 * (group / 8)) & 15;
        let high = packed[8 + group % 4] >> (2 * (group / 4)) & 3;
        let scale = d * (f32::from(low | high << 4) - 32.0);
        let numbers = &block[32 + 32 * part + 16 * side..][..16];
        let thirds = &block[16 * side..][..16];
        for (out, (&q, &third)) in out.iter_mut().zip(numbers.iter().zip(thirds)) {
            let third = third >> (group / 2) & 1;
            *out = scale * (f32::from(q >> shift & 3) - 4.0 * f32::from(1 - third));
        }
    }
}

/// Scale and minimum of 32 numbers, 6 bits each: those of groups 0 to 3 in the lower bits of bytes 0 to 7, those of groups 4 to 7 in
/// the nibbles of bytes 8 to 11 and the upper pairs of the others.
fn scale_and_min(packed: &[u8], group: usize) -> (f32, f32) {
    let (scale, min) = if group < 4 {
        (packed[group] & 63, packed[group + 4] & 63)
    } else {
        let nibbles = packed[group + 4];
        (
            nibbles & 15 | packed[group - 4] >> 6 << 4,
            nibbles >> 4 | packed[group] >> 6 << 4,
        )
    };
    (f32::from(scale), f32::from(min))
}

/// `d`, `dmin`, 12 bytes of scales and minima, 128 bytes: 32 low nibbles are a group, the 32 high ones the next.
pub(crate) fn q4_k(block: &[u8; 144], out: &mut [f32; 256]) {
    let (d, dmin) = (half(block, 0), half(block, 2));
    for (group, out) in out.chunks_exact_mut(32).enumerate() {
        let (scale, min) = scale_and_min(&block[4..16], group);
        let (scale, min) = (d * scale, dmin * min);
        let shift = 4 * (group % 2);
        for (out, &q) in out.iter_mut().zip(&block[16 + 32 * (group / 2)..][..32]) {
            *out = scale * f32::from(q >> shift & 15) - min;
        }
    }
}

/// As [`q4_k`], with 32 bytes of fifth bits before the nibbles: bit g of byte l belongs to number l of group g.
pub(crate) fn q5_k(block: &[u8; 176], out: &mut [f32; 256]) {
    let (d, dmin) = (half(block, 0), half(block, 2));
    for (group, out) in out.chunks_exact_mut(32).enumerate() {
        let (scale, min) = scale_and_min(&block[4..16], group);
        let (scale, min) = (d * scale, dmin * min);
        let shift = 4 * (group % 2);
        let nibbles = &block[48 + 32 * (group / 2)..][..32];
        for (out, (&q, &fifths)) in out.iter_mut().zip(nibbles.iter().zip(&block[16..48])) {
            *out = scale * f32::from(q >> shift & 15 | (fifths >> group & 1) << 4) - min;
        }
    }
}

/// 128 bytes of nibbles, 64 bytes of upper pairs, 16 signed scales, `d`; 32 is zero. Each half of the numbers takes 64 nibble bytes (low
/// nibbles are its first 64) and 32 bytes of pairs (bits 2s are its numbers 32s to 32s + 31).
pub(crate) fn q6_k(block: &[u8; 210], out: &mut [f32; 256]) {
    let d = half(block, 208);
    for (run, out) in out.chunks_exact_mut(32).enumerate() {
        let (part, place) = (run / 4, run % 4);
        let nibbles = &block[64 * part + 32 * (place % 2)..][..32];
        let pairs = &block[128 + 32 * part..][..32];
        let (shift, pair) = (4 * (place / 2), 2 * place);
        for (l, out) in out.iter_mut().enumerate() {
            let scale = d * f32::from(block[192 + 2 * run + l / 16] as i8);
            let q = nibbles[l] >> shift & 15 | (pairs[l] >> pair & 3) << 4;
            *out = scale * (f32::from(q) - 32.0);
        }
    }
}
