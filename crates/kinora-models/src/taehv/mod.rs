//! TAEHV: a tiny causal video autoencoder, run frame by frame with constant memory.

mod config;
mod layers;
mod model;
#[cfg(test)]
mod tests;

pub use config::{Config, LatentRgb};
pub use model::{Decoder, Encoder, Taehv};
