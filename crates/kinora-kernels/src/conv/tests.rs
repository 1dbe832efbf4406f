//! Hand-computed values and refusals.

use super::*;
use crate::set_threads;
use crate::testing::{assert_paths_agree, fast_paths, tensor, values};

fn image(values: &[f32], dims: [usize; 4]) -> Tensor {
    Tensor::from_slice(values, dims).unwrap()
}

/// 1..=9 as a 3x3 image of one channel.
fn nine() -> Tensor {
    image(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0], [1, 3, 3, 1])
}

#[test]
fn a_box_filter_sums_neighbours_and_zeros_outside() {
    let w = Conv2d::pack(&[1.0; 9], Some(&[0.5]), 1, 1, 3, 1).unwrap();
    let y = conv2d(&nine(), &w, Activation::None).unwrap();
    assert_eq!(y.as_slice(), &[12.5, 21.5, 16.5, 27.5, 45.5, 33.5, 24.5, 39.5, 28.5]);
}

#[test]
fn taps_are_rows_then_columns_and_stride_two_takes_every_other_output() {
    // Only tap (ky, kx) = (0, 2): the pixel above and to the right.
    let mut tap = [0.0; 9];
    tap[2] = 1.0;
    let w = Conv2d::pack(&tap, None, 1, 1, 3, 1).unwrap();
    let y = conv2d(&nine(), &w, Activation::None).unwrap();
    assert_eq!(y.as_slice(), &[0.0, 0.0, 0.0, 2.0, 3.0, 0.0, 5.0, 6.0, 0.0]);
    let w = Conv2d::pack(&tap, None, 1, 1, 3, 2).unwrap();
    let y = conv2d(&nine(), &w, Activation::None).unwrap();
    assert_eq!(y.dims(), &[1, 2, 2, 1]);
    assert_eq!(y.as_slice(), &[0.0, 0.0, 5.0, 0.0]);
}

#[test]
fn one_by_one_mixes_channels_and_concat_reads_a_then_b() {
    // Output 0: 1*c0 + 10*c1 + 100*c2; output 1: -c2.
    let w = Conv2d::pack(&[1.0, 10.0, 100.0, 0.0, 0.0, -1.0], None, 2, 3, 1, 1).unwrap();
    let x = image(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1, 1, 2, 3]);
    let y = conv2d(&x, &w, Activation::None).unwrap();
    assert_eq!(y.as_slice(), &[321.0, -3.0, 654.0, -6.0]);
    let (a, b) = (
        image(&[1.0, 4.0], [1, 1, 2, 1]),
        image(&[2.0, 3.0, 5.0, 6.0], [1, 1, 2, 2]),
    );
    assert_eq!(
        conv2d_concat(&a, &b, &w, Activation::None).unwrap().as_slice(),
        y.as_slice()
    );
    let y = conv2d_residual(&x, &w, image(&[0.0, 5.0, 0.0, 5.0], [1, 1, 2, 2]), Activation::Relu).unwrap();
    assert_eq!(y.as_slice(), &[321.0, 2.0, 654.0, 0.0]);
}

#[test]
fn an_image_enlarged_on_the_way_in_gives_the_same_bits() {
    let w = Conv2d::pack(&values(1, 5 * 4 * 9), None, 5, 4, 3, 1).unwrap();
    let x = tensor(2, [2, 3, 7, 4]);
    let fused = conv2d_upsampled_2x(&x, &w, Activation::Silu).unwrap();
    let plain = conv2d(&upsample_nearest_2x(&x).unwrap(), &w, Activation::Silu).unwrap();
    assert_eq!(fused.dims(), &[2, 6, 14, 5]);
    assert_eq!(fused.as_slice(), plain.as_slice());
    assert!(conv2d_upsampled_2x(&Tensor::zeros([1, 4, 4, 3]).unwrap(), &w, Activation::None).is_err());
}

#[test]
fn wrong_shapes_are_refused() {
    assert!(Conv2d::pack(&[], None, 0, 1, 3, 1).is_err());
    assert!(Conv2d::pack(&[], None, 1, 0, 3, 1).is_err());
    assert!(Conv2d::pack(&[0.0; 25], None, 1, 1, 5, 1).is_err());
    assert!(Conv2d::pack(&[0.0; 9], None, 1, 1, 3, 3).is_err());
    assert!(Conv2d::pack(&[0.0; 8], None, 1, 1, 3, 1).is_err());
    assert!(Conv2d::pack(&[0.0; 9], Some(&[0.0; 2]), 1, 1, 3, 1).is_err());
    let w = Conv2d::pack(&[0.0; 18], None, 1, 2, 3, 1).unwrap();
    let one = Tensor::zeros([1, 4, 4, 1]).unwrap();
    assert!(conv2d(&one, &w, Activation::None).is_err());
    assert!(conv2d(&Tensor::zeros([4, 4, 2]).unwrap(), &w, Activation::None).is_err());
    assert!(conv2d_concat(&one, &Tensor::zeros([1, 4, 3, 1]).unwrap(), &w, Activation::None).is_err());
    let x = Tensor::zeros([1, 4, 4, 2]).unwrap();
    assert!(conv2d_residual(&x, &w, Tensor::zeros([1, 4, 4, 2]).unwrap(), Activation::None).is_err());
    assert_eq!(
        conv2d(&Tensor::zeros([0, 4, 4, 2]).unwrap(), &w, Activation::None)
            .unwrap()
            .elements(),
        0
    );
}

/// (images, height, width, in, out, kernel, stride).
const SHAPES: [(usize, usize, usize, usize, usize, usize, usize); 12] = [
    (1, 1, 1, 1, 1, 3, 1),
    (2, 5, 7, 3, 5, 3, 1),
    (1, 6, 13, 4, 33, 3, 2),
    (1, 7, 9, 5, 12, 3, 2),
    (2, 9, 32, 16, 64, 3, 1),
    (1, 4, 25, 48, 70, 3, 1),
    (3, 3, 12, 64, 12, 3, 1),
    (1, 5, 11, 7, 40, 1, 1),
    (2, 6, 10, 9, 3, 1, 2),
    (1, 18, 32, 32, 32, 3, 1),
    (0, 4, 4, 2, 3, 3, 1),
    (1, 0, 4, 2, 3, 3, 1),
];

#[test]
fn every_path_and_ending_agrees_with_the_reference() {
    for (i, (images, height, width, inner, outer, kernel, stride)) in SHAPES.into_iter().enumerate() {
        let seed = i as u32 * 10 + 1;
        let (weight, bias) = (values(seed, outer * inner * kernel * kernel), values(seed + 1, outer));
        let bias = (i % 3 != 0).then_some(bias.as_slice());
        let pack = || Conv2d::pack(&weight, bias, outer, inner, kernel, stride);
        let x = tensor(seed + 2, [images, height, width, inner]);
        let case = format!("{images}x{height}x{width}x{inner} to {outer}, {kernel}/{stride}");
        let acts = [
            Activation::Relu,
            Activation::None,
            Activation::Silu,
            Activation::SoftClamp3,
        ];
        let act = acts[i % acts.len()];
        assert_paths_agree(&case, || conv2d(&x, &pack()?, act));
        let (out_height, out_width) = (height.div_ceil(stride), width.div_ceil(stride));
        let residual = tensor(seed + 3, [images, out_height, out_width, outer]);
        assert_paths_agree(&format!("{case} residual"), || {
            conv2d_residual(&x, &pack()?, residual.try_clone()?, act)
        });
        let first = inner / 3;
        let a = tensor(seed + 4, [images, height, width, first]);
        let b = tensor(seed + 5, [images, height, width, inner - first]);
        assert_paths_agree(&format!("{case} enlarged"), || conv2d_upsampled_2x(&x, &pack()?, act));
        assert_paths_agree(&format!("{case} concat"), || conv2d_concat(&a, &b, &pack()?, act));
    }
}

#[test]
fn one_two_and_three_threads_give_the_same_bits() {
    let (weight, x) = (values(1, 40 * 24 * 9), tensor(2, [2, 13, 30, 24]));
    for path in fast_paths() {
        let run = |count| {
            set_threads(count).unwrap();
            conv2d(&x, &Conv2d::pack(&weight, None, 40, 24, 3, 1)?, Activation::Silu)
        };
        let [one, two, three] = [1, 2, 3].map(|count| path.with(|| run(count)).unwrap().unwrap());
        assert_eq!(one.as_slice(), two.as_slice(), "{path}");
        assert_eq!(one.as_slice(), three.as_slice(), "{path}");
    }
}

#[test]
fn weights_packed_for_one_path_still_work_on_another_and_say_what_ran() {
    let (weight, x) = (values(1, 5 * 4 * 9), tensor(2, [1, 6, 7, 4]));
    let packed = |path: Path| path.with(|| Conv2d::pack(&weight, None, 5, 4, 3, 1)).unwrap().unwrap();
    let run = |path: Path, w: &Conv2d| path.with(|| conv2d(&x, w, Activation::None)).unwrap().unwrap();
    let plain = packed(Path::Reference);
    let expected = run(Path::Reference, &plain);
    assert_eq!(
        run(Path::Reference, &packed(Path::Portable)).as_slice(),
        expected.as_slice()
    );
    assert_eq!(run(Path::Portable, &plain).as_slice(), expected.as_slice());
    assert_eq!(Path::last_ran(), Some(Path::Reference));
}
