//! How a transformer is loaded: how exact it is, and what of it stays in memory.

use kinora_kernels::Precision;

/// Where the blocks of a transformer are between two uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Residency {
    /// All of them in memory, packed once.
    #[default]
    Resident,
    /// In the checkpoint. Each is read and packed when a step comes to it, while the one before computes, and dropped
    /// afterwards: two are in memory at most. The same numbers, bit for bit; every step reads the whole checkpoint.
    Streamed,
}

/// Whether the keys and values of cross-attention outlive a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ContextMemory {
    /// Made once for a run and kept, for all blocks: 2·S·M floats a block and text. A streamed model makes those of a block
    /// when a step first comes to it.
    #[default]
    Kept,
    /// Made again in each step and dropped with the block. This costs 4·S·M² operations a block, about S in L of what the
    /// block costs anyway: next to nothing for a video, half of a step for a few tokens.
    Remade,
}

/// How a transformer is loaded. A [`Precision`] alone means: resident, with kept contexts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct LoadOptions {
    /// What the attention and feed-forward layers of the blocks compute with.
    pub precision: Precision,
    /// Where the blocks are.
    pub residency: Residency,
    /// Where their contexts are.
    pub contexts: ContextMemory,
}

impl LoadOptions {
    /// As little memory as possible: streamed blocks, and contexts that are made again in each step.
    pub const fn streamed(precision: Precision) -> Self {
        Self {
            precision,
            residency: Residency::Streamed,
            contexts: ContextMemory::Remade,
        }
    }
}

impl From<Precision> for LoadOptions {
    fn from(precision: Precision) -> Self {
        Self {
            precision,
            ..Self::default()
        }
    }
}
