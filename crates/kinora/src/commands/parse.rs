//! `kinora parse`: what is understood of a prompt, without making anything.

use kinora_pipeline::{OpenOptions, Pipeline};
use serde_json::json;

use super::{generate, table};
use crate::args::Parse;
use crate::{prompt, stdout};

/// Prints the scene, what the model gets, and what it will not know.
pub fn run(args: &Parse) -> anyhow::Result<()> {
    let prompt = prompt::read(&args.prompt)?;
    let pipeline = Pipeline::open(generate::model_name(&args.model)?, OpenOptions::default())?;
    let parsed = pipeline.parse(&prompt, args.mode.into())?;
    if args.json {
        return stdout::write_json(&json!({
            "prompt": prompt,
            "scene": parsed.scene,
            "model": pipeline.model(),
            "model_prompt": parsed.model_prompt,
            "notes": parsed.notes,
        }));
    }
    // The scene's own text ends with what the model does not know.
    let scene = parsed.scene.to_string();
    let gets = table::printable(&parsed.model_prompt);
    let text = format!("{}\n\n{} gets: {gets}\n", scene.trim_end(), pipeline.model().name);
    stdout::write(text.as_bytes())
}
