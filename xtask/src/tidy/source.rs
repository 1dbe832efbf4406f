//! Rules for single source files: an essay on top, not too long, no open ends, no paths of a developer's machine.

use anyhow::Result;

use super::{exempted, lex};
use crate::Problem;
use crate::tree::File;

/// A file that needs more is two files.
const MOST_LINES: usize = 600;
/// How far from the top an exemption from the length may stand.
const TOP_LINES: usize = 20;

fn rust(files: &[File]) -> impl Iterator<Item = &File> {
    files.iter().filter(|file| file.ending() == "rs")
}

pub(super) fn opens_with_an_essay(files: &[File]) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    for file in rust(files) {
        let text = file.text()?;
        let first = text.lines().next().unwrap_or_default();
        if first.strip_prefix("//!").is_none_or(|essay| essay.trim().len() < 10) {
            problems.push(Problem::at(
                &file.path,
                1,
                "a file opens with `//!` and what it is, in a sentence",
            ));
        }
    }
    Ok(problems)
}

pub(super) fn short_enough(files: &[File]) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    for file in rust(files) {
        let text = file.text()?;
        let lines = text.lines().count();
        if lines > MOST_LINES && !text.lines().take(TOP_LINES).any(|line| exempted(line, "long")) {
            let text = format!(
                "{lines} lines; at most {MOST_LINES}, or a table of data with `// tidy: long: <reason>` near the top"
            );
            problems.push(Problem::new(&file.path, text));
        }
    }
    Ok(problems)
}

/// Marks of unfinished work need the number of an issue on the same line.
pub(super) fn no_open_ends(files: &[File]) -> Result<Vec<Problem>> {
    const MARKS: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    const UNFINISHED: [&str; 2] = [concat!("to", "do!("), concat!("unimple", "mented!(")];
    let mut problems = Vec::new();
    for file in files
        .iter()
        .filter(|file| ["rs", "py", "sh", "cu", "js", "ts", "css"].contains(&file.ending()))
    {
        let text = file.text()?;
        let lines = if file.ending() == "rs" {
            lex::split(&text)
        } else {
            other_language(&text)
        };
        for (index, line) in lines.iter().enumerate() {
            let marked = words(&line.comment).any(|word| MARKS.contains(&word));
            let numbered = line
                .comment
                .split('#')
                .skip(1)
                .any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
            if (marked && !numbered) || UNFINISHED.iter().any(|call| line.code.contains(call)) {
                let text = "unfinished work: finish it, or name the issue on this line as #<number>";
                problems.push(Problem::at(&file.path, index + 1, text));
            }
        }
    }
    Ok(problems)
}

/// Without a lexer, everything may be a comment.
fn other_language(text: &str) -> Vec<lex::Line> {
    let line = |comment: &str| lex::Line {
        comment: comment.to_owned(),
        code: String::new(),
    };
    text.lines().map(line).collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
}

pub(super) fn no_paths_of_a_machine(files: &[File]) -> Result<Vec<Problem>> {
    const FOLDERS: [&str; 4] = [
        concat!("/ho", "me/"),
        concat!("/ro", "ot/"),
        concat!("/wo", "rk/"),
        concat!("/Us", "ers/"),
    ];
    let mut problems = Vec::new();
    for file in files.iter().filter(|file| file.is_text()) {
        for (index, line) in file.text()?.lines().enumerate() {
            if exempted(line, "path") {
                continue;
            }
            // Behind a letter it is the end of a longer path or of an address.
            let starts_here = |(at, _): (usize, &str)| {
                let before = line[..at].chars().next_back();
                before.is_none_or(|c| !c.is_alphanumeric() && !"._-~}$".contains(c))
            };
            if let Some(folder) = FOLDERS
                .iter()
                .find(|folder| line.match_indices(**folder).any(starts_here))
            {
                let text = format!("{folder} is a path of one machine; nobody else has it");
                problems.push(Problem::at(&file.path, index + 1, text));
            }
        }
    }
    Ok(problems)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::complaints;

    #[test]
    fn files_without_a_first_sentence_are_found() {
        let tree = [
            ("a/good.rs", "//! Numbers and their names.\nfn f() {}\n"),
            ("a/empty.rs", ""),
            ("a/late.rs", "use std::fs;\n//! Too late.\n"),
            ("a/mute.rs", "//!\n//! Below.\n"),
            ("a/other.py", "x = 1\n"),
        ];
        let found = complaints(opens_with_an_essay, &tree);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found.iter().all(|problem| !problem.contains("good")));
    }

    #[test]
    fn long_files_are_found_unless_they_are_tables() {
        let long = "//! Long.\n".to_owned() + &"x\n".repeat(600);
        let table = "//! Table.\n// tidy: long: measured values of the standard, one a line\n".to_owned() + &long;
        let found = complaints(
            short_enough,
            &[("a.rs", &long), ("b.rs", &table), ("c.rs", "//! Short.\n")],
        );
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("a.rs: 601 lines"), "{found:?}");
    }

    #[test]
    fn open_ends_are_found_in_comments_and_calls() {
        let (mark, call) = (concat!("TO", "DO"), concat!("to", "do!()"));
        let rust = format!("// {mark} later\n// {mark}(#12) later\nlet x = \"{mark}\";\nfn f() {{ {call} }}\n");
        let found = complaints(
            no_open_ends,
            &[("a.rs", &rust), ("b.py", &format!("# {mark}: more\nx = 'mastodon'\n"))],
        );
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].starts_with("a.rs:1:") && found[1].starts_with("a.rs:4:") && found[2].starts_with("b.py:1:"));
    }

    #[test]
    fn paths_of_a_machine_are_found_where_they_begin() {
        let home = concat!("/ho", "me/");
        let bad = format!("see {home}me/x\nopen(\"{home}me\")\n");
        let good = format!(
            "https://example.org{home}x\n${{HOME}}{home}\nlet p = \"{home}x\"; // tidy: path: a folder that nobody has\n"
        );
        let found = complaints(
            no_paths_of_a_machine,
            &[("a.md", &bad), ("b.rs", &good), ("c.bin", &bad)],
        );
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[1].starts_with("a.md:2:"), "{found:?}");
    }
}
