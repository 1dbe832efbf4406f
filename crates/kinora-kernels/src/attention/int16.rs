//! Tiled attention on 16-bit integer products, after Zhang et al., "SageAttention" (2024), with more bits.
//!
//! As in the f32 version a work item is a block of queries of one head that walks over blocks of keys. Queries and keys
//! are quantised with one step for each token, values with one step for each channel, and the exponentials of a block of
//! keys relative to the largest score of that block, so that keys far below the row's maximum keep their resolution as
//! long as they are not in the same block. The normaliser sums the quantised weights: the result is a true average.

use kinora_tensor::Tensor;

use super::fast::Extents;
use crate::gemm::{PANEL, TILE_ROWS};
use crate::int16::{PAIR, PanelRow, tile};
use crate::math::exp;
use crate::simd::{self, Isa, LANES, on_path};
use crate::threads::{self, TileMut};
use crate::{Path, Result};

/// Largest magnitude of quantised queries, keys and values: 2047 * 2047 * 512 is below 2^31.
const LARGEST: f32 = 2047.0;
/// A quantised weight of 1: 8191 * 2047 * [`KEYS`] is below 2^31.
const ONE: f32 = 8191.0;
/// Beyond this a score could leave i32.
pub(super) const MAX_WIDTH: usize = 512;
/// Queries of a work item.
const QUERIES: usize = 4 * TILE_ROWS;
/// Keys of a block.
const KEYS: usize = 4 * PANEL;
/// Adding it to a small f32 rounds to an integer, which then stands in the low bits: 1.5 * 2^23.
const ROUND: f32 = 12_582_912.0;

/// Where the parts of a packed head lie, in floats.
#[derive(Clone, Copy)]
struct Layout {
    /// Pairs of K of a score: half the width, rounded up.
    pairs: usize,
    /// Keys, rounded up to whole panels.
    keys: usize,
    /// Columns of values, rounded up to whole panels.
    columns: usize,
}

impl Layout {
    const fn of(extents: Extents) -> Self {
        Self {
            pairs: extents.width.div_ceil(PAIR),
            keys: extents.keys.next_multiple_of(PANEL),
            columns: extents.width.next_multiple_of(PANEL),
        }
    }

    /// Key panels, value panels, steps of keys, steps of values, poison.
    const fn floats(self) -> usize {
        self.keys * self.pairs + self.keys / PAIR * self.columns + self.keys + self.columns + 1
    }
}

/// One packed head. A pair of 16-bit values fills a float of the tensor that lends the memory.
struct Head<'a> {
    /// `[keys / PANEL][pairs][PANEL]` pairs along D.
    keys: &'a [PanelRow],
    /// `[columns / PANEL][keys / 2][PANEL]` pairs along the keys.
    values: &'a [PanelRow],
    key_steps: &'a [f32],
    value_steps: &'a [f32],
    /// NaN if a key that counts is infinite or NaN, else 0.
    poison: f32,
}

impl<'a> Head<'a> {
    fn new(layout: Layout, packed: &'a [f32]) -> Self {
        let (keys, rest) = packed.split_at(layout.keys * layout.pairs);
        let (values, rest) = rest.split_at(layout.keys / PAIR * layout.columns);
        let (key_steps, rest) = rest.split_at(layout.keys);
        let (value_steps, poison) = rest.split_at(layout.columns);
        let [keys, values] = [keys, values].map(|v| panel_rows(bytemuck::cast_slice(v)));
        Self {
            keys,
            values,
            key_steps,
            value_steps,
            poison: poison[0],
        }
    }
}

fn panel_rows(values: &[i16]) -> &[PanelRow] {
    values.as_chunks().0.as_chunks().0
}

/// `lengths[b]` keys count in batch entry b, at least one.
pub(super) fn attention(
    path: Path,
    extents: Extents,
    [q, k, v]: [&Tensor; 3],
    lengths: &[usize],
    out: &mut Tensor,
) -> Result<()> {
    let Extents {
        batch,
        queries,
        heads,
        width,
        ..
    } = extents;
    let layout = Layout::of(extents);
    // A whole number of cache lines, so that every head starts on one.
    let head_floats = layout.floats().next_multiple_of(LANES);
    let mut packed = k.uninit_like([batch * heads, head_floats])?;
    threads::for_chunks(packed.as_mut_slice(), head_floats, |index, packed| {
        pack(
            path,
            extents,
            [k.as_slice(), v.as_slice()],
            index,
            lengths[index / heads],
            packed,
        );
    });
    let tiles = threads::tiles(out.as_mut_slice(), heads * width, queries, QUERIES, width);
    threads::for_each(tiles, |out| {
        let (b, head) = (out.rows.start / queries, out.columns.start / width);
        let packed = &packed.as_slice()[(b * heads + head) * head_floats..][..head_floats];
        run(path, extents, q.as_slice(), &Head::new(layout, packed), lengths[b], out);
    });
    Ok(())
}

/// Packs the first `length` keys and values of a head; the rest is zero.
fn pack(path: Path, extents: Extents, [k, v]: [&[f32]; 2], index: usize, length: usize, packed: &mut [f32]) {
    let Extents { keys, heads, width, .. } = extents;
    let layout = Layout::of(extents);
    let (b, head) = (index / heads, index % heads);
    let row =
        |values, s: usize| -> &[f32] { &<[f32]>::as_ref(values)[((b * keys + s) * heads + head) * width..][..width] };
    packed.fill(0.0);
    let (key_panels, rest) = packed.split_at_mut(layout.keys * layout.pairs);
    let (value_panels, rest) = rest.split_at_mut(layout.keys / PAIR * layout.columns);
    let (key_steps, rest) = rest.split_at_mut(layout.keys);
    let (value_steps, poison) = rest.split_at_mut(layout.columns);
    let key_panels: &mut [i16] = bytemuck::cast_slice_mut(key_panels);
    let value_panels: &mut [i16] = bytemuck::cast_slice_mut(value_panels);
    let mut buffer = vec![0; width];
    for s in 0..length {
        key_steps[s] = quantise(path, row(k, s), &mut buffer);
        poison[0] += poison_of(key_steps[s]);
        for (d, &q) in buffer.iter().enumerate() {
            let line = s / PANEL * layout.pairs + d / PAIR;
            key_panels[(line * PANEL + s % PANEL) * PAIR + d % PAIR] = q;
        }
        magnitudes(path, row(v, s), &mut value_steps[..width]);
    }
    let mut inverse = vec![0.0; width];
    for (step, inverse) in value_steps.iter_mut().zip(&mut inverse) {
        (*step, *inverse) = steps(*step);
    }
    for s in 0..length {
        scaled(path, row(v, s), &inverse, &mut buffer);
        for (d, &q) in buffer.iter().enumerate() {
            let line = d / PANEL * (layout.keys / PAIR) + s / PAIR;
            value_panels[(line * PANEL + d % PANEL) * PAIR + s % PAIR] = q;
        }
    }
}

/// Buffers of a work item.
struct Work<'a> {
    /// Weighted sums of values, rows of whole panels.
    mixed: &'a mut [f32],
    /// Largest score so far, for each query.
    max: &'a mut [f32],
    /// Sum of weights relative to `max`, for each query.
    sum: &'a mut [f32],
    /// What one step of each query is worth in scores.
    query_steps: &'a mut [f32],
}

fn run(path: Path, extents: Extents, q: &[f32], head: &Head, keys: usize, mut out: TileMut) {
    let layout = Layout::of(extents);
    let (row_floats, width, columns) = (extents.heads * extents.width, extents.width, layout.columns);
    let (rows, first_column) = (out.rows.clone(), out.columns.start);
    let scale = 1.0 / (width as f32).sqrt();
    let floats = QUERIES * (columns + 3 + layout.pairs) + TILE_ROWS * (KEYS + columns + KEYS / PAIR);
    threads::with_scratch(floats, |scratch| {
        let (mixed, rest) = scratch.split_at_mut(QUERIES * columns);
        let (queries, rest) = rest.split_at_mut(QUERIES * layout.pairs);
        let (weights, rest) = rest.split_at_mut(TILE_ROWS * KEYS / PAIR);
        let (sums, rest) = rest.split_at_mut(TILE_ROWS * (KEYS + columns));
        let (max, rest) = rest.split_at_mut(QUERIES);
        let (sum, query_steps) = rest.split_at_mut(QUERIES);
        let queries: &mut [i16] = bytemuck::cast_slice_mut(queries);
        let weights: &mut [i16] = bytemuck::cast_slice_mut(weights);
        let (scores, products) = bytemuck::cast_slice_mut(sums).split_at_mut(TILE_ROWS * KEYS);
        mixed.fill(0.0);
        max.fill(f32::NEG_INFINITY);
        sum.fill(0.0);
        queries.fill(0);
        for (i, row) in rows.clone().enumerate() {
            let from = &q[row * row_floats + first_column..][..width];
            query_steps[i] = scale * quantise(path, from, &mut queries[i * layout.pairs * PAIR..][..width]);
        }
        for first in (0..keys).step_by(KEYS) {
            let block = first..keys.min(first + KEYS);
            for from in (0..rows.len()).step_by(TILE_ROWS) {
                let count = TILE_ROWS.min(rows.len() - from);
                let queries = &queries[from * layout.pairs * PAIR..];
                for key in block.clone().step_by(PANEL) {
                    let panel = &head.keys[key / PANEL * layout.pairs..][..layout.pairs];
                    let size = (count, PANEL.min(block.end - key));
                    tile(
                        path,
                        size,
                        queries,
                        layout.pairs * PAIR,
                        panel,
                        &mut scores[key - first..],
                        KEYS,
                    );
                }
                let mut work = Work {
                    mixed: &mut mixed[from * columns..][..count * columns],
                    max: &mut max[from..][..count],
                    sum: &mut sum[from..][..count],
                    query_steps: &mut query_steps[from..][..count],
                };
                let factors = weigh(path, scores, &head.key_steps[block.clone()], &mut work, weights);
                let pairs = block.len().div_ceil(PAIR);
                for column in (0..columns).step_by(PANEL) {
                    let panel = &head.values[column / PANEL * layout.keys / PAIR + first / PAIR..][..pairs];
                    tile(
                        path,
                        (count, PANEL),
                        weights,
                        KEYS,
                        panel,
                        &mut products[column..],
                        columns,
                    );
                }
                mix(path, products, &factors, head.value_steps, work.mixed);
            }
        }
        for (i, row) in rows.enumerate() {
            let scale = 1.0 / sum[i] + head.poison + poison_of(query_steps[i]);
            for (out, v) in out.row(row).iter_mut().zip(&mixed[i * columns..]) {
                *out = v * scale;
            }
        }
    });
}

/// What to add to results that a step took part in, so that rounding does not hide an infinite or NaN one.
fn poison_of(step: f32) -> f32 {
    if step.is_finite() { 0.0 } else { f32::NAN }
}

/// (step, 1 / step) for a largest magnitude.
#[inline(always)]
fn steps(max: f32) -> (f32, f32) {
    if max < 1e-33 {
        (0.0, 0.0)
    } else {
        (max / LARGEST, LARGEST / max)
    }
}

#[inline(always)]
fn quantise_body<I: Isa>(x: &[f32], out: &mut [i16]) -> f32 {
    // As integers, magnitudes are in order and NaN is above infinity.
    let mut max = 0i32;
    for v in x {
        max = max.max((v.to_bits() & 0x7fff_ffff) as i32);
    }
    let (step, inverse) = steps(f32::from_bits(max as u32));
    let out = &mut out[..x.len()];
    for i in 0..x.len() {
        out[i] = (x[i] * inverse + ROUND).to_bits() as i16;
    }
    step
}

/// Raises each of `max` to the magnitude of its value; NaN wins.
#[inline(always)]
fn magnitudes_body<I: Isa>(x: &[f32], max: &mut [f32]) {
    let max = &mut max[..x.len()];
    for i in 0..x.len() {
        max[i] = f32::from_bits(max[i].to_bits().max(x[i].to_bits() & 0x7fff_ffff));
    }
}

#[inline(always)]
fn scaled_body<I: Isa>(x: &[f32], inverse: &[f32], out: &mut [i16]) {
    let (out, inverse) = (&mut out[..x.len()], &inverse[..x.len()]);
    for i in 0..x.len() {
        out[i] = (x[i] * inverse[i] + ROUND).to_bits() as i16;
    }
}

/// (what to keep of the sums so far, what a step of the products of this block is worth), for each query.
type Factors = [[f32; 2]; TILE_ROWS];

/// Scores of a block of keys to quantised weights, relative to the largest score of the row in this block.
#[inline(always)]
fn weigh_body<I: Isa>(scores: &mut [i32], key_steps: &[f32], work: &mut Work, weights: &mut [i16]) -> Factors {
    let mut factors = [[0.0; 2]; TILE_ROWS];
    let count = key_steps.len();
    let mut values = [0.0f32; KEYS];
    let values = &mut values[..count];
    for (i, (scores, weights)) in scores
        .chunks_exact(KEYS)
        .zip(weights.chunks_exact_mut(KEYS))
        .enumerate()
    {
        if i == work.max.len() {
            break;
        }
        let (scores, step) = (&scores[..count], work.query_steps[i]);
        for j in 0..count {
            values[j] = scores[j] as f32 * (key_steps[j] * step);
        }
        let largest = simd::max(values);
        let (taken, beyond) = weights.split_at_mut(count);
        let mut sum = 0i32;
        for j in 0..count {
            let weight = (I::fma(exp::<I>(values[j] - largest), ONE, ROUND).to_bits() & 0xffff) as i32;
            taken[j] = weight as i16;
            sum = sum.wrapping_add(weight);
        }
        beyond.fill(0);
        let max = simd::larger(largest, work.max[i]);
        let (keep, add) = (exp::<I>(work.max[i] - max), exp::<I>(largest - max) / ONE);
        work.max[i] = max;
        work.sum[i] = work.sum[i] * keep + sum as f32 * add;
        factors[i] = [keep, add];
    }
    factors
}

/// mixed = mixed * keep + products * (add * step of the column).
#[inline(always)]
fn mix_body<I: Isa>(products: &[i32], factors: &Factors, steps: &[f32], mixed: &mut [f32]) {
    let columns = steps.len();
    for ((products, mixed), [keep, add]) in products
        .chunks_exact(columns)
        .zip(mixed.chunks_exact_mut(columns))
        .zip(factors)
    {
        for j in 0..columns {
            mixed[j] = I::fma(products[j] as f32, add * steps[j], mixed[j] * keep);
        }
    }
}

on_path! { fn quantise(x: &[f32], out: &mut [i16]) -> f32 = quantise_body }
on_path! { fn magnitudes(x: &[f32], max: &mut [f32]) = magnitudes_body }
on_path! { fn scaled(x: &[f32], inverse: &[f32], out: &mut [i16]) = scaled_body }
on_path! { fn weigh(scores: &mut [i32], key_steps: &[f32], work: &mut Work, weights: &mut [i16]) -> Factors = weigh_body }
on_path! { fn mix(products: &[i32], factors: &Factors, steps: &[f32], mixed: &mut [f32]) = mix_body }
