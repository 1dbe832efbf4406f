//! Characters: a reusable picture of somebody, taken from a clip and kept as a small record among the files.

use axum::Json;
use axum::extract::{Request, State};
use axum::response::Response;
use kinora_api::{ApiError, Character, CharacterId, CharacterTag, CreateCharacter, RANDOM_BYTES};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Named;
use crate::answer::{Answer, Failure, with_ignored};
use crate::body::{ReadBody, read_body};
use crate::hex::hex;
use crate::inputs::character_picture;
use crate::submit::check_room;
use crate::view::unix_seconds;
use crate::{App, Caller, FileRef};

/// The longest `subject`, in characters.
const LONGEST_SUBJECT: usize = 80;
/// What the character is, in words that the model knows: a field that OpenAI did not have.
const SUBJECT: &str = "subject";

/// What is kept of a character, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Names it.
    pub id: CharacterId,
    /// What prompts call it.
    pub name: String,
    /// What it is ("a fox"), if that was said.
    pub subject: Option<String>,
    /// When it was made, in seconds since 1970.
    pub created_at: u64,
    /// A picture of it.
    pub picture: FileRef,
}

impl Record {
    fn view(&self) -> Character {
        Character {
            id: self.id.clone(),
            object: CharacterTag::Tag,
            name: self.name.clone(),
            created_at: self.created_at,
        }
    }
}

pub(super) async fn create(State(app): State<App>, caller: Caller, request: Request) -> Answer<Response> {
    let body = read_body(&app, request).await?;
    if matches!(body, ReadBody::Memory(..)) {
        return Err(ApiError::unsupported_content_type("a body without files", &["multipart/form-data"]).into());
    }
    check_room(&app)?;
    let subject = subject_of(&body)?;
    let mut asked = CreateCharacter::read(body.as_body(), &app.rules)?;
    asked.ignored.retain(|name| name != SUBJECT);
    let picture = character_picture(&app, "video", &asked.video).await?;
    let id = new_id(&app)?;
    let folder = folder_of(&caller.project, id.as_str());
    let record = Record {
        picture: FileRef(format!("{folder}/picture.png")),
        name: asked.name,
        subject,
        created_at: unix_seconds(app.clock.now()),
        id,
    };
    // The record last: what has one is whole.
    app.files.import(picture.path(), &record.picture).await?;
    let json = serde_json::to_vec(&record).map_err(|error| Failure::internal(&error))?;
    app.files
        .write(&FileRef(format!("{folder}/character.json")), json.into())
        .await?;
    Ok(with_ignored(&asked.ignored, Json(record.view())))
}

pub(super) async fn read(State(app): State<App>, caller: Caller, Named(id): Named) -> Answer<Json<Character>> {
    Ok(Json(character_of(&app, &caller, &id).await?.view()))
}

/// The character of this name in the caller's project.
///
/// **Errors**: 404 for none, and for one of another project.
pub(super) async fn character_of(app: &App, caller: &Caller, id: &str) -> Answer<Record> {
    let parsed: CharacterId = id.parse().map_err(|_| ApiError::character_not_found(id))?;
    let folder = folder_of(&caller.project, parsed.as_str());
    match app.files.read(&FileRef(format!("{folder}/character.json"))).await? {
        Some(json) => Ok(serde_json::from_slice(&json).map_err(|error| Failure::internal(&error))?),
        None => Err(ApiError::character_not_found(id).into()),
    }
}

/// Where a character is kept. Names of projects that could mean another folder are replaced by their hash.
fn folder_of(project: &str, id: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !project.is_empty() && project.len() <= 64 && project.bytes().all(plain) {
        return format!("characters/{project}/{id}");
    }
    format!("characters/~{}/{id}", hex(&Sha256::digest(project)))
}

/// The field `subject`, which the types of OpenAI's interface do not have.
fn subject_of(body: &ReadBody) -> Answer<Option<String>> {
    let ReadBody::Parts(parts, _) = body else {
        return Ok(None);
    };
    let found = parts.iter().find(|part| part.name == SUBJECT);
    match found.map(|part| &part.value) {
        None => Ok(None),
        Some(kinora_api::PartValue::File(_)) => Err(ApiError::wrong_type(SUBJECT, "a string", "a file").into()),
        Some(kinora_api::PartValue::Text(text)) if text.chars().count() > LONGEST_SUBJECT => {
            let rule = format!("Expected at most {LONGEST_SUBJECT} characters.");
            Err(ApiError::invalid_value(SUBJECT, "", &rule).into())
        }
        Some(kinora_api::PartValue::Text(text)) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
    }
}

fn new_id(app: &App) -> Answer<CharacterId> {
    let mut random = [0; RANDOM_BYTES];
    getrandom::fill(&mut random).map_err(|error| Failure::internal(&error))?;
    Ok(CharacterId::new(unix_seconds(app.clock.now()), random))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_projects_cannot_meet() {
        assert_eq!(folder_of("default", "char_1"), "characters/default/char_1");
        for odd in ["", "..", "a/b", "é", "a b", &"x".repeat(65)] {
            let folder = folder_of(odd, "char_1");
            assert!(
                folder.starts_with("characters/~") && folder.split('/').count() == 3,
                "{folder}"
            );
        }
    }
}
