//! Scaled dot-product attention.

mod bias;
mod exact;
mod quantised;
mod size;
#[cfg(test)]
mod tests;

use kinora_tensor::Tensor;

pub use bias::ScoreBias;
use bias::Scoring;
pub use size::attention_buffers;

use crate::product::{PANEL, TILE_ROWS};
use crate::threads::TileMut;
use crate::{Error, Path, Result, check, reference, threads, trace};

/// Which keys count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum KeyMask<'a> {
    /// All of them.
    #[default]
    None,
    /// One length for each batch entry, 1 to S: later keys are padding and are ignored.
    Lengths(&'a [usize]),
    /// Keys stand in blocks of this many tokens (the tokens of a frame); the queries are the last L of the S positions,
    /// and each sees its own block and all earlier ones, but no later block: causal video, with or without a cache.
    BlockCausal(usize),
}

/// How exact attention is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum AttentionMode {
    /// f32 throughout.
    #[default]
    Exact,
    /// Byte products: queries and keys (less their mean, which softmax does not see) in 127 steps over the range of a
    /// token, values in 127 over that of a channel, weights in 255 over the range of a block of 128 keys. Normalised mean
    /// square error about 1e-5 to 3e-4, the more the sharper the scores. Keys that weigh less than 1/510 of the heaviest
    /// one in their block are lost. The reference path stays exact.
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
    let extents = Extents::of([q, k, v])?;
    run([q, k, v], extents, mask, Scoring::plain(extents), mode)
}

/// softmax(q k^T * scale + bias) v for every head, in f32 throughout. The mask comes on top: keys that it hides weigh
/// nothing, whatever their bias.
///
/// **Shapes**: `q` `[B,L,N,D]`, `k` and `v` `[B,S,N,D]`, bias as [`ScoreBias`] says -> `[B,L,N,D]`.
///
/// **Range**: `scale` finite and not negative (1 / sqrt(D) is that of [`attention`], T5 has 1); the bias finite.
///
/// **Errors**: as [`attention_as`]; a bias of another shape; values outside the range.
pub fn attention_biased(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    mask: KeyMask,
    bias: ScoreBias,
    scale: f32,
) -> Result<Tensor> {
    let extents = Extents::of([q, k, v])?;
    let scoring = Scoring::new(bias, scale, extents)?;
    run([q, k, v], extents, mask, scoring, AttentionMode::Exact)
}

fn run(
    [q, k, v]: [&Tensor; 3],
    extents: Extents,
    mask: KeyMask,
    scoring: Scoring,
    mode: AttentionMode,
) -> Result<Tensor> {
    let Extents {
        batch,
        queries,
        keys,
        heads,
        width,
    } = extents;
    let visible = Visible::new(mask, extents)?;
    let mut out = q.uninit_like(q.dims())?;
    let name = match mode {
        AttentionMode::Exact => "attention exact",
        AttentionMode::Fast => "attention fast",
    };
    let _span = trace::span(name, 4.0 * (batch * queries * keys * heads * width) as f64);
    match Path::enter()? {
        Path::Reference => run_reference([q, k, v], extents, visible, scoring, out.as_mut_slice()),
        path if out.elements() > 0 => match mode {
            AttentionMode::Fast if width <= quantised::MAX_WIDTH => {
                quantised::attention(path, extents, [q, k, v], visible, &mut out)?;
            }
            _ => exact::attention(path, extents, [q, k, v], visible, scoring, &mut out)?,
        },
        _ => {}
    }
    Ok(out)
}

/// Queries of a work item.
const QUERIES: usize = 4 * TILE_ROWS;
/// Keys of a block: their scores for one tile of queries stay in the first-level cache.
const KEYS: usize = 4 * PANEL;

/// How many keys of a block each row of a tile sees.
type Counts = [usize; TILE_ROWS];

/// The extents of one call.
#[derive(Clone, Copy)]
struct Extents {
    batch: usize,
    queries: usize,
    keys: usize,
    heads: usize,
    width: usize,
}

impl Extents {
    fn of([q, k, v]: [&Tensor; 3]) -> Result<Self> {
        const OP: &str = "attention";
        let [batch, queries, heads, width] = q.dims_of(OP, "[B,L,N,D]")?;
        let [_, keys, _, _] = k.dims_of(OP, "[B,S,N,D]")?;
        if k.dims() != [batch, keys, heads, width] {
            return Err(k.mismatch(OP, format!("[{batch},S,{heads},{width}]")).into());
        }
        check::same_shape(OP, k, v)?;
        Ok(Self {
            batch,
            queries,
            keys,
            heads,
            width,
        })
    }
}

/// Packs the keys and values of every head, `floats` each, with `pack(batch entry * N + head, packed)`, and calls
/// `work(packed head, block of its queries)` for all blocks of `out`, in parallel.
fn for_heads(
    extents: Extents,
    k: &Tensor,
    floats: usize,
    out: &mut Tensor,
    pack: impl Fn(usize, &mut [f32]) + Sync + Send,
    work: impl Fn(&[f32], TileMut) + Sync + Send,
) -> Result<()> {
    let Extents {
        batch,
        queries,
        heads,
        width,
        ..
    } = extents;
    let mut packed = k.uninit_like([batch * heads, floats])?;
    threads::for_chunks(packed.as_mut_slice(), floats, pack);
    let tiles = threads::tiles(out.as_mut_slice(), heads * width, queries, QUERIES, width);
    threads::for_each(tiles, |out| {
        let head = out.rows.start / queries * heads + out.columns.start / width;
        work(&packed.as_slice()[head * floats..][..floats], out);
    });
    Ok(())
}

/// How many keys, from the first on, each query sees: at least one.
#[derive(Clone, Copy)]
struct Visible<'a> {
    mask: KeyMask<'a>,
    queries: usize,
    keys: usize,
}

impl<'a> Visible<'a> {
    fn new(mask: KeyMask<'a>, extents: Extents) -> Result<Self> {
        let Extents {
            batch, queries, keys, ..
        } = extents;
        let refuse = |what, expected, got| {
            let op = "attention";
            Err(Error::Value {
                op,
                what,
                expected,
                got,
            })
        };
        match mask {
            KeyMask::Lengths(lengths) => {
                check::length("attention", "mask lengths", lengths.len(), batch)?;
                if let Some(length) = lengths.iter().find(|l| !(1..=keys).contains(*l)) {
                    let got = format!("{length} of {keys}");
                    return refuse("a number of keys", "at least 1 and at most S", got);
                }
            }
            KeyMask::BlockCausal(block) if block == 0 || queries > keys => {
                let got = format!("blocks of {block}, {queries} queries, {keys} keys");
                return refuse(
                    "a block-causal mask",
                    "blocks of at least 1 and no more queries than keys",
                    got,
                );
            }
            _ if keys == 0 => return refuse("the number of keys", "at least 1", "0".into()),
            _ => {}
        }
        Ok(Self { mask, queries, keys })
    }

    /// For a row of the queries of all batch entries.
    fn of(&self, row: usize) -> usize {
        match self.mask {
            KeyMask::None => self.keys,
            KeyMask::Lengths(lengths) => lengths[row / self.queries],
            KeyMask::BlockCausal(block) => {
                let position = row % self.queries + self.keys - self.queries;
                self.keys.min((position / block + 1) * block)
            }
        }
    }

    /// The most that any query of a batch entry sees.
    fn of_batch(&self, batch: usize) -> usize {
        match self.mask {
            KeyMask::Lengths(lengths) => lengths[batch],
            _ => self.keys,
        }
    }

    /// The most that any of some rows sees.
    fn most(&self, rows: &std::ops::Range<usize>) -> usize {
        rows.clone().map(|row| self.of(row)).max().unwrap_or(0)
    }

    /// How many of the [`KEYS`] keys from `first` on each row of a tile sees; 0 beyond the rows.
    fn counts(&self, rows: std::ops::Range<usize>, first: usize) -> Counts {
        let mut counts = [0; TILE_ROWS];
        for (count, row) in counts.iter_mut().zip(rows) {
            *count = self.of(row).min(first + KEYS).saturating_sub(first);
        }
        counts
    }
}

fn run_reference([q, k, v]: [&Tensor; 3], extents: Extents, visible: Visible, scoring: Scoring, out: &mut [f32]) {
    let Extents {
        queries,
        keys,
        heads,
        width,
        ..
    } = extents;
    let (q, k, v) = (q.as_slice(), k.as_slice(), v.as_slice());
    let (batch_k, token) = (keys * heads * width, heads * width);
    threads::for_chunks(out, token, |row, out| {
        let b = row / queries;
        reference::attention(
            &q[row * token..][..token],
            &k[b * batch_k..][..batch_k],
            &v[b * batch_k..][..batch_k],
            [heads, width],
            visible.of(row),
            scoring.scale,
            |head, key| scoring.of(row, head, key..key + 1).map_or(0.0, |bias| bias[0]),
            out,
        );
    });
}
