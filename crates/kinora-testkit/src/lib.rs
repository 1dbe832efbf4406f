//! Goldens, comparisons and tolerances for tests; a dev-dependency only.
//!
//! A golden is a small safetensors file that a script under `tools/reference/` wrote from the reference
//! implementation: weights, inputs, the values after each stage, and the output. It lies in the `tests/fixtures`
//! folder of the crate that uses it, beside a `manifest.json` that says where it came from. [`Golden::open`] checks
//! the file against that manifest; whatever is missing or changed fails the test that asked for it.
//!
//! ```no_run
//! use kinora_testkit::{Golden, assert_close};
//! let golden = Golden::open(env!("CARGO_MANIFEST_DIR"), "wan_tiny");
//! let input = golden.tensor("hidden_states");
//! # let run = |x: kinora_tensor::Tensor| x;
//! let output = run(input);
//! assert_close("output", output.as_slice(), golden.tensor("output").as_slice(), golden.tolerance());
//! ```
//!
//! With `KINORA_PARITY=FILE` in the environment every comparison with a golden also leaves a line in that file, from which
//! `cargo xtask parity` makes `docs/parity.md`.
//!
//! Everything here panics instead of returning errors, because a test has nothing better to do with an error.
// A test library: a panic is its way to report.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used)]

mod compare;
mod golden;
mod parity;

pub use compare::{Differences, assert_close, cosine, nmse, psnr};
pub use golden::{Golden, read_json};
pub use parity::parity_note;
/// A JSON value, as fixtures in JSON are read.
pub use serde_json::Value as Json;
