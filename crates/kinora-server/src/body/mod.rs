//! The body of a request, read within limits: JSON and forms in memory, files of multipart on the disk.

mod multipart;
mod paced;
mod temporary;

use axum::body::Bytes;
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use futures_util::StreamExt;
use kinora_api::{ApiError, Body, BodyKind, ErrorType, Part};

pub(crate) use temporary::{Temporary, sweep};

use crate::App;
use crate::answer::Answer;
use paced::{Fault, Paced};

/// A body that has been read.
#[derive(Debug)]
pub(crate) enum ReadBody {
    /// JSON or a form, in memory.
    Memory(BodyKind, Vec<u8>),
    /// Parts, the files of which lie on the disk until this is dropped.
    #[expect(dead_code, reason = "the files are only held")]
    Parts(Vec<Part>, Vec<Temporary>),
}

impl ReadBody {
    /// As the requests of `kinora-api` read it.
    pub(crate) fn as_body(&self) -> Body<'_> {
        match self {
            Self::Memory(BodyKind::Json, bytes) => Body::Json(bytes),
            Self::Memory(_, bytes) => Body::Urlencoded(bytes),
            Self::Parts(parts, _) => Body::Multipart(parts.clone()),
        }
    }
}

impl From<Fault> for ApiError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::TooLarge { limit } => Self::too_large(limit),
            Fault::Stalled => {
                let message = "The body of your request did not arrive in time.".to_owned();
                let kind = ErrorType::InvalidRequestError;
                Self::new(408, kind, Some("request_timeout"), None, message)
            }
            Fault::Broken => Self::malformed_body("It broke off."),
            Fault::Headers => Self::malformed_body("The headers of a part are too long."),
        }
    }
}

/// Reads the body of `request`. Its files are deleted when what this returns is dropped.
///
/// **Errors**: 413 for one that is too large, 415 for another type, 400 for one that breaks off or makes no sense, 408 for
/// one that stands still, 507 if files have no room.
pub(crate) async fn read_body(app: &App, request: Request) -> Answer<ReadBody> {
    let content_type = request.headers().get(CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok()).map(str::to_owned);
    let kind = BodyKind::of(content_type.as_deref())?;
    let limits = &app.config.limits;
    let limit = match kind {
        BodyKind::Multipart => limits.body_bytes,
        BodyKind::Json | BodyKind::Urlencoded => limits.memory_body_bytes,
    };
    let length = request.headers().get(CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > limit) {
        return Err(ApiError::too_large(limit).into());
    }
    let paced = Paced::new(request.into_body().into_data_stream(), limit, limits.body_time);
    match kind {
        BodyKind::Multipart => multipart::read(app, paced, content_type.as_deref().unwrap_or_default()).await,
        BodyKind::Json | BodyKind::Urlencoded => Ok(ReadBody::Memory(kind, whole(paced).await?)),
    }
}

async fn whole(mut paced: Paced) -> Result<Vec<u8>, ApiError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = paced.next().await {
        let chunk: Bytes = chunk?;
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}
