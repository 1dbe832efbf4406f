//! What a linear layer reads: a tensor as it is, or normalised on the way in.

use kinora_tensor::Tensor;

use crate::elementwise::rows;
use crate::{Path, PerToken, Result, check};

/// The input of a linear layer. A norm in front of it is done row by row while the row is in the cache, so that the
/// normalised tensor never exists.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// x.
    Plain(&'a Tensor),
    /// [`crate::layer_norm`] of x.
    Normed {
        /// `[..,K]`.
        x: &'a Tensor,
        /// `[K]`.
        weight: &'a [f32],
        /// `[K]`.
        bias: &'a [f32],
        /// Added to the variance.
        eps: f32,
    },
    /// [`crate::layer_norm_modulate`] of x.
    Modulated {
        /// `[..,K]`.
        x: &'a Tensor,
        /// Rows of K.
        shift: PerToken<'a>,
        /// Rows of K.
        scale: PerToken<'a>,
        /// Added to the variance.
        eps: f32,
    },
}

impl<'a> From<&'a Tensor> for Input<'a> {
    fn from(x: &'a Tensor) -> Self {
        Self::Plain(x)
    }
}

impl<'a> Input<'a> {
    /// The tensor before any norm.
    pub(super) const fn tensor(&self) -> &'a Tensor {
        match self {
            Self::Plain(x) | Self::Normed { x, .. } | Self::Modulated { x, .. } => x,
        }
    }

    /// The number of tokens.
    ///
    /// **Errors**: a last axis that is not `width`, other lengths of what goes with it.
    pub(super) fn check(&self, op: &'static str, width: usize) -> Result<usize> {
        let x = self.tensor();
        let (tokens, got) = check::rows(op, x)?;
        if got != width {
            return Err(x.mismatch(op, format!("[..,{width}]")).into());
        }
        match self {
            Self::Plain(_) => {}
            Self::Normed { weight, bias, .. } => {
                check::length(op, "weight of the norm", weight.len(), width)?;
                check::length(op, "bias of the norm", bias.len(), width)?;
            }
            Self::Modulated { shift, scale, .. } => {
                shift.check(op, tokens, width)?;
                scale.check(op, tokens, width)?;
            }
        }
        Ok(tokens)
    }

    /// The row of a token as the layer reads it: where it stands, or in `buffer`.
    pub(super) fn row<'b>(&self, path: Path, token: usize, buffer: &'b mut [f32]) -> &'b [f32]
    where
        'a: 'b,
    {
        let width = buffer.len();
        let row = |x: &'a Tensor| &x.as_slice()[token * width..][..width];
        match *self {
            Self::Plain(x) => return row(x),
            Self::Normed { x, weight, bias, eps } => rows::norm(path, row(x), buffer, weight, bias, eps),
            Self::Modulated { x, shift, scale, eps } => {
                rows::norm_modulate(path, row(x), buffer, shift.row(token), scale.row(token), eps);
            }
        }
        buffer
    }
}
