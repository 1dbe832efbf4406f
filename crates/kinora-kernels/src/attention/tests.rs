//! Hand-computed values and refusals.

use super::*;
use crate::set_threads;
use crate::testing::{assert_paths_agree, fast_paths, nmse, tensor as random};

/// What the fast mode may differ by (normalised mean square) on random data.
const FAST_ERROR: f64 = 5e-4;

fn tensor(values: &[f32], dims: [usize; 4]) -> Tensor {
    Tensor::from_slice(values, dims).unwrap()
}

#[test]
fn two_keys_are_mixed_by_the_logistic_function_of_their_difference() {
    // D = 4, so scores are halved: q.k = 2 and 0 -> weights e/(e+1), 1/(e+1).
    let q = tensor(&[1.0, 0.0, 0.0, 0.0], [1, 1, 1, 4]);
    let k = tensor(&[2.0, 0.0, 0.0, 0.0, 0.0, 7.0, 0.0, 0.0], [1, 2, 1, 4]);
    let v = tensor(&[1.0, 2.0, 3.0, 4.0, 0.0, 0.0, 0.0, 10.0], [1, 2, 1, 4]);
    let out = attention(&q, &k, &v, KeyMask::None).unwrap();
    let p = 1.0 / (1.0 + (-1.0f32).exp());
    let expected = [p, 2.0 * p, 3.0 * p, 4.0 * p + 10.0 * (1.0 - p)];
    for (got, expected) in out.as_slice().iter().zip(expected) {
        assert!((got - expected).abs() < 1e-6, "{out:?}");
    }
    let out = attention(&q, &k, &v, KeyMask::Lengths(&[1])).unwrap();
    assert_eq!(out.as_slice(), &[1.0, 2.0, 3.0, 4.0]);
}

#[test]
fn heads_and_batches_do_not_mix() {
    let q = Tensor::zeros([2, 1, 2, 1]).unwrap();
    let k = Tensor::zeros([2, 2, 2, 1]).unwrap();
    // Batch 0: head 0 sees 1 and 3, head 1 sees 2 and 4; batch 1 likewise with 10, 30 and 20, 40.
    let v = tensor(&[1.0, 2.0, 3.0, 4.0, 10.0, 20.0, 30.0, 40.0], [2, 2, 2, 1]);
    let out = attention(&q, &k, &v, KeyMask::None).unwrap();
    assert_eq!(out.as_slice(), &[2.0, 3.0, 20.0, 30.0]);
}

#[test]
fn wrong_shapes_and_lengths_are_refused() {
    let q = Tensor::zeros([2, 3, 1, 4]).unwrap();
    let k = Tensor::zeros([2, 5, 1, 4]).unwrap();
    let refused = |k: &Tensor, v: &Tensor, mask| attention(&q, k, v, mask).is_err();
    assert!(refused(&k, &Tensor::zeros([2, 4, 1, 4]).unwrap(), KeyMask::None));
    let other = Tensor::zeros([1, 5, 1, 4]).unwrap();
    assert!(refused(&other, &other, KeyMask::None));
    let none = Tensor::zeros([2, 0, 1, 4]).unwrap();
    assert!(refused(&none, &none, KeyMask::None));
    assert!(refused(&k, &k, KeyMask::Lengths(&[5])));
    assert!(refused(&k, &k, KeyMask::Lengths(&[5, 0])));
    assert!(refused(&k, &k, KeyMask::Lengths(&[5, 6])));
    assert!(!refused(&k, &k, KeyMask::Lengths(&[5, 1])));
}

#[test]
fn every_path_agrees_with_the_reference() {
    // (batch, queries, keys, heads, width)
    let shapes = [
        (1, 1, 1, 1, 1),
        (2, 13, 7, 3, 5),
        (1, 49, 129, 2, 64),
        (2, 97, 64, 2, 32),
        (1, 30, 300, 1, 128),
        (3, 5, 33, 2, 48),
        (1, 60, 257, 2, 40),
        (1, 0, 4, 1, 8),
        (0, 4, 4, 1, 8),
    ];
    for (i, (batch, queries, keys, heads, width)) in shapes.into_iter().enumerate() {
        let seed = i as u32 * 10;
        let mut q = random(seed, [batch, queries, heads, width]);
        // Some cases are peaked, so that rows change their largest score from block to block.
        q.as_mut_slice().iter_mut().for_each(|v| *v *= [1.0, 20.0][i % 2]);
        let (k, v) = (
            random(seed + 1, [batch, keys, heads, width]),
            random(seed + 2, [batch, keys, heads, width]),
        );
        let case = format!("{batch}x{queries}x{keys}x{heads}x{width}");
        assert_paths_agree(&case, || attention(&q, &k, &v, KeyMask::None));
        let lengths: Vec<usize> = (0..batch).map(|b| (keys * (b + 1)).div_ceil(batch + 1)).collect();
        assert_paths_agree(&format!("{case} masked"), || {
            attention(&q, &k, &v, KeyMask::Lengths(&lengths))
        });
    }
}

#[test]
fn the_fast_mode_stays_close_on_every_path() {
    // (batch, queries, keys, heads, width, sharpness of the scores)
    let shapes = [
        (1, 1, 1, 1, 1, 1.0),
        (2, 13, 7, 3, 5, 1.0),
        (1, 49, 129, 2, 64, 1.0),
        (2, 97, 64, 2, 32, 8.0),
        (1, 30, 301, 1, 128, 4.0),
        (3, 5, 33, 2, 48, 1.0),
        (1, 60, 1025, 2, 64, 20.0),
    ];
    for (i, (batch, queries, keys, heads, width, sharpness)) in shapes.into_iter().enumerate() {
        let seed = i as u32 * 10;
        let mut q = random(seed, [batch, queries, heads, width]);
        q.as_mut_slice().iter_mut().for_each(|v| *v *= sharpness);
        let (k, v) = (
            random(seed + 1, [batch, keys, heads, width]),
            random(seed + 2, [batch, keys, heads, width]),
        );
        let lengths: Vec<usize> = (0..batch).map(|b| (keys * (b + 1)).div_ceil(batch + 1)).collect();
        for mask in [KeyMask::None, KeyMask::Lengths(&lengths)] {
            let expected = Path::Reference.with(|| attention(&q, &k, &v, mask)).unwrap().unwrap();
            for path in fast_paths() {
                let got = path
                    .with(|| attention_as(&q, &k, &v, mask, AttentionMode::Fast))
                    .unwrap()
                    .unwrap();
                assert_eq!(Path::last_ran(), Some(path));
                let error = nmse(got.as_slice(), expected.as_slice());
                assert!(
                    error < FAST_ERROR,
                    "{path} {batch}x{queries}x{keys}x{heads}x{width}: {error:e}"
                );
                println!("{path} {batch}x{queries}x{keys}x{heads}x{width} *{sharpness}: {error:.1e}");
            }
        }
    }
}

#[test]
fn the_fast_mode_keeps_a_sea_of_small_weights_but_for_the_block_of_the_peak() {
    // One key scores 9 above 1000 equal ones: together those still weigh 1000 e^-9 = 0.12 of it, those of its own block
    // of 128 keys less than half a step each.
    let (mut k, mut v) = (
        Tensor::zeros([1, 1001, 1, 16]).unwrap(),
        Tensor::zeros([1, 1001, 1, 16]).unwrap(),
    );
    k.as_mut_slice()[0] = 4.0;
    v.as_mut_slice()[16..].fill(1.0);
    let mut q = Tensor::zeros([1, 1, 1, 16]).unwrap();
    q.as_mut_slice()[0] = 9.0;
    let sea = (1000.0 - 127.0) * (-9.0f64).exp();
    for path in fast_paths() {
        let out = path
            .with(|| attention_as(&q, &k, &v, KeyMask::None, AttentionMode::Fast))
            .unwrap()
            .unwrap();
        let got = f64::from(out.as_slice()[3]);
        assert!((got / (sea / (1.0 + sea)) - 1.0).abs() < 0.02, "{path}: {got}");
    }
}

#[test]
fn the_fast_mode_does_not_hide_what_is_not_a_number() {
    for bad in [f32::NAN, f32::INFINITY] {
        for (which, path) in [0, 1, 2]
            .into_iter()
            .flat_map(|w| fast_paths().into_iter().map(move |p| (w, p)))
        {
            let mut qkv = [1, 2, 3].map(|seed| random(seed, [1, 5, 1, 8]));
            qkv[which].as_mut_slice()[9] = bad;
            let [q, k, v] = &qkv;
            let out = path
                .with(|| attention_as(q, k, v, KeyMask::None, AttentionMode::Fast))
                .unwrap()
                .unwrap();
            assert!(!out.as_slice()[9].is_finite(), "{path} {bad} in {which}: {out:?}");
        }
    }
}

#[test]
fn padding_does_not_leak_even_if_it_is_not_a_number() {
    let (q, mut k, mut v) = (
        random(1, [1, 20, 2, 16]),
        random(2, [1, 70, 2, 16]),
        random(3, [1, 70, 2, 16]),
    );
    let expected = attention(&q, &k, &v, KeyMask::Lengths(&[37])).unwrap();
    k.as_mut_slice()[37 * 32..].fill(f32::NAN);
    v.as_mut_slice()[37 * 32..].fill(f32::NAN);
    for path in fast_paths() {
        let got = path
            .with(|| attention(&q, &k, &v, KeyMask::Lengths(&[37])))
            .unwrap()
            .unwrap();
        assert!(nmse(got.as_slice(), expected.as_slice()) < 1e-10, "{path}");
    }
}

#[test]
fn no_query_sees_a_later_block() {
    // (batch, queries, keys, heads, width, tokens of a block)
    let shapes = [
        (1, 6, 6, 1, 4, 2),
        (2, 100, 100, 2, 16, 30),
        (1, 60, 300, 2, 32, 50),
        (2, 7, 260, 1, 8, 300),
        (1, 150, 150, 1, 64, 1),
    ];
    for (batch, queries, keys, heads, width, block) in shapes {
        let q = random(1, [batch, queries, heads, width]);
        let (k, v) = (
            random(2, [batch, keys, heads, width]),
            random(3, [batch, keys, heads, width]),
        );
        let mask = KeyMask::BlockCausal(block);
        let case = format!("{batch}x{queries}x{keys}x{heads}x{width} blocks of {block}");
        assert_paths_agree(&case, || attention(&q, &k, &v, mask));
        let expected = Path::Reference.with(|| attention(&q, &k, &v, mask)).unwrap().unwrap();
        // The first query of the reference, by hand: only the keys up to the end of its block.
        let seen = keys.min(((keys - queries) / block + 1) * block);
        let part = |t: &Tensor| Tensor::from_slice(&t.as_slice()[..seen * heads * width], [1, seen, heads, width]);
        let first = Tensor::from_slice(&q.as_slice()[..heads * width], [1, 1, heads, width]).unwrap();
        let alone = attention(&first, &part(&k).unwrap(), &part(&v).unwrap(), KeyMask::None).unwrap();
        assert!(
            nmse(&expected.as_slice()[..heads * width], alone.as_slice()) < 1e-10,
            "{case}"
        );
        for path in fast_paths() {
            let got = path
                .with(|| attention_as(&q, &k, &v, mask, AttentionMode::Fast))
                .unwrap()
                .unwrap();
            let error = nmse(got.as_slice(), expected.as_slice());
            assert!(error < FAST_ERROR, "{path} {case}: {error:e}");
        }
    }
    let (q, k) = (
        Tensor::zeros([1, 3, 1, 4]).unwrap(),
        Tensor::zeros([1, 2, 1, 4]).unwrap(),
    );
    assert!(attention(&q, &k, &k, KeyMask::BlockCausal(1)).is_err());
    assert!(attention(&k, &q, &q, KeyMask::BlockCausal(0)).is_err());
}

#[test]
fn one_two_and_three_threads_give_the_same_bits() {
    let (q, k, v) = (
        random(1, [2, 110, 2, 32]),
        random(2, [2, 140, 2, 32]),
        random(3, [2, 140, 2, 32]),
    );
    for (path, mode) in fast_paths()
        .into_iter()
        .flat_map(|p| [(p, AttentionMode::Exact), (p, AttentionMode::Fast)])
    {
        let run = |count| {
            set_threads(count).unwrap();
            attention_as(&q, &k, &v, KeyMask::None, mode)
        };
        let [one, two, three] = [1, 2, 3].map(|count| path.with(|| run(count)).unwrap().unwrap());
        assert_eq!(one.as_slice(), two.as_slice(), "{path}");
        assert_eq!(one.as_slice(), three.as_slice(), "{path}");
    }
}

#[test]
fn one_head_as_wide_as_the_channels_of_an_autoencoder_agrees_on_every_path() {
    for width in [12, 384, 640, 1024] {
        let [q, k, v] = [1, 2, 3].map(|seed| random(seed, [1, 53, 1, width]));
        assert_paths_agree(&format!("one head of {width}"), || attention(&q, &k, &v, KeyMask::None));
    }
}
