//! Who may import whom. A new arrow needs a decision record in `docs/adr/` and a change of this table.

use std::collections::BTreeSet;

use anyhow::Result;

use super::manifest::{Table, dependencies};
use crate::Problem;
use crate::tree::File;

/// Each crate with those that it may import; what they may import, it may import too.
const MAY_IMPORT: [(&str, &[&str]); 16] = [
    ("kinora-tensor", &[]),
    ("kinora-kernels", &["kinora-tensor"]),
    ("kinora-weights", &["kinora-tensor", "kinora-kernels"]),
    ("kinora-models", &["kinora-tensor", "kinora-kernels", "kinora-weights"]),
    ("kinora-sampling", &["kinora-tensor", "kinora-kernels"]),
    ("kinora-media", &[]),
    ("kinora-pipeline", &["kinora-models", "kinora-sampling", "kinora-media"]),
    ("kinora-provenance", &["kinora-media"]),
    ("kinora-jobs", &[]),
    ("kinora-dispatch", &["kinora-jobs"]),
    ("kinora-review", &["kinora-media", "kinora-provenance"]),
    ("kinora-api", &[]),
    (
        "kinora-server",
        &[
            "kinora-pipeline",
            "kinora-provenance",
            "kinora-jobs",
            "kinora-dispatch",
            "kinora-review",
            "kinora-api",
        ],
    ),
    ("kinora-eval", &["kinora-pipeline", "kinora-models", "kinora-media"]),
    ("kinora", &["kinora-server", "kinora-eval"]),
    ("kinora-testkit", &["kinora-tensor"]),
];
/// What tests of any crate may import besides.
const FOR_TESTS: &str = "kinora-testkit";

/// Everything that a crate may import, or `None` if the table does not know it.
fn allowed(name: &str) -> Option<BTreeSet<&'static str>> {
    let direct = MAY_IMPORT.iter().find(|(crate_name, _)| *crate_name == name)?.1;
    let mut reached: BTreeSet<&str> = direct.iter().copied().collect();
    for next in direct {
        reached.extend(allowed(next).into_iter().flatten());
    }
    Some(reached)
}

pub(super) fn check(files: &[File]) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    for file in files
        .iter()
        .filter(|file| file.path.starts_with("crates/") && file.name() == "Cargo.toml")
    {
        let Some(name) = file.path.split('/').nth(1) else {
            continue;
        };
        let text = file.text()?;
        if !text.lines().any(|line| line.trim() == format!("name = \"{name}\"")) {
            problems.push(Problem::new(
                &file.path,
                format!("the crate has the name of its folder: {name}"),
            ));
        }
        let Some(may) = allowed(name) else {
            let text =
                format!("{name} is not in the table of crates; add it there with a decision record in docs/adr/");
            problems.push(Problem::new(&file.path, text));
            continue;
        };
        let ours = dependencies(&text).into_iter().filter(|dependency| {
            MAY_IMPORT.iter().any(|(known, _)| *known == dependency.name) || dependency.name.starts_with("kinora-")
        });
        for import in ours {
            let for_tests = import.table == Table::Dev && import.name == FOR_TESTS && name != FOR_TESTS;
            if !may.contains(import.name.as_str()) && !for_tests {
                let tests = if import.table == Table::Dev { " in tests" } else { "" };
                let text = format!("{name} may not import {}{tests}; it may import {may:?}", import.name);
                problems.push(Problem::at(&file.path, import.line, text));
            }
        }
    }
    Ok(problems)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::complaints;

    fn manifest(name: &str, rest: &str) -> String {
        format!("[package]\nname = \"{name}\"\n{rest}")
    }

    fn problems_of(name: &str, rest: &str) -> Vec<String> {
        complaints(check, &[(&format!("crates/{name}/Cargo.toml"), &manifest(name, rest))])
    }

    #[test]
    fn arrows_of_the_table_are_fine_also_over_a_third_crate() {
        let rest = "[dependencies]\nkinora-models.workspace = true\nkinora-tensor.workspace = true\nserde = \"1\"\n\
                    [dev-dependencies]\nkinora-testkit.workspace = true\n";
        assert_eq!(problems_of("kinora-pipeline", rest), Vec::<String>::new());
    }

    #[test]
    fn arrows_against_the_table_are_found() {
        let found = problems_of("kinora-sampling", "[dependencies]\nkinora-models.workspace = true\n");
        assert_eq!(found.len(), 1);
        assert!(
            found[0].starts_with("crates/kinora-sampling/Cargo.toml:4: kinora-sampling may not import kinora-models")
        );
        let for_tests_only = "[dependencies]\nkinora-testkit.workspace = true\n";
        assert_eq!(problems_of("kinora-models", for_tests_only).len(), 1);
        let backwards = "[dev-dependencies]\nkinora-pipeline = { path = \"../kinora-pipeline\" }\n";
        assert!(problems_of("kinora-models", backwards)[0].contains("in tests"));
        assert_eq!(
            problems_of("kinora-media", "[dependencies]\nkinora-tensor.workspace = true\n").len(),
            1
        );
    }

    #[test]
    fn unknown_crates_and_other_names_are_found() {
        assert_eq!(problems_of("kinora-magic", "").len(), 1);
        let found = complaints(check, &[("crates/kinora-media/Cargo.toml", &manifest("media", ""))]);
        assert!(found[0].contains("name of its folder"), "{found:?}");
    }

    #[test]
    fn the_table_knows_all_its_crates_and_has_no_circle() {
        for (name, direct) in MAY_IMPORT {
            assert!(
                direct
                    .iter()
                    .all(|next| MAY_IMPORT.iter().any(|(known, _)| known == next)),
                "{name}"
            );
            assert!(!allowed(name).unwrap().contains(name), "{name}");
        }
        assert_eq!(allowed("kinora").unwrap().len(), 14, "all but itself and the testkit");
    }
}
