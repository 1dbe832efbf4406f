//! The autoencoders of Wan 2.1 (16 channels, 8x8 pixels) and Wan 2.2 (48 channels, 16x16), four frames to a latent frame.

mod blocks;
mod cache;
mod config;
mod decoder;
mod encoder;
pub mod memory;
mod model;
mod names;
mod resample;
mod tiles;

pub use config::Config;
pub use model::{Decoder, Encoder, WanVae};
pub use names::tensors;
pub use tiles::Tiling;
