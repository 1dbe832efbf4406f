//! Linear layers with fused endings.

mod fast;
mod int8;
#[cfg(test)]
mod tests;

use kinora_tensor::Tensor;

use crate::ending::Ending;
use crate::gemm::Panels;
use crate::int8::{Int8Panels, quantise};
use crate::{Activation, Path, PerToken, Result, check, reference, threads};

/// What a linear layer computes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Precision {
    /// f32 weights, activations and sums.
    #[default]
    F32,
    /// int8 weights with a scale for each output, activations quantised to int8 with a scale for each token as they
    /// arrive, exact integer sums, f32 results.
    Int8,
}

/// The weights of a linear layer, packed once for the active path.
pub struct Linear {
    out_features: usize,
    in_features: usize,
    weights: Weights,
    /// Zeros where there is none.
    bias: Vec<f32>,
}

enum Weights {
    /// `[N,K]`, for [`Path::Reference`].
    Plain(Vec<f32>),
    /// For the fast f32 paths; the columns are the output features.
    Panels(Panels),
    /// For every path in [`Precision::Int8`].
    Int8(Int8Panels),
}

impl Linear {
    /// Packs f32 weights.
    ///
    /// **Shapes**: `weight` `[N,K]` (N = `out_features`, K = `in_features`), `bias` `[N]`.
    ///
    /// **Errors**: other lengths, no features.
    pub fn pack(weight: &[f32], bias: Option<&[f32]>, out_features: usize, in_features: usize) -> Result<Self> {
        check_parameters(weight.len(), bias, out_features, in_features)?;
        Self::pack_rows(bias, out_features, in_features, |n, row| {
            row.copy_from_slice(&weight[n * in_features..][..in_features]);
        })
    }

    /// Packs int8 weights; value (n,k) is `weight[n,k] * row_scales[n]`.
    ///
    /// **Shapes**: `weight` `[N,K]`, `row_scales` `[N]`, `bias` `[N]`.
    ///
    /// **Errors**: other lengths, no features.
    pub fn pack_int8(
        weight: &[i8],
        row_scales: &[f32],
        bias: Option<&[f32]>,
        out_features: usize,
        in_features: usize,
    ) -> Result<Self> {
        check_parameters(weight.len(), bias, out_features, in_features)?;
        check::length("linear", "row_scales", row_scales.len(), out_features)?;
        Self::pack_rows(bias, out_features, in_features, |n, row| {
            for (v, &q) in row.iter_mut().zip(&weight[n * in_features..]) {
                *v = f32::from(q) * row_scales[n];
            }
        })
    }

    /// [`Linear::pack`] for a chosen precision; for [`Precision::Int8`] each row is quantised to its largest magnitude.
    ///
    /// **Shapes**: as [`Linear::pack`].
    ///
    /// **Errors**: as [`Linear::pack`]; more than 65536 input features in int8.
    pub fn pack_as(
        weight: &[f32],
        bias: Option<&[f32]>,
        out_features: usize,
        in_features: usize,
        precision: Precision,
    ) -> Result<Self> {
        if precision == Precision::F32 {
            return Self::pack(weight, bias, out_features, in_features);
        }
        check_parameters(weight.len(), bias, out_features, in_features)?;
        let path = Path::active()?;
        let panels = Int8Panels::pack(in_features, out_features, |n, out| {
            quantise::signed(path, &weight[n * in_features..][..in_features], out)
        })?;
        Ok(Self::from_int8(panels, bias, out_features, in_features))
    }

    /// [`Linear::pack_int8`] for a chosen precision; [`Precision::Int8`] takes the bytes as they are.
    ///
    /// **Shapes**: as [`Linear::pack_int8`].
    ///
    /// **Errors**: as [`Linear::pack_int8`]; more than 65536 input features in int8.
    pub fn pack_int8_as(
        weight: &[i8],
        row_scales: &[f32],
        bias: Option<&[f32]>,
        out_features: usize,
        in_features: usize,
        precision: Precision,
    ) -> Result<Self> {
        if precision == Precision::F32 {
            return Self::pack_int8(weight, row_scales, bias, out_features, in_features);
        }
        check_parameters(weight.len(), bias, out_features, in_features)?;
        check::length("linear", "row_scales", row_scales.len(), out_features)?;
        let panels = Int8Panels::pack(in_features, out_features, |n, out| {
            out.copy_from_slice(&weight[n * in_features..][..in_features]);
            row_scales[n]
        })?;
        Ok(Self::from_int8(panels, bias, out_features, in_features))
    }

    fn from_int8(panels: Int8Panels, bias: Option<&[f32]>, out_features: usize, in_features: usize) -> Self {
        Self {
            out_features,
            in_features,
            weights: Weights::Int8(panels),
            bias: bias.map_or_else(|| vec![0.0; out_features], <[f32]>::to_vec),
        }
    }

    fn pack_rows(
        bias: Option<&[f32]>,
        out_features: usize,
        in_features: usize,
        row: impl Fn(usize, &mut [f32]) + Sync + Send,
    ) -> Result<Self> {
        let weights = match Path::active()? {
            Path::Reference => {
                let mut plain = vec![0.0; out_features * in_features];
                threads::for_chunks(&mut plain, in_features, row);
                Weights::Plain(plain)
            }
            _ => Weights::Panels(Panels::pack(in_features, out_features, row)?),
        };
        Ok(Self {
            out_features,
            in_features,
            weights,
            bias: bias.map_or_else(|| vec![0.0; out_features], <[f32]>::to_vec),
        })
    }

    /// N.
    pub const fn out_features(&self) -> usize {
        self.out_features
    }

    /// K.
    pub const fn in_features(&self) -> usize {
        self.in_features
    }

    /// What it computes with.
    pub const fn precision(&self) -> Precision {
        match self.weights {
            Weights::Plain(_) | Weights::Panels(_) => Precision::F32,
            Weights::Int8(_) => Precision::Int8,
        }
    }

    /// Memory held by the packed weights and the bias.
    pub fn bytes(&self) -> usize {
        let weights = match &self.weights {
            Weights::Plain(plain) => size_of_val(plain.as_slice()),
            Weights::Panels(panels) => panels.bytes(),
            Weights::Int8(panels) => panels.bytes(),
        };
        weights + size_of_val(self.bias.as_slice())
    }
}

fn check_parameters(weights: usize, bias: Option<&[f32]>, out_features: usize, in_features: usize) -> Result<()> {
    check::at_least_one("linear", "out_features", out_features)?;
    check::at_least_one("linear", "in_features", in_features)?;
    let expected = check::elements("linear", "the size of the weight", &[out_features, in_features])?;
    check::length("linear", "weight", weights, expected)?;
    bias.map_or(Ok(()), |b| check::length("linear", "bias", b.len(), out_features))
}

/// act(x W^T + b).
///
/// **Shapes**: `x` `[..,K]` -> `[..,N]`.
///
/// **Errors**: a last axis that is not K.
pub fn linear(x: &Tensor, w: &Linear, act: Activation) -> Result<Tensor> {
    let (_, out_dims) = check_input("linear", x, w)?;
    let mut out = x.uninit_like(out_dims)?;
    run(x, w, Ending::Activation(act), &mut out)?;
    Ok(out)
}

/// residual + (x W^T + b), written over `residual`.
///
/// **Shapes**: `x` `[..,K]`, `residual` `[..,N]` -> `[..,N]`.
///
/// **Errors**: other shapes.
pub fn linear_residual(x: &Tensor, w: &Linear, mut residual: Tensor) -> Result<Tensor> {
    check_residual("linear_residual", x, w, &residual)?;
    run(x, w, Ending::Residual(Activation::None), &mut residual)?;
    Ok(residual)
}

/// residual + gate * (x W^T + b), written over `residual`.
///
/// **Shapes**: `x` `[..,K]`, `residual` `[..,N]`, `gate` rows of N, one entry for each token of `x` -> `[..,N]`.
///
/// **Errors**: other shapes, a token whose gate row does not exist.
pub fn linear_gated_residual(x: &Tensor, w: &Linear, mut residual: Tensor, gate: PerToken) -> Result<Tensor> {
    let tokens = check_residual("linear_gated_residual", x, w, &residual)?;
    gate.check("linear_gated_residual", tokens, w.out_features)?;
    run(x, w, Ending::Gated(gate), &mut residual)?;
    Ok(residual)
}

/// (tokens, shape of the result).
fn check_input(op: &'static str, x: &Tensor, w: &Linear) -> Result<(usize, Vec<usize>)> {
    let (tokens, width) = check::rows(op, x)?;
    if width != w.in_features {
        return Err(x.mismatch(op, format!("[..,{}]", w.in_features)).into());
    }
    let mut dims = x.dims().to_vec();
    if let Some(last) = dims.last_mut() {
        *last = w.out_features;
    }
    Ok((tokens, dims))
}

fn check_residual(op: &'static str, x: &Tensor, w: &Linear, residual: &Tensor) -> Result<usize> {
    let (tokens, dims) = check_input(op, x, w)?;
    if residual.dims() != dims {
        return Err(residual.mismatch(op, format!("{dims:?}")).into());
    }
    Ok(tokens)
}

fn run(x: &Tensor, w: &Linear, ending: Ending, out: &mut Tensor) -> Result<()> {
    let path = Path::enter()?;
    let bias = w.bias.as_slice();
    match (&w.weights, path) {
        (Weights::Panels(panels), Path::Reference) => {
            let plain = panels.to_rows();
            run_reference(
                x,
                w,
                |x, sums| reference::linear(x, &plain, Some(bias), w.in_features, sums),
                ending,
                out,
            );
        }
        (Weights::Panels(panels), _) => {
            fast::linear(path, x.as_slice(), panels, bias, ending, out.as_mut_slice());
        }
        (Weights::Plain(plain), _) => {
            Path::note(Path::Reference);
            run_reference(
                x,
                w,
                |x, sums| reference::linear(x, plain, Some(bias), w.in_features, sums),
                ending,
                out,
            );
        }
        (Weights::Int8(panels), Path::Reference) => {
            let (rows, scales) = (panels.to_rows(), panels.scales());
            run_reference(
                x,
                w,
                |x, sums| reference::linear_int8(x, &rows, scales, Some(bias), sums),
                ending,
                out,
            );
        }
        (Weights::Int8(panels), _) => {
            int8::linear(path, x.as_slice(), panels, bias, ending, out.as_mut_slice());
        }
    }
    Ok(())
}

/// `sums(x, out)` is the reference product of one token.
fn run_reference(
    x: &Tensor,
    w: &Linear,
    sums_of: impl Fn(&[f32], &mut [f32]) + Sync + Send,
    ending: Ending,
    out: &mut Tensor,
) {
    let (x, width) = (x.as_slice(), w.in_features);
    threads::for_chunks(out.as_mut_slice(), w.out_features, |token, out| {
        let mut sums = vec![0.0; out.len()];
        sums_of(&x[token * width..][..width], &mut sums);
        for (n, (out, sum)) in out.iter_mut().zip(sums).enumerate() {
            *out = match ending {
                Ending::Activation(act) => reference::activation(f64::from(sum), act) as f32,
                Ending::Residual(act) => reference::activation(f64::from(*out) + f64::from(sum), act) as f32,
                Ending::Gated(gate) => *out + gate.row(token)[n] * sum,
            };
        }
    });
}
