//! Counted shares and averages, with the range in which the true value probably lies.

use serde::{Deserialize, Serialize};

/// Standard deviations on either side that hold 95 % of a normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// Six decimals: more than a table shows, and few enough that JSON gives the same number back.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// So many of so many, with its Wilson 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// Right ones.
    pub right: usize,
    /// All that were asked.
    pub of: usize,
    /// `right / of`.
    pub share: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Share {
    /// Counts; `None` if nothing was asked. **Source**: Wilson (1927), without continuity correction.
    pub fn of(answers: impl IntoIterator<Item = bool>) -> Option<Self> {
        let (mut right, mut of) = (0, 0);
        for answer in answers {
            right += usize::from(answer);
            of += 1;
        }
        if of == 0 {
            return None;
        }
        let (n, share) = (of as f64, right as f64 / of as f64);
        let scale = 1.0 + Z * Z / n;
        let middle = (share + Z * Z / (2.0 * n)) / scale;
        let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt() / scale;
        Some(Self {
            right,
            of,
            share: rounded(share),
            low: rounded((middle - half).max(0.0)),
            high: rounded((middle + half).min(1.0)),
        })
    }
}

impl std::fmt::Display for Share {
    /// `83 % (76-88), 65 of 78`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [share, low, high] = [self.share, self.low, self.high].map(|v| 100.0 * v);
        write!(f, "{share:.0} % ({low:.0}-{high:.0}), {} of {}", self.right, self.of)
    }
}

/// A mean with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Average {
    /// How many values.
    pub of: usize,
    /// Their mean.
    pub mean: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Average {
    /// The mean of `values`, and 1.96 standard errors on either side; `None` without values.
    pub fn of(values: &[f64]) -> Option<Self> {
        let of = values.len();
        if of == 0 {
            return None;
        }
        let n = of as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|v| (v - mean) * (v - mean)).sum();
        let error = (squares / (n - 1.0).max(1.0) / n).sqrt();
        Some(Self {
            of,
            mean: rounded(mean),
            low: rounded(mean - Z * error),
            high: rounded(mean + Z * error),
        })
    }
}

impl std::fmt::Display for Average {
    /// `0.983 (0.981-0.985), 240`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.3} ({:.3}-{:.3}), {}", self.mean, self.low, self.high, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(right: usize, of: usize) -> Share {
        Share::of((0..of).map(|i| i < right)).unwrap()
    }

    /// Against `scipy.stats.binomtest(right, of).proportion_ci(method="wilson")`.
    #[test]
    fn intervals_are_those_of_wilson() {
        for (right, of, low, high) in [
            (8, 10, 0.490_162_471_536_641_8, 0.943_317_848_545_624_7),
            (0, 10, 0.0, 0.277_532_799_862_889_26),
            (10, 10, 0.722_467_200_137_110_9, 1.0),
            (60, 240, 0.199_446_539_171_746_5, 0.308_430_420_799_032_9),
            (1, 2, 0.094_531_205_734_230_74, 0.905_468_794_265_769_3),
        ] {
            let got = share(right, of);
            assert!(got.low == rounded(low) && got.high == rounded(high), "{got:?}");
        }
        assert_eq!(Share::of([]), None);
        assert_eq!(share(8, 10).to_string(), "80 % (49-94), 8 of 10");
    }

    #[test]
    fn averages_have_the_standard_error_of_the_mean() {
        let got = Average::of(&[1.0, 2.0, 3.0, 4.0]).unwrap();
        // The deviation is 1.29099, so the error of the mean is 0.64550.
        assert!(
            got.mean == 2.5 && (got.high - got.mean - 1.265_152).abs() < 2e-6,
            "{got:?}"
        );
        assert_eq!(Average::of(&[3.0]).unwrap().low, 3.0);
        assert_eq!(Average::of(&[]), None);
    }
}
