//! What can be wrong with a pickle.

/// Why the tensors of a pickle are not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PickleError {
    /// The file is something else.
    #[error("{file} is no PyTorch file: {reason}\nhint: {hint}")]
    NotPyTorch {
        /// The file.
        file: String,
        /// What it looks like.
        reason: String,
        /// What to do.
        hint: &'static str,
    },
    /// The pickle wants to call something that makes no tensor.
    #[error(
        "{file} refers to `{name}`, which is no part of a tensor\nhint: such a file can run programs when PyTorch loads it; kinora has run nothing. Get the model as safetensors, or from somebody you trust"
    )]
    Forbidden {
        /// The file.
        file: String,
        /// Module and name.
        name: String,
    },
    /// The pickle contradicts itself.
    #[error("the pickle in {file} is damaged at byte {at}: {reason}\nhint: copy or download it again")]
    Damaged {
        /// The file.
        file: String,
        /// Where in the pickle.
        at: usize,
        /// What is wrong.
        reason: String,
    },
    /// The archive around it contradicts itself.
    #[error("the archive {file} is damaged: {reason}\nhint: copy or download it again")]
    BadArchive {
        /// The file.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// A tensor does not fit its data.
    #[error("tensor `{tensor}` of {file} cannot be read: {reason}")]
    BadTensor {
        /// The file.
        file: String,
        /// The tensor.
        tensor: String,
        /// What is wrong.
        reason: String,
    },
    /// More of something than any checkpoint has.
    #[error("{file} has {what}\nhint: no checkpoint needs that; it is damaged or made to use up memory")]
    TooLarge {
        /// The file.
        file: String,
        /// What there is too much of.
        what: String,
    },
}
