//! Health, metrics and the description of the interface.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use kinora_api::{ApiError, Health};

use crate::answer::{Answer, Failure};
use crate::{App, Caller, Scope, observe};

/// What the encoder of the numbers writes.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/healthz", get(|| async { health(&observe::alive()) }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/openapi.json", get(|| async { Json(kinora_api::openapi()) }))
}

fn health(health: &Health) -> Response {
    let status = StatusCode::from_u16(health.http_status()).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    (status, Json(health)).into_response()
}

async fn ready(State(app): State<App>) -> Response {
    health(&app.readiness.look(&app).await)
}

async fn metrics(State(app): State<App>, caller: Caller) -> Answer<Response> {
    if !caller.may(Scope::Admin) {
        return Err(ApiError::missing_scope(Scope::Admin.name()).into());
    }
    // Numbers of the process are worth having when the record does not answer; those of the queue stay as they were.
    let load = app.with_store(|store| store.load()).await.ok();
    let text = app
        .metrics
        .text(load.as_deref())
        .map_err(|error| Failure::internal(&error))?;
    Ok(([(CONTENT_TYPE, OPENMETRICS)], text).into_response())
}
