//! What the ten endpoints are asked: each body as one type, read from any encoding and checked against a server's
//! [`Rules`].

mod create;
mod derive;
mod list;
mod options;
mod sources;

pub use create::{CharacterRef, CreateCharacter, CreateVideo};
pub(crate) use create::{CreateCharacterBody, TextOrNumber, add_size, seconds, size};
pub use derive::{EditVideo, ExtendVideo, RemixVideo};
pub use list::{ListQuery, Order};
pub use options::{LARGEST_PRIORITY, LARGEST_SEED, LoraRef, Options};
pub(crate) use options::{add_wrappers, finished, nothing_left};
pub use sources::{ImageSource, VideoSource};
pub(crate) use sources::{image_source, video_source};

use crate::body::Fields;
use crate::{ApiError, Rules};

/// Takes `model` and checks that it is served.
pub(crate) fn model(fields: &mut Fields, rules: &Rules) -> Result<Option<String>, ApiError> {
    let name = fields.text("model")?;
    if name.is_some() {
        rules.model(name.as_deref())?;
    }
    Ok(name)
}
