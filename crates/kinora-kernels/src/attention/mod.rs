//! Scaled dot-product attention.

mod fast;
mod int16;
#[cfg(test)]
mod tests;

use kinora_tensor::Tensor;

use crate::{Error, Path, Result, check, reference, threads};

/// Which keys count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum KeyMask<'a> {
    /// All of them.
    #[default]
    None,
    /// One length for each batch entry, 1 to S: later keys are padding and are ignored.
    Lengths(&'a [usize]),
}

/// How exact attention is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum AttentionMode {
    /// f32 throughout.
    #[default]
    Exact,
    /// 16-bit integer products: q, k and v in 4095 steps over the range of a token (q, k) or a channel (v), weights in
    /// 8191 steps. Normalised mean square error below 1e-5, about 1e-7 on data without outliers. Heads wider than 512
    /// and the reference path stay exact.
    Fast,
}

/// [`attention_as`] in the exact mode.
///
/// **Shapes**: `q` `[B,L,N,D]`, `k` and `v` `[B,S,N,D]` -> `[B,L,N,D]`.
///
/// **Errors**: as [`attention_as`].
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, mask: KeyMask) -> Result<Tensor> {
    attention_as(q, k, v, mask, AttentionMode::Exact)
}

/// softmax(q k^T / sqrt(D)) v for every head.
///
/// **Shapes**: `q` `[B,L,N,D]`, `k` and `v` `[B,S,N,D]` -> `[B,L,N,D]`.
///
/// **Errors**: other shapes; no keys at all; a mask length of 0 or above S.
pub fn attention_as(q: &Tensor, k: &Tensor, v: &Tensor, mask: KeyMask, mode: AttentionMode) -> Result<Tensor> {
    const OP: &str = "attention";
    let dims @ [batch, queries, heads, width] = q.dims_of(OP, "[B,L,N,D]")?;
    let [_, keys, _, _] = k.dims_of(OP, "[B,S,N,D]")?;
    if k.dims() != [batch, keys, heads, width] {
        return Err(k.mismatch(OP, format!("[{batch},S,{heads},{width}]")).into());
    }
    check::same_shape(OP, k, v)?;
    let lengths = lengths(mask, batch, keys)?;
    let mut out = q.uninit_like(dims)?;
    match Path::enter()? {
        Path::Reference => run_reference([q, k, v], dims, keys, &lengths, out.as_mut_slice()),
        path if out.elements() > 0 => {
            let extents = fast::Extents {
                batch,
                queries,
                keys,
                heads,
                width,
            };
            match mode {
                AttentionMode::Fast if width <= int16::MAX_WIDTH => {
                    int16::attention(path, extents, [q, k, v], &lengths, &mut out)?;
                }
                _ => fast::attention(path, extents, [q, k, v], &lengths, &mut out)?,
            }
        }
        _ => {}
    }
    Ok(out)
}

fn run_reference([q, k, v]: [&Tensor; 3], dims: [usize; 4], keys: usize, lengths: &[usize], out: &mut [f32]) {
    let [_, queries, heads, width] = dims;
    let (q, k, v) = (q.as_slice(), k.as_slice(), v.as_slice());
    let (batch_k, token) = (keys * heads * width, heads * width);
    threads::for_chunks(out, token, |index, out| {
        let b = index / queries;
        reference::attention(
            &q[index * token..][..token],
            &k[b * batch_k..][..batch_k],
            &v[b * batch_k..][..batch_k],
            [1, 1, heads, width],
            keys,
            &lengths[b..=b],
            out,
        );
    });
}

/// The number of keys that count, for each batch entry.
fn lengths(mask: KeyMask, batch: usize, keys: usize) -> Result<Vec<usize>> {
    let lengths = match mask {
        KeyMask::None => vec![keys; batch],
        KeyMask::Lengths(lengths) => lengths.to_vec(),
    };
    check::length("attention", "mask lengths", lengths.len(), batch)?;
    match lengths.iter().find(|l| !(1..=keys).contains(*l)) {
        None => Ok(lengths),
        Some(length) => Err(Error::Value {
            op: "attention",
            what: "a number of keys",
            expected: "at least 1 and at most S",
            got: format!("{length} of {keys}"),
        }),
    }
}
