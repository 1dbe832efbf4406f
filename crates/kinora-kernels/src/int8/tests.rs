//! Exact integers on every path.

use super::quantise::quantise;
use super::*;
use crate::Activation;
use crate::ending::{IntegerSums, RowEnding, finish_integers};
use crate::testing::{fast_paths, values};

fn dots() -> Vec<(Path, Dot)> {
    let dots: Vec<_> = fast_paths().into_iter().map(|p| (p, Dot::of(p))).collect();
    for dot in [Dot::Vnni512, Dot::Avx2] {
        if dots.iter().all(|(_, d)| *d != dot) {
            println!("{dot:?} not tested, this processor lacks it");
        }
    }
    dots
}

#[test]
fn tiles_are_exact_even_for_the_largest_bytes() {
    let mut cases = vec![(12, 32, 300), (1, 1, 1), (7, 17, 5)];
    cases.extend((1..=TILE_ROWS).map(|r| (r, 32, 9)));
    for ((path, dot), (rows, columns, depth)) in dots().into_iter().flat_map(|d| cases.iter().map(move |c| (d, *c))) {
        // Runs of extremes would saturate 16-bit sums of pairs.
        let weight = |k: usize, n: usize| [-128i8, 127, -128, 127, 3, -7][(k / 2 + n) % 6];
        let panels = Int8Panels::pack(depth, columns, |n, out| {
            out.iter_mut().enumerate().for_each(|(k, v)| *v = weight(k, n));
            1.0
        })
        .unwrap();
        let activation = |r: usize, k: usize| [255u8, 255, 0, 129, 255, 255, 1][(r + k) % 7];
        let (size, padded) = (dot.activation_bytes(), padded_depth(depth));
        let mut a = vec![0u8; rows * padded * size];
        for (r, k) in (0..rows).flat_map(|r| (0..depth).map(move |k| (r, k))) {
            a[(r * padded + k) * size] = activation(r, k);
        }
        let mut sums = vec![-1; rows * PANEL];
        tile(
            dot,
            (rows, columns),
            &a,
            padded * size,
            panels.panel(0),
            &mut sums,
            PANEL,
        );
        for (r, n) in (0..rows).flat_map(|r| (0..columns).map(move |n| (r, n))) {
            let expected: i32 = (0..depth)
                .map(|k| i32::from(activation(r, k)) * i32::from(weight(k, n)))
                .sum();
            assert_eq!(
                sums[r * PANEL + n],
                expected,
                "{path} {dot:?} {rows}x{columns}x{depth} at {r},{n}"
            );
        }
        let rows: Vec<i8> = (0..columns)
            .flat_map(|n| (0..depth).map(move |k| weight(k, n)))
            .collect();
        assert_eq!(panels.to_rows(), rows);
    }
}

#[test]
fn every_path_quantises_to_the_same_bytes_within_half_a_step() {
    for (seed, n) in [(1, 1), (2, 15), (3, 512), (4, 1001)] {
        let mut x = values(seed, n);
        x[n / 2] = 1.5;
        let mut expected = vec![0; padded_depth(n)];
        let step = quantise(Path::Portable, Dot::Portable, &x, &mut expected);
        for (&x, &q) in x.iter().zip(&expected) {
            assert!((f32::from(q) - 128.0 - x / step).abs() <= 0.5001, "{x} -> {q}");
        }
        for (path, dot) in dots() {
            let size = dot.activation_bytes();
            let mut got = vec![0u8; padded_depth(n) * size];
            assert_eq!(quantise(path, dot, &x, &mut got), step, "{path}");
            assert!(got.iter().step_by(size).eq(&expected), "{path} {dot:?}");
        }
    }
}

#[test]
fn zeros_stay_zero_and_infinities_and_nan_are_not_hidden() {
    let panels = Int8Panels::pack(4, 1, |_, out| {
        out.fill(5);
        0.5
    })
    .unwrap();
    for (path, dot) in dots() {
        let run = |x: &[f32]| {
            let (mut a, mut sums, mut out) = ([0u8; 16], [0; PANEL], [0.0]);
            let step = quantise(path, dot, x, &mut a);
            tile(dot, (1, 1), &a, 16, panels.panel(0), &mut sums, PANEL);
            let sums = IntegerSums {
                sums: &sums,
                surplus: panels.surplus(),
                steps: panels.scales(),
                step,
            };
            finish_integers(path, sums, &[0.0], RowEnding::Residual(Activation::None), &mut out);
            out[0]
        };
        assert_eq!(run(&[0.0; 4]), 0.0, "{path}");
        assert_eq!(run(&[1e-40, 0.0, 0.0, 0.0]), 0.0, "{path}");
        assert!((run(&[1.0, -1.0, 2.0, 0.0]) - 5.0).abs() < 0.05, "{path}");
        assert!(!run(&[f32::INFINITY, 0.0, 0.0, 1.0]).is_finite(), "{path}");
        assert!(run(&[f32::NAN, 0.0, 0.0, 1.0]).is_nan(), "{path}");
    }
}

#[test]
fn a_depth_that_could_overflow_is_refused() {
    assert!(matches!(
        Int8Panels::pack(MAX_DEPTH + 1, 1, |_, _| 1.0),
        Err(Error::Value { .. })
    ));
}
