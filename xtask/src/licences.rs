//! The licences of all packages that the workspace is built from, checked without a network.
//!
//! `cargo deny check` does the same and more for those who have it; `deny.toml` holds the same list, and a test keeps
//! the two equal.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::Problem;
use crate::spdx::satisfied_by;

/// Licences under which a dependency may be used: permissive ones, and MPL-2.0, which covers its own files only.
pub(crate) const ALLOWED: [&str; 16] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "IJG",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];
/// What our own packages state.
const OURS: &str = "Apache-2.0 OR MIT";

/// Checks every package that cargo resolves for the workspace. Gives a summary and what is wrong.
pub fn licences(root: &Path) -> Result<(String, Vec<Problem>)> {
    // Packages for other systems are only on the disk if something fetched them.
    match metadata(root, &[]) {
        Ok(all) => Ok(check(&all, "all platforms")),
        Err(_) => {
            let host = host()?;
            let filtered = metadata(root, &["--filter-platform", &host])?;
            Ok(check(
                &filtered,
                &format!("{host} only; `cargo fetch` brings the other platforms"),
            ))
        }
    }
}

fn metadata(root: &Path, extra: &[&str]) -> Result<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--offline", "--locked", "--format-version", "1"])
        .args(extra)
        .current_dir(root)
        .output()
        .context("could not start cargo")?;
    if !output.status.success() {
        bail!("cargo metadata failed\n{}", String::from_utf8_lossy(&output.stderr));
    }
    serde_json::from_slice(&output.stdout).context("cargo metadata did not print JSON")
}

fn host() -> Result<String> {
    let output = Command::new("rustc")
        .arg("-vV")
        .output()
        .context("could not start rustc")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("host: "));
    line.map(str::to_owned)
        .context("rustc does not say for which host it builds")
}

/// What cargo says about packages, judged.
fn check(metadata: &Value, scope: &str) -> (String, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let packages = metadata["packages"].as_array().map_or(&[][..], Vec::as_slice);
    if packages.is_empty() {
        problems.push(Problem::new("workspace", "cargo metadata lists no packages"));
    }
    for package in packages {
        let name = format!("{} {}", text(&package["name"]), text(&package["version"]));
        let licence = text(&package["license"]);
        if package["source"].is_null() {
            if licence != OURS {
                problems.push(Problem::new(
                    name,
                    format!("our own packages are under {OURS}, not {licence:?}"),
                ));
            }
            continue;
        }
        *counts.entry(licence).or_default() += 1;
        if licence.is_empty() {
            problems.push(Problem::new(
                name,
                "states no licence; read its files and drop it or ask its authors",
            ));
            continue;
        }
        match satisfied_by(licence, &ALLOWED) {
            Ok(true) => {}
            Ok(false) => problems.push(Problem::new(
                name,
                format!("is under {licence}, which is not allowed here"),
            )),
            Err(reason) => problems.push(Problem::new(
                name,
                format!("has a licence that cannot be read: {reason}"),
            )),
        }
    }
    problems.sort();
    let mut kinds: Vec<_> = counts.iter().map(|(licence, n)| (*n, *licence)).collect();
    kinds.sort_by(|a, b| b.cmp(a));
    let kinds: Vec<String> = kinds.iter().map(|(n, licence)| format!("{n} {licence}")).collect();
    let total: usize = counts.values().sum();
    (format!("{total} packages ({scope}): {}", kinds.join("; ")), problems)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_packages_need_an_allowed_licence_and_ours_state_ours() {
        let registry = "registry";
        let metadata = serde_json::json!({ "packages": [
            { "name": "good", "version": "1.0.0", "license": "MIT OR Apache-2.0", "source": registry },
            { "name": "viral", "version": "1.0.0", "license": "AGPL-3.0-only", "source": registry },
            { "name": "silent", "version": "1.0.0", "license": null, "source": registry },
            { "name": "broken", "version": "1.0.0", "license": "MIT OR", "source": registry },
            { "name": "kinora-a", "version": "0.1.0", "license": "Apache-2.0 OR MIT", "source": null },
            { "name": "kinora-b", "version": "0.1.0", "license": "MIT", "source": null },
        ]});
        let (summary, problems) = check(&metadata, "test");
        let places: Vec<&str> = problems.iter().map(|p| p.place.as_str()).collect();
        assert_eq!(
            places,
            ["broken 1.0.0", "kinora-b 0.1.0", "silent 1.0.0", "viral 1.0.0"]
        );
        assert!(summary.starts_with("4 packages (test)"), "{summary}");
        assert_eq!(check(&serde_json::json!({}), "test").1.len(), 1);
    }

    #[test]
    fn deny_toml_holds_the_same_list() {
        let deny = include_str!("../../deny.toml");
        let list = deny.split_once("allow = [").unwrap().1.split_once(']').unwrap().0;
        let listed: Vec<&str> = list.split(',').map(|entry| entry.trim().trim_matches('"')).collect();
        let listed: Vec<&str> = listed.into_iter().filter(|entry| !entry.is_empty()).collect();
        assert_eq!(listed, ALLOWED);
    }
}
