//! Real clips, as small as they get.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::support::{Run, ended, kinora, names_in, program};

/// The smallest clip: one native size, two latent frames, two steps.
const SMALL: [&str; 6] = ["--size", "384x384", "--frames", "5", "--steps", "2"];
const PROMPT: &str = "a red car drives through a city, it's night";

fn generate(folder: &Path, prompt: &str, more: &[&str]) -> Run {
    kinora(folder, &[&["generate", prompt], &SMALL[..], more].concat())
}

struct Clip {
    _folder: TempDir,
    file: PathBuf,
    run: Run,
}

/// One clip for all tests that look at one.
fn clip() -> &'static Clip {
    static CLIP: OnceLock<Clip> = OnceLock::new();
    CLIP.get_or_init(|| {
        let folder = TempDir::new().unwrap();
        let run = generate(
            folder.path(),
            PROMPT,
            &["--seed", "42", "-o", "car.mp4", "--json", "--poster", "--sheet"],
        )
        .expect_code(0);
        Clip {
            file: folder.path().join("car.mp4"),
            _folder: folder,
            run,
        }
    })
}

#[test]
fn progress_goes_to_stderr_in_lines_and_the_report_to_stdout() {
    let Run { stderr, .. } = &clip().run;
    let words = ["parse ", "map ", "diffuse ", "render "]
        .map(|word| stderr.find(word).unwrap_or_else(|| panic!("{word}: {stderr}")));
    assert!(words.is_sorted(), "{stderr}");
    assert!(!stderr.contains('\u{1b}') && !stderr.contains('\r'), "{stderr:?}");
    assert!(
        stderr.contains("car.mp4  384x384  0.42 s") && stderr.contains("seed 42"),
        "{stderr}"
    );
    let report = clip().run.json();
    let recipe = &report["clips"][0]["recipe"];
    assert_eq!(
        (&recipe["prompt"], &recipe["seed"], &recipe["steps"]),
        (&PROMPT.into(), &42.into(), &2.into())
    );
    let roles: Vec<_> = report["clips"][0]["outputs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|output| output["role"].clone())
        .collect();
    assert_eq!(roles, ["clip", "poster", "sheet"]);
    assert_eq!(
        names_in(clip().file.parent().unwrap()),
        ["car.mp4", "car.poster.jpg", "car.sheet.png"]
    );
}

#[test]
fn inspect_tells_the_recipe_and_its_command_makes_the_same_bytes() {
    let folder = clip().file.parent().unwrap();
    let inspected = kinora(folder, &["inspect", "car.mp4", "--json"]).expect_code(0).json();
    assert_eq!(inspected["recipe"], clip().run.json()["clips"][0]["recipe"]);
    assert_eq!(inspected["file"]["frames"], 5);
    let text = kinora(folder, &["inspect", "car.mp4"]).expect_code(0).text();
    assert!(
        text.contains(PROMPT) && text.contains("384x384") && text.contains("weights "),
        "{text}"
    );
    let (_, command) = text.split_once("to make it again:\n  ").unwrap();
    // A shell, because the quoting is part of the promise.
    let elsewhere = TempDir::new().unwrap();
    let script = format!(
        "kinora() {{ '{}' \"$@\"; }}; {} -o again.mp4",
        env!("CARGO_BIN_EXE_kinora"),
        command.trim()
    );
    let output = std::process::Command::new("sh")
        .arg("-c")
        .arg(script)
        .current_dir(elsewhere.path())
        .stdin(Stdio::null())
        .output();
    ended(output.unwrap()).expect_code(0);
    assert!(
        std::fs::read(elsewhere.path().join("again.mp4")).unwrap() == std::fs::read(&clip().file).unwrap(),
        "other bytes"
    );
}

#[test]
fn another_seed_is_another_clip_and_quiet_is_quiet() {
    let folder = TempDir::new().unwrap();
    let run = generate(folder.path(), PROMPT, &["--seed", "43", "-o", "car.mp4", "--quiet"]).expect_code(0);
    assert_eq!((run.stderr.as_str(), run.text().as_str()), ("", ""));
    assert!(std::fs::read(folder.path().join("car.mp4")).unwrap() != std::fs::read(&clip().file).unwrap());
}

#[test]
fn one_frame_is_a_picture_and_its_seed_is_told() {
    let folder = TempDir::new().unwrap();
    let run = kinora(
        folder.path(),
        &["generate", "كلب أحمر", "--frames", "1", "--steps", "1", "-o", "x.png"],
    )
    .expect_code(0);
    assert!(
        run.stderr.contains("x.png  512x288  1 frame") && run.stderr.contains("seed "),
        "{}",
        run.stderr
    );
    assert_eq!(
        std::fs::read(folder.path().join("x.png")).unwrap()[..8],
        *b"\x89PNG\r\n\x1a\n"
    );
    let text = kinora(folder.path(), &["inspect", "x.png"]).expect_code(0).text();
    assert!(text.contains("text-to-image") && text.contains("--frames 1"), "{text}");
}

#[test]
fn variants_have_names_and_seeds_of_their_own() {
    let folder = TempDir::new().unwrap();
    let run = kinora(
        folder.path(),
        &[
            "generate",
            "a penguin on the beach",
            "--frames",
            "1",
            "--steps",
            "1",
            "--variants",
            "2",
            "--seed",
            "7",
        ],
    )
    .expect_code(0);
    assert_eq!(names_in(folder.path()), ["penguin-beach-1.png", "penguin-beach-2.png"]);
    assert!(run.stderr.contains("clip 2 of 2, seed 8"), "{}", run.stderr);
}

#[test]
fn a_picture_starts_a_clip_and_a_clip_goes_on() {
    let folder = TempDir::new().unwrap();
    kinora(
        folder.path(),
        &["generate", "a lion", "--frames", "1", "--steps", "1", "-o", "lion.png"],
    )
    .expect_code(0);
    let run = generate(
        folder.path(),
        "a lion runs",
        &["--image", "lion.png", "-o", "lion.mp4", "--json"],
    )
    .expect_code(0);
    assert_eq!(run.json()["clips"][0]["recipe"]["task"], "image-to-video");
    let run = generate(
        folder.path(),
        "the lion rests",
        &["--extend", "lion.mp4", "-o", "longer.mp4", "--json"],
    )
    .expect_code(0);
    assert_eq!(run.json()["clips"][0]["recipe"]["task"], "extend");
    let longer = kinora(folder.path(), &["inspect", "longer.mp4", "--json"])
        .expect_code(0)
        .json();
    assert_eq!(longer["file"]["frames"], 10);
    let text = kinora(folder.path(), &["inspect", "longer.mp4"]).expect_code(0).text();
    assert!(text.contains("--extend FILE") && text.contains("--frames 5"), "{text}");
}

#[test]
fn files_of_others_are_described_without_a_recipe() {
    let folder = TempDir::new().unwrap();
    let frame = kinora_media::Frame::filled(64, 48, [10, 20, 30]).unwrap();
    let options = kinora_media::WriteOptions::new(64, 48, kinora_media::Fps::new(25, 1).unwrap());
    let path = folder.path().join("other.mp4");
    let mut clip = kinora_media::ClipWriter::create(&path, kinora_media::Format::Mp4, &options).unwrap();
    (0..25).for_each(|_| clip.push(&frame).unwrap());
    clip.finish().unwrap();
    let text = kinora(folder.path(), &["inspect", "other.mp4"]).expect_code(0).text();
    assert!(
        text.contains("64x48, 25 frames, 25 a second, 1.00 s") && text.contains("no Kinora recipe"),
        "{text}"
    );
    let json = kinora(folder.path(), &["inspect", "other.mp4", "--json"])
        .expect_code(0)
        .json();
    assert!(json["recipe"].is_null() && json["file"]["codec"] == "h264", "{json}");
}

#[test]
fn no_report_reader_is_no_trouble() {
    let folder = TempDir::new().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let args = [
        "generate", "a cat", "--frames", "1", "--steps", "1", "-o", "cat.png", "--json", "--quiet",
    ];
    let output = program(folder.path()).args(args).stdout(writer).output().unwrap();
    assert_eq!(
        (output.status.code(), String::from_utf8(output.stderr).unwrap().as_str()),
        (Some(0), "")
    );
    assert_eq!(names_in(folder.path()), ["cat.png"]);
}
