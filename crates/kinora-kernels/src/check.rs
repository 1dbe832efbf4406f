//! Checks that several operations share.

use kinora_tensor::Tensor;

use crate::{Error, Result};

pub(crate) fn length(op: &'static str, what: &'static str, got: usize, expected: usize) -> Result<()> {
    if got == expected {
        return Ok(());
    }
    Err(Error::Length {
        op,
        what,
        expected,
        got,
    })
}

/// (product of the leading axes, last axis).
pub(crate) fn rows(op: &'static str, x: &Tensor) -> Result<(usize, usize)> {
    match x.dims() {
        [leading @ .., width] => Ok((leading.iter().product(), *width)),
        [] => Err(x.mismatch(op, "at least one axis").into()),
    }
}

pub(crate) fn same_shape(op: &'static str, a: &Tensor, b: &Tensor) -> Result<()> {
    if a.shape() == b.shape() {
        return Ok(());
    }
    Err(b.mismatch(op, a.shape().to_string()).into())
}

pub(crate) fn elements(op: &'static str, what: &'static str, factors: &[usize]) -> Result<usize> {
    factors
        .iter()
        .try_fold(1usize, |n, &f| n.checked_mul(f))
        .ok_or_else(|| Error::Value {
            op,
            what,
            expected: "small enough to address",
            got: format!("{factors:?}"),
        })
}

/// Layers of nothing are a mistake in a configuration, not something to compute.
pub(crate) fn at_least_one(op: &'static str, what: &'static str, got: usize) -> Result<()> {
    if got > 0 {
        return Ok(());
    }
    Err(Error::Value {
        op,
        what,
        expected: "at least 1",
        got: got.to_string(),
    })
}
