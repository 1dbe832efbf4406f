//! Values that tokens share: one row of a small table for each token.

use kinora_tensor::Tensor;

use crate::{Error, Result, check};

/// A table of rows and, for every token, which row it uses: a modulation that all tokens of a frame share is one row,
/// not a copy for each token.
#[derive(Debug, Clone, Copy)]
pub struct PerToken<'a> {
    /// `[R,M]`.
    pub values: &'a Tensor,
    /// One entry a token (the product of the leading axes of the tokens), each below R.
    pub row_of_token: &'a [u32],
}

impl<'a> PerToken<'a> {
    /// **Shapes**: `values` `[R,M]`.
    ///
    /// **Errors**: another rank, or an entry that is not below R.
    pub fn new(values: &'a Tensor, row_of_token: &'a [u32]) -> Result<Self> {
        let per_token = Self { values, row_of_token };
        per_token.check(
            "per_token",
            row_of_token.len(),
            values.dims().last().copied().unwrap_or(0),
        )?;
        Ok(per_token)
    }

    /// The row of `token`.
    pub(crate) fn row(&self, token: usize) -> &'a [f32] {
        let width = self.values.dims()[1];
        &self.values.as_slice()[self.row_of_token[token] as usize * width..][..width]
    }

    /// The fields are public, so operations check them again.
    pub(crate) fn check(&self, op: &'static str, tokens: usize, width: usize) -> Result<()> {
        let [rows, columns] = self.values.dims_of(op, "[R,M]")?;
        if columns != width {
            return Err(self.values.mismatch(op, format!("[R,{width}]")).into());
        }
        check::length(op, "row_of_token", self.row_of_token.len(), tokens)?;
        match self.row_of_token.iter().find(|&&row| row as usize >= rows) {
            None => Ok(()),
            Some(row) => Err(Error::Value {
                op,
                what: "row_of_token",
                expected: "below the number of rows",
                got: format!("{row} of {rows}"),
            }),
        }
    }
}
