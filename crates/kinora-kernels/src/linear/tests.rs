//! Hand-computed values and refusals.

use super::*;
use crate::Error;

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
