//! Where the time of a run went: a recording of [`kinora_kernels::trace`] as a Chrome trace, and as a table.

use std::collections::BTreeMap;
use std::time::Duration;

use kinora_kernels::trace::{Recording, SpanRecord};
use serde::Serialize;

/// All spans of one name.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// What was done.
    pub name: &'static str,
    /// How often.
    pub calls: usize,
    /// How long, with everything that was done inside.
    pub total: Duration,
    /// How long, without what has a row of its own.
    pub own: Duration,
    /// Arithmetic operations, where they were counted.
    pub ops: f64,
}

impl Row {
    /// Billions of operations a second; `None` where they were not counted.
    pub fn rate(&self) -> Option<f64> {
        let seconds = self.total.as_secs_f64();
        (self.ops > 0.0 && seconds > 0.0).then(|| self.ops / seconds / 1e9)
    }

    /// The own time as a share of `wall`, 0 to 1. Spans of several threads together may come to more than 1.
    pub fn share_of(&self, wall: Duration) -> f64 {
        self.own.as_secs_f64() / wall.as_secs_f64().max(1e-9)
    }
}

/// One row for each name, the one with the most time of its own first.
pub fn rows(recording: &Recording) -> Vec<Row> {
    let mut rows: BTreeMap<&'static str, Row> = BTreeMap::new();
    for (span, own) in recording.spans.iter().zip(own_times(&recording.spans)) {
        let row = rows.entry(span.name).or_insert(Row {
            name: span.name,
            calls: 0,
            total: Duration::ZERO,
            own: Duration::ZERO,
            ops: 0.0,
        });
        row.calls += 1;
        row.total += span.duration;
        row.own += own;
        row.ops += span.ops;
    }
    let mut rows: Vec<Row> = rows.into_values().collect();
    rows.sort_by(|a, b| b.own.cmp(&a.own).then(a.name.cmp(b.name)));
    rows
}

/// Time of the recording in which the thread of its first span was inside of no span.
pub fn outside(recording: &Recording) -> Duration {
    let Some(thread) = recording.spans.first().map(|span| span.thread) else {
        return recording.wall;
    };
    let mut covered = Duration::ZERO;
    let mut until = Duration::ZERO;
    // In the order in which they began, so a span that ends before `until` lies in another one.
    for span in recording.spans.iter().filter(|span| span.thread == thread) {
        if span.end() > until {
            covered += span.duration;
            until = span.end();
        }
    }
    recording.wall.saturating_sub(covered)
}

/// The duration of each span without that of the spans directly inside of it.
fn own_times(spans: &[SpanRecord]) -> Vec<Duration> {
    let mut own: Vec<Duration> = spans.iter().map(|span| span.duration).collect();
    let mut open: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (place, span) in spans.iter().enumerate() {
        let stack = open.entry(span.thread).or_default();
        while stack.last().is_some_and(|&outer| spans[outer].end() <= span.start) {
            stack.pop();
        }
        if let Some(&outer) = stack.last() {
            own[outer] = own[outer].saturating_sub(span.duration);
        }
        stack.push(place);
    }
    own
}

/// The recording in the trace event format that Chrome (`chrome://tracing`) and Perfetto (`ui.perfetto.dev`) open: one
/// complete event for each span, times in microseconds, and the names of process and threads.
///
/// **Source**: "Trace Event Format", the Chromium project.
pub fn chrome_trace(recording: &Recording) -> ChromeTrace<'_> {
    let name = |event: &'static str, thread: u32, name: &'static str, value: &str| TraceEvent {
        name: event,
        category: "__metadata",
        phase: "M",
        pid: PROCESS,
        tid: thread,
        start_us: 0.0,
        duration_us: None,
        args: [(name, serde_json::Value::from(value))].into(),
    };
    let threads = recording.threads.iter();
    let named = std::iter::once(name("process_name", 0, "name", "kinora"))
        .chain(threads.map(|(&thread, label)| name("thread_name", thread, "name", label)));
    ChromeTrace {
        trace_events: named.chain(recording.spans.iter().map(complete_event)).collect(),
        display_time_unit: "ms",
        other_data: [("spans_left_out", recording.left_out.into())].into(),
    }
}

/// There is one process in a trace.
const PROCESS: u32 = 1;

/// What [`chrome_trace`] gives; it is made to be written as JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChromeTrace<'a> {
    trace_events: Vec<TraceEvent<'a>>,
    display_time_unit: &'static str,
    other_data: BTreeMap<&'static str, serde_json::Value>,
}

#[derive(Debug, Serialize)]
struct TraceEvent<'a> {
    name: &'a str,
    #[serde(rename = "cat")]
    category: &'static str,
    #[serde(rename = "ph")]
    phase: &'static str,
    pid: u32,
    tid: u32,
    #[serde(rename = "ts")]
    start_us: f64,
    #[serde(rename = "dur", skip_serializing_if = "Option::is_none")]
    duration_us: Option<f64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    args: BTreeMap<&'static str, serde_json::Value>,
}

fn complete_event(span: &SpanRecord) -> TraceEvent<'_> {
    let mut args = BTreeMap::new();
    if let Some(detail) = &span.detail {
        args.insert("detail", detail.as_str().into());
    }
    if span.ops > 0.0 {
        args.insert("GFLOP", (span.ops / 1e9).into());
        let seconds = span.duration.as_secs_f64();
        if seconds > 0.0 {
            args.insert("GFLOP/s", (span.ops / 1e9 / seconds).into());
        }
    }
    TraceEvent {
        name: span.name,
        category: "kinora",
        phase: "X",
        pid: PROCESS,
        tid: span.thread,
        start_us: micros(span.start),
        duration_us: Some(micros(span.duration)),
        args,
    }
}

fn micros(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(name: &'static str, start_ms: u64, duration_ms: u64, thread: u32, ops: f64) -> SpanRecord {
        SpanRecord {
            name,
            detail: None,
            start: Duration::from_millis(start_ms),
            duration: Duration::from_millis(duration_ms),
            thread,
            ops,
        }
    }

    fn recording() -> Recording {
        Recording {
            spans: vec![
                span("load", 0, 10, 1, 0.0),
                span("diffuse", 10, 70, 1, 0.0),
                span("step", 12, 30, 1, 0.0),
                span("linear", 13, 20, 1, 4e9),
                span("elsewhere", 20, 50, 2, 0.0),
                span("step", 42, 30, 1, 0.0),
                span("linear", 42, 30, 1, 6e9),
            ],
            threads: [(1, "main".to_owned()), (2, "a worker".to_owned())].into(),
            wall: Duration::from_millis(100),
            left_out: 0,
        }
    }

    #[test]
    fn time_counts_for_the_innermost_span() {
        let recording = recording();
        let of = |row: &Row| (row.name, row.calls, row.total.as_millis(), row.own.as_millis());
        assert_eq!(
            rows(&recording).iter().map(of).collect::<Vec<_>>(),
            [
                ("elsewhere", 1, 50, 50),
                ("linear", 2, 50, 50),
                ("diffuse", 1, 70, 10),
                ("load", 1, 10, 10),
                ("step", 2, 60, 10),
            ]
        );
        assert_eq!(outside(&recording), Duration::from_millis(20));
        let own: Duration = rows(&recording)
            .iter()
            .filter(|row| row.name != "elsewhere")
            .map(|row| row.own)
            .sum();
        assert_eq!(
            own + outside(&recording),
            recording.wall,
            "nothing is counted twice or lost"
        );
        let linear = &rows(&recording)[1];
        assert!((linear.rate().unwrap() - 200.0).abs() < 1e-9 && (linear.share_of(recording.wall) - 0.5).abs() < 1e-9);
        assert_eq!(rows(&recording)[0].rate(), None);
    }

    #[test]
    fn an_empty_recording_is_all_outside() {
        let wall = Duration::from_millis(5);
        let empty = Recording {
            wall,
            ..Recording::default()
        };
        assert_eq!((rows(&empty), outside(&empty)), (Vec::new(), wall));
    }

    #[test]
    fn a_trace_names_its_threads_and_carries_rates() {
        let json = serde_json::to_value(chrome_trace(&recording())).unwrap();
        let events = json["traceEvents"].as_array().unwrap();
        let of_phase = |phase: &str| events.iter().filter(|event| event["ph"] == phase).collect::<Vec<_>>();
        let named: Vec<_> = of_phase("M")
            .iter()
            .map(|event| event["args"]["name"].clone())
            .collect();
        assert_eq!(named, ["kinora", "main", "a worker"]);
        let complete = of_phase("X");
        assert_eq!(complete.len(), 7);
        let linear = complete[3];
        assert_eq!(
            (&linear["ts"], &linear["dur"], &linear["tid"]),
            (&13_000.0.into(), &20_000.0.into(), &1.into())
        );
        assert_eq!(
            (&linear["args"]["GFLOP"], &linear["args"]["GFLOP/s"]),
            (&4.0.into(), &200.0.into())
        );
        assert!(complete[0].get("args").is_none());
    }
}
