//! What stands before all routes.

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use kinora_api::ApiError;

use super::keys::Found;
use super::local;
use super::need::{Need, need_of};
use super::rates::Rate;
use crate::answer::{Answer, Failure};
use crate::{App, Caller, Key};

/// The header of clients that were written for Azure.
const API_KEY: &str = "api-key";

/// Lets a request through with its [`Caller`], or answers it: 401, 403, 429.
pub(crate) async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let need = need_of(&parts.method, parts.uri.path());
    let (caller, limit) = match identify(&app, &parts, need).await {
        Ok(Some(known)) => known,
        Ok(None) => return next.run(Request::from_parts(parts, body)).await,
        Err(failure) => return failure.into_response(),
    };
    let limit = limit.or(app.config.limits.requests_per_minute);
    let rate = limit.map(|limit| app.auth.rates.take(&caller.key, limit, app.clock.now()));
    let refusal = match (rate.and_then(|rate| rate.wait_ms), need) {
        (Some(wait_ms), _) => Some(ApiError::rate_limited(wait_ms)),
        (None, Need::Key(scope)) if !caller.may(scope) => Some(ApiError::missing_scope(scope.name())),
        _ => None,
    };
    let mut response = match refusal {
        None => {
            parts.extensions.insert(caller.clone());
            let mut response = next.run(Request::from_parts(parts, body)).await;
            // For the line of the log, which is written further out.
            response.extensions_mut().insert(caller);
            response
        }
        Some(error) => {
            audit(&parts, Some(&caller.key), &error);
            Failure(error).into_response()
        }
    };
    if let Some(rate) = rate {
        add(&rate, response.headers_mut());
    }
    response
}

/// Who asks, and how often the key may; `None` where nobody needs to say who they are.
async fn identify(app: &App, request: &Parts, need: Need) -> Answer<Option<(Caller, Option<u32>)>> {
    if !app.config.keys {
        local::check(&app.config, &request.uri, &request.headers).inspect_err(|error| audit(request, None, error))?;
        return Ok((need != Need::Nothing).then(|| (Caller::local(), None)));
    }
    if need == Need::Nothing {
        return Ok(None);
    }
    let refuse = |key: Option<&Key>, error: ApiError| {
        audit(request, key.map(|key| key.name.as_str()), &error);
        Err(Failure(error))
    };
    let Some(text) = key_in(&request.headers) else {
        return refuse(None, ApiError::no_key());
    };
    // One answer for all keys that do not work: which of them it is, is for the log.
    match app.auth.keys.find(text).await? {
        Found::Valid(key) => {
            let caller = Caller {
                project: key.project,
                key: key.name,
                scopes: key.scopes,
            };
            Ok(Some((caller, key.requests_per_minute)))
        }
        Found::Unknown => refuse(None, ApiError::wrong_key()),
        Found::Expired(key) | Found::Revoked(key) => refuse(Some(&key), ApiError::wrong_key()),
    }
}

/// The key that a request brings.
fn key_in(headers: &HeaderMap) -> Option<&str> {
    if let Some(value) = headers.get(AUTHORIZATION) {
        let (scheme, key) = value.to_str().ok()?.split_once(' ')?;
        return scheme.eq_ignore_ascii_case("bearer").then(|| key.trim());
    }
    headers.get(API_KEY)?.to_str().ok().map(str::trim)
}

/// One line for each refusal. The query is left out: somebody may have put a key there.
fn audit(request: &Parts, key: Option<&str>, error: &ApiError) {
    tracing::warn!(
        target: "audit",
        method = %request.method,
        path = request.uri.path(),
        key,
        status = error.status,
        code = error.object.code,
        request_id = crate::http::current_request_id(),
        "a request was refused"
    );
}

fn add(rate: &Rate, headers: &mut HeaderMap) {
    for (name, value) in rate.headers() {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}
