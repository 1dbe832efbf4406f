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

/// One token `x` `[K]` quantised to int8 by its largest magnitude, times whole-numbered `weight` `[N,K]` (-128 to 127)
/// with `scales` `[N]`: q = round(x * 127 / max|x|) half to even, out = (sum of q * weight) * max|x| / 127 * scale + bias.
pub fn linear_int8(x: &[f32], weight: &[f32], scales: &[f32], bias: Option<&[f32]>, out: &mut [f32]) {
    let max = x.iter().fold(0.0f32, |max, v| max.max(v.abs()));
    let inverse = if max < 1e-33 { 0.0 } else { 127.0 / max };
    let quantised: Vec<i64> = x.iter().map(|v| (v * inverse).round_ties_even() as i64).collect();
    for (n, (out, weight)) in out.iter_mut().zip(weight.chunks_exact(x.len())).enumerate() {
        let sum: i64 = quantised.iter().zip(weight).map(|(&q, &w)| q * w as i64).sum();
        let bias = bias.map_or(0.0, |b| f64::from(b[n]));
        *out = (sum as f64 * f64::from(max) / 127.0 * f64::from(scales[n]) + bias) as f32;
    }
}
