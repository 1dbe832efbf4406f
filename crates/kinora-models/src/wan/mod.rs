//! Wan: the video diffusion transformer of Wan 2.1 and 2.2 and of Toybox.

mod block;
mod config;
mod rope;
mod transformer;

pub use config::Config;
pub use transformer::{Context, Timesteps, Transformer};
