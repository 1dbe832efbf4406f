//! umT5: the text encoder of the Wan family, streamed from its file block by block; its tokenizer, and what is done to a
//! prompt before it.

mod config;
pub mod memory;
mod model;
mod prompt;
mod tokenizer;

pub use config::Config;
pub use model::Umt5;
pub use prompt::clean_prompt;
pub use tokenizer::{GgufPieces, Tokenizer, Tokens};
