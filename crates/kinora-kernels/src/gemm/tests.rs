//! The tile against plain sums on every path.

use super::*;

#[test]
fn tiles_of_every_size_match_plain_sums_and_touch_nothing_else() {
    // (rows, columns, depths of the segments, extra stride)
    let mut cases = vec![(12, 32, vec![7, 0, 5], 3), (5, 32, vec![], 0), (12, 17, vec![100], 0)];
    cases.extend((1..=TILE_ROWS).flat_map(|r| [(r, 32, vec![9], 0), (r, 10, vec![3, 3, 3], 1)]));
    for path in Path::available().into_iter().filter(|p| *p != Path::Reference) {
        for (rows, columns, depths, extra) in &cases {
            for add in [false, true] {
                check(path, *rows, *columns, depths, *extra, add);
            }
        }
    }
}

fn check(path: Path, rows: usize, columns: usize, depths: &[usize], extra: usize, add: bool) {
    let depth: usize = depths.iter().sum();
    let stride = depths.iter().max().unwrap_or(&0) + extra;
    // Small integers: every order of summation is exact.
    let lefts: Vec<Vec<f32>> = (0..depths.len())
        .map(|s| (0..rows * stride).map(|i| ((i * 5 + s * 3) % 7) as f32 - 3.0).collect())
        .collect();
    let segments: Vec<_> = lefts
        .iter()
        .zip(depths)
        .map(|(values, &len)| Segment { values, len })
        .collect();
    let value = |k: usize, n: usize| ((k * 3 + n) % 5) as f32 - 2.0;
    let panels = Panels::pack(depth, columns, |n, out| {
        out.iter_mut().enumerate().for_each(|(k, v)| *v = value(k, n));
    })
    .unwrap();
    let mut out = vec![0.5; rows * 40 + 1];
    let sums = Sums {
        values: &mut out[..(rows - 1) * 40 + 32],
        stride: 40,
        add,
    };
    tile(path, rows, columns, &segments, stride, panels.panel(0, 0), sums);
    for (i, &got) in out.iter().enumerate() {
        let (r, n) = (i / 40, i % 40);
        if r < rows && n < columns {
            let mut expected = if add { 0.5 } else { 0.0 };
            let mut k0 = 0;
            for s in &segments {
                expected += (0..s.len)
                    .map(|k| s.values[r * stride + k] * value(k0 + k, n))
                    .sum::<f32>();
                k0 += s.len;
            }
            assert_eq!(got, expected, "{path} {rows}x{columns} {depths:?} add {add} at {r},{n}");
        } else if r >= rows || n >= columns.next_multiple_of(16) {
            assert_eq!(got, 0.5, "{path} {rows}x{columns} wrote outside at {r},{n}");
        }
    }
}
