//! Errors on their way over NATS: what they mean for a worker stays as it was.

use std::path::PathBuf;

use kinora_jobs::{Error, Fence, Illegal, JobId, State, Timestamp};
use serde::{Deserialize, Serialize};

/// The errors that a worker can act on by type; others are their text, with what they mean.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WireError {
    Illegal { job: JobId, reason: WireIllegal },
    NotFound { job: JobId },
    Field { field: String, problem: String },
    Busy,
    DiskFull,
    ReadOnly { path: String },
    Corrupt { path: String, detail: String },
    NotForWorkers { call: String },
    Unreachable { detail: String },
    Other { doing: String, detail: String },
}

/// No answer came from where the store is, as seen over NATS.
pub(crate) fn unreachable(detail: impl std::fmt::Display) -> Error {
    Error::Unreachable {
        place: PathBuf::from("the other end of NATS"),
        detail: detail.to_string(),
    }
}

/// [`Illegal`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WireIllegal {
    State {
        command: String,
        state: State,
    },
    Finished {
        command: String,
        state: State,
        fence: Fence,
    },
    Stale {
        command: String,
        given: Fence,
        newest: Fence,
    },
    LeaseHeld {
        until: Timestamp,
    },
    NotYet {
        run_at: Timestamp,
    },
    NotCancelled,
    Other {
        text: String,
    },
}

/// The names that may stand in an error; there the type wants text that lives for ever.
const NAMES: [&str; 20] = [
    "hello",
    "claim",
    "get",
    "heartbeat",
    "checkpoint",
    "succeed",
    "fail",
    "stop",
    "release",
    "expire",
    "cancel",
    "retry",
    "worker",
    "kinds",
    "lease",
    "result",
    "reference",
    "failure.code",
    "failure.message",
    "report.stage",
];

fn name(given: &str, other: &'static str) -> &'static str {
    NAMES.into_iter().find(|known| *known == given).unwrap_or(other)
}

impl From<Illegal> for WireIllegal {
    fn from(reason: Illegal) -> Self {
        match reason {
            Illegal::State { command, state } => Self::State {
                command: command.into(),
                state,
            },
            Illegal::Finished { command, state, fence } => Self::Finished {
                command: command.into(),
                state,
                fence,
            },
            Illegal::Stale { command, given, newest } => Self::Stale {
                command: command.into(),
                given,
                newest,
            },
            Illegal::LeaseHeld { until } => Self::LeaseHeld { until },
            Illegal::NotYet { run_at } => Self::NotYet { run_at },
            Illegal::NotCancelled => Self::NotCancelled,
            other => Self::Other {
                text: other.to_string(),
            },
        }
    }
}

impl From<&Error> for WireError {
    fn from(error: &Error) -> Self {
        match error {
            Error::Illegal { job, reason } => Self::Illegal {
                job: job.clone(),
                reason: (*reason).into(),
            },
            Error::NotFound { job } => Self::NotFound { job: job.clone() },
            Error::Field { field, problem } => Self::Field {
                field: (*field).into(),
                problem: problem.clone(),
            },
            Error::Busy => Self::Busy,
            Error::DiskFull => Self::DiskFull,
            Error::ReadOnly { path } => Self::ReadOnly {
                path: path.display().to_string(),
            },
            Error::Corrupt { path, detail } => Self::Corrupt {
                path: path.display().to_string(),
                detail: detail.clone(),
            },
            Error::NotForWorkers { call } => Self::NotForWorkers { call: (*call).into() },
            Error::Unreachable { detail, .. } => Self::Unreachable { detail: detail.clone() },
            Error::Storage { doing, detail } => Self::Other {
                doing: (*doing).into(),
                detail: detail.clone(),
            },
            other if other.is_transient() => Self::Unreachable {
                detail: other.to_string(),
            },
            other => Self::Other {
                doing: String::new(),
                detail: other.to_string(),
            },
        }
    }
}

impl From<WireError> for Error {
    fn from(error: WireError) -> Self {
        let storage = |detail: String| Self::Storage {
            doing: "answer",
            detail,
        };
        match error {
            WireError::Illegal { job, reason } => {
                let reason = match reason {
                    WireIllegal::State { command, state } => Illegal::State {
                        command: name(&command, "the call"),
                        state,
                    },
                    WireIllegal::Finished { command, state, fence } => Illegal::Finished {
                        command: name(&command, "the call"),
                        state,
                        fence,
                    },
                    WireIllegal::Stale { command, given, newest } => Illegal::Stale {
                        command: name(&command, "the call"),
                        given,
                        newest,
                    },
                    WireIllegal::LeaseHeld { until } => Illegal::LeaseHeld { until },
                    WireIllegal::NotYet { run_at } => Illegal::NotYet { run_at },
                    WireIllegal::NotCancelled => Illegal::NotCancelled,
                    WireIllegal::Other { text } => return storage(format!("job {job}: {text}")),
                };
                Self::Illegal { job, reason }
            }
            WireError::NotFound { job } => Self::NotFound { job },
            WireError::Field { field, problem } => Self::Field {
                field: name(&field, "the argument"),
                problem,
            },
            WireError::Busy => Self::Busy,
            WireError::DiskFull => Self::DiskFull,
            WireError::ReadOnly { path } => Self::ReadOnly {
                path: PathBuf::from(path),
            },
            WireError::Corrupt { path, detail } => Self::Corrupt {
                path: PathBuf::from(path),
                detail,
            },
            WireError::NotForWorkers { call } => Self::NotForWorkers {
                call: name(&call, "the call"),
            },
            WireError::Unreachable { detail } => unreachable(detail),
            WireError::Other { doing, detail } if doing.is_empty() => storage(detail),
            WireError::Other { doing, detail } => storage(format!("{doing}: {detail}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there(error: &Error) -> Error {
        let text = serde_json::to_string(&WireError::from(error)).unwrap();
        serde_json::from_str::<WireError>(&text).unwrap().into()
    }

    #[test]
    fn what_a_worker_acts_on_arrives_as_it_was() {
        let job = JobId("job_1".into());
        let reasons = [
            Illegal::State {
                command: "claim",
                state: State::Failed,
            },
            Illegal::Finished {
                command: "succeed",
                state: State::Succeeded,
                fence: Fence(3),
            },
            Illegal::Stale {
                command: "heartbeat",
                given: Fence(1),
                newest: Fence(2),
            },
            Illegal::LeaseHeld { until: Timestamp(7) },
            Illegal::NotYet { run_at: Timestamp(8) },
            Illegal::NotCancelled,
        ];
        let mut errors: Vec<_> = reasons
            .into_iter()
            .map(|reason| Error::Illegal {
                job: job.clone(),
                reason,
            })
            .collect();
        errors.extend([
            Error::NotFound { job },
            Error::Field {
                field: "result",
                problem: "too long".into(),
            },
            Error::Field {
                field: "failure.code",
                problem: "empty".into(),
            },
            Error::Field {
                field: "reference",
                problem: "empty".into(),
            },
            Error::Busy,
            Error::DiskFull,
            Error::ReadOnly { path: "jobs.db".into() },
            Error::Corrupt {
                path: "jobs.db".into(),
                detail: "page 3".into(),
            },
            Error::NotForWorkers { call: "get" },
            unreachable("no answer"),
        ]);
        for error in errors {
            let arrived = there(&error);
            assert_eq!(arrived, error);
            assert_eq!(
                (arrived.is_transient(), arrived.is_lost()),
                (error.is_transient(), error.is_lost())
            );
        }
    }

    #[test]
    fn others_keep_their_text_and_their_meaning() {
        let errors = [
            Error::IdTaken { job: JobId("j".into()) },
            Error::Storage {
                doing: "claim",
                detail: "no such table".into(),
            },
        ];
        for error in errors {
            let arrived = there(&error);
            assert_eq!(
                (arrived.is_transient(), arrived.is_lost()),
                (error.is_transient(), error.is_lost())
            );
            assert!(matches!(arrived, Error::Storage { .. }), "{arrived:?}");
        }
        let unknown = Error::Illegal {
            job: JobId("j".into()),
            reason: Illegal::Stale {
                command: "a later one",
                given: Fence(1),
                newest: Fence(2),
            },
        };
        assert!(there(&unknown).is_lost());
    }
}
