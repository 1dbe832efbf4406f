//! Webhooks against a receiver: signed, repeated, rotated, replayed, and each project's own.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Method, Request};
use http_body_util::BodyExt;
use kinora_api::{Rules, WebhookEvent, WebhookSecret, WebhookType};
use kinora_jobs::{Claim, Clock, Failure, JobId, ManualClock, Retry, SqliteStore, Store, Submission, Timestamp};
use kinora_server::{App, Config, Files, Keys, NewKey, Scope, Sender};
use serde_json::{Value, json};
use tower::ServiceExt;

/// What came, without what HTTP needs.
#[derive(Debug, Clone)]
struct Letter {
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

/// A receiver that answers as it is told, and keeps what came.
struct Receiver {
    url: String,
    letters: Arc<Mutex<Vec<Letter>>>,
    answer: Arc<Mutex<(u16, Duration)>>,
}

impl Receiver {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let letters = Arc::new(Mutex::new(Vec::new()));
        let answer = Arc::new(Mutex::new((200, Duration::ZERO)));
        let (kept, told) = (letters.clone(), answer.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (kept, told) = (kept.clone(), told.clone());
                std::thread::spawn(move || {
                    let mut reader = BufReader::new(stream);
                    let mut headers = HashMap::new();
                    loop {
                        let mut line = String::new();
                        if reader.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
                            break;
                        }
                        if let Some((name, value)) = line.split_once(':') {
                            headers.insert(name.to_lowercase(), value.trim().to_owned());
                        }
                    }
                    let length = headers
                        .get("content-length")
                        .and_then(|text| text.parse().ok())
                        .unwrap_or(0);
                    let mut body = vec![0; length];
                    reader.read_exact(&mut body).unwrap();
                    kept.lock().unwrap().push(Letter { headers, body });
                    let (status, pause) = *told.lock().unwrap();
                    std::thread::sleep(pause);
                    let text = format!("HTTP/1.1 {status} X\r\nlocation: /hook\r\ncontent-length: 0\r\n\r\n");
                    let _ = reader.get_mut().write_all(text.as_bytes());
                });
            }
        });
        Self { url, letters, answer }
    }

    fn answers(&self, status: u16) {
        self.answer.lock().unwrap().0 = status;
    }

    fn taken(&self) -> Vec<Letter> {
        std::mem::take(&mut self.letters.lock().unwrap())
    }
}

impl Letter {
    fn event(&self) -> WebhookEvent {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }

    fn is_signed_with(&self, secret: &str, clock: &ManualClock) -> bool {
        let now = clock.now().as_ms() as u64 / 1000;
        let signatures = &self.headers["webhook-signature"];
        let secret = WebhookSecret::read(secret).unwrap();
        secret
            .verify(
                self.id(),
                &self.headers["webhook-timestamp"],
                signatures,
                &self.body,
                now,
            )
            .is_ok()
    }
}

struct Server {
    _folder: tempfile::TempDir,
    clock: Arc<ManualClock>,
    store: Arc<dyn Store>,
    app: App,
    sender: Sender,
    keys: HashMap<&'static str, String>,
    jobs: u64,
}

impl Server {
    async fn new(allow_private: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(Timestamp(1_800_000_000_000)));
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&folder.path().join("jobs.db"), clock.clone()).unwrap());
        let files = Files::in_folder(&folder.path().join("files")).unwrap();
        let mut config = Config::new("127.0.0.1:8000".parse().unwrap(), folder.path().into());
        config.keys = true;
        config.allow_private_addresses = allow_private;
        let made = Keys::new(&files, store.clone(), clock.clone());
        let mut keys = HashMap::new();
        for project in ["film", "other"] {
            let new = NewKey {
                scopes: Scope::ALL.to_vec(),
                ..NewKey::new(project, project)
            };
            keys.insert(project, made.create(&new).await.unwrap().reveal().to_owned());
        }
        let app = App::new(config, store.clone(), clock.clone(), files, Rules::sora());
        Self {
            sender: Sender::new(app.clone()).with_timeout(Duration::from_secs(1)),
            _folder: folder,
            clock,
            store,
            app,
            keys,
            jobs: 0,
        }
    }

    async fn ask(&self, project: &str, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("api-key", &self.keys[project]);
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let response = self.app.router().oneshot(request.body(body).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    async fn endpoint(&self, project: &str, url: &str) -> Value {
        let body = json!({ "name": "one", "url": url, "event_types": ["video.completed", "video.failed"] });
        let (status, made) = self
            .ask(project, Method::POST, "/v1/webhook_endpoints", Some(body))
            .await;
        assert_eq!(status, 200, "{made}");
        made
    }

    /// A job that ends at once, told to these endpoints.
    fn ended(&mut self, endpoints: &[&Value], succeeds: bool) -> JobId {
        self.jobs += 1;
        let id = JobId(format!("video_{:04}", self.jobs));
        let mut submission = Submission::new("film", "film", "video/toybox", json!({}));
        submission.id = Some(id.clone());
        submission.webhooks = endpoints
            .iter()
            .map(|one| one["id"].as_str().unwrap().to_owned())
            .collect();
        self.store.submit(&submission).unwrap();
        let claim = Claim {
            worker: "w".to_owned(),
            kinds: Vec::new(),
            lease: Duration::from_secs(10),
        };
        let ticket = self.store.claim(&claim).unwrap().unwrap().ticket();
        if succeeds {
            self.store.succeed(&ticket, &json!({})).unwrap();
        } else {
            self.store.fail(&ticket, &Failure::new("x", "y"), Retry::Never).unwrap();
        }
        id
    }

    async fn log(&self, project: &str, job: &JobId) -> (u16, Value) {
        self.ask(project, Method::GET, &format!("/api/jobs/{job}/deliveries"), None)
            .await
    }
}

fn secret(endpoint: &Value) -> &str {
    endpoint["signing_secret"].as_str().unwrap()
}

#[tokio::test]
async fn what_ends_is_told_signed_and_once() {
    let mut server = Server::new(true).await;
    let (one, two) = (Receiver::new(), Receiver::new());
    let (first, second) = (
        server.endpoint("film", &one.url).await,
        server.endpoint("film", &two.url).await,
    );
    let done = server.ended(&[&first, &second], true);
    let failed = server.ended(&[&first], false);
    assert_eq!(server.sender.send_due().await.unwrap(), 3);
    assert_eq!(server.sender.send_due().await.unwrap(), 0, "each was received");
    let letters = one.taken();
    assert_eq!(letters.len(), 2);
    let of = |job: &JobId| {
        letters
            .iter()
            .find(|letter| letter.event().data.id.as_str() == job.0)
            .unwrap()
    };
    assert_eq!(of(&done).event().kind, WebhookType::VideoCompleted);
    assert_eq!(of(&failed).event().kind, WebhookType::VideoFailed);
    for letter in &letters {
        assert!(letter.is_signed_with(secret(&first), &server.clock), "{letter:?}");
        assert!(!letter.is_signed_with(secret(&second), &server.clock));
        assert!(letter.headers["user-agent"].starts_with("Kinora/"));
        assert_eq!(letter.headers["content-type"], "application/json");
    }
    let other = &two.taken()[0];
    assert_eq!(other.event().id, of(&done).event().id, "the event is the same for all");
    assert_ne!(other.id(), of(&done).id(), "the delivery is not");
    let (status, log) = server.log("film", &done).await;
    assert_eq!((status, log["data"].as_array().unwrap().len()), (200, 2), "{log}");
    assert_eq!(log["data"][0]["status"], "delivered");
    assert_eq!(log["data"][0]["id"].as_str(), Some(of(&done).id()));
    assert_eq!(server.log("other", &done).await.0, 404);
}

#[tokio::test]
async fn what_is_not_received_comes_again_under_its_name() {
    let mut server = Server::new(true).await;
    let receiver = Receiver::new();
    let endpoint = server.endpoint("film", &receiver.url).await;
    receiver.answers(500);
    let job = server.ended(&[&endpoint], true);
    assert_eq!(server.sender.send_due().await.unwrap(), 1);
    let id = receiver.taken()[0].id().to_owned();
    let (_, log) = server.log("film", &job).await;
    assert_eq!(
        (&log["data"][0]["status"], &log["data"][0]["last_error"]),
        (&json!("pending"), &json!("it answered 500"))
    );
    assert_eq!(server.sender.send_due().await.unwrap(), 0, "not at once");
    // A redirect is not followed and no success either; the target would be the same receiver.
    receiver.answers(307);
    server.clock.advance(Duration::from_secs(5));
    assert_eq!(server.sender.send_due().await.unwrap(), 1);
    assert_eq!(receiver.taken().len(), 1);
    receiver.answers(204);
    server.clock.advance(Duration::from_secs(10));
    assert_eq!(server.sender.send_due().await.unwrap(), 1);
    let last = receiver.taken().remove(0);
    assert_eq!(last.id(), id);
    assert!(
        last.is_signed_with(secret(&endpoint), &server.clock),
        "with the time of this attempt"
    );
    assert_eq!(server.log("film", &job).await.1["data"][0]["attempts"], 3);

    // Replayed on request, by its project alone.
    let path = format!("/api/webhooks/deliveries/{id}/replay");
    assert_eq!(server.ask("other", Method::POST, &path, None).await.0, 404);
    assert_eq!(server.sender.send_due().await.unwrap(), 0);
    assert_eq!(server.ask("film", Method::POST, &path, None).await.0, 200);
    assert_eq!(server.sender.send_due().await.unwrap(), 1);
    assert_eq!(receiver.taken()[0].id(), id);
    let nothing = "/api/webhooks/deliveries/wh_1/replay";
    assert_eq!(server.ask("film", Method::POST, nothing, None).await.0, 404);

    // After three days it is given up; a replay tries once more.
    receiver.answers(503);
    let job = server.ended(&[&endpoint], false);
    server.clock.advance(Duration::from_secs(72 * 3600));
    assert_eq!(server.sender.send_due().await.unwrap(), 1);
    assert_eq!(server.log("film", &job).await.1["data"][0]["status"], "failed");
}

#[tokio::test]
async fn a_slow_receiver_holds_up_nobody_and_one_that_is_gone_is_left_alone() {
    let mut server = Server::new(true).await;
    let (slow, quick, gone) = (Receiver::new(), Receiver::new(), Receiver::new());
    slow.answer.lock().unwrap().1 = Duration::from_secs(20);
    gone.answers(410);
    let lazy = server.endpoint("film", &slow.url).await;
    let fine = server.endpoint("film", &quick.url).await;
    let left = server.endpoint("film", &gone.url).await;
    for _ in 0..20 {
        server.ended(&[&lazy], true);
    }
    let job = server.ended(&[&fine, &left], true);
    let begun = Instant::now();
    server.sender.send_due().await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(quick.taken().len(), 1);
    assert_eq!(slow.taken().len(), 4, "four at once, the others later");
    assert_eq!(gone.taken().len(), 1);
    let (_, log) = server.log("film", &job).await;
    assert_eq!(log["data"][1]["status"], "failed", "{log}");
    let path = format!("/v1/webhook_endpoints/{}", left["id"].as_str().unwrap());
    assert!(server.ask("film", Method::GET, &path, None).await.1["disabled_at"].is_u64());
    server.ended(&[&left], true);
    server.sender.send_due().await.unwrap();
    assert_eq!(gone.taken().len(), 0);
    let (_, updated) = server
        .ask("film", Method::POST, &path, Some(json!({ "name": "again" })))
        .await;
    assert_eq!((&updated["name"], updated.get("disabled_at")), (&json!("again"), None));
}

#[tokio::test]
async fn a_new_secret_signs_and_the_old_one_for_a_day() {
    let mut server = Server::new(true).await;
    let receiver = Receiver::new();
    let endpoint = server.endpoint("film", &receiver.url).await;
    let path = format!("/v1/webhook_endpoints/{}", endpoint["id"].as_str().unwrap());
    let rotate = format!("{path}/rotate_secret");
    let keep = json!({ "keep_old_secret_active_for_24_hours": true });
    let (status, rotated) = server.ask("film", Method::POST, &rotate, Some(keep)).await;
    assert_eq!(status, 200, "{rotated}");
    assert_ne!(secret(&rotated), secret(&endpoint));
    assert!(secret(&rotated).ends_with(rotated["signing_secret_hint"].as_str().unwrap()));
    let signed_with = async |server: &mut Server| {
        server.ended(&[&endpoint], true);
        server.sender.send_due().await.unwrap();
        let letter = receiver.taken().remove(0);
        [&rotated, &endpoint].map(|one| letter.is_signed_with(secret(one), &server.clock))
    };
    assert_eq!(signed_with(&mut server).await, [true, true]);
    server.clock.advance(Duration::from_secs(24 * 3600));
    assert_eq!(signed_with(&mut server).await, [true, false]);
    let (_, last) = server.ask("film", Method::POST, &rotate, Some(json!({}))).await;
    assert_eq!(signed_with(&mut server).await, [false, false]);
    let (_, seen) = server.ask("film", Method::GET, &path, None).await;
    assert_eq!(seen.get("signing_secret"), None, "shown once");
    assert_eq!(seen["signing_secret_hint"], last["signing_secret_hint"]);
}

#[tokio::test]
async fn endpoints_are_managed_in_their_project_alone() {
    let server = Server::new(true).await;
    let receiver = Receiver::new();
    let mut made = Vec::new();
    for _ in 0..3 {
        made.push(server.endpoint("film", &receiver.url).await);
        server.clock.advance(Duration::from_secs(1));
    }
    let all = "/v1/webhook_endpoints";
    let ids = |list: &Value| -> Vec<Value> {
        list["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["id"].clone())
            .collect()
    };
    let (_, page) = server.ask("film", Method::GET, &format!("{all}?limit=2"), None).await;
    assert_eq!(ids(&page), [made[2]["id"].clone(), made[1]["id"].clone()]);
    assert_eq!(page["has_more"], true);
    let after = page["last_id"].as_str().unwrap();
    let (_, page) = server
        .ask("film", Method::GET, &format!("{all}?after={after}"), None)
        .await;
    assert_eq!(
        (ids(&page), &page["has_more"]),
        (vec![made[0]["id"].clone()], &json!(false))
    );
    assert!(page["data"][0].get("signing_secret").is_none());
    let (_, page) = server.ask("other", Method::GET, all, None).await;
    assert_eq!(page["data"], json!([]));

    let path = format!("{all}/{}", made[0]["id"].as_str().unwrap());
    for (method, path, body) in [
        (Method::GET, path.clone(), None),
        (Method::POST, path.clone(), Some(json!({ "name": "x" }))),
        (Method::POST, format!("{path}/rotate_secret"), Some(json!({}))),
        (
            Method::POST,
            format!("{path}/test"),
            Some(json!({ "event_type": "video.completed" })),
        ),
        (Method::DELETE, path.clone(), None),
    ] {
        let (status, answer) = server.ask("other", method.clone(), &path, body).await;
        assert_eq!(status, 404, "{method} {path}: {answer}");
    }
    assert_eq!(receiver.taken().len(), 0);
    let test = json!({ "event_type": "video.failed" });
    let (status, tested) = server
        .ask("film", Method::POST, &format!("{path}/test"), Some(test.clone()))
        .await;
    assert_eq!(
        (status, &tested["success"], &tested["status_code"]),
        (200, &json!(true), &json!(200))
    );
    let letter = receiver.taken().remove(0);
    assert_eq!(letter.event().kind, WebhookType::VideoFailed);
    assert!(letter.is_signed_with(secret(&made[0]), &server.clock));
    receiver.answers(500);
    let (status, tested) = server
        .ask("film", Method::POST, &format!("{path}/test"), Some(test))
        .await;
    assert_eq!((status, &tested["error"]["code"]), (400, &json!("webhook_test_failed")));

    let (_, deleted) = server.ask("film", Method::DELETE, &path, None).await;
    assert_eq!(deleted["object"], "webhook_endpoint.deleted");
    assert_eq!(server.ask("film", Method::GET, &path, None).await.0, 404);
    for (body, param) in [
        (json!({ "url": receiver.url, "event_types": ["video.failed"] }), "name"),
        (
            json!({ "name": "x", "url": "ftp://a/b", "event_types": ["video.failed"] }),
            "url",
        ),
        (
            json!({ "name": "x", "url": "http://u:p@a/b", "event_types": ["video.failed"] }),
            "url",
        ),
        (
            json!({ "name": "x", "url": receiver.url, "event_types": [] }),
            "event_types",
        ),
        (
            json!({ "name": "x", "url": receiver.url, "event_types": ["batch.failed"] }),
            "event_types[0]",
        ),
    ] {
        let (status, error) = server.ask("film", Method::POST, all, Some(body)).await;
        assert_eq!(
            (status, error["error"]["param"].as_str()),
            (400, Some(param)),
            "{error}"
        );
    }
}

#[tokio::test]
async fn webhooks_do_not_reach_this_network() {
    let mut server = Server::new(false).await;
    let receiver = Receiver::new();
    let port = receiver.url.rsplit(':').next().unwrap();
    let mut endpoints = Vec::new();
    for host in ["127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]"] {
        endpoints.push(server.endpoint("film", &format!("http://{host}:{port}")).await);
    }
    let job = server.ended(&endpoints.iter().collect::<Vec<_>>(), true);
    assert_eq!(server.sender.send_due().await.unwrap(), 4);
    assert_eq!(receiver.taken().len(), 0);
    let (_, log) = server.log("film", &job).await;
    for line in log["data"].as_array().unwrap() {
        assert_eq!(line["last_error"], "it could not be reached", "{log}");
    }
}
