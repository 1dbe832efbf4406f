//! Bits of a NAL unit's payload: Exp-Golomb numbers and emulation prevention (H.264 clauses 7.4.1 and 9.1).

/// Reads a payload from which the emulation bytes were removed; every read says whether there was enough.
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> BitReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The number of bits already read.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn bit(&mut self) -> Option<bool> {
        let byte = *self.bytes.get(self.at / 8)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Some(bit == 1)
    }

    /// The next `n` bits, at most 32.
    pub(super) fn bits(&mut self, n: u32) -> Option<u32> {
        (0..n).try_fold(0u32, |v, _| Some(v << 1 | u32::from(self.bit()?)))
    }

    pub(super) fn ue(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.bit()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        Some(((1u64 << zeros) - 1 + u64::from(self.bits(zeros)?)) as u32)
    }

    pub(super) fn se(&mut self) -> Option<i32> {
        let k = i64::from(self.ue()?);
        i32::try_from(if k % 2 == 1 { (k + 1) / 2 } else { -k / 2 }).ok()
    }
}

/// Writes bits from the highest on.
#[derive(Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    used: usize,
}

impl BitWriter {
    pub(super) fn bit(&mut self, bit: bool) {
        if self.used.is_multiple_of(8) {
            self.bytes.push(0);
        }
        if let Some(last) = self.bytes.last_mut() {
            *last |= u8::from(bit) << (7 - self.used % 8);
        }
        self.used += 1;
    }

    pub(super) fn bits(&mut self, value: u32, n: u32) {
        (0..n).rev().for_each(|i| self.bit(value >> i & 1 == 1));
    }

    pub(super) fn ue(&mut self, value: u32) {
        let v = u64::from(value) + 1;
        let length = 63 - v.leading_zeros();
        self.bits(0, length);
        (0..=length).rev().for_each(|i| self.bit(v >> i & 1 == 1));
    }

    /// Ends the payload with its stop bit.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bit(true);
        self.bytes
    }
}

/// Removes the 3 of each 0 0 3.
pub(super) fn unescape(nal: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(nal.len());
    let mut zeros = 0;
    for &b in nal {
        if zeros >= 2 && b == 3 {
            zeros = 0;
            continue;
        }
        zeros = if b == 0 { zeros + 1 } else { 0 };
        out.push(b);
    }
    out
}

/// Puts a 3 before every byte below 4 that follows two zeros.
pub(super) fn escape(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 8);
    let mut zeros = 0;
    for &b in payload {
        if zeros >= 2 && b <= 3 {
            out.push(3);
            zeros = 0;
        }
        zeros = if b == 0 { zeros + 1 } else { 0 };
        out.push(b);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive_the_round_trip() {
        let numbers = [0, 1, 2, 7, 8, 254, 255, 65_535, u32::MAX - 1];
        let mut w = BitWriter::default();
        numbers.iter().for_each(|&n| w.ue(n));
        w.bits(0x2a, 7);
        let bytes = w.finish();
        let mut r = BitReader::new(&bytes);
        for n in numbers {
            assert_eq!(r.ue(), Some(n));
        }
        assert_eq!(
            (r.bits(7), r.bit(), BitReader::new(&[0; 9]).ue()),
            (Some(0x2a), Some(true), None)
        );
        assert_eq!(
            (BitReader::new(&[0b0100_0000]).se(), BitReader::new(&[0b0110_0000]).se()),
            (Some(1), Some(-1))
        );
    }

    #[test]
    fn emulation_bytes_come_and_go() {
        let raw = [0, 0, 0, 0, 0, 1, 0, 0, 3, 0, 0, 9];
        let escaped = escape(&raw);
        assert!(!escaped.windows(3).any(|w| w[0] == 0 && w[1] == 0 && w[2] < 3));
        assert_eq!(unescape(&escaped), raw);
    }
}
