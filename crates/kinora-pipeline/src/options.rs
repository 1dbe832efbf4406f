//! How a model is loaded.

use crate::precision::PrecisionChoice;

/// What [`crate::Pipeline::open`] takes beside the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpenOptions {
    /// What the large layers compute with.
    pub precision: PrecisionChoice,
    /// The most memory that the process may hold; what the system has to give if absent.
    pub max_memory_bytes: Option<u64>,
}

impl OpenOptions {
    /// The numbers of the reference implementations: f32, no limit but the system's.
    pub const EXACT: Self = Self {
        precision: PrecisionChoice::F32,
        max_memory_bytes: None,
    };
}
