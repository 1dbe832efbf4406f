//! A server in this process: its routes, a store that can be counted and broken, and a runner that does as it is told.
#![allow(dead_code, reason = "each test file uses its part")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use kinora_api::{Options, Rules, SseReader};
use kinora_jobs::*;
use kinora_server::{App, Config, FileRef, Files, Keys, NewKey, Outcome, OutcomeFiles, Scope as KeyScope, Task, Work};
use serde_json::{Value, json};
use tower::ServiceExt;

/// A store that counts how often its events are read, and fails when it is told to.
pub struct Probe {
    inner: SqliteStore,
    pub event_reads: AtomicU64,
    pub broken: AtomicBool,
    /// While somebody holds it, every question waits.
    pub locked: Mutex<()>,
    /// What the progress of step 2 tells of, as the runner will.
    pub preview: Mutex<Option<String>>,
}

macro_rules! forward {
    ($(fn $name:ident(&self $(, $arg:ident: $type:ty)*) -> $out:ty;)*) => {$(
        fn $name(&self $(, $arg: $type)*) -> $out {
            drop(self.locked.lock().unwrap());
            if self.broken.load(Ordering::SeqCst) {
                return Err(Error::Busy);
            }
            self.inner.$name($($arg),*)
        }
    )*};
}

impl Store for Probe {
    forward! {
        fn submit(&self, submission: &Submission) -> Result<Submitted>;
        fn get(&self, id: &JobId) -> Result<Job>;
        fn list(&self, query: &Query) -> Result<Listing>;
        fn claim(&self, claim: &Claim) -> Result<Option<Job>>;
        fn heartbeat(&self, ticket: &Ticket, report: Option<&Report>, lease: Duration) -> Result<Directive>;
        fn checkpoint(&self, ticket: &Ticket, reference: &str, step: u64, lease: Duration) -> Result<Directive>;
        fn succeed(&self, ticket: &Ticket, result: &Value) -> Result<Job>;
        fn fail(&self, ticket: &Ticket, failure: &Failure, retry: Retry) -> Result<Job>;
        fn stop(&self, ticket: &Ticket) -> Result<Job>;
        fn release(&self, ticket: &Ticket) -> Result<Job>;
        fn cancel(&self, id: &JobId) -> Result<Job>;
        fn retry(&self, id: &JobId) -> Result<Job>;
        fn reap(&self, limit: usize) -> Result<Vec<JobId>>;
        fn expired(&self, limit: usize) -> Result<Vec<Job>>;
        fn purge(&self, id: &JobId) -> Result<Job>;
        fn delete(&self, id: &JobId) -> Result<()>;
        fn set_allowance(&self, key: &str, allowance: &Allowance) -> Result<()>;
        fn allowance(&self, key: &str) -> Result<Allowance>;
        fn load(&self) -> Result<Vec<Load>>;
        fn ready(&self, kinds: &[String], limit: usize) -> Result<usize>;
        fn last_event(&self, scope: &Scope) -> Result<u64>;
        fn queue_position(&self, id: &JobId) -> Result<Option<u64>>;
        fn take_deliveries(&self, limit: usize, lease: Duration) -> Result<Vec<Delivery>>;
        fn delivered(&self, delivery: u64, attempt: u32) -> Result<()>;
        fn undelivered(&self, delivery: u64, attempt: u32, error: &str, next_at: Option<Timestamp>) -> Result<()>;
        fn replay(&self, delivery: u64) -> Result<()>;
        fn outbox(&self, id: &JobId) -> Result<Vec<OutboxEntry>>;
        fn prune_outbox(&self, before: Timestamp) -> Result<u64>;
    }

    // `last_event` and `queue_position` are the trait's own: they must do for any store.
    fn events(&self, scope: &Scope, after: u64, limit: usize) -> Result<Vec<Event>> {
        self.event_reads.fetch_add(1, Ordering::SeqCst);
        drop(self.locked.lock().unwrap());
        if self.broken.load(Ordering::SeqCst) {
            return Err(Error::Busy);
        }
        let mut events = self.inner.events(scope, after, limit)?;
        if let Some(key) = &*self.preview.lock().unwrap() {
            for event in events.iter_mut().filter(|event| event.data["done"] == 2) {
                event.data["preview"] = json!(key);
            }
        }
        Ok(events)
    }
}

/// A server of the published models with everything in a folder of its own.
pub struct Bench {
    pub store: Arc<Probe>,
    pub files: Files,
    pub router: Router,
    pub clock: Arc<SystemClock>,
    /// The same server, started with keys.
    with_keys: Router,
    keys: Keys,
    folder: tempfile::TempDir,
}

pub fn bench() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(SystemClock::new());
    let store = Arc::new(Probe {
        inner: SqliteStore::open(&folder.path().join("jobs.db"), clock.clone()).unwrap(),
        event_reads: AtomicU64::new(0),
        broken: AtomicBool::new(false),
        locked: Mutex::new(()),
        preview: Mutex::new(None),
    });
    let files = Files::in_folder(&folder.path().join("files")).unwrap();
    let mut config = Config::new("127.0.0.1:0".parse().unwrap(), folder.path().to_owned());
    config.limits.free_bytes = 1;
    let keyed = Config {
        keys: true,
        ..config.clone()
    };
    let app_of = |config| App::new(config, store.clone(), clock.clone(), files.clone(), Rules::sora());
    let (router, with_keys) = (app_of(config).router(), app_of(keyed).router());
    let keys = Keys::new(&files, store.clone(), clock.clone());
    Bench {
        store,
        files,
        router,
        clock,
        with_keys,
        keys,
        folder,
    }
}

/// What the runner does with a job.
pub struct Steps {
    pub steps: u64,
    pub pause: Duration,
    pub fails: bool,
}

impl Runner for Steps {
    fn run(&self, job: &Job, progress: &mut Progress<'_>) -> std::result::Result<Value, Stop> {
        let begin = job.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.step);
        for step in begin + 1..=self.steps {
            std::thread::sleep(self.pause);
            progress.report("diffuse", step, self.steps)?;
        }
        if self.fails {
            return Err(Stop::Failed(Failure::new("out_of_memory", "too large")));
        }
        Ok(serde_json::to_value(outcome()).unwrap())
    }
}

pub fn outcome() -> Outcome {
    let file = |name: &str| FileRef(format!("videos/x/1/{name}"));
    Outcome {
        files: OutcomeFiles {
            video: file("video.mp4"),
            thumbnail: file("thumbnail.webp"),
            spritesheet: file("spritesheet.jpg"),
            latents: None,
            others: Default::default(),
        },
        bytes: 3,
        sha256: "00".repeat(32),
        fps: 24.0,
        num_frames: 96,
        seconds: "4".parse().unwrap(),
        size: "720x1280".parse().unwrap(),
        revised_prompt: None,
        inference_time_s: 1.0,
        peak_memory_mb: 1.0,
        notes: Vec::new(),
    }
}

pub fn work() -> Work {
    Work {
        version: Work::VERSION,
        task: Task::Create {
            image: None,
            characters: Vec::new(),
        },
        prompt: "a red ball".to_owned(),
        model: "sora-2".to_owned(),
        engine: "sora-2".to_owned(),
        size: "720x1280".parse().unwrap(),
        seconds: "4".parse().unwrap(),
        num_frames: None,
        seed: 7,
        options: Options::default(),
        remixed_from: None,
        traceparent: None,
        sources: Default::default(),
    }
}

static NEXT: AtomicU64 = AtomicU64::new(1);

impl Bench {
    pub fn submit(&self, project: &str) -> JobId {
        let request = serde_json::to_value(work()).unwrap();
        let mut submission = Submission::new(project, "local", "video/sora-2", request);
        submission.id = Some(JobId(format!("video_{:048x}", NEXT.fetch_add(1, Ordering::SeqCst))));
        self.store.submit(&submission).unwrap().job.id
    }

    /// Does the next job in this thread.
    pub fn work(&self, runner: &Steps) -> State {
        let worker = Worker {
            store: &*self.store,
            runner,
            clock: &*self.clock,
            options: WorkerOptions::default(),
        };
        worker.run_one(&AtomicBool::new(false)).unwrap().unwrap().state.unwrap()
    }

    pub fn finish(&self, project: &str) -> JobId {
        let id = self.submit(project);
        let state = self.work(&Steps {
            steps: 2,
            pause: Duration::ZERO,
            fails: false,
        });
        assert_eq!(
            (self.store.get(&id).unwrap().state(), state),
            (State::Succeeded, State::Succeeded)
        );
        id
    }

    pub async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        json_of(self.send(Request::get(path).body(Body::empty()).unwrap()).await).await
    }

    pub async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        let request = Request::post(path).header("content-type", "application/json");
        json_of(self.send(request.body(Body::from(body.to_string())).unwrap()).await).await
    }

    /// All events of a job after `after`, until the stream ends.
    pub async fn events(&self, id: &JobId, after: u64) -> Vec<kinora_api::JobEvent> {
        let request = Request::get(format!("/api/jobs/{id}/events")).header("last-event-id", after.to_string());
        let response = self.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), 200);
        let bytes = tokio::time::timeout(Duration::from_secs(20), response.into_body().collect());
        let bytes = bytes.await.expect("the stream ends").unwrap().to_bytes();
        SseReader::new().push(&bytes).unwrap()
    }
}

impl Bench {
    /// The answer of the same server, had it been started with keys, to a request with a new key.
    pub async fn with_key(&self, mut request: Request<Body>, project: &str, scopes: &[KeyScope]) -> Response<Body> {
        let new = NewKey {
            scopes: scopes.to_vec(),
            ..NewKey::new(&format!("probe{}", NEXT.fetch_add(1, Ordering::SeqCst)), project)
        };
        let key = self.keys.create(&new).await.unwrap();
        let bearer = format!("Bearer {}", key.reveal()).parse().unwrap();
        request.headers_mut().insert("authorization", bearer);
        self.with_keys.clone().oneshot(request).await.unwrap()
    }
}

pub async fn bytes_of(response: Response<Body>) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

pub async fn json_of(response: Response<Body>) -> (StatusCode, Value) {
    let status = response.status();
    let bytes = bytes_of(response).await;
    (
        status,
        serde_json::from_slice(&bytes).unwrap_or_else(|_| panic!("{status}: {bytes:?}")),
    )
}

/// Holds an answer against the OpenAPI document.
pub fn check(method: &str, path: &str, status: StatusCode, body: &Value) {
    let document = kinora_api::openapi();
    let answers = &document["paths"][path][method]["responses"];
    let answer = &answers[status.as_str()];
    let answer = if answer.is_null() { &answers["default"] } else { answer };
    let answer = match answer["$ref"].as_str() {
        Some(place) => document.pointer(place.trim_start_matches('#')).unwrap(),
        None => answer,
    };
    let schema = &answer["content"]["application/json"]["schema"];
    assert!(
        !schema.is_null(),
        "{method} {path} {status} is not in the document: {answers}"
    );
    let whole = json!({ "components": document["components"], "allOf": [schema] });
    let validator = jsonschema::validator_for(&whole).unwrap();
    let errors: Vec<String> = validator.iter_errors(body).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{method} {path} {status}: {errors:?}\n{body}");
}
