//! softmax(q k^T * scale + bias) v.

/// One token `q` `[N,D]` over the first `keys` rows of `k` and `v` `[S,N,D]` -> `out` `[N,D]`. `bias(head, key)` is added
/// to the scaled score.
pub fn attention(
    q: &[f32],
    k: &[f32],
    v: &[f32],
    [heads, width]: [usize; 2],
    keys: usize,
    scale: f32,
    bias: impl Fn(usize, usize) -> f32,
    out: &mut [f32],
) {
    let scale = f64::from(scale);
    for (head, (q, out)) in q.chunks_exact(width).zip(out.chunks_exact_mut(width)).enumerate() {
        let row = |key: usize| (key * heads + head) * width;
        let score = |key: usize| scale * dot(q, &k[row(key)..][..width]) + f64::from(bias(head, key));
        let scores: Vec<f64> = (0..keys).map(score).collect();
        let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = scores.iter().map(|s| (s - max).exp()).collect();
        let sum: f64 = weights.iter().sum();
        for (d, out) in out.iter_mut().enumerate() {
            let mixed: f64 = weights
                .iter()
                .enumerate()
                .map(|(key, w)| w * f64::from(v[row(key) + d]))
                .sum();
            *out = (mixed / sum) as f32;
        }
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}
