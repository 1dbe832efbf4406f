//! Linear layers with norms on the way in and fused endings.

mod branch;
#[cfg(test)]
mod branch_tests;
mod input;
mod run;
mod size;
#[cfg(test)]
mod tests;

use kinora_tensor::Tensor;

pub use input::Input;

use crate::ending::Ending;
use crate::product::{Engine, Kind, Panels, convert};
use crate::{Activation, AttentionMode, Path, PerToken, Result, check, reference, threads, trace};

/// What a layer computes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Precision {
    /// f32 weights, activations and sums.
    #[default]
    F32,
    /// Weights and activations rounded to bf16 (8 bits of mantissa), f32 sums and results.
    Bf16,
    /// Linear layers: int8 weights with a scale for each output, activations quantised to int8 with a scale for each
    /// token as they arrive, exact integer sums, f32 results. Convolutions: as [`Precision::Bf16`].
    Int8,
}

impl Precision {
    /// Every precision, the most exact first.
    pub const ALL: [Self; 3] = [Self::F32, Self::Bf16, Self::Int8];

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        }
    }

    /// The mode of attention that goes with it.
    pub const fn attention_mode(self) -> AttentionMode {
        match self {
            Self::F32 | Self::Bf16 => AttentionMode::Exact,
            Self::Int8 => AttentionMode::Fast,
        }
    }

    /// What convolutions compute with in a model of this precision: they have no int8 form and take bf16 instead, or f32
    /// where the active path has no instructions for bf16.
    ///
    /// **Errors**: those of [`Path::active`].
    pub fn of_convolutions(self) -> Result<Self> {
        Ok(match self {
            Self::Int8 if Self::Bf16.is_native()? => Self::Bf16,
            Self::Int8 => Self::F32,
            other => other,
        })
    }

    /// Whether linear layers in this precision run at more than the f32 rate on the active path: the processor has
    /// instructions for its products.
    ///
    /// **Errors**: those of [`Path::active`].
    pub fn is_native(self) -> Result<bool> {
        Ok(Engine::of(Path::active()?, self.kind()).is_native())
    }

    /// What the instructions are called that linear layers in this precision use on the active path.
    ///
    /// **Errors**: those of [`Path::active`].
    pub fn instructions(self) -> Result<&'static str> {
        Ok(Engine::of(Path::active()?, self.kind()).name())
    }

    pub(crate) const fn kind(self) -> Kind {
        match self {
            Self::F32 => Kind::F32,
            Self::Bf16 => Kind::Bf16,
            Self::Int8 => Kind::Int8,
        }
    }
}

/// The weights of a linear layer, packed once.
pub struct Linear {
    /// The columns are the output features.
    panels: Panels,
    /// Zeros where there is none.
    bias: Vec<f32>,
    /// Added to the result.
    branches: Vec<branch::Branch>,
}

impl Linear {
    /// Packs f32 weights; for [`Precision::Int8`] each row is quantised to its largest magnitude.
    ///
    /// **Shapes**: `weight` `[N,K]` (N = `out_features`, K = `in_features`), `bias` `[N]`.
    ///
    /// **Errors**: other lengths, no features; more than 65536 input features in int8.
    pub fn pack_as(
        weight: &[f32],
        bias: Option<&[f32]>,
        out_features: usize,
        in_features: usize,
        precision: Precision,
    ) -> Result<Self> {
        check_weight(weight.len(), out_features, in_features)?;
        Self::pack_rows(bias, out_features, in_features, precision, |n, row| {
            row.copy_from_slice(&weight[n * in_features..][..in_features]);
        })
    }

    /// As [`Linear::pack_as`], for weights that are not in memory as f32: `row(n, buffer)` writes row n into a buffer of
    /// `in_features`. It is called once for each row, from several threads.
    ///
    /// **Shapes**, **Errors**: as there.
    pub fn pack_rows(
        bias: Option<&[f32]>,
        out_features: usize,
        in_features: usize,
        precision: Precision,
        row: impl Fn(usize, &mut [f32]) + Sync + Send,
    ) -> Result<Self> {
        check_features(bias, out_features, in_features)?;
        let panels = Panels::pack(precision.kind(), in_features, out_features, row)?;
        Ok(Self::new(panels, bias))
    }

    /// [`Linear::pack_as`] in f32.
    ///
    /// **Shapes**, **Errors**: as there.
    pub fn pack(weight: &[f32], bias: Option<&[f32]>, out_features: usize, in_features: usize) -> Result<Self> {
        Self::pack_as(weight, bias, out_features, in_features, Precision::F32)
    }

    /// Packs int8 weights; value (n,k) is `weight[n,k] * row_scales[n]`. [`Precision::Int8`] takes the bytes as they are.
    ///
    /// **Shapes**: `weight` `[N,K]`, `row_scales` `[N]`, `bias` `[N]`.
    ///
    /// **Errors**: other lengths, no features; more than 65536 input features in int8.
    pub fn pack_int8_as(
        weight: &[i8],
        row_scales: &[f32],
        bias: Option<&[f32]>,
        out_features: usize,
        in_features: usize,
        precision: Precision,
    ) -> Result<Self> {
        check_features(bias, out_features, in_features)?;
        check_weight(weight.len(), out_features, in_features)?;
        check::length("linear", "row_scales", row_scales.len(), out_features)?;
        let row = |n: usize| &weight[n * in_features..][..in_features];
        let panels = if precision == Precision::Int8 {
            Panels::pack_int8(in_features, out_features, |n, out| {
                out.copy_from_slice(row(n));
                row_scales[n]
            })?
        } else {
            Panels::pack(precision.kind(), in_features, out_features, |n, out| {
                for (v, &q) in out.iter_mut().zip(row(n)) {
                    *v = f32::from(q) * row_scales[n];
                }
            })?
        };
        Ok(Self::new(panels, bias))
    }

    /// [`Linear::pack_int8_as`] in f32.
    ///
    /// **Shapes**, **Errors**: as there.
    pub fn pack_int8(
        weight: &[i8],
        row_scales: &[f32],
        bias: Option<&[f32]>,
        out_features: usize,
        in_features: usize,
    ) -> Result<Self> {
        Self::pack_int8_as(weight, row_scales, bias, out_features, in_features, Precision::F32)
    }

    fn new(panels: Panels, bias: Option<&[f32]>) -> Self {
        Self {
            bias: bias.map_or_else(|| vec![0.0; panels.columns()], <[f32]>::to_vec),
            panels,
            branches: Vec::new(),
        }
    }

    /// N.
    pub const fn out_features(&self) -> usize {
        self.panels.columns()
    }

    /// K.
    pub const fn in_features(&self) -> usize {
        self.panels.depth()
    }

    /// What it computes with.
    pub const fn precision(&self) -> Precision {
        match self.panels.kind() {
            Kind::F32 => Precision::F32,
            Kind::Bf16 => Precision::Bf16,
            Kind::Int8 => Precision::Int8,
        }
    }

    /// Memory held by the packed weights, the bias and the branches.
    pub fn bytes(&self) -> usize {
        let of_branches = self.branches.iter().map(|b| b.down.bytes() + b.up.bytes());
        self.panels.bytes() + size_of_val(self.bias.as_slice()) + of_branches.sum::<usize>()
    }
}

fn check_features(bias: Option<&[f32]>, out_features: usize, in_features: usize) -> Result<()> {
    check::at_least_one("linear", "out_features", out_features)?;
    check::at_least_one("linear", "in_features", in_features)?;
    bias.map_or(Ok(()), |b| check::length("linear", "bias", b.len(), out_features))
}

fn check_weight(weights: usize, out_features: usize, in_features: usize) -> Result<()> {
    let expected = check::elements("linear", "the size of the weight", &[out_features, in_features])?;
    check::length("linear", "weight", weights, expected)
}

/// act(x W^T + b).
///
/// **Shapes**: `x` `[..,K]` -> `[..,N]`.
///
/// **Errors**: a last axis that is not K; those of the norm in front, if there is one.
pub fn linear<'a>(x: impl Into<Input<'a>>, w: &Linear, act: Activation) -> Result<Tensor> {
    let x = x.into();
    x.check("linear", w.in_features())?;
    let mut out = x.tensor().uninit_like(out_dims(x, w))?;
    run(x, [w], Ending::Activation(act), [&mut out])?;
    Ok(out)
}

/// x W^T + b for several layers that read the same input: it is normalised and quantised once for all of them.
///
/// **Shapes**: `x` `[..,K]` -> `[..,N]` with the N of each layer.
///
/// **Errors**: as [`linear`]; layers of different precisions.
pub fn linears<'a, const P: usize>(x: impl Into<Input<'a>>, layers: [&Linear; P]) -> Result<[Tensor; P]> {
    let x = x.into();
    for w in layers {
        x.check("linears", w.in_features())?;
        if w.precision() != layers[0].precision() {
            return Err(crate::Error::Value {
                op: "linears",
                what: "the precision of a layer",
                expected: "the same for all",
                got: format!("{:?} beside {:?}", w.precision(), layers[0].precision()),
            });
        }
    }
    let mut outs = Vec::with_capacity(P);
    for w in layers {
        outs.push(x.tensor().uninit_like(out_dims(x, w))?);
    }
    // As many as there are layers, so this is always `Some`; nothing is computed otherwise.
    let Ok(mut outs) = <[Tensor; P]>::try_from(outs) else {
        unreachable!("one output for each layer")
    };
    run(x, layers, Ending::Activation(Activation::None), outs.each_mut())?;
    Ok(outs)
}

/// residual + (x W^T + b), written over `residual`.
///
/// **Shapes**: `x` `[..,K]`, `residual` `[..,N]` -> `[..,N]`.
///
/// **Errors**: other shapes.
pub fn linear_residual<'a>(x: impl Into<Input<'a>>, w: &Linear, mut residual: Tensor) -> Result<Tensor> {
    let x = x.into();
    check_residual("linear_residual", x, w, &residual)?;
    run(x, [w], Ending::Residual(Activation::None), [&mut residual])?;
    Ok(residual)
}

/// residual + gate * (x W^T + b), written over `residual`.
///
/// **Shapes**: `x` `[..,K]`, `residual` `[..,N]`, `gate` rows of N, one entry for each token of `x` -> `[..,N]`.
///
/// **Errors**: other shapes, a token whose gate row does not exist.
pub fn linear_gated_residual<'a>(
    x: impl Into<Input<'a>>,
    w: &Linear,
    mut residual: Tensor,
    gate: PerToken,
) -> Result<Tensor> {
    let x = x.into();
    let tokens = check_residual("linear_gated_residual", x, w, &residual)?;
    gate.check("linear_gated_residual", tokens, w.out_features())?;
    run(x, [w], Ending::Gated(gate), [&mut residual])?;
    Ok(residual)
}

fn out_dims(x: Input, w: &Linear) -> Vec<usize> {
    let mut dims = x.tensor().dims().to_vec();
    if let Some(last) = dims.last_mut() {
        *last = w.out_features();
    }
    dims
}

fn check_residual(op: &'static str, x: Input, w: &Linear, residual: &Tensor) -> Result<usize> {
    let tokens = x.check(op, w.in_features())?;
    let dims = out_dims(x, w);
    if residual.dims() != dims {
        return Err(residual.mismatch(op, format!("{dims:?}")).into());
    }
    Ok(tokens)
}

fn run<const P: usize>(x: Input, layers: [&Linear; P], ending: Ending, outs: [&mut Tensor; P]) -> Result<()> {
    let tokens = x.tensor().elements() / layers.first().map_or(1, |l| l.in_features());
    let macs: usize = layers.iter().map(|l| tokens * l.in_features() * l.out_features()).sum();
    let name = layers.first().map_or("linear", |l| match l.precision() {
        Precision::F32 => "linear f32",
        Precision::Bf16 => "linear bf16",
        Precision::Int8 => "linear int8",
    });
    let _span = trace::span(name, 2.0 * macs as f64);
    match Path::enter()? {
        Path::Reference => {
            for (layer, out) in layers.into_iter().zip(outs) {
                run_reference(x, layer, ending, out);
            }
        }
        path => {
            let mut branches = Vec::with_capacity(P);
            for layer in layers {
                branches.push(layer.begin_branches(x)?);
            }
            run::linears(path, x, layers, &branches, ending, outs);
        }
    }
    Ok(())
}

fn run_reference(x: Input, w: &Linear, ending: Ending, out: &mut Tensor) {
    let layer = Plain::of(w);
    threads::for_chunks(out.as_mut_slice(), w.out_features(), |token, out| {
        let mut buffer = vec![0.0; w.in_features()];
        let sums = layer.sums(x.row(Path::Reference, token, &mut buffer));
        for (n, (out, sum)) in out.iter_mut().zip(sums).enumerate() {
            *out = match ending {
                Ending::Activation(act) => reference::activation(f64::from(sum), act) as f32,
                Ending::Residual(act) => reference::activation(f64::from(*out) + f64::from(sum), act) as f32,
                Ending::Gated(gate) => *out + gate.row(token)[n] * sum,
            };
        }
    });
}

/// A layer unpacked, for the reference.
struct Plain<'a> {
    layer: &'a Linear,
    /// `[N,K]`.
    columns: Vec<f32>,
    /// `down` and `up` of each branch.
    branches: Vec<[Self; 2]>,
}

impl<'a> Plain<'a> {
    fn of(layer: &'a Linear) -> Self {
        Self {
            layer,
            columns: layer.panels.to_columns(),
            branches: layer.branches.iter().map(|b| [&b.down, &b.up].map(Self::of)).collect(),
        }
    }

    /// x W^T + b + the branches, for one row.
    fn sums(&self, row: &[f32]) -> Vec<f32> {
        let (layer, bias) = (self.layer, Some(self.layer.bias.as_slice()));
        let mut sums = vec![0.0; layer.out_features()];
        match layer.precision() {
            Precision::F32 => reference::linear(row, &self.columns, bias, row.len(), &mut sums),
            Precision::Bf16 => {
                let rounded = row.iter().map(|&v| convert::bf16_value(convert::bf16_bits(v)));
                let rounded: Vec<f32> = rounded.collect();
                reference::linear(&rounded, &self.columns, bias, row.len(), &mut sums);
            }
            Precision::Int8 => reference::linear_int8(row, &self.columns, layer.panels.steps(), bias, &mut sums),
        }
        for [down, up] in &self.branches {
            for (sum, more) in sums.iter_mut().zip(up.sums(&down.sums(row))) {
                *sum += more;
            }
        }
        sums
    }
}
