//! Wan: the video diffusion transformer of Wan 2.1 and 2.2 and of Toybox.

mod attention;
mod block;
mod blocks;
mod causal;
mod config;
mod context;
mod image;
mod layout;
pub mod memory;
mod options;
mod patch;
mod rope;
mod tap;
mod time;
mod transformer;
mod vace;

pub use causal::{CacheElement, CacheOptions, KvCache, WriteCache};
pub use config::Config;
pub use context::Context;
pub use options::{ContextMemory, LoadOptions, Residency, TextPadding};
pub use time::Timesteps;
pub use transformer::Transformer;
pub use vace::Control;
