//! A small probe of what the arithmetic units of this machine can do, as the yardstick of benchmarks.

use std::hint::black_box;
use std::time::Instant;

use crate::product::{Engine, Kind};
use crate::simd::{Isa, on_path};
use crate::threads::{for_each, threads};
use crate::{Path, Result};

/// Independent chains: enough to hide the latency of a multiply-add, on two units with 16 registers or on the four of
/// large Arm cores with 32.
const CHAINS: usize = if cfg!(target_arch = "aarch64") { 20 } else { 10 };

/// The f32 rate of all threads on registers only, in GFLOP/s (a multiply-add counts as two), for the instruction set
/// of the active path. Takes about a tenth of a second; the best of several tries counts, so that other load on the
/// machine lowers it little.
///
/// **Errors**: those of [`Path::active`].
pub fn peak_f32() -> Result<f64> {
    let mut best = 0.0f64;
    for _ in 0..5 {
        let start = Instant::now();
        let operations = probe_f32(4_000_000)?;
        best = best.max(operations / start.elapsed().as_secs_f64() / 1e9);
    }
    Ok(best)
}

/// Runs `steps` rounds of independent multiply-adds on every thread and gives the number of operations done, for
/// callers that have a better clock than the wall's.
///
/// **Errors**: those of [`Path::active`].
pub fn probe_f32(steps: usize) -> Result<f64> {
    let path = Path::active()?;
    for_each((0..threads()).collect(), |_: usize| {
        black_box(run(path, black_box(steps)));
    });
    let width = match path {
        Path::Avx512 => 16,
        Path::Avx2 => 8,
        Path::Neon | Path::Portable | Path::Reference => 4,
    };
    Ok((steps * 2 * CHAINS * width * threads()) as f64)
}

/// Like [`probe_f32`] for the byte products that int8 layers are made of; `None` where the active path has no
/// instruction for them.
///
/// **Errors**: those of [`Path::active`].
pub fn probe_int8(steps: usize) -> Result<Option<f64>> {
    let path = Path::active()?;
    let width = match path {
        Path::Avx512 => 64,
        Path::Neon => 16,
        Path::Avx2 | Path::Portable | Path::Reference => return Ok(None),
    };
    if !Engine::of(path, Kind::Int8).is_native() {
        return Ok(None);
    }
    for_each((0..threads()).collect(), |_: usize| {
        // SAFETY: the engine of this path is native, so there are no instructions that this processor lacks.
        #[cfg(target_arch = "x86_64")]
        black_box(unsafe { x86::vnni512(black_box(steps)) });
        // SAFETY: as above; processors with i8mm have dotprod too.
        #[cfg(target_arch = "aarch64")]
        black_box(unsafe { arm::dotprod(black_box(steps)) });
    });
    Ok(Some((steps * 2 * CHAINS * width * threads()) as f64))
}

fn run(path: Path, steps: usize) -> f32 {
    #[cfg(target_arch = "x86_64")]
    match path {
        // SAFETY: `Path::active` gives none that this processor lacks.
        Path::Avx512 => return unsafe { x86::avx512(steps) },
        // SAFETY: as above.
        Path::Avx2 => return unsafe { x86::avx2(steps) },
        Path::Neon | Path::Portable | Path::Reference => {}
    }
    #[cfg(target_arch = "aarch64")]
    if path == Path::Neon {
        // SAFETY: as above.
        return unsafe { arm::neon(steps) };
    }
    portable(path, steps)
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

    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(super) fn vnni512(steps: usize) -> i32 {
        let (a, b) = (_mm512_set1_epi32(black_box(7)), _mm512_set1_epi32(black_box(9)));
        let mut sums = [(); CHAINS].map(|()| _mm512_set1_epi32(black_box(1)));
        for _ in 0..steps {
            for sum in &mut sums {
                *sum = _mm512_dpbusd_epi32(*sum, a, b);
            }
        }
        sums.into_iter()
            .map(|s| _mm512_reduce_add_epi32(s))
            .fold(0, i32::wrapping_add)
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

#[cfg(target_arch = "aarch64")]
mod arm {
    use std::arch::aarch64::*;
    use std::arch::asm;

    use super::{CHAINS, black_box};

    #[target_feature(enable = "neon")]
    pub(super) fn neon(steps: usize) -> f32 {
        let (a, b) = (vdupq_n_f32(black_box(0.999)), vdupq_n_f32(black_box(0.001)));
        let mut sums = [(); CHAINS].map(|()| vdupq_n_f32(black_box(1.0)));
        for _ in 0..steps {
            for sum in &mut sums {
                *sum = vfmaq_f32(*sum, a, b);
            }
        }
        sums.into_iter().map(|s| vaddvq_f32(s)).sum()
    }

    #[target_feature(enable = "neon,dotprod")]
    pub(super) fn dotprod(steps: usize) -> i32 {
        let (a, b) = (vdupq_n_s8(black_box(7)), vdupq_n_s8(black_box(9)));
        let mut sums = [(); CHAINS].map(|()| vdupq_n_s32(black_box(1)));
        for _ in 0..steps {
            for sum in &mut sums {
                // SAFETY: arithmetic on registers, and this function is compiled for the feature that it needs.
                unsafe {
                    asm!("sdot {sum:v}.4s, {a:v}.16b, {b:v}.16b", sum = inout(vreg) *sum, a = in(vreg) a,
                         b = in(vreg) b, options(pure, nomem, nostack, preserves_flags));
                }
            }
        }
        sums.into_iter().map(|s| vaddvq_s32(s)).fold(0, i32::wrapping_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_gives_a_sane_rate() {
        let rate = peak_f32().unwrap();
        // Emulated processors reach hundredths of what the slowest real ones do.
        assert!((0.01..1e6).contains(&rate), "{rate} GFLOP/s");
    }
}
