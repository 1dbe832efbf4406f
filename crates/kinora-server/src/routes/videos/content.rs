//! `GET /v1/videos/{video_id}/content`: the files of a finished video, whole or by ranges.
//!
//! Files do not change once a job has succeeded, so a tag made of the clip's SHA-256 is a strong one. Whatever the client
//! accepts, it gets the file: the SDKs ask for `application/binary`.

use std::time::{Duration, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri};
use axum::response::{AppendHeaders, IntoResponse, Response};
use kinora_api::{ApiError, ContentVariant, ErrorType, VideoId};

use super::Named;
use super::range::{Asked, asked_of};
use crate::answer::{Answer, Failure};
use crate::view::{Finished, finished};
use crate::{App, Caller, FileRef};

pub(super) async fn content(
    State(app): State<App>,
    caller: Caller,
    Named(id): Named,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Answer<Response> {
    let variant = variant_of(uri.query().unwrap_or_default())?;
    let video = finished(&app, &caller, &id).await?;
    let key = file_of(&video, variant).clone();
    let file = app.files.head(&key).await?;
    let size = file.ok_or_else(|| gone(&id, &key))?.bytes;
    let tag = tag_of(&video, variant);
    let modified = modified_of(&video);
    let facts = AppendHeaders([
        (ETAG, tag.clone()),
        (LAST_MODIFIED, modified.clone()),
        (ACCEPT_RANGES, "bytes".to_owned()),
        (CACHE_CONTROL, "private".to_owned()),
    ]);
    if text(&headers, IF_NONE_MATCH).is_some_and(|known| matches(known, &tag)) {
        return Ok((StatusCode::NOT_MODIFIED, facts).into_response());
    }
    let same = text(&headers, IF_RANGE).is_none_or(|known| known == tag || known == modified);
    let wanted = text(&headers, RANGE).filter(|_| same);
    let (status, range) = match wanted.map_or(Asked::Whole, |wanted| asked_of(wanted, size)) {
        Asked::Whole => (StatusCode::OK, 0..size),
        Asked::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Asked::Nothing => return Ok(unsatisfiable(size)),
    };
    let body = if method == Method::HEAD {
        Body::empty()
    } else {
        let pieces = app.files.read_range(&key, range.clone()).await?;
        Body::from_stream(pieces.ok_or_else(|| gone(&id, &key))?)
    };
    let name = format!("attachment; filename=\"{}\"", file_name(&video, variant));
    let described = AppendHeaders([
        (CONTENT_TYPE, variant.content_type().to_owned()),
        (CONTENT_LENGTH, (range.end - range.start).to_string()),
        (CONTENT_DISPOSITION, name),
        (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ]);
    let mut answer = (status, facts, described, body).into_response();
    if status == StatusCode::PARTIAL_CONTENT {
        let which = format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1));
        if let Ok(which) = which.parse() {
            answer.headers_mut().insert(CONTENT_RANGE, which);
        }
    }
    Ok(answer)
}

/// A file that the record names and that is not there: a deletion takes the files first, so for a moment, or for longer if it
/// was cut short, the record outlives them. Files that somebody else took away look the same, hence the log.
fn gone(id: &str, key: &FileRef) -> Failure {
    tracing::warn!(%key, "a file of a finished video is not there: it is being deleted, or was taken away");
    ApiError::content_gone(id).into()
}

/// `variant` of a query; other names in it are left alone.
fn variant_of(query: &str) -> Answer<ContentVariant> {
    let given = query.split('&').find_map(|pair| pair.strip_prefix("variant="));
    match given {
        None => Ok(ContentVariant::Video),
        Some(name) => Ok(name.parse()?),
    }
}

fn file_of(video: &Finished, variant: ContentVariant) -> &FileRef {
    let files = &video.outcome.files;
    match variant {
        ContentVariant::Video => &files.video,
        ContentVariant::Thumbnail => &files.thumbnail,
        ContentVariant::Spritesheet => &files.spritesheet,
    }
}

/// Pictures are made of the clip, so its hash names them too.
fn tag_of(video: &Finished, variant: ContentVariant) -> String {
    format!("\"{}-{variant}\"", video.outcome.sha256)
}

fn modified_of(video: &Finished) -> String {
    let at = video.job.finished_at.unwrap_or(video.job.created_at);
    let since = Duration::from_millis(u64::try_from(at.as_ms()).unwrap_or(0));
    httpdate::fmt_http_date(UNIX_EPOCH + since)
}

fn file_name(video: &Finished, variant: ContentVariant) -> String {
    // Parsed, so nothing in it needs quoting.
    let id = video.job.id.0.parse::<VideoId>();
    let id = id.as_ref().map_or("video", |id| id.as_str());
    let part = match variant {
        ContentVariant::Video => String::new(),
        ContentVariant::Thumbnail | ContentVariant::Spritesheet => format!("-{variant}"),
    };
    format!("{id}{part}.{}", variant.extension())
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim)
}

/// Whether `If-None-Match` names this tag.
fn matches(known: &str, tag: &str) -> bool {
    known
        .split(',')
        .map(str::trim)
        .any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
}

fn unsatisfiable(size: u64) -> Response {
    let message = format!("The requested range is outside of the file, which has {size} bytes.");
    let kind = ErrorType::InvalidRequestError;
    let error = ApiError::new(416, kind, Some("range_not_satisfiable"), None, message);
    let facts = AppendHeaders([(CONTENT_RANGE, format!("bytes */{size}"))]);
    (facts, Failure::from(error)).into_response()
}
