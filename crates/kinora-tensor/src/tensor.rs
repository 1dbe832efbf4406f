//! The dense `f32` tensor.

use crate::arena::Buffer;
use crate::{Arena, Error, Result, Shape};

/// A dense, row-major block of `f32`. See the crate page for where its memory comes from.
pub struct Tensor {
    shape: Shape,
    /// Never shorter than the shape; may be longer when it came from an arena.
    buffer: Buffer,
    arena: Option<Arena>,
}

impl Tensor {
    /// A tensor of zeros outside any arena.
    pub fn zeros(dims: impl AsRef<[usize]>) -> Result<Self> {
        let shape = Shape::new(dims.as_ref())?;
        Ok(Self {
            shape,
            buffer: Buffer::zeros(shape.elements())?,
            arena: None,
        })
    }

    /// A tensor of zeros from `arena`; everything computed from it stays in that arena.
    pub fn zeros_in(arena: &Arena, dims: impl AsRef<[usize]>) -> Result<Self> {
        let mut tensor = Self::uninit_in(Some(arena), dims.as_ref())?;
        tensor.as_mut_slice().fill(0.0);
        Ok(tensor)
    }

    /// A copy of `values` outside any arena.
    ///
    /// **Errors**: [`Error::ShapeMismatch`] if the number of values is not the product of `dims`.
    pub fn from_slice(values: &[f32], dims: impl AsRef<[usize]>) -> Result<Self> {
        let mut tensor = Self::zeros(dims)?;
        tensor.copy_from(values)?;
        Ok(tensor)
    }

    /// A copy of `values` in `arena`.
    ///
    /// **Errors**: as [`Tensor::from_slice`].
    pub fn from_slice_in(arena: &Arena, values: &[f32], dims: impl AsRef<[usize]>) -> Result<Self> {
        let mut tensor = Self::uninit_in(Some(arena), dims.as_ref())?;
        tensor.copy_from(values)?;
        Ok(tensor)
    }

    /// A tensor of another shape from the arena of `self`, with unspecified (but initialised) content: the caller
    /// overwrites all of it.
    pub fn uninit_like(&self, dims: impl AsRef<[usize]>) -> Result<Self> {
        Self::uninit_in(self.arena.as_ref(), dims.as_ref())
    }

    /// A copy in the same arena.
    pub fn try_clone(&self) -> Result<Self> {
        let mut copy = self.uninit_like(self.dims())?;
        copy.as_mut_slice().copy_from_slice(self.as_slice());
        Ok(copy)
    }

    /// The same block under another shape; nothing is copied.
    ///
    /// **Errors**: [`Error::ShapeMismatch`] if the number of elements differs.
    pub fn reshape(mut self, dims: impl AsRef<[usize]>) -> Result<Self> {
        let shape = Shape::new(dims.as_ref())?;
        if shape.elements() != self.shape.elements() {
            let expected = format!("{} elements for {shape}", shape.elements());
            return Err(Error::ShapeMismatch {
                op: "reshape",
                expected,
                got: self.shape,
            });
        }
        self.shape = shape;
        Ok(self)
    }

    /// The shape.
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// The extents, outermost first.
    pub fn dims(&self) -> &[usize] {
        self.shape.dims()
    }

    /// The extents as an array.
    ///
    /// **Errors**: [`Error::ShapeMismatch`] naming `op` and the axis letters `expected` if the rank is not `R`.
    pub fn dims_of<const R: usize>(&self, op: &'static str, expected: &str) -> Result<[usize; R]> {
        self.dims().try_into().map_err(|_| self.mismatch(op, expected))
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.elements()
    }

    /// All elements in row-major order.
    pub fn as_slice(&self) -> &[f32] {
        &self.buffer.as_slice()[..self.shape.elements()]
    }

    /// All elements in row-major order, to be changed in place.
    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        let elements = self.shape.elements();
        &mut self.buffer.as_mut_slice()[..elements]
    }

    /// The error for a tensor that breaks the contract of `op`.
    pub fn mismatch(&self, op: &'static str, expected: impl Into<String>) -> Error {
        Error::ShapeMismatch {
            op,
            expected: expected.into(),
            got: self.shape,
        }
    }

    fn uninit_in(arena: Option<&Arena>, dims: &[usize]) -> Result<Self> {
        let shape = Shape::new(dims)?;
        let buffer = match arena {
            Some(arena) => arena.take(shape.elements())?,
            None => Buffer::zeros(shape.elements())?,
        };
        Ok(Self {
            shape,
            buffer,
            arena: arena.cloned(),
        })
    }

    fn copy_from(&mut self, values: &[f32]) -> Result<()> {
        if values.len() != self.elements() {
            return Err(self.mismatch("from_slice", format!("{} values", values.len())));
        }
        self.as_mut_slice().copy_from_slice(values);
        Ok(())
    }
}

impl Drop for Tensor {
    fn drop(&mut self) {
        if let Some(arena) = &self.arena {
            arena.give_back(std::mem::take(&mut self.buffer));
        }
    }
}

impl std::fmt::Debug for Tensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let head = &self.as_slice()[..self.elements().min(6)];
        write!(f, "Tensor{} {head:?}", self.shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_tensor_gives_its_buffer_to_the_next_one() {
        let arena = Arena::new();
        let first = Tensor::zeros_in(&arena, [4, 8]).unwrap();
        drop(first);
        let second = Tensor::zeros_in(&arena, [32]).unwrap();
        assert_eq!(arena.stats().allocations, 1);
        assert_eq!(arena.stats().live_bytes, 128);
        drop(second);
        arena.trim();
        assert_eq!(arena.stats().free_bytes, 0);
    }

    #[test]
    fn results_stay_in_the_arena_of_their_input_even_after_a_reshape() {
        let arena = Arena::new();
        let x = Tensor::zeros_in(&arena, [2, 3]).unwrap().reshape([6]).unwrap();
        let y = x.uninit_like([6, 16]).unwrap();
        assert_eq!(arena.stats().allocations, 2);
        drop((x, y));
        assert_eq!(arena.stats().free_buffers, 2);
    }

    #[test]
    fn buffers_start_on_a_cache_line() {
        let x = Tensor::zeros([3]).unwrap();
        assert_eq!(x.as_slice().as_ptr() as usize % 64, 0);
    }

    #[test]
    fn wrong_shapes_are_errors_that_name_both_sides() {
        let x = Tensor::zeros([2, 3]).unwrap();
        let text = x.reshape([7]).unwrap_err().to_string();
        assert!(text.contains("[7]") && text.contains("[2, 3]"), "{text}");
        assert!(matches!(
            Tensor::zeros([usize::MAX, 2]),
            Err(Error::TooManyElements { .. })
        ));
        assert!(matches!(Tensor::zeros([1 << 58]), Err(Error::OutOfMemory { .. })));
        assert!(matches!(Tensor::zeros([1; 9]), Err(Error::RankTooLarge { rank: 9 })));
        assert!(matches!(
            Tensor::from_slice(&[1.0], [2]),
            Err(Error::ShapeMismatch { .. })
        ));
    }

    #[test]
    fn rank_zero_holds_one_element_and_zero_extents_hold_none() {
        assert_eq!(Tensor::zeros([]).unwrap().as_slice(), &[0.0]);
        assert!(Tensor::zeros([0, 5]).unwrap().as_slice().is_empty());
    }
}
