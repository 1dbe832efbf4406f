//! Numbers for Prometheus. Labels hold names of ours only (routes, states, known codes), so that no client can make more of
//! them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kinora_api::failure;
use kinora_jobs::{Event, EventKind, Job, JobId, Load};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// Codes of failures that have a label of their own; all others are `other`.
const CODES: [&str; 10] = [
    failure::CANCELLED,
    failure::MODERATION_BLOCKED,
    failure::INVALID_INPUT,
    failure::OUT_OF_MEMORY,
    failure::NUMERICAL_ERROR,
    failure::TOO_MANY_ATTEMPTS,
    failure::INTERNAL_ERROR,
    "worker_lost",
    "panicked",
    "bad_result",
];
/// Why a job went back to the queue, where that has a label of its own.
const REASONS: [&str; 3] = ["worker_lost", "released", "retried"];
/// The most jobs whose pace is followed at once.
const MOST_FOLLOWED: usize = 10_000;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    method: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabel {
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabel {
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

/// What became of one attempt to deliver a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeliveryResult {
    /// It was received.
    Delivered,
    /// It was not, and will be tried again.
    Failed,
    /// It was given up.
    Dead,
}

/// The numbers of this process.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    latency: Family<RouteLabel, Histogram, fn() -> Histogram>,
    jobs: Family<StateLabel, Gauge>,
    ended: Family<StateLabel, Counter>,
    failures: Family<CodeLabel, Counter>,
    wait: Histogram,
    run: Histogram,
    steps: Counter,
    step_time: Histogram,
    requeues: Family<ReasonLabel, Counter>,
    lease_losses: Counter,
    resumes: Counter,
    deliveries: Family<ResultLabel, Counter>,
    watchers: Gauge,
    memory: Gauge,
    /// Step and moment of the last progress of jobs that denoise.
    paces: Mutex<HashMap<JobId, (u64, i64)>>,
    /// When a worker last did anything, in milliseconds since 1970.
    worker_seen_ms: AtomicI64,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// From a hundredth of a second to five and a half minutes.
fn request_histogram() -> Histogram {
    Histogram::new([
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    ])
}

/// From half a second to nine hours.
fn job_histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.5, 2.0, 17))
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let metrics = Self {
            registry: Registry::with_prefix("kinora"),
            requests: Family::default(),
            latency: Family::new_with_constructor(request_histogram),
            jobs: Family::default(),
            ended: Family::default(),
            failures: Family::default(),
            wait: job_histogram(),
            run: job_histogram(),
            steps: Counter::default(),
            step_time: Histogram::new(exponential_buckets(0.01, 2.0, 15)),
            requeues: Family::default(),
            lease_losses: Counter::default(),
            resumes: Counter::default(),
            deliveries: Family::default(),
            watchers: Gauge::default(),
            memory: Gauge::default(),
            paces: Mutex::new(HashMap::new()),
            worker_seen_ms: AtomicI64::new(0),
        };
        metrics.registered()
    }

    /// With everything in the registry that is to be shown. Clones of a number are the same number.
    fn registered(mut self) -> Self {
        let all = &mut self.registry;
        let add = |all: &mut Registry, name: &str, help: &str, metric: Counter| all.register(name, help, metric);
        add(all, "steps", "Denoising steps that were finished", self.steps.clone());
        let help = "Leases that ended because nothing was heard of the worker";
        add(all, "lease_losses", help, self.lease_losses.clone());
        let help = "Attempts that went on from a checkpoint";
        add(all, "resumes", help, self.resumes.clone());
        all.register("http_requests", "Requests that were answered", self.requests.clone());
        let help = "Time from a request to the head of its answer";
        all.register("http_request_seconds", help, self.latency.clone());
        all.register("jobs", "Jobs in the queue and at work", self.jobs.clone());
        all.register("jobs_ended", "Jobs that ended", self.ended.clone());
        all.register("job_failures", "Jobs that failed, by their code", self.failures.clone());
        let help = "Time from submission to the first worker";
        all.register("job_wait_seconds", help, self.wait.clone());
        let help = "Time from the first worker to the end";
        all.register("job_run_seconds", help, self.run.clone());
        all.register("step_seconds", "Time of one denoising step", self.step_time.clone());
        let help = "Jobs that went back to the queue";
        all.register("job_requeues", help, self.requeues.clone());
        let help = "Attempts to deliver a webhook";
        all.register("webhook_deliveries", help, self.deliveries.clone());
        let help = "Connections that watch the events of a job";
        all.register("event_watchers", help, self.watchers.clone());
        let help = "Memory of this process that is in use";
        all.register("process_resident_bytes", help, self.memory.clone());
        self
    }

    /// A request was answered. `route` is one of ours or a fixed name.
    pub(crate) fn request(&self, route: &str, method: &'static str, status: u16, taken: Duration) {
        let route = route.to_owned();
        self.latency
            .get_or_create(&RouteLabel { route: route.clone() })
            .observe(taken.as_secs_f64());
        let labels = RequestLabels { route, method, status };
        self.requests.get_or_create(&labels).inc();
    }

    /// An attempt to deliver a webhook ended.
    #[allow(dead_code, reason = "the sender of webhooks calls it")]
    pub(crate) fn delivery(&self, result: DeliveryResult) {
        let result = match result {
            DeliveryResult::Delivered => "delivered",
            DeliveryResult::Failed => "failed",
            DeliveryResult::Dead => "dead",
        };
        self.deliveries.get_or_create(&ResultLabel { result }).inc();
    }

    /// Somebody watches a job until the result is dropped.
    pub(crate) fn watcher(&self) -> Watcher {
        self.watchers.inc();
        Watcher(self.watchers.clone())
    }

    /// When a worker last did anything that was seen, in milliseconds since 1970; 0 for never.
    pub(crate) fn worker_seen_ms(&self) -> i64 {
        self.worker_seen_ms.load(Ordering::Relaxed)
    }

    /// Counts something that happened. `job` is its record where [`Metrics::needs_job`] says so.
    pub(crate) fn event(&self, event: &Event, job: Option<&Job>) {
        let of_worker = !matches!(
            event.kind,
            EventKind::Submitted | EventKind::CancelRequested | EventKind::Purged
        );
        if of_worker {
            self.worker_seen_ms.fetch_max(event.at.as_ms(), Ordering::Relaxed);
        }
        match event.kind {
            EventKind::Claimed => {
                self.forget(&event.job);
                if event.data["checkpoint_step"].is_u64() {
                    self.resumes.inc();
                }
                // The wait is that for the first worker: later claims end no wait that a user sees.
                if let Some(job) = job.filter(|_| event.data["attempt"] == 1)
                    && let Some(started) = job.started_at
                {
                    self.wait.observe(seconds(started.as_ms() - job.created_at.as_ms()));
                }
            }
            EventKind::Progress => self.progress(event),
            EventKind::Requeued => self.requeued(event),
            EventKind::Succeeded | EventKind::Failed | EventKind::Cancelled => self.end(event, job),
            EventKind::Submitted | EventKind::Checkpoint | EventKind::CancelRequested | EventKind::Purged => {}
        }
    }

    /// Whether the record of the job is needed to count an event of this kind.
    pub(crate) fn needs_job(kind: EventKind) -> bool {
        matches!(
            kind,
            EventKind::Claimed | EventKind::Succeeded | EventKind::Failed | EventKind::Cancelled
        )
    }

    fn progress(&self, event: &Event) {
        let done = event.data["done"].as_u64();
        let Some(done) = done.filter(|_| event.data["stage"] == "diffuse") else {
            return self.forget(&event.job);
        };
        let mut paces = self.paces.lock().unwrap_or_else(PoisonError::into_inner);
        if paces.len() >= MOST_FOLLOWED {
            paces.clear();
        }
        let before = paces.insert(event.job.clone(), (done, event.at.as_ms()));
        if let Some((step, at)) = before
            && done > step
        {
            let steps = done - step;
            self.steps.inc_by(steps);
            self.step_time.observe(seconds(event.at.as_ms() - at) / steps as f64);
        }
    }

    fn requeued(&self, event: &Event) {
        self.forget(&event.job);
        let code = event.data["code"].as_str().unwrap_or_default();
        if code == "worker_lost" {
            self.lease_losses.inc();
        }
        let reason = known(&REASONS, code, "failed");
        self.requeues.get_or_create(&ReasonLabel { reason }).inc();
    }

    fn end(&self, event: &Event, job: Option<&Job>) {
        self.forget(&event.job);
        let state = match event.kind {
            EventKind::Succeeded => "succeeded",
            EventKind::Cancelled => "cancelled",
            _ => "failed",
        };
        self.ended.get_or_create(&StateLabel { state }).inc();
        if event.kind == EventKind::Failed {
            let code = event.data["code"].as_str().unwrap_or_default();
            if code == "worker_lost" {
                self.lease_losses.inc();
            }
            let code = known(&CODES, code, "other");
            self.failures.get_or_create(&CodeLabel { code }).inc();
        }
        if let Some(started) = job.and_then(|job| job.started_at) {
            self.run.observe(seconds(event.at.as_ms() - started.as_ms()));
        }
    }

    fn forget(&self, job: &JobId) {
        self.paces.lock().unwrap_or_else(PoisonError::into_inner).remove(job);
    }

    /// All numbers in the text of OpenMetrics, with the queue as `load` counts it, or as it was if that is not known.
    ///
    /// **Errors**: none that a caller could heal; the encoder has a result.
    pub(crate) fn text(&self, load: Option<&[Load]>) -> Result<String, std::fmt::Error> {
        if let Some(load) = load {
            let count = |state, jobs: fn(&Load) -> u64| {
                let sum = load.iter().map(jobs).sum::<u64>();
                let gauge = self.jobs.get_or_create_owned(&StateLabel { state });
                gauge.set(i64::try_from(sum).unwrap_or(i64::MAX));
            };
            count("queued", |load| load.queued);
            count("running", |load| load.running);
        }
        if let Some(bytes) = resident_bytes() {
            self.memory.set(bytes);
        }
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// Counts one watcher as long as it lives.
#[derive(Debug)]
pub(crate) struct Watcher(Gauge);

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn seconds(ms: i64) -> f64 {
    ms.max(0) as f64 / 1000.0
}

/// The entry of `names` that `text` is, or `other`.
fn known(names: &[&'static str], text: &str, other: &'static str) -> &'static str {
    names.iter().find(|name| **name == text).copied().unwrap_or(other)
}

/// Memory of this process, where the system tells it in `/proc`.
fn resident_bytes() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use kinora_jobs::Timestamp;
    use serde_json::{Value, json};

    use super::*;

    fn event(kind: EventKind, at: i64, data: Value) -> Event {
        Event {
            seq: 1,
            job: JobId("job".to_owned()),
            project: "p".to_owned(),
            at: Timestamp(at),
            kind,
            data,
        }
    }

    fn value(text: &str, name: &str) -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("{name} in\n{text}")).parse().unwrap()
    }

    #[test]
    fn events_move_the_numbers() {
        let metrics = Metrics::new();
        let step = |done: u64, at| {
            event(
                EventKind::Progress,
                at,
                json!({"stage": "diffuse", "done": done, "total": 9}),
            )
        };
        metrics.event(&event(EventKind::Claimed, 0, json!({"attempt": 1})), None);
        metrics.event(&step(1, 1000), None);
        metrics.event(&step(3, 2000), None);
        metrics.event(&event(EventKind::Requeued, 9000, json!({"code": "worker_lost"})), None);
        metrics.event(
            &event(EventKind::Claimed, 9000, json!({"attempt": 2, "checkpoint_step": 2})),
            None,
        );
        metrics.event(&step(3, 9500), None);
        metrics.event(&event(EventKind::Failed, 9900, json!({"code": "out_of_memory"})), None);
        metrics.event(&event(EventKind::Failed, 9900, json!({"code": "anything"})), None);
        metrics.delivery(DeliveryResult::Dead);
        let watcher = metrics.watcher();
        let text = metrics.text(None).unwrap();
        for (name, expected) in [
            ("kinora_steps_total", 2.0),
            ("kinora_step_seconds_sum", 0.5),
            ("kinora_lease_losses_total", 1.0),
            ("kinora_resumes_total", 1.0),
            ("kinora_job_requeues_total{reason=\"worker_lost\"}", 1.0),
            ("kinora_job_failures_total{code=\"out_of_memory\"}", 1.0),
            ("kinora_job_failures_total{code=\"other\"}", 1.0),
            ("kinora_jobs_ended_total{state=\"failed\"}", 2.0),
            ("kinora_webhook_deliveries_total{result=\"dead\"}", 1.0),
            ("kinora_event_watchers", 1.0),
        ] {
            assert_eq!(value(&text, name), expected, "{name}");
        }
        drop(watcher);
        assert_eq!(value(&metrics.text(None).unwrap(), "kinora_event_watchers"), 0.0);
        assert_eq!(metrics.worker_seen_ms(), 9900);
    }
}
