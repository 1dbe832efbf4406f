//! Norms, rotary positions, pointwise functions and pixel moves.

mod pixels;
pub(crate) mod rows;
#[cfg(test)]
mod tests;

use kinora_tensor::Tensor;

pub use pixels::{pixel_shuffle, pixel_unshuffle, upsample_nearest_2x};

use crate::{Activation, Path, PerToken, Result, check, math, reference, threads, trace};

/// Rows handed to a worker at a time.
const BLOCK_ROWS: usize = 16;
/// Elements handed to a worker at a time where rows mean nothing.
const BLOCK: usize = 1 << 14;

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
    let _span = trace::span("layer_norm", 0.0);
    let path = Path::enter()?;
    let mut out = x.uninit_like(x.dims())?;
    let (ones, zeros);
    let weight = match weight {
        Some(w) => w,
        None => {
            ones = vec![1.0; width];
            &ones
        }
    };
    let bias = match bias {
        Some(b) => b,
        None => {
            zeros = vec![0.0; width];
            &zeros
        }
    };
    for_rows(x, &mut out, width, |_, x, out| {
        rows::norm(path, x, out, weight, bias, eps)
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
    let _span = trace::span("layer_norm_modulate", 0.0);
    let path = Path::enter()?;
    let mut out = x.uninit_like(x.dims())?;
    for_rows(x, &mut out, width, |token, x, out| {
        rows::norm_modulate(path, x, out, shift.row(token), scale.row(token), eps);
    });
    Ok(out)
}

/// Calls `work(row, x, out)` for all rows of both, in parallel.
fn for_rows(x: &Tensor, out: &mut Tensor, width: usize, work: impl Fn(usize, &[f32], &mut [f32]) + Sync + Send) {
    let x = x.as_slice();
    threads::for_chunks(out.as_mut_slice(), BLOCK_ROWS * width, |block, out| {
        for (i, out) in out.chunks_exact_mut(width).enumerate() {
            let row = block * BLOCK_ROWS + i;
            work(row, &x[row * width..][..width], out);
        }
    });
}

/// x / sqrt(mean(x^2) + eps) * weight over the last axis, in place.
///
/// **Shapes**: `x` `[..,M]`, `weight` `[M]` -> `[..,M]`.
///
/// **Errors**: another length.
pub fn rms_norm(mut x: Tensor, weight: &[f32], eps: f32) -> Result<Tensor> {
    let (_, width) = check::rows("rms_norm", &x)?;
    check::length("rms_norm", "weight", weight.len(), width)?;
    let _span = trace::span("rms_norm", 0.0);
    let path = Path::enter()?;
    threads::for_chunks(x.as_mut_slice(), BLOCK_ROWS * width, |_, rows| {
        rows.chunks_exact_mut(width)
            .for_each(|row| rms_norm_row(path, row, weight, eps));
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
    let _span = trace::span("rope", 0.0);
    let path = Path::enter()?;
    for_tokens(&mut x, tokens, heads, width, |token, at| {
        rope(path, token, &cos[at.clone()], &sin[at])
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
    let _span = trace::span("rms_norm_rope", 0.0);
    let path = Path::enter()?;
    for_tokens(&mut x, tokens, heads, width, |token, at| {
        rms_norm_row(path, token, weight, eps);
        rope(path, token, &cos[at.clone()], &sin[at]);
    });
    Ok(x)
}

/// Calls `work(heads of a token, where its angles are)` for all tokens, in parallel.
fn for_tokens(
    x: &mut Tensor,
    tokens: usize,
    heads: usize,
    width: usize,
    work: impl Fn(&mut [f32], std::ops::Range<usize>) + Sync + Send,
) {
    let (model, half) = (heads * width, width / 2);
    threads::for_chunks(x.as_mut_slice(), BLOCK_ROWS * model, |block, rows| {
        for (i, token) in rows.chunks_exact_mut(model).enumerate() {
            let position = (block * BLOCK_ROWS + i) % tokens;
            work(token, position * half..(position + 1) * half);
        }
    });
}

pub(crate) fn rms_norm_row(path: Path, row: &mut [f32], weight: &[f32], eps: f32) {
    match path {
        Path::Reference => reference::rms_norm(row, weight, eps),
        _ => rows::rms_norm(path, row, weight, eps),
    }
}

fn rope(path: Path, token: &mut [f32], cos: &[f32], sin: &[f32]) {
    match path {
        Path::Reference => {
            let width = 2 * cos.len();
            reference::rope_interleaved(token, [1, 1, token.len() / width.max(1), width], cos, sin);
        }
        _ => rows::rope(path, token, cos, sin),
    }
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
    let _span = trace::span("activate", 0.0);
    let path = Path::enter()?;
    threads::for_chunks(x.as_mut_slice(), BLOCK, |_, values| match path {
        Path::Reference => {
            values
                .iter_mut()
                .for_each(|v| *v = reference::activation(f64::from(*v), act) as f32);
        }
        _ => math::activate(path, values, act),
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
    let _span = trace::span("add", 0.0);
    let path = Path::enter()?;
    let b = b.as_slice();
    threads::for_chunks(a.as_mut_slice(), BLOCK, |i, values| {
        rows::add(path, values, &b[i * BLOCK..])
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
    let _span = trace::span("softmax", 0.0);
    let path = Path::enter()?;
    threads::for_chunks(x.as_mut_slice(), BLOCK_ROWS * width, |_, rows| match path {
        Path::Reference => reference::softmax(rows, width),
        _ => rows.chunks_exact_mut(width).for_each(|row| rows::softmax(path, row)),
    });
    Ok(x)
}
