//! What is said over NATS: JSON of our own, so that a change of a type of `kinora-jobs` changes nothing between two machines
//! unnoticed. [`VERSION`] is in every message; another one is refused.

use std::time::Duration;

use kinora_jobs::{Checkpoint, Directive, Failure, Fence, Job, JobId, Lease, Life, Phase, Report, Retry, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::faults::WireError;

/// The version of these types.
pub(crate) const VERSION: u32 = 1;
/// The header that says how many parts an answer has. Answers may be larger than one message: a job has a request and a result.
pub(crate) const PARTS: &str = "Kinora-Parts";

/// A question of a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Question {
    pub v: u32,
    /// The same when the same question is asked again because no answer came: it is then answered, not done twice.
    pub id: String,
    pub call: Call,
}

/// What a worker may ask. The name is the last part of the subject too, so that permissions can name it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Call {
    /// Which lane serves these kinds?
    Hello {
        kinds: Vec<String>,
    },
    Claim {
        worker: String,
        kinds: Vec<String>,
        lease_ms: u64,
    },
    Get {
        ticket: Held,
    },
    Heartbeat {
        ticket: Held,
        report: Option<Report>,
        lease_ms: u64,
    },
    Checkpoint {
        ticket: Held,
        reference: String,
        step: u64,
        lease_ms: u64,
    },
    Succeed {
        ticket: Held,
        result: Value,
    },
    Fail {
        ticket: Held,
        failure: Failure,
        retry_at_ms: Option<i64>,
    },
    Stop {
        ticket: Held,
    },
    Release {
        ticket: Held,
    },
}

/// A job and the token of its claim.
pub(crate) type Held = kinora_jobs::Ticket;

impl Call {
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Hello { .. } => "hello",
            Self::Claim { .. } => "claim",
            Self::Get { .. } => "get",
            Self::Heartbeat { .. } => "heartbeat",
            Self::Checkpoint { .. } => "checkpoint",
            Self::Succeed { .. } => "succeed",
            Self::Fail { .. } => "fail",
            Self::Stop { .. } => "stop",
            Self::Release { .. } => "release",
        }
    }

    /// Whether doing it twice is something else than doing it once.
    pub(crate) const fn counts(&self) -> bool {
        match self {
            Self::Claim { .. }
            | Self::Succeed { .. }
            | Self::Fail { .. }
            | Self::Stop { .. }
            | Self::Release { .. } => true,
            Self::Hello { .. } | Self::Get { .. } | Self::Heartbeat { .. } | Self::Checkpoint { .. } => false,
        }
    }

    pub(crate) fn fail(ticket: Held, failure: Failure, retry: Retry) -> Self {
        let retry_at_ms = match retry {
            Retry::Never => None,
            Retry::At(at) => Some(at.as_ms()),
        };
        Self::Fail {
            ticket,
            failure,
            retry_at_ms,
        }
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reply {
    pub v: u32,
    pub answer: Answer,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// Offers for these kinds come through this consumer.
    Lane(String),
    Job(Box<WireJob>),
    Claimed(Option<Box<WireJob>>),
    Continue,
    Cancel,
    Error(WireError),
}

impl From<Directive> for Answer {
    fn from(directive: Directive) -> Self {
        match directive {
            Directive::Continue => Self::Continue,
            Directive::Cancel => Self::Cancel,
        }
    }
}

pub(crate) fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// [`Job`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct WireJob {
    id: JobId,
    seq: u64,
    project: String,
    key: String,
    kind: String,
    request: Value,
    priority: i32,
    cost: f64,
    retain_ms: Option<u64>,
    idempotency_key: Option<String>,
    webhooks: Vec<String>,
    life: WireLife,
    progress: Option<Report>,
    checkpoint: Option<Checkpoint>,
    /// `null` is a result; none is no field.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some")]
    result: Option<Value>,
    error: Option<Failure>,
    created_at: Timestamp,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    purged_at: Option<Timestamp>,
}

fn some<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

/// [`Life`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct WireLife {
    phase: WirePhase,
    fence: Fence,
    attempts: u32,
    idle_attempts: u32,
    max_attempts: u32,
    furthest: u64,
}

/// [`Phase`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WirePhase {
    Queued {
        run_at: Timestamp,
    },
    Running {
        worker: String,
        until: Timestamp,
        cancel_requested: bool,
    },
    Succeeded,
    Failed,
    Cancelled,
}

impl From<Life> for WireLife {
    fn from(life: Life) -> Self {
        let phase = match life.phase {
            Phase::Queued { run_at } => WirePhase::Queued { run_at },
            Phase::Running {
                lease: Lease { worker, until },
                cancel_requested,
            } => WirePhase::Running {
                worker,
                until,
                cancel_requested,
            },
            Phase::Succeeded => WirePhase::Succeeded,
            Phase::Failed => WirePhase::Failed,
            Phase::Cancelled => WirePhase::Cancelled,
        };
        Self {
            phase,
            fence: life.fence,
            attempts: life.attempts,
            idle_attempts: life.idle_attempts,
            max_attempts: life.max_attempts,
            furthest: life.furthest,
        }
    }
}

impl From<WireLife> for Life {
    fn from(life: WireLife) -> Self {
        let phase = match life.phase {
            WirePhase::Queued { run_at } => Phase::Queued { run_at },
            WirePhase::Running {
                worker,
                until,
                cancel_requested,
            } => Phase::Running {
                lease: Lease { worker, until },
                cancel_requested,
            },
            WirePhase::Succeeded => Phase::Succeeded,
            WirePhase::Failed => Phase::Failed,
            WirePhase::Cancelled => Phase::Cancelled,
        };
        Self {
            phase,
            fence: life.fence,
            attempts: life.attempts,
            idle_attempts: life.idle_attempts,
            max_attempts: life.max_attempts,
            furthest: life.furthest,
        }
    }
}

impl From<Job> for WireJob {
    fn from(job: Job) -> Self {
        Self {
            id: job.id,
            seq: job.seq,
            project: job.project,
            key: job.key,
            kind: job.kind,
            request: job.request,
            priority: job.priority,
            cost: job.cost,
            retain_ms: job.retain.map(ms),
            idempotency_key: job.idempotency_key,
            webhooks: job.webhooks,
            life: job.life.into(),
            progress: job.progress,
            checkpoint: job.checkpoint,
            result: job.result,
            error: job.error,
            created_at: job.created_at,
            started_at: job.started_at,
            finished_at: job.finished_at,
            expires_at: job.expires_at,
            purged_at: job.purged_at,
        }
    }
}

impl From<WireJob> for Job {
    fn from(job: WireJob) -> Self {
        Self {
            id: job.id,
            seq: job.seq,
            project: job.project,
            key: job.key,
            kind: job.kind,
            request: job.request,
            priority: job.priority,
            cost: job.cost,
            retain: job.retain_ms.map(Duration::from_millis),
            idempotency_key: job.idempotency_key,
            webhooks: job.webhooks,
            life: job.life.into(),
            progress: job.progress,
            checkpoint: job.checkpoint,
            result: job.result,
            error: job.error,
            created_at: job.created_at,
            started_at: job.started_at,
            finished_at: job.finished_at,
            expires_at: job.expires_at,
            purged_at: job.purged_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn job(phase: Phase, result: Option<Value>) -> Job {
        Job {
            id: JobId("job_1".into()),
            seq: 7,
            project: "p".into(),
            key: "k".into(),
            kind: "video".into(),
            request: json!({ "prompt": "é \u{1F600}", "seed": u64::MAX, "scale": 7.1, "sigma": 0.1 + 0.2 }),
            priority: -3,
            cost: 0.1 + 0.7,
            retain: Some(Duration::from_millis(1500)),
            idempotency_key: Some("i".into()),
            webhooks: vec!["https://a.example".into()],
            life: Life {
                phase,
                ..Life::queued(Timestamp(5), 3)
            },
            progress: Some(Report {
                stage: "diffuse".into(),
                done: 3,
                total: 30,
                preview: Some("previews/video_1/2-3.webp".into()),
            }),
            checkpoint: Some(Checkpoint {
                reference: "c".into(),
                step: 3,
                fence: Fence(1),
            }),
            result,
            error: Some(Failure::new("code", "message")),
            created_at: Timestamp(1),
            started_at: Some(Timestamp(2)),
            finished_at: None,
            expires_at: Some(Timestamp(3)),
            purged_at: None,
        }
    }

    #[test]
    fn jobs_come_out_as_they_went_in() {
        let running = Phase::Running {
            lease: Lease {
                worker: "w".into(),
                until: Timestamp(9),
            },
            cancel_requested: true,
        };
        let phases = [
            Phase::Queued { run_at: Timestamp(4) },
            running,
            Phase::Succeeded,
            Phase::Failed,
            Phase::Cancelled,
        ];
        for (phase, result) in phases
            .into_iter()
            .zip([None, Some(json!(null)), Some(json!({ "f": 0.3 })), None, None])
        {
            let job = job(phase, result);
            let text = serde_json::to_string(&WireJob::from(job.clone())).unwrap();
            assert_eq!(
                Job::from(serde_json::from_str::<WireJob>(&text).unwrap()),
                job,
                "{text}"
            );
        }
    }

    #[test]
    fn a_call_is_named_as_it_is_written() {
        let ticket = Held {
            job: JobId("j".into()),
            fence: Fence(1),
        };
        let calls = [
            Call::Hello { kinds: vec![] },
            Call::Claim {
                worker: "w".into(),
                kinds: vec![],
                lease_ms: 1,
            },
            Call::Get { ticket: ticket.clone() },
            Call::Heartbeat {
                ticket: ticket.clone(),
                report: None,
                lease_ms: 1,
            },
            Call::Checkpoint {
                ticket: ticket.clone(),
                reference: "r".into(),
                step: 1,
                lease_ms: 1,
            },
            Call::Succeed {
                ticket: ticket.clone(),
                result: json!(1),
            },
            Call::fail(ticket.clone(), Failure::new("c", "m"), Retry::At(Timestamp(1))),
            Call::Stop { ticket: ticket.clone() },
            Call::Release { ticket },
        ];
        for call in calls {
            let value = serde_json::to_value(&call).unwrap();
            assert_eq!(value.as_object().unwrap().keys().collect::<Vec<_>>(), [call.name()]);
            assert_eq!(serde_json::from_value::<Call>(value).unwrap(), call);
        }
    }
}
