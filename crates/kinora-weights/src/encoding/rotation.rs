//! ConvRot: weights that were turned before they were rounded, so that no element stands out, and how to turn them back.
//!
//! **Source**: comfy-kitchen 0.2.40, `int8_utils.py` (facts): a row, in groups of 4^n, times the n-fold Kronecker product of
//! H = [[1,1,1,-1],[1,1,-1,1],[1,-1,1,1],[-1,1,1,1]] with itself, over 2^n. The matrix is symmetric and its own inverse.

/// True for a size that such a matrix exists in.
pub(crate) const fn is_group(size: usize) -> bool {
    size.is_power_of_two() && size.trailing_zeros().is_multiple_of(2) && size > 1
}

/// Turns every whole group of `row`, there or back. **Shapes**: `group` divides the length of `row`.
pub(crate) fn turn(row: &mut [f32], group: usize) {
    let norm = (group as f32).sqrt().recip();
    for values in row.chunks_exact_mut(group) {
        let mut stride = 1;
        while stride < group {
            for block in values.chunks_exact_mut(4 * stride) {
                for i in 0..stride {
                    let [a, b, c, d] = [0, 1, 2, 3].map(|k| block[i + k * stride]);
                    // A row of H sums all four but one, which it takes away.
                    let sum = a + b + c + d;
                    for (k, less) in [d, c, b, a].into_iter().enumerate() {
                        block[i + k * stride] = sum - 2.0 * less;
                    }
                }
            }
            stride *= 4;
        }
        values.iter_mut().for_each(|v| *v *= norm);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const H: [[f32; 4]; 4] = [
        [1.0, 1.0, 1.0, -1.0],
        [1.0, 1.0, -1.0, 1.0],
        [1.0, -1.0, 1.0, 1.0],
        [-1.0, 1.0, 1.0, 1.0],
    ];

    /// One entry of the Kronecker product, digit by digit to base 4.
    fn entry(mut row: usize, mut column: usize, group: usize) -> f32 {
        let mut product = (group as f32).sqrt().recip();
        let mut left = group;
        while left > 1 {
            product *= H[row % 4][column % 4];
            (row, column, left) = (row / 4, column / 4, left / 4);
        }
        product
    }

    #[test]
    fn the_fast_transform_is_the_matrix_and_undoes_itself() {
        for group in [4, 16, 256] {
            assert!(is_group(group));
            let row: Vec<f32> = (0..2 * group).map(|i| ((i * 37 % 101) as f32 - 50.0) / 25.0).collect();
            let mut turned = row.clone();
            turn(&mut turned, group);
            for (i, got) in turned.iter().enumerate() {
                let (from, at) = (i / group * group, i % group);
                let want: f32 = (0..group).map(|j| row[from + j] * entry(j, at, group)).sum();
                assert!((got - want).abs() < 1e-5, "{group}: {i}: {got} instead of {want}");
            }
            turn(&mut turned, group);
            assert!(turned.iter().zip(&row).all(|(a, b)| (a - b).abs() < 1e-5));
        }
        assert!(![0, 1, 2, 8, 128, 200].into_iter().any(is_group));
    }
}
