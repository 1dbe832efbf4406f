//! Hand-computed values and refusals.

use super::*;
use crate::testing::{assert_paths_agree, fast_paths, nmse, tensor, values};
use crate::{Error, set_threads};

fn layer() -> Linear {
    Linear::pack(&[1.0, 2.0, 3.0, 4.0, -1.0, 0.5], Some(&[0.5, -20.0]), 2, 3).unwrap()
}

#[test]
fn sums_bias_and_endings_have_their_hand_computed_values() {
    let x = Tensor::from_slice(&[1.0, 1.0, 1.0, 2.0, 0.0, 2.0], [1, 2, 3]).unwrap();
    let w = layer();
    // Row sums: [6, 3.5], [8, 9]; with bias: [6.5, -16.5], [8.5, -11].
    let y = linear(&x, &w, Activation::None).unwrap();
    assert_eq!(y.dims(), &[1, 2, 2]);
    assert_eq!(y.as_slice(), &[6.5, -16.5, 8.5, -11.0]);
    assert_eq!(
        linear(&x, &w, Activation::Relu).unwrap().as_slice(),
        &[6.5, 0.0, 8.5, 0.0]
    );
    let residual = Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0], [1, 2, 2]).unwrap();
    let y = linear_residual(&x, &w, residual.try_clone().unwrap()).unwrap();
    assert_eq!(y.as_slice(), &[7.5, -14.5, 11.5, -7.0]);
    let gates = Tensor::from_slice(&[0.0, 1.0, 2.0, -1.0], [2, 2]).unwrap();
    let gate = PerToken::new(&gates, &[1, 0]).unwrap();
    let y = linear_gated_residual(&x, &w, residual, gate).unwrap();
    assert_eq!(y.as_slice(), &[14.0, 18.5, 3.0, -7.0]);
}

#[test]
fn int8_rows_are_scaled() {
    let w = Linear::pack_int8(&[1, -2, 127, 0], &[0.5, 2.0], None, 2, 2).unwrap();
    let x = Tensor::from_slice(&[1.0, 1.0], [1, 2]).unwrap();
    assert_eq!(linear(&x, &w, Activation::None).unwrap().as_slice(), &[-0.5, 254.0]);
    assert!(w.bytes() > 0 && w.in_features() == 2 && w.out_features() == 2);
}

#[test]
fn wrong_shapes_are_refused() {
    assert!(matches!(
        Linear::pack(&[1.0; 5], None, 2, 3),
        Err(Error::Length { what: "weight", .. })
    ));
    assert!(matches!(
        Linear::pack(&[1.0; 6], Some(&[0.0]), 2, 3),
        Err(Error::Length { what: "bias", .. })
    ));
    assert!(Linear::pack(&[], None, usize::MAX, 2).is_err());
    assert!(Linear::pack(&[], None, 0, 2).is_err());
    assert!(Linear::pack(&[], None, 2, 0).is_err());
    assert!(Linear::pack_int8(&[1; 6], &[1.0], None, 2, 3).is_err());
    let w = layer();
    let x = Tensor::zeros([4, 3]).unwrap();
    assert!(linear(&Tensor::zeros([4, 2]).unwrap(), &w, Activation::None).is_err());
    assert!(linear(&Tensor::zeros([]).unwrap(), &w, Activation::None).is_err());
    assert!(linear_residual(&x, &w, Tensor::zeros([4, 3]).unwrap()).is_err());
    let gates = Tensor::zeros([1, 2]).unwrap();
    assert!(PerToken::new(&gates, &[0, 1]).is_err());
    let short = PerToken::new(&gates, &[0; 3]).unwrap();
    assert!(linear_gated_residual(&x, &w, Tensor::zeros([4, 2]).unwrap(), short).is_err());
}

#[test]
fn no_tokens_give_no_tokens() {
    let y = linear(&Tensor::zeros([2, 0, 3]).unwrap(), &layer(), Activation::Silu).unwrap();
    assert_eq!(y.dims(), &[2, 0, 2]);
}

/// (tokens, in, out): real shapes cut short, odd sizes, more than one block of K, of rows and of columns, nothing.
const SHAPES: [(usize, usize, usize); 14] = [
    (1, 1, 1),
    (13, 7, 5),
    (12, 512, 32),
    (25, 513, 33),
    (97, 64, 257),
    (200, 48, 16),
    (3, 1025, 15),
    (2, 512, 768),
    (100, 384, 512),
    (31, 2048, 64),
    (0, 8, 4),
    (1, 300, 1000),
    (11, 31, 100),
    (109, 100, 300),
];

#[test]
fn every_path_and_ending_agrees_with_the_reference() {
    let acts = [
        Activation::None,
        Activation::GeluTanh,
        Activation::GeluErf,
        Activation::Silu,
        Activation::Relu,
    ];
    for (i, (tokens, inner, outer)) in SHAPES.into_iter().enumerate() {
        let seed = i as u32 * 10;
        let (weight, bias) = (values(seed, outer * inner), values(seed + 1, outer));
        let bias = (i % 3 != 0).then_some(bias.as_slice());
        let pack = || Linear::pack(&weight, bias, outer, inner);
        let (x, residual) = (tensor(seed + 2, [tokens, inner]), tensor(seed + 3, [tokens, outer]));
        let gates = tensor(seed + 4, [3, outer]);
        let rows: Vec<u32> = (0..tokens).map(|t| (t * 7 % 3) as u32).collect();
        let case = format!("{tokens}x{inner}x{outer}");
        assert_paths_agree(&case, || linear(&x, &pack()?, acts[i % acts.len()]));
        assert_paths_agree(&format!("{case} residual"), || {
            linear_residual(&x, &pack()?, residual.try_clone()?)
        });
        assert_paths_agree(&format!("{case} gated"), || {
            let gate = PerToken::new(&gates, &rows)?;
            linear_gated_residual(&x, &pack()?, residual.try_clone()?, gate)
        });
        let (int8, scales): (Vec<_>, _) = (
            weight.iter().map(|w| (w * 127.0) as i8).collect(),
            values(seed + 5, outer),
        );
        for precision in Precision::ALL {
            assert_paths_agree(&format!("{case} {precision:?}"), || {
                let w = Linear::pack_as(&weight, bias, outer, inner, precision)?;
                linear(&x, &w, acts[i % acts.len()])
            });
            assert_paths_agree(&format!("{case} from int8 to {precision:?}"), || {
                let w = Linear::pack_int8_as(&int8, &scales, bias, outer, inner, precision)?;
                linear_residual(&x, &w, residual.try_clone()?)
            });
        }
    }
}

#[test]
fn a_norm_on_the_way_in_is_the_norm_before() {
    for (tokens, width) in [(1, 1), (30, 70), (130, 512)] {
        let x = tensor(1, [tokens, width]);
        let (weight, bias) = (values(2, width), values(3, width));
        let table = tensor(4, [2, width]);
        let rows: Vec<u32> = (0..tokens).map(|t| (t % 2) as u32).collect();
        let weights: Vec<_> = [5, 6, 7].map(|seed| values(seed, 40 * width)).into();
        for precision in Precision::ALL {
            let pack = || {
                weights
                    .iter()
                    .map(|w| Linear::pack_as(w, None, 40, width, precision))
                    .collect::<Result<Vec<_>>>()
            };
            let inputs = |which: usize| -> Result<(Input<'_>, Tensor)> {
                let eps = 1e-6;
                let rows = PerToken::new(&table, &rows)?;
                let (weight, bias) = (weight.as_slice(), bias.as_slice());
                Ok(match which {
                    0 => (Input::Plain(&x), x.try_clone()?),
                    1 => {
                        let (x, shift, scale) = (&x, rows, rows);
                        let input = Input::Modulated { x, shift, scale, eps };
                        (input, crate::layer_norm_modulate(x, rows, rows, eps)?)
                    }
                    _ => {
                        let x = &x;
                        let input = Input::Normed { x, weight, bias, eps };
                        (input, crate::layer_norm(x, Some(weight), Some(bias), eps)?)
                    }
                })
            };
            for which in 0..3 {
                let case = format!("{tokens}x{width} {precision:?} input {which}");
                assert_paths_agree(&case, || {
                    let (layers, (input, before)) = (pack()?, inputs(which)?);
                    let outs = linears(input, [&layers[0], &layers[1], &layers[2]])?;
                    let mut joined = Tensor::zeros([3, tokens, 40])?;
                    for ((out, layer), joined) in outs
                        .iter()
                        .zip(&layers)
                        .zip(joined.as_mut_slice().chunks_exact_mut(tokens * 40))
                    {
                        let apart = linear(&before, layer, Activation::None)?;
                        assert_eq!(out.as_slice(), apart.as_slice(), "{case}");
                        joined.copy_from_slice(out.as_slice());
                    }
                    Ok(joined)
                });
            }
        }
    }
}

#[test]
fn layers_of_different_precisions_do_not_share_an_input() {
    let x = tensor(1, [3, 8]);
    let [a, b] = [Precision::F32, Precision::Int8].map(|p| Linear::pack_as(&[0.5; 32], None, 4, 8, p).unwrap());
    assert!(linears(&x, [&a, &b]).is_err());
    assert!(linears(&x, [&a, &a]).is_ok());
    let (short, x) = (values(1, 7), &x);
    let (weight, bias) = (short.as_slice(), short.as_slice());
    let eps = 1e-6;
    assert!(linear(Input::Normed { x, weight, bias, eps }, &a, Activation::None).is_err());
}

#[test]
fn bf16_stays_near_f32_and_is_half_of_its_size() {
    let (weight, x) = (values(1, 256 * 512), tensor(2, [64, 512]));
    let [f32, bf16] = [Precision::F32, Precision::Bf16].map(|p| Linear::pack_as(&weight, None, 256, 512, p).unwrap());
    assert_eq!(bf16.precision(), Precision::Bf16);
    assert!(bf16.bytes() * 19 < f32.bytes() * 10);
    let [exact, near] = [&f32, &bf16].map(|w| linear(&x, w, Activation::None).unwrap());
    let error = nmse(near.as_slice(), exact.as_slice());
    assert!((1e-7..1e-5).contains(&error), "{error:e}");
}

#[test]
fn int8_stays_near_f32_and_is_a_quarter_of_its_size() {
    let (weight, x) = (values(1, 256 * 512), tensor(2, [64, 512]));
    let f32 = Linear::pack(&weight, None, 256, 512).unwrap();
    let int8 = Linear::pack_as(&weight, None, 256, 512, Precision::Int8).unwrap();
    assert_eq!((f32.precision(), int8.precision()), (Precision::F32, Precision::Int8));
    assert!(int8.bytes() * 3 < f32.bytes());
    let [exact, near] = [&f32, &int8].map(|w| linear(&x, w, Activation::None).unwrap());
    let error = nmse(near.as_slice(), exact.as_slice());
    assert!((1e-6..1e-4).contains(&error), "{error:e}");
    assert!(Linear::pack_as(&weight, None, 256, 511, Precision::Int8).is_err());
    assert!(Linear::pack_int8_as(&[0; 6], &[1.0], None, 2, 3, Precision::Int8).is_err());
}

#[test]
fn one_two_and_three_threads_give_the_same_bits() {
    let (weight, x) = (values(1, 300 * 700), tensor(2, [150, 700]));
    let cases = fast_paths()
        .into_iter()
        .flat_map(|p| Precision::ALL.map(|precision| (p, precision)));
    for (path, precision) in cases {
        let run = |count| {
            set_threads(count).unwrap();
            let w = Linear::pack_as(&weight, None, 300, 700, precision)?;
            linear(&x, &w, Activation::GeluTanh)
        };
        let [one, two, three] = [1, 2, 3].map(|count| path.with(|| run(count)).unwrap().unwrap());
        assert_eq!(one.as_slice(), two.as_slice(), "{path}");
        assert_eq!(one.as_slice(), three.as_slice(), "{path}");
    }
}

#[test]
fn weights_packed_for_one_path_work_on_every_other() {
    let (weight, x) = (values(1, 20 * 30), tensor(2, [5, 30]));
    for precision in Precision::ALL {
        let packed = |path: Path| {
            path.with(|| Linear::pack_as(&weight, None, 20, 30, precision))
                .unwrap()
                .unwrap()
        };
        let run = |path: Path, w: &Linear| path.with(|| linear(&x, w, Activation::None)).unwrap().unwrap();
        for path in Path::available() {
            let [own, other] = [path, Path::Reference].map(|p| run(path, &packed(p)));
            assert_eq!(own.as_slice(), other.as_slice(), "{path} {precision:?}");
            assert_eq!(Path::last_ran(), Some(path));
        }
    }
}
