//! How the elements of a tensor lie in a file, and how they become `f32`.

mod f8;
mod plain;
mod rotation;

pub(crate) use rotation::{is_group, turn};

use crate::gguf::blocks;

/// How elements are stored. Activations are always f32; all of these occur in checkpoints.
///
/// An `F8_*` or [`Encoding::I8`] tensor may be accompanied by scales, which [`crate::Reader`] applies; the block types of GGUF carry
/// theirs inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Encoding {
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 half precision.
    F16,
    /// The upper half of a single-precision float.
    Bf16,
    /// Signed byte, meaningful only with a scale.
    I8,
    /// 4 bits of exponent, 3 of fraction, no infinity.
    F8E4M3,
    /// 5 bits of exponent, 2 of fraction: the upper half of a half.
    F8E5M2,
    /// GGUF: 32 numbers of 4 bits, one scale.
    Q4_0,
    /// GGUF: 32 numbers of 4 bits, scale and minimum.
    Q4_1,
    /// GGUF: 32 numbers of 5 bits, one scale.
    Q5_0,
    /// GGUF: 32 numbers of 5 bits, scale and minimum.
    Q5_1,
    /// GGUF: 32 bytes, one scale.
    Q8_0,
    /// GGUF: 256 numbers of 2 bits, scales and minima of 16.
    Q2K,
    /// GGUF: 256 numbers of 3 bits, scales of 16.
    Q3K,
    /// GGUF: 256 numbers of 4 bits, scales and minima of 32.
    Q4K,
    /// GGUF: 256 numbers of 5 bits, scales and minima of 32.
    Q5K,
    /// GGUF: 256 numbers of 6 bits, scales of 16.
    Q6K,
}

impl Encoding {
    /// Every encoding.
    pub const ALL: [Self; 16] = [
        Self::F32,
        Self::F16,
        Self::Bf16,
        Self::I8,
        Self::F8E4M3,
        Self::F8E5M2,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q2K,
        Self::Q3K,
        Self::Q4K,
        Self::Q5K,
        Self::Q6K,
    ];

    /// The word that users read: `f32`, `int8`, `f8_e4m3`, `q4_k`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::I8 => "int8",
            Self::F8E4M3 => "f8_e4m3",
            Self::F8E5M2 => "f8_e5m2",
            Self::Q4_0 => "q4_0",
            Self::Q4_1 => "q4_1",
            Self::Q5_0 => "q5_0",
            Self::Q5_1 => "q5_1",
            Self::Q8_0 => "q8_0",
            Self::Q2K => "q2_k",
            Self::Q3K => "q3_k",
            Self::Q4K => "q4_k",
            Self::Q5K => "q5_k",
            Self::Q6K => "q6_k",
        }
    }

    /// The encoding that a file calls so: `F32`, `BF16`, `F8_E4M3`, `Q4_K`.
    pub fn of_file(name: &str) -> Option<Self> {
        match name {
            "I8" => Some(Self::I8),
            _ => Self::ALL
                .into_iter()
                .find(|encoding| *encoding != Self::I8 && encoding.name().eq_ignore_ascii_case(name)),
        }
    }

    /// Elements that are stored together, and the bytes that they take.
    pub const fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 | Self::Bf16 => (1, 2),
            Self::I8 | Self::F8E4M3 | Self::F8E5M2 => (1, 1),
            Self::Q4_0 => (32, 18),
            Self::Q4_1 => (32, 20),
            Self::Q5_0 => (32, 22),
            Self::Q5_1 => (32, 24),
            Self::Q8_0 => (32, 34),
            Self::Q2K => (256, 84),
            Self::Q3K => (256, 110),
            Self::Q4K => (256, 144),
            Self::Q5K => (256, 176),
            Self::Q6K => (256, 210),
        }
    }

    /// Bits of an element, without what a block holds besides.
    pub const fn bits(self) -> usize {
        match self {
            Self::F32 => 32,
            Self::F16 | Self::Bf16 => 16,
            Self::I8 | Self::F8E4M3 | Self::F8E5M2 | Self::Q8_0 => 8,
            Self::Q6K => 6,
            Self::Q5_0 | Self::Q5_1 | Self::Q5K => 5,
            Self::Q4_0 | Self::Q4_1 | Self::Q4K => 4,
            Self::Q3K => 3,
            Self::Q2K => 2,
        }
    }

    /// True for what holds less than 16 bits an element: weights that were rounded to save memory.
    pub const fn is_quantised(self) -> bool {
        !matches!(self, Self::F32 | Self::F16 | Self::Bf16)
    }

    /// Bytes of `elements` elements; `None` if they do not fill whole blocks or do not fit this machine.
    pub const fn size_bytes(self, elements: usize) -> Option<usize> {
        let (count, bytes) = self.block();
        if !elements.is_multiple_of(count) {
            return None;
        }
        (elements / count).checked_mul(bytes)
    }

    /// Writes the elements of `bytes` into `out`, without scales from elsewhere.
    ///
    /// **Shapes**: `out` holds whole blocks, `bytes` as many; what one of them has more than the other is left alone.
    pub fn to_f32(self, bytes: &[u8], out: &mut [f32]) {
        let (count, size) = self.block();
        let n = (out.len() / count).min(bytes.len() / size);
        let (bytes, out) = (&bytes[..n * size], &mut out[..n * count]);
        match self {
            Self::F32 => plain::f32s(bytes, out),
            Self::F16 => plain::f16s(bytes, out),
            Self::Bf16 => plain::bf16s(bytes, out),
            Self::I8 => plain::i8s(bytes, out),
            Self::F8E4M3 => f8::e4m3(bytes, out),
            Self::F8E5M2 => f8::e5m2(bytes, out),
            Self::Q4_0 => blocks::each(bytes, out, blocks::q4_0),
            Self::Q4_1 => blocks::each(bytes, out, blocks::q4_1),
            Self::Q5_0 => blocks::each(bytes, out, blocks::q5_0),
            Self::Q5_1 => blocks::each(bytes, out, blocks::q5_1),
            Self::Q8_0 => blocks::each(bytes, out, blocks::q8_0),
            Self::Q2K => blocks::each(bytes, out, blocks::q2_k),
            Self::Q3K => blocks::each(bytes, out, blocks::q3_k),
            Self::Q4K => blocks::each(bytes, out, blocks::q4_k),
            Self::Q5K => blocks::each(bytes, out, blocks::q5_k),
            Self::Q6K => blocks::each(bytes, out, blocks::q6_k),
        }
    }
}

impl std::fmt::Display for Encoding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
