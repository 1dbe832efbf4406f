//! Files of weights, from the first bytes to whole folders. One program: those that hold the embedded model are large.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a helper that fails fails its test

mod bad_files;
mod bad_gguf;
mod encodings;
mod folders;
mod fuzzing;
mod lora;
mod pickle;
mod pull;
mod reader;
mod recognise;
mod toybox;
mod write;
