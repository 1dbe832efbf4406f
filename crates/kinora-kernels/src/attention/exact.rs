//! Tiled attention with a running softmax, after Milakov and Gimelshein, "Online normalizer calculation for softmax"
//! (2018), and Dao et al., "FlashAttention" (2022).
//!
//! Keys are packed once per head as panels of the transposed matrix, values as panels of their columns. A work item is
//! a block of queries of one head; it walks over blocks of keys and keeps, for each query, the largest score so far,
//! the sum of exponentials and the weighted sum of values. No L x S matrix exists, and queries and results are read
//! and written in their `[B,L,N,D]` place.

use kinora_tensor::Tensor;

use super::bias::Scoring;
use super::{Counts, Extents, KEYS, QUERIES, Visible, for_heads};
use crate::math::exp;
use crate::product::{Engine, Kind, PANEL, Segment, Sums, TILE_ROWS};
use crate::simd::{self, Isa, on_path};
use crate::threads::{self, TileMut};
use crate::{Path, Result};

impl Extents {
    /// Width of a head, rounded up to whole panels.
    const fn padded_width(&self) -> usize {
        self.width.next_multiple_of(PANEL)
    }

    /// Floats of the packed keys, then of the packed values, of one head.
    pub(super) const fn packed(&self) -> (usize, usize) {
        (
            self.keys.next_multiple_of(PANEL) * self.width,
            self.keys * self.padded_width(),
        )
    }
}

pub(super) fn attention(
    path: Path,
    extents: Extents,
    [q, k, v]: [&Tensor; 3],
    visible: Visible,
    scoring: Scoring,
    out: &mut Tensor,
) -> Result<()> {
    let (packed_keys, packed_values) = extents.packed();
    let pack = |index: usize, packed: &mut [f32]| {
        let (keys, values) = packed.split_at_mut(packed_keys);
        pack_keys(extents, k.as_slice(), index, keys);
        pack_values(extents, v.as_slice(), index, values);
    };
    for_heads(extents, k, packed_keys + packed_values, out, pack, |packed, out| {
        run(path, extents, q.as_slice(), packed, visible, scoring, out);
    })
}

/// The rows (tokens) of one head in `[B,S,N,D]`.
fn head_rows(extents: Extents, values: &[f32], index: usize) -> impl Iterator<Item = &[f32]> {
    let Extents { keys, heads, width, .. } = extents;
    let (b, head) = (index / heads, index % heads);
    (0..keys).map(move |s| &values[((b * keys + s) * heads + head) * width..][..width])
}

/// `[ceil(S / PANEL)][D][PANEL]`, zero beyond the last key.
fn pack_keys(extents: Extents, k: &[f32], index: usize, out: &mut [f32]) {
    let panel_floats = extents.width * PANEL;
    let tail = out.len() - panel_floats;
    out[tail..].fill(0.0);
    for (s, row) in head_rows(extents, k, index).enumerate() {
        let panel = &mut out[s / PANEL * panel_floats..][..panel_floats];
        for (line, &v) in panel.chunks_exact_mut(PANEL).zip(row) {
            line[s % PANEL] = v;
        }
    }
}

/// `[ceil(D / PANEL)][S][PANEL]`, zero beyond the last column.
fn pack_values(extents: Extents, v: &[f32], index: usize, out: &mut [f32]) {
    let panel_floats = extents.keys * PANEL;
    for (s, row) in head_rows(extents, v, index).enumerate() {
        for (p, part) in row.chunks(PANEL).enumerate() {
            let line = &mut out[p * panel_floats + s * PANEL..][..PANEL];
            line[..part.len()].copy_from_slice(part);
            line[part.len()..].fill(0.0);
        }
    }
}

/// What a work item keeps between blocks of keys, for each query.
struct Running<'a> {
    /// Weighted sum of values, rows of the padded width.
    mixed: &'a mut [f32],
    /// Largest scaled score so far.
    max: &'a mut [f32],
    /// Sum of exponentials, relative to `max`.
    sum: &'a mut [f32],
}

fn run(path: Path, extents: Extents, q: &[f32], packed: &[f32], visible: Visible, scoring: Scoring, mut out: TileMut) {
    let Extents { heads, width, .. } = extents;
    let (row_floats, padded) = (heads * width, extents.padded_width());
    let (rows, head) = (out.rows.clone(), out.columns.start);
    let engine = Engine::of(path, Kind::F32);
    threads::with_scratch(QUERIES * (padded + 2) + TILE_ROWS * KEYS, |scratch| {
        let (mixed, rest) = scratch.split_at_mut(QUERIES * padded);
        let (max, rest) = rest.split_at_mut(QUERIES);
        let (sum, scores) = rest.split_at_mut(QUERIES);
        mixed.fill(0.0);
        max.fill(f32::NEG_INFINITY);
        sum.fill(0.0);
        for first in (0..visible.most(&rows)).step_by(KEYS) {
            for (t, row) in rows.clone().step_by(TILE_ROWS).enumerate() {
                let tile_rows = TILE_ROWS.min(rows.end - row);
                let counts = visible.counts(row..row + tile_rows, first);
                let block = first..first + counts.iter().copied().max().unwrap_or(0);
                let q = &q[row * row_floats + head..];
                score(engine, tile_rows, extents, q, packed, block.clone(), scores);
                let at = t * TILE_ROWS;
                let mut running = Running {
                    mixed: &mut mixed[at * padded..][..tile_rows * padded],
                    max: &mut max[at..][..tile_rows],
                    sum: &mut sum[at..][..tile_rows],
                };
                let scale = scoring.prepare(path, row, head / width, first, &counts, scores);
                renormalise(path, scores, block.len(), &counts, scale, &mut running);
                mix(engine, tile_rows, extents, packed, block, scores, running.mixed);
            }
        }
        for (i, row) in rows.enumerate() {
            divide(path, &mixed[i * padded..][..width], sum[i], out.row(row));
        }
    });
}

/// q k^T for a tile of queries and a block of keys, in rows of [`KEYS`].
fn score(
    engine: Engine,
    rows: usize,
    extents: Extents,
    q: &[f32],
    packed: &[f32],
    keys: std::ops::Range<usize>,
    scores: &mut [f32],
) {
    let segment = [Segment {
        words: bytemuck::cast_slice(q),
        len: extents.width,
    }];
    for key in keys.clone().step_by(PANEL) {
        let panel = bytemuck::cast_slice(&packed[key * extents.width..][..PANEL * extents.width]);
        let sums = Sums {
            words: bytemuck::cast_slice_mut(&mut scores[key - keys.start..]),
            stride: KEYS,
            add: false,
        };
        let size = (rows, PANEL.min(keys.end - key));
        engine.tile(size, &segment, extents.heads * extents.width, panel, sums);
    }
}

/// Adds p v for a tile of queries and a block of keys.
fn mix(
    engine: Engine,
    rows: usize,
    extents: Extents,
    packed: &[f32],
    keys: std::ops::Range<usize>,
    weights: &[f32],
    mixed: &mut [f32],
) {
    let values = &packed[extents.packed().0..];
    let (padded, panel_floats) = (extents.padded_width(), extents.keys * PANEL);
    let segment = [Segment {
        words: bytemuck::cast_slice(weights),
        len: keys.len(),
    }];
    for column in (0..extents.width).step_by(PANEL) {
        let panel = &values[column / PANEL * panel_floats..][keys.start * PANEL..keys.end * PANEL];
        let sums = Sums {
            words: bytemuck::cast_slice_mut(&mut mixed[column..]),
            stride: padded,
            add: true,
        };
        let size = (rows, PANEL.min(extents.width - column));
        engine.tile(size, &segment, KEYS, bytemuck::cast_slice(panel), sums);
    }
}

/// Turns the scores of the keys that each row sees into exponentials relative to the new largest score, the rest of its
/// `len` scores into zeros, and scales what the row has gathered so far to it.
#[inline(always)]
fn renormalise_body<I: Isa>(scores: &mut [f32], len: usize, counts: &Counts, scale: f32, running: &mut Running) {
    let rows = running.max.len();
    let padded = running.mixed.len() / rows;
    for (i, scores) in scores.chunks_exact_mut(KEYS).take(rows).enumerate() {
        let (scores, unseen) = scores[..len].split_at_mut(counts[i]);
        unseen.fill(0.0);
        if scores.is_empty() {
            continue;
        }
        let before = running.max[i];
        let max = simd::larger(simd::max(scores) * scale, before);
        for score in scores.iter_mut() {
            *score = exp::<I>(I::fma(*score, scale, -max));
        }
        let sum = simd::sum(scores, |v| v);
        if max > before {
            let shrink = if before == f32::NEG_INFINITY {
                0.0
            } else {
                exp::<I>(before - max)
            };
            running.sum[i] *= shrink;
            for v in &mut running.mixed[i * padded..][..padded] {
                *v *= shrink;
            }
        }
        running.sum[i] += sum;
        running.max[i] = max;
    }
}

#[inline(always)]
fn divide_body<I: Isa>(mixed: &[f32], sum: f32, out: &mut [f32]) {
    let scale = 1.0 / sum;
    let mixed = &mixed[..out.len()];
    for i in 0..out.len() {
        out[i] = mixed[i] * scale;
    }
}

on_path! {
    fn renormalise(scores: &mut [f32], len: usize, counts: &Counts, scale: f32, running: &mut Running) = renormalise_body
}
on_path! { fn divide(mixed: &[f32], sum: f32, out: &mut [f32]) = divide_body }
