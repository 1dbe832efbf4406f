//! A low-rank branch beside a layer: what a LoRA adds to weights that stay as they are.
//!
//! `up(down(x))` joins the sums of the layer before its activation, gate or residual. The product with `down` is made
//! for all tokens first (it is a few numbers for each); that with `up` is made block by block where the sums of the layer
//! are, and stands where the bias would, so that no second output exists.

use kinora_tensor::Tensor;

use super::{Ending, Input, Linear};
use crate::{Activation, Error, Result, check};

/// Two layers whose product is added to a layer.
pub(super) struct Branch {
    pub(super) down: Linear,
    pub(super) up: Linear,
}

/// A branch on its way: `x [T,R]` waits for `up`.
pub(super) struct Waiting<'a> {
    pub(super) x: Tensor,
    pub(super) up: &'a Linear,
}

impl Linear {
    /// The same layer with `up(down(x))` added to its result *before* the activation, gate or residual, in each of
    /// [`crate::linear`], [`crate::linears`], [`crate::linear_residual`] and [`crate::linear_gated_residual`]. Again for
    /// further branches. They may have another precision than the layer: float branches on int8 weights read x before it
    /// is quantised.
    ///
    /// **Shapes**: `down` `[R,K]`, `up` `[N,R]` (as weights), with biases or without.
    ///
    /// **Errors**: other shapes; a branch that has a branch itself.
    pub fn with_branch(mut self, down: Self, up: Self) -> Result<Self> {
        let same = |what, got, expected| check::length("linear branch", what, got, expected);
        same("the width that `down` reads", down.in_features(), self.in_features())?;
        same("the width that `up` reads", up.in_features(), down.out_features())?;
        same("the width that `up` gives", up.out_features(), self.out_features())?;
        if !(down.branches.is_empty() && up.branches.is_empty()) {
            return Err(Error::Value {
                op: "linear branch",
                what: "a part of a branch",
                expected: "a layer without a branch",
                got: "one with a branch".into(),
            });
        }
        self.branches.push(Branch { down, up });
        Ok(self)
    }

    /// The first half of every branch.
    pub(super) fn begin_branches(&self, x: Input) -> Result<Vec<Waiting<'_>>> {
        let mut waiting = Vec::with_capacity(self.branches.len());
        for Branch { down, up } in &self.branches {
            let mut middle = x.tensor().uninit_like(super::out_dims(x, down))?; // [..,R]
            super::run(x, [down], Ending::Activation(Activation::None), [&mut middle])?;
            waiting.push(Waiting { x: middle, up });
        }
        Ok(waiting)
    }
}
