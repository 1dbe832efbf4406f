//! Shapes, dtypes, buffers and the activation arena. No arithmetic lives here.
//!
//! A [`Tensor`] is a dense, row-major block of `f32` activations: the last axis is contiguous and there are no gaps.
//! Kernels that need another order (heads, patches, channels-last images) state it in their contract and read the
//! block in place, so no strided views are needed and `as_slice` is always the whole truth.
//!
//! Memory comes from an [`Arena`], a free list of aligned buffers. A tensor remembers the arena that it came from and
//! gives its buffer back when it is dropped; operations allocate their result with [`Tensor::uninit_like`] from the
//! arena of their input, so a denoising loop stops allocating after its first step.
//!
//! ```
//! use kinora_tensor::{Arena, Tensor};
//! let arena = Arena::new();
//! let x = Tensor::zeros_in(&arena, [2, 3])?;
//! assert_eq!(x.dims(), &[2, 3]);
//! let y = x.reshape([3, 2])?;
//! assert_eq!(y.as_slice().len(), 6);
//! drop(y);
//! assert_eq!(arena.stats().free_buffers, 1);
//! # Ok::<(), kinora_tensor::Error>(())
//! ```

mod arena;
mod dtype;
mod error;
mod shape;
mod tensor;

pub use arena::{Arena, ArenaStats};
pub use dtype::DType;
pub use error::{Error, Result};
pub use shape::Shape;
pub use tensor::Tensor;
