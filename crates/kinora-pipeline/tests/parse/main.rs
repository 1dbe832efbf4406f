//! What prompts are read as.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a helper that fails fails its test

mod grounding;
mod prompts;
mod robust;
