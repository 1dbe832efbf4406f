//! Data in git: goldens are small and known, embedded models stay within their budget.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::Value;

use super::find;
use crate::Problem;
use crate::tree::File;

const FOLDER: &str = "/tests/fixtures/";
const MANIFEST: &str = "manifest.json";
/// One file of reference values.
const LARGEST_FIXTURE_BYTES: u64 = 1_000_000;
/// All that a clone carries of model weights: 104 MB of Toybox, 7 MB of its judge.
const MODELS_BYTES: u64 = 112_000_000;

/// Every fixture is under a megabyte and listed under `fixtures` in the `manifest.json` of its folder, which says
/// where it came from.
pub(super) fn listed_and_small(files: &[File]) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    // Fixtures by the folder of their manifest.
    let mut folders: BTreeMap<&str, Vec<(&str, &File)>> = BTreeMap::new();
    for file in files {
        if let Some((before, name)) = file.path.split_once(FOLDER) {
            folders.entry(before).or_default().push((name, file));
        }
    }
    for (before, fixtures) in folders {
        let manifest = format!("{before}{FOLDER}{MANIFEST}");
        let listed = match find(files, &manifest).map(File::text).transpose()? {
            Some(text) => listed(&text),
            None => Err("is missing; it says where each fixture came from".to_owned()),
        };
        let listed = listed.unwrap_or_else(|text| {
            problems.push(Problem::new(&manifest, text));
            Vec::new()
        });
        for name in &listed {
            if !fixtures.iter().any(|(fixture, _)| fixture == name) {
                problems.push(Problem::new(&manifest, format!("{name} is listed but not there")));
            }
        }
        for (name, file) in fixtures {
            if file.bytes >= LARGEST_FIXTURE_BYTES {
                let text = format!("{} bytes; a fixture is under {LARGEST_FIXTURE_BYTES}", file.bytes);
                problems.push(Problem::new(&file.path, text));
            }
            if name != MANIFEST && file.name() != "README.md" && !listed.iter().any(|listed| listed == name) {
                problems.push(Problem::new(&file.path, format!("is not listed in {manifest}")));
            }
        }
    }
    Ok(problems)
}

fn listed(manifest: &str) -> Result<Vec<String>, String> {
    let value: Value = serde_json::from_str(manifest).map_err(|error| format!("is not JSON: {error}"))?;
    let fixtures = value["fixtures"].as_object().ok_or("has no object `fixtures`")?;
    Ok(fixtures.keys().cloned().collect())
}

pub(super) fn models_within_budget(files: &[File]) -> Result<Vec<Problem>> {
    let bytes: u64 = files
        .iter()
        .filter(|file| file.path.starts_with("models/"))
        .map(|file| file.bytes)
        .sum();
    Ok(if bytes > MODELS_BYTES {
        vec![Problem::new(
            "models",
            format!("{bytes} bytes; a clone carries at most {MODELS_BYTES}"),
        )]
    } else {
        Vec::new()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::complaints;

    const LIST: &str = r#"{ "fixtures": { "a.safetensors": {}, "pictures/b.png": {}, "gone.bin": {} } }"#;

    #[test]
    fn fixtures_and_their_manifest_are_compared_both_ways() {
        let large = "x".repeat(1_000_000);
        let tree = [
            ("crates/x/tests/fixtures/manifest.json", LIST),
            ("crates/x/tests/fixtures/README.md", "What lies here.\n"),
            ("crates/x/tests/fixtures/a.safetensors", large.as_str()),
            ("crates/x/tests/fixtures/pictures/b.png", ""),
            ("crates/x/tests/fixtures/pictures/c.png", ""),
        ];
        let found = complaints(listed_and_small, &tree);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].contains("a.safetensors: 1000000 bytes"), "{found:?}");
        assert!(found[1].contains("gone.bin is listed but not there"), "{found:?}");
        assert!(found[2].contains("pictures/c.png: is not listed"), "{found:?}");
    }

    #[test]
    fn a_missing_or_broken_manifest_is_found() {
        let file = ("crates/x/tests/fixtures/a.bin", "");
        assert_eq!(complaints(listed_and_small, &[file]).len(), 2);
        for broken in ["{", "{}", "[]"] {
            let found = complaints(
                listed_and_small,
                &[file, ("crates/x/tests/fixtures/manifest.json", broken)],
            );
            assert_eq!(found.len(), 2, "{broken}: {found:?}");
        }
    }

    #[test]
    fn models_have_a_budget() {
        let small = [("models/toybox/card.md", "x"), ("docs/models/large.md", "x")];
        assert_eq!(complaints(models_within_budget, &small), Vec::<String>::new());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("models");
        std::fs::create_dir(&path).unwrap();
        // A file with a hole: as long as it says, without taking the space.
        std::fs::File::create(path.join("w.bin"))
            .unwrap()
            .set_len(MODELS_BYTES + 1)
            .unwrap();
        let files = crate::tree::files(folder.path()).unwrap();
        assert_eq!(models_within_budget(&files).unwrap().len(), 1);
    }
}
