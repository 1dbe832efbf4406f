//! What is seen of a server from outside: its log, its traces, its numbers and its health.

mod health;
mod logs;
mod metrics;
mod traces;

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;

pub(crate) use health::{Readiness, alive};
pub use logs::{LogFormat, LogOptions, Logs, init};
#[allow(unused_imports, reason = "the sender of webhooks names it")]
pub(crate) use metrics::{DeliveryResult, Metrics};
pub use traces::span_of_job;
pub(crate) use traces::traceparent;

use crate::{App, Caller};

/// Where requests are counted that no route takes: their paths come from outside and may be anything.
const UNMATCHED: &str = "unmatched";
/// The longest name from outside in a line of the log, in characters.
const LONGEST_NAME: usize = 200;

/// Counts a request, logs one line about it, and opens the span that its job will continue.
///
/// It stands outside of the layer that finds the [`Caller`], so that refused requests are seen too; that layer puts the
/// caller into the extensions of the response as well.
pub(crate) async fn track(State(app): State<App>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = method_of(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or(UNMATCHED, MatchedPath::as_str);
    let path = plain(request.uri().path());
    let request_id = crate::http::current_request_id();
    let before = request.extensions().get::<Caller>().cloned();
    let span = tracing::info_span!("request", otel.name = %format!("{method} {route}"), method, route, request_id);
    traces::continue_from(&span, request.headers());

    let response = next.run(request).instrument(span.clone()).await;

    let taken = begun.elapsed();
    let status = response.status().as_u16();
    app.metrics.request(route, method, status, taken);
    let caller = response.extensions().get::<Caller>().or(before.as_ref());
    let project = caller.map(|caller| plain(&caller.project)).unwrap_or_default();
    let key = caller.map(|caller| plain(&caller.key)).unwrap_or_default();
    let ms = u64::try_from(taken.as_millis()).unwrap_or(u64::MAX);
    span.in_scope(|| {
        tracing::info!(
            target: "kinora_server::access",
            method, route, path, status, ms, request_id, project, key, "answered"
        );
    });
    response
}

/// The name of a method; those that no server knows are one.
fn method_of(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

/// A text from outside as a line of the log can hold it: short, and with its control characters written out.
pub(crate) fn plain(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars().take(LONGEST_NAME) {
        // Marks that turn the direction of what follows make a line read as it is not.
        if c.is_control() || matches!(c, '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}') {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    if text.chars().nth(LONGEST_NAME).is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_from_outside_cannot_write_lines_of_their_own() {
        assert_eq!(plain("a\nERROR b\u{1b}[31m"), "a\\u{a}ERROR b\\u{1b}[31m");
        assert_eq!(plain("\u{202e}cod"), "\\u{202e}cod");
        assert_eq!(plain("日本 ok"), "日本 ok");
        assert_eq!(plain(&"x".repeat(1000)).chars().count(), LONGEST_NAME + 1);
    }
}
