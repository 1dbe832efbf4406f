//! `kinora eval`: what it needs, and a whole one as small as it gets.

use std::fmt::Write;
use std::path::Path;

use kinora_testkit::Golden;
use tempfile::TempDir;

use crate::snapshot;
use crate::support::{kinora, names_in};

const PROMPTS: &str = r#"[{"id": 0, "kind": "people", "prompt": "a dog at night", "labels": {"actors": ["dog"], "count": 1,
    "background": null, "time": "night", "weather": null, "motion": null, "camera": null}}]"#;

/// The judge of the goldens, with random weights.
fn write_judge(folder: &Path) {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kinora-models");
    let golden = Golden::open(models.to_str().unwrap(), "judge_tiny");
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("config.json"), golden.meta("config")).unwrap();
    std::fs::write(folder.join("model.safetensors"), golden.checkpoint_bytes("weights.")).unwrap();
}

#[test]
fn what_is_missing_or_broken_is_said_before_anything_is_made() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("good.json"), PROMPTS).unwrap();
    std::fs::write(folder.path().join("broken.json"), "[{").unwrap();
    std::fs::write(folder.path().join("other.json"), PROMPTS.replace("night\"", "noon\"")).unwrap();
    write_judge(&folder.path().join("judge"));
    std::fs::create_dir(folder.path().join("damaged")).unwrap();
    std::fs::write(folder.path().join("damaged/config.json"), "{}").unwrap();
    let before = names_in(folder.path());
    let mut said = String::new();
    for (args, code) in [
        (&["eval"][..], 3),
        (&["eval", "--prompts", "nothing.json"], 3),
        (&["eval", "--prompts", "broken.json"], 3),
        (&["eval", "--prompts", "good.json"], 4),
        (&["eval", "--prompts", "good.json", "--judge", "nobody"], 4),
        (&["eval", "--prompts", "good.json", "--judge", "damaged"], 4),
        (&["eval", "--prompts", "other.json", "--judge", "judge"], 3),
        (
            &["eval", "--prompts", "good.json", "--judge", "judge", "--model", "toybx"],
            4,
        ),
    ] {
        let run = kinora(folder.path(), args).expect_refusal(code, "");
        let text = run.stderr.replace(folder.path().to_str().unwrap(), "FOLDER");
        writeln!(said, "$ kinora {}\n{text}", args.join(" ")).unwrap();
    }
    assert_eq!(names_in(folder.path()), before);
    snapshot::check("eval-errors.txt", &said);
}

/// A folder with one prompt, and the judge where it is looked for.
fn folder_with_judge() -> TempDir {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("p.json"), PROMPTS).unwrap();
    write_judge(&folder.path().join("models/judge"));
    folder
}

/// An evaluation of that prompt into the folder `out`, in so many unguided steps, with more flags.
fn evaluation<'a>(steps: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let args = [
        "eval",
        "--prompts",
        "p.json",
        "--guidance",
        "1",
        "--out",
        "out",
        "--steps",
        steps,
    ];
    [&args, more].concat()
}

#[test]
fn a_score_is_printed_and_not_made_twice() {
    let folder = folder_with_judge();
    let args = evaluation("1", &["--keep-clips"]);
    let run = kinora(folder.path(), &args).expect_code(0);
    let table = run.text();
    assert_eq!(table.lines().count(), 12);
    assert!(table.contains("people") && table.contains(" of 1"), "{table}");
    assert!(
        run.stderr.starts_with("1 of 1, subject ") && run.stderr.contains("score.md"),
        "{}",
        run.stderr
    );
    let out = folder.path().join("out");
    let files = [
        "clips",
        "results.jsonl",
        "score.json",
        "score.md",
        "sheet.png",
        "strips",
    ];
    assert_eq!(names_in(&out), files);
    assert_eq!(names_in(&out.join("clips")), ["000.mp4"]);
    let recipe = kinora(&out, &["inspect", "clips/000.mp4", "--json"])
        .expect_code(0)
        .json();
    assert_eq!(recipe["recipe"]["prompt"], "a dog at night");

    let again = kinora(folder.path(), &args).expect_code(0);
    assert_eq!(again.text(), table);
    assert!(
        again.stderr.starts_with("1 of 1 clips are known from before\n"),
        "{}",
        again.stderr
    );
    kinora(folder.path(), &evaluation("2", &[])).expect_refusal(2, "steps: 1 there, 2 now");
}

#[test]
fn an_extension_is_scored_in_a_folder_of_its_own() {
    let folder = folder_with_judge();
    let run = kinora(folder.path(), &evaluation("1", &["--task", "extend"])).expect_code(0);
    let table = run.text();
    for row in ["kept subject", "kept weather", "seam"] {
        assert!(table.contains(row), "{table}");
    }
    assert!(!folder.path().join("out/source.mp4").exists());
    kinora(folder.path(), &evaluation("1", &[])).expect_refusal(2, "task: \"extend\" there, \"text\" now");
}
