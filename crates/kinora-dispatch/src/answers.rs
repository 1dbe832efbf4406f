//! What was answered a moment ago, as it was sent: a question that comes again because its answer was lost is not done twice.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kinora_jobs::Error;
use tokio::sync::OnceCell;

use crate::faults::WireError;
use crate::wire::{Answer, Reply, VERSION};

/// Answers are kept for so long,
const KEEP: Duration = Duration::from_secs(120);
/// and no more than so many bytes
const KEEP_BYTES: usize = 64 << 20;
/// and so many of them.
const KEEP_COUNT: usize = 8192;

/// An answer as it is sent.
#[derive(Debug)]
pub(crate) struct Said {
    pub text: Vec<u8>,
    /// Nothing has happened: the same question may get another answer.
    transient: bool,
}

impl Said {
    pub(crate) fn new(answer: Answer) -> Self {
        let transient = match &answer {
            Answer::Error(error) => Error::from(error.clone()).is_transient(),
            _ => false,
        };
        let text = serde_json::to_vec(&Reply { v: VERSION, answer }).unwrap_or_else(|error| {
            let error = WireError::Other {
                doing: "write the answer".into(),
                detail: error.to_string(),
            };
            let answer = Answer::Error(error);
            serde_json::to_vec(&Reply { v: VERSION, answer }).unwrap_or_default()
        });
        Self { text, transient }
    }
}

/// The place of one answer. It is empty while the question is worked on.
type Place = Arc<OnceCell<Arc<Said>>>;

/// Answers to questions that must not be done twice.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    kept: Mutex<HashMap<String, (Instant, Place)>>,
}

fn size(place: &Place) -> usize {
    place.get().map_or(0, |said| said.text.len())
}

impl Answers {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, (Instant, Place)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does `work` once for each `id`, and says whether it was done (or begun) before. Whoever asks while it is being done waits for it.
    pub(crate) async fn once(&self, id: &str, work: impl Future<Output = Answer>) -> (Arc<Said>, bool) {
        let known = self.lock().get(id).map(|(_, place)| place.clone());
        let repeated = known.is_some();
        let place = known.unwrap_or_else(|| self.make_place(id));
        let said = place
            .get_or_init(|| async { Arc::new(Said::new(work.await)) })
            .await
            .clone();
        if said.transient {
            self.lock().remove(id);
        }
        (said, repeated)
    }

    fn make_place(&self, id: &str) -> Place {
        let mut kept = self.lock();
        // In steps, so that it is looked through now and then, and not with each question.
        if kept.len() % 64 == 63 {
            for age in [KEEP, KEEP / 8, KEEP / 64, Duration::ZERO] {
                kept.retain(|_, (since, place)| place.get().is_none() || since.elapsed() < age);
                let bytes: usize = kept.values().map(|(_, place)| size(place)).sum();
                if bytes <= KEEP_BYTES && kept.len() < KEEP_COUNT {
                    break;
                }
            }
        }
        let made = (Instant::now(), Place::default());
        // Two may have come here at once: the first counts.
        kept.entry(id.to_owned()).or_insert(made).1.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn run<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(work)
    }

    #[test]
    fn the_same_question_is_done_once_also_while_it_is_being_done() {
        let (answers, done) = (Answers::default(), AtomicUsize::new(0));
        let work = || async {
            done.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(20)).await;
            Answer::Continue
        };
        let (first, second) = run(async { tokio::join!(answers.once("a", work()), answers.once("a", work())) });
        let third = run(answers.once("a", work()));
        let other = run(answers.once("b", work()));
        assert_eq!((first.1, second.1, third.1, other.1), (false, true, true, false));
        assert!(Arc::ptr_eq(&first.0, &second.0) && Arc::ptr_eq(&first.0, &third.0));
        assert_eq!(done.into_inner(), 2);
    }

    #[test]
    fn what_did_not_happen_is_tried_again() {
        let answers = Answers::default();
        let busy = run(answers.once("a", async { Answer::Error(WireError::Busy) }));
        let done = run(answers.once("a", async { Answer::Continue }));
        assert!(!busy.1 && !done.1 && busy.0.text != done.0.text);
        let refused = || async {
            Answer::Error(WireError::NotFound {
                job: kinora_jobs::JobId("j".into()),
            })
        };
        run(answers.once("b", refused()));
        assert!(run(answers.once("b", async { Answer::Continue })).1, "a refusal stays");
    }

    #[test]
    fn no_more_is_kept_than_fits() {
        let answers = Answers::default();
        let large = || async { Answer::Lane("x".repeat(4 << 20)) };
        run(async {
            for id in 0..200 {
                answers.once(&id.to_string(), large()).await;
            }
        });
        let bytes: usize = answers.lock().values().map(|(_, place)| size(place)).sum();
        assert!(bytes <= 64 * (5 << 20), "at most what comes between two looks: {bytes}");
        for id in 0..20_000 {
            run(answers.once(&format!("small {id}"), async { Answer::Continue }));
        }
        assert!(answers.lock().len() <= KEEP_COUNT + 64);
    }
}
