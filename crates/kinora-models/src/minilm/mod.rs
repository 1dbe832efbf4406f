//! MiniLM: the sentence encoder that turns a prompt into context tokens, and its tokenizer.

mod model;
mod tokenizer;

pub use model::{Config, MiniLm};
pub use tokenizer::{TokenBatch, Tokenizer};
