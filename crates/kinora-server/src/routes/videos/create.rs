//! `POST /v1/videos`.

use axum::extract::{Request, State};
use axum::response::Response;
use kinora_api::{ApiError, CharacterRef, CreateVideo};

use super::answer;
use super::characters::character_of;
use super::lengths::seconds_of_frames;
use crate::answer::Answer;
use crate::body::read_body;
use crate::inputs::keep_picture;
use crate::submit::{seeds, submit};
use crate::work::{CharacterUse, Task, Work};
use crate::{App, Caller};

pub(super) async fn create(State(app): State<App>, caller: Caller, request: Request) -> Answer<Response> {
    let headers = request.headers().clone();
    let body = read_body(&app, request).await?;
    let asked = CreateVideo::read(body.as_body(), &app.rules)?;
    let seeds = seeds(&caller, &headers, &asked.options)?;
    let chosen = app.model(asked.model.as_deref())?;
    let characters = characters_of(&app, &caller, &asked.prompt, &asked.characters).await?;
    let image = match &asked.input_reference {
        Some(source) => Some(keep_picture(&app, "input_reference", source).await?),
        None => None,
    };
    let default = asked.seconds.unwrap_or(chosen.rules.default_seconds);
    let size = asked.size.unwrap_or(chosen.rules.default_size);
    let seconds = seconds_of_frames(&asked.options, None).unwrap_or(default);
    let by = (chosen.name.to_owned(), chosen.engine.to_owned());
    let work = Work {
        num_frames: asked.options.num_frames,
        options: asked.options,
        ..Work::new(Task::Create { image, characters }, asked.prompt, by, size, seconds)
    };
    let jobs = submit(&app, &caller, &headers, work, &seeds).await?;
    answer(&app, &jobs, &asked.ignored)
}

/// The characters of a request.
///
/// **Errors**: 404 for one that is not there; 400 if the prompt does not name it: then nobody knows where it belongs.
async fn characters_of(app: &App, caller: &Caller, prompt: &str, asked: &[CharacterRef]) -> Answer<Vec<CharacterUse>> {
    let mut found = Vec::with_capacity(asked.len());
    for character in asked {
        let record = character_of(app, caller, character.id.as_str()).await?;
        if !prompt.contains(&record.name) {
            let rule = "The prompt has to contain the name of each character, written as it was when it was made.";
            return Err(ApiError::invalid_value("prompt", &record.name, rule).into());
        }
        found.push(CharacterUse {
            id: record.id,
            name: record.name,
            subject: record.subject,
            picture: record.picture,
        });
    }
    Ok(found)
}
