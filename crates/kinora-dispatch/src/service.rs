//! The record service: answers the questions of workers by asking the real store. What a worker may do is decided there, by
//! the token of its claim; nothing of the broker counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::{HeaderMap, Message, Subject, Subscriber};
use futures_util::StreamExt;
use kinora_jobs::{Claim, Error, Illegal, MAX_NAME_BYTES, Result, Retry, Store, Ticket, Timestamp};
use serde::Deserialize;
use tokio::sync::Semaphore;

use crate::answers::{Answers, Said};
use crate::broker::Broker;
use crate::faults::{WireError, unreachable};
use crate::lanes::{self, Lanes};
use crate::wire::{self, Answer, Call, Question};

/// So many questions are worked on at once; others wait.
const AT_ONCE: usize = 64;
/// The longest lease that a worker may ask for.
const LONGEST_LEASE: Duration = Duration::from_secs(86_400);
/// Room for subject and headers in a message.
const ENVELOPE_BYTES: usize = 2048;

/// How often something happened since the start.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub questions: AtomicU64,
    pub repeated: AtomicU64,
    pub claims: AtomicU64,
    pub empty_claims: AtomicU64,
    pub offers: AtomicU64,
    pub reaped: AtomicU64,
}

impl Tally {
    pub(crate) fn add(counter: &AtomicU64, count: usize) {
        counter.fetch_add(count as u64, Ordering::Relaxed);
    }
}

/// Answers workers.
pub(crate) struct RecordService {
    pub store: Arc<dyn Store>,
    pub broker: Arc<Broker>,
    pub lanes: Arc<Lanes>,
    pub tally: Arc<Tally>,
    prefix: String,
    answers: Answers,
}

impl RecordService {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        broker: Arc<Broker>,
        lanes: Arc<Lanes>,
        tally: Arc<Tally>,
        prefix: String,
    ) -> Self {
        Self {
            store,
            broker,
            lanes,
            tally,
            prefix,
            answers: Answers::default(),
        }
    }

    /// Answers until the subscription ends.
    pub(crate) async fn run(self: Arc<Self>, mut questions: Subscriber) {
        let room = Arc::new(Semaphore::new(AT_ONCE));
        while let Some(message) = questions.next().await {
            let Ok(permit) = room.clone().acquire_owned().await else {
                return;
            };
            let service = self.clone();
            tokio::spawn(async move {
                service.serve(message).await;
                drop(permit);
            });
        }
    }

    async fn serve(&self, message: Message) {
        Tally::add(&self.tally.questions, 1);
        // Nobody would hear the answer, so nobody could work on what was claimed.
        let Some(to) = message.reply.clone() else { return };
        let said = match self.understand(&message) {
            Ok(question) => self.answer(question).await,
            Err(error) => Arc::new(Said::new(Answer::Error((&error).into()))),
        };
        self.send(to, &said.text).await;
    }

    /// In as many parts as are needed.
    async fn send(&self, to: Subject, text: &[u8]) {
        let client = &self.broker.client;
        let room = client.max_payload().saturating_sub(ENVELOPE_BYTES).max(1024);
        let parts = text.len().div_ceil(room);
        if parts <= 1 {
            client.publish(to, text.to_vec().into()).await.ok();
            return;
        }
        for part in text.chunks(room) {
            let mut headers = HeaderMap::new();
            headers.insert(wire::PARTS, parts.to_string());
            if client
                .publish_with_headers(to.clone(), headers, part.to_vec().into())
                .await
                .is_err()
            {
                return;
            }
        }
    }

    fn understand(&self, message: &Message) -> Result<Question> {
        let storage = |detail: String| Error::Storage {
            doing: "understand the worker",
            detail,
        };
        #[derive(Deserialize)]
        struct Versioned {
            v: u32,
        }
        let versioned: Versioned =
            serde_json::from_slice(&message.payload).map_err(|error| storage(error.to_string()))?;
        if versioned.v != wire::VERSION {
            let detail = format!(
                "it speaks version {}, this server version {}\nhint: run the same Kinora on both sides",
                versioned.v,
                wire::VERSION
            );
            return Err(storage(detail));
        }
        let question: Question =
            serde_json::from_slice(&message.payload).map_err(|error| storage(error.to_string()))?;
        // Permissions of NATS are for subjects: what is asked must be what the subject says.
        let said = message
            .subject
            .strip_prefix(self.prefix.as_str())
            .and_then(|rest| rest.strip_prefix(".record."));
        if said != Some(question.call.name()) || question.id.len() > 256 {
            return Err(storage(format!(
                "{} was asked on {}",
                question.call.name(),
                message.subject
            )));
        }
        Ok(question)
    }

    /// Does what is asked, once for each name of a question.
    async fn answer(&self, question: Question) -> Arc<Said> {
        if !question.call.counts() {
            return Arc::new(Said::new(self.ask_store(question.call).await));
        }
        let (said, repeated) = self.answers.once(&question.id, self.ask_store(question.call)).await;
        Tally::add(&self.tally.repeated, usize::from(repeated));
        said
    }

    async fn ask_store(&self, call: Call) -> Answer {
        if let Call::Hello { kinds } = &call {
            return self
                .hello(kinds)
                .await
                .unwrap_or_else(|error| Answer::Error((&error).into()));
        }
        let lane = match &call {
            Call::Claim { kinds, .. } => Some(lanes::name_of(&lanes::sorted(kinds))),
            _ => None,
        };
        let makes_room = call.counts();
        let store = self.store.clone();
        let asked = tokio::task::spawn_blocking(move || ask(&*store, call)).await;
        let answer = match asked {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Answer::Error((&error).into()),
            Err(panicked) => {
                let detail = format!("the call ended in a panic: {panicked}");
                return Answer::Error(WireError::Other {
                    doing: String::new(),
                    detail,
                });
            }
        };
        match (&answer, lane) {
            (Answer::Claimed(found), Some(lane)) => {
                Tally::add(&self.tally.claims, 1);
                if found.is_none() {
                    Tally::add(&self.tally.empty_claims, 1);
                    self.lanes.found_nothing(&lane);
                } else {
                    self.lanes.one_was_taken();
                }
            }
            _ if makes_room => self.lanes.something_changed(),
            _ => {}
        }
        answer
    }

    async fn hello(&self, kinds: &[String]) -> Result<Answer> {
        let fits = |kind: &String| !kind.is_empty() && kind.len() <= MAX_NAME_BYTES;
        if kinds.len() > 64 || !kinds.iter().all(fits) {
            let problem = format!("at most 64 of at most {MAX_NAME_BYTES} bytes are possible");
            return Err(Error::Field {
                field: "kinds",
                problem,
            });
        }
        let kinds = lanes::sorted(kinds);
        let lane = lanes::name_of(&kinds);
        if !self.lanes.open(&lane, &kinds) {
            return Err(Error::Field {
                field: "kinds",
                problem: "there are too many different sets of kinds".into(),
            });
        }
        if self.broker.ensure_lane(&lane, &kinds).await.is_err() {
            self.broker.ensure_stream().await.map_err(unreachable)?;
            self.broker.ensure_lane(&lane, &kinds).await.map_err(unreachable)?;
        }
        Ok(Answer::Lane(lane))
    }
}

fn lease(ms: u64) -> Result<Duration> {
    let lease = Duration::from_millis(ms);
    if lease <= LONGEST_LEASE {
        return Ok(lease);
    }
    Err(Error::Field {
        field: "lease",
        problem: "at most a day is possible".into(),
    })
}

/// One call of the store.
fn ask(store: &dyn Store, call: Call) -> Result<Answer> {
    let job = |job: kinora_jobs::Job| Answer::Job(Box::new(job.into()));
    match call {
        Call::Hello { .. } => Err(Error::NotForWorkers { call: "hello" }),
        Call::Claim {
            worker,
            kinds,
            lease_ms,
        } => {
            let claim = Claim {
                worker,
                kinds,
                lease: lease(lease_ms)?,
            };
            let found = store.claim(&claim)?;
            Ok(Answer::Claimed(found.map(|job| Box::new(job.into()))))
        }
        Call::Get { ticket } => held(store, &ticket).map(job),
        Call::Heartbeat {
            ticket,
            report,
            lease_ms,
        } => store
            .heartbeat(&ticket, report.as_ref(), lease(lease_ms)?)
            .map(Into::into),
        Call::Checkpoint {
            ticket,
            reference,
            step,
            lease_ms,
        } => store
            .checkpoint(&ticket, &reference, step, lease(lease_ms)?)
            .map(Into::into),
        Call::Succeed { ticket, result } => store.succeed(&ticket, &result).map(job),
        Call::Fail {
            ticket,
            failure,
            retry_at_ms,
        } => {
            let retry = retry_at_ms.map_or(Retry::Never, |at| Retry::At(Timestamp(at)));
            store.fail(&ticket, &failure, retry).map(job)
        }
        Call::Stop { ticket } => store.stop(&ticket).map(job),
        Call::Release { ticket } => store.release(&ticket).map(job),
    }
}

/// A job, for whoever holds its newest claim: others are not told what is in it.
fn held(store: &dyn Store, ticket: &Ticket) -> Result<kinora_jobs::Job> {
    let job = store.get(&ticket.job)?;
    if job.life.fence == ticket.fence {
        return Ok(job);
    }
    let reason = Illegal::Stale {
        command: "get",
        given: ticket.fence,
        newest: job.life.fence,
    };
    Err(Error::Illegal { job: job.id, reason })
}
