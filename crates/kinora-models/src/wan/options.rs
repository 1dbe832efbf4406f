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

/// How cross-attention sees the padding at the end of a text. Wan attends to it: a prompt of 20 tokens is 512 of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TextPadding {
    /// As it is given, token by token.
    #[default]
    Attended,
    /// Equal tokens at the end have equal keys, so that one of them, with ln(their number) added to its score, weighs as
    /// much as all. The same numbers up to rounding, in less memory and time; attention to the text is then exact in every
    /// precision.
    Folded,
}

/// How a transformer is loaded. A [`Precision`] alone means: resident, with kept contexts, padding as it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct LoadOptions {
    /// What the attention and feed-forward layers of the blocks compute with.
    pub precision: Precision,
    /// Where the blocks are.
    pub residency: Residency,
    /// Where their contexts are.
    pub contexts: ContextMemory,
    /// How padding is attended to.
    pub padding: TextPadding,
}

impl LoadOptions {
    /// As little memory as the same numbers allow: streamed blocks, and contexts that are made again in each step.
    pub const fn streamed(precision: Precision) -> Self {
        Self {
            precision,
            residency: Residency::Streamed,
            contexts: ContextMemory::Remade,
            padding: TextPadding::Attended,
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
