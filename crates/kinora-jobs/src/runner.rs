//! Who does the jobs: a [`Runner`] knows how, a [`Worker`] claims jobs for it, keeps their leases alive and says how they ended.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::machine::{Retry, State};
use crate::record::{Failure, Job, JobId, Report, Ticket};
use crate::store::{Claim, Directive, Store};

/// Knows how to do jobs of some kinds.
pub trait Runner: Send + Sync {
    /// Which kinds. None named means all.
    fn kinds(&self) -> Vec<String> {
        Vec::new()
    }

    /// Does one job and returns its result.
    ///
    /// It begins from [`Job::checkpoint`] if there is one, and calls `progress` at every step: with `?`, that is all that
    /// cancelling, a lost lease and a shutdown need. A panic is a failure that may be tried again.
    ///
    /// **Errors**: [`Stop`], why there is no result.
    fn run(&self, job: &Job, progress: &mut Progress<'_>) -> Result<Value, Stop>;
}

/// Why a job ended without a result.
#[derive(Debug, Clone, PartialEq)]
pub enum Stop {
    /// Somebody asked for its end.
    Cancelled,
    /// The worker is shutting down: another will go on from the last checkpoint.
    ShuttingDown,
    /// Another has taken the job over, or nobody could be told for longer than the lease. Whatever was made is thrown away.
    Lost,
    /// It cannot be done: trying again would end the same.
    Failed(Failure),
    /// It went wrong, and may go better next time.
    TryAgain(Failure),
    /// The store failed in a way that waiting does not heal.
    Store(Error),
}

/// How a worker treats its jobs.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerOptions {
    /// Its name, for people.
    pub name: String,
    /// How long nobody need hear of it. A third of this lies between two signs of life.
    pub lease: Duration,
    /// How long it waits before it looks again when there was nothing to do.
    pub idle: Duration,
    /// How long a failed job waits before it is tried again; doubled with each idle attempt,
    pub retry_delay: Duration,
    /// up to this.
    pub retry_delay_max: Duration,
    /// A runner that shows no progress for so long is taken for hung: the job goes to another.
    pub stall: Duration,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            name: "worker".into(),
            lease: Duration::from_secs(30),
            idle: Duration::from_millis(500),
            retry_delay: Duration::from_secs(1),
            retry_delay_max: Duration::from_secs(60),
            stall: Duration::from_secs(1800),
        }
    }
}

/// What the runner and the thread that keeps the lease alive tell each other.
#[derive(Debug)]
struct Watch {
    cancelled: AtomicBool,
    lost: AtomicBool,
    /// When the runner last moved, and whether it has ended.
    moved: Mutex<(Instant, bool)>,
    ended: Condvar,
}

impl Watch {
    fn heard(&self, answer: Result<Directive>) -> Result<()> {
        match answer {
            Ok(Directive::Continue) => Ok(()),
            Ok(Directive::Cancel) => {
                self.cancelled.store(true, Ordering::SeqCst);
                Ok(())
            }
            Err(error) if error.is_lost() => {
                self.lost.store(true, Ordering::SeqCst);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn moves(&self) {
        self.moved.lock().unwrap_or_else(PoisonError::into_inner).0 = Instant::now();
    }

    fn end(&self) {
        self.moved.lock().unwrap_or_else(PoisonError::into_inner).1 = true;
        self.ended.notify_all();
    }

    /// Gives signs of life until the runner ends, stands still for too long, or has lost its job.
    fn keep_alive(&self, store: &dyn Store, ticket: &Ticket, options: &WorkerOptions) {
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if moved.1 || self.lost.load(Ordering::SeqCst) {
                return;
            }
            if moved.0.elapsed() >= options.stall {
                self.lost.store(true, Ordering::SeqCst);
                return;
            }
            let waited = self
                .ended
                .wait_timeout(moved, options.lease / 3)
                .unwrap_or_else(PoisonError::into_inner);
            if waited.0.1 {
                return;
            }
            drop(waited);
            // A store that is busy or broken for a moment is asked again in a moment; the lease is three times as long.
            self.heard(store.heartbeat(ticket, None, options.lease)).ok();
            moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// How a runner shows that it moves, and how it hears that it should stop.
pub struct Progress<'a> {
    store: &'a dyn Store,
    ticket: Ticket,
    options: &'a WorkerOptions,
    watch: &'a Watch,
    shutdown: &'a AtomicBool,
    /// What was said last.
    said: Option<Report>,
    preview: Option<String>,
}

impl std::fmt::Debug for Progress<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Progress")
            .field("ticket", &self.ticket)
            .finish_non_exhaustive()
    }
}

impl Progress<'_> {
    /// The proof of this claim. Its token belongs into the names of files, so that a worker that was thought dead writes
    /// over nothing.
    #[must_use]
    pub const fn ticket(&self) -> &Ticket {
        &self.ticket
    }

    /// Whether to stop, without asking the store: cheap enough for every layer.
    ///
    /// **Errors**: [`Stop::Lost`], [`Stop::Cancelled`], [`Stop::ShuttingDown`].
    pub fn check(&self) -> Result<(), Stop> {
        self.watch.moves();
        if self.watch.lost.load(Ordering::SeqCst) {
            return Err(Stop::Lost);
        }
        if self.watch.cancelled.load(Ordering::SeqCst) {
            return Err(Stop::Cancelled);
        }
        if self.shutdown.load(Ordering::SeqCst) {
            return Err(Stop::ShuttingDown);
        }
        Ok(())
    }

    /// Says how far the job is: a sign of life, seen by whoever watches.
    ///
    /// **Errors**: as [`Progress::check`], and [`Stop::Store`].
    pub fn report(&mut self, stage: &str, done: u64, total: u64) -> Result<(), Stop> {
        let report = Report {
            stage: stage.into(),
            done,
            total,
            preview: self.preview.clone(),
        };
        self.say(report)
    }

    /// Names a picture of what the job is going to be, which is whole and on the disk. This report and those after it carry
    /// it; when this has returned well, the one before is not needed any more.
    ///
    /// **Errors**: as [`Progress::report`].
    pub fn preview(&mut self, reference: &str) -> Result<(), Stop> {
        self.preview = Some(reference.into());
        match self.said.clone() {
            Some(said) => self.report(&said.stage, said.done, said.total),
            None => self.check(),
        }
    }

    fn say(&mut self, report: Report) -> Result<(), Stop> {
        let answer = self.tell(|store, ticket, lease| store.heartbeat(ticket, Some(&report), lease));
        self.said = Some(report);
        answer
    }

    /// Names a place from which the job can go on, which is whole and on the disk. When this has returned well, the one before
    /// is not needed any more.
    ///
    /// **Errors**: as [`Progress::report`].
    pub fn checkpoint(&mut self, reference: &str, step: u64) -> Result<(), Stop> {
        self.tell(|store, ticket, lease| store.checkpoint(ticket, reference, step, lease))
    }

    fn tell(&self, call: impl Fn(&dyn Store, &Ticket, Duration) -> Result<Directive>) -> Result<(), Stop> {
        let answer = patiently(self.options.lease, || {
            call(self.store, &self.ticket, self.options.lease)
        });
        match self.watch.heard(answer) {
            Ok(()) => self.check(),
            Err(error) if error.is_transient() => Err(Stop::Lost),
            Err(error) => Err(Stop::Store(error)),
        }
    }
}

/// Calls again while the store is busy or its disk full, for as long as a lease.
fn patiently<T>(lease: Duration, call: impl Fn() -> Result<T>) -> Result<T> {
    let begun = Instant::now();
    loop {
        match call() {
            Err(error) if error.is_transient() && begun.elapsed() < lease => {
                std::thread::sleep(Duration::from_millis(50));
            }
            answer => return answer,
        }
    }
}

/// What a worker did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worked {
    /// Which job.
    pub job: JobId,
    /// Its state when the worker let go of it; `None` if another has it.
    pub state: Option<State>,
}

/// Claims jobs for a runner, one at a time.
pub struct Worker<'a> {
    /// Where the jobs are.
    pub store: &'a dyn Store,
    /// Who does them.
    pub runner: &'a dyn Runner,
    /// The clock of the store.
    pub clock: &'a dyn Clock,
    /// How.
    pub options: WorkerOptions,
}

impl std::fmt::Debug for Worker<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Worker<'_> {
    /// Works until `shutdown` is set. A job that is running then is given back when its runner next shows progress.
    ///
    /// **Errors**: what the store says, unless waiting heals it.
    pub fn run(&self, shutdown: &AtomicBool) -> Result<()> {
        while !shutdown.load(Ordering::SeqCst) {
            match self.store.reap(100).and_then(|_| self.run_one(shutdown)) {
                Ok(Some(_)) => {}
                Ok(None) => pause(self.options.idle, shutdown),
                Err(error) if error.is_transient() => pause(self.options.idle, shutdown),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Does the next job, if there is one.
    ///
    /// **Errors**: what the store says.
    pub fn run_one(&self, shutdown: &AtomicBool) -> Result<Option<Worked>> {
        let claim = Claim {
            worker: self.options.name.clone(),
            kinds: self.runner.kinds(),
            lease: self.options.lease,
        };
        let Some(job) = self.store.claim(&claim)? else {
            return Ok(None);
        };
        let outcome = self.attempt(&job, shutdown);
        let ticket = job.ticket();
        let ended = patiently(self.options.lease, || self.end(&job, &ticket, &outcome));
        match ended {
            Ok(state) => Ok(Some(Worked { job: job.id, state })),
            Err(error) if error.is_lost() => Ok(Some(Worked {
                job: job.id,
                state: None,
            })),
            Err(error) => Err(error),
        }
    }

    /// Lets the runner run, with a second thread that keeps the lease alive.
    fn attempt(&self, job: &Job, shutdown: &AtomicBool) -> Result<Value, Stop> {
        let watch = Watch {
            cancelled: AtomicBool::new(false),
            lost: AtomicBool::new(false),
            moved: Mutex::new((Instant::now(), false)),
            ended: Condvar::new(),
        };
        let mut progress = Progress {
            store: self.store,
            ticket: job.ticket(),
            options: &self.options,
            watch: &watch,
            shutdown,
            said: None,
            preview: None,
        };
        let ticket = job.ticket();
        std::thread::scope(|scope| {
            scope.spawn(|| watch.keep_alive(self.store, &ticket, &self.options));
            // The runner's own state is not looked at after a panic; the store's is whole (transactions).
            let run = catch_unwind(AssertUnwindSafe(|| self.runner.run(job, &mut progress)));
            watch.end();
            run.unwrap_or_else(|panic| {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
                let message = text.unwrap_or("no message").to_owned();
                Err(Stop::TryAgain(Failure::new("panicked", message)))
            })
        })
    }

    /// Says how the attempt ended. `None`: the job is another's.
    fn end(&self, job: &Job, ticket: &Ticket, outcome: &Result<Value, Stop>) -> Result<Option<State>> {
        let ended = match outcome {
            Ok(result) => match self.store.succeed(ticket, result) {
                Err(Error::Field { problem, .. }) => {
                    let failure = Failure::new("bad_result", problem);
                    self.store.fail(ticket, &failure, Retry::Never)
                }
                answer => answer,
            },
            Err(Stop::Cancelled) => self.store.stop(ticket),
            Err(Stop::ShuttingDown) => self.store.release(ticket),
            Err(Stop::Failed(failure)) => self.store.fail(ticket, failure, Retry::Never),
            Err(Stop::TryAgain(failure)) => {
                let at = self.clock.now().after(self.delay(job.life.idle_attempts));
                self.store.fail(ticket, failure, Retry::At(at))
            }
            Err(Stop::Lost) => return Ok(None),
            Err(Stop::Store(error)) => return Err(error.clone()),
        };
        ended.map(|job| Some(job.state()))
    }

    /// How long a job waits after so many idle attempts.
    fn delay(&self, attempts: u32) -> Duration {
        let doubled = 1_u32.checked_shl(attempts.saturating_sub(1)).unwrap_or(u32::MAX);
        self.options
            .retry_delay
            .saturating_mul(doubled)
            .min(self.options.retry_delay_max)
    }
}

/// Sleeps, but not through a shutdown.
fn pause(long: Duration, shutdown: &AtomicBool) {
    let begun = Instant::now();
    while begun.elapsed() < long && !shutdown.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(20).min(long));
    }
}
