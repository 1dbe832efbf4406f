//! Automation: the rules of the house as checks, the licences of dependencies, the table of parity, fuzzing for a while,
//! and the steps of CI.
//!
//! Everything works offline, on the files of the working tree, with nothing but cargo. The rules are listed for people
//! in `docs/tidy.md`; each lives in one module under `tidy/` with tests on small made-up trees.

mod licences;
mod manifest;
mod parity;
mod problem;
mod spdx;
mod tidy;
mod tree;

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

pub use licences::licences;
pub use parity::{parity, parity_check};
pub use problem::Problem;
pub use tidy::tidy;

/// Runs `.ci/run` in `root`, so that the steps at home and in CI cannot differ. True if it succeeds.
pub fn ci(root: &Path) -> Result<bool> {
    let status = Command::new("bash")
        .arg(".ci/run")
        .current_dir(root)
        .status()
        .context("could not start bash")?;
    Ok(status.success())
}

/// Mutates the files of `fuzz/corpus` for `seconds` in all. True if no reader panicked, hung or took too much memory.
pub fn fuzz(root: &Path, seconds: u64) -> Result<bool> {
    let status = Command::new("cargo")
        .args(["test", "-p", "kinora-weights", "--test", "fuzz", "--", "--nocapture"])
        .env("KINORA_FUZZ_SECONDS", seconds.to_string())
        .current_dir(root)
        .status()
        .context("could not start cargo")?;
    Ok(status.success())
}
