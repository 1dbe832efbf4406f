//! The record of a job, and the values that go in and out of a [`Store`](crate::Store).

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::machine::{Fence, Life, State};

/// The largest request, result or error detail, as JSON text.
pub const MAX_JSON_BYTES: usize = 1 << 20;
/// The longest name of anything (project, key, kind, worker, id, endpoint, reference of a checkpoint).
pub const MAX_NAME_BYTES: usize = 1024;

/// The name of a job: opaque, unguessable when the store makes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub String);

impl std::fmt::Display for JobId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A job to be done.
#[derive(Debug, Clone, PartialEq)]
pub struct Submission {
    /// Its name, if the caller has laid files under one already; otherwise the store makes one.
    pub id: Option<JobId>,
    /// Whose it is: lists, events and idempotency keys are per project.
    pub project: String,
    /// Which key of the project asked for it: shares and quotas are per key.
    pub key: String,
    /// Which runner does it.
    pub kind: String,
    /// What is to be done. Its meaning belongs to the runner.
    pub request: Value,
    /// Higher goes first.
    pub priority: i32,
    /// What it takes from the share of its key (device seconds, say). Above 0.
    pub cost: f64,
    /// How many attempts in a row may end without a new checkpoint. At least 1.
    pub max_attempts: u32,
    /// How long result and checkpoint are kept after the end; `None` is for ever.
    pub retain: Option<Duration>,
    /// The same key and the same kind and request are the same job.
    pub idempotency_key: Option<String>,
    /// Who is told of the end: an address, or a name that the sender of webhooks knows.
    pub webhooks: Vec<String>,
}

impl Submission {
    /// A job of `kind` with nothing special about it.
    #[must_use]
    pub fn new(project: &str, key: &str, kind: &str, request: Value) -> Self {
        Self {
            id: None,
            project: project.into(),
            key: key.into(),
            kind: kind.into(),
            request,
            priority: 0,
            cost: 1.0,
            max_attempts: 3,
            retain: None,
            idempotency_key: None,
            webhooks: Vec::new(),
        }
    }

    /// Checks what does not depend on other jobs.
    ///
    /// **Errors**: [`Error::Field`].
    pub fn validate(&self) -> Result<()> {
        let names = [("project", &self.project), ("key", &self.key), ("kind", &self.kind)];
        for (field, value) in names {
            check_name(field, value)?;
        }
        let optional = [
            ("id", self.id.as_ref().map(|id| &id.0)),
            ("idempotency_key", self.idempotency_key.as_ref()),
        ];
        for (field, value) in optional {
            value.map_or(Ok(()), |value| check_name(field, value))?;
        }
        for webhook in &self.webhooks {
            check_name("webhooks", webhook)?;
        }
        if !(self.cost.is_finite() && self.cost > 0.0 && self.cost <= 1e9) {
            return Err(Error::field("cost", "a number above 0 and up to 1e9 is needed"));
        }
        if self.max_attempts == 0 {
            return Err(Error::field("max_attempts", "at least 1 is needed"));
        }
        check_json("request", &self.request).map(|_| ())
    }
}

/// Names are short and not empty; what is in them is data only.
pub(crate) fn check_name(field: &'static str, value: &str) -> Result<()> {
    if value.is_empty() || value.len() > MAX_NAME_BYTES || value.contains('\0') {
        let problem = format!("1 to {MAX_NAME_BYTES} bytes without a zero byte are needed");
        return Err(Error::Field { field, problem });
    }
    Ok(())
}

/// The canonical text of `value`, if it is not too long.
pub(crate) fn check_json(field: &'static str, value: &Value) -> Result<String> {
    let mut text = String::new();
    canonical(value, &mut text);
    if text.len() > MAX_JSON_BYTES {
        let problem = format!("{} bytes as JSON, {MAX_JSON_BYTES} are possible", text.len());
        return Err(Error::Field { field, problem });
    }
    Ok(text)
}

/// JSON whose objects are sorted by name: equal values have equal texts, however `serde_json` was built.
fn canonical(value: &Value, text: &mut String) {
    match value {
        Value::Array(entries) => {
            text.push('[');
            for (index, entry) in entries.iter().enumerate() {
                text.push_str(if index == 0 { "" } else { "," });
                canonical(entry, text);
            }
            text.push(']');
        }
        Value::Object(fields) => {
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort_unstable_by_key(|(name, _)| name.as_str());
            text.push('{');
            for (index, (name, entry)) in sorted.into_iter().enumerate() {
                text.push_str(if index == 0 { "" } else { "," });
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                canonical(entry, text);
            }
            text.push('}');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => text.push_str(&value.to_string()),
    }
}

/// How far a running job is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// What is being done ("diffuse").
    pub stage: String,
    /// How much of it is done,
    pub done: u64,
    /// out of how much.
    pub total: u64,
    /// The newest picture of what it is going to be, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview: Option<String>,
}

/// Where a job can go on after its worker died. The bytes are somewhere else; this is their name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Name of the file or object. It must be whole and on the disk before it is named here.
    pub reference: String,
    /// How far it is; only a checkpoint further than all before shows that the job moves.
    pub step: u64,
    /// The token under which it was kept.
    pub fence: Fence,
}

/// Why a job failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// For programs ("out_of_memory").
    pub code: String,
    /// For people.
    pub message: String,
}

impl Failure {
    /// A failure with these words.
    #[must_use]
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
        }
    }
}

/// A job as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Its name.
    pub id: JobId,
    /// Its place in the order of submission: grows, never used twice.
    pub seq: u64,
    /// As in [`Submission::project`].
    pub project: String,
    /// As in [`Submission::key`].
    pub key: String,
    /// As in [`Submission::kind`].
    pub kind: String,
    /// As in [`Submission::request`].
    pub request: Value,
    /// As in [`Submission::priority`].
    pub priority: i32,
    /// As in [`Submission::cost`].
    pub cost: f64,
    /// As in [`Submission::retain`].
    pub retain: Option<Duration>,
    /// As in [`Submission::idempotency_key`].
    pub idempotency_key: Option<String>,
    /// As in [`Submission::webhooks`].
    pub webhooks: Vec<String>,
    /// State, lease, token, attempts.
    pub life: Life,
    /// How far it is.
    pub progress: Option<Report>,
    /// Where it can go on.
    pub checkpoint: Option<Checkpoint>,
    /// What came out.
    pub result: Option<Value>,
    /// Why it failed; after a failed attempt that is tried again, why that one did.
    pub error: Option<Failure>,
    /// When it was submitted.
    pub created_at: Timestamp,
    /// When a worker first took it.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// When its result may be deleted.
    pub expires_at: Option<Timestamp>,
    /// When its result was deleted.
    pub purged_at: Option<Timestamp>,
}

impl Job {
    /// Its state.
    #[must_use]
    pub const fn state(&self) -> State {
        self.life.state()
    }

    /// What proves that the newest claim is ours.
    #[must_use]
    pub fn ticket(&self) -> Ticket {
        Ticket {
            job: self.id.clone(),
            fence: self.life.fence,
        }
    }

    /// What a webhook says of it.
    pub(crate) fn announcement(&self, at: Timestamp) -> Value {
        json!({
            "type": format!("job.{}", self.state()),
            "at_ms": at,
            "job": { "id": self.id, "project": self.project, "kind": self.kind, "state": self.state(), "error": self.error },
        })
    }
}

/// A job and the token of a claim: every word of a worker carries it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// Which job.
    pub job: JobId,
    /// Which claim of it.
    pub fence: Fence,
}

/// What happened to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// It was submitted.
    Submitted,
    /// A worker took it.
    Claimed,
    /// It moved on.
    Progress,
    /// A checkpoint was kept.
    Checkpoint,
    /// It went back to the queue.
    Requeued,
    /// Somebody asked for its end.
    CancelRequested,
    /// It is done.
    Succeeded,
    /// It was given up.
    Failed,
    /// It was ended on request.
    Cancelled,
    /// Its result was deleted because its time was up.
    Purged,
}

impl EventKind {
    const ALL: [(Self, &'static str); 10] = [
        (Self::Submitted, "submitted"),
        (Self::Claimed, "claimed"),
        (Self::Progress, "progress"),
        (Self::Checkpoint, "checkpoint"),
        (Self::Requeued, "requeued"),
        (Self::CancelRequested, "cancel_requested"),
        (Self::Succeeded, "succeeded"),
        (Self::Failed, "failed"),
        (Self::Cancelled, "cancelled"),
        (Self::Purged, "purged"),
    ];

    /// Its name, as stored and sent.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(kind, _)| *kind == self)
            .map_or("", |found| found.1)
    }

    /// The kind with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|found| found.1 == name).map(|found| found.0)
    }
}

/// One line of the log, which is only ever appended to. `seq` serves as `Last-Event-ID`.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Grows over all jobs, never used twice.
    pub seq: u64,
    /// Which job.
    pub job: JobId,
    /// Its project.
    pub project: String,
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: EventKind,
    /// More about it.
    pub data: Value,
}

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Allowance {
    /// Its share of the workers, relative to the others. Above 0.
    pub weight: f64,
    /// How many of its jobs may wait.
    pub max_queued: u32,
    /// How many of its jobs may run at once.
    pub max_running: u32,
    /// The highest priority that it may ask for.
    pub max_priority: i32,
}

impl Default for Allowance {
    fn default() -> Self {
        Self {
            weight: 1.0,
            max_queued: u32::MAX,
            max_running: u32::MAX,
            max_priority: i32::MAX,
        }
    }
}

impl Allowance {
    /// Checks the share.
    ///
    /// **Errors**: [`Error::Field`].
    pub fn validate(&self) -> Result<()> {
        if self.weight.is_finite() && (1e-6..=1e6).contains(&self.weight) {
            return Ok(());
        }
        Err(Error::field("weight", "a number from 1e-6 to 1e6 is needed"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_requests_have_equal_texts_whatever_their_order() {
        let first: Value = serde_json::from_str(r#"{"b":[1,{"y":2,"x":"\"é"}],"a":null}"#).unwrap();
        let second: Value = serde_json::from_str(r#"{"a":null,"b":[1,{"x":"\"\u00e9","y":2}]}"#).unwrap();
        let text = check_json("request", &first).unwrap();
        assert_eq!(text, check_json("request", &second).unwrap());
        assert_eq!(text, r#"{"a":null,"b":[1,{"x":"\"é","y":2}]}"#);
    }

    #[test]
    fn names_of_kinds_go_there_and_back() {
        for (kind, name) in EventKind::ALL {
            assert_eq!(
                (EventKind::named(name), serde_json::to_value(kind).unwrap()),
                (Some(kind), name.into())
            );
        }
        for state in State::ALL {
            assert_eq!(
                (State::named(state.name()), serde_json::to_value(state).unwrap()),
                (Some(state), state.name().into())
            );
        }
        assert_eq!((EventKind::named("x"), State::named("x")), (None, None));
    }

    #[test]
    fn submissions_that_make_no_sense_are_refused_by_field() {
        let good = Submission::new("p", "k", "video", json!({}));
        good.validate().unwrap();
        let field = |change: fn(&mut Submission)| {
            let mut bad = good.clone();
            change(&mut bad);
            match bad.validate() {
                Err(Error::Field { field, .. }) => field,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(field(|s| s.project.clear()), "project");
        assert_eq!(field(|s| s.kind = "k\0".into()), "kind");
        assert_eq!(field(|s| s.key = "k".repeat(MAX_NAME_BYTES + 1)), "key");
        assert_eq!(field(|s| s.idempotency_key = Some(String::new())), "idempotency_key");
        assert_eq!(field(|s| s.webhooks = vec![String::new()]), "webhooks");
        assert_eq!(field(|s| s.cost = f64::NAN), "cost");
        assert_eq!(field(|s| s.cost = 0.0), "cost");
        assert_eq!(field(|s| s.max_attempts = 0), "max_attempts");
        assert_eq!(field(|s| s.request = "x".repeat(MAX_JSON_BYTES).into()), "request");
    }
}
