//! The worker's side: a store that asks the server over NATS.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use async_nats::connection::State as Connection;
use async_nats::{Client, Message, StatusCode, Subject};
use futures_util::StreamExt;
use kinora_jobs::{
    Allowance, Claim, Delivery, Directive, Error, Event, Failure, Illegal, Job, JobId, Listing, Load, OutboxEntry,
    Query, Report, Result, Retry, Scope, Store, Submission, Submitted, Ticket, Timestamp,
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::faults::unreachable;
use crate::lanes;
use crate::options::DispatchOptions;
use crate::wire::{self, Answer, Call, Question, Reply, ms};

/// A worker says hello so often, and the server knows that it is still there.
const HELLO: Duration = Duration::from_secs(60);
/// The server remembers answers for longer than this, so a question may be repeated for so long.
const REPEAT: Duration = Duration::from_secs(60);
/// An offer may be on its way when the wait for it ends.
const ON_ITS_WAY: Duration = Duration::from_millis(100);
/// Room for subject and headers in a message.
const ENVELOPE_BYTES: usize = 2048;
/// More parts than this are no answer.
const MOST_PARTS: usize = 1 << 16;

/// The jobs of a server, for a worker that reaches it over NATS. What a worker needs of a [`Store`] works; everything else is
/// [`Error::NotForWorkers`], but [`Store::reap`], which does nothing: the server does that.
///
/// A call that gets no answer is [`Error::Unreachable`], which is transient: a [`Worker`](kinora_jobs::Worker) tries again for as long
/// as its lease, and gives the job up then. Calls block; they may be made from any thread.
pub struct RemoteStore {
    runtime: Option<Runtime>,
    link: Arc<Link>,
}

impl std::fmt::Debug for RemoteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteStore")
            .field("options", &self.link.options)
            .finish_non_exhaustive()
    }
}

impl RemoteStore {
    /// Connects to NATS. Whether a server answers there is seen with the first claim.
    ///
    /// **Errors**: options that make no sense, or NATS not there.
    pub fn connect(options: &DispatchOptions) -> crate::Result<Self> {
        options.validate()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("kinora-remote")
            .enable_all()
            .build()
            .map_err(|error| crate::Error::Runtime {
                detail: error.to_string(),
            })?;
        let (sender, receiver) = mpsc::channel();
        let wanted = options.clone();
        runtime.spawn(async move {
            sender.send(wanted.connect("kinora worker").await).ok();
        });
        let connected = receiver.recv().unwrap_or_else(|_| {
            Err(crate::Error::Runtime {
                detail: "it ended at once".into(),
            })
        });
        match connected {
            Ok(client) => Ok(Self {
                runtime: Some(runtime),
                link: Arc::new(Link::new(client, options.clone())),
            }),
            Err(error) => {
                runtime.shutdown_background();
                Err(error)
            }
        }
    }

    /// Runs `work` on the runtime's thread and waits for it; not `block_on`, which panics inside another runtime.
    fn wait<T: Send + 'static>(&self, work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        let gone = || unreachable("the connection was closed");
        let runtime = self.runtime.as_ref().ok_or_else(gone)?;
        let (sender, receiver) = mpsc::channel();
        runtime.spawn(async move {
            sender.send(work.await).ok();
        });
        receiver.recv().unwrap_or_else(|_| Err(gone()))
    }

    fn ask(&self, call: Call, timeout: Duration) -> Result<Answer> {
        let link = self.link.clone();
        self.wait(async move { link.ask(call, timeout).await })
    }

    fn sign_of_life(&self, call: Call, lease: Duration) -> Result<Directive> {
        // There must be time for another try while the lease holds.
        let timeout = self
            .link
            .options
            .call_timeout
            .min((lease / 3).max(Duration::from_millis(50)));
        match self.ask(call, timeout)? {
            Answer::Continue => Ok(Directive::Continue),
            Answer::Cancel => Ok(Directive::Cancel),
            other => Err(unexpected(&other)),
        }
    }

    fn end(&self, call: Call, ticket: &Ticket) -> Result<Job> {
        let asked_before = self.link.got_no_answer(&call);
        let mut answer = self.ask(call, self.link.options.call_timeout);
        if let Err(Error::Illegal {
            reason: Illegal::Finished { fence, .. },
            ..
        }) = &answer
            && asked_before
            && *fence == ticket.fence
        {
            // It was us, and the server that knew our question is gone.
            let ticket = ticket.clone();
            answer = self.ask(Call::Get { ticket }, self.link.options.call_timeout);
        }
        let over = answer.as_ref().map_or_else(Error::is_lost, |_| true);
        if over {
            lock(&self.link.held).remove(&ticket.job);
        }
        job_of(answer?)
    }
}

impl Drop for RemoteStore {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unexpected(answer: &Answer) -> Error {
    let text = serde_json::to_string(answer).unwrap_or_default();
    let text: String = text.chars().take(100).collect();
    Error::Storage {
        doing: "understand the server",
        detail: format!("it answered {text}"),
    }
}

fn job_of(answer: Answer) -> Result<Job> {
    match answer {
        Answer::Job(job) => Ok((*job).into()),
        other => Err(unexpected(&other)),
    }
}

/// What came of a wait for an offer.
enum Pulled {
    /// An offer; here its end is said.
    Offer(Subject),
    /// None.
    Nothing,
    /// The broker does not know our lane.
    Gone,
}

/// The connection and what is remembered between two calls.
struct Link {
    client: Client,
    options: DispatchOptions,
    /// With a number, the name of a question: unlike those of any other worker.
    instance: String,
    questions: AtomicU64,
    /// Questions that got no answer: asked again under the same name, they are not done twice.
    unanswered: Mutex<HashMap<String, (Instant, String)>>,
    /// The lane of a set of kinds, and when we last said hello.
    lanes: Mutex<HashMap<Vec<String>, (String, Instant)>>,
    held: Mutex<HashMap<JobId, Ticket>>,
    last_claim: Mutex<Option<Instant>>,
}

impl Link {
    fn new(client: Client, options: DispatchOptions) -> Self {
        let instance = client.new_inbox().rsplit('.').next().unwrap_or_default().to_owned();
        Self {
            client,
            options,
            instance,
            questions: AtomicU64::new(0),
            unanswered: Mutex::default(),
            lanes: Mutex::default(),
            held: Mutex::default(),
            last_claim: Mutex::default(),
        }
    }

    /// What makes two questions the same, if doing one twice would matter.
    fn sameness(call: &Call) -> Option<String> {
        if !call.counts() {
            return None;
        }
        match call {
            Call::Claim { worker, kinds, .. } => Some(format!("claim {worker} {kinds:?}")),
            Call::Succeed { ticket, .. }
            | Call::Fail { ticket, .. }
            | Call::Stop { ticket }
            | Call::Release { ticket } => Some(format!("{} {} {}", call.name(), ticket.fence, ticket.job)),
            Call::Hello { .. } | Call::Get { .. } | Call::Heartbeat { .. } | Call::Checkpoint { .. } => None,
        }
    }

    /// The name of the question that got no answer, if there is one that may be repeated.
    fn repeated(&self, sameness: &str) -> Option<(Instant, String)> {
        lock(&self.unanswered)
            .remove(sameness)
            .filter(|(since, _)| since.elapsed() < REPEAT)
    }

    /// Whether the same was asked a moment ago, and no answer came.
    fn got_no_answer(&self, call: &Call) -> bool {
        Self::sameness(call).is_some_and(|sameness| lock(&self.unanswered).contains_key(&sameness))
    }

    async fn ask(&self, call: Call, timeout: Duration) -> Result<Answer> {
        let sameness = Self::sameness(&call);
        let (since, id) = sameness
            .as_ref()
            .and_then(|sameness| self.repeated(sameness))
            .unwrap_or_else(|| {
                let number = self.questions.fetch_add(1, Ordering::Relaxed);
                (Instant::now(), format!("{}-{number}", self.instance))
            });
        let subject = self.options.record_subject(call.name());
        let field = match &call {
            Call::Succeed { .. } => "result",
            Call::Fail { .. } => "failure.message",
            _ => "the call",
        };
        let question = Question {
            v: wire::VERSION,
            id: id.clone(),
            call,
        };
        let text = serde_json::to_vec(&question).map_err(|error| Error::Storage {
            doing: "write a question",
            detail: error.to_string(),
        })?;
        let room = self.client.max_payload().saturating_sub(ENVELOPE_BYTES);
        if text.len() > room {
            let problem = format!(
                "{} bytes, a message of this NATS server carries {room} (max_payload)",
                text.len()
            );
            return Err(Error::Field { field, problem });
        }
        let answer = self.exchange(subject, text, timeout).await;
        if let (Err(Error::Unreachable { .. }), Some(sameness)) = (&answer, sameness) {
            let mut unanswered = lock(&self.unanswered);
            unanswered.retain(|_, (since, _)| since.elapsed() < REPEAT);
            unanswered.insert(sameness, (since, id));
        }
        let reply: Reply = serde_json::from_slice(&answer?).map_err(|error| Error::Storage {
            doing: "understand the server",
            detail: error.to_string(),
        })?;
        match reply.answer {
            Answer::Error(error) => Err(error.into()),
            answer => Ok(answer),
        }
    }

    /// One question and all parts of its answer.
    async fn exchange(&self, subject: String, text: Vec<u8>, timeout: Duration) -> Result<Vec<u8>> {
        // The client would keep it and send it when it is too late.
        if self.client.connection_state() != Connection::Connected {
            tokio::time::sleep(Duration::from_millis(20)).await;
            return Err(unreachable("there is no connection to NATS at the moment"));
        }
        let talk = async {
            let inbox = self.client.new_inbox();
            let mut parts = self.client.subscribe(inbox.clone()).await.map_err(unreachable)?;
            self.client
                .publish_with_reply(subject, inbox, text.into())
                .await
                .map_err(unreachable)?;
            let mut whole = Vec::new();
            for received in 1_usize.. {
                let part = parts
                    .next()
                    .await
                    .ok_or_else(|| unreachable("the connection was closed"))?;
                if part.status == Some(StatusCode::NO_RESPONDERS) {
                    return Err(unreachable("no server is there"));
                }
                whole.extend_from_slice(&part.payload);
                if received >= parts_of(&part) {
                    break;
                }
            }
            Ok(whole)
        };
        tokio::time::timeout(timeout, talk)
            .await
            .unwrap_or_else(|_| Err(unreachable(format!("no answer within {} ms", timeout.as_millis()))))
    }

    /// The lane for these kinds, as the server named it.
    async fn lane(&self, kinds: &[String]) -> Result<String> {
        let kinds = lanes::sorted(kinds);
        if let Some((lane, since)) = lock(&self.lanes).get(&kinds)
            && since.elapsed() < HELLO
        {
            return Ok(lane.clone());
        }
        match self
            .ask(Call::Hello { kinds: kinds.clone() }, self.options.call_timeout)
            .await?
        {
            Answer::Lane(lane) => {
                lock(&self.lanes).insert(kinds, (lane.clone(), Instant::now()));
                Ok(lane)
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Waits for an offer. A bare pull: it needs no permission but this one.
    async fn pull(&self, lane: &str) -> Result<Pulled> {
        let wait = self.options.offer_wait;
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{lane}", self.options.stream);
        let nanos = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        let request = json!({ "batch": 1, "expires": nanos }).to_string();
        let talk = async {
            let inbox = self.client.new_inbox();
            let mut offers = self.client.subscribe(inbox.clone()).await.map_err(unreachable)?;
            self.client
                .publish_with_reply(subject, inbox, request.into())
                .await
                .map_err(unreachable)?;
            let Some(message) = offers.next().await else {
                return Ok(Pulled::Nothing);
            };
            Ok(match (message.status, message.reply) {
                (None, Some(reply)) => Pulled::Offer(reply),
                (Some(StatusCode::TIMEOUT), _) => Pulled::Nothing,
                // No such consumer, or it was removed while we waited.
                _ => Pulled::Gone,
            })
        };
        // An offer that comes later is not acknowledged, so it goes to another.
        tokio::time::timeout(wait + ON_ITS_WAY, talk)
            .await
            .unwrap_or(Ok(Pulled::Nothing))
    }

    /// Whether so much time has gone since the last claim that the record is asked without an offer.
    fn is_due(&self) -> bool {
        lock(&self.last_claim).is_none_or(|at| at.elapsed() >= self.options.ask_after)
    }

    async fn claim(&self, call: Call, kinds: &[String]) -> Result<Option<Job>> {
        let unanswered = self.got_no_answer(&call);
        let mut offer = None;
        // A claim without an answer may hold a job for us already.
        if !unanswered {
            let pulled = match self.lane(kinds).await {
                Ok(lane) if self.client.connection_state() == Connection::Connected => self.pull(&lane).await,
                Ok(_) => Err(unreachable("there is no connection to NATS at the moment")),
                Err(error) => Err(error),
            };
            match pulled {
                Ok(Pulled::Offer(reply)) => offer = Some(reply),
                Ok(Pulled::Gone) => {
                    lock(&self.lanes).remove(&lanes::sorted(kinds));
                    self.lane(kinds).await?;
                }
                Ok(Pulled::Nothing) => {}
                Err(error) if !self.is_due() => return Err(error),
                Err(_) => {}
            }
            if offer.is_none() && !self.is_due() {
                return Ok(None);
            }
        }
        *lock(&self.last_claim) = Some(Instant::now());
        let answer = self.ask(call, self.options.call_timeout).await;
        if let Some(reply) = offer {
            // A hint, no promise: the record knows who has the job.
            let word = if answer.is_ok() { "+ACK" } else { "-NAK" };
            self.client.publish(reply, word.into()).await.ok();
        }
        match answer? {
            Answer::Claimed(job) => Ok(job.map(|job| Job::from(*job))),
            other => Err(unexpected(&other)),
        }
    }
}

/// How many parts the answer has that this is one of.
fn parts_of(message: &Message) -> usize {
    let said = message.headers.as_ref().and_then(|headers| headers.get(wire::PARTS));
    said.and_then(|said| said.as_str().parse().ok())
        .unwrap_or(1)
        .min(MOST_PARTS)
}

impl Store for RemoteStore {
    fn claim(&self, claim: &Claim) -> Result<Option<Job>> {
        let kinds = claim.kinds.clone();
        let call = Call::Claim {
            worker: claim.worker.clone(),
            kinds: kinds.clone(),
            lease_ms: ms(claim.lease),
        };
        let link = self.link.clone();
        let job = self.wait(async move { link.claim(call, &kinds).await })?;
        if let Some(job) = &job {
            lock(&self.link.held).insert(job.id.clone(), job.ticket());
        }
        Ok(job)
    }

    /// Of a job that this worker holds. **Errors**: `NotForWorkers` for others.
    fn get(&self, id: &JobId) -> Result<Job> {
        let held = lock(&self.link.held).get(id).cloned();
        let ticket = held.ok_or(Error::NotForWorkers { call: "get" })?;
        job_of(self.ask(Call::Get { ticket }, self.link.options.call_timeout)?)
    }

    fn heartbeat(&self, ticket: &Ticket, report: Option<&Report>, lease: Duration) -> Result<Directive> {
        let call = Call::Heartbeat {
            ticket: ticket.clone(),
            report: report.cloned(),
            lease_ms: ms(lease),
        };
        self.sign_of_life(call, lease)
    }

    fn checkpoint(&self, ticket: &Ticket, reference: &str, step: u64, lease: Duration) -> Result<Directive> {
        let (ticket, reference) = (ticket.clone(), reference.to_owned());
        self.sign_of_life(
            Call::Checkpoint {
                ticket,
                reference,
                step,
                lease_ms: ms(lease),
            },
            lease,
        )
    }

    fn succeed(&self, ticket: &Ticket, result: &Value) -> Result<Job> {
        self.end(
            Call::Succeed {
                ticket: ticket.clone(),
                result: result.clone(),
            },
            ticket,
        )
    }

    fn fail(&self, ticket: &Ticket, failure: &Failure, retry: Retry) -> Result<Job> {
        self.end(Call::fail(ticket.clone(), failure.clone(), retry), ticket)
    }

    fn stop(&self, ticket: &Ticket) -> Result<Job> {
        self.end(Call::Stop { ticket: ticket.clone() }, ticket)
    }

    fn release(&self, ticket: &Ticket) -> Result<Job> {
        self.end(Call::Release { ticket: ticket.clone() }, ticket)
    }

    /// Nothing: the server does it.
    fn reap(&self, _limit: usize) -> Result<Vec<JobId>> {
        Ok(Vec::new())
    }

    fn submit(&self, _submission: &Submission) -> Result<Submitted> {
        Err(Error::NotForWorkers { call: "submit" })
    }

    fn list(&self, _query: &Query) -> Result<Listing> {
        Err(Error::NotForWorkers { call: "list" })
    }

    fn cancel(&self, _id: &JobId) -> Result<Job> {
        Err(Error::NotForWorkers { call: "cancel" })
    }

    fn retry(&self, _id: &JobId) -> Result<Job> {
        Err(Error::NotForWorkers { call: "retry" })
    }

    fn expired(&self, _limit: usize) -> Result<Vec<Job>> {
        Err(Error::NotForWorkers { call: "expired" })
    }

    fn purge(&self, _id: &JobId) -> Result<Job> {
        Err(Error::NotForWorkers { call: "purge" })
    }

    fn delete(&self, _id: &JobId) -> Result<()> {
        Err(Error::NotForWorkers { call: "delete" })
    }

    fn events(&self, _scope: &Scope, _after: u64, _limit: usize) -> Result<Vec<Event>> {
        Err(Error::NotForWorkers { call: "events" })
    }

    fn set_allowance(&self, _key: &str, _allowance: &Allowance) -> Result<()> {
        Err(Error::NotForWorkers { call: "set_allowance" })
    }

    fn allowance(&self, _key: &str) -> Result<Allowance> {
        Err(Error::NotForWorkers { call: "allowance" })
    }

    fn last_event(&self, _scope: &Scope) -> Result<u64> {
        Err(Error::NotForWorkers { call: "last_event" })
    }

    fn queue_position(&self, _id: &JobId) -> Result<Option<u64>> {
        Err(Error::NotForWorkers { call: "queue_position" })
    }

    fn load(&self) -> Result<Vec<Load>> {
        Err(Error::NotForWorkers { call: "load" })
    }

    fn ready(&self, _kinds: &[String], _limit: usize) -> Result<usize> {
        Err(Error::NotForWorkers { call: "ready" })
    }

    fn take_deliveries(&self, _limit: usize, _lease: Duration) -> Result<Vec<Delivery>> {
        Err(Error::NotForWorkers {
            call: "take_deliveries",
        })
    }

    fn delivered(&self, _delivery: u64, _attempt: u32) -> Result<()> {
        Err(Error::NotForWorkers { call: "delivered" })
    }

    fn undelivered(&self, _delivery: u64, _attempt: u32, _error: &str, _next_at: Option<Timestamp>) -> Result<()> {
        Err(Error::NotForWorkers { call: "undelivered" })
    }

    fn replay(&self, _delivery: u64) -> Result<()> {
        Err(Error::NotForWorkers { call: "replay" })
    }

    fn outbox(&self, _id: &JobId) -> Result<Vec<OutboxEntry>> {
        Err(Error::NotForWorkers { call: "outbox" })
    }

    fn prune_outbox(&self, _before: Timestamp) -> Result<u64> {
        Err(Error::NotForWorkers { call: "prune_outbox" })
    }
}
