//! Hand-computed values and refusals.

use super::*;

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
