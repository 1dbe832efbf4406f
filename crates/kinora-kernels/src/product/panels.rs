//! The packed right-hand side.

use kinora_tensor::Tensor;

use super::{Kind, PANEL, convert};
use crate::{Error, Path, Result, check, threads};

/// Beyond this, 255 * 128 * K could leave i32.
const MAX_INT8_DEPTH: usize = 1 << 16;
/// Columns that are packed together: a cache line of each row of a panel.
const BLOCK: usize = 16;

/// A packed matrix: `[ceil(N / PANEL)][K in words][PANEL]`, zero beyond the last row and column.
pub(crate) struct Panels {
    /// Bits of words, in a tensor for its alignment.
    words: Tensor,
    kind: Kind,
    /// Values along K.
    depth: usize,
    columns: usize,
    /// What of each integer sum is due to activations being stored as q + 128: 128 * (sum of the column).
    surplus: Vec<i32>,
    /// What one step of each column is worth; empty unless integers.
    steps: Vec<f32>,
}

impl Panels {
    /// Packs the matrix whose column n holds, for k in `0..depth`, the values that `column(n, buffer)` writes into a
    /// buffer of `depth`. For [`Kind::Int8`] each column is quantised to its largest magnitude.
    ///
    /// **Errors**: a `depth` whose integer sums could overflow.
    pub(crate) fn pack(
        kind: Kind,
        depth: usize,
        columns: usize,
        column: impl Fn(usize, &mut [f32]) + Sync + Send,
    ) -> Result<Self> {
        let path = Path::active()?;
        Self::pack_words(kind, depth, columns, |n, values, words| {
            column(n, values);
            if kind == Kind::Int8 {
                convert::signed(path, values, signed_bytes(words, depth))
            } else {
                convert::to_words(path, kind, values, words)
            }
        })
    }

    /// As [`Panels::pack`] for integers: `column` returns what a step of its column is worth.
    ///
    /// **Errors**: a `depth` whose sums could overflow.
    pub(crate) fn pack_int8(
        depth: usize,
        columns: usize,
        column: impl Fn(usize, &mut [i8]) -> f32 + Sync + Send,
    ) -> Result<Self> {
        Self::pack_words(Kind::Int8, depth, columns, |n, _, words| {
            column(n, signed_bytes(words, depth))
        })
    }

    /// `column(n, buffer of depth values, words)` writes the words of column n and returns what one of its steps is worth.
    fn pack_words(
        kind: Kind,
        depth: usize,
        columns: usize,
        column: impl Fn(usize, &mut [f32], &mut [u32]) -> f32 + Sync + Send,
    ) -> Result<Self> {
        if kind == Kind::Int8 && depth > MAX_INT8_DEPTH {
            return Err(Error::Value {
                op: "pack",
                what: "the depth of an int8 product",
                expected: "at most 65536",
                got: depth.to_string(),
            });
        }
        let mut packed = Self::zeros(kind, depth, columns)?;
        if kind == Kind::Int8 {
            packed.surplus = vec![0; columns];
            packed.steps = vec![0.0; columns];
        }
        let words = kind.words(depth);
        // An odd number of cache lines, so that the columns of a block do not compete for the same part of the cache.
        let stride = (words.div_ceil(BLOCK) | 1) * BLOCK;
        packed.for_panels(|panel, columns, surplus, steps| {
            threads::with_scratch(BLOCK * stride + depth, |scratch| {
                let (block, values) = scratch.split_at_mut(BLOCK * stride);
                let block: &mut [u32] = bytemuck::cast_slice_mut(block);
                for from in (0..columns.len()).step_by(BLOCK) {
                    let to = columns.len().min(from + BLOCK);
                    for (j, words_of_column) in (from..to).zip(block.chunks_exact_mut(stride)) {
                        let step = column(columns.start + j, values, &mut words_of_column[..words]);
                        if kind == Kind::Int8 {
                            steps[j] = step;
                            surplus[j] = convert::surplus(signed_bytes(words_of_column, depth));
                        }
                    }
                    for (k, row) in panel.iter_mut().enumerate() {
                        for (j, word) in row[from..to].iter_mut().enumerate() {
                            *word = block[j * stride + k];
                        }
                    }
                }
            });
        });
        Ok(packed)
    }

    fn zeros(kind: Kind, depth: usize, columns: usize) -> Result<Self> {
        let factors = [columns.div_ceil(PANEL), kind.words(depth), PANEL];
        Ok(Self {
            words: Tensor::zeros([check::elements("pack", "the size of the weight", &factors)?])?,
            kind,
            depth,
            columns,
            surplus: Vec::new(),
            steps: Vec::new(),
        })
    }

    /// Calls `work(words of a panel, its columns, their surplus, their steps)` for every panel, in parallel.
    fn for_panels(
        &mut self,
        work: impl Fn(&mut [[u32; PANEL]], std::ops::Range<usize>, &mut [i32], &mut [f32]) + Sync + Send,
    ) {
        let (columns, words) = (self.columns, self.kind.words(self.depth));
        let mut surplus = self.surplus.chunks_mut(PANEL);
        let mut steps = self.steps.chunks_mut(PANEL);
        let items: Vec<_> = self
            .words
            .as_mut_slice()
            .chunks_exact_mut((words * PANEL).max(1))
            .enumerate()
            .map(|(p, panel)| {
                let own = (surplus.next().unwrap_or_default(), steps.next().unwrap_or_default());
                (p * PANEL..columns.min((p + 1) * PANEL), panel, own)
            })
            .collect();
        threads::for_each(items, |(columns, panel, (surplus, steps))| {
            let (panel, _) = bytemuck::cast_slice_mut(panel).as_chunks_mut();
            work(panel, columns, surplus, steps);
        });
    }

    /// Panel `index`, from word `from` of K on.
    pub(crate) fn panel(&self, index: usize, from: usize) -> &[u32] {
        let words = self.depth_words() * PANEL;
        &bytemuck::cast_slice(self.words.as_slice())[index * words..][..words][from * PANEL..]
    }

    pub(crate) const fn kind(&self) -> Kind {
        self.kind
    }

    /// Values along K.
    pub(crate) const fn depth(&self) -> usize {
        self.depth
    }

    /// Words along K.
    pub(crate) const fn depth_words(&self) -> usize {
        self.kind.words(self.depth)
    }

    pub(crate) const fn columns(&self) -> usize {
        self.columns
    }

    pub(crate) fn surplus(&self) -> &[i32] {
        &self.surplus
    }

    pub(crate) fn steps(&self) -> &[f32] {
        &self.steps
    }

    /// The values (of integers: their numbers of steps) as they stand in the panels, one column after another.
    pub(crate) fn to_columns(&self) -> Vec<f32> {
        let (group, panel_words) = (self.kind.group(), self.depth_words() * PANEL);
        let words: &[u32] = bytemuck::cast_slice(self.words.as_slice());
        let value = |n: usize, k: usize| {
            let word = words[n / PANEL * panel_words + k / group * PANEL + n % PANEL];
            match self.kind {
                Kind::F32 => f32::from_bits(word),
                Kind::Bf16 => convert::bf16_value((word >> (16 * (k % 2))) as u16),
                Kind::Int8 => f32::from((word >> (8 * (k % 4))) as i8),
            }
        };
        (0..self.columns)
            .flat_map(|n| (0..self.depth).map(move |k| (n, k)))
            .map(|(n, k)| value(n, k))
            .collect()
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.words.as_slice()) + size_of_val(self.surplus()) + size_of_val(self.steps())
    }
}

/// The first `depth` bytes of words; those that fill up the last word become zero.
fn signed_bytes(words: &mut [u32], depth: usize) -> &mut [i8] {
    let bytes: &mut [i8] = bytemuck::cast_slice_mut(words);
    bytes[depth..depth.next_multiple_of(Kind::Int8.group())].fill(0);
    &mut bytes[..depth]
}

/// Writes the words of one column of a panel.
pub(crate) fn put_column(panel: &mut [[u32; PANEL]], column: usize, words: &[u32]) {
    for (row, &word) in panel.iter_mut().zip(words) {
        row[column] = word;
    }
}
