//! What is done to scores before softmax: a factor, and a term for each key.

use std::ops::Range;

use kinora_tensor::Tensor;

use super::{Counts, Extents, KEYS};
use crate::simd::{Isa, on_path};
use crate::{Error, Path, Result};

/// What is added to the scaled scores of [`attention_biased`](crate::attention_biased).
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub enum ScoreBias<'a> {
    /// Nothing.
    #[default]
    None,
    /// By distance, for each head: `[N, L+S-1]`, where the score of query l and key s takes column s - l + L - 1. Both
    /// count from 0, also under [`KeyMask::BlockCausal`](crate::KeyMask::BlockCausal). (L = 0 is taken as 1.)
    Relative(&'a Tensor),
    /// To each key, for all queries and heads of a batch entry: `[B,S]`. ln(n) makes one key weigh as much as n equal
    /// ones.
    Keys(&'a Tensor),
}

/// The factor and bias of one call, checked.
#[derive(Clone, Copy)]
pub(super) struct Scoring<'a> {
    pub(super) scale: f32,
    bias: ScoreBias<'a>,
    queries: usize,
    keys: usize,
}

impl<'a> Scoring<'a> {
    /// 1 / sqrt(D) and no bias.
    pub(super) fn plain(extents: Extents) -> Self {
        Self {
            scale: 1.0 / (extents.width as f32).sqrt(),
            bias: ScoreBias::None,
            queries: extents.queries,
            keys: extents.keys,
        }
    }

    pub(super) fn new(bias: ScoreBias<'a>, scale: f32, extents: Extents) -> Result<Self> {
        const OP: &str = "attention_biased";
        let refuse = |what, expected, got: f32| {
            Err(Error::Value {
                op: OP,
                what,
                expected,
                got: got.to_string(),
            })
        };
        if !(scale.is_finite() && scale >= 0.0) {
            return refuse("the scale", "finite and not negative", scale);
        }
        let (queries, keys) = (extents.queries, extents.keys);
        let (table, dims) = match bias {
            ScoreBias::None => (None, [0, 0]),
            ScoreBias::Relative(table) => (Some(table), [extents.heads, (queries.max(1) + keys).saturating_sub(1)]),
            ScoreBias::Keys(table) => (Some(table), [extents.batch, keys]),
        };
        if let Some(table) = table {
            if table.dims() != dims {
                return Err(table.mismatch(OP, format!("a bias of {dims:?}")).into());
            }
            if let Some(&value) = table.as_slice().iter().find(|v| !v.is_finite()) {
                return refuse("a bias", "finite (a mask hides keys)", value);
            }
        }
        Ok(Self {
            scale,
            bias,
            queries,
            keys,
        })
    }

    /// The bias of some keys for a row of the queries of all batch entries and a head.
    pub(super) fn of(&self, row: usize, head: usize, keys: Range<usize>) -> Option<&'a [f32]> {
        let (table, first) = match self.bias {
            ScoreBias::None => return None,
            ScoreBias::Relative(table) => {
                let query = row % self.queries;
                let columns = self.queries + self.keys - 1;
                (table, head * columns + self.queries - 1 - query)
            }
            ScoreBias::Keys(table) => (table, row / self.queries * self.keys),
        };
        Some(&table.as_slice()[first + keys.start..first + keys.end])
    }

    /// Scales and biases the scores of a tile of queries from `row` on and of the keys from `first` on that each row sees,
    /// in rows of [`KEYS`], and gives the factor that is left to apply: without a bias nothing is done yet.
    pub(super) fn prepare(
        &self,
        path: Path,
        row: usize,
        head: usize,
        first: usize,
        counts: &Counts,
        scores: &mut [f32],
    ) -> f32 {
        if matches!(self.bias, ScoreBias::None) {
            return self.scale;
        }
        for (i, (scores, &count)) in scores.chunks_exact_mut(KEYS).zip(counts).enumerate() {
            if count > 0
                && let Some(bias) = self.of(row + i, head, first..first + count)
            {
                scale_and_add(path, &mut scores[..count], self.scale, bias);
            }
        }
        1.0
    }
}

#[inline(always)]
fn scale_and_add_body<I: Isa>(scores: &mut [f32], scale: f32, bias: &[f32]) {
    let bias = &bias[..scores.len()];
    for i in 0..scores.len() {
        scores[i] = I::fma(scores[i], scale, bias[i]);
    }
}

on_path! { fn scale_and_add(scores: &mut [f32], scale: f32, bias: &[f32]) = scale_and_add_body }

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_paths_agree, fast_paths, nmse, tensor as random};
    use crate::{KeyMask, attention, attention_biased};

    fn tensor<const R: usize>(values: &[f32], dims: [usize; R]) -> Tensor {
        Tensor::from_slice(values, dims).unwrap()
    }

    fn scaled(mut x: Tensor, factor: f32) -> Tensor {
        x.as_mut_slice().iter_mut().for_each(|v| *v *= factor);
        x
    }

    #[test]
    fn the_column_is_key_less_query_and_the_scale_comes_before_the_bias() {
        // Two queries, three keys, one head of width 1. Scores are q k 0.5 = 1, 2, 0 for both queries.
        let q = tensor(&[1.0, 1.0], [1, 2, 1, 1]);
        let k = tensor(&[2.0, 4.0, 0.0], [1, 3, 1, 1]);
        let v = tensor(&[1.0, 10.0, 100.0], [1, 3, 1, 1]);
        // Distances -1, 0, 1, 2.
        let table = tensor(&[0.25, -1.0, 3.0, 0.5], [1, 4]);
        let weights = [[1.0 - 1.0, 2.0 + 3.0, 0.0 + 0.5], [1.0 + 0.25, 2.0 - 1.0, 0.0 + 3.0]];
        let expected = weights.map(|w: [f64; 3]| {
            let e = w.map(f64::exp);
            (e[0] + 10.0 * e[1] + 100.0 * e[2]) / (e[0] + e[1] + e[2])
        });
        for path in fast_paths().into_iter().chain([Path::Reference]) {
            let run = || attention_biased(&q, &k, &v, KeyMask::None, ScoreBias::Relative(&table), 0.5);
            let out = path.with(run).unwrap().unwrap();
            for (got, expected) in out.as_slice().iter().zip(expected) {
                assert!((f64::from(*got) / expected - 1.0).abs() < 1e-6, "{path}: {out:?}");
            }
        }
    }

    #[test]
    fn the_logarithm_of_a_number_stands_for_so_many_equal_keys() {
        let (queries, real, equal, width) = (37, 21, 491, 24);
        let q = random(1, [2, queries, 2, width]);
        let fill = |seed: u32| {
            let few = random(seed, [2, real + 1, 2, width]);
            let row = 2 * width;
            let all: Vec<f32> = few
                .as_slice()
                .chunks_exact((real + 1) * row)
                .flat_map(|entry| [entry, &entry[real * row..].repeat(equal - 1)].concat())
                .collect();
            (few, tensor(&all, [2, real + equal, 2, width]))
        };
        let ((k, all_k), (v, all_v)) = (fill(2), fill(3));
        let mut bias = Tensor::zeros([2, real + 1]).unwrap();
        for b in 0..2 {
            bias.as_mut_slice()[b * (real + 1) + real] = (equal as f32).ln();
        }
        let scale = 1.0 / (width as f32).sqrt();
        for path in fast_paths().into_iter().chain([Path::Reference]) {
            let expected = path
                .with(|| attention(&q, &all_k, &all_v, KeyMask::None))
                .unwrap()
                .unwrap();
            let run = || attention_biased(&q, &k, &v, KeyMask::None, ScoreBias::Keys(&bias), scale);
            let got = path.with(run).unwrap().unwrap();
            let error = nmse(got.as_slice(), expected.as_slice());
            assert!(error < 1e-10, "{path}: {error:e}");
        }
    }

    #[test]
    fn every_path_agrees_with_the_reference_under_every_bias_and_mask() {
        // (batch, queries, keys, heads, width, scale, size of the bias, size of the queries)
        let shapes = [
            (1, 1, 1, 1, 1, 1.0, 1.0, 1.0),
            (2, 13, 7, 3, 5, 1.0, 3.0, 1.0),
            (1, 49, 129, 2, 64, 1.0, 1.5, 1.0),
            (2, 97, 97, 2, 32, 0.125, 8.0, 8.0),
            (1, 30, 300, 1, 128, 0.0, 4.0, 1.0),
            (3, 5, 33, 2, 48, 2.5, 0.01, 1.0),
            // Scores of hundreds, and a bias of thousands that outweighs them.
            (2, 60, 257, 2, 40, 1.0, 2.0, 100.0),
            (1, 53, 260, 2, 16, 1.0, 4000.0, 10.0),
            (1, 0, 4, 1, 8, 1.0, 1.0, 1.0),
            (0, 4, 4, 1, 8, 1.0, 1.0, 1.0),
        ];
        for (i, (batch, queries, keys, heads, width, scale, bias, sharp)) in shapes.into_iter().enumerate() {
            let seed = i as u32 * 10;
            let q = scaled(random(seed, [batch, queries, heads, width]), sharp);
            let (k, v) = (
                random(seed + 1, [batch, keys, heads, width]),
                random(seed + 2, [batch, keys, heads, width]),
            );
            let relative = scaled(random(seed + 3, [heads, queries.max(1) + keys - 1]), bias);
            let by_key = scaled(random(seed + 4, [batch, keys]), bias);
            let lengths: Vec<usize> = (0..batch).map(|b| (keys * (b + 1)).div_ceil(batch + 1)).collect();
            let causal = KeyMask::BlockCausal(5);
            for mask in [KeyMask::None, KeyMask::Lengths(&lengths), causal] {
                if mask == causal && queries > keys {
                    continue;
                }
                for bias in [
                    ScoreBias::None,
                    ScoreBias::Relative(&relative),
                    ScoreBias::Keys(&by_key),
                ] {
                    let case = format!("{batch}x{queries}x{keys}x{heads}x{width} *{scale} {mask:?} {i}");
                    assert_paths_agree(&case, || attention_biased(&q, &k, &v, mask, bias, scale));
                }
            }
        }
    }

    #[test]
    fn hidden_keys_weigh_nothing_whatever_their_bias() {
        let (q, k, v) = (
            random(1, [1, 20, 2, 16]),
            random(2, [1, 70, 2, 16]),
            random(3, [1, 70, 2, 16]),
        );
        let mut bias = random(4, [1, 70]);
        let mask = KeyMask::Lengths(&[37]);
        for path in fast_paths() {
            let run = |bias: &Tensor| {
                path.with(|| attention_biased(&q, &k, &v, mask, ScoreBias::Keys(bias), 1.0))
                    .unwrap()
                    .unwrap()
            };
            let expected = run(&bias);
            bias.as_mut_slice()[37..].fill(1e30);
            assert_eq!(run(&bias).as_slice(), expected.as_slice(), "{path}");
        }
    }

    #[test]
    fn other_shapes_and_values_are_refused() {
        let (q, k) = (
            Tensor::zeros([2, 3, 4, 8]).unwrap(),
            Tensor::zeros([2, 5, 4, 8]).unwrap(),
        );
        let run = |bias: ScoreBias, scale| attention_biased(&q, &k, &k, KeyMask::None, bias, scale).map(|_| ());
        let zeros = |dims: &[usize]| Tensor::zeros(dims).unwrap();
        assert!(run(ScoreBias::Relative(&zeros(&[4, 7])), 1.0).is_ok());
        assert!(run(ScoreBias::Keys(&zeros(&[2, 5])), 0.0).is_ok());
        for dims in [&[4, 8][..], &[1, 7], &[4, 3, 5], &[28]] {
            assert!(run(ScoreBias::Relative(&zeros(dims)), 1.0).is_err(), "{dims:?}");
        }
        for dims in [&[2, 6][..], &[1, 5], &[5]] {
            assert!(run(ScoreBias::Keys(&zeros(dims)), 1.0).is_err(), "{dims:?}");
        }
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut bias = zeros(&[2, 5]);
            bias.as_mut_slice()[3] = bad;
            let error = run(ScoreBias::Keys(&bias), 1.0).unwrap_err().to_string();
            assert!(error.contains("finite"), "{error}");
            assert!(run(ScoreBias::None, bad).is_err());
        }
        assert!(run(ScoreBias::None, -1.0).is_err());
    }
}
