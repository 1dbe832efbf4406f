//! Norms, rotary positions, pointwise functions and pixel moves.

#[cfg(test)]
mod tests;

use kinora_tensor::Tensor;

use crate::{Activation, Path, PerToken, Result, check, reference, threads};

/// Rows handed to a worker at a time.
const BLOCK_ROWS: usize = 16;

/// (x - mean) / sqrt(variance + eps) * weight + bias over the last axis.
///
/// **Shapes**: `x` `[..,M]`, `weight` and `bias` `[M]` -> `[..,M]`.
///
/// **Errors**: other lengths.
pub fn layer_norm(x: &Tensor, weight: Option<&[f32]>, bias: Option<&[f32]>, eps: f32) -> Result<Tensor> {
    const OP: &str = "layer_norm";
    let (_, width) = check::rows(OP, x)?;
    weight.map_or(Ok(()), |w| check::length(OP, "weight", w.len(), width))?;
    bias.map_or(Ok(()), |b| check::length(OP, "bias", b.len(), width))?;
    Path::enter()?;
    let mut out = x.try_clone()?;
    threads::for_chunks(out.as_mut_slice(), BLOCK_ROWS * width, |_, rows| {
        reference::layer_norm(rows, width, weight, bias, eps);
    });
    Ok(out)
}

/// layer_norm(x) * (1 + scale) + shift, with the rows of `shift` and `scale` that each token names.
///
/// **Shapes**: `x` `[..,M]`, `shift` and `scale` rows of M, one entry for each token -> `[..,M]`.
///
/// **Errors**: other shapes, a token whose row does not exist.
pub fn layer_norm_modulate(x: &Tensor, shift: PerToken, scale: PerToken, eps: f32) -> Result<Tensor> {
    const OP: &str = "layer_norm_modulate";
    let (tokens, width) = check::rows(OP, x)?;
    shift.check(OP, tokens, width)?;
    scale.check(OP, tokens, width)?;
    Path::enter()?;
    let mut out = x.try_clone()?;
    threads::for_chunks(out.as_mut_slice(), width, |token, row| {
        reference::layer_norm(row, width, None, None, eps);
        for ((v, scale), shift) in row.iter_mut().zip(scale.row(token)).zip(shift.row(token)) {
            *v = *v * (1.0 + scale) + shift;
        }
    });
    Ok(out)
}

/// x / sqrt(mean(x^2) + eps) * weight over the last axis, in place.
///
/// **Shapes**: `x` `[..,M]`, `weight` `[M]` -> `[..,M]`.
///
/// **Errors**: another length.
pub fn rms_norm(mut x: Tensor, weight: &[f32], eps: f32) -> Result<Tensor> {
    let (_, width) = check::rows("rms_norm", &x)?;
    check::length("rms_norm", "weight", weight.len(), width)?;
    Path::enter()?;
    threads::for_chunks(x.as_mut_slice(), BLOCK_ROWS * width, |_, rows| {
        reference::rms_norm(rows, weight, eps)
    });
    Ok(x)
}

/// Rotates the pairs (2i, 2i+1) of each head by the angles of its token, in place.
///
/// **Shapes**: `x` `[B,L,N,D]`, `cos` and `sin` `[L,D/2]` -> `[B,L,N,D]`.
///
/// **Errors**: other shapes, an odd D.
pub fn rope_interleaved(mut x: Tensor, cos: &[f32], sin: &[f32]) -> Result<Tensor> {
    let [_, tokens, heads, width] = check_rope("rope_interleaved", &x, cos, sin)?;
    Path::enter()?;
    threads::for_chunks(x.as_mut_slice(), heads * width, |index, token| {
        let at = index % tokens * (width / 2)..(index % tokens + 1) * (width / 2);
        reference::rope_interleaved(token, [1, 1, heads, width], &cos[at.clone()], &sin[at]);
    });
    Ok(x)
}

/// [`rms_norm`] over all heads of a token (N*D values) and then [`rope_interleaved`], in one pass, in place.
///
/// **Shapes**: `x` `[B,L,N,D]`, `weight` `[N*D]`, `cos` and `sin` `[L,D/2]` -> `[B,L,N,D]`.
///
/// **Errors**: other shapes, an odd D.
pub fn rms_norm_rope(mut x: Tensor, weight: &[f32], eps: f32, cos: &[f32], sin: &[f32]) -> Result<Tensor> {
    let [_, tokens, heads, width] = check_rope("rms_norm_rope", &x, cos, sin)?;
    check::length("rms_norm_rope", "weight", weight.len(), heads * width)?;
    Path::enter()?;
    threads::for_chunks(x.as_mut_slice(), heads * width, |index, token| {
        let at = index % tokens * (width / 2)..(index % tokens + 1) * (width / 2);
        reference::rms_norm(token, weight, eps);
        reference::rope_interleaved(token, [1, 1, heads, width], &cos[at.clone()], &sin[at]);
    });
    Ok(x)
}

fn check_rope(op: &'static str, x: &Tensor, cos: &[f32], sin: &[f32]) -> Result<[usize; 4]> {
    let dims @ [_, tokens, _, width] = x.dims_of(op, "[B,L,N,D]")?;
    if width % 2 != 0 {
        return Err(x.mismatch(op, "[B,L,N,D] with an even D").into());
    }
    check::length(op, "cos", cos.len(), tokens * width / 2)?;
    check::length(op, "sin", sin.len(), tokens * width / 2)?;
    Ok(dims)
}

/// The activation of every element, in place.
///
/// **Shapes**: any.
///
/// **Errors**: only those of [`Path::active`].
pub fn activate(mut x: Tensor, act: Activation) -> Result<Tensor> {
    Path::enter()?;
    threads::for_chunks(x.as_mut_slice(), 1 << 14, |_, values| {
        for v in values {
            *v = reference::activation(f64::from(*v), act) as f32;
        }
    });
    Ok(x)
}

/// a + b, written over `a`.
///
/// **Shapes**: both the same.
///
/// **Errors**: different shapes.
pub fn add(mut a: Tensor, b: &Tensor) -> Result<Tensor> {
    check::same_shape("add", &a, b)?;
    Path::enter()?;
    let b = b.as_slice();
    threads::for_chunks(a.as_mut_slice(), 1 << 14, |i, values| {
        for (v, b) in values.iter_mut().zip(&b[i << 14..]) {
            *v += b;
        }
    });
    Ok(a)
}

/// exp(x - max) / sum over the last axis, in place.
///
/// **Shapes**: `[..,M]`.
///
/// **Errors**: no axes.
pub fn softmax(mut x: Tensor) -> Result<Tensor> {
    let (_, width) = check::rows("softmax", &x)?;
    Path::enter()?;
    threads::for_chunks(x.as_mut_slice(), BLOCK_ROWS * width, |_, rows| {
        reference::softmax(rows, width)
    });
    Ok(x)
}

/// Every pixel four times.
///
/// **Shapes**: `[N,H,W,C]` -> `[N,2H,2W,C]`.
///
/// **Errors**: another rank.
pub fn upsample_nearest_2x(x: &Tensor) -> Result<Tensor> {
    let dims @ [images, height, width, channels] = x.dims_of("upsample_nearest_2x", "[N,H,W,C]")?;
    Path::enter()?;
    let mut out = x.uninit_like([images, 2 * height, 2 * width, channels])?;
    reference::upsample_nearest_2x(x.as_slice(), dims, out.as_mut_slice());
    Ok(out)
}

/// Channel `(c*r + dy)*r + dx` becomes pixel (dy, dx) of channel c: PyTorch's `pixel_shuffle`, channels last.
///
/// **Shapes**: `[N,H,W,C*r*r]` -> `[N,H*r,W*r,C]`.
///
/// **Errors**: another rank, channels that r*r does not divide, r = 0.
pub fn pixel_shuffle(x: &Tensor, r: usize) -> Result<Tensor> {
    let dims @ [images, height, width, channels] = x.dims_of("pixel_shuffle", "[N,H,W,C*r*r]")?;
    if r == 0 || channels % (r * r) != 0 {
        return Err(x.mismatch("pixel_shuffle", format!("[N,H,W,C*{r}*{r}]")).into());
    }
    Path::enter()?;
    let mut out = x.uninit_like([images, height * r, width * r, channels / (r * r)])?;
    reference::pixel_shuffle(x.as_slice(), dims, r, out.as_mut_slice());
    Ok(out)
}

/// The inverse of [`pixel_shuffle`].
///
/// **Shapes**: `[N,H*r,W*r,C]` -> `[N,H,W,C*r*r]`.
///
/// **Errors**: another rank, a height or width that r does not divide, r = 0.
pub fn pixel_unshuffle(x: &Tensor, r: usize) -> Result<Tensor> {
    let dims @ [images, height, width, channels] = x.dims_of("pixel_unshuffle", "[N,H*r,W*r,C]")?;
    if r == 0 || height % r != 0 || width % r != 0 {
        return Err(x.mismatch("pixel_unshuffle", format!("[N,H*{r},W*{r},C]")).into());
    }
    Path::enter()?;
    let mut out = x.uninit_like([images, height / r, width / r, channels * r * r])?;
    reference::pixel_unshuffle(x.as_slice(), dims, r, out.as_mut_slice());
    Ok(out)
}
