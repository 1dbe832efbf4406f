//! Taking tensors by name, with the shape that the model expects, and noticing what nobody took.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kinora_kernels::{Conv2d, Linear, Precision};
use kinora_tensor::{DType, Tensor};

use crate::checkpoint::RawTensor;
use crate::convert::{scale_rows, to_f32};
use crate::error::one_of;
use crate::{Checkpoint, Error, Result};

const FLOATS: [DType; 3] = [DType::F32, DType::F16, DType::Bf16];
const WEIGHTS: [DType; 4] = [DType::F32, DType::F16, DType::Bf16, DType::I8];

/// A scoped view of a [`Checkpoint`]. Names are relative to the scope; views of the same reader share the record of
/// what was taken, from any number of threads.
///
/// An int8 tensor `x` is accompanied by `x.scale`, f32 `[rows]`: row `r` stands for `x[r] * scale[r]`. It is converted
/// wherever a float is asked for, and stays as it is in [`Reader::linear`] and [`Table`].
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
        Ok(self.checkpoint.require(&self.full(name))?.shape.to_vec())
    }

    /// Checks that the tensor is there with exactly these extents, and counts it as taken, without reading it: for models
    /// whose layers are read only when they are needed.
    pub fn expect(&self, name: &str, dims: &[usize]) -> Result<()> {
        let raw = self.take(name, dims, &WEIGHTS)?;
        if raw.dtype == Some(DType::I8) {
            self.take(&format!("{name}.scale"), &[raw.shape.first().copied().unwrap_or(1)], &FLOATS)?;
        }
        Ok(())
    }

    /// A vector of `n` floats.
    pub fn vector(&self, name: &str, n: usize) -> Result<Vec<f32>> {
        let raw = self.take(name, &[n], &FLOATS)?;
        self.floats(name, raw)
    }

    /// A tensor of exactly these extents, as floats.
    pub fn tensor(&self, name: &str, dims: &[usize]) -> Result<Tensor> {
        let raw = self.take(name, dims, &WEIGHTS)?;
        Ok(Tensor::from_slice(&self.floats(name, raw)?, dims)?)
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
        let raw = self.require(&weight, &WEIGHTS)?;
        if raw.shape.first() != Some(&out) || raw.shape.iter().product::<usize>() != out * inner {
            return Err(self.wrong_shape(&weight, format!("[{out}, {inner}]"), raw.shape));
        }
        self.mark(&weight);
        let bias = self.bias(name, bias, out)?;
        let bias = bias.as_deref();
        let layer = if raw.dtype == Some(DType::I8) {
            let scales = self.vector(&format!("{weight}.scale"), out)?;
            Linear::pack_int8_as(
                bytemuck::cast_slice(raw.bytes),
                &scales,
                bias,
                out,
                inner,
                self.precision,
            )
        } else {
            let dtype = raw.dtype.unwrap_or(DType::F32); // `require` let only known types pass
            let row_bytes = inner * dtype.size_bytes();
            Linear::pack_rows(bias, out, inner, self.precision, |n, row| {
                to_f32(dtype, &raw.bytes[n * row_bytes..][..row_bytes], row);
            })
        };
        self.checkpoint.release(&self.full(&weight));
        layer.map_err(|source| self.refused(name, source))
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
        let weight = format!("{name}.weight");
        let raw = self.take(&weight, &[out_channels, in_channels, kernel, kernel], &WEIGHTS)?;
        let values = self.floats(&weight, raw)?;
        let bias = bias
            .then(|| self.vector(&format!("{name}.bias"), out_channels))
            .transpose()?;
        let channels = [out_channels, in_channels];
        Conv2d::pack_as(&values, bias.as_deref(), channels, kernel, stride, self.precision)
            .map_err(|source| self.refused(name, source))
    }

    /// The embedding table `name`, which stays in the file's type; see [`Table`].
    ///
    /// **Shapes**: `[rows, width]`.
    pub fn table(&self, name: &str, rows: usize, width: usize) -> Result<Table> {
        let raw = self.take(name, &[rows, width], &WEIGHTS)?;
        let dtype = raw.dtype.unwrap_or(DType::F32); // `take` let only known types pass
        let scales = match dtype {
            DType::I8 => Some(self.vector(&format!("{name}.scale"), rows)?),
            _ => None,
        };
        Ok(Table {
            checkpoint: self.checkpoint.clone(),
            name: self.full(name),
            dtype,
            scales,
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
            .filter(|name| !used.contains(*name))
            .collect();
        if left.is_empty() {
            return Ok(());
        }
        Err(Error::UnusedTensors {
            file: self.checkpoint.name().into(),
            count: left.len(),
            names: left.iter().take(4).map(|&n| n.to_owned()).collect(),
        })
    }

    fn bias(&self, name: &str, wanted: bool, n: usize) -> Result<Option<Vec<f32>>> {
        wanted.then(|| self.vector(&format!("{name}.bias"), n)).transpose()
    }

    fn full(&self, name: &str) -> String {
        format!("{}{name}", self.scope)
    }

    fn require(&self, name: &str, dtypes: &[DType]) -> Result<RawTensor<'_>> {
        let raw = self.checkpoint.require(&self.full(name))?;
        if raw.dtype.is_some_and(|d| dtypes.contains(&d)) {
            return Ok(raw);
        }
        Err(Error::WrongDtype {
            file: self.checkpoint.name().into(),
            tensor: self.full(name),
            expected: one_of(dtypes),
            got: raw.dtype_name.into(),
        })
    }

    /// A tensor of exactly these extents, recorded as used.
    fn take(&self, name: &str, dims: &[usize], dtypes: &[DType]) -> Result<RawTensor<'_>> {
        let raw = self.require(name, dtypes)?;
        if raw.shape != dims {
            return Err(self.wrong_shape(name, format!("{dims:?}"), raw.shape));
        }
        self.mark(name);
        Ok(raw)
    }

    /// All elements as floats, with the row scales of an int8 tensor applied.
    fn floats(&self, name: &str, raw: RawTensor<'_>) -> Result<Vec<f32>> {
        let mut values = vec![0.0; raw.shape.iter().product()];
        let dtype = raw.dtype.unwrap_or(DType::F32); // `require` let only known types pass
        to_f32(dtype, raw.bytes, &mut values);
        if dtype == DType::I8 {
            let rows = raw.shape.first().copied().unwrap_or(1);
            scale_rows(&mut values, &self.vector(&format!("{name}.scale"), rows)?);
        }
        self.checkpoint.release(&self.full(name));
        Ok(values)
    }

    fn wrong_shape(&self, name: &str, expected: String, got: &[usize]) -> Error {
        Error::WrongShape {
            file: self.checkpoint.name().into(),
            tensor: self.full(name),
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

    fn mark(&self, name: &str) {
        self.lock().insert(self.full(name));
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
    dtype: DType,
    scales: Option<Vec<f32>>,
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
        let row_bytes = self.width * self.dtype.size_bytes();
        for (&id, row) in ids.iter().zip(out.chunks_exact_mut(self.width.max(1))) {
            let index = id as usize;
            if index >= self.rows {
                let (tensor, rows) = (self.name.clone(), self.rows);
                return Err(Error::RowOutOfRange { tensor, row: id, rows });
            }
            to_f32(self.dtype, &raw.bytes[index * row_bytes..][..row_bytes], row);
            if let Some(scales) = &self.scales {
                scale_rows(row, &scales[index..=index]);
            }
        }
        Ok(())
    }
}
