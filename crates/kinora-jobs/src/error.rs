//! The one error type of this crate.

use std::path::PathBuf;

use crate::machine::{Illegal, State};
use crate::record::JobId;

/// What the functions of this crate return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong with jobs and where they are kept.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The state machine refuses.
    #[error("job {job}: {reason}")]
    Illegal {
        /// Which job.
        job: JobId,
        /// Why.
        reason: Illegal,
    },
    /// There is no such job.
    #[error("there is no job {job}\nhint: it may have been deleted")]
    NotFound {
        /// The name asked for.
        job: JobId,
    },
    /// The job is not ended, so it cannot be deleted.
    #[error("job {job} is {state}\nhint: cancel it first, and wait until it has stopped")]
    NotEnded {
        /// Which job.
        job: JobId,
        /// Its state.
        state: State,
    },
    /// The idempotency key was used for another request.
    #[error("the idempotency key {key:?} belongs to job {job}, whose request is another\nhint: use a new key")]
    IdempotencyConflict {
        /// The key.
        key: String,
        /// The job that it belongs to.
        job: JobId,
    },
    /// The name that the caller chose belongs to another job.
    #[error("there is a job {job} already")]
    IdTaken {
        /// The name.
        job: JobId,
    },
    /// As many jobs of the key wait as may.
    #[error("{limit} jobs of this key wait already\nhint: try again when one has begun")]
    QueueFull {
        /// The key.
        key: String,
        /// How many may wait.
        limit: u32,
    },
    /// The key may not ask for that priority.
    #[error("a priority of {priority} is not possible for this key\nhint: at most {limit}")]
    Priority {
        /// Asked for.
        priority: i32,
        /// The highest possible.
        limit: i32,
    },
    /// A field of a submission or of another argument is not possible.
    #[error("{field} is not possible: {problem}")]
    Field {
        /// Which field.
        field: &'static str,
        /// What is wrong, and what is possible.
        problem: String,
    },
    /// The delivery does not exist, is done, or was taken over by another sender.
    #[error("attempt {attempt} of delivery {delivery} is not ours any more")]
    DeliveryLost {
        /// Which delivery.
        delivery: u64,
        /// Which attempt of it.
        attempt: u32,
    },
    /// Others kept the store busy for too long.
    #[error("the job store was busy for too long\nhint: try again")]
    Busy,
    /// No space is left.
    #[error("the disk of the job store is full\nhint: free some space; jobs are kept and go on afterwards")]
    DiskFull,
    /// The file or its folder may not be written.
    #[error("{path} cannot be written\nhint: check who owns it, and how its disk is mounted")]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// The file is no database, or its content is damaged.
    #[error(
        "{path} is damaged: {detail}\nhint: move it away (a file: with its -wal and -shm files), and restore a backup"
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// The file is a database of another program.
    #[error("{path} is a database, but not one of jobs\nhint: choose another")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A newer Kinora has written the file.
    #[error("{path} has version {found}, this program knows {known}\nhint: use the newer Kinora that wrote it")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest version that is understood.
        known: i64,
    },
    /// The server of the job store does not answer, or is about to end. Nothing of the call has happened.
    #[error(
        "the job store at {place} cannot be reached: {detail}\nhint: the next call connects anew; check that the server runs"
    )]
    Unreachable {
        /// The server and the database.
        place: PathBuf,
        /// What was met.
        detail: String,
    },
    /// The server was lost in the moment of a commit, and did not come back in time to say what became of it. The call may have
    /// happened. It is safe to repeat, but for a submission without a name and without an idempotency key.
    #[error(
        "the job store at {place} was lost while it was to {doing}, so that may have happened\nhint: look before trying again"
    )]
    Uncertain {
        /// The server and the database.
        place: PathBuf,
        /// What was being done.
        doing: &'static str,
    },
    /// The server cannot keep jobs safely.
    #[error("the server at {place} cannot keep jobs: {problem}\nhint: {hint}")]
    Unfit {
        /// The server and the database.
        place: PathBuf,
        /// What is wrong.
        problem: String,
        /// What to do.
        hint: &'static str,
    },
    /// Whoever is on another machine may not do this.
    #[error("{call} is not possible for a worker on another machine\nhint: ask the server")]
    NotForWorkers {
        /// Which call.
        call: &'static str,
    },
    /// Anything else that the store said.
    #[error("the job store failed to {doing}: {detail}")]
    Storage {
        /// What was being done.
        doing: &'static str,
        /// What it said.
        detail: String,
    },
}

impl Error {
    pub(crate) fn storage(doing: &'static str, error: impl std::fmt::Display) -> Self {
        Self::Storage {
            doing,
            detail: error.to_string(),
        }
    }

    pub(crate) fn field(field: &'static str, problem: &str) -> Self {
        Self::Field {
            field,
            problem: problem.into(),
        }
    }

    /// Whether the same call may succeed a little later without anybody doing anything. Of [`Error::Uncertain`]: that it may be
    /// repeated if it is safe to repeat.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Busy | Self::DiskFull | Self::Unreachable { .. } | Self::Uncertain { .. }
        )
    }

    /// Whether a worker has lost its job: whatever it made must be thrown away.
    #[must_use]
    pub const fn is_lost(&self) -> bool {
        matches!(
            self,
            Self::NotFound { .. }
                | Self::Illegal {
                    reason: Illegal::Stale { .. } | Illegal::Finished { .. },
                    ..
                }
        )
    }
}
