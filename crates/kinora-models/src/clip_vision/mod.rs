//! CLIP-H's picture encoder: what Wan 2.1 image to video knows of its first picture beside the encoded latents.

mod config;
pub mod memory;
mod model;
mod picture;
mod resize;

pub use config::Config;
pub use model::ClipVision;
pub use picture::pixels;
