//! Numbers and strings one after the other, never beyond the end.

use super::value::{Kind, Value};

/// Why a header cannot be read.
pub(super) enum Stop {
    /// It ends before this position.
    Short(u64),
    /// It contradicts itself.
    Bad(String),
}

pub(super) type Read<T> = Result<T, Stop>;

pub(super) fn bad<T>(reason: impl Into<String>) -> Read<T> {
    Err(Stop::Bad(reason.into()))
}

/// Longer strings are damage: the longest real one is a chat template.
const MAX_TEXT_BYTES: u64 = 1 << 28;
/// More elements in all arrays together are damage: the longest real one is a vocabulary.
const MAX_ELEMENTS: u64 = 1 << 25;

pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Elements of arrays so far.
    elements: u64,
}

impl<'a> Cursor<'a> {
    pub const fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at, elements: 0 }
    }

    pub const fn position(&self) -> usize {
        self.at
    }

    fn take(&mut self, count: usize) -> Read<&'a [u8]> {
        let end = self.at.saturating_add(count);
        match self.bytes.get(self.at..end) {
            Some(taken) => {
                self.at = end;
                Ok(taken)
            }
            None => Err(Stop::Short(end as u64)),
        }
    }

    fn word<const N: usize>(&mut self) -> Read<[u8; N]> {
        let mut word = [0; N];
        word.copy_from_slice(self.take(N)?);
        Ok(word)
    }

    pub fn u32(&mut self) -> Read<u32> {
        self.word().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Read<u64> {
        self.word().map(u64::from_le_bytes)
    }

    /// A number of things of which each takes at least `bytes` bytes, so that a wrong one is noticed before anything is made.
    pub fn count(&mut self, bytes: usize) -> Read<usize> {
        let count = self.u64()?;
        let need = count.saturating_mul(bytes as u64).saturating_add(self.at as u64);
        if need > self.bytes.len() as u64 {
            return Err(Stop::Short(need));
        }
        Ok(count as usize) // fits: the file is in memory
    }

    pub fn text(&mut self) -> Read<String> {
        let length = self.u64()?;
        if length > MAX_TEXT_BYTES {
            return bad(format!("a string of {length} bytes"));
        }
        let taken = self.take(length as usize)?;
        match std::str::from_utf8(taken) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => bad("a string that is not UTF-8"),
        }
    }

    pub fn value(&mut self, kind: u32) -> Read<Value> {
        Ok(match Kind::of(kind) {
            Some(Kind::Array) => return self.array(),
            Some(Kind::Text) => Value::Text(self.text()?),
            Some(Kind::Bool) => Value::Bool(self.word::<1>()? != [0]),
            Some(Kind::Float(bytes)) => Value::Float(self.float(bytes)?),
            Some(Kind::Integer { bytes, signed }) => Value::Integer(self.integer(bytes, signed)?),
            None => return bad(format!("value type {kind} is unknown")),
        })
    }

    fn float(&mut self, bytes: usize) -> Read<f64> {
        Ok(match bytes {
            4 => f64::from(f32::from_le_bytes(self.word()?)),
            _ => f64::from_le_bytes(self.word()?),
        })
    }

    fn integer(&mut self, bytes: usize, signed: bool) -> Read<i64> {
        let taken = self.take(bytes)?;
        let mut word = [0; 8];
        word[..bytes].copy_from_slice(taken);
        let unused = 64 - 8 * bytes as u32;
        let value = i64::from_le_bytes(word);
        // Numbers beyond i64 occur nowhere; as u64 they would turn negative.
        Ok(if signed {
            value << unused >> unused
        } else {
            value.max(0)
        })
    }

    fn array(&mut self) -> Read<Value> {
        let number = self.u32()?;
        let kind = Kind::of(number);
        let count = self.count(match kind {
            Some(Kind::Text) => 8,
            Some(Kind::Float(bytes) | Kind::Integer { bytes, .. }) => bytes,
            _ => 1,
        })?;
        self.elements += count as u64;
        if self.elements > MAX_ELEMENTS {
            return bad(format!("arrays of more than {MAX_ELEMENTS} elements"));
        }
        Ok(match kind {
            Some(Kind::Text) => Value::Texts((0..count).map(|_| self.text()).collect::<Read<_>>()?),
            Some(Kind::Bool) => Value::Bools(self.take(count)?.iter().map(|&b| b != 0).collect()),
            Some(Kind::Float(bytes)) => Value::Floats((0..count).map(|_| self.float(bytes)).collect::<Read<_>>()?),
            Some(Kind::Integer { bytes, signed }) => {
                Value::Integers((0..count).map(|_| self.integer(bytes, signed)).collect::<Read<_>>()?)
            }
            Some(Kind::Array) => return bad("an array of arrays"),
            None => return bad(format!("value type {number} is unknown")),
        })
    }
}
