//! All rules of `cargo xtask tidy`; `docs/tidy.md` lists them for people.

mod arrows;
mod documents;
mod fixtures;
mod lex;
mod source;
mod words;

use std::path::Path;

use anyhow::Result;

use crate::tree::{self, File};
use crate::{Problem, manifest};

/// A rule looks at all files and says what is wrong with them.
type Rule = fn(&[File]) -> Result<Vec<Problem>>;

const RULES: [Rule; 9] = [
    arrows::check,
    source::opens_with_an_essay,
    source::short_enough,
    source::no_open_ends,
    source::no_paths_of_a_machine,
    words::check,
    documents::changelog_and_dependencies,
    fixtures::listed_and_small,
    fixtures::models_within_budget,
];

/// Checks the tree below `root` and gives everything that is wrong, sorted by place.
pub fn tidy(root: &Path) -> Result<Vec<Problem>> {
    let files = tree::files(root)?;
    let mut problems = Vec::new();
    for rule in RULES {
        problems.extend(rule(&files)?);
    }
    problems.sort();
    Ok(problems)
}

/// A file by its path.
fn find<'a>(files: &'a [File], path: &str) -> Option<&'a File> {
    files.iter().find(|file| file.path == path)
}

/// Whether a line is exempted from a rule: by `tidy: <rule>: <reason>` in a comment on it, with a reason.
fn exempted(line: &str, rule: &str) -> bool {
    line.split_once(&format!("tidy: {rule}: "))
        .is_some_and(|(_, reason)| reason.trim().len() >= 10)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;

    use super::*;

    /// A made-up tree, and what one rule says about it.
    pub(crate) fn complaints(rule: Rule, tree: &[(&str, &str)]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in tree {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let mut problems = rule(&tree::files(folder.path()).unwrap()).unwrap();
        problems.sort();
        problems.iter().map(Problem::to_string).collect()
    }

    #[test]
    fn built_and_hidden_folders_are_not_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        for path in [
            "target/debug/a.rs",
            ".git/b.rs",
            ".venv/c.rs",
            "crates/x/target/d.rs",
            ".ci/run",
            "e.rs",
        ] {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let files = tree::files(folder.path()).unwrap();
        let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, [".ci/run", "e.rs"]);
        assert!(files[0].is_text());
    }

    #[test]
    fn an_exemption_needs_a_reason() {
        assert!(exempted(
            "let x = 1; // tidy: path: the test wants a folder that nobody may write",
            "path"
        ));
        assert!(!exempted("let x = 1; // tidy: path:", "path"));
        assert!(!exempted("let x = 1; // tidy: path: ok", "path"));
        assert!(!exempted(
            "let x = 1; // tidy: word: the name of a file of diffusers",
            "path"
        ));
    }
}
