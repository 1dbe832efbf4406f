//! Help, manual, completions and lists.

use tempfile::TempDir;

use crate::snapshot;
use crate::support::{kinora, kinora_anywhere, names_in, program};

#[test]
fn help_is_as_recorded() {
    for (name, args) in [
        ("help.txt", &["--help"][..]),
        ("help-generate-short.txt", &["generate", "-h"]),
        ("help-generate.txt", &["generate", "--help"]),
        ("help-decode.txt", &["decode", "--help"]),
        ("help-models.txt", &["models", "--help"]),
        ("help-models-list.txt", &["models", "list", "--help"]),
        ("help-models-add.txt", &["models", "add", "--help"]),
        ("help-serve.txt", &["serve", "--help"]),
        ("help-worker.txt", &["worker", "--help"]),
        ("help-jobs.txt", &["jobs", "--help"]),
        ("help-jobs-watch.txt", &["jobs", "watch", "--help"]),
        ("help-pull.txt", &["pull", "--help"]),
        ("help-convert.txt", &["convert", "--help"]),
        ("help-quantize.txt", &["quantize", "--help"]),
        ("help-inspect.txt", &["inspect", "--help"]),
        ("help-parse.txt", &["parse", "--help"]),
        ("help-eval.txt", &["eval", "--help"]),
        ("help-completions.txt", &["completions", "--help"]),
        ("help-man.txt", &["man", "--help"]),
    ] {
        let run = kinora_anywhere(args).expect_code(0);
        assert!(run.text().contains("Examples:\n  ") && run.stderr.is_empty());
        snapshot::check(name, &run.text());
    }
}

#[test]
fn the_version_is_told() {
    assert_eq!(
        kinora_anywhere(&["--version"]).expect_code(0).text(),
        concat!("kinora ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn every_shell_gets_completions() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let text = kinora_anywhere(&["completions", shell]).expect_code(0).text();
        assert!(
            text.contains("no-preview") && text.contains("generate"),
            "{shell}: {text}"
        );
    }
}

#[test]
fn manual_pages_are_printed_and_written() {
    let page = kinora_anywhere(&["man"]).expect_code(0).text();
    assert!(
        page.contains(".TH kinora 1") && page.contains("kinora\\-generate(1)"),
        "{page}"
    );
    let folder = TempDir::new().unwrap();
    kinora(folder.path(), &["man", "--dir", "pages/man1"]).expect_code(0);
    let pages = names_in(&folder.path().join("pages/man1"));
    let expected = [
        "-completions",
        "-convert",
        "-decode",
        "-eval",
        "-generate",
        "-inspect",
        "-jobs-cancel",
        "-jobs-delete",
        "-jobs-list",
        "-jobs-retry",
        "-jobs-show",
        "-jobs-watch",
        "-jobs",
        "-keys-create",
        "-keys-list",
        "-keys-revoke",
        "-keys",
        "-man",
        "-models-add",
        "-models-list",
        "-models",
        "-parse",
        "-pull",
        "-quantize",
        "-serve",
        "-worker",
        "",
    ];
    assert_eq!(pages, expected.map(|name| format!("kinora{name}.1")));
    let page = std::fs::read_to_string(folder.path().join("pages/man1/kinora-generate.1")).unwrap();
    assert!(
        page.contains("\\-\\-guidance") && page.contains("Example: \\-\\-steps 24"),
        "{page}"
    );
}

#[test]
fn the_embedded_model_is_listed_with_its_licence() {
    let text = kinora_anywhere(&["models"]).expect_code(0).text();
    let mut lines = text.lines();
    assert!(lines.next().unwrap().starts_with("NAME"), "{text}");
    let toybox = lines.next().unwrap();
    assert!(
        toybox.starts_with("toybox") && toybox.contains(" MB ") && toybox.contains("text-to-video"),
        "{text}"
    );
    let models = kinora_anywhere(&["models", "--json"]).expect_code(0).json();
    assert_eq!(
        (&models[0]["name"], &models[0]["embedded"], &models[0]["problem"]),
        (&"toybox".into(), &true.into(), &().into())
    );
    assert!(
        models[0]["licence"]
            .as_str()
            .is_some_and(|licence| licence != "unknown" && !licence.is_empty())
    );
}

#[test]
fn a_reader_that_has_left_is_no_trouble() {
    let folder = TempDir::new().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = program(folder.path())
        .args(["completions", "bash"])
        .stdout(writer)
        .output()
        .unwrap();
    assert_eq!(
        (output.status.code(), String::from_utf8(output.stderr).unwrap().as_str()),
        (Some(0), "")
    );
}
