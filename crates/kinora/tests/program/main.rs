//! Runs the real program as a user does: arguments in, exit code, output and files out.

mod arguments;
mod files;
mod generation;
mod help;
mod prompts;
mod snapshot;
mod stopping;
mod support;
