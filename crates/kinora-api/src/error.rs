//! What a request that fails gets: a status, headers that steer the retries of the SDKs, and `{"error": {…}}`.
//!
//! The official SDKs retry 408, 409, 429 and everything from 500 on, twice, unless `x-should-retry: false` stands in the
//! answer, and they wait as `retry-after-ms` says, up to 60 seconds. So every error here says whether the same request
//! may succeed later, and no temporary state of a video is reported as 409.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The longest wait that all SDKs honour; a longer one they ignore or take as "never".
pub const LONGEST_RETRY_AFTER_MS: u64 = 60_000;

/// The class of an error, the member `type` of the error object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorType {
    /// The request is wrong, or names something that is not there.
    InvalidRequestError,
    /// The key may not do this.
    PermissionError,
    /// Too many requests, or too many jobs at once.
    RateLimitError,
    /// The quota of the project is used up.
    InsufficientQuota,
    /// The server is at fault.
    ServerError,
}

/// The member `error` of a failed request. All four members are always sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorObject {
    /// What happened, for people.
    pub message: String,
    /// The class of the error.
    #[serde(rename = "type")]
    pub kind: ErrorType,
    /// The field of the request that is at fault.
    pub param: Option<String>,
    /// What happened, for programs.
    pub code: Option<String>,
}

/// The body of every answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ErrorObject,
}

/// A failed request: everything that the HTTP layer sends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ApiError {
    /// The HTTP status.
    pub status: u16,
    /// The body's content.
    pub object: ErrorObject,
    /// Goes out as `x-should-retry` when it differs from what a client would do by the status alone.
    pub retry: Retry,
}

/// Whether the same request may succeed later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The client decides by the status.
    ByStatus,
    /// It will fail again: `x-should-retry: false`.
    Never,
    /// After this many milliseconds: `retry-after-ms` and `retry-after`.
    After(u64),
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, self.object.message)
    }
}

impl ApiError {
    /// An error with its parts; the constructors below cover what the server needs.
    pub fn new(status: u16, kind: ErrorType, code: Option<&str>, param: Option<&str>, message: String) -> Self {
        let object = ErrorObject {
            message,
            kind,
            param: param.map(shortened),
            code: code.map(str::to_owned),
        };
        Self {
            status,
            object,
            retry: Retry::ByStatus,
        }
    }

    fn invalid(status: u16, code: &str, param: Option<&str>, message: String) -> Self {
        Self::new(status, ErrorType::InvalidRequestError, Some(code), param, message)
    }

    fn retry(mut self, retry: Retry) -> Self {
        self.retry = match retry {
            Retry::After(ms) => Retry::After(ms.clamp(1, LONGEST_RETRY_AFTER_MS)),
            other => other,
        };
        self
    }

    /// The same error on a field that stands inside another.
    pub(crate) fn at(mut self, param: &str) -> Self {
        self.object.param = Some(param.to_owned());
        self
    }

    /// The body to send.
    pub fn body(&self) -> ErrorBody {
        ErrorBody {
            error: self.object.clone(),
        }
    }

    /// The headers that go with it, besides the content type.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        match self.retry {
            Retry::ByStatus => Vec::new(),
            Retry::Never => vec![("x-should-retry", "false".to_owned())],
            Retry::After(ms) => vec![
                ("retry-after-ms", ms.to_string()),
                ("retry-after", ms.div_ceil(1000).to_string()),
            ],
        }
    }

    /// 400: the body is no JSON, no form, or not of the type that it claims.
    pub fn malformed_body(what: &str) -> Self {
        Self::invalid(
            400,
            "invalid_body",
            None,
            format!("We could not parse the body of your request. {what}"),
        )
    }

    /// 400: a field that has to be there is not.
    pub fn missing(param: &str) -> Self {
        let message = format!("Missing required parameter: '{param}'.");
        Self::invalid(400, "missing_required_parameter", Some(param), message)
    }

    /// 400: a field of the wrong type: `expected` and `got` with their articles.
    pub fn wrong_type(param: &str, expected: &str, got: &str) -> Self {
        let message = format!("Invalid type for '{param}': expected {expected}, but got {got} instead.");
        Self::invalid(400, "invalid_type", Some(param), message)
    }

    /// 400: a value that is not among those that exist.
    pub fn not_among<T: fmt::Display>(param: &str, got: &str, supported: &[T]) -> Self {
        let message = format!(
            "Invalid value: '{}'. Supported values are: {}.",
            shortened(got),
            listed(supported)
        );
        Self::invalid(400, "invalid_value", Some(param), message)
    }

    /// 400: a value that breaks a rule, which `rule` states as a sentence.
    pub fn invalid_value(param: &str, got: &str, rule: &str) -> Self {
        let message = format!("Invalid value: '{}'. {rule}", shortened(got));
        Self::invalid(400, "invalid_value", Some(param), message)
    }

    /// 400: a number outside its range, or a text whose length is; the code says which (`integer_below_min_value` …).
    pub fn out_of_range(param: &str, code: &str, message: String) -> Self {
        Self::invalid(400, code, Some(param), format!("Invalid '{param}': {message}"))
    }

    /// 400: a field that this server does not know, where unknown ones are refused.
    pub fn unknown_parameter(param: &str) -> Self {
        let message = format!("Unknown parameter: '{}'.", shortened(param));
        Self::invalid(400, "unknown_parameter", Some(param), message)
    }

    /// 400: a field that other servers know and that would change the clip, but that this server does not support.
    pub fn unsupported_parameter(param: &str) -> Self {
        let message = format!("Unsupported parameter: '{param}' is not supported by this server.");
        Self::invalid(400, "unsupported_parameter", Some(param), message)
    }

    /// 400: two fields that exclude each other, or say the same thing differently.
    pub fn conflict_of(param: &str, other: &str) -> Self {
        let message = format!(
            "Invalid value: '{}' and '{}' cannot both be given.",
            shortened(param),
            shortened(other)
        );
        Self::invalid(400, "invalid_value", Some(param), message)
    }

    /// 400: a text stands where a file is expected.
    pub fn expected_file(param: &str) -> Self {
        let message = format!("Invalid type for '{param}': expected a file, got a string.");
        Self::invalid(400, "invalid_type", Some(param), message)
    }

    /// 400: a file of a kind that is not read; `got` is what its bytes, or else its sender, say.
    pub fn unsupported_file(param: &str, got: &str, supported: &[&str]) -> Self {
        let message = format!(
            "Invalid file '{param}': unsupported mimetype ('{}'). Supported file formats are {}.",
            shortened(got),
            listed(supported)
        );
        Self::invalid(400, "unsupported_file_mimetype", Some(param), message)
    }

    /// 400: a reference picture whose size is not that of the clip.
    pub fn reference_size() -> Self {
        let message = "Inpaint image must match the requested width and height".to_owned();
        Self::invalid(400, "invalid_value", Some("input_reference"), message)
    }

    /// 400: a model that is not served.
    pub fn unknown_model<T: fmt::Display>(got: &str, served: &[T]) -> Self {
        let message = format!(
            "The model '{}' does not exist. Models of this server: {}.",
            shortened(got),
            listed(served)
        );
        Self::invalid(400, "model_not_found", Some("model"), message)
    }

    /// 401: no key.
    pub fn no_key() -> Self {
        let message = "You didn't provide an API key. Send it as 'Authorization: Bearer <key>'.".to_owned();
        let kind = ErrorType::InvalidRequestError;
        Self::new(401, kind, None, None, message)
    }

    /// 401: a key that is not known, revoked or expired. The key is not repeated.
    pub fn wrong_key() -> Self {
        let message = "Incorrect API key provided.".to_owned();
        Self::invalid(401, "invalid_api_key", None, message)
    }

    /// 403: the key lacks the scope.
    pub fn missing_scope(scope: &str) -> Self {
        let message = format!("You have insufficient permissions for this operation. Missing scopes: {scope}.");
        Self::new(403, ErrorType::PermissionError, Some("missing_scope"), None, message)
    }

    /// 404: no such video, or one of another project: the two look alike.
    pub fn video_not_found(id: &str) -> Self {
        let message = format!("Video with id '{}' not found.", shortened(id));
        Self::invalid(404, "not_found", Some("video_id"), message)
    }

    /// 404: no such character.
    pub fn character_not_found(id: &str) -> Self {
        let message = format!("Character with id '{}' not found.", shortened(id));
        Self::invalid(404, "not_found", Some("character_id"), message)
    }

    /// 404: the video is not finished; 404 and not 409, which SDKs would retry at once.
    pub fn not_ready(id: &str, status: &str) -> Self {
        let message = format!(
            "Video with id '{}' is not ready: its status is '{status}'.",
            shortened(id)
        );
        Self::invalid(404, "video_not_ready", Some("video_id"), message)
    }

    /// 404: the file of the video was kept until `expires_at` and is gone.
    pub fn expired(id: &str) -> Self {
        let message = format!("The content of video '{}' has expired.", shortened(id));
        Self::invalid(404, "video_expired", Some("video_id"), message)
    }

    /// 404: the file of the video was deleted, or is being deleted; its record may be there a little longer.
    pub fn content_gone(id: &str) -> Self {
        let message = format!("The content of video '{}' is not there any more.", shortened(id));
        Self::invalid(404, "video_expired", Some("video_id"), message)
    }

    /// 404: no such address.
    pub fn unknown_url(method: &str, path: &str) -> Self {
        let message = format!("Invalid URL ({method} {})", shortened(path));
        Self::invalid(404, "unknown_url", None, message)
    }

    /// 405: the address exists, but not for this method.
    pub fn method_not_allowed(method: &str, path: &str) -> Self {
        let message = format!("Not allowed to {method} on {}.", shortened(path));
        Self::invalid(405, "method_not_allowed", None, message)
    }

    /// 409: the state of the job does not allow this, and waiting will not change it.
    pub fn wrong_state(id: &str, status: &str, action: &str) -> Self {
        let message = format!("Video with id '{}' is {status} and cannot be {action}.", shortened(id));
        Self::invalid(409, "invalid_state", Some("video_id"), message).retry(Retry::Never)
    }

    /// 409: the first request with this idempotency key is still being answered; the SDKs try again by themselves.
    pub fn idempotency_in_flight() -> Self {
        let message = "A request with this Idempotency-Key is still being processed.".to_owned();
        Self::invalid(409, "idempotency_key_in_use", None, message).retry(Retry::After(1000))
    }

    /// 413: the body is larger than allowed.
    pub fn too_large(limit_bytes: u64) -> Self {
        let message = format!("The body of your request is larger than {limit_bytes} bytes.");
        Self::invalid(413, "request_too_large", None, message)
    }

    /// 415: a content type that this route does not read.
    pub fn unsupported_content_type(got: &str, supported: &[&str]) -> Self {
        let message = format!(
            "Unsupported content type: '{}'. This API method only accepts {}.",
            shortened(got),
            listed(supported)
        );
        Self::invalid(415, "unsupported_content_type", None, message)
    }

    /// 422: the idempotency key came before with another body.
    pub fn idempotency_mismatch() -> Self {
        let message = "This Idempotency-Key was used before with a different request.".to_owned();
        Self::invalid(422, "idempotency_key_reused", None, message)
    }

    /// 429: too many requests in a span of time.
    pub fn rate_limited(retry_after_ms: u64) -> Self {
        let message = "Rate limit reached for requests.".to_owned();
        let code = Some("rate_limit_exceeded");
        Self::new(429, ErrorType::RateLimitError, code, None, message).retry(Retry::After(retry_after_ms))
    }

    /// 429: too many unfinished videos of one project.
    pub fn too_many_jobs(limit: u64, retry_after_ms: u64) -> Self {
        let message = format!("Too many running tasks: at most {limit} videos may be queued or in progress.");
        let code = Some("too_many_jobs");
        Self::new(429, ErrorType::RateLimitError, code, None, message).retry(Retry::After(retry_after_ms))
    }

    /// 429: a quota that waiting a little does not refill.
    pub fn quota_exceeded() -> Self {
        let message = "You exceeded your current quota.".to_owned();
        let code = Some("insufficient_quota");
        Self::new(429, ErrorType::InsufficientQuota, code, None, message).retry(Retry::Never)
    }

    /// 500: something broke; `request_id` finds it in the log, details stay there.
    pub fn internal(request_id: &str) -> Self {
        let message = format!(
            "The server had an error while processing your request. Please include the request id {request_id} when \
             you report it."
        );
        Self::new(500, ErrorType::ServerError, Some("server_error"), None, message)
    }

    /// 501: a part of the interface that this server does not have; it will not have it on the next try either.
    pub fn not_supported(what: &str) -> Self {
        let message = format!("{what} is not supported by this server.");
        Self::new(501, ErrorType::ServerError, Some("not_supported"), None, message).retry(Retry::Never)
    }

    /// 503: overloaded, starting, stopping, or without its database.
    pub fn unavailable(retry_after_ms: u64) -> Self {
        let message = "The server is temporarily unable to take requests.".to_owned();
        let code = Some("service_unavailable");
        Self::new(503, ErrorType::ServerError, code, None, message).retry(Retry::After(retry_after_ms))
    }

    /// 507: no room for more files.
    pub fn storage_full() -> Self {
        let message = "The server has no room for more files.".to_owned();
        Self::new(507, ErrorType::ServerError, Some("storage_full"), None, message).retry(Retry::Never)
    }
}

/// What comes from outside and is repeated in a message: at most 100 characters, without control characters.
pub(crate) fn shortened(text: &str) -> String {
    let mut out: String = text
        .chars()
        .take(100)
        .map(|c| if c.is_control() { '\u{FFFD}' } else { c })
        .collect();
    if text.chars().nth(100).is_some() {
        out.push('…');
    }
    out
}

/// `'a'`, `'a' and 'b'`, `'a', 'b', and 'c'`: the lists of OpenAI's messages.
pub(crate) fn listed<T: fmt::Display>(values: &[T]) -> String {
    let quoted: Vec<String> = values.iter().map(|value| format!("'{value}'")).collect();
    match quoted.as_slice() {
        [] => "none".to_owned(),
        [one] => one.clone(),
        [first, second] => format!("{first} and {second}"),
        [front @ .., last] => format!("{}, and {last}", front.join(", ")),
    }
}
