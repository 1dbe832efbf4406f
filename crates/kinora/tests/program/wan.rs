//! Models of the Wan family through the program, at the size of a golden.

use std::path::{Path, PathBuf};
#[cfg(unix)]
use std::process::Stdio;

use kinora_testkit::{Golden, Json};
use tempfile::TempDir;

#[cfg(unix)]
use crate::support::ended;
use crate::support::{Run, kinora, names_in};
use crate::wan_model;

/// The smallest clip: two latent frames, two steps.
const SMALL: [&str; 6] = ["--size", "64x64", "--frames", "5", "--steps", "2"];
const PROMPT: &str = "a fox runs";

/// A folder with the model `tiny` in it.
fn with_model() -> TempDir {
    let folder = TempDir::new().unwrap();
    wan_model::diffusers(folder.path(), "tiny");
    folder
}

fn generate(folder: &Path, more: &[&str]) -> Run {
    let args = [
        &["generate", PROMPT, "--model", "tiny", "--seed", "7"],
        &SMALL[..],
        more,
    ]
    .concat();
    kinora(folder, &args)
}

fn read(folder: &TempDir, file: &str) -> Vec<u8> {
    std::fs::read(folder.path().join(file)).unwrap()
}

fn dialect(file: &str) -> String {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kinora-models/tests/fixtures/dialects");
    models.join(file).display().to_string()
}

#[test]
fn a_seed_makes_the_same_bytes_twice_and_the_clip_tells_its_recipe() {
    let folder = with_model();
    generate(folder.path(), &["-o", "a.mp4"]).expect_code(0);
    generate(folder.path(), &["-o", "b.mp4", "--quiet"]).expect_code(0);
    assert!(read(&folder, "a.mp4") == read(&folder, "b.mp4"), "other bytes");
    assert_eq!(names_in(folder.path()), ["a.mp4", "b.mp4", "tiny"]);
    let json = kinora(folder.path(), &["inspect", "a.mp4", "--json"])
        .expect_code(0)
        .json();
    assert_eq!(
        (
            &json["file"]["frames"],
            &json["file"]["width_px"],
            &json["file"]["codec"]
        ),
        (&5.into(), &64.into(), &"h264".into())
    );
    assert_eq!(
        (
            &json["recipe"]["model"]["name"],
            &json["recipe"]["steps"],
            &json["recipe"]["shift"]
        ),
        (&"tiny".into(), &2.into(), &3.0.into())
    );
}

#[test]
fn a_file_of_a_transformer_finds_its_parts_and_makes_the_same_frames() {
    let folder = with_model();
    let transformer = wan_model::comfy(&folder.path().join("ComfyUI/models"));
    let path = transformer.strip_prefix(folder.path()).unwrap().to_str().unwrap();
    generate(folder.path(), &["-o", "folder", "--format", "png-frames"]).expect_code(0);
    // The folder's own scheduler says its shift, single files do not.
    let args = ["--model", path, "--shift", "3", "-o", "file", "--format", "png-frames"];
    let args = [&["generate", PROMPT, "--seed", "7"], &SMALL[..], &args].concat();
    kinora(folder.path(), &args).expect_code(0);
    assert_same_frames(&folder, "folder", "file");

    std::fs::remove_file(folder.path().join("ComfyUI/models/vae/tiny_vae.safetensors")).unwrap();
    let run = kinora(folder.path(), &args[..args.len() - 4]).expect_refusal(4, "an autoencoder");
    assert!(
        run.stderr.contains("wan_2.1_vae.safetensors") && run.stderr.contains("looked in: "),
        "{}",
        run.stderr
    );
}

fn frames(folder: &TempDir, name: &str) -> Vec<PathBuf> {
    let folder = folder.path().join(name);
    let names = names_in(&folder).into_iter().filter(|name| name.ends_with(".png"));
    names.map(|name| folder.join(name)).collect()
}

/// Compares pixels: the files differ in the recipe that they carry.
fn assert_same_frames(folder: &TempDir, a: &str, b: &str) {
    let (a, b) = (frames(folder, a), frames(folder, b));
    assert_eq!((a.len(), b.len()), (5, 5));
    for (a, b) in a.iter().zip(&b) {
        let pixels = |path| {
            kinora_media::read_image(path, &kinora_media::Limits::default())
                .unwrap()
                .frame
        };
        assert!(pixels(a) == pixels(b), "{} and {}", a.display(), b.display());
    }
}

/// A LoRA of rank 1 on one layer of the model.
fn write_lora(path: &Path) {
    let name = |half| format!("transformer.blocks.0.attn1.to_q.lora_{half}.weight");
    let tensors = [("A", [1, 32]), ("B", [32, 1])].map(|(half, shape)| kinora_weights::NewTensor {
        name: name(half),
        dtype: "F32".into(),
        shape: shape.to_vec(),
    });
    let write = |_: usize, out: &mut dyn std::io::Write| {
        (0..32).for_each(|i| out.write_all(&(i as f32 / 16.0 - 1.0).to_le_bytes()).unwrap());
        Ok(())
    };
    kinora_weights::write_safetensors(path, &tensors, &Default::default(), write).unwrap();
}

#[test]
fn a_lora_changes_the_clip_and_is_remembered() {
    let folder = with_model();
    generate(folder.path(), &["-o", "plain.mp4"]).expect_code(0);
    write_lora(&folder.path().join("style.safetensors"));
    let lora = "style.safetensors:0.5";
    generate(folder.path(), &["-o", "lora.mp4", "--lora", lora]).expect_code(0);
    assert!(read(&folder, "plain.mp4") != read(&folder, "lora.mp4"));
    let text = kinora(folder.path(), &["inspect", "lora.mp4"]).expect_code(0).text();
    assert!(
        text.contains("style.safetensors at 0.5, sha256 ") && text.contains("--lora style.safetensors:0.5"),
        "{text}"
    );
}

#[test]
fn a_lora_for_another_model_is_refused_by_the_name_of_its_tensor() {
    let folder = with_model();
    let run = generate(
        folder.path(),
        &["-o", "x.mp4", "--lora", &dialect("lora_misfit.safetensors")],
    )
    .expect_code(4);
    assert!(
        run.stderr.contains("lora_misfit.safetensors") && run.stderr.contains("\nhint: this LoRA was made for"),
        "{}",
        run.stderr
    );
    let run = generate(
        folder.path(),
        &["-o", "x.mp4", "--lora", &dialect("lora_original.safetensors")],
    )
    .expect_code(4);
    assert!(
        run.stderr.contains("blocks.0.") && run.stderr.contains("\nhint: "),
        "{}",
        run.stderr
    );
    // A whole model is none.
    let whole = dialect("wan_comfy.safetensors");
    generate(folder.path(), &["-o", "x.mp4", "--lora", &whole]).expect_refusal(4, "is no LoRA");
    assert_eq!(names_in(folder.path()), ["tiny"]);
}

#[test]
fn a_step_cache_says_what_it_saved_and_what_that_may_cost() {
    let folder = with_model();
    let args = ["-o", "x.mp4", "--cache", "easy:1", "--steps", "12", "--json"];
    let args = [
        &[
            "generate", PROMPT, "--model", "tiny", "--seed", "7", "--size", "64x64", "--frames", "5",
        ],
        &args[..],
    ];
    let run = kinora(folder.path(), &args.concat()).expect_code(0);
    let cache = &run.json()["clips"][0]["cache"];
    let (computed, reused) = (cache["computed"].as_u64().unwrap(), cache["reused"].as_u64().unwrap());
    assert!(reused > 0 && computed > 0, "{cache}");
    let line = format!(
        "step cache: {computed} of {} predictions computed, {reused} taken over",
        computed + reused
    );
    assert!(run.stderr.contains(&line), "{line}: {}", run.stderr);
    let text = kinora(folder.path(), &["inspect", "x.mp4"]).expect_code(0).text();
    assert!(
        text.contains("step cache  easy:1") && text.contains("--cache easy:1"),
        "{text}"
    );
    generate(folder.path(), &["-o", "y.mp4", "--cache", "slow"]).expect_refusal(2, "easy");
}

#[test]
fn a_clip_is_made_anew_and_continued() {
    let folder = with_model();
    generate(folder.path(), &["-o", "a.mp4"]).expect_code(0);
    let run = generate(
        folder.path(),
        &["-o", "b.mp4", "--video", "a.mp4", "--strength", "0.5", "--json"],
    );
    let recipe = run.expect_code(0).json()["clips"][0]["recipe"].clone();
    assert_eq!(
        (&recipe["task"], &recipe["strength"]),
        (&"video-to-video".into(), &0.5.into())
    );
    assert!(read(&folder, "a.mp4") != read(&folder, "b.mp4"));
    let text = kinora(folder.path(), &["inspect", "b.mp4"]).expect_code(0).text();
    assert!(
        text.contains("0.5 of the given clip made anew") && text.contains("--video FILE --strength 0.5"),
        "{text}"
    );
    generate(folder.path(), &["-o", "c.mp4", "--extend", "a.mp4"]).expect_code(0);
    let longer = kinora(folder.path(), &["inspect", "c.mp4", "--json"])
        .expect_code(0)
        .json();
    assert_eq!(
        (&longer["file"]["frames"], &longer["recipe"]["task"]),
        (&10.into(), &"extend".into())
    );
}

#[test]
fn a_plan_is_shown_without_making_anything() {
    let folder = with_model();
    let plan = generate(folder.path(), &["--dry-run", "--json", "--precision", "f32"])
        .expect_code(0)
        .json();
    assert_eq!(plan["precision"], "f32");
    let memory = &plan["memory"];
    assert!(
        memory["peak_bytes"].as_u64() >= memory["diffuse_bytes"].as_u64(),
        "{plan}"
    );
    let text = generate(folder.path(), &["--dry-run"]).expect_code(0).text();
    for word in ["precision", "weights", "diffuse", "render", "peak"] {
        assert!(text.lines().any(|line| line.starts_with(word)), "{word}: {text}");
    }
    generate(folder.path(), &["--dry-run", "--control", "poses.mp4"]).expect_refusal(2, "VACE");
    assert_eq!(names_in(folder.path()), ["tiny"]);
}

#[test]
fn kept_latents_make_the_same_bytes_again() {
    let folder = with_model();
    generate(folder.path(), &["-o", "a.mp4", "--keep-latents"]).expect_code(0);
    assert_eq!(names_in(folder.path()), ["a.latents.safetensors", "a.mp4", "tiny"]);
    let made = read(&folder, "a.mp4");
    kinora(folder.path(), &["decode", "a.latents.safetensors", "--model", "tiny"]).expect_refusal(5, "--overwrite");
    // The recipe names the model; it is not installed, but a folder of that name lies here.
    let run = kinora(folder.path(), &["decode", "a.latents.safetensors", "--overwrite"]).expect_code(0);
    assert!(
        run.stderr.contains("a.mp4  64x64  0.31 s") && !run.stderr.contains("note: "),
        "{}",
        run.stderr
    );
    assert!(read(&folder, "a.mp4") == made, "other bytes");

    let args = ["decode", "a.latents.safetensors", "--model", "tiny", "-o", "frames"];
    let run = kinora(
        folder.path(),
        &[&args[..], &["--format", "png-frames", "--json", "--quiet"]].concat(),
    );
    let report = run.expect_code(0).json();
    assert_eq!(report["clips"][0]["recipe"]["prompt"], PROMPT);
    generate(folder.path(), &["-o", "again", "--format", "png-frames"]).expect_code(0);
    assert_same_frames(&folder, "frames", "again");

    let text = kinora(folder.path(), &["inspect", "a.latents.safetensors"])
        .expect_code(0)
        .text();
    assert!(
        text.contains(PROMPT) && text.contains("kinora decode a.latents.safetensors"),
        "{text}"
    );
}

#[test]
fn a_causal_model_makes_block_after_block_and_its_latents_are_one_clip() {
    let folder = with_model();
    let index = folder.path().join("tiny/model_index.json");
    let mut json: Json = serde_json::from_slice(&std::fs::read(&index).unwrap()).unwrap();
    json["preset"] = "self-forcing-1.3b".into();
    std::fs::write(&index, json.to_string()).unwrap();
    let args = [
        "generate", PROMPT, "--model", "tiny", "--size", "64x64", "--frames", "29", "--seed", "3",
    ];
    let run = kinora(folder.path(), &[&args[..], &["-o", "a.mp4", "--keep-latents"]].concat()).expect_code(0);
    // Eight latent frames: two blocks of three and one of two, each of four steps.
    assert!(
        run.stderr.contains("step 4 of 12") || run.stderr.contains("step 11 of 12"),
        "{}",
        run.stderr
    );
    let made = read(&folder, "a.mp4");
    kinora(folder.path(), &["decode", "a.latents.safetensors", "--overwrite"]).expect_code(0);
    assert!(read(&folder, "a.mp4") == made, "other bytes");
    kinora(
        folder.path(),
        &[&args[..], &["-o", "b.mp4", "--guidance", "5"]].concat(),
    )
    .expect_refusal(2, "has guidance built in");
}

#[test]
fn a_tiny_decoder_for_other_latents_is_refused() {
    let folder = with_model();
    let golden = Golden::open(
        concat!(env!("CARGO_MANIFEST_DIR"), "/../kinora-models"),
        "taehv_wan21_tiny",
    );
    wan_model::write(
        folder.path(),
        "taew2_1.safetensors",
        golden.checkpoint_bytes("weights."),
    );
    let args = [
        "generate",
        PROMPT,
        "--model",
        "tiny",
        "-o",
        "a.mp4",
        "--decoder",
        "taew2_1.safetensors",
    ];
    kinora(folder.path(), &args).expect_refusal(3, "channels do not fit");
}

#[test]
fn what_holds_no_latents_is_refused() {
    let folder = with_model();
    generate(folder.path(), &["-o", "a.mp4", "--keep-latents"]).expect_code(0);
    let latents = read(&folder, "a.latents.safetensors");
    wan_model::write(
        folder.path(),
        "cut.latents.safetensors",
        &latents[..latents.len() - 100],
    );
    wan_model::write(folder.path(), "weights.safetensors", wan_model::weights("vae"));
    wan_model::write(folder.path(), "notes.txt", "just some text, long enough to look at");
    let refused = |file: &str, word: &str| {
        kinora(folder.path(), &["decode", file, "--model", "tiny", "-o", "b.mp4"]).expect_refusal(3, word)
    };
    refused("cut.latents.safetensors", "cut off");
    refused("weights.safetensors", "not written by `kinora generate`");
    refused("notes.txt", "notes.txt holds no latents of a clip");
    refused("missing.latents.safetensors", "missing.latents.safetensors");
    // The model that made them is away, or another one is named.
    let elsewhere = TempDir::new().unwrap();
    std::fs::write(elsewhere.path().join("a.latents.safetensors"), &latents).unwrap();
    kinora(elsewhere.path(), &["decode", "a.latents.safetensors"]).expect_refusal(4, "with --model");
    kinora(
        elsewhere.path(),
        &["decode", "a.latents.safetensors", "--model", "toybox"],
    )
    .expect_code(3);
    assert_eq!(names_in(elsewhere.path()), ["a.latents.safetensors"]);
}

/// Runs the program where no file may become larger than 24 kB (48 in some shells), as on a disk that is full.
#[cfg(unix)]
fn with_a_full_disk(folder: &Path, args: &[&str]) -> Run {
    let mut shell = std::process::Command::new("sh");
    let script = "trap '' XFSZ; ulimit -f 48; exec \"$0\" \"$@\"";
    shell.args(["-c", script, env!("CARGO_BIN_EXE_kinora")]).args(args);
    let shell = shell
        .current_dir(folder)
        .env("XDG_DATA_HOME", folder)
        .env_remove("KINORA_MODELS");
    ended(shell.stdin(Stdio::null()).output().unwrap())
}

#[cfg(unix)]
#[test]
fn a_full_disk_costs_the_frames_but_not_the_latents() {
    let folder = with_model();
    let args = [
        "generate", PROMPT, "--model", "tiny", "--seed", "7", "--size", "128x128", "--frames", "5",
    ];
    let args = [&args[..], &["--steps", "2", "-o", "a.gif"]].concat();
    let run = with_a_full_disk(folder.path(), &args).expect_code(5);
    assert!(
        run.stderr.contains("could not write a.gif") && run.stderr.contains("`kinora decode a.latents.safetensors`"),
        "{}",
        run.stderr
    );
    assert_eq!(names_in(folder.path()), ["a.latents.safetensors", "tiny"]);
    kinora(folder.path(), &["decode", "a.latents.safetensors", "--format", "gif"]).expect_code(0);
    let decoded = read(&folder, "a.gif");
    kinora(folder.path(), &[&args[..], &["--overwrite"]].concat()).expect_code(0);
    assert!(read(&folder, "a.gif") == decoded, "other bytes");
    // The latents of the run that came to an end are gone, as nobody asked for them.
    assert_eq!(names_in(folder.path()), ["a.gif", "tiny"]);

    let whole = "tiny/transformer/diffusion_pytorch_model.safetensors";
    with_a_full_disk(folder.path(), &["convert", whole, "-o", "x.safetensors"]).expect_code(5);
    with_a_full_disk(folder.path(), &["quantize", whole, "-o", "x.safetensors"]).expect_code(5);
    assert_eq!(names_in(folder.path()), ["a.gif", "tiny"]);
}
