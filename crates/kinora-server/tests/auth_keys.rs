//! Keys and what they open: their life, each route with each scope, rates, and a log without a key in it.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::Write;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use axum::response::Response;
use http_body_util::BodyExt;
use kinora_api::Rules;
use kinora_jobs::{Allowance, Clock, ManualClock, SqliteStore, Store, Timestamp};
use kinora_server::{App, Config, CreatedKey, Error, Files, Keys, NewKey, Scope};
use serde_json::Value;
use tower::ServiceExt;

struct Server {
    folder: tempfile::TempDir,
    clock: Arc<ManualClock>,
    store: Arc<dyn Store>,
    keys: Keys,
    app: App,
}

impl Server {
    fn with(change: impl FnOnce(&mut Config)) -> Self {
        LazyLock::force(&LOG);
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(Timestamp(1_800_000_000_000)));
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&folder.path().join("jobs.db"), clock.clone()).unwrap());
        let files = Files::in_folder(&folder.path().join("files")).unwrap();
        let mut config = Config::new("127.0.0.1:8000".parse().unwrap(), folder.path().into());
        config.keys = true;
        change(&mut config);
        let keys = Keys::new(&files, store.clone(), clock.clone());
        let app = App::new(config, store.clone(), clock.clone(), files, Rules::sora());
        Self {
            folder,
            clock,
            store,
            keys,
            app,
        }
    }

    async fn key(&self, name: &str, scopes: &[Scope]) -> CreatedKey {
        let new = NewKey {
            scopes: scopes.to_vec(),
            ..NewKey::new(name, "film")
        };
        self.keys.create(&new).await.unwrap()
    }

    async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Response {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        self.app.router().oneshot(request).await.unwrap()
    }

    async fn status_with(&self, key: &str) -> StatusCode {
        let bearer = format!("Bearer {key}");
        let headers = [("authorization", bearer.as_str())];
        self.ask(Method::GET, "/v1/webhook_event_types", &headers)
            .await
            .status()
    }
}

async fn error_of(response: Response) -> (u16, Option<String>) {
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let json: Value = serde_json::from_slice(&body).unwrap_or_default();
    (status, json["error"]["code"].as_str().map(str::to_owned))
}

#[tokio::test]
async fn a_key_lives_from_its_making_to_its_end() {
    let server = Server::with(|_| ());
    let first = server.keys.first_run().await.unwrap().unwrap();
    assert_eq!(
        (first.key.name.as_str(), first.key.project.as_str()),
        ("admin", "default")
    );
    assert!(server.keys.first_run().await.unwrap().is_none(), "only once");
    assert_eq!(server.status_with(first.reveal()).await, StatusCode::OK);

    let lifetime = Duration::from_secs(3600);
    let new = NewKey {
        lifetime: Some(lifetime),
        scopes: vec![Scope::Admin],
        allowance: Allowance {
            weight: 2.0,
            max_queued: 7,
            ..Allowance::default()
        },
        ..NewKey::new("short", "film")
    };
    let short = server.keys.create(&new).await.unwrap();
    assert_eq!(
        server.store.allowance("short").unwrap(),
        new.allowance,
        "shares are the job store's to keep"
    );
    let taken = server.keys.create(&new).await.unwrap_err();
    assert!(matches!(taken, Error::Setting { .. }), "{taken}");
    assert_eq!(
        server.keys.list().await.unwrap().len(),
        2,
        "the second one left nothing behind"
    );
    assert_eq!(server.status_with(short.reveal()).await, StatusCode::OK);
    server.clock.advance(lifetime - Duration::from_millis(1));
    assert_eq!(server.status_with(short.reveal()).await, StatusCode::OK);
    server.clock.advance(Duration::from_millis(1));
    assert_eq!(server.status_with(short.reveal()).await, StatusCode::UNAUTHORIZED);

    // Revoked elsewhere: this server believes its memory for five seconds, and no longer.
    assert_eq!(server.status_with(first.reveal()).await, StatusCode::OK);
    server.keys.revoke("admin").await.unwrap();
    assert_eq!(server.status_with(first.reveal()).await, StatusCode::OK);
    server.clock.advance(Duration::from_secs(5));
    assert_eq!(server.status_with(first.reveal()).await, StatusCode::UNAUTHORIZED);
    assert!(server.keys.revoke("nobody").await.is_err());
    assert!(
        server.keys.first_run().await.unwrap().is_none(),
        "a revoked key was a key"
    );
    let listed = server.keys.list().await.unwrap();
    assert!(listed.iter().any(|key| key.name == "admin" && key.revoked_at.is_some()));
}

#[tokio::test]
async fn what_is_no_key_opens_nothing_and_keys_are_stored_nowhere() {
    let server = Server::with(|_| ());
    let key = server.key("one", &Scope::ALL).await;
    let text = key.reveal();
    let path = "/v1/webhook_event_types";
    for (headers, code) in [
        (vec![], None),
        (vec![("authorization", "Bearer ")], Some("invalid_api_key")),
        (vec![("authorization", "Bearer sk-proj-1")], Some("invalid_api_key")),
        (vec![("authorization", "Basic a2V5")], None),
        (vec![("authorization", text)], None),
        (vec![("api-key", "kn-x")], Some("invalid_api_key")),
    ] {
        let got = error_of(server.ask(Method::GET, path, &headers).await).await;
        assert_eq!(got, (401, code.map(str::to_owned)), "{headers:?}");
    }
    for headers in [
        [("authorization", format!("Bearer {text}"))],
        [("authorization", format!("bearer  {text}"))],
        [("api-key", text.to_owned())],
    ] {
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        assert_eq!(server.ask(Method::GET, path, &headers).await.status(), StatusCode::OK);
    }
    let stranger = key_of_another_server().await;
    assert_eq!(server.status_with(&stranger).await, StatusCode::UNAUTHORIZED);

    let mut looked = 0;
    let mut folders = vec![server.folder.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            let part = &text.as_bytes()[3..30];
            assert!(
                !bytes.windows(part.len()).any(|window| window == part),
                "{}",
                path.display()
            );
            looked += 1;
        }
    }
    assert!(looked >= 3, "{looked}");
    assert!(!format!("{key:?}").contains(&text[3..]));
}

async fn key_of_another_server() -> String {
    let other = Server::with(|_| ());
    other.key("one", &Scope::ALL).await.reveal().to_owned()
}

/// What each operation of the document needs, written down once more: whoever adds a route says here who may use it.
fn scope_by_hand(operation: &str) -> Option<Scope> {
    Some(match operation {
        "get_health" | "get_readiness" | "get_openapi" => return None,
        "list_videos" | "get_video" | "get_video_content" | "get_character" | "list_jobs" | "get_job" | "watch_job"
        | "get_preview" | "list_models" => Scope::Read,
        "create_video" | "delete_video" | "remix_video" | "edit_video" | "extend_video" | "create_character"
        | "cancel_job" | "retry_job" | "make_variants" | "create_storyboard" | "blend_videos" | "loop_video" => {
            Scope::Write
        }
        "get_metrics"
        | "create_webhook_endpoint"
        | "list_webhook_endpoints"
        | "get_webhook_endpoint"
        | "update_webhook_endpoint"
        | "delete_webhook_endpoint"
        | "rotate_webhook_secret"
        | "test_webhook_endpoint"
        | "list_webhook_event_types"
        | "list_job_deliveries"
        | "replay_delivery" => Scope::Admin,
        other => panic!("{other}: say which scope it needs"),
    })
}

#[tokio::test]
async fn every_route_asks_for_its_scope() {
    let server = Server::with(|_| ());
    let mut keys = Vec::new();
    for scope in Scope::ALL {
        keys.push((scope, server.key(scope.name(), &[scope]).await));
    }
    let document = kinora_api::openapi();
    let mut asked = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        let mut filled = String::new();
        for part in path.split_inclusive('/') {
            let name = if part.starts_with('{') {
                "none_1"
            } else {
                part.trim_end_matches('/')
            };
            filled.push_str(name);
            filled.push_str(&part[part.trim_end_matches('/').len()..]);
        }
        for (method, operation) in methods.as_object().unwrap() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let need = scope_by_hand(operation["operationId"].as_str().unwrap());
            let without = server.ask(method.clone(), &filled, &[]).await.status();
            assert_eq!(
                without == 401,
                need.is_some(),
                "{method} {filled} without a key: {without}"
            );
            for (scope, key) in &keys {
                let got = server.ask(method.clone(), &filled, &[("api-key", key.reveal())]).await;
                let allowed = need.is_none_or(|need| need == *scope);
                let status = got.status();
                assert_eq!(
                    status != 403,
                    allowed,
                    "{method} {filled} with {}: {status}",
                    scope.name()
                );
                assert_ne!(status, 401, "{method} {filled}");
                asked += 1;
            }
        }
    }
    assert!(asked >= 3 * 30, "{asked}");
    let unknown = server.ask(Method::GET, "/v1/none", &[]).await;
    assert_eq!(
        unknown.status(),
        401,
        "who has no key does not learn which paths there are"
    );
}

#[tokio::test]
async fn rates_are_counted_for_each_key_and_told() {
    let server = Server::with(|config| config.limits.requests_per_minute = Some(2));
    let key = server.key("one", &[Scope::Admin]).await;
    let fast = NewKey {
        requests_per_minute: Some(100),
        scopes: vec![Scope::Admin],
        ..NewKey::new("fast", "film")
    };
    let fast = server.keys.create(&fast).await.unwrap();
    let ask = |key: &CreatedKey| {
        let key = key.reveal().to_owned();
        let server = &server;
        async move {
            server
                .ask(Method::GET, "/v1/webhook_event_types", &[("api-key", &key)])
                .await
        }
    };
    let header = |response: &Response, name: &str| response.headers()[name].to_str().unwrap().to_owned();
    for left in ["1", "0"] {
        let response = ask(&key).await;
        assert_eq!(response.status(), 200);
        assert_eq!(header(&response, "x-ratelimit-limit-requests"), "2");
        assert_eq!(header(&response, "x-ratelimit-remaining-requests"), left);
    }
    let refused = ask(&key).await;
    assert_eq!(header(&refused, "retry-after-ms"), "30000");
    assert_eq!(header(&refused, "retry-after"), "30");
    assert_eq!(header(&refused, "x-ratelimit-reset-requests"), "1m0s");
    assert_eq!(error_of(refused).await, (429, Some("rate_limit_exceeded".to_owned())));
    let other = ask(&fast).await;
    assert_eq!(header(&other, "x-ratelimit-limit-requests"), "100");
    server.clock.advance(Duration::from_secs(30));
    assert_eq!(ask(&key).await.status(), 200);
    let health = server.ask(Method::GET, "/healthz", &[]).await;
    assert!(!health.headers().contains_key("x-ratelimit-limit-requests"));
}

#[tokio::test]
async fn a_server_without_keys_answers_this_machine_only() {
    for (address, starts) in [
        ("127.0.0.1:1", true),
        ("127.9.9.9:1", true),
        ("[::1]:1", true),
        ("[::ffff:127.0.0.1]:1", true),
        ("0.0.0.0:1", false),
        ("[::]:1", false),
        ("192.168.0.2:1", false),
        ("8.8.8.8:1", false),
    ] {
        let mut config = Config::new(address.parse().unwrap(), "unused".into());
        assert_eq!(config.check().is_ok(), starts, "{address}");
        if let Err(error) = config.check() {
            assert!(error.to_string().contains("hint"), "{error}");
        }
        config.keys = true;
        assert!(config.check().is_ok());
    }
    let server = Server::with(|config| {
        config.keys = false;
        config.cors = vec!["http://studio.example".to_owned()];
    });
    let path = "/v1/webhook_event_types";
    let status = |headers: &'static [(&'static str, &'static str)]| {
        let server = &server;
        async move { server.ask(Method::GET, path, headers).await.status().as_u16() }
    };
    assert_eq!(status(&[]).await, 200);
    assert_eq!(status(&[("host", "localhost:8000")]).await, 200);
    assert_eq!(status(&[("host", "rebound.example:8000")]).await, 403);
    assert_eq!(
        status(&[("host", "localhost"), ("origin", "http://evil.example")]).await,
        403
    );
    assert_eq!(
        status(&[("host", "localhost"), ("origin", "http://studio.example")]).await,
        200
    );
    let post = [
        ("host", "localhost"),
        ("origin", "null"),
        ("content-type", "text/plain"),
    ];
    let refused = server.ask(Method::POST, "/v1/videos", &post).await;
    assert_eq!(error_of(refused).await, (403, Some("foreign_origin".to_owned())));
}

/// The log of all tests: one for the whole process, since `tracing` remembers which lines nobody wants.
static LOG: LazyLock<Lines> = LazyLock::new(|| {
    let lines = Lines::default();
    let writer = lines.clone();
    let log = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::set_global_default(log).unwrap();
    lines
});

/// Lines of the log.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn refusals_are_in_the_log_and_keys_are_not() {
    let server = Server::with(|config| config.limits.requests_per_minute = Some(4));
    let reader = server.key("reader", &[Scope::Read]).await;
    let stranger = key_of_another_server().await;
    let bearer = format!("Bearer {}", reader.reveal());
    for _ in 0..5 {
        server
            .ask(Method::POST, "/v1/videos/of_the_log", &[("authorization", &bearer)])
            .await;
    }
    server
        .ask(Method::GET, "/v1/videos/of_the_log", &[("api-key", &stranger)])
        .await;
    let in_query = format!("/v1/videos/of_the_log?api_key={}", reader.reveal());
    server.ask(Method::GET, &in_query, &[]).await;
    server.keys.revoke("reader").await.unwrap();
    server.clock.advance(Duration::from_secs(60));
    server
        .ask(Method::GET, "/v1/videos/of_the_log", &[("authorization", &bearer)])
        .await;
    let text = String::from_utf8(LOG.0.lock().unwrap().clone()).unwrap();
    for key in [reader.reveal(), &stranger] {
        assert!(!text.contains(&key[3..20]), "{text}");
    }
    let audited: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("a request was refused") && line.contains("of_the_log"))
        .collect();
    assert_eq!(audited.len(), 5 + 1 + 1 + 1, "{text}");
    assert!(audited.iter().all(|line| line.contains("audit")), "{text}");
    assert!(
        audited[0].contains("missing_scope") && audited[0].contains("reader"),
        "{}",
        audited[0]
    );
    assert!(audited[4].contains("rate_limit_exceeded"), "{}", audited[4]);
    assert!(audited[5].contains("invalid_api_key"), "{}", audited[5]);
    assert!(
        audited[7].contains("reader"),
        "a revoked key has a name: {}",
        audited[7]
    );
    assert_eq!(server.clock.now(), Timestamp(1_800_000_060_000));
}
