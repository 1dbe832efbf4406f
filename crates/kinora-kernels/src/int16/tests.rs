//! Exact integers on every path.

use super::*;
use crate::testing::fast_paths;

#[test]
fn tiles_are_exact() {
    let mut cases = vec![(12, 32, 64), (1, 1, 1), (7, 17, 5)];
    cases.extend((1..=TILE_ROWS).map(|r| (r, 32, 9)));
    for (path, (rows, columns, pairs)) in fast_paths()
        .into_iter()
        .flat_map(|p| cases.iter().map(move |c| (p, *c)))
    {
        let weight = |k: usize, n: usize| [-2047i16, 2047, 5, -2047, 0][(k * 3 + n) % 5];
        let activation = |r: usize, k: usize| [8191i16, -8191, 8191, 1, 77, 8191, -3][(r + k) % 7];
        let mut panel = vec![[[0i16; PAIR]; PANEL]; pairs];
        for (k, n) in (0..2 * pairs).flat_map(|k| (0..PANEL).map(move |n| (k, n))) {
            panel[k / 2][n][k % 2] = weight(k, n);
        }
        let stride = 2 * pairs + 3;
        let a: Vec<i16> = (0..rows * stride).map(|i| activation(i / stride, i % stride)).collect();
        let mut sums = vec![-1; rows * PANEL];
        tile(path, (rows, columns), &a, stride, &panel, &mut sums, PANEL);
        for (r, n) in (0..rows).flat_map(|r| (0..columns).map(move |n| (r, n))) {
            let expected: i32 = (0..2 * pairs)
                .map(|k| i32::from(activation(r, k)) * i32::from(weight(k, n)))
                .sum();
            assert_eq!(
                sums[r * PANEL + n],
                expected,
                "{path} {rows}x{columns}x{pairs} at {r},{n}"
            );
        }
    }
}
