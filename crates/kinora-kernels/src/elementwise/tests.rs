//! Hand-computed values and refusals.

use super::*;
use crate::testing::{assert_paths_agree, tensor as random, values};

fn tensor(values: &[f32], dims: &[usize]) -> Tensor {
    Tensor::from_slice(values, dims).unwrap()
}

fn assert_close(got: &Tensor, expected: &[f32]) {
    assert_eq!(got.elements(), expected.len());
    for (g, e) in got.as_slice().iter().zip(expected) {
        assert!((g - e).abs() < 1e-5, "{got:?} is not {expected:?}");
    }
}

#[test]
fn layer_norm_centres_scales_and_modulates_by_the_row_of_the_token() {
    // Mean 4, variance 5: inv_std = 1/sqrt(5).
    let x = tensor(&[1.0, 3.0, 5.0, 7.0, 1.0, 3.0, 5.0, 7.0], &[2, 4]);
    let s = 5.0f32.sqrt();
    let plain = [-3.0 / s, -1.0 / s, 1.0 / s, 3.0 / s];
    assert_close(&layer_norm(&x, None, None, 0.0).unwrap(), &[plain, plain].concat());
    let y = layer_norm(&x, Some(&[1.0, 2.0, 0.0, 1.0]), Some(&[0.0, 1.0, 9.0, 0.0]), 0.0).unwrap();
    assert_close(&y, &[[plain[0], 2.0 * plain[1] + 1.0, 9.0, plain[3]]; 2].concat());
    let (shift, scale) = (
        tensor(&[0.0; 4], &[1, 4]),
        tensor(&[0.0, 0.0, 0.0, 0.0, 1.0, 1.0, -1.0, 2.0], &[2, 4]),
    );
    let (shift, scale) = (
        PerToken::new(&shift, &[0, 0]).unwrap(),
        PerToken::new(&scale, &[1, 0]).unwrap(),
    );
    let y = layer_norm_modulate(&x, shift, scale, 0.0).unwrap();
    assert_close(
        &y,
        &[&[2.0 * plain[0], 2.0 * plain[1], 0.0, 3.0 * plain[3]], &plain[..]].concat(),
    );
}

#[test]
fn rms_norm_divides_by_the_root_of_the_mean_square() {
    let x = tensor(&[3.0, 4.0], &[1, 2]);
    let r = 12.5f32.sqrt();
    assert_close(&rms_norm(x, &[1.0, 2.0], 0.0).unwrap(), &[3.0 / r, 8.0 / r]);
}

#[test]
fn rope_turns_neighbouring_pairs_by_the_angle_of_their_token() {
    // Token 0 is not turned, token 1 by a quarter turn in its first pair only; two heads.
    let x = tensor(
        &[
            1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0,
        ],
        &[1, 2, 2, 4],
    );
    let (cos, sin) = ([1.0, 1.0, 0.0, 1.0], [0.0, 0.0, 1.0, 0.0]);
    let expected = [
        1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, -2.0, 1.0, 3.0, 4.0, -6.0, 5.0, 7.0, 8.0,
    ];
    let both = rms_norm_rope(x.try_clone().unwrap(), &[1.0; 8], 0.0, &cos, &sin).unwrap();
    assert_close(&rope_interleaved(x, &cos, &sin).unwrap(), &expected);
    let rms = 25.5f32.sqrt();
    assert_close(&both, &expected.map(|v| v / rms));
}

#[test]
fn softmax_add_and_activate_have_their_textbook_values() {
    let e = std::f32::consts::E;
    let y = softmax(tensor(&[1000.0, 1001.0, -5.0, -5.0], &[2, 2])).unwrap();
    assert_close(&y, &[1.0 / (1.0 + e), e / (1.0 + e), 0.5, 0.5]);
    let y = add(tensor(&[1.0, 2.0], &[2]), &tensor(&[0.5, -2.0], &[2])).unwrap();
    assert_close(&y, &[1.5, 0.0]);
    assert_close(
        &activate(y, Activation::Silu).unwrap(),
        &[1.5 / (1.0 + (-1.5f32).exp()), 0.0],
    );
}

#[test]
fn pixels_move_as_in_pytorch() {
    let x = tensor(&[1.0, 2.0, 3.0, 4.0], &[1, 1, 2, 2]);
    let y = upsample_nearest_2x(&x).unwrap();
    assert_eq!(y.dims(), &[1, 2, 4, 2]);
    assert_eq!(y.as_slice(), &[1.0, 2.0, 1.0, 2.0, 3.0, 4.0, 3.0, 4.0].repeat(2));
    // One pixel with channels c*4 + dy*2 + dx for c = 0, 1.
    let x = tensor(&[0.0, 1.0, 2.0, 3.0, 10.0, 11.0, 12.0, 13.0], &[1, 1, 1, 8]);
    let y = pixel_shuffle(&x, 2).unwrap();
    assert_eq!(y.dims(), &[1, 2, 2, 2]);
    assert_eq!(y.as_slice(), &[0.0, 10.0, 1.0, 11.0, 2.0, 12.0, 3.0, 13.0]);
    assert_eq!(pixel_unshuffle(&y, 2).unwrap().as_slice(), x.as_slice());
}

#[test]
fn wrong_shapes_are_refused() {
    let x = || tensor(&[0.0; 8], &[1, 2, 1, 4]);
    assert!(layer_norm(&x(), Some(&[1.0]), None, 1e-6).is_err());
    assert!(rms_norm(x(), &[1.0; 8], 1e-6).is_err());
    assert!(rms_norm_rope(x(), &[1.0; 8], 1e-6, &[1.0; 4], &[0.0; 4]).is_err());
    assert!(rope_interleaved(x(), &[1.0; 4], &[0.0; 3]).is_err());
    assert!(rope_interleaved(tensor(&[0.0; 3], &[1, 1, 1, 3]), &[1.0], &[0.0]).is_err());
    assert!(add(x(), &tensor(&[0.0; 8], &[8])).is_err());
    assert!(pixel_shuffle(&x(), 3).is_err());
    assert!(pixel_shuffle(&x(), 0).is_err());
    assert!(pixel_unshuffle(&x(), 2).is_err());
    assert!(softmax(Tensor::zeros([]).unwrap()).is_err());
    let values = tensor(&[0.0; 4], &[1, 4]);
    let rows = PerToken::new(&values, &[0]).unwrap();
    assert!(layer_norm_modulate(&x(), rows, rows, 1e-6).is_err());
}

#[test]
fn every_path_agrees_with_the_reference_row_by_row() {
    for (i, (tokens, width)) in [
        (1, 1),
        (3, 5),
        (17, 16),
        (40, 100),
        (130, 512),
        (0, 8),
        (5, 0),
        (2, 1031),
    ]
    .into_iter()
    .enumerate()
    {
        let seed = i as u32 * 10;
        let mut x = random(seed, [tokens, width]);
        // Far from zero, so that a one-pass variance would cancel.
        x.as_mut_slice().iter_mut().for_each(|v| *v += 30.0);
        let (weight, bias) = (values(seed + 1, width), values(seed + 2, width));
        let table = random(seed + 3, [4, width]);
        let (first, second): (Vec<u32>, Vec<u32>) = (0..tokens as u32).map(|t| (t % 4, t / 7 % 4)).unzip();
        let case = format!("{tokens}x{width}");
        let eps = 1e-6;
        assert_paths_agree(&format!("layer_norm {case}"), || layer_norm(&x, None, None, eps));
        assert_paths_agree(&format!("layer_norm weights {case}"), || {
            layer_norm(&x, Some(&weight), Some(&bias), eps)
        });
        assert_paths_agree(&format!("modulate {case}"), || {
            layer_norm_modulate(&x, PerToken::new(&table, &first)?, PerToken::new(&table, &second)?, eps)
        });
        assert_paths_agree(&format!("rms_norm {case}"), || rms_norm(x.try_clone()?, &weight, eps));
        assert_paths_agree(&format!("softmax {case}"), || softmax(x.try_clone()?));
        assert_paths_agree(&format!("add {case}"), || add(x.try_clone()?, &x));
        for act in [
            Activation::GeluTanh,
            Activation::GeluErf,
            Activation::Silu,
            Activation::SoftClamp3,
        ] {
            assert_paths_agree(&format!("{act:?} {case}"), || {
                activate(random(seed, [tokens, width]), act)
            });
        }
    }
}

#[test]
fn every_path_agrees_with_the_reference_on_heads() {
    for (i, dims) in [
        [1, 1, 1, 2],
        [2, 5, 3, 6],
        [1, 37, 8, 64],
        [2, 20, 2, 10],
        [1, 0, 2, 4],
        [1, 3, 2, 0],
    ]
    .into_iter()
    .enumerate()
    {
        let [_, tokens, heads, width] = dims;
        let (cos, sin) = (values(1, tokens * width / 2), values(2, tokens * width / 2));
        let weight = values(3, heads * width);
        let x = || random(i as u32, dims);
        assert_paths_agree(&format!("rope {dims:?}"), || rope_interleaved(x(), &cos, &sin));
        assert_paths_agree(&format!("rms_norm_rope {dims:?}"), || {
            rms_norm_rope(x(), &weight, 1e-6, &cos, &sin)
        });
    }
}

#[test]
fn every_path_agrees_with_the_reference_on_pixels() {
    for (i, dims) in [[1, 1, 1, 1], [2, 3, 5, 4], [1, 6, 4, 12], [2, 30, 18, 3], [1, 0, 2, 4]]
        .into_iter()
        .enumerate()
    {
        let x = random(i as u32, dims);
        assert_paths_agree(&format!("upsample {dims:?}"), || upsample_nearest_2x(&x));
        if dims[3] % 4 == 0 {
            assert_paths_agree(&format!("shuffle {dims:?}"), || pixel_shuffle(&x, 2));
        }
        if dims[1] % 2 == 0 && dims[2] % 2 == 0 {
            assert_paths_agree(&format!("unshuffle {dims:?}"), || pixel_unshuffle(&x, 2));
        }
    }
}
