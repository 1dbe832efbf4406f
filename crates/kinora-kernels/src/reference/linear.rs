//! x W^T + b.

/// `x` `[T,K]`, `weight` `[N,K]`, `bias` `[N]` -> `out` `[T,N]`.
pub fn linear(x: &[f32], weight: &[f32], bias: Option<&[f32]>, in_features: usize, out: &mut [f32]) {
    let out_features = weight.len() / in_features;
    for (x, out) in x.chunks_exact(in_features).zip(out.chunks_exact_mut(out_features)) {
        for (n, out) in out.iter_mut().enumerate() {
            let weight = &weight[n * in_features..][..in_features];
            let mut sum = bias.map_or(0.0, |b| f64::from(b[n]));
            for (&x, &w) in x.iter().zip(weight) {
                sum += f64::from(x) * f64::from(w);
            }
            *out = sum as f32;
        }
    }
}
