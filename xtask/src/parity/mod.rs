//! `docs/parity.md`: how far Kinora is from its references, component by component, measured by the tests themselves.
//!
//! The tests of every crate with fixtures run once with `KINORA_PARITY` set; `kinora_testkit` then keeps a line for each
//! comparison with a golden, and [`table`] makes rows of them.

mod table;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::Problem;
use table::{Measured, Table};

/// Where the table lies.
const PAGE: &str = "docs/parity.md";

/// Runs the tests that compare with goldens and writes the table. Gives a summary.
pub fn parity(root: &Path) -> Result<String> {
    let measured = measure(root)?;
    let page = root.join(PAGE);
    fs::write(&page, measured.to_string()).with_context(|| format!("could not write {PAGE}"))?;
    Ok(format!("{} rows in {PAGE}", measured.rows.len()))
}

/// Runs the same tests and compares with the table as it is: every row must still be there, with as many comparisons,
/// inside its tolerance, and no row may be missing.
pub fn parity_check(root: &Path) -> Result<Vec<Problem>> {
    let text = fs::read_to_string(root.join(PAGE))
        .with_context(|| format!("{PAGE} is missing; `cargo xtask parity` writes it"))?;
    let written = Table::parse(&text).with_context(|| format!("{PAGE} was changed by hand"))?;
    Ok(written.check(&measure(root)?, PAGE))
}

fn measure(root: &Path) -> Result<Measured> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    fs::create_dir_all(&target).context("could not make the folder of builds")?;
    let lines = std::path::absolute(target.join("parity.jsonl"))?;
    if lines.exists() {
        fs::remove_file(&lines).context("could not remove the lines of the last run")?;
    }
    let fixtures = fixtures(root)?;
    let crates: BTreeSet<&str> = fixtures.iter().map(|(crate_name, _)| crate_name.as_str()).collect();
    for crate_name in crates {
        println!("parity: cargo test -p {crate_name}");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo)
            .args(["test", "--quiet", "-p", crate_name])
            .env("KINORA_PARITY", &lines)
            .current_dir(root)
            .status()
            .context("could not start cargo")?;
        if !status.success() {
            bail!("the tests of {crate_name} fail; a table of numbers that do not hold helps nobody");
        }
    }
    let text = fs::read_to_string(&lines).context("no comparison was kept")?;
    Measured::read(&text, &fixtures)
}

/// Crate and file name of every fixture.
fn fixtures(root: &Path) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root.join("crates")).context("could not list crates/")? {
        let folder = entry?;
        let manifest = folder.path().join("tests/fixtures/manifest.json");
        if !manifest.is_file() {
            continue;
        }
        let crate_name = folder.file_name().to_string_lossy().into_owned();
        let text = fs::read_to_string(&manifest).with_context(|| format!("could not read {}", manifest.display()))?;
        let manifest: Value = serde_json::from_str(&text).with_context(|| format!("{crate_name}: its manifest"))?;
        let files = manifest["fixtures"]
            .as_object()
            .context("a manifest without fixtures")?;
        found.extend(files.keys().map(|file| (crate_name.clone(), file.clone())));
    }
    found.sort();
    Ok(found)
}
