//! What the tables of op tests share.

use kinora_tensor::Tensor;

use crate::{Path, Result};

/// Reproducible values in -1..1 (a linear congruential generator).
pub(crate) fn values(seed: u32, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

pub(crate) fn tensor(seed: u32, dims: impl AsRef<[usize]>) -> Tensor {
    let dims = dims.as_ref();
    Tensor::from_slice(&values(seed, dims.iter().product()), dims).unwrap()
}

/// The fast paths of this machine; those that it lacks are counted and printed, so that a green run says what it ran.
pub(crate) fn fast_paths() -> Vec<Path> {
    let (have, lack): (Vec<_>, Vec<_>) = Path::ALL
        .into_iter()
        .filter(|p| *p != Path::Reference)
        .partition(|p| p.is_available());
    if !lack.is_empty() {
        println!("{} paths not tested, this processor lacks {lack:?}", lack.len());
    }
    have
}

/// Runs `op` on the reference and on every fast path and compares; `op` packs its weights itself.
pub(crate) fn assert_paths_agree(case: &str, op: impl Fn() -> Result<Tensor>) {
    let expected = Path::Reference.with(&op).unwrap().unwrap();
    assert_eq!(Path::last_ran(), Some(Path::Reference), "{case}");
    for path in fast_paths() {
        let got = path.with(&op).unwrap().unwrap();
        assert_eq!(Path::last_ran(), Some(path), "{case}");
        assert_eq!(got.dims(), expected.dims(), "{case} on {path}");
        let error = nmse(got.as_slice(), expected.as_slice());
        assert!(
            error <= 1e-7,
            "{case} on {path}: normalised mean square error {error:e}"
        );
    }
}

/// sum((got - expected)^2) / sum(expected^2), NaN if either holds one.
pub(crate) fn nmse(got: &[f32], expected: &[f32]) -> f64 {
    let square = |f: &dyn Fn(usize) -> f64| (0..got.len()).map(|i| f(i).powi(2)).sum::<f64>();
    let error = square(&|i| f64::from(got[i]) - f64::from(expected[i]));
    let size = square(&|i| f64::from(expected[i]));
    if error == 0.0 { 0.0 } else { error / size }
}
