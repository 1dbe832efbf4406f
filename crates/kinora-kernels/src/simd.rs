//! One source for all paths: plain loops, compiled once for each instruction set.
//!
//! A kernel body is an `#[inline(always)]` function over slices, generic over [`Isa`], and its inner loops count indices
//! up to one length: adapters such as `zip` are not always inlined, and what is not inlined is compiled without the
//! instruction set of its caller. [`on_path`] wraps it in one
//! function for each instruction set, and the compiler vectorises the same loops for each. Sums are kept in
//! [`LANES`] partial sums, so that vectorising does not change their order and every path adds in the same one.

/// Partial sums of a reduction; one AVX-512 register.
pub(crate) const LANES: usize = 16;

/// What differs between instruction sets in plain Rust.
pub(crate) trait Isa {
    /// a * b + c, rounded once where the instruction set has that, else twice.
    fn fma(a: f32, b: f32, c: f32) -> f32;
}

/// Instruction sets with a fused multiply-add.
#[cfg_attr(not(any(target_arch = "x86_64", target_arch = "aarch64")), allow(dead_code))]
pub(crate) struct Fused;
/// Everything else; `f32::mul_add` would be a library call there.
pub(crate) struct Baseline;

impl Isa for Fused {
    #[inline(always)]
    fn fma(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
}

impl Isa for Baseline {
    #[inline(always)]
    fn fma(a: f32, b: f32, c: f32) -> f32 {
        if cfg!(target_arch = "aarch64") {
            a.mul_add(b, c)
        } else {
            a * b + c
        }
    }
}

/// Sum of f(v) over `values`, in [`LANES`] partial sums that are added pairwise at the end.
#[inline(always)]
pub(crate) fn sum(values: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (whole, rest) = values.as_chunks::<LANES>();
    for chunk in whole {
        for j in 0..LANES {
            lanes[j] += f(chunk[j]);
        }
    }
    for (lane, &v) in lanes.iter_mut().zip(rest) {
        *lane += f(v);
    }
    fold(lanes, |a, b| a + b)
}

/// Largest value, negative infinity if there is none.
#[inline(always)]
pub(crate) fn max(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (whole, rest) = values.as_chunks::<LANES>();
    for chunk in whole {
        for j in 0..LANES {
            lanes[j] = larger(chunk[j], lanes[j]);
        }
    }
    for (lane, &v) in lanes.iter_mut().zip(rest) {
        *lane = larger(v, *lane);
    }
    fold(lanes, larger)
}

/// `a` if it is larger, else `b`; one instruction, unlike `f32::max` with its rules for NaN.
#[inline(always)]
pub(crate) fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

#[inline(always)]
fn fold(mut lanes: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] = f(lanes[i], lanes[i + half]);
        }
        half /= 2;
    }
    lanes[0]
}

/// Defines `fn NAME(path, args..)` that runs the generic body compiled for the instruction set of `path`.
macro_rules! on_path {
    ($(#[$doc:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? = $body:ident) => {
        $(#[$doc])*
        #[cfg_attr(not(any(target_arch = "x86_64", target_arch = "aarch64")), allow(unused_variables))]
        $vis fn $name(path: crate::Path, $($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                fn avx512($($arg: $ty),*) $(-> $ret)? {
                    $body::<crate::simd::Fused>($($arg),*)
                }
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $ty),*) $(-> $ret)? {
                    $body::<crate::simd::Fused>($($arg),*)
                }
                match path {
                    // SAFETY: operations get their path from `Path::enter`, which gives none that this processor lacks.
                    crate::Path::Avx512 => return unsafe { avx512($($arg),*) },
                    // SAFETY: as above.
                    crate::Path::Avx2 => return unsafe { avx2($($arg),*) },
                    crate::Path::Neon | crate::Path::Portable | crate::Path::Reference => {}
                }
            }
            // Every 64-bit Arm target is compiled with NEON, so this needs no function of its own.
            #[cfg(target_arch = "aarch64")]
            if path == crate::Path::Neon {
                return $body::<crate::simd::Fused>($($arg),*);
            }
            $body::<crate::simd::Baseline>($($arg),*)
        }
    };
}
pub(crate) use on_path;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reductions_take_every_element_once() {
        for n in [0, 1, 15, 16, 17, 47, 64] {
            let values: Vec<f32> = (0..n).map(|i| ((i * 7) % 23) as f32 - 40.0).collect();
            assert_eq!(sum(&values, |v| v), values.iter().sum::<f32>(), "{n}");
            assert_eq!(
                max(&values),
                values.iter().copied().fold(f32::NEG_INFINITY, f32::max),
                "{n}"
            );
        }
    }
}
