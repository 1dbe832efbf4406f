//! Files of weights: made known, converted, made smaller, described.

use std::path::Path;

use tempfile::TempDir;

use crate::support::{ended, kinora, names_in, program};
use crate::wan_model;

fn fixture(file: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kinora-weights/tests/fixtures");
    folder.join(file).display().to_string()
}

fn generate<'a>(model: &'a str, output: &'a str) -> Vec<&'a str> {
    let args = [
        "--size", "64x64", "--frames", "5", "--steps", "2", "--seed", "7", "--quiet",
    ];
    [&["generate", "a fox runs", "--model", model, "-o", output], &args[..]].concat()
}

#[test]
fn a_model_is_added_and_used_by_its_name() {
    let folder = TempDir::new().unwrap();
    wan_model::comfy(&folder.path().join("files"));
    let file = "files/diffusion_models/tiny_t2v.safetensors";
    let text = kinora(folder.path(), &["models", "add", file]).expect_code(0).text();
    for word in [
        "tiny_t2v",
        "text encoder",
        "tiny_vae.safetensors",
        "unknown",
        "text-to-video",
        "--model tiny_t2v",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    // From another working folder, by name, listed beside the others.
    let elsewhere = folder.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let run = |args: &[&str]| {
        let mut program = program(&elsewhere);
        program.env("XDG_DATA_HOME", folder.path()).args(args);
        ended(program.output().unwrap())
    };
    let models = run(&["models", "--json"]).expect_code(0).json();
    let names: Vec<_> = models.as_array().unwrap().iter().map(|model| &model["name"]).collect();
    assert_eq!(names, ["toybox", "tiny_t2v"]);
    assert!(
        models[1]["problem"].is_null() && models[1]["size_bytes"].as_u64().unwrap() > 100_000,
        "{models}"
    );
    assert_eq!(run(&["models", "list"]).text(), run(&["models"]).text());
    run(&generate("tiny_t2v", "fox.mp4")).expect_code(0);
    run(&["inspect", "fox.mp4"]).expect_code(0);
    // A second time.
    kinora(folder.path(), &["models", "add", file]).expect_refusal(5, "installed already");
}

#[test]
fn the_first_folder_of_models_takes_it_and_json_tells_the_parts() {
    let folder = TempDir::new().unwrap();
    wan_model::diffusers(folder.path(), "tiny");
    let mut program = program(folder.path());
    program
        .env("KINORA_MODELS", folder.path().join("shelf"))
        .args(["models", "add", "tiny", "--json"]);
    let model = ended(program.output().unwrap()).expect_code(0).json();
    assert_eq!(model["name"], "tiny");
    assert!(model["parts"]["vae"].as_str().unwrap().ends_with("tiny/vae"), "{model}");
    assert_eq!(names_in(&folder.path().join("shelf/tiny")), ["model.json"]);
}

#[test]
fn a_model_without_a_part_is_not_added() {
    let folder = TempDir::new().unwrap();
    wan_model::comfy(folder.path());
    std::fs::remove_file(folder.path().join("text_encoders/tiny_text_encoder.safetensors")).unwrap();
    let file = "diffusion_models/tiny_t2v.safetensors";
    let run = kinora(folder.path(), &["models", "add", file]).expect_refusal(4, "a text encoder (umT5)");
    assert!(run.stderr.contains("text_encoders"), "{}", run.stderr);
    kinora(folder.path(), &["models", "add", "missing.safetensors"]).expect_refusal(4, "missing.safetensors");
    kinora(folder.path(), &["models", "add", "vae/tiny_vae.safetensors"]).expect_code(4);
    assert!(!folder.path().join("kinora").exists());
}

#[test]
fn pickles_become_safetensors_and_evil_ones_nothing() {
    let folder = TempDir::new().unwrap();
    let run = kinora(
        folder.path(),
        &["convert", &fixture("pickles/plain.pth"), "-o", "plain.safetensors"],
    );
    let run = run.expect_code(0);
    assert!(
        run.stderr.contains("plain.safetensors  ") && run.stderr.contains(" tensors  "),
        "{}",
        run.stderr
    );
    let json = kinora(folder.path(), &["inspect", "plain.safetensors", "--json"])
        .expect_code(0)
        .json();
    assert_eq!(json["file"]["holds"], "unknown");
    assert!(json["file"]["types"]["F32"]["tensors"].as_u64().unwrap() > 0, "{json}");

    let plain = fixture("pickles/plain.pth");
    kinora(folder.path(), &["convert", &plain, "-o", "plain.safetensors"]).expect_refusal(5, "--overwrite");
    let args = [
        "convert",
        &plain,
        "-o",
        "plain.safetensors",
        "--overwrite",
        "--dtype",
        "bf16",
        "--json",
        "--quiet",
    ];
    let report = kinora(folder.path(), &args).expect_code(0).json();
    assert!(report["tensors"].as_u64().unwrap() > 0, "{report}");
    let text = kinora(folder.path(), &["inspect", "plain.safetensors"])
        .expect_code(0)
        .text();
    assert!(text.contains("BF16"), "{text}");

    for evil in ["pickles/evil.pth", "pickles/evil_deep.pth"] {
        let run = kinora(folder.path(), &["convert", &fixture(evil), "-o", "evil.safetensors"]).expect_code(4);
        assert!(run.stderr.contains("evil"), "{}", run.stderr);
    }
    kinora(folder.path(), &["convert", &plain, "-o", "missing/x.safetensors"]).expect_code(5);
    kinora(
        folder.path(),
        &["convert", &plain, "-o", "x.safetensors", "--dtype", "int4"],
    )
    .expect_refusal(2, "bf16");
    assert_eq!(names_in(folder.path()), ["plain.safetensors"]);
}

#[test]
fn a_quantised_transformer_is_smaller_and_runs() {
    let folder = TempDir::new().unwrap();
    wan_model::diffusers(folder.path(), "tiny");
    let whole = "tiny/transformer/diffusion_pytorch_model.safetensors";
    for kind in ["int8", "fp8"] {
        let output = format!("{kind}.safetensors");
        let run = kinora(folder.path(), &["quantize", whole, "-o", &output, "--kind", kind]).expect_code(0);
        let table = run.text();
        assert!(
            table.starts_with("MATRICES") && table.contains("blocks.*.attn1.to_q.weight"),
            "{table}"
        );
        assert!(
            run.stderr.contains(" matrices rounded, ") && run.stderr.contains(", was "),
            "{}",
            run.stderr
        );
        let text = kinora(folder.path(), &["inspect", &output]).expect_code(0).text();
        assert!(
            text.contains("weights without their configuration") && text.contains("hint: "),
            "{text}"
        );
    }
    kinora(folder.path(), &generate("tiny", "exact.mp4")).expect_code(0);
    std::fs::rename(folder.path().join("int8.safetensors"), folder.path().join(whole)).unwrap();
    kinora(folder.path(), &generate("tiny", "int8.mp4")).expect_code(0);
    let run = kinora(folder.path(), &["quantize", whole, "-o", whole, "--overwrite"]).expect_code(5);
    assert!(run.stderr.contains("the output is the input"), "{}", run.stderr);
    let info = kinora(folder.path(), &["inspect", "int8.mp4", "--json"])
        .expect_code(0)
        .json();
    assert_eq!(info["file"]["frames"], 5);
    kinora(
        folder.path(),
        &["quantize", whole, "-o", "x.safetensors", "--kind", "int3"],
    )
    .expect_refusal(2, "fp8");
}
