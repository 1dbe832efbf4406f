//! The one error type of this crate.

use crate::Shape;

/// What can go wrong with shapes and buffers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tensor does not have the shape that an operation states in its contract.
    #[error("{op}: expected {expected}, got {got}")]
    ShapeMismatch {
        /// The operation that refused.
        op: &'static str,
        /// The shape that the contract asks for, in words or axis letters.
        expected: String,
        /// The shape that arrived.
        got: Shape,
    },
    /// More axes than [`Shape::MAX_RANK`].
    #[error("a shape has {rank} axes; at most {} are supported", Shape::MAX_RANK)]
    RankTooLarge {
        /// The number of axes asked for.
        rank: usize,
    },
    /// The number of elements does not fit into memory addresses.
    #[error("shape {dims:?} has more elements than this machine can address")]
    TooManyElements {
        /// The extents asked for.
        dims: Vec<usize>,
    },
    /// The system refused the memory.
    #[error("could not allocate {bytes} bytes for activations\nhint: a smaller size, fewer frames, or more memory")]
    OutOfMemory {
        /// Bytes asked for.
        bytes: usize,
    },
}

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, Error>;
