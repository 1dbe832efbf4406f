//! `kinora models`: what is installed, and how a model becomes known by its name.

use std::path::{Path, PathBuf};

use kinora_pipeline::{Description, Error, OpenOptions, Pipeline, StartsFrom};
use kinora_weights::registry::{self, Location, ModelEntry};
use serde_json::json;

use super::table;
use crate::args::{Models, ModelsAction};
use crate::trouble::Usage;
use crate::{stdout, units};

/// Lists them or adds one.
pub fn run(args: &Models) -> anyhow::Result<()> {
    match &args.action {
        None | Some(ModelsAction::List) => list(args.json),
        Some(ModelsAction::Add(add_args)) => add(&add_args.path, args.json),
    }
}

fn list(json: bool) -> anyhow::Result<()> {
    let models = registry::installed(&[]);
    if json {
        return stdout::write_json(&models.iter().map(as_json).collect::<Vec<_>>());
    }
    let heading = ["NAME", "VERSION", "SIZE", "LICENCE", "TASKS", "WHERE"].map(str::to_owned);
    let rows: Vec<_> = std::iter::once(heading).chain(models.iter().map(row)).collect();
    let problems = models.iter().filter_map(|model| Some((model, model.problem.as_ref()?)));
    let problems: String = problems
        .map(|(model, problem)| format!("\n{} cannot be used: {problem}\n", model.name))
        .collect();
    stdout::write((table::columns(&rows) + &problems).as_bytes())
}

/// Adds a model that can be run, and says what it is.
fn add(path: &Path, json: bool) -> anyhow::Result<()> {
    let text = path.to_str().ok_or_else(|| {
        Usage::new(
            format!("the path {} is not valid UTF-8", path.display()),
            "rename the file or the folder",
        )
    })?;
    // Whatever is wrong with it is better said now than when it is used. A lone name must mean the file, not a model.
    let text = match path.components().count() {
        1 => format!(".{}{text}", std::path::MAIN_SEPARATOR),
        _ => text.to_owned(),
    };
    let pipeline = Pipeline::open(&text, OpenOptions::default())?;
    let model = registry::add(path).map_err(Error::from)?;
    let parts = model.open().map_err(Error::from)?.parts();
    let description = pipeline.description();
    if json {
        let mut value = as_json(&model);
        value["tasks"] = tasks(description).into();
        value["parts"] = parts_json(&parts);
        return stdout::write_json(&value);
    }
    stdout::write(added(&model, &parts, description).as_bytes())
}

/// The model, its parts, what it can do, and how it is used.
fn added(model: &ModelEntry, parts: &[(String, Option<PathBuf>)], description: &Description) -> String {
    let mut pairs = vec![("added", model.name.clone())];
    let part_names: Vec<_> = parts.iter().map(|(name, _)| name.replace('_', " ")).collect();
    let places = parts
        .iter()
        .map(|(_, path)| path.as_deref().map(shown).unwrap_or_default());
    pairs.extend(part_names.iter().map(String::as_str).zip(places));
    let sizes = description.sizes.iter().take(4).map(ToString::to_string);
    pairs.extend([
        ("size", units::bytes(model.size_bytes)),
        ("licence", model.licence.clone()),
        ("makes", tasks(description).join(", ")),
        ("sizes", sizes.collect::<Vec<_>>().join(", ")),
        (
            "clips",
            format!(
                "{} frames, {} a second, {} steps",
                description.default_frames, description.fps, description.default_steps
            ),
        ),
    ]);
    format!(
        "{}\nto use it:\n  kinora generate \"a rocket flies over a city\" --model {}\n",
        table::pairs(&pairs),
        table::printable(&model.name)
    )
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// What a model can make, in the words of recipes.
fn tasks(description: &Description) -> Vec<&'static str> {
    let starts = description.starts;
    let mut tasks = Vec::new();
    if starts != StartsFrom::Channels {
        tasks.extend(["text-to-video", "text-to-image"]);
    }
    tasks.push("image-to-video");
    if starts.can_end() {
        tasks.push("first-last-to-video");
    }
    tasks.push("extend");
    if starts != StartsFrom::Channels {
        tasks.push("video-to-video");
    }
    if starts == StartsFrom::Control {
        tasks.push("controlled");
    }
    tasks
}

fn row(model: &ModelEntry) -> [String; 6] {
    let tasks = model.tasks.join(", ");
    let cell = |text: &str| {
        if text.is_empty() {
            "-".to_owned()
        } else {
            table::printable(text)
        }
    };
    [
        cell(&model.name),
        cell(&model.version),
        units::bytes(model.size_bytes),
        cell(&model.licence),
        cell(&tasks),
        cell(&location(model)),
    ]
}

fn location(model: &ModelEntry) -> String {
    match &model.location {
        Location::Embedded => "in the program".into(),
        Location::Folder(path) => path.display().to_string(),
    }
}

fn as_json(model: &ModelEntry) -> serde_json::Value {
    let folder = match &model.location {
        Location::Embedded => None,
        Location::Folder(path) => Some(path.display().to_string()),
    };
    json!({
        "name": model.name,
        "version": model.version,
        "licence": model.licence,
        "size_bytes": model.size_bytes,
        "tasks": model.tasks,
        "embedded": folder.is_none(),
        "folder": folder,
        "problem": model.problem,
    })
}

fn parts_json(parts: &[(String, Option<PathBuf>)]) -> serde_json::Value {
    let parts = parts
        .iter()
        .map(|(name, path)| (name.clone(), path.as_deref().map(shown).into()));
    serde_json::Value::Object(parts.collect())
}
