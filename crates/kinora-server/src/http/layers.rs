//! What every request goes through, whatever its route: its name, the time that it took, panics, and web pages of others.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Version};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::FutureExt;
use http_body::{Body as HttpBody, Frame, SizeHint};
use kinora_api::{ApiError, IGNORED_FIELDS, OPENAI_VERSION, POLL_AFTER_MS, PROCESSING_MS, VERSION};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tower_http::cors::{AllowHeaders, AllowOrigin, Any, CorsLayer};

use super::REQUEST_ID;
use crate::answer::Failure;
use crate::hex::hex;
use crate::routes::videos::ALSO_MADE;
use crate::{App, Error, Result};

/// The longest name that a client may give to its request.
const LONGEST_CLIENT_NAME: usize = 512;

/// Puts around all routes what every request goes through.
pub(crate) fn around(router: Router, app: &App) -> Router {
    let router = router.layer(from_fn(survive));
    let router = match cors(&app.config.cors) {
        Some(cors) => router.layer(cors),
        None => router,
    };
    router
        .layer(from_fn_with_state(app.stopping.clone(), cut_events))
        .layer(from_fn(name))
}

/// No such address.
pub(crate) async fn unknown_url(request: Request) -> Failure {
    ApiError::unknown_url(request.method().as_str(), request.uri().path()).into()
}

/// The address exists, but not for this method.
pub(crate) async fn method_not_allowed(request: Request) -> Failure {
    ApiError::method_not_allowed(request.method().as_str(), request.uri().path()).into()
}

/// Gives the request a name of ours; the client's own is only logged.
async fn name(request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let mut random = [0; 16];
    // Without randomness the name is not unique, and the request is answered all the same.
    getrandom::fill(&mut random).ok();
    let id = format!("req_{}", hex(&random));
    let given = request.headers().get("x-client-request-id");
    if let Some(given) = given.filter(|given| given.len() <= LONGEST_CLIENT_NAME) {
        tracing::debug!(request_id = id, client_request_id = ?given, "the client has a name for this request");
    }
    let version = request.version();
    let mut answer = REQUEST_ID.scope(id.clone(), next.run(request)).await;
    let early = matches!(
        answer.status(),
        StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE
    );
    let headers = answer.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(kinora_api::REQUEST_ID, id);
    }
    let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    headers.insert(PROCESSING_MS, HeaderValue::from(ms));
    headers.insert(OPENAI_VERSION, HeaderValue::from_static(VERSION));
    if early && version < Version::HTTP_2 {
        // The rest of the body is not read, so nothing can follow on this connection.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

/// A panic in a route is an error of this request alone.
async fn survive(request: Request, next: Next) -> Response {
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(answer) => answer,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Failure::internal(&format!("a route panicked: {}", text.unwrap_or("no message"))).into_response()
        }
    }
}

/// Streams of events have no end of their own, so they end when the server stops.
async fn cut_events(State(stopping): State<CancellationToken>, request: Request, next: Next) -> Response {
    let answer = next.run(request).await;
    let kind = answer.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if !kind.is_some_and(|kind| kind.starts_with("text/event-stream")) {
        return answer;
    }
    answer.map(|body| {
        Body::new(Cut {
            body,
            stopping: Box::pin(stopping.cancelled_owned()),
        })
    })
}

/// A body that ends when the server stops.
struct Cut {
    body: Body,
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl HttpBody for Cut {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.stopping.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }
}

/// A body that keeps something until it has been sent or given up.
pub(super) struct Holding<T> {
    body: Body,
    _held: T,
}

impl<T> Holding<T> {
    pub(super) const fn new(body: Body, held: T) -> Self {
        Self { body, _held: held }
    }
}

impl<T: Unpin> HttpBody for Holding<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// **Errors**: [`Error::Setting`] for an origin that is none.
pub(super) fn check_origins(origins: &[String]) -> Result<()> {
    for origin in origins {
        let plain = origin == "*"
            || origin.split_once("://").is_some_and(|(scheme, host)| {
                !scheme.is_empty() && !host.is_empty() && !host.contains('/') && HeaderValue::from_str(origin).is_ok()
            });
        if !plain {
            return Err(Error::Setting {
                what: "the origin of web pages (--cors)",
                problem: format!("{origin:?} is none"),
                hint: "scheme, host and port without a path, such as https://studio.example.org, or * for all"
                    .to_owned(),
            });
        }
    }
    Ok(())
}

/// What lets web pages of these origins call the server; nothing without origins.
fn cors(origins: &[String]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let allowed = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::from(Any)
    } else {
        AllowOrigin::list(origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()))
    };
    let seen = [
        kinora_api::REQUEST_ID,
        PROCESSING_MS,
        POLL_AFTER_MS,
        IGNORED_FIELDS,
        ALSO_MADE,
        "content-disposition",
        "content-range",
        "retry-after",
        "retry-after-ms",
    ];
    // The headers are named one by one, because `*` does not include `authorization`.
    Some(
        CorsLayer::new()
            .allow_origin(allowed)
            .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::DELETE])
            .allow_headers(AllowHeaders::mirror_request())
            .expose_headers(seen.map(HeaderName::from_static))
            .max_age(Duration::from_secs(600)),
    )
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use futures_util::stream;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn oops() -> &'static str {
        panic!("a secret detail")
    }

    #[tokio::test]
    async fn a_panic_is_an_error_of_one_request() {
        let router = Router::new()
            .route("/", get(oops))
            .layer(from_fn(survive))
            .layer(from_fn(name));
        let answer = router.oneshot(Request::new(Body::empty())).await.unwrap();
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let id = answer.headers()[kinora_api::REQUEST_ID].to_str().unwrap().to_owned();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert!(text.contains(&id) && text.contains("server_error"), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }

    #[tokio::test]
    async fn streams_of_events_end_with_the_server() {
        let endless = || async {
            let events = stream::once(async { Ok::<_, std::io::Error>("data: 1\n\n") }).chain(stream::pending());
            ([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(events))
        };
        use futures_util::StreamExt;
        let stopping = CancellationToken::new();
        let layer = from_fn_with_state(stopping.clone(), cut_events);
        let router: Router = Router::new().route("/", get(endless)).layer(layer);
        let answer = router.oneshot(Request::new(Body::empty())).await.unwrap();
        let mut body = answer.into_body();
        let first = body.frame().await.unwrap().unwrap();
        assert_eq!(&**first.data_ref().unwrap(), b"data: 1\n\n");
        let next = tokio::time::timeout(Duration::from_millis(50), body.frame()).await;
        assert!(next.is_err(), "the stream waits");
        stopping.cancel();
        assert!(body.frame().await.is_none());
    }

    #[test]
    fn origins_are_checked() {
        let check = |origin: &str| check_origins(&[origin.to_owned()]).is_ok();
        assert!(check("*") && check("https://a.example:8443") && check("http://localhost:3000"));
        assert!(!check("a.example") && !check("https://a.example/") && !check("https://") && !check("https://a\n"));
    }
}
