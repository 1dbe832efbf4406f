//! The networks beside the Wan transformer, each against its reference.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a helper that fails fails its test

mod clip_vision;
mod dialects;
mod judge;
mod lora;
mod minilm;
mod umt5;
mod umt5_tokenizer;
mod wan_vae;
