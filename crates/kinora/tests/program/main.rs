//! Runs the real program as a user does: arguments in, exit code, output and files out.

// A helper that fails is a test that fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod arguments;
mod evaluation;
mod files;
mod generation;
mod help;
mod prompts;
mod pull;
mod snapshot;
mod speed;
mod stopping;
mod support;
mod tasks;
mod wan;
mod wan_model;
mod weights;
