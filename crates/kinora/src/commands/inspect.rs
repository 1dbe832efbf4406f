//! `kinora inspect`: how a file was made, and the command that makes it again; or what a file of weights holds.

use std::path::Path;

use kinora_media::ClipInfo;
use kinora_pipeline::{Error, LoraRecord, Recipe, read_recipe};
use serde_json::json;

use super::{table, weights_file};
use crate::args::Inspect;
use crate::{repeat, stdout, units};

/// Prints what is known of the file.
pub fn run(args: &Inspect) -> anyhow::Result<()> {
    let path = args.file.as_path();
    if weights_file::is_one(path) {
        return weights_file::run(path, args.json);
    }
    let info = kinora_media::probe(path).map_err(|source| Error::Input {
        path: path.to_owned(),
        source,
    })?;
    let recipe = read_recipe(path)?;
    if args.json {
        return stdout::write_json(&json!({ "file": file_json(path, &info), "recipe": recipe }));
    }
    let text = match &recipe {
        Some(recipe) => described(path, &info, recipe),
        None => foreign(path, &info),
    };
    stdout::write(text.as_bytes())
}

fn described(path: &Path, info: &ClipInfo, recipe: &Recipe) -> String {
    let model = &recipe.model;
    let only_if = |differs: bool, text: &str| if differs { text.to_owned() } else { String::new() };
    let lines = table::pairs(&[
        ("file", file_line(path, info)),
        ("task", recipe.task.clone()),
        ("prompt", recipe.prompt.clone()),
        (
            "model got",
            only_if(recipe.model_prompt != recipe.prompt, &recipe.model_prompt),
        ),
        ("negative", recipe.negative.clone()),
        (
            "input",
            recipe
                .input_sha256
                .as_ref()
                .map(|sha| format!("sha256 {sha}"))
                .unwrap_or_default(),
        ),
        (
            "model",
            format!("{} {}, weights {}", model.name, model.version, model.weights_hash),
        ),
        (
            "loras",
            recipe.loras.iter().map(lora_line).collect::<Vec<_>>().join("; "),
        ),
        ("seed", recipe.seed.to_string()),
        ("noise", recipe.noise.clone()),
        ("sampler", format!("{}, {} steps", recipe.sampler, recipe.steps)),
        ("schedule", format!("{}, shift {}", recipe.schedule, recipe.shift)),
        ("guidance", guidance_line(recipe)),
        (
            "strength",
            recipe
                .strength
                .map(|part| format!("{part} of the given clip made anew"))
                .unwrap_or_default(),
        ),
        (
            "control",
            recipe
                .control_scale
                .map(|scale| format!("scale {scale}"))
                .unwrap_or_default(),
        ),
        ("step cache", recipe.cache.clone().unwrap_or_default()),
        ("size", format!("{} ({})", recipe.size.written, recipe.size.how)),
        ("length", length_line(recipe)),
        (
            "made by",
            format!(
                "Kinora {}, kernels {}, {}",
                recipe.kinora, recipe.kernels, recipe.precision
            ),
        ),
    ]);
    let command = match repeat::of_recipe(recipe) {
        Ok(command) => command,
        Err(why) => return format!("{lines}\nno single command makes it again: {why}\n"),
    };
    let input = match &recipe.input_sha256 {
        Some(_) if recipe.task == "blend" => "\n(FROM and TO are the inputs with the sha256 above, in this order)\n",
        Some(_) => "\n(FILE is the input with the sha256 above)\n",
        None => "\n",
    };
    format!("{lines}\nto make it again:\n  {}{input}", table::printable(&command))
}

/// `5`, `4, 3 for the expert of low noise, in the first 20 steps`.
fn guidance_line(recipe: &Recipe) -> String {
    let mut parts = vec![recipe.guidance_scale.to_string()];
    let low = recipe.guidance_scale_low.filter(|&low| low != recipe.guidance_scale);
    parts.extend(low.map(|low| format!("{low} for the expert of low noise")));
    parts.extend(recipe.guided_steps.map(|steps| format!("in the first {steps} steps")));
    parts.join(", ")
}

/// `style.safetensors at 0.8 (expert high), sha256 ...`.
fn lora_line(lora: &LoraRecord) -> String {
    let expert = lora.expert.as_ref().map(|expert| format!(" (expert {expert})"));
    let expert = expert.unwrap_or_default();
    format!("{} at {}{expert}, sha256 {}", lora.name, lora.strength, lora.sha256)
}

/// What the file has, and how that was reached if there is more to it.
fn length_line(recipe: &Recipe) -> String {
    let length = &recipe.length;
    let written = format!("{} frames at {} a second", length.written_frames, length.fps);
    if length.how == written {
        written
    } else {
        format!("{written} ({})", length.how)
    }
}

fn foreign(path: &Path, info: &ClipInfo) -> String {
    let name = path.display().to_string();
    table::pairs(&[("file", file_line(path, info))])
        + &format!(
            "{} carries no Kinora recipe: Kinora did not make it, or it was converted since\n",
            table::printable(&name)
        )
}

/// `rocket.mp4: mp4 (h264), 512x288, 33 frames, 12 a second, 2.75 s, 812 kB`.
fn file_line(path: &Path, info: &ClipInfo) -> String {
    let mut parts = vec![format!("{}: {}", path.display(), info.format)];
    if info.codec != info.format {
        parts[0] += &format!(" ({})", info.codec);
    }
    parts.push(format!("{}x{}", info.width_px, info.height_px));
    match info.frames {
        1 => parts.push("1 frame".into()),
        frames => parts.push(format!(
            "{frames} frames, {} a second, {:.2} s",
            info.fps,
            info.duration_ms as f64 / 1e3
        )),
    }
    parts.extend(bytes_of(path).map(units::bytes));
    parts.join(", ")
}

fn file_json(path: &Path, info: &ClipInfo) -> serde_json::Value {
    json!({
        "path": path,
        "bytes": bytes_of(path),
        "format": info.format,
        "codec": info.codec,
        "width_px": info.width_px,
        "height_px": info.height_px,
        "frames": info.frames,
        "fps": info.fps.to_string(),
        "duration_ms": info.duration_ms,
    })
}

/// The size of a file; a folder of frames has none.
fn bytes_of(path: &Path) -> Option<u64> {
    std::fs::metadata(path)
        .ok()
        .filter(|metadata| metadata.is_file())
        .map(|metadata| metadata.len())
}
