//! Norms, softmax and rotary positions: operations on one row at a time.

/// (x - mean) / sqrt(variance + eps) * weight + bias over rows of `width`, in place.
pub fn layer_norm(x: &mut [f32], width: usize, weight: Option<&[f32]>, bias: Option<&[f32]>, eps: f32) {
    for row in x.chunks_exact_mut(width.max(1)) {
        let mean = row.iter().map(|&v| f64::from(v)).sum::<f64>() / width as f64;
        let variance = row.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / width as f64;
        let inv_std = 1.0 / (variance + f64::from(eps)).sqrt();
        for (i, v) in row.iter_mut().enumerate() {
            let normed = (f64::from(*v) - mean) * inv_std;
            let weight = weight.map_or(1.0, |w| f64::from(w[i]));
            let bias = bias.map_or(0.0, |b| f64::from(b[i]));
            *v = (normed * weight + bias) as f32;
        }
    }
}

/// x / sqrt(mean(x^2) + eps) * weight over rows of `weight.len()`, in place.
pub fn rms_norm(x: &mut [f32], weight: &[f32], eps: f32) {
    for row in x.chunks_exact_mut(weight.len().max(1)) {
        let mean_square = row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / row.len() as f64;
        let scale = 1.0 / (mean_square + f64::from(eps)).sqrt();
        for (v, &w) in row.iter_mut().zip(weight) {
            *v = (f64::from(*v) * scale * f64::from(w)) as f32;
        }
    }
}

/// exp(x - max) / sum over rows of `width`, in place.
pub fn softmax(x: &mut [f32], width: usize) {
    for row in x.chunks_exact_mut(width.max(1)) {
        let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let exp: Vec<f64> = row.iter().map(|&v| (f64::from(v) - f64::from(max)).exp()).collect();
        let sum: f64 = exp.iter().sum();
        for (v, e) in row.iter_mut().zip(exp) {
            *v = (e / sum) as f32;
        }
    }
}

/// Rotates the pairs (2i, 2i+1) of every head of `x` `[B,L,N,D]` by the angle whose cosine and sine are entry i of row
/// l of `cos` and `sin` `[L,D/2]`, in place.
pub fn rope_interleaved(x: &mut [f32], dims: [usize; 4], cos: &[f32], sin: &[f32]) {
    let [_, tokens, heads, width] = dims;
    let half = width / 2;
    for (index, head) in x.chunks_exact_mut(width.max(1)).enumerate() {
        let token = index / heads % tokens;
        for (i, pair) in head.chunks_exact_mut(2).enumerate() {
            let (c, s) = (f64::from(cos[token * half + i]), f64::from(sin[token * half + i]));
            let (a, b) = (f64::from(pair[0]), f64::from(pair[1]));
            pair[0] = (a * c - b * s) as f32;
            pair[1] = (a * s + b * c) as f32;
        }
    }
}
