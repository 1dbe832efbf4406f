//! Frame rates as exact fractions.

use crate::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// Frames per second as the reduced fraction `num / den`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Fps {
    /// Numerator, at least 1.
    pub num: u32,
    /// Denominator, at least 1.
    pub den: u32,
}

/// Largest numerator or denominator: twice it still fits the 32-bit timing fields of H.264 and MP4.
const MAX_TERM: u64 = 1_000_000_000;

impl Fps {
    /// A rate from a fraction, reduced.
    ///
    /// # Errors
    /// [`Error::InvalidFps`] outside 0.01 to 1000 frames a second.
    pub fn new(num: u32, den: u32) -> Result<Self> {
        Self::checked(u64::from(num), u64::from(den), &format!("{num}/{den}"))
    }

    fn checked(num: u64, den: u64, text: &str) -> Result<Self> {
        let refuse = |reason| {
            Err(Error::InvalidFps {
                text: text.chars().take(40).collect(),
                reason,
            })
        };
        if num == 0 || den == 0 {
            return refuse("is zero");
        }
        let (mut a, mut b) = (num, den);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        let (num, den) = (num / a, den / a);
        if num > MAX_TERM || den > MAX_TERM {
            return refuse("has too many digits");
        }
        if num > 1000 * den {
            return refuse("is too high");
        }
        if num * 100 < den {
            return refuse("is too low");
        }
        Ok(Self {
            num: num as u32,
            den: den as u32,
        })
    }

    /// The rate as a number.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        f64::from(self.num) / f64::from(self.den)
    }

    /// How long `frames` last, rounded to the nearest millisecond.
    #[must_use]
    pub fn duration_ms(self, frames: u64) -> u64 {
        self.ticks(frames, 1000)
    }

    /// The time at which frame `index` starts, in units of `1 / per_second`, rounded to nearest.
    #[must_use]
    pub fn ticks(self, index: u64, per_second: u32) -> u64 {
        let (num, den) = (u128::from(self.num), u128::from(self.den));
        let exact = u128::from(index) * den * u128::from(per_second);
        u64::try_from((exact + num / 2) / num).unwrap_or(u64::MAX)
    }

    /// The NTSC rate `n * 1000/1001` when the decimal text is its usual abbreviation.
    fn ntsc(value: f64) -> Option<(u64, u64)> {
        [24u64, 30, 48, 60, 120]
            .into_iter()
            .map(|n| (n * 1000, 1001))
            .find(|&(n, d)| (value - n as f64 / d as f64).abs() < 0.0051)
    }
}

impl FromStr for Fps {
    type Err = Error;

    /// Reads `24`, `23.976` (taken as 24000/1001, like 29.97, 47.952, 59.94 and 119.88), `12.5` or `30000/1001`.
    fn from_str(text: &str) -> Result<Self> {
        let t = text.trim();
        let refuse = |reason| Error::InvalidFps {
            text: t.chars().take(40).collect(),
            reason,
        };
        if t.starts_with('-') {
            return Err(refuse("is negative"));
        }
        let digits = |s: &str| -> Result<u64> {
            if s.is_empty() || !s.bytes().all(|b| b.is_ascii_digit()) {
                return Err(refuse("is not a number"));
            }
            s.parse().map_err(|_| refuse("has too many digits"))
        };
        if let Some((n, d)) = t.split_once('/') {
            return Self::checked(digits(n.trim())?, digits(d.trim())?, t);
        }
        let Some((whole, fraction)) = t.split_once('.') else {
            return Self::checked(digits(t)?, 1, t);
        };
        let fraction = fraction.trim_end_matches('0');
        if fraction.is_empty() {
            return Self::checked(digits(whole)?, 1, t);
        }
        if fraction.len() > 6 {
            return Err(refuse("has too many digits"));
        }
        let (whole, scale) = (digits(whole)?, 10u64.pow(fraction.len() as u32));
        let num = whole
            .checked_mul(scale)
            .and_then(|w| w.checked_add(digits(fraction).ok()?));
        let num = num.ok_or_else(|| refuse("is not a number"))?;
        let ntsc = (fraction.len() >= 2)
            .then(|| Self::ntsc(num as f64 / scale as f64))
            .flatten();
        let (num, den) = ntsc.unwrap_or((num, scale));
        Self::checked(num, den, t)
    }
}

impl fmt::Display for Fps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.den == 1 {
            write!(f, "{}", self.num)
        } else {
            write!(f, "{}/{}", self.num, self.den)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_spellings_are_read() {
        for (text, num, den) in [
            ("24", 24, 1),
            (" 24.0 ", 24, 1),
            ("23.976", 24000, 1001),
            ("23.98", 24000, 1001),
            ("29.97", 30000, 1001),
            ("59.94", 60000, 1001),
            ("119.88", 120_000, 1001),
            ("30000/1001", 30000, 1001),
            ("12.5", 25, 2),
            ("0.5", 1, 2),
            ("60/2", 30, 1),
        ] {
            assert_eq!(text.parse::<Fps>().unwrap(), Fps { num, den }, "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_a_hint() {
        for text in [
            "",
            "0",
            "0.0",
            "0/1",
            "1/0",
            "-24",
            "-0.5",
            "nan",
            "NaN",
            "inf",
            "1e3",
            "24fps",
            "1001",
            "99999999999999999999",
            "0.001",
            "24/",
            "/",
            "1/99999",
            "2.3456789",
            "٢٤",
            "18446744073709551615.5",
        ] {
            let e = text.parse::<Fps>().unwrap_err();
            assert!(matches!(e, Error::InvalidFps { .. }), "{text}");
            assert!(e.to_string().contains("hint:"), "{e}");
        }
    }

    #[test]
    fn durations_are_exact() {
        let ntsc = Fps::new(30000, 1001).unwrap();
        assert_eq!(ntsc.duration_ms(30000), 1_001_000);
        assert_eq!(Fps::new(24, 1).unwrap().duration_ms(49), 2042);
        assert_eq!(Fps::new(1, 100).unwrap().ticks(u64::MAX, 1000), u64::MAX);
    }
}
