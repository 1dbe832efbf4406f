//! What each route needs.

use axum::http::Method;

use crate::Scope;

/// What a request must have to be let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing: anybody may ask.
    Nothing,
    /// A key with this scope.
    Key(Scope),
}

/// Paths that answer anybody.
const OPEN: [&str; 3] = ["/healthz", "/readyz", "/openapi.json"];

/// What a request with this method and path needs. A path that nobody thought of needs a key that may read or write, by its
/// method.
pub(super) fn need_of(method: &Method, path: &str) -> Need {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    if reads && OPEN.contains(&path) {
        return Need::Nothing;
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let scope = match parts.as_slice() {
        ["metrics"] => Scope::Admin,
        // Webhooks send news out of the house, and their endpoints have secrets.
        ["v1", "webhook_endpoints" | "webhook_event_types", ..] | ["api", "webhooks", ..] => Scope::Admin,
        ["webhook_endpoints" | "webhook_event_types", ..] => Scope::Admin,
        ["api", "jobs", _, "deliveries"] => Scope::Admin,
        _ if reads => Scope::Read,
        _ => Scope::Write,
    };
    Need::Key(scope)
}
