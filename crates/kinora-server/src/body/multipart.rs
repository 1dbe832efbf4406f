//! Multipart bodies: texts into memory, files onto the disk, chunk by chunk.

use kinora_api::{ApiError, Content, HEAD_BYTES, Part, Upload};
use multer::{Field, Multipart};
use tokio::io::AsyncWriteExt;

use super::paced::{Budget, Fault, Paced};
use super::{ReadBody, Temporary};
use crate::answer::{Answer, Failure};
use crate::{App, submit};

/// The most parts, and the most of them that are files.
const MOST_PARTS: usize = 1000;
const MOST_FILES: usize = 32;

/// Reads all parts.
pub(super) async fn read(app: &App, mut body: Paced, content_type: &str) -> Answer<ReadBody> {
    let boundary = multer::parse_boundary(content_type).map_err(|_| {
        ApiError::malformed_body("The content type multipart/form-data has to name the boundary between the parts.")
    })?;
    submit::check_room(app)?;
    let budget = body.budget();
    let mut multipart = Multipart::new(body, boundary);
    let (mut parts, mut files) = (Vec::new(), Vec::new());
    let mut texts_left = app.config.limits.memory_body_bytes;
    while let Some(field) = next(&mut multipart, &budget).await? {
        let Some(name) = field.name().map(str::to_owned) else {
            return Err(ApiError::malformed_body("A part has no name.").into());
        };
        if parts.len() == MOST_PARTS || files.len() == MOST_FILES {
            return Err(ApiError::malformed_body("There are too many parts.").into());
        }
        parts.push(if field.file_name().is_some() {
            let (upload, file) = file(app, field, &budget).await?;
            files.push(file);
            Part::file(name, upload)
        } else {
            Part::text(&name, text(app, field, &name, &budget, &mut texts_left).await?)
        });
    }
    Ok(ReadBody::Parts(parts, files))
}

async fn next(multipart: &mut Multipart<'static>, budget: &Budget) -> Result<Option<Field<'static>>, ApiError> {
    budget.renew();
    multipart.next_field().await.map_err(|error| refusal(&error))
}

/// What a part that cannot be read becomes.
fn refusal(error: &multer::Error) -> ApiError {
    if let multer::Error::StreamReadFailed(inner) = error
        && let Some(fault) = inner.downcast_ref::<Fault>()
    {
        return (*fault).into();
    }
    ApiError::malformed_body(&format!("It is no multipart/form-data: {error}."))
}

async fn text(
    app: &App,
    mut field: Field<'static>,
    name: &str,
    budget: &Budget,
    left: &mut u64,
) -> Result<String, ApiError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = chunk(&mut field, budget).await? {
        *left = left
            .checked_sub(chunk.len() as u64)
            .ok_or_else(|| ApiError::too_large(app.config.limits.memory_body_bytes))?;
        bytes.extend_from_slice(&chunk);
    }
    String::from_utf8(bytes).map_err(|_| ApiError::invalid_value(name, "", "Expected text in UTF-8."))
}

async fn chunk(field: &mut Field<'static>, budget: &Budget) -> Result<Option<bytes::Bytes>, ApiError> {
    budget.renew();
    field.chunk().await.map_err(|error| refusal(&error))
}

async fn file(app: &App, mut field: Field<'static>, budget: &Budget) -> Answer<(Upload, Temporary)> {
    let file_name = field.file_name().map(str::to_owned);
    let declared_type = field.content_type().map(ToString::to_string);
    let (temporary, to) = Temporary::new(&app.config.folder)?;
    let mut to = tokio::fs::File::from_std(to);
    let (mut head, mut size_bytes) = (Vec::with_capacity(HEAD_BYTES), 0);
    while let Some(chunk) = chunk(&mut field, budget).await? {
        let missing = HEAD_BYTES - head.len();
        head.extend(chunk.iter().take(missing));
        size_bytes += chunk.len() as u64;
        to.write_all(&chunk).await.map_err(|error| unwritten(&error))?;
    }
    to.flush().await.map_err(|error| unwritten(&error))?;
    let upload = Upload {
        file_name,
        declared_type,
        head,
        size_bytes,
        content: Content::File(temporary.path().to_owned()),
    };
    Ok((upload, temporary))
}

fn unwritten(error: &std::io::Error) -> Failure {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => ApiError::storage_full().into(),
        _ => Failure::internal(error),
    }
}
