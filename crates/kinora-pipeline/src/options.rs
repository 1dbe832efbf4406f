//! How a model is loaded.

use std::path::PathBuf;

use kinora_sampling::Expert;

use crate::precision::PrecisionChoice;

/// What [`crate::Pipeline::open`] takes beside the model.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OpenOptions {
    /// What the large layers compute with.
    pub precision: PrecisionChoice,
    /// The most memory that the process may hold; what the system has to give if absent.
    pub max_memory_bytes: Option<u64>,
    /// What is added to the transformer's weights.
    pub loras: Vec<LoraChoice>,
    /// A tiny autoencoder (TAEHV) that decodes instead of the model's own: faster, less memory, softer detail. With it
    /// previews are pictures too.
    pub tiny_decoder: Option<PathBuf>,
}

/// A LoRA and how it is used.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraChoice {
    /// Its file.
    pub path: PathBuf,
    /// How much of it is added; 1 is all, less than 0 takes away.
    pub strength: f32,
    /// Which of two experts it is for; what its name says, or both, if absent.
    pub expert: Option<Expert>,
}

impl OpenOptions {
    /// The numbers of the reference implementations: f32, no limit but the system's.
    pub const EXACT: Self = Self {
        precision: PrecisionChoice::F32,
        max_memory_bytes: None,
        loras: Vec::new(),
        tiny_decoder: None,
    };
}
