//! A small probe of what the arithmetic units of this machine can do, as the yardstick of benchmarks.

use std::hint::black_box;
use std::time::Instant;

use crate::simd::{Isa, on_path};
use crate::threads::{for_each, threads};
use crate::{Path, Result};

/// Independent chains: enough to hide the latency of a multiply-add on two units, few enough for 16 registers.
const CHAINS: usize = 10;

/// The f32 rate of all threads on registers only, in GFLOP/s (a multiply-add counts as two), for the instruction set
/// of the active path. Takes about a tenth of a second; the best of several tries counts, so that other load on the
/// machine lowers it little.
///
/// **Errors**: those of [`Path::active`].
pub fn peak_f32() -> Result<f64> {
    let path = Path::active()?;
    let per_call = |steps: usize| steps as f64 * flops(path);
    Ok(best_rate(per_call, move |steps| {
        #[cfg(target_arch = "x86_64")]
        match path {
            // SAFETY: `Path::active` gives none that this processor lacks.
            Path::Avx512 => return unsafe { x86::avx512(steps) },
            // SAFETY: as above.
            Path::Avx2 => return unsafe { x86::avx2(steps) },
            _ => {}
        }
        portable(path, steps)
    }))
}

fn flops(path: Path) -> f64 {
    let width = match path {
        Path::Avx512 => 16,
        Path::Avx2 => 8,
        _ => 4,
    };
    (2 * CHAINS * width) as f64
}

/// Best of several tries of `work(steps)` on all threads at once, in billions of `operations(steps)` per second.
pub(crate) fn best_rate(operations: impl Fn(usize) -> f64, work: impl Fn(usize) -> f32 + Sync + Send) -> f64 {
    const STEPS: usize = 4_000_000;
    let workers = threads();
    let mut best = 0.0f64;
    for _ in 0..5 {
        let start = Instant::now();
        for_each((0..workers).collect(), |_: usize| {
            black_box(work(black_box(STEPS)));
        });
        best = best.max(operations(STEPS) * workers as f64 / start.elapsed().as_secs_f64() / 1e9);
    }
    best
}

#[inline(always)]
fn portable_body<I: Isa>(steps: usize) -> f32 {
    let (a, b) = (black_box([0.999f32; 4]), black_box([0.001f32; 4]));
    let mut sums = [(); CHAINS].map(|()| black_box([1.0f32; 4]));
    for _ in 0..steps {
        for sum in &mut sums {
            for i in 0..4 {
                sum[i] = I::fma(sum[i], a[i], b[i]);
            }
        }
    }
    sums.as_flattened().iter().sum()
}

on_path! { fn portable(steps: usize) -> f32 = portable_body }

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{CHAINS, black_box};

    #[target_feature(enable = "avx512f")]
    pub(super) fn avx512(steps: usize) -> f32 {
        let (a, b) = (_mm512_set1_ps(black_box(0.999)), _mm512_set1_ps(black_box(0.001)));
        let mut sums = [(); CHAINS].map(|()| _mm512_set1_ps(black_box(1.0)));
        for _ in 0..steps {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(*sum, a, b);
            }
        }
        sums.into_iter().map(|s| _mm512_reduce_add_ps(s)).sum()
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn avx2(steps: usize) -> f32 {
        let (a, b) = (_mm256_set1_ps(black_box(0.999)), _mm256_set1_ps(black_box(0.001)));
        let mut sums = [(); CHAINS].map(|()| _mm256_set1_ps(black_box(1.0)));
        for _ in 0..steps {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, a, b);
            }
        }
        sums.into_iter().map(|s| _mm256_cvtss_f32(s)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_gives_a_sane_rate() {
        let rate = peak_f32().unwrap();
        assert!((0.5..1e6).contains(&rate), "{rate} GFLOP/s");
    }
}
