//! The life of a job as pure code: what state it is in, what may be done to it, and what becomes of it.
//!
//! ```text
//!             claim                      succeed
//!   queued ───────────────▶ running ─────────────────▶ succeeded
//!     ▲ │ ◀─────────────── │ │ │
//!     │ │  expire, release, │ │ └── fail, expire (no attempts left) ──▶ failed ────┐
//!     │ │  fail (again)     │ │                                                    │ retry
//!     │ └── cancel ─────────┼─┴── stop, and expire or release after cancel ▶ cancelled
//!     └─────────────────────┴──────────────────────────────────────────────────────┘
//! ```
//!
//! Nothing here knows storage or reads a clock. [`Life::step`] takes every command in every state: it answers with the next
//! life and what changed, or with the typed reason why not. The match has no catch-all arm, so a new state or a new command
//! does not compile before each pair has been decided.
//!
//! **Fencing**: each claim raises [`Life::fence`] by one. Every command of a worker carries the token that it was given; an
//! older one is refused, so a worker that was thought dead cannot touch what another has taken over. The token decides, not
//! the time: a worker that is late, but whose job nobody has taken, may still finish it.
//!
//! **Attempts**: an attempt is *idle* until it keeps a checkpoint further than any before. Only idle attempts in a row count
//! against the limit: a job that moves on is not poison, however often its workers are killed, and one that does not is given up.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// The five states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Waits for a worker.
    Queued,
    /// A worker holds it.
    Running,
    /// Done; there is a result.
    Succeeded,
    /// Given up; there is an error.
    Failed,
    /// Ended because somebody asked for it.
    Cancelled,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 5] = [
        Self::Queued,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
    ];

    /// Its name, as stored and shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether no worker will touch the job any more.
    #[must_use]
    pub const fn is_final(self) -> bool {
        match self {
            Self::Queued | Self::Running => false,
            Self::Succeeded | Self::Failed | Self::Cancelled => true,
        }
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A fencing token. Each claim of a job gets a larger one than every claim before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fence(pub u64);

impl std::fmt::Display for Fence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Who holds a running job, and until when without a sign of life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Name of the worker. For people: the token is what counts.
    pub worker: String,
    /// When others may take the job.
    pub until: Timestamp,
}

/// The state with what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Waits.
    Queued {
        /// Not before this moment (later than now after a failure that is tried again).
        run_at: Timestamp,
    },
    /// Held by a worker.
    Running {
        /// Who and until when.
        lease: Lease,
        /// Whether somebody asked for the end; the worker hears it with its next sign of life.
        cancel_requested: bool,
    },
    /// Done.
    Succeeded,
    /// Given up.
    Failed,
    /// Ended on request.
    Cancelled,
}

/// All that the rules of a job depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// State and what belongs to it.
    pub phase: Phase,
    /// The token of the newest claim; 0 before the first.
    pub fence: Fence,
    /// Claims so far, without those that were given back unharmed.
    pub attempts: u32,
    /// Attempts in a row that kept no checkpoint further than [`Life::furthest`].
    pub idle_attempts: u32,
    /// How many idle attempts in a row are allowed.
    pub max_attempts: u32,
    /// The furthest step that a checkpoint was ever kept at.
    pub furthest: u64,
}

/// What becomes of a job whose worker failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The same would happen again: give up.
    Never,
    /// Back to the queue, not before this moment, if attempts are left.
    At(Timestamp),
}

/// What can be done to a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A worker takes it.
    Claim {
        /// Name of the worker.
        worker: String,
        /// Now.
        now: Timestamp,
        /// End of the lease.
        until: Timestamp,
    },
    /// The worker is alive.
    Heartbeat {
        /// Its token.
        fence: Fence,
        /// New end of the lease.
        until: Timestamp,
    },
    /// The worker has kept a checkpoint (which is a sign of life too).
    Checkpoint {
        /// Its token.
        fence: Fence,
        /// New end of the lease.
        until: Timestamp,
        /// How far the checkpoint is.
        step: u64,
    },
    /// The worker is done.
    Succeed {
        /// Its token.
        fence: Fence,
    },
    /// The worker failed.
    Fail {
        /// Its token.
        fence: Fence,
        /// Whether to try again.
        retry: Retry,
    },
    /// The worker stopped because cancelling was asked for.
    Stop {
        /// Its token.
        fence: Fence,
    },
    /// The worker gives the job back unharmed (it is shutting down).
    Release {
        /// Its token.
        fence: Fence,
        /// Now.
        now: Timestamp,
    },
    /// Nobody has heard from the worker.
    Expire {
        /// Now.
        now: Timestamp,
    },
    /// Somebody asks for the end.
    Cancel,
    /// Somebody asks for another try.
    Retry {
        /// Now.
        now: Timestamp,
    },
}

impl Command {
    /// Its name, for messages.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Claim { .. } => "claim",
            Self::Heartbeat { .. } => "heartbeat",
            Self::Checkpoint { .. } => "checkpoint",
            Self::Succeed { .. } => "succeed",
            Self::Fail { .. } => "fail",
            Self::Stop { .. } => "stop",
            Self::Release { .. } => "release",
            Self::Expire { .. } => "expire",
            Self::Cancel => "cancel",
            Self::Retry { .. } => "retry",
        }
    }
}

/// What a command changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing: it was so already.
    None,
    /// A worker holds the job now; [`Life::fence`] is its token.
    Claimed,
    /// The lease is longer.
    Renewed,
    /// The lease is longer and the checkpoint counts.
    Kept,
    /// Back in the queue.
    Requeued,
    /// The worker will hear of it.
    CancelRequested,
    /// Done.
    Succeeded,
    /// Given up because the worker said so.
    Failed,
    /// Given up because the idle attempts are used up.
    Exhausted,
    /// Ended on request.
    Cancelled,
}

/// Why a command was refused. The life is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Illegal {
    /// The command does not belong to the state.
    #[error("{command} is not possible for a job that is {state}")]
    State {
        /// Name of the command.
        command: &'static str,
        /// The state.
        state: State,
    },
    /// The job has ended. A worker that finds its own token here has ended it itself, and only the answer was lost.
    #[error("{command} comes too late: the job is {state} since token {fence}")]
    Finished {
        /// Name of the command.
        command: &'static str,
        /// How it ended.
        state: State,
        /// The token of the newest claim.
        fence: Fence,
    },
    /// Another worker has taken the job, or it went back to the queue.
    #[error("{command} with token {given} is refused: the newest is {newest}\nhint: drop the work, another has it")]
    Stale {
        /// Name of the command.
        command: &'static str,
        /// The worker's token.
        given: Fence,
        /// The newest token.
        newest: Fence,
    },
    /// The lease has not ended.
    #[error("the lease holds until {}", until.as_ms())]
    LeaseHeld {
        /// Its end.
        until: Timestamp,
    },
    /// The job waits for its time.
    #[error("the job is not to run before {}", run_at.as_ms())]
    NotYet {
        /// That time.
        run_at: Timestamp,
    },
    /// The worker stops although nobody asked for it.
    #[error("nobody asked to cancel the job\nhint: release it, or fail it")]
    NotCancelled,
}

impl Life {
    /// A job that waits since `now`.
    #[must_use]
    pub const fn queued(now: Timestamp, max_attempts: u32) -> Self {
        Self {
            phase: Phase::Queued { run_at: now },
            fence: Fence(0),
            attempts: 0,
            idle_attempts: 0,
            max_attempts,
            furthest: 0,
        }
    }

    /// The state without what belongs to it.
    #[must_use]
    pub const fn state(&self) -> State {
        match self.phase {
            Phase::Queued { .. } => State::Queued,
            Phase::Running { .. } => State::Running,
            Phase::Succeeded => State::Succeeded,
            Phase::Failed => State::Failed,
            Phase::Cancelled => State::Cancelled,
        }
    }

    /// Does `command`.
    ///
    /// **Errors**: [`Illegal`], typed by reason, when it may not be done.
    pub fn step(&self, command: &Command) -> Result<(Self, Change), Illegal> {
        match &self.phase {
            Phase::Queued { run_at } => self.step_queued(*run_at, command),
            Phase::Running {
                lease,
                cancel_requested,
            } => self.step_running(lease, *cancel_requested, command),
            Phase::Succeeded => self.step_finished(State::Succeeded, command),
            Phase::Failed => self.step_finished(State::Failed, command),
            Phase::Cancelled => self.step_finished(State::Cancelled, command),
        }
    }

    fn step_queued(&self, run_at: Timestamp, command: &Command) -> Result<(Self, Change), Illegal> {
        match command {
            Command::Claim { now, .. } if *now < run_at => Err(Illegal::NotYet { run_at }),
            Command::Claim { worker, until, .. } => {
                let lease = Lease {
                    worker: worker.clone(),
                    until: *until,
                };
                let mut next = self.to(Phase::Running {
                    lease,
                    cancel_requested: false,
                });
                next.fence = Fence(self.fence.0.saturating_add(1));
                next.attempts = self.attempts.saturating_add(1);
                next.idle_attempts = self.idle_attempts.saturating_add(1);
                Ok((next, Change::Claimed))
            }
            Command::Cancel => Ok((self.to(Phase::Cancelled), Change::Cancelled)),
            // A queued job has no holder: whatever a worker still says carries a token that has lost its lease.
            Command::Heartbeat { fence, .. }
            | Command::Checkpoint { fence, .. }
            | Command::Succeed { fence }
            | Command::Fail { fence, .. }
            | Command::Stop { fence }
            | Command::Release { fence, .. } => Err(Illegal::Stale {
                command: command.name(),
                given: *fence,
                newest: self.fence,
            }),
            Command::Expire { .. } | Command::Retry { .. } => Err(Illegal::State {
                command: command.name(),
                state: State::Queued,
            }),
        }
    }

    fn step_running(&self, lease: &Lease, cancelling: bool, command: &Command) -> Result<(Self, Change), Illegal> {
        let renewed = |until: Timestamp| {
            // Never shorter: two signs of life may arrive in the wrong order.
            let lease = Lease {
                worker: lease.worker.clone(),
                until: until.max(lease.until),
            };
            self.to(Phase::Running {
                lease,
                cancel_requested: cancelling,
            })
        };
        match command {
            Command::Heartbeat { fence, until } => {
                self.held(*fence, command)?;
                Ok((renewed(*until), Change::Renewed))
            }
            Command::Checkpoint { fence, until, step } => {
                self.held(*fence, command)?;
                let mut next = renewed(*until);
                if *step > self.furthest {
                    next.furthest = *step;
                    next.idle_attempts = 0;
                }
                Ok((next, Change::Kept))
            }
            // Done is done, even if cancelling was asked for in the meantime: the result is there.
            Command::Succeed { fence } => {
                self.held(*fence, command)?;
                Ok((self.to(Phase::Succeeded), Change::Succeeded))
            }
            Command::Fail { fence, retry } => {
                self.held(*fence, command)?;
                match retry {
                    Retry::Never => Ok((self.to(Phase::Failed), Change::Failed)),
                    Retry::At(run_at) => Ok(self.again(cancelling, *run_at)),
                }
            }
            Command::Stop { fence } => {
                self.held(*fence, command)?;
                if cancelling {
                    Ok((self.to(Phase::Cancelled), Change::Cancelled))
                } else {
                    Err(Illegal::NotCancelled)
                }
            }
            Command::Release { fence, now } => {
                self.held(*fence, command)?;
                let mut unharmed = self.clone();
                unharmed.attempts = self.attempts.saturating_sub(1);
                unharmed.idle_attempts = self.idle_attempts.saturating_sub(1);
                if cancelling {
                    Ok((unharmed.to(Phase::Cancelled), Change::Cancelled))
                } else {
                    Ok((unharmed.to(Phase::Queued { run_at: *now }), Change::Requeued))
                }
            }
            Command::Expire { now } if *now < lease.until => Err(Illegal::LeaseHeld { until: lease.until }),
            Command::Expire { now } => Ok(self.again(cancelling, *now)),
            Command::Cancel if cancelling => Ok((self.clone(), Change::None)),
            Command::Cancel => {
                let next = self.to(Phase::Running {
                    lease: lease.clone(),
                    cancel_requested: true,
                });
                Ok((next, Change::CancelRequested))
            }
            Command::Claim { .. } | Command::Retry { .. } => Err(Illegal::State {
                command: command.name(),
                state: State::Running,
            }),
        }
    }

    fn step_finished(&self, state: State, command: &Command) -> Result<(Self, Change), Illegal> {
        match command {
            Command::Cancel if state == State::Cancelled => Ok((self.clone(), Change::None)),
            Command::Retry { now } if state != State::Succeeded => {
                let mut next = self.to(Phase::Queued { run_at: *now });
                next.idle_attempts = 0;
                Ok((next, Change::Requeued))
            }
            Command::Heartbeat { fence, .. }
            | Command::Checkpoint { fence, .. }
            | Command::Succeed { fence }
            | Command::Fail { fence, .. }
            | Command::Stop { fence }
            | Command::Release { fence, .. }
                if *fence != self.fence =>
            {
                Err(Illegal::Stale {
                    command: command.name(),
                    given: *fence,
                    newest: self.fence,
                })
            }
            Command::Claim { .. }
            | Command::Heartbeat { .. }
            | Command::Checkpoint { .. }
            | Command::Succeed { .. }
            | Command::Fail { .. }
            | Command::Stop { .. }
            | Command::Release { .. }
            | Command::Expire { .. }
            | Command::Cancel
            | Command::Retry { .. } => Err(Illegal::Finished {
                command: command.name(),
                state,
                fence: self.fence,
            }),
        }
    }

    /// After an attempt that ended badly.
    fn again(&self, cancelling: bool, run_at: Timestamp) -> (Self, Change) {
        if cancelling {
            (self.to(Phase::Cancelled), Change::Cancelled)
        } else if self.idle_attempts >= self.max_attempts {
            (self.to(Phase::Failed), Change::Exhausted)
        } else {
            (self.to(Phase::Queued { run_at }), Change::Requeued)
        }
    }

    fn held(&self, given: Fence, command: &Command) -> Result<(), Illegal> {
        if given == self.fence {
            return Ok(());
        }
        Err(Illegal::Stale {
            command: command.name(),
            given,
            newest: self.fence,
        })
    }

    fn to(&self, phase: Phase) -> Self {
        Self { phase, ..self.clone() }
    }
}
