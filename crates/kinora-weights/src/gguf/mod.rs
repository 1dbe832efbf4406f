//! GGUF files: header, metadata, and the blocks that numbers lie in.

pub(crate) mod blocks;
