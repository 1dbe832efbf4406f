//! The one error type of this crate.

/// What can go wrong before an operation starts; once it runs it cannot fail.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tensor has another shape than the contract states, or memory ran out.
    #[error(transparent)]
    Tensor(#[from] kinora_tensor::Error),
    /// A slice argument (weights, bias, table of angles, lengths) does not have the length that the contract states.
    #[error("{op}: {what} must have {expected} elements, got {got}")]
    Length {
        /// The operation that refused.
        op: &'static str,
        /// The name of the argument.
        what: &'static str,
        /// Elements that the contract asks for.
        expected: usize,
        /// Elements that arrived.
        got: usize,
    },
    /// An argument has a value that the contract excludes.
    #[error("{op}: {what} must be {expected}, got {got}")]
    Value {
        /// The operation that refused.
        op: &'static str,
        /// The name of the argument.
        what: &'static str,
        /// The allowed values in words.
        expected: &'static str,
        /// The value that arrived.
        got: String,
    },
    /// `KINORA_KERNELS` holds a word that names no path.
    #[error(
        "KINORA_KERNELS={value:?} names no kernel path\nhint: one of reference, portable, neon, avx2, avx512, or unset it"
    )]
    UnknownPath {
        /// The content of the variable.
        value: String,
    },
    /// A path was asked for that this processor cannot run.
    #[error("this processor cannot run the {path} kernels\nhint: available here: {available}")]
    PathUnavailable {
        /// The path asked for.
        path: &'static str,
        /// The paths that would work, separated by commas.
        available: String,
    },
    /// The worker threads could not be started.
    #[error("could not start {threads} worker threads: {reason}")]
    Threads {
        /// Threads asked for.
        threads: usize,
        /// What the system said.
        reason: String,
    },
}

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, Error>;
