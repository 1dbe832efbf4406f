//! The Wan transformer against diffusers in tiny configurations, tap by tap.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a helper that fails fails its test

mod causal;
mod common;
mod image;
mod memory;
mod padding;
mod streamed;
mod text;
mod vace;
