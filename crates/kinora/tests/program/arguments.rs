//! Arguments that cannot be meant.

use std::fmt::Write;

use tempfile::TempDir;

use crate::snapshot;
use crate::support::{kinora, kinora_anywhere, names_in};

/// Arguments after `kinora`, and a word of the answer.
const CASES: &[(&[&str], &str)] = &[
    (&["generate"], "<PROMPT>"),
    (&["generat"], "'generate'"),
    (&["generate", "a cat", "--stepz", "3"], "'--steps'"),
    (&["generate", "a cat", "--steps", "0"], "1 to 200"),
    (&["generate", "a cat", "--steps", "-3"], "1 to 200"),
    (&["generate", "a cat", "--steps", "1000000"], "1 to 200"),
    (&["generate", "a cat", "--steps", "NaN"], "1 to 200"),
    (&["generate", "a cat", "--guidance", "NaN"], "0 to 30"),
    (&["generate", "a cat", "--guidance", "-1"], "0 to 30"),
    (&["generate", "a cat", "--guidance", "1e30"], "0 to 30"),
    (&["generate", "a cat", "--seconds", "0"], "at most 60"),
    (&["generate", "a cat", "--seconds", "inf"], "at most 60"),
    (&["generate", "a cat", "--seconds", "-2.5"], "at most 60"),
    (&["generate", "a cat", "--frames", "0"], "1 to 7200"),
    (&["generate", "a cat", "--frames", "99999999999"], "1 to 7200"),
    (&["generate", "a cat", "--frames", "9", "--seconds", "1"], "--seconds"),
    (&["generate", "a cat", "--fps", "0"], "1 to 120"),
    (&["generate", "a cat", "--fps", "-24"], "1 to 120"),
    (&["generate", "a cat", "--fps", "1000"], "1 to 120"),
    (&["generate", "a cat", "--fps", "NaN"], "1 to 120"),
    (&["generate", "a cat", "--size", "0x0"], "64 to 3840"),
    (&["generate", "a cat", "--size", "-5x5"], "512x288"),
    (&["generate", "a cat", "--size", "100000x100000"], "64 to 3840"),
    (&["generate", "a cat", "--size", "big"], "512x288"),
    (&["generate", "a cat", "--size", "101x201"], "102x202"),
    (&["generate", "a cat", "--seed", "-1"], "18446744073709551615"),
    (&["generate", "a cat", "--seed", "one"], "18446744073709551615"),
    (
        &["generate", "a cat", "--seed", "18446744073709551615", "--variants", "2"],
        "--seed",
    ),
    (&["generate", "a cat", "--variants", "0"], "1 to 64"),
    (&["generate", "a cat", "--variants", "65"], "1 to 64"),
    (&["generate", "a cat", "--threads", "0"], "1 to 1024"),
    (
        &["worker", "--jobs", "a.db", "--files", "a", "--lease", "0"],
        "1 to 86400",
    ),
    (&["generate", "a cat", "--sampler", "magic"], "euler"),
    (&["generate", "a cat", "--precision", "int4"], "bf16"),
    (&["generate", "a cat", "--max-memory", "lots"], "2GB"),
    (&["generate", "a cat", "--max-memory", "-2GB"], "2GB"),
    (&["generate", "a cat", "--max-memory", "2000000000"], "2GB"),
    (&["generate", "a cat", "--max-memory", "1MB"], "128MB"),
    (&["generate", "a cat", "--format", "avi"], "webm"),
    (&["generate", "a cat", "-o", "cat.avi"], "webm"),
    (&["generate", "a cat", "-o", "cat"], "cat.mp4"),
    (&["generate", "a cat", "-o", "cat.png"], "--frames 1"),
    (&["generate", "a cat", "-o", "cat.mp4", "--format", "gif"], "--format"),
    (
        &["generate", "a cat", "--image", "a.png", "--extend", "b.mp4"],
        "--extend",
    ),
    (
        &["generate", "a cat", "--raw-prompt", "--expand-prompt"],
        "--expand-prompt",
    ),
    (&["generate", ""], "empty"),
    (&["parse", " "], "empty"),
    (&["eval", "--kinds", "seen,odd"], "held_out"),
    (&["eval", "--limit", "0"], "--limit"),
    (&["eval", "--task", "video"], "text, image or extend"),
    (&["completions", "tcsh"], "bash"),
    (&["generate", "a cat", "--strength", "2", "--video", "a.mp4"], "up to 1"),
    (&["generate", "a cat", "--strength", "0.5"], "--video"),
    (&["generate", "a cat", "--blend-from", "a.mp4"], "--blend-to"),
    (
        &[
            "generate",
            "--blend-from",
            "a.mp4",
            "--blend-to",
            "b.mp4",
            "--curve",
            "0,2",
        ],
        "from 0 to 1",
    ),
    (&["generate", "a cat", "--shot", "a dog"], "--shot"),
    (&["generate", "a cat", "--seam-frames", "8"], "--loop"),
    (&["generate", "--loop", "a.mp4", "--seconds", "2"], "--seconds"),
    (
        &[
            "generate",
            "a cat",
            "--video-latents",
            "a.safetensors",
            "--extend",
            "b.mp4",
        ],
        "--extend",
    ),
    (&["generate", "a cat", "--mask", "a.png"], "--control"),
    (&["generate", "a cat", "--cache", "fast"], "easy"),
    (&["generate", "a cat", "--lora", "a.safetensors:99"], "-10 to 10"),
    (&["generate", "a cat", "--lora", ":0.5"], "style.safetensors:0.8"),
    (&["generate", "a cat", "--shift", "0"], "--shift 5"),
    (&["generate", "a cat", "--control-scale", "-1"], "0 to 4"),
    (&["decode"], "<LATENTS>"),
    (&["decode", "a.latents.safetensors", "--format", "avi"], "webm"),
    (&["models", "ad"], "'add'"),
    (&["models", "add"], "<PATH>"),
    (&["pull"], "<NAME|URL>"),
    (&["pull", "wan2.1-t2v-1.3b", "--list"], "--list"),
    (&["convert", "a.pth"], "--output"),
    (&["convert", "a.pth", "-o", "b.safetensors", "--dtype", "int8"], "bf16"),
    (
        &["quantize", "a.safetensors", "-o", "b.safetensors", "--kind", "q4"],
        "fp8",
    ),
];

#[test]
fn nonsense_is_refused_with_the_range_and_a_hint() {
    let folder = TempDir::new().unwrap();
    let mut said = String::new();
    for (args, word) in CASES {
        let run = kinora(folder.path(), args).expect_refusal(2, word);
        let shown: Vec<_> = args
            .iter()
            .map(|arg| {
                if arg.contains(' ') || arg.is_empty() {
                    format!("'{arg}'")
                } else {
                    arg.to_string()
                }
            })
            .collect();
        writeln!(said, "$ kinora {}\n{}", shown.join(" "), run.stderr).unwrap();
    }
    assert_eq!(names_in(folder.path()), [""; 0]);
    snapshot::check("bad-arguments.txt", &said);
}

#[test]
fn without_arguments_the_help_is_shown_as_an_error() {
    let run = kinora_anywhere(&[""; 0]).expect_code(2);
    assert!(run.stderr.contains("Usage: kinora") && run.stdout.is_empty());
}

#[test]
fn control_codes_of_arguments_do_not_reach_the_terminal() {
    let run = kinora_anywhere(&["generate", "a cat", "-o", "\u{1b}[2J.avi"]).expect_refusal(2, "avi");
    assert!(!run.stderr.contains('\u{1b}'), "{:?}", run.stderr);
}
