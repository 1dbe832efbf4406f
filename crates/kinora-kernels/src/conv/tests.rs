//! Hand-computed values and refusals.

use super::*;

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
fn wrong_shapes_are_refused() {
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
