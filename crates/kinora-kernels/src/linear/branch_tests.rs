//! A layer with branches against the merged weights, and on every path.

use crate::testing::{assert_paths_agree, fast_paths, nmse, tensor, values};
use crate::{
    Activation, Error, Input, Linear, Path, PerToken, Precision, Result, linear, linear_gated_residual,
    linear_residual, linears,
};
use kinora_tensor::Tensor;

/// (tokens, in, out, rank): less than a tile, more than a block of rows and of columns, ranks that fill no word, nothing.
const SHAPES: [(usize, usize, usize, usize); 8] = [
    (1, 1, 1, 1),
    (13, 7, 5, 3),
    (25, 513, 33, 4),
    (97, 64, 700, 8),
    (200, 48, 16, 17),
    (2, 512, 768, 600),
    (0, 8, 4, 2),
    (131, 100, 300, 64),
];

/// Numbers of a case: the layer, and two branches with biases in the first.
struct Case {
    tokens: usize,
    inner: usize,
    outer: usize,
    weight: Vec<f32>,
    bias: Vec<f32>,
    branches: Vec<[Part; 2]>,
}

struct Part {
    weight: Vec<f32>,
    bias: Option<Vec<f32>>,
    outer: usize,
    inner: usize,
}

impl Part {
    fn new(seed: u32, outer: usize, inner: usize, bias: bool) -> Self {
        let weight = values(seed, outer * inner);
        let size = 1.0 / (inner as f32).sqrt();
        Self {
            weight: weight.into_iter().map(|v| v * size).collect(),
            bias: bias.then(|| values(seed + 1, outer)),
            outer,
            inner,
        }
    }

    fn pack(&self, precision: Precision) -> Result<Linear> {
        Linear::pack_as(&self.weight, self.bias.as_deref(), self.outer, self.inner, precision)
    }
}

impl Case {
    fn new(seed: u32, (tokens, inner, outer, rank): (usize, usize, usize, usize)) -> Self {
        let branch = |seed, rank, bias| {
            [
                Part::new(seed, rank, inner, bias),
                Part::new(seed + 9, outer, rank, bias),
            ]
        };
        let main = Part::new(seed, outer, inner, true);
        Self {
            tokens,
            inner,
            outer,
            weight: main.weight,
            bias: main.bias.unwrap_or_default(),
            branches: vec![
                branch(seed + 20, rank, true),
                branch(seed + 40, rank.div_ceil(2), false),
            ],
        }
    }

    fn pack(&self, precision: Precision, of_branches: Precision) -> Result<Linear> {
        let main = Linear::pack_as(&self.weight, Some(&self.bias), self.outer, self.inner, precision)?;
        self.branches.iter().try_fold(main, |layer, [down, up]| {
            layer.with_branch(down.pack(of_branches)?, up.pack(of_branches)?)
        })
    }

    /// One layer with W + sum of up down, made in f64.
    fn merged(&self) -> Result<Linear> {
        let mut weight: Vec<f64> = self.weight.iter().map(|&v| f64::from(v)).collect();
        let mut bias: Vec<f64> = self.bias.iter().map(|&v| f64::from(v)).collect();
        for [down, up] in &self.branches {
            for n in 0..self.outer {
                for r in 0..down.outer {
                    let factor = f64::from(up.weight[n * up.inner + r]);
                    for k in 0..self.inner {
                        weight[n * self.inner + k] += factor * f64::from(down.weight[r * self.inner + k]);
                    }
                    bias[n] += factor * down.bias.as_ref().map_or(0.0, |b| f64::from(b[r]));
                }
                bias[n] += up.bias.as_ref().map_or(0.0, |b| f64::from(b[n]));
            }
        }
        let [weight, bias] = [weight, bias].map(|v| v.into_iter().map(|v| v as f32).collect::<Vec<_>>());
        Linear::pack(&weight, Some(&bias), self.outer, self.inner)
    }
}

/// What an ending does with a layer.
type Run<'a> = (&'a str, &'a dyn Fn(&Linear) -> Result<Tensor>);

/// Runs `check` with each of the four linear functions and each kind of input.
fn with_endings(case: &Case, check: impl Fn(Run)) {
    let seed = 77;
    let x = tensor(seed, [case.tokens, case.inner]);
    let residual = tensor(seed + 1, [case.tokens, case.outer]);
    let (gates, norm) = (tensor(seed + 2, [3, case.outer]), values(seed + 3, case.inner));
    let rows: Vec<u32> = (0..case.tokens).map(|t| (t * 7 % 3) as u32).collect();
    let normed = Input::Normed {
        x: &x,
        weight: &norm,
        bias: &norm,
        eps: 1e-5,
    };
    check(("linear", &|w| linear(&x, w, Activation::GeluTanh)));
    check(("linear of a norm", &|w| linear(normed, w, Activation::None)));
    check(("residual", &|w| linear_residual(&x, w, residual.try_clone()?)));
    check(("gated", &|w| {
        linear_gated_residual(normed, w, residual.try_clone()?, PerToken::new(&gates, &rows)?)
    }));
    // One layer with branches between two without.
    check(("linears", &|w| {
        let plain = Linear::pack_as(&case.weight, None, case.outer, case.inner, w.precision())?;
        let [before, out, after] = linears(normed, [&plain, w, &plain])?;
        assert_eq!(before.as_slice(), after.as_slice());
        assert_eq!(before.as_slice(), linear(normed, &plain, Activation::None)?.as_slice());
        Ok(out)
    }));
}

#[test]
fn in_f32_a_branch_is_the_merged_weight() {
    for (i, shape) in SHAPES.into_iter().enumerate() {
        let case = Case::new(i as u32 * 100, shape);
        with_endings(&case, |(name, run)| {
            for path in Path::available() {
                let [got, merged] = [Case::pack(&case, Precision::F32, Precision::F32), case.merged()]
                    .map(|layer| path.with(|| run(&layer.unwrap())).unwrap().unwrap());
                let error = nmse(got.as_slice(), merged.as_slice());
                assert!(error < 1e-12, "{shape:?} {name} on {path}: {error:e}");
            }
        });
    }
}

#[test]
fn every_path_and_precision_agrees_with_the_reference() {
    for (i, shape) in SHAPES.into_iter().enumerate() {
        let case = Case::new(i as u32 * 100, shape);
        for precision in Precision::ALL {
            for of_branches in Precision::ALL {
                with_endings(&case, |(name, run)| {
                    let name = format!("{shape:?} {name} {precision:?} with {of_branches:?}");
                    assert_paths_agree(&name, || run(&case.pack(precision, of_branches)?));
                });
            }
        }
    }
}

#[test]
fn a_float_branch_reads_what_int8_has_not_rounded() {
    let case = Case::new(5, (64, 512, 256, 16));
    let x = tensor(9, [64, 512]);
    let run = |layer: &Linear| linear(&x, layer, Activation::None).unwrap();
    let int8 = Linear::pack_as(&case.weight, Some(&case.bias), 256, 512, Precision::Int8).unwrap();
    let zero = Linear::pack(&vec![0.0; 256 * 512], None, 256, 512).unwrap();
    let alone = case.branches.iter().fold(zero, |layer, [down, up]| {
        layer
            .with_branch(down.pack(Precision::F32).unwrap(), up.pack(Precision::F32).unwrap())
            .unwrap()
    });
    let sum = run(&int8)
        .as_slice()
        .iter()
        .zip(run(&alone).as_slice())
        .map(|(a, b)| a + b)
        .collect::<Vec<_>>();
    let both = case.pack(Precision::Int8, Precision::F32).unwrap();
    assert_eq!(both.precision(), Precision::Int8);
    let error = nmse(run(&both).as_slice(), &sum);
    assert!(error < 1e-12, "{error:e}");
}

#[test]
fn one_and_three_threads_give_the_same_bits() {
    let case = Case::new(3, (150, 700, 300, 20));
    let x = tensor(2, [150, 700]);
    for path in fast_paths() {
        let run = |count| {
            crate::set_threads(count).unwrap();
            linear(&x, &case.pack(Precision::Int8, Precision::F32)?, Activation::Silu)
        };
        let [one, three] = [1, 3].map(|count| path.with(|| run(count)).unwrap().unwrap());
        assert_eq!(one.as_slice(), three.as_slice(), "{path}");
    }
}

#[test]
fn branches_that_do_not_fit_are_refused_and_those_that_do_are_counted() {
    let layer = |outer, inner| Linear::pack(&vec![0.5; outer * inner], None, outer, inner).unwrap();
    for (down, up, what) in [
        (layer(2, 6), layer(4, 2), "the width that `down` reads"),
        (layer(2, 8), layer(4, 3), "the width that `up` reads"),
        (layer(2, 8), layer(5, 2), "the width that `up` gives"),
    ] {
        let error = layer(4, 8).with_branch(down, up).err().unwrap();
        assert!(
            matches!(&error, Error::Length { what: got, .. } if *got == what),
            "{error}"
        );
    }
    let nested = layer(2, 8).with_branch(layer(1, 8), layer(2, 1)).unwrap();
    assert!(layer(4, 8).with_branch(nested, layer(4, 2)).is_err());
    let (plain, down, up) = (layer(4, 8), layer(2, 8), layer(4, 2));
    let expected = plain.bytes() + down.bytes() + up.bytes();
    assert_eq!(plain.with_branch(down, up).unwrap().bytes(), expected);
}
