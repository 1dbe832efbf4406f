//! `kinora models`: what is installed.

use kinora_weights::registry::{self, Location, ModelEntry};
use serde_json::json;

use super::table;
use crate::args::Models;
use crate::{stdout, units};

/// Prints the list.
pub fn run(args: &Models) -> anyhow::Result<()> {
    let models = registry::installed(&[]);
    if args.json {
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
