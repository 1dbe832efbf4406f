//! The judge: a small network that says what a clip of Toybox's world shows.

mod config;
mod model;

pub use config::{Classes, Config, Head};
pub use model::{Judge, Judgement};
