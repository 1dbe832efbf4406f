//! softmax(q k^T / sqrt(D)) v.

/// One token `q` `[N,D]` over the first `keys` rows of `k` and `v` `[S,N,D]` -> `out` `[N,D]`.
pub fn attention(q: &[f32], k: &[f32], v: &[f32], [heads, width]: [usize; 2], keys: usize, out: &mut [f32]) {
    let scale = 1.0 / (width as f64).sqrt();
    for (head, (q, out)) in q.chunks_exact(width).zip(out.chunks_exact_mut(width)).enumerate() {
        let row = |key: usize| (key * heads + head) * width;
        let scores: Vec<f64> = (0..keys).map(|key| scale * dot(q, &k[row(key)..][..width])).collect();
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
