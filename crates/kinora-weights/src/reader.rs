//! Taking tensors by name, with the shape that the model expects, and noticing what nobody took.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kinora_kernels::{Conv2d, Conv3d, Linear, Precision};
use kinora_tensor::Tensor;

use crate::lora::{LoraUse, Patch};
use crate::stored::{Stored, is_marker};
use crate::{Checkpoint, Error, Result};

/// A scoped view of a [`Checkpoint`]. Names are relative to the scope; views of the same reader share the record of
/// what was taken, from any number of threads.
///
/// A weight may be stored in any [`crate::Encoding`], and is read as floats row by row. An int8 tensor `x` is accompanied by `x.scale`, f32
/// `[rows]`: row `r` stands for `x[r] * scale[r]`; the weight of a layer may have `<layer>.weight_scale` or `<layer>.scale_weight` instead,
/// and 8-bit floats may. In [`Reader::linear`] bytes stay as they are in [`Precision::Int8`], and a [`Table`] converts the rows that are
/// asked for. Numbers that are not finite are refused, naming the tensor.
///
/// A reader packs layers in its [`Precision`], f32 unless [`Reader::with_precision`] says otherwise; scopes inherit it.
#[derive(Debug, Clone)]
pub struct Reader {
    checkpoint: Checkpoint,
    /// Empty, or ends in a dot.
    scope: String,
    precision: Precision,
    used: Arc<Mutex<BTreeSet<String>>>,
}

impl Reader {
    pub(crate) fn new(checkpoint: Checkpoint) -> Self {
        Self {
            checkpoint,
            scope: String::new(),
            precision: Precision::F32,
            used: Arc::default(),
        }
    }

    /// The view below `name`, such as `blocks.0`.
    pub fn at(&self, name: impl std::fmt::Display) -> Self {
        Self {
            scope: format!("{}{name}.", self.scope),
            ..self.clone()
        }
    }

    /// The same view, packing layers in `precision`; both share the record of what was taken.
    pub fn with_precision(&self, precision: Precision) -> Self {
        Self {
            precision,
            ..self.clone()
        }
    }

    /// What layers are packed in.
    pub const fn precision(&self) -> Precision {
        self.precision
    }

    /// True if the scope holds a tensor of that name. Does not count as taking it.
    pub fn has(&self, name: &str) -> bool {
        self.checkpoint.get(&self.full(name)).is_some()
    }

    /// The extents of a tensor, for models that derive a hyper-parameter from their weights.
    pub fn shape(&self, name: &str) -> Result<Vec<usize>> {
        Ok(self.checkpoint.describe(&self.full(name))?.shape.to_vec())
    }

    /// True if the tensor holds less than 16 bits an element: it was rounded to save memory, and a layer of it may as well stay so.
    pub fn is_quantised(&self, name: &str) -> bool {
        let raw = self.checkpoint.get(&self.full(name));
        raw.and_then(|raw| raw.encoding)
            .is_some_and(|encoding| encoding.is_quantised())
    }

    /// Checks that the tensor is there with exactly these extents and in a form that is read, and counts it as taken, without reading it: for
    /// models whose layers are read only when they are needed.
    pub fn expect(&self, name: &str, dims: &[usize]) -> Result<()> {
        self.check_shape(name, dims)?;
        self.stored(name).map(drop)
    }

    /// A vector of `n` floats.
    pub fn vector(&self, name: &str, n: usize) -> Result<Vec<f32>> {
        self.floats(name, &[n])
    }

    /// A tensor of exactly these extents, as floats.
    pub fn tensor(&self, name: &str, dims: &[usize]) -> Result<Tensor> {
        Ok(Tensor::from_slice(&self.floats(name, dims)?, dims)?)
    }

    /// The linear layer `name`: `name.weight`, and `name.bias` if there is one.
    ///
    /// **Shapes**: weight `[out_features, ..]` with `in_features` elements a row (a patch convolution
    /// `[out, C, 1, p, p]` is such a matrix), bias `[out_features]`. Packed in the reader's precision; an int8 weight
    /// keeps its bytes in [`Precision::Int8`].
    pub fn linear(&self, name: &str, out_features: usize, in_features: usize) -> Result<Linear> {
        self.pack_linear(name, self.has(&format!("{name}.bias")), out_features, in_features)
    }

    /// The linear layer `name` without a bias. One that the checkpoint holds is left over for [`Reader::finish`].
    pub fn linear_no_bias(&self, name: &str, out_features: usize, in_features: usize) -> Result<Linear> {
        self.pack_linear(name, false, out_features, in_features)
    }

    fn pack_linear(&self, name: &str, bias: bool, out: usize, inner: usize) -> Result<Linear> {
        let weight = format!("{name}.weight");
        let shape = self.shape(&weight)?;
        if shape.first() != Some(&out) || shape.iter().product::<usize>() != out * inner {
            return Err(self.wrong_shape(&weight, format!("[{out}, {inner}]"), &shape));
        }
        let mut stored = self.stored(&weight)?;
        let beside = self.beside(&mut stored);
        let bytes = self.checkpoint.require(&self.full(&weight))?.bytes;
        let bias = self.bias(name, bias, out)?;
        let bias = bias.as_deref();
        let damaged = AtomicBool::new(false);
        let layer = match stored.row_scales() {
            Some(scales) => {
                Linear::pack_int8_as(bytemuck::cast_slice(bytes), &scales, bias, out, inner, self.precision)
            }
            None => Linear::pack_rows(bias, out, inner, self.precision, |n, row| {
                stored.row(bytes, n, row);
                if !all_finite(row) {
                    damaged.store(true, Ordering::Relaxed);
                }
            }),
        };
        self.checkpoint.release(&self.full(&weight));
        if damaged.into_inner() {
            return Err(self.checkpoint.not_finite(&self.full(&weight)));
        }
        let layer = match beside {
            // Branches have no int8 form, as convolutions have none.
            Some(change) => (self.precision.of_convolutions()).and_then(|precision| change.beside(layer?, precision)),
            None => layer,
        };
        layer.map_err(|source| self.refused(name, source))
    }

    /// What LoRAs add beside a layer rather than to its rows; it is taken out of `stored`.
    fn beside(&self, stored: &mut Stored) -> Option<Arc<Patch>> {
        let change = stored.change.take()?;
        // Bytes that stay as they are cannot be changed by less than their steps.
        let is_kept = self.precision == Precision::Int8 && stored.row_scales().is_some();
        let is_asked_for = self.checkpoint.changes().is_some_and(|c| c.how == LoraUse::Branch);
        if (is_kept || is_asked_for) && change.is_low_rank() {
            return Some(change);
        }
        stored.change = Some(change);
        None
    }

    /// The square convolution `name`: `name.weight` `[out, in, kernel, kernel]`, and `name.bias` if `bias`. Packed in the
    /// reader's precision.
    pub fn conv2d(
        &self,
        name: &str,
        out_channels: usize,
        in_channels: usize,
        kernel: usize,
        stride: usize,
        bias: bool,
    ) -> Result<Conv2d> {
        let values = self.floats(&format!("{name}.weight"), &[out_channels, in_channels, kernel, kernel])?;
        let bias = self.bias(name, bias, out_channels)?;
        let channels = [out_channels, in_channels];
        Conv2d::pack_as(&values, bias.as_deref(), channels, kernel, stride, self.precision)
            .map_err(|source| self.refused(name, source))
    }

    /// The convolution `name` over space and time: `name.weight` `[out, in, kt, k, k]` for `kernel` `[kt, k]`, and
    /// `name.bias` if `bias`; `stride` is that of time, then of both sides. Packed in the reader's precision.
    pub fn conv3d(
        &self,
        name: &str,
        out_channels: usize,
        in_channels: usize,
        kernel: [usize; 2],
        stride: [usize; 2],
        bias: bool,
    ) -> Result<Conv3d> {
        let [time, side] = kernel;
        let dims = [out_channels, in_channels, time, side, side];
        let values = self.floats(&format!("{name}.weight"), &dims)?;
        let bias = self.bias(name, bias, out_channels)?;
        let channels = [out_channels, in_channels];
        Conv3d::pack_as(&values, bias.as_deref(), channels, kernel, stride, self.precision)
            .map_err(|source| self.refused(name, source))
    }

    /// The embedding table `name`, which stays as it is in the file; see [`Table`].
    ///
    /// **Shapes**: `[rows, width]`.
    pub fn table(&self, name: &str, rows: usize, width: usize) -> Result<Table> {
        self.check_shape(name, &[rows, width])?;
        Ok(Table {
            checkpoint: self.checkpoint.clone(),
            name: self.full(name),
            stored: self.stored(name)?,
            rows,
            width,
        })
    }

    /// Some rows of the matrix `name` as floats, `[ids, width]`; the rest of it is never converted.
    pub fn rows(&self, name: &str, ids: &[u32]) -> Result<Tensor> {
        let shape = self.shape(name)?;
        let &[rows, width] = shape.as_slice() else {
            return Err(self.wrong_shape(name, "[rows, width]".into(), &shape));
        };
        self.table(name, rows, width)?.gather(ids)
    }

    /// Ends loading: every tensor of the scope must have been taken or be listed in `ignored`, where a name that ends
    /// in `*` stands for all names that start like it.
    ///
    /// **Errors**: [`Error::UnusedTensors`].
    pub fn finish(&self, ignored: &[&str]) -> Result<()> {
        let is_ignored = |name: &str| {
            ignored.iter().any(|pattern| match pattern.strip_suffix('*') {
                Some(start) => name.starts_with(start),
                None => name == *pattern,
            })
        };
        let used = self.lock();
        let left: Vec<&str> = self
            .checkpoint
            .names()
            .filter(|name| name.strip_prefix(&self.scope).is_some_and(|short| !is_ignored(short)))
            .filter(|name| !used.contains(*name) && !is_marker(name))
            .collect();
        if left.is_empty() {
            return Ok(());
        }
        Err(Error::UnusedTensors {
            file: self.checkpoint.name().into(),
            count: left.len(),
            names: left.iter().take(4).map(|n| self.checkpoint.label(n)).collect(),
        })
    }

    fn bias(&self, name: &str, wanted: bool, n: usize) -> Result<Option<Vec<f32>>> {
        wanted.then(|| self.vector(&format!("{name}.bias"), n)).transpose()
    }

    fn full(&self, name: &str) -> String {
        format!("{}{name}", self.scope)
    }

    /// How a weight is stored; it and what lies beside it are recorded as used.
    fn stored(&self, name: &str) -> Result<Stored> {
        let full = self.full(name);
        let mut used = vec![full.clone()];
        let mut stored = Stored::find(&self.checkpoint, &full, &mut |name| used.push(name.to_owned()))?;
        if let Some(changes) = self.checkpoint.changes() {
            stored.change = changes.of(&full)?.map(Arc::new);
        }
        self.lock().extend(used);
        Ok(stored)
    }

    fn check_shape(&self, name: &str, dims: &[usize]) -> Result<()> {
        let shape = self.shape(name)?;
        match shape == dims {
            true => Ok(()),
            false => Err(self.wrong_shape(name, format!("{dims:?}"), &shape)),
        }
    }

    /// All elements of a tensor of exactly these extents.
    fn floats(&self, name: &str, dims: &[usize]) -> Result<Vec<f32>> {
        self.check_shape(name, dims)?;
        let stored = self.stored(name)?;
        let raw = self.checkpoint.require(&self.full(name))?;
        let mut values = vec![0.0; stored.rows * stored.width];
        for (n, row) in values.chunks_exact_mut(stored.width.max(1)).enumerate() {
            stored.row(raw.bytes, n, row);
        }
        self.checkpoint.release(&self.full(name));
        match all_finite(&values) {
            true => Ok(values),
            false => Err(self.checkpoint.not_finite(&self.full(name))),
        }
    }

    fn wrong_shape(&self, name: &str, expected: String, got: &[usize]) -> Error {
        Error::WrongShape {
            file: self.checkpoint.name().into(),
            tensor: self.checkpoint.label(&self.full(name)),
            expected,
            got: got.to_vec(),
        }
    }

    fn refused(&self, name: &str, source: kinora_kernels::Error) -> Error {
        Error::Layer {
            file: self.checkpoint.name().into(),
            layer: self.full(name),
            source: Box::new(source),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        // A set of names is consistent at every step, so a panic elsewhere does not spoil it.
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An embedding table that is read row by row where it lies: a mapped or embedded int8 table costs no memory.
#[derive(Debug, Clone)]
pub struct Table {
    checkpoint: Checkpoint,
    name: String,
    stored: Stored,
    rows: usize,
    width: usize,
}

impl Table {
    /// Number of rows.
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// Elements of a row.
    pub const fn width(&self) -> usize {
        self.width
    }

    /// Gives the rows that were read, and their neighbours on the pages of a mapped file, back to the system.
    pub fn release(&self) {
        self.checkpoint.release(&self.name);
    }

    /// The rows `ids` as floats, in that order. **Shapes**: `[ids.len(), width]`.
    ///
    /// **Errors**: [`Error::RowOutOfRange`].
    pub fn gather(&self, ids: &[u32]) -> Result<Tensor> {
        let mut out = Tensor::zeros([ids.len(), self.width])?;
        self.gather_into(ids, out.as_mut_slice())?;
        Ok(out)
    }

    /// As [`Table::gather`], into a buffer of the caller. **Shapes**: `out [ids.len() * width]`.
    pub fn gather_into(&self, ids: &[u32], out: &mut [f32]) -> Result<()> {
        let raw = self.checkpoint.require(&self.name)?;
        for (&id, row) in ids.iter().zip(out.chunks_exact_mut(self.width.max(1))) {
            let index = id as usize;
            if index >= self.rows {
                let (tensor, rows) = (self.name.clone(), self.rows);
                return Err(Error::RowOutOfRange { tensor, row: id, rows });
            }
            self.stored.row(raw.bytes, index, row);
            if !all_finite(row) {
                return Err(self.checkpoint.not_finite(&self.name));
            }
        }
        Ok(())
    }
}

/// Branch-free, so that it costs less than the conversion before it.
fn all_finite(values: &[f32]) -> bool {
    let infinity = f32::INFINITY.to_bits();
    values.iter().fold(0, |most, v| most.max(v.to_bits() & !(1 << 31))) < infinity
}
