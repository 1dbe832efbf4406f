//! Where the time goes: named spans, recorded between [`start`] and [`stop`].
//!
//! Operations and the stages around them open a [`Span`]; it lasts until it is dropped, so spans of a thread nest. While
//! nobody records, [`span`] loads one atomic and takes no time stamp. Memory is bounded: after [`MAX_SPANS`] further
//! spans are only counted. There is one recording in a process at a time.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Spans that one recording keeps, about 90 bytes each; a clip of 200 steps through 30 blocks has fewer.
pub const MAX_SPANS: usize = 1 << 19;

/// One finished span.
#[derive(Debug, Clone, PartialEq)]
pub struct SpanRecord {
    /// What was done: a few words that stand for all spans of their kind.
    pub name: &'static str,
    /// What was special about this one, such as its shape.
    pub detail: Option<String>,
    /// Its beginning, since the recording began.
    pub start: Duration,
    /// How long it took.
    pub duration: Duration,
    /// The thread that it ran on, numbered from 1 in the order of their first spans.
    pub thread: u32,
    /// Arithmetic operations (a multiplication and an addition count as two); 0 if nobody counted them.
    pub ops: f64,
}

impl SpanRecord {
    /// Its end, since the recording began.
    pub fn end(&self) -> Duration {
        self.start + self.duration
    }
}

/// A finished recording.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recording {
    /// All spans that were finished, in the order in which they began.
    pub spans: Vec<SpanRecord>,
    /// Names of the threads that have any.
    pub threads: BTreeMap<u32, String>,
    /// From [`start`] to [`stop`].
    pub wall: Duration,
    /// Spans beyond [`MAX_SPANS`], which were not kept.
    pub left_out: usize,
}

/// A span that is under way; it ends when this is dropped.
#[must_use = "a span lasts until it is dropped"]
pub struct Span {
    open: Option<Open>,
    /// A span belongs to the thread that opened it.
    not_send: PhantomData<*const ()>,
}

struct Open {
    place: usize,
    recording: u64,
    started: Instant,
}

/// A span as it is kept until its end is known.
struct Kept {
    name: &'static str,
    detail: Option<String>,
    start: Duration,
    duration: Option<Duration>,
    thread: u32,
    ops: f64,
}

struct Recorder {
    /// Tells spans of an earlier recording from those of this one.
    number: u64,
    began: Option<Instant>,
    /// A span takes its place when it begins, so those that enclose others are never left out for them.
    spans: Vec<Kept>,
    threads: BTreeMap<u32, String>,
    left_out: usize,
}

static ON: AtomicBool = AtomicBool::new(false);
static NEXT_THREAD: AtomicU32 = AtomicU32::new(1);
static RECORDER: Mutex<Recorder> = Mutex::new(Recorder {
    number: 0,
    began: None,
    spans: Vec::new(),
    threads: BTreeMap::new(),
    left_out: 0,
});

thread_local! {
    static THREAD: Cell<u32> = const { Cell::new(0) };
}

/// Begins a recording; one that is under way is thrown away.
pub fn start() {
    let mut recorder = lock();
    recorder.number += 1;
    recorder.began = Some(Instant::now());
    recorder.spans = Vec::new();
    recorder.threads = BTreeMap::new();
    recorder.left_out = 0;
    ON.store(true, Ordering::Relaxed);
}

/// Ends the recording. Spans that are still under way are not part of it. Empty if there was none.
pub fn stop() -> Recording {
    let mut recorder = lock();
    ON.store(false, Ordering::Relaxed);
    let wall = recorder.began.take().map_or(Duration::ZERO, |began| began.elapsed());
    let spans = std::mem::take(&mut recorder.spans).into_iter().filter_map(|kept| {
        Some(SpanRecord {
            name: kept.name,
            detail: kept.detail,
            start: kept.start,
            duration: kept.duration?,
            thread: kept.thread,
            ops: kept.ops,
        })
    });
    Recording {
        spans: spans.collect(),
        threads: std::mem::take(&mut recorder.threads),
        wall,
        left_out: std::mem::take(&mut recorder.left_out),
    }
}

/// Whether a recording is under way.
pub fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// Opens a span of `ops` arithmetic operations (0 if they are not worth counting).
///
/// ```
/// use kinora_kernels::trace;
/// trace::start();
/// {
///     let _outer = trace::span("outer", 0.0);
///     let _inner = trace::span("inner", 1e9).detail(|| "128x64".into());
/// }
/// let recording = trace::stop();
/// let [outer, inner] = &recording.spans[..] else { panic!() };
/// assert!(outer.start <= inner.start && inner.end() <= outer.end());
/// ```
pub fn span(name: &'static str, ops: f64) -> Span {
    Span {
        open: if is_on() { open(name, ops) } else { None },
        not_send: PhantomData,
    }
}

#[cold]
fn open(name: &'static str, ops: f64) -> Option<Open> {
    let thread = this_thread();
    let mut recorder = lock();
    let began = recorder.began?;
    if recorder.spans.len() >= MAX_SPANS {
        recorder.left_out += 1;
        return None;
    }
    recorder.threads.entry(thread).or_insert_with(|| {
        let current = std::thread::current();
        current.name().map_or_else(|| format!("thread {thread}"), str::to_owned)
    });
    let started = Instant::now();
    recorder.spans.push(Kept {
        name,
        detail: None,
        start: started.duration_since(began),
        duration: None,
        thread,
        ops,
    });
    Some(Open {
        place: recorder.spans.len() - 1,
        recording: recorder.number,
        started,
    })
}

impl Span {
    /// Adds what is special about this span; `detail` runs only while somebody records.
    pub fn detail(self, detail: impl FnOnce() -> String) -> Self {
        if let Some(open) = &self.open {
            let detail = detail();
            with_kept(open, |kept| kept.detail = Some(detail));
        }
        self
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            let duration = open.started.elapsed();
            with_kept(&open, |kept| kept.duration = Some(duration));
        }
    }
}

fn with_kept(open: &Open, change: impl FnOnce(&mut Kept)) {
    let mut recorder = lock();
    if recorder.number != open.recording {
        return;
    }
    if let Some(kept) = recorder.spans.get_mut(open.place) {
        change(kept);
    }
}

fn this_thread() -> u32 {
    THREAD.with(|thread| {
        if thread.get() == 0 {
            thread.set(NEXT_THREAD.fetch_add(1, Ordering::Relaxed));
        }
        thread.get()
    })
}

fn lock() -> MutexGuard<'static, Recorder> {
    // The recorder is consistent at every step, so a panic elsewhere does not spoil it.
    RECORDER.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// There is one recording in a process, and tests share the process.
    static ALONE: Mutex<()> = Mutex::new(());

    fn alone() -> MutexGuard<'static, ()> {
        ALONE.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn named(recording: &Recording, name: &str) -> Vec<SpanRecord> {
        // Operations of tests beside this one are recorded too.
        recording
            .spans
            .iter()
            .filter(|span| span.name == name)
            .cloned()
            .collect()
    }

    #[test]
    fn nothing_is_recorded_unless_asked() {
        let _alone = alone();
        let quiet = span("trace test: off", 1.0).detail(|| unreachable!("nobody reads it"));
        assert!(quiet.open.is_none());
        start();
        drop(quiet);
        assert!(named(&stop(), "trace test: off").is_empty());
        assert!(!is_on() && stop() == Recording::default());
    }

    #[test]
    fn spans_nest_and_carry_operations_detail_and_thread() {
        let _alone = alone();
        start();
        let open = span("trace test: open", 0.0);
        {
            let _outer = span("trace test: outer", 0.0);
            for i in 0..2 {
                let _inner = span("trace test: inner", 5.0).detail(|| format!("number {i}"));
                std::thread::sleep(Duration::from_millis(2));
            }
            let worker = std::thread::Builder::new().name("a worker".into());
            let handle = worker.spawn(|| drop(span("trace test: elsewhere", 0.0)));
            handle.unwrap().join().unwrap();
        }
        let recording = stop();
        drop(open);
        assert!(named(&recording, "trace test: open").is_empty(), "it had no end");
        let outer = &named(&recording, "trace test: outer")[0];
        let inner = named(&recording, "trace test: inner");
        assert_eq!(inner.len(), 2);
        for (i, inner) in inner.iter().enumerate() {
            assert_eq!(
                (inner.ops, inner.detail.as_deref()),
                (5.0, Some(["number 0", "number 1"][i]))
            );
            assert!(outer.start <= inner.start && inner.end() <= outer.end());
            assert!(inner.duration >= Duration::from_millis(2) && inner.thread == outer.thread);
        }
        assert!(inner[0].end() <= inner[1].start && outer.end() <= recording.wall);
        let elsewhere = &named(&recording, "trace test: elsewhere")[0];
        assert_ne!(elsewhere.thread, outer.thread);
        assert_eq!(recording.threads[&elsewhere.thread], "a worker");
    }

    #[test]
    fn a_span_of_an_earlier_recording_does_not_end_in_a_later_one() {
        let _alone = alone();
        start();
        let stale = span("trace test: stale", 0.0);
        start();
        let fresh = span("trace test: fresh", 0.0);
        drop(stale);
        let recording = stop();
        drop(fresh);
        assert!(named(&recording, "trace test: stale").is_empty() && named(&recording, "trace test: fresh").is_empty());
    }

    #[test]
    fn memory_is_bounded_and_what_encloses_is_kept() {
        let _alone = alone();
        start();
        {
            let _outer = span("trace test: enclosing", 0.0);
            for _ in 0..MAX_SPANS + 10 {
                drop(span("trace test: many", 0.0));
            }
        }
        let recording = stop();
        assert!(recording.spans.len() <= MAX_SPANS && recording.left_out >= 11);
        assert_eq!(named(&recording, "trace test: enclosing").len(), 1);
    }
}
