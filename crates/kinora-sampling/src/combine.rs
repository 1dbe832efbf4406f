//! The one arithmetic operation of all samplers: a weighted sum of tensors.

use kinora_tensor::Tensor;

use crate::Result;

/// `sum of weight * tensor` over `terms`, in the arena of the first.
///
/// Every update rule is such a sum, because coefficients depend on the noise levels alone. Elements are summed in f64
/// in the order of the terms and rounded once, so a result does not depend on vector width or thread count.
///
/// **Errors**: a shape error named `op` if the terms differ in shape; no memory.
pub(crate) fn combine<const N: usize>(op: &'static str, terms: [(f64, &Tensor); N]) -> Result<Tensor> {
    const BLOCK: usize = 512;
    let first = terms[0].1;
    for (_, tensor) in &terms {
        if tensor.shape() != first.shape() {
            return Err(tensor.mismatch(op, first.shape().to_string()).into());
        }
    }
    let mut out = first.uninit_like(first.dims())?;
    for (block, out) in out.as_mut_slice().chunks_mut(BLOCK).enumerate() {
        let mut sums = [0.0_f64; BLOCK];
        let sums = &mut sums[..out.len()];
        for (weight, tensor) in &terms {
            let values = &tensor.as_slice()[block * BLOCK..][..out.len()];
            for (sum, &value) in sums.iter_mut().zip(values) {
                *sum += weight * f64::from(value);
            }
        }
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = *sum as f32;
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_every_element_once_also_behind_the_last_full_block() {
        for n in [0, 1, 511, 512, 513, 1300] {
            let a = Tensor::from_slice(&(0..n).map(|i| i as f32).collect::<Vec<_>>(), [n]).unwrap();
            let b = Tensor::from_slice(&vec![2.0; n], [n]).unwrap();
            let sum = combine("test", [(0.5, &a), (-3.0, &b)]).unwrap();
            for (i, &got) in sum.as_slice().iter().enumerate() {
                assert_eq!(got, 0.5 * i as f32 - 6.0);
            }
        }
    }

    #[test]
    fn different_shapes_do_not_add_up() {
        let (a, b) = (Tensor::zeros([2, 3]).unwrap(), Tensor::zeros([3, 2]).unwrap());
        let text = combine("step", [(1.0, &a), (1.0, &b)]).unwrap_err().to_string();
        assert!(
            text.contains("step") && text.contains("[2, 3]") && text.contains("[3, 2]"),
            "{text}"
        );
    }
}
