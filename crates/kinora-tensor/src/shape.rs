//! The extents of a tensor, kept inline.

use crate::{Error, Result};

/// Extents of up to [`Shape::MAX_RANK`] axes, outermost first.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    dims: [usize; Self::MAX_RANK],
    rank: usize,
}

impl Shape {
    /// `[B,F,H,W,P,P,C]` is the longest shape in use; one more to spare.
    pub const MAX_RANK: usize = 8;

    /// A shape from its extents.
    ///
    /// **Errors**: [`Error::RankTooLarge`]; [`Error::TooManyElements`] if the product of the extents overflows.
    pub fn new(dims: &[usize]) -> Result<Self> {
        if dims.len() > Self::MAX_RANK {
            return Err(Error::RankTooLarge { rank: dims.len() });
        }
        let fits = dims
            .iter()
            .try_fold(size_of::<f32>(), |n, &d| n.checked_mul(d))
            .is_some_and(|n| n <= isize::MAX as usize);
        if !fits {
            return Err(Error::TooManyElements { dims: dims.to_vec() });
        }
        let mut padded = [1; Self::MAX_RANK];
        padded[..dims.len()].copy_from_slice(dims);
        Ok(Self {
            dims: padded,
            rank: dims.len(),
        })
    }

    /// The extents, outermost first.
    pub fn dims(&self) -> &[usize] {
        &self.dims[..self.rank]
    }

    /// Number of axes.
    pub const fn rank(&self) -> usize {
        self.rank
    }

    /// Number of elements: the product of the extents, 1 for rank 0.
    pub fn elements(&self) -> usize {
        self.dims().iter().product()
    }
}

impl std::fmt::Debug for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.dims())
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.dims())
    }
}
