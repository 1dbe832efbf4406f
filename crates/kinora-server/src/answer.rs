//! How a route fails: an [`ApiError`] as a response, and which one each failure of ours becomes.

use std::io::ErrorKind;

use axum::Json;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use kinora_api::{ApiError, IGNORED_FIELDS, ignored_fields};
use kinora_jobs::{Error as JobsError, Illegal};

/// What a route returns.
pub(crate) type Answer<T> = Result<T, Failure>;

/// Why a request gets no success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure(pub(crate) ApiError);

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl From<JobsError> for Failure {
    fn from(error: JobsError) -> Self {
        Self(match &error {
            JobsError::NotFound { job } => ApiError::video_not_found(&job.0),
            JobsError::IdempotencyConflict { .. } => ApiError::idempotency_mismatch(),
            JobsError::QueueFull { limit, .. } => ApiError::too_many_jobs(u64::from(*limit), 10_000),
            JobsError::Priority { priority, limit } => {
                let rule = format!("This key may ask for at most {limit}.");
                ApiError::invalid_value("priority", &priority.to_string(), &rule)
            }
            JobsError::Field { field, problem } => ApiError::invalid_value(field, "", problem),
            JobsError::NotEnded { job, state } => ApiError::wrong_state(&job.0, state.name(), "deleted"),
            JobsError::Illegal { job, reason } => match reason {
                Illegal::Finished { state, command, .. } | Illegal::State { state, command } => {
                    ApiError::wrong_state(&job.0, state.name(), command)
                }
                _ => ApiError::wrong_state(&job.0, "busy", "changed"),
            },
            JobsError::DiskFull => ApiError::storage_full(),
            JobsError::Busy => ApiError::unavailable(1000),
            _ => return Self::internal(&error),
        })
    }
}

impl From<crate::Error> for Failure {
    fn from(error: crate::Error) -> Self {
        match error {
            crate::Error::Jobs(error) => error.into(),
            crate::Error::Io { source, .. }
                if matches!(source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) =>
            {
                ApiError::storage_full().into()
            }
            crate::Error::StorageFull { .. } => ApiError::storage_full().into(),
            other => Self::internal(&other),
        }
    }
}

impl Failure {
    /// 500, with the details in the log alone.
    pub(crate) fn internal(error: &dyn std::fmt::Display) -> Self {
        let request_id = crate::http::current_request_id();
        tracing::error!(%error, request_id, "a request failed");
        Self(ApiError::internal(&request_id))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (
            status,
            axum::response::AppendHeaders(self.0.headers()),
            Json(self.0.body()),
        )
            .into_response()
    }
}

/// An answer that names the fields of its request that mean nothing here.
pub(crate) fn with_ignored(ignored: &[String], answer: impl IntoResponse) -> Response {
    let mut response = answer.into_response();
    set_header(response.headers_mut(), IGNORED_FIELDS, ignored_fields(ignored));
    response
}

/// Sets a header that has a value which headers can carry.
pub(crate) fn set_header(headers: &mut HeaderMap, name: &'static str, value: Option<String>) {
    if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
        headers.insert(HeaderName::from_static(name), value);
    }
}
