//! Seeded normal noise, addressed by position.
//!
//! The value at a position is a pure function of (seed, stream, position):
//!
//! 1. `w0 w1 w2 w3 = philox4x32-10(counter = position | stream << 64, key = seed)`, low words first;
//! 2. `a = ((w1:w0 >> 11) + 1) / 2^53` in (0, 1] and `b = (w3:w2 >> 11) / 2^53` in [0, 1);
//! 3. `value = sqrt(-2 ln a) * cos(2 pi b)` (Box and Muller 1958) in f64, rounded to f32.
//!
//! `ln` and `cos` come from `libm`, in software, and `sqrt` is exact by IEEE 754: no bit depends on the machine, the
//! number of threads, or the order in which positions are filled. The 53-bit `a` reaches 8.5 standard deviations.

use kinora_tensor::{Arena, Tensor};

use crate::Result;
use crate::philox::philox;

/// Which of many independent noises of one seed: variants of a clip and parts of a longer one must differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Stream {
    /// Which of several clips for one prompt and seed.
    pub variant: u32,
    /// Which part of a clip that is made piece by piece, for example by extending it.
    pub part: u32,
}

/// Normal noise of mean 0 and variance 1 outside any arena.
///
/// **Shapes**: any; the position of an element is its index in row-major order. **Errors**: too large, no memory.
pub fn noise(seed: u64, stream: Stream, dims: impl AsRef<[usize]>) -> Result<Tensor> {
    let mut tensor = Tensor::zeros(dims)?;
    fill_noise(seed, stream, 0, tensor.as_mut_slice());
    Ok(tensor)
}

/// As [`noise`], in `arena`.
pub fn noise_in(arena: &Arena, seed: u64, stream: Stream, dims: impl AsRef<[usize]>) -> Result<Tensor> {
    let mut tensor = Tensor::zeros_in(arena, dims)?;
    fill_noise(seed, stream, 0, tensor.as_mut_slice());
    Ok(tensor)
}

/// The noise of positions `first..first + out.len()`, so that parts can be filled in any order and on any thread.
pub fn fill_noise(seed: u64, stream: Stream, first: u64, out: &mut [f32]) {
    for (position, value) in (first..).zip(out) {
        *value = normal(seed, stream, position);
    }
}

/// Positions of one step's fresh noise; the start noise has the first ones. More elements than any latents have.
const POSITIONS_A_STEP: u64 = 1 << 40;

/// The fresh noise that [`crate::Sampler::Renoise`] adds after a step, for the elements `first..first + out.len()`.
///
/// It is the noise of the same seed and stream at positions that neither the start noise nor another step uses:
/// `(step_index + 1) * 2^40 + element`. So a run that goes on from a checkpoint draws the same without a record of what
/// was drawn, and the noise of an element does not depend on which other elements are given or made.
pub fn fill_fresh_noise(seed: u64, stream: Stream, step_index: usize, first: u64, out: &mut [f32]) {
    let offset = (step_index as u64 + 1).wrapping_mul(POSITIONS_A_STEP);
    fill_noise(seed, stream, offset.wrapping_add(first), out);
}

fn normal(seed: u64, stream: Stream, position: u64) -> f32 {
    const TWO_POW_MINUS_53: f64 = 1.0 / (1_u64 << 53) as f64;
    let counter = [position as u32, (position >> 32) as u32, stream.variant, stream.part];
    let [w0, w1, w2, w3] = philox(counter, [seed as u32, (seed >> 32) as u32]);
    let join = |low: u32, high: u32| (u64::from(high) << 32 | u64::from(low)) >> 11;
    let a = (join(w0, w1) + 1) as f64 * TWO_POW_MINUS_53;
    let b = join(w2, w3) as f64 * TWO_POW_MINUS_53;
    ((-2.0 * libm::log(a)).sqrt() * libm::cos(std::f64::consts::TAU * b)) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    const N: usize = 200_000;

    fn draw(seed: u64, stream: Stream) -> Vec<f64> {
        noise(seed, stream, [N])
            .unwrap()
            .as_slice()
            .iter()
            .map(|&v| f64::from(v))
            .collect()
    }

    fn correlation(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() / N as f64
    }

    #[test]
    fn moments_and_tails_are_those_of_a_normal_distribution() {
        let values = draw(7, Stream::default());
        let moment = |k: i32| values.iter().map(|v| v.powi(k)).sum::<f64>() / N as f64;
        // Five standard errors each: of the k-th moment sqrt(var(z^k) / N).
        let standard_error = |variance: f64| 5.0 * (variance / N as f64).sqrt();
        assert!(moment(1).abs() < standard_error(1.0));
        assert!((moment(2) - 1.0).abs() < standard_error(2.0));
        assert!(moment(3).abs() < standard_error(15.0));
        assert!((moment(4) - 3.0).abs() < standard_error(96.0));
        let beyond_two = values.iter().filter(|v| v.abs() > 2.0).count() as f64 / N as f64;
        assert!((beyond_two - 0.0455).abs() < 0.0025, "{beyond_two}");
        assert!(values.iter().all(|v| v.abs() < 8.6));
    }

    #[test]
    fn neighbouring_seeds_streams_and_positions_have_nothing_in_common() {
        let base = draw(1000, Stream::default());
        let limit = 5.0 / (N as f64).sqrt();
        let others = [
            ("seed + 1", draw(1001, Stream::default())),
            ("seed + 2^32", draw(1000 + (1 << 32), Stream::default())),
            ("variant", draw(1000, Stream { variant: 1, part: 0 })),
            ("part", draw(1000, Stream { variant: 0, part: 1 })),
        ];
        for (what, other) in &others {
            let r = correlation(&base, other);
            assert!(r.abs() < limit, "{what}: {r}");
            let squares = |values: &[f64]| values.iter().map(|v| v * v - 1.0).collect::<Vec<_>>();
            let r = correlation(&squares(&base), &squares(other));
            assert!(r.abs() < 2.0 * limit, "{what}, squares: {r}");
        }
        let r = correlation(&base[1..], &base[..N - 1]);
        assert!(r.abs() < limit, "next position: {r}");
    }

    #[test]
    fn the_order_of_filling_does_not_matter() {
        let whole = noise(3, Stream { variant: 2, part: 9 }, [4, 25]).unwrap();
        let mut parts = vec![0.0; 100];
        std::thread::scope(|scope| {
            for (i, part) in parts.chunks_mut(17).enumerate().rev() {
                let first = i as u64 * 17;
                scope.spawn(move || fill_noise(3, Stream { variant: 2, part: 9 }, first, part));
            }
        });
        assert_eq!(whole.as_slice(), parts);
    }

    #[test]
    fn fresh_noise_has_positions_of_its_own_in_every_step() {
        let stream = Stream { variant: 2, part: 9 };
        let mut steps = [[0.0; 8]; 3];
        for (step_index, out) in steps.iter_mut().enumerate() {
            fill_fresh_noise(3, stream, step_index, 0, out);
        }
        let start = noise(3, stream, [8]).unwrap();
        let all = [start.as_slice(), &steps[0], &steps[1], &steps[2]];
        for (i, a) in all.iter().enumerate() {
            assert!(all[..i].iter().all(|b| a.iter().zip(*b).all(|(a, b)| a != b)), "{i}");
        }
        let mut later = [0.0; 5];
        fill_fresh_noise(3, stream, 1, 3, &mut later);
        assert_eq!(later, steps[1][3..]);
    }

    /// The bits are a promise to users: the same seed gives the same clip in the next release too.
    #[test]
    fn the_first_values_never_change() {
        let got = noise(42, Stream { variant: 1, part: 2 }, [4]).unwrap();
        let bits: Vec<u32> = got.as_slice().iter().map(|v| v.to_bits()).collect();
        assert_eq!(bits, PINNED, "{:?}", got.as_slice());
    }

    /// Computed apart from this crate, by `tools/reference/sampling.py --noise` (Python, `math.log` and `math.cos`).
    const PINNED: [u32; 4] = [0x3ebc_b36e, 0x3f54_3cab, 0xbe64_6d6a, 0xbf88_8083];
}
