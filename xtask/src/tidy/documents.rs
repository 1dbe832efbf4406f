//! Documents that must keep up: the CHANGELOG and the list of dependencies.

use std::collections::BTreeMap;

use anyhow::Result;

use super::find;
use super::manifest::dependencies;
use crate::Problem;
use crate::tree::File;

const CHANGELOG: &str = "CHANGELOG.md";
const DEPENDENCIES: &str = "docs/dependencies.md";

pub(super) fn changelog_and_dependencies(files: &[File]) -> Result<Vec<Problem>> {
    let mut problems = changelog(files)?;
    let mut named: BTreeMap<String, (String, usize)> = BTreeMap::new();
    for file in files.iter().filter(|file| file.name() == "Cargo.toml") {
        for dependency in dependencies(&file.text()?) {
            let ours = dependency.local || dependency.name == "kinora" || dependency.name.starts_with("kinora-");
            if !ours {
                named
                    .entry(dependency.name)
                    .or_insert((file.path.clone(), dependency.line));
            }
        }
    }
    let table = match find(files, DEPENDENCIES) {
        Some(file) => rows(&file.text()?),
        None => BTreeMap::new(),
    };
    for (name, (path, line)) in &named {
        if !table.contains_key(name) {
            let text = format!("`{name}` has no row in {DEPENDENCIES}: version, licence, and why it is worth having");
            problems.push(Problem::at(path, *line, text));
        }
    }
    for (name, line) in &table {
        if !named.contains_key(name) {
            problems.push(Problem::at(
                DEPENDENCIES,
                *line,
                format!("`{name}` is no direct dependency any more"),
            ));
        }
    }
    Ok(problems)
}

fn changelog(files: &[File]) -> Result<Vec<Problem>> {
    let Some(file) = find(files, CHANGELOG) else {
        return Ok(vec![Problem::new(CHANGELOG, "is missing")]);
    };
    let text = file.text()?;
    let first = text.lines().find(|line| line.starts_with("## "));
    Ok(if first.is_some_and(|line| line.trim_end() == "## [Unreleased]") {
        Vec::new()
    } else {
        vec![Problem::new(
            CHANGELOG,
            "the first section is `## [Unreleased]`, where the next change goes",
        )]
    })
}

/// The crates of the table, with the lines of their rows: the first cell of a row is the name in backticks.
fn rows(text: &str) -> BTreeMap<String, usize> {
    let row = |(index, line): (usize, &str)| {
        let name = line.trim().strip_prefix("| `")?.split('`').next()?;
        Some((name.to_owned(), index + 1))
    };
    text.lines().enumerate().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::complaints;

    const LOG: (&str, &str) = (CHANGELOG, "# Changelog\n\n## [Unreleased]\n\n## [0.1.0]\n");

    #[test]
    fn dependencies_and_their_table_are_compared_both_ways() {
        let manifest = "[dependencies]\nserde = \"1\"\nrayon = \"1\"\nkinora-tensor.workspace = true\n";
        let table = "| Crate | Why |\n|---|---|\n| `serde` | reads files |\n| `regex` | gone |\n";
        let found = complaints(
            changelog_and_dependencies,
            &[LOG, ("a/Cargo.toml", manifest), (DEPENDENCIES, table)],
        );
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("a/Cargo.toml:3: `rayon`"), "{found:?}");
        assert!(found[1].starts_with("docs/dependencies.md:4: `regex`"), "{found:?}");
    }

    #[test]
    fn the_changelog_has_a_place_for_the_next_change() {
        assert_eq!(complaints(changelog_and_dependencies, &[LOG]), Vec::<String>::new());
        assert_eq!(complaints(changelog_and_dependencies, &[]).len(), 1);
        let released = (CHANGELOG, "## [0.1.0]\n\n## [Unreleased]\n");
        assert_eq!(complaints(changelog_and_dependencies, &[released]).len(), 1);
    }
}
