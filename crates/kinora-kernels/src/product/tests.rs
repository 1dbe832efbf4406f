//! Every engine of this processor against plain sums, and the conversions in front of them.

use super::convert::{self, bf16_bits, bf16_value, to_words};
use super::*;
use crate::ending::{IntegerSums, RowEnding, finish_integers};
use crate::testing::{fast_paths, values};
use crate::{Activation, Error, Path};

/// Numbers that each kind holds exactly and whose sums are exact in any order; the extremes of bytes among them, because
/// sums of pairs of those would saturate in 16 bits.
fn left(kind: Kind, i: usize) -> f32 {
    match kind {
        Kind::F32 | Kind::Bf16 => (i * 5 % 7) as f32 - 3.0,
        Kind::Int8 => [255.0, 255.0, 0.0, 129.0, 255.0, 255.0, 1.0][i % 7],
    }
}

fn right(kind: Kind, i: usize) -> f32 {
    match kind {
        Kind::F32 | Kind::Bf16 => (i * 3 % 5) as f32 - 2.0,
        Kind::Int8 => [-128.0, 127.0, -128.0, 127.0, 3.0, -7.0][i / 2 % 6],
    }
}

fn word(kind: Kind, values: &[f32]) -> u32 {
    values.iter().enumerate().fold(0, |word, (i, &v)| {
        word | match kind {
            Kind::F32 => v.to_bits(),
            Kind::Bf16 => u32::from(bf16_bits(v)) << (16 * i),
            Kind::Int8 => (v as i32 as u32 & 0xff) << (8 * i),
        }
    })
}

fn number(kind: Kind, bits: u32) -> f64 {
    match kind {
        Kind::F32 | Kind::Bf16 => f64::from(f32::from_bits(bits)),
        Kind::Int8 => f64::from(bits as i32),
    }
}

#[test]
fn tiles_of_every_size_match_plain_sums_and_touch_nothing_else() {
    // (rows, columns, words of the segments, extra stride)
    let mut cases = vec![
        (12, 32, vec![7, 0, 5], 3),
        (5, 32, vec![], 0),
        (12, 17, vec![100], 0),
        (7, 32, vec![2; 9], 1),
    ];
    cases.extend((1..=TILE_ROWS).flat_map(|r| [(r, 32, vec![9], 0), (r, 10, vec![3, 3, 3], 1)]));
    for engine in Kind::ALL.into_iter().flat_map(Engine::all) {
        println!("{:?} {}", engine.kind(), engine.name());
        for (rows, columns, depths, extra) in &cases {
            for add in [false, true] {
                check_tile(engine, (*rows, *columns), depths, *extra, add);
            }
        }
    }
}

fn check_tile(engine: Engine, (rows, columns): (usize, usize), depths: &[usize], extra: usize, add: bool) {
    const STRIDE: usize = 40;
    let (kind, depth) = (engine.kind(), depths.iter().sum::<usize>());
    let (group, stride) = (kind.group(), depths.iter().max().unwrap_or(&0) + extra);
    let left_at = |s: usize, r: usize, k: usize| left(kind, (r * stride * group + k) * 5 + s * 3);
    let right_at = |k: usize, n: usize| right(kind, k * 3 + n);
    let words = |f: &dyn Fn(usize) -> f32, k: usize| {
        let values: Vec<f32> = (0..group).map(|i| f(k * group + i)).collect();
        word(kind, &values)
    };
    let lefts: Vec<Vec<u32>> = (0..depths.len())
        .map(|s| {
            (0..rows * stride)
                .map(|i| words(&|k| left_at(s, i / stride, k), i % stride))
                .collect()
        })
        .collect();
    let segments: Vec<_> = lefts
        .iter()
        .zip(depths)
        .map(|(words, &len)| Segment { words, len })
        .collect();
    let panel: Vec<u32> = (0..depth * PANEL)
        .map(|i| words(&|k| right_at(k, i % PANEL), i / PANEL))
        .collect();
    let untouched = match kind {
        Kind::F32 | Kind::Bf16 => 0.5f32.to_bits(),
        Kind::Int8 => 5,
    };
    let mut out = vec![untouched; rows * STRIDE + 1];
    let sums = Sums {
        words: &mut out[..(rows - 1) * STRIDE + PANEL],
        stride: STRIDE,
        add,
    };
    engine.tile((rows, columns), &segments, stride, &panel, sums);
    let case = format!("{kind:?} {} {rows}x{columns} {depths:?} add {add}", engine.name());
    for (i, &got) in out.iter().enumerate() {
        let (r, n) = (i / STRIDE, i % STRIDE);
        if r < rows && n < columns {
            let mut expected = if add { number(kind, untouched) } else { 0.0 };
            let mut k0 = 0;
            for (s, depth) in depths.iter().enumerate() {
                let product = |k| f64::from(left_at(s, r, k)) * f64::from(right_at(k0 * group + k, n));
                expected += (0..depth * group).map(product).sum::<f64>();
                k0 += depth;
            }
            assert_eq!(number(kind, got), expected, "{case} at {r},{n}");
        } else if r >= rows || n >= columns.next_multiple_of(16) {
            assert_eq!(got, untouched, "{case} wrote outside at {r},{n}");
        }
    }
}

#[test]
fn panels_hold_what_they_were_packed_from() {
    for (depth, columns) in [(1, 1), (7, 33), (512, 40)] {
        for kind in [Kind::F32, Kind::Bf16] {
            let value = |n: usize, k: usize| right(kind, n + k);
            let panels = Panels::pack(kind, depth, columns, |n, out| {
                out.iter_mut().enumerate().for_each(|(k, v)| *v = value(n, k));
            })
            .unwrap();
            let expected: Vec<f32> = (0..columns)
                .flat_map(|n| (0..depth).map(move |k| value(n, k)))
                .collect();
            assert_eq!(panels.to_columns(), expected, "{kind:?}");
        }
        let panels = Panels::pack_int8(depth, columns, |n, out| {
            out.iter_mut().enumerate().for_each(|(k, v)| *v = (n * 7 + k * 3) as i8);
            n as f32
        })
        .unwrap();
        let expected: Vec<f32> = (0..columns)
            .flat_map(|n| (0..depth).map(move |k| f32::from((n * 7 + k * 3) as i8)))
            .collect();
        assert_eq!(panels.to_columns(), expected);
        assert_eq!(panels.steps()[columns - 1], (columns - 1) as f32);
        let sum: f32 = expected[..depth].iter().sum();
        assert_eq!(panels.surplus()[0], 128 * sum as i32);
    }
}

#[test]
fn bf16_is_the_nearest_with_ties_to_even_and_nan_stays() {
    for (v, expected) in [
        (1.0, 1.0),
        (1.0 + 1.0 / 256.0, 1.0),
        (1.0 + 3.0 / 256.0, 1.0 + 4.0 / 256.0),
        (-3.15e38, -3.15e38),
        (f32::INFINITY, f32::INFINITY),
    ] {
        let got = bf16_value(bf16_bits(v));
        assert!(
            got == expected || (got / expected - 1.0).abs() < 1.0 / 256.0,
            "{v} -> {got}"
        );
    }
    assert_eq!(bf16_value(bf16_bits(1.0 + 1.0 / 256.0)), 1.0);
    assert!(bf16_value(bf16_bits(f32::from_bits(0x7f80_0001))).is_nan());
    assert!(bf16_value(bf16_bits(f32::NAN)).is_nan());
}

#[test]
fn every_path_quantises_to_the_same_bytes_within_half_a_step() {
    for (seed, n) in [(1, 1), (2, 15), (3, 512), (4, 1001)] {
        let mut x = values(seed, n);
        x[n / 2] = 1.5;
        let mut expected = vec![7; Kind::Int8.words(n)];
        let step = to_words(Path::Portable, Kind::Int8, &x, &mut expected);
        let bytes: &[u8] = bytemuck::cast_slice(&expected);
        for (&x, &q) in x.iter().zip(bytes) {
            assert!((f32::from(q) - 128.0 - x / step).abs() <= 0.5001, "{x} -> {q}");
        }
        for path in fast_paths() {
            for kind in [Kind::Int8, Kind::Bf16, Kind::F32] {
                let mut expected = vec![7; kind.words(n)];
                let step = to_words(Path::Portable, kind, &x, &mut expected);
                let mut got = vec![9; kind.words(n)];
                assert_eq!(to_words(path, kind, &x, &mut got), step, "{path} {kind:?}");
                assert_eq!(got, expected, "{path} {kind:?}");
            }
        }
    }
}

#[test]
fn zeros_stay_zero_and_infinities_and_nan_are_not_hidden() {
    let panels = Panels::pack_int8(4, 1, |_, out| {
        out.fill(5);
        0.5
    })
    .unwrap();
    for path in fast_paths() {
        let run = |x: &[f32]| {
            let (mut a, mut sums, mut out) = ([0u32; 1], [0; PANEL], [0.0]);
            let step = to_words(path, Kind::Int8, x, &mut a);
            let segment = [Segment { words: &a, len: 1 }];
            let words = Sums {
                words: &mut sums,
                stride: PANEL,
                add: false,
            };
            Engine::of(path, Kind::Int8).tile((1, 1), &segment, 1, panels.panel(0, 0), words);
            let sums = IntegerSums {
                sums: bytemuck::cast_slice(&sums),
                surplus: panels.surplus(),
                steps: panels.steps(),
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
        Panels::pack_int8((1 << 16) + 1, 1, |_, _| 1.0),
        Err(Error::Value { .. })
    ));
}

#[test]
fn a_step_of_nothing_is_nothing() {
    assert_eq!(convert::step_of(0.0, 127.0), (0.0, 0.0));
    assert_eq!(convert::step_of(254.0, 127.0), (2.0, 0.5));
}
