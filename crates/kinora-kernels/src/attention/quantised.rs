//! Tiled attention on integer products, after Zhang et al., "SageAttention" (2024).
//!
//! As in the f32 version a work item is a block of queries of one head that walks over blocks of keys. Queries and keys
//! are quantised with one step for each token, keys after their mean over all tokens was taken off (that adds the same to
//! all scores of a query, which softmax does not see, and makes the rest smaller); values with one step for each channel;
//! the exponentials of a block of keys relative to the largest score of that block, so that keys far below the row's
//! maximum keep their resolution as long as they are not in the same block. The normaliser sums the quantised weights: the
//! result is a true average.

use kinora_tensor::Tensor;

use super::{Counts, Extents, KEYS, QUERIES, Visible, for_heads};
use crate::math::{ROUND, exp2};
use crate::product::{Engine, Kind, PANEL, Segment, Sums, TILE_ROWS, convert, put_column};
use crate::simd::{self, Isa, LANES, on_path};
use crate::threads::{self, TileMut};
use crate::{Path, Result};

/// Beyond this a score could leave i32: 255 * 127 * K.
pub(super) const MAX_WIDTH: usize = 1 << 15;
/// Keys in a word of values.
const GROUP: usize = Kind::Int8.group();
/// A quantised weight of 1.
const ONE: f32 = 255.0;
/// The largest quantised value: ONE * VALUE_STEPS * KEYS is below 2^31.
const VALUE_STEPS: f32 = 127.0;

/// Where the parts of a packed head lie, in words.
#[derive(Clone, Copy)]
struct Layout {
    /// Words of a token of one head.
    depth: usize,
    /// Keys, rounded up to whole panels.
    keys: usize,
    /// Columns of values, rounded up to whole panels.
    columns: usize,
}

impl Layout {
    const fn of(extents: Extents) -> Self {
        Self {
            depth: Kind::Int8.words(extents.width),
            keys: extents.keys.next_multiple_of(PANEL),
            columns: extents.width.next_multiple_of(PANEL),
        }
    }

    /// Key panels, value panels, steps and surplus of keys, steps of values, poison.
    const fn words(self) -> usize {
        self.keys * self.depth + self.keys / GROUP * self.columns + 2 * self.keys + self.columns + 1
    }

    /// The parts, in this order.
    fn split<'a>(self, packed: &'a [f32]) -> Head<'a> {
        let (keys, rest) = packed.split_at(self.keys * self.depth);
        let (values, rest) = rest.split_at(self.keys / GROUP * self.columns);
        let (key_steps, rest) = rest.split_at(self.keys);
        let (key_surplus, rest) = rest.split_at(self.keys);
        let (value_steps, poison) = rest.split_at(self.columns);
        Head {
            keys: bytemuck::cast_slice(keys),
            values: bytemuck::cast_slice(values),
            key_steps,
            key_surplus: bytemuck::cast_slice(key_surplus),
            value_steps,
            poison: poison[0],
        }
    }
}

/// One packed head.
struct Head<'a> {
    /// `[keys / PANEL][depth][PANEL]`.
    keys: &'a [u32],
    /// `[columns / PANEL][keys / GROUP][PANEL]`.
    values: &'a [u32],
    key_steps: &'a [f32],
    /// What of each score is due to queries being stored as q + 128.
    key_surplus: &'a [i32],
    value_steps: &'a [f32],
    /// NaN if a key that counts is infinite or NaN, else 0.
    poison: f32,
}

pub(super) fn attention(
    path: Path,
    extents: Extents,
    [q, k, v]: [&Tensor; 3],
    visible: Visible,
    out: &mut Tensor,
) -> Result<()> {
    let layout = Layout::of(extents);
    let queries = quantise_queries(path, extents, q)?;
    let engine = Engine::of(path, Kind::Int8);
    let pack = |index: usize, packed: &mut [f32]| {
        let source = Source {
            extents,
            index,
            length: visible.of_batch(index / extents.heads),
        };
        source.pack(path, k.as_slice(), v.as_slice(), packed);
    };
    let [_, words] = buffers(extents);
    for_heads(extents, k, words, out, pack, |packed, out| {
        Item {
            path,
            engine,
            extents,
            layout,
            visible,
            head: layout.split(packed),
            queries: queries.as_slice(),
        }
        .run(out);
    })
}

/// Words of the packed queries, and of one packed head: a whole number of cache lines, so that every head starts on one.
pub(super) const fn buffers(extents: Extents) -> [usize; 2] {
    let queries = extents.batch * extents.queries * query_stride(extents);
    [queries, Layout::of(extents).words().next_multiple_of(LANES)]
}

/// All queries as bytes: for each token its N heads of `depth` words, then what one step of each is worth in scores.
/// One pass over the tokens as they lie; the work items, which go head by head, would miss the cache at each.
fn quantise_queries(path: Path, extents: Extents, q: &Tensor) -> Result<Tensor> {
    let Extents { heads, width, .. } = extents;
    let depth = Kind::Int8.words(width);
    // Scores are kept as exponents of two.
    let scale = std::f32::consts::LOG2_E / (width as f32).sqrt();
    let tokens = extents.batch * extents.queries;
    let stride = query_stride(extents);
    let mut packed = q.uninit_like([tokens, stride])?;
    threads::for_chunks(packed.as_mut_slice(), QUERIES * stride, |block, packed| {
        let rows = q.as_slice()[block * QUERIES * heads * width..].chunks_exact(heads * width);
        for (token, row) in packed.chunks_exact_mut(stride).zip(rows) {
            let (words, steps) = token.split_at_mut(heads * depth);
            let words: &mut [u32] = bytemuck::cast_slice_mut(words);
            let parts = row.chunks_exact(width).zip(words.chunks_exact_mut(depth));
            for ((head, words), step) in parts.zip(steps) {
                *step = scale * convert::to_words(path, Kind::Int8, head, words);
            }
        }
    });
    Ok(packed)
}

/// Words from token to token of the packed queries: whole cache lines.
const fn query_stride(extents: Extents) -> usize {
    (extents.heads * (Kind::Int8.words(extents.width) + 1)).next_multiple_of(LANES)
}

/// The keys and values of one head.
struct Source {
    extents: Extents,
    /// batch * heads + head.
    index: usize,
    /// Keys that count.
    length: usize,
}

impl Source {
    fn row<'a>(&self, values: &'a [f32], key: usize) -> &'a [f32] {
        let Extents { keys, heads, width, .. } = self.extents;
        let (b, head) = (self.index / heads, self.index % heads);
        &values[((b * keys + key) * heads + head) * width..][..width]
    }

    /// Packs the keys and values that count; the rest is zero.
    fn pack(&self, path: Path, k: &[f32], v: &[f32], packed: &mut [f32]) {
        let layout = Layout::of(self.extents);
        packed.fill(0.0);
        let (keys, rest) = packed.split_at_mut(layout.keys * layout.depth);
        let (values, rest) = rest.split_at_mut(layout.keys / GROUP * layout.columns);
        let (key_steps, rest) = rest.split_at_mut(layout.keys);
        let (surplus, rest) = rest.split_at_mut(layout.keys);
        let (value_steps, poison) = rest.split_at_mut(layout.columns);
        let keys = bytemuck::cast_slice_mut(keys);
        poison[0] = self.pack_keys(path, k, keys, key_steps, bytemuck::cast_slice_mut(surplus));
        self.pack_values(path, v, bytemuck::cast_slice_mut(values), value_steps);
    }

    /// Gives the poison of the head.
    fn pack_keys(&self, path: Path, k: &[f32], panels: &mut [u32], steps: &mut [f32], surplus: &mut [i32]) -> f32 {
        let width = self.extents.width;
        let depth = Kind::Int8.words(width);
        let (mut mean, mut centred) = (vec![0.0; width], vec![0.0; width]);
        for key in 0..self.length {
            add_scaled(path, self.row(k, key), 1.0 / self.length as f32, &mut mean);
        }
        let mut words = vec![0; depth];
        let mut poison = 0.0;
        for key in 0..self.length {
            centred.copy_from_slice(self.row(k, key));
            add_scaled(path, &mean, -1.0, &mut centred);
            let bytes: &mut [i8] = &mut bytemuck::cast_slice_mut(&mut words)[..width];
            steps[key] = convert::signed(path, &centred, bytes);
            surplus[key] = convert::surplus(bytes);
            poison += poison_of(steps[key]);
            let (panel, _) = panels[key / PANEL * depth * PANEL..].as_chunks_mut();
            put_column(panel, key % PANEL, &words);
        }
        poison
    }

    fn pack_values(&self, path: Path, v: &[f32], panels: &mut [u32], steps: &mut [f32]) {
        let width = self.extents.width;
        let layout = Layout::of(self.extents);
        for key in 0..self.length {
            magnitudes(path, self.row(v, key), &mut steps[..width]);
        }
        let mut inverse = vec![0.0; width];
        for (step, inverse) in steps.iter_mut().zip(&mut inverse) {
            (*step, *inverse) = convert::step_of(*step, VALUE_STEPS);
        }
        let panel_words = layout.keys / GROUP * PANEL;
        for key in 0..self.length {
            let row = self.row(v, key);
            for (p, (row, inverse)) in row.chunks(PANEL).zip(inverse.chunks(PANEL)).enumerate() {
                let line = &mut panels[p * panel_words + key / GROUP * PANEL..][..PANEL];
                put_value(path, row, inverse, (key % GROUP) as u32, line);
            }
        }
    }
}

/// What a tile of queries has gathered so far.
struct Running<'a> {
    /// Weighted sums of values, rows of whole panels.
    mixed: &'a mut [f32],
    /// Largest score so far, for each query.
    max: &'a mut [f32],
    /// Sum of weights relative to `max`, for each query.
    sum: &'a mut [f32],
    /// What one step of each query is worth in scores.
    query_steps: &'a [f32],
}

/// What a work item needs beside its queries.
struct Item<'a> {
    path: Path,
    engine: Engine,
    extents: Extents,
    layout: Layout,
    visible: Visible<'a>,
    head: Head<'a>,
    /// Of all heads, see [`quantise_queries`].
    queries: &'a [f32],
}

impl Item<'_> {
    fn run(&self, mut out: TileMut) {
        let Layout { depth, columns, .. } = self.layout;
        let Extents { heads, width, .. } = self.extents;
        let (rows, head) = (out.rows.clone(), out.columns.start / width);
        let stride = query_stride(self.extents);
        let words = QUERIES * (columns + 3) + TILE_ROWS * (KEYS + columns + KEYS / GROUP);
        threads::with_scratch(words, |scratch| {
            let (mixed, rest) = scratch.split_at_mut(QUERIES * columns);
            let (tile, rest) = rest.split_at_mut(TILE_ROWS * (KEYS + columns + KEYS / GROUP));
            let (max, rest) = rest.split_at_mut(QUERIES);
            let (sum, query_steps) = rest.split_at_mut(QUERIES);
            let tile = bytemuck::cast_slice_mut(tile);
            mixed.fill(0.0);
            max.fill(f32::NEG_INFINITY);
            sum.fill(0.0);
            for (step, row) in query_steps.iter_mut().zip(rows.clone()) {
                *step = self.queries[row * stride + heads * depth + head];
            }
            for first in (0..self.visible.most(&rows)).step_by(KEYS) {
                for from in (0..rows.len()).step_by(TILE_ROWS) {
                    let count = TILE_ROWS.min(rows.len() - from);
                    let row = rows.start + from;
                    let counts = self.visible.counts(row..row + count, first);
                    let running = Running {
                        mixed: &mut mixed[from * columns..][..count * columns],
                        max: &mut max[from..][..count],
                        sum: &mut sum[from..][..count],
                        query_steps: &query_steps[from..][..count],
                    };
                    let queries = &self.queries[row * stride + head * depth..];
                    self.tile(bytemuck::cast_slice(queries), first, &counts, tile, running);
                }
            }
            for (i, row) in rows.enumerate() {
                let scale = 1.0 / sum[i] + self.head.poison + poison_of(query_steps[i]);
                for (out, v) in out.row(row).iter_mut().zip(&mixed[i * columns..][..width]) {
                    *out = v * scale;
                }
            }
        });
    }

    /// One tile of queries and one block of keys, of which each row sees `counts`.
    fn tile(&self, queries: &[u32], first: usize, counts: &Counts, scratch: &mut [u32], mut running: Running) {
        let Layout { depth, keys, columns } = self.layout;
        let rows = running.max.len();
        let block = first..first + counts.iter().copied().max().unwrap_or(0);
        let (scores, rest) = scratch.split_at_mut(TILE_ROWS * KEYS);
        let (products, weights) = rest.split_at_mut(TILE_ROWS * columns);
        let segment = [Segment {
            words: queries,
            len: depth,
        }];
        for key in block.clone().step_by(PANEL) {
            let panel = &self.head.keys[key / PANEL * depth * PANEL..][..depth * PANEL];
            let sums = Sums {
                words: &mut scores[key - first..],
                stride: KEYS,
                add: false,
            };
            let stride = query_stride(self.extents);
            self.engine
                .tile((rows, PANEL.min(block.end - key)), &segment, stride, panel, sums);
        }
        let keys_of_block = Keys {
            steps: &self.head.key_steps[block.clone()],
            surplus: &self.head.key_surplus[block.clone()],
        };
        let bytes = bytemuck::cast_slice_mut(weights);
        let factors = weigh(
            self.path,
            bytemuck::cast_slice(scores),
            keys_of_block,
            counts,
            &mut running,
            bytes,
        );
        let segment = [Segment {
            words: weights,
            len: block.len().div_ceil(GROUP),
        }];
        for column in (0..columns).step_by(PANEL) {
            let panel = &self.head.values[column / PANEL * keys / GROUP * PANEL + first / GROUP * PANEL..];
            let sums = Sums {
                words: &mut products[column..],
                stride: columns,
                add: false,
            };
            let panel = &panel[..segment[0].len * PANEL];
            self.engine.tile((rows, PANEL), &segment, KEYS / GROUP, panel, sums);
        }
        let products = bytemuck::cast_slice(products);
        gather(self.path, products, &factors, self.head.value_steps, running.mixed);
    }
}

/// What to add to results that a step took part in, so that rounding does not hide an infinite or NaN one.
fn poison_of(step: f32) -> f32 {
    if step.is_finite() { 0.0 } else { f32::NAN }
}

/// sum += x * scale.
#[inline(always)]
fn add_scaled_body<I: Isa>(x: &[f32], scale: f32, sum: &mut [f32]) {
    let sum = &mut sum[..x.len()];
    for i in 0..x.len() {
        sum[i] = I::fma(x[i], scale, sum[i]);
    }
}

/// Raises each of `max` to the magnitude of its value; NaN wins.
#[inline(always)]
fn magnitudes_body<I: Isa>(x: &[f32], max: &mut [f32]) {
    let max = &mut max[..x.len()];
    for i in 0..x.len() {
        max[i] = f32::from_bits(max[i].to_bits().max(x[i].to_bits() & 0x7fff_ffff));
    }
}

/// Puts the quantised values of one key into its place in the words that it shares with other keys.
#[inline(always)]
fn put_value_body<I: Isa>(x: &[f32], inverse: &[f32], place: u32, line: &mut [u32]) {
    let (line, inverse) = (&mut line[..x.len()], &inverse[..x.len()]);
    let shift = 8 * place;
    for i in 0..x.len() {
        line[i] |= ((x[i] * inverse[i] + ROUND).to_bits() & 0xff) << shift;
    }
}

/// (what to keep of the sums so far, what a step of the products of this block is worth), for each query.
type Factors = [[f32; 2]; TILE_ROWS];

/// What turns the integer scores of a block of keys into scores.
#[derive(Clone, Copy)]
struct Keys<'a> {
    steps: &'a [f32],
    surplus: &'a [i32],
}

/// Scores of a block of keys to quantised weights, relative to the largest score of the row in this block; zero for keys
/// that the row does not see.
#[inline(always)]
fn weigh_body<I: Isa>(
    scores: &[i32],
    keys: Keys,
    counts: &Counts,
    running: &mut Running,
    weights: &mut [u8],
) -> Factors {
    let mut factors = [[1.0, 0.0]; TILE_ROWS];
    let mut values = [0.0f32; KEYS];
    let rows = scores.chunks_exact(KEYS).zip(weights.chunks_exact_mut(KEYS));
    for (i, (scores, weights)) in rows.enumerate() {
        if i == running.max.len() {
            break;
        }
        let count = counts[i];
        let (taken, beyond) = weights.split_at_mut(count);
        beyond.fill(0);
        if count == 0 {
            continue;
        }
        let (scores, values, step) = (&scores[..count], &mut values[..count], running.query_steps[i]);
        let (steps, surplus) = (&keys.steps[..count], &keys.surplus[..count]);
        for j in 0..count {
            values[j] = scores[j].wrapping_sub(surplus[j]) as f32 * steps[j];
        }
        let largest = simd::max(values) * step;
        let mut sum = 0u32;
        for j in 0..count {
            let weight = I::fma(exp2::<I>(I::fma(values[j], step, -largest)), ONE, ROUND).to_bits() & 0xff;
            taken[j] = weight as u8;
            sum = sum.wrapping_add(weight);
        }
        let max = simd::larger(largest, running.max[i]);
        let (keep, add) = (exp2::<I>(running.max[i] - max), exp2::<I>(largest - max) / ONE);
        running.max[i] = max;
        running.sum[i] = running.sum[i] * keep + sum as f32 * add;
        factors[i] = [keep, add];
    }
    factors
}

/// mixed = mixed * keep + products * (add * step of the column).
#[inline(always)]
fn gather_body<I: Isa>(products: &[i32], factors: &Factors, steps: &[f32], mixed: &mut [f32]) {
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

on_path! { fn add_scaled(x: &[f32], scale: f32, sum: &mut [f32]) = add_scaled_body }
on_path! { fn magnitudes(x: &[f32], max: &mut [f32]) = magnitudes_body }
on_path! { fn put_value(x: &[f32], inverse: &[f32], place: u32, line: &mut [u32]) = put_value_body }
on_path! {
    fn weigh(scores: &[i32], keys: Keys, counts: &Counts, running: &mut Running, weights: &mut [u8]) -> Factors
        = weigh_body
}
on_path! {
    fn gather(products: &[i32], factors: &Factors, steps: &[f32], mixed: &mut [f32]) = gather_body
}
