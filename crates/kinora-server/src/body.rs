//! The body of a request, read within limits.

use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use http_body_util::{BodyExt, Limited};
use kinora_api::{ApiError, Body, BodyKind, Part};

use crate::App;
use crate::answer::Answer;

/// A body that has been read.
#[derive(Debug)]
pub(crate) enum ReadBody {
    /// JSON or a form, in memory.
    Memory(BodyKind, Vec<u8>),
    /// Parts, the files of which lie on the disk.
    Parts(Vec<Part>),
}

impl ReadBody {
    /// As the requests of `kinora-api` read it.
    pub(crate) fn as_body(&self) -> Body<'_> {
        match self {
            Self::Memory(BodyKind::Json, bytes) => Body::Json(bytes),
            Self::Memory(_, bytes) => Body::Urlencoded(bytes),
            Self::Parts(parts) => Body::Multipart(parts.clone()),
        }
    }
}

/// Reads the body of `request`.
///
/// **Errors**: 413, 415, 400 for one that breaks off.
pub(crate) async fn read_body(app: &App, request: Request) -> Answer<ReadBody> {
    let content_type = request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let kind = BodyKind::of(content_type)?;
    let limit = app.config.limits.memory_body_bytes;
    let body = Limited::new(request.into_body(), usize::try_from(limit).unwrap_or(usize::MAX));
    let bytes = body.collect().await.map_err(|_| ApiError::too_large(limit))?.to_bytes();
    Ok(ReadBody::Memory(kind, bytes.to_vec()))
}
