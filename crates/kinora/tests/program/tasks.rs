//! Clips that are made of other clips, and storyboards, from the command line.

use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::support::{kinora, program};

/// The smallest steps.
const QUICK: [&str; 4] = ["--steps", "2", "--seed", "5"];

fn generate(folder: &Path, args: &[&str]) -> serde_json::Value {
    let run = kinora(folder, &[&["generate"], args, &QUICK[..], &["--json"]].concat());
    run.expect_code(0).json()["clips"][0]["recipe"].clone()
}

/// Runs the command that `inspect` names for `file`, with the names of files put in place, and compares the clips.
fn assert_made_again(folder: &Path, file: &str, names: &[(&str, &str)]) {
    let text = kinora(folder, &["inspect", file]).expect_code(0).text();
    let command = text.lines().find_map(|line| line.trim().strip_prefix("kinora "));
    let mut command = command.unwrap_or_else(|| panic!("{text}")).to_owned();
    for (place, name) in names {
        command = command.replace(&format!(" {place}"), &format!(" {name}"));
    }
    let program = program(folder);
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("\"$0\" {command} -o again.mp4 --overwrite")]);
    shell
        .arg(program.get_program())
        .current_dir(folder)
        .stdout(Stdio::null());
    let output = shell.output().unwrap();
    assert!(
        output.status.success(),
        "{command}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    assert!(read("again.mp4") == read(file), "{command}");
}

#[test]
fn clips_become_one_come_anew_and_close_and_can_be_made_again() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    generate(
        folder,
        &["a red car", "-o", "car.mp4", "--frames", "9", "--keep-latents"],
    );
    generate(folder, &["a boat", "-o", "boat.mp4", "--frames", "9"]);
    let latents = "car.latents.safetensors";

    let blend = ["--blend-from", latents, "--blend-to", "boat.mp4", "--curve", "0,0.25,1"];
    let recipe = generate(folder, &blend);
    assert_eq!(recipe["prompt"], "a red car. a boat");
    assert_eq!(
        recipe["strength"].as_f64().map(|strength| (strength * 10.0).round()),
        Some(6.0)
    );
    // Without a prompt the file is named after the clips.
    assert_made_again(folder, "car-latents-boat.mp4", &[("FROM", latents), ("TO", "boat.mp4")]);

    generate(
        folder,
        &[
            "a blue car",
            "-o",
            "remix.mp4",
            "--video-latents",
            latents,
            "--strength",
            "0.5",
        ],
    );
    assert_made_again(folder, "remix.mp4", &[("FILE", latents)]);

    generate(folder, &["--loop", "car.mp4", "--seam-frames", "4", "-o", "loop.mp4"]);
    assert_made_again(folder, "loop.mp4", &[("FILE", "car.mp4")]);
}

#[test]
fn a_storyboard_is_made_of_shots() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let shots = ["--shot", "a red car", "--shot", "a dog at night", "-o", "story.mp4"];
    let recipe = generate(folder, &[&shots[..], &["--shot-frames", "5,6"]].concat());
    assert_eq!(
        (&recipe["task"], &recipe["length"]["new_frames"]),
        (&"storyboard".into(), &11.into())
    );
    assert_made_again(folder, "story.mp4", &[]);
    // Toybox calls it a sailboat; no command says that of one shot alone.
    let shots_of = [
        "--shot",
        "a red car",
        "--shot",
        "a boat",
        "--shot-frames",
        "5",
        "-o",
        "boat.mp4",
    ];
    generate(folder, &shots_of);
    let text = kinora(folder, &["inspect", "boat.mp4"]).expect_code(0).text();
    assert!(
        text.contains("no single command makes it again: some of its prompts"),
        "{text}"
    );
    let seconds = [&["generate"], &shots[..], &["--shot-seconds", "1,2,3", "--overwrite"]].concat();
    kinora(folder, &seconds).expect_refusal(2, "3 lengths for 2 shots");
}
