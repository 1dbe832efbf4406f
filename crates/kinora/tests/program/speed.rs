//! Precision, memory and profile, from the command line.

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Run, kinora, names_in};

/// A picture in one step: the smallest run that goes all the way.
const STILL: [&str; 10] = [
    "generate", "a fox", "--frames", "1", "--steps", "1", "--seed", "3", "-o", "fox.png",
];

fn still(folder: &TempDir, more: &[&str]) -> Run {
    kinora(folder.path(), &[&STILL[..], more].concat())
}

#[test]
fn the_plan_comes_first_and_the_file_repeats_its_precision() {
    let folder = TempDir::new().unwrap();
    let run = still(
        &folder,
        &[
            "--precision",
            "bf16",
            "--max-memory",
            "8GB",
            "--threads",
            "1",
            "--guidance",
            "5",
            "--json",
        ],
    )
    .expect_code(0);
    let first = run.stderr.lines().next().unwrap();
    let expected = "plan    bf16 (asked for), guidance batched, peak memory about ";
    assert!(first.starts_with(expected), "{first}");
    assert!(first.contains(" of 8.0 GB (--max-memory), 1 thread, "), "{first}");
    let report = run.json();
    let (plan, recipe) = (&report["plan"], &report["clips"][0]["recipe"]);
    assert_eq!(
        (&plan["precision"], &recipe["precision"]),
        (&"bf16".into(), &"bf16".into())
    );
    assert_eq!(plan["memory"]["limit"]["from"], "request");
    let inspected = kinora(folder.path(), &["inspect", "fox.png"]).expect_code(0).text();
    assert!(inspected.contains(" --precision bf16"), "{inspected}");
}

#[test]
fn auto_says_why() {
    let folder = TempDir::new().unwrap();
    let run = still(&folder, &["--json"]).expect_code(0);
    let plan = &run.json()["plan"];
    let precision = plan["precision"].as_str().unwrap();
    assert!(["f32", "int8"].contains(&precision), "{plan}");
    assert!(
        run.stderr
            .starts_with(&format!("plan    {precision} (auto: the processor has ")),
        "{}",
        run.stderr
    );
}

#[test]
fn what_does_not_fit_is_refused_before_it_starts() {
    let folder = TempDir::new().unwrap();
    let run = still(&folder, &["--precision", "f32", "--max-memory", "200MB"]).expect_refusal(6, "--max-memory");
    assert!(run.stderr.contains("200 MB allowed by --max-memory"), "{}", run.stderr);
    assert_eq!(names_in(folder.path()), [""; 0]);
}

#[test]
fn a_profile_is_a_trace_with_nested_events_and_a_table() {
    let folder = TempDir::new().unwrap();
    let run = still(&folder, &["--profile", "trace.json"]).expect_code(0);
    assert_eq!(names_in(folder.path()), ["fox.png", "trace.json"]);
    let text = std::fs::read_to_string(folder.path().join("trace.json")).unwrap();
    let trace: Value = serde_json::from_str(&text).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    assert!(
        events
            .iter()
            .any(|event| event["ph"] == "M" && event["name"] == "thread_name")
    );
    let spans: Vec<Span> = events.iter().filter(|event| event["ph"] == "X").map(Span::of).collect();
    for name in [
        "load",
        "parse",
        "map",
        "embed text",
        "diffuse",
        "step",
        "render",
        "decode",
        "write frame",
    ] {
        assert!(spans.iter().any(|span| span.name == name), "no span {name}");
    }
    for (i, a) in spans.iter().enumerate() {
        for b in spans[..i].iter().filter(|b| b.thread == a.thread) {
            let apart = a.end <= b.start || b.end <= a.start;
            assert!(apart || a.is_inside(b) || b.is_inside(a), "{a:?} cuts {b:?}");
        }
    }
    for (inner, outer) in [("step", "diffuse"), ("decode", "render"), ("embed text", "map")] {
        let is = |name: &'static str| move |span: &&Span| span.name == name;
        let outer = spans.iter().find(is(outer)).unwrap();
        assert!(
            spans.iter().filter(is(inner)).all(|span| span.is_inside(outer)),
            "{inner}"
        );
    }
    let table = run.stderr.split_once(" s went ").unwrap().1;
    for name in ["\nstep ", "\ndecode ", "\nload ", "\nthe rest "] {
        assert!(table.contains(name), "{name:?}: {table}");
    }
    assert!(table.contains("calls  total ms") && table.contains(" %"), "{table}");
}

#[test]
fn a_profile_that_cannot_be_written_is_found_before_the_work() {
    let folder = TempDir::new().unwrap();
    let run = still(&folder, &["--profile", "missing/trace.json"]).expect_refusal(5, "missing/trace.json");
    assert!(!run.stderr.contains("diffuse"), "{}", run.stderr);
    std::fs::write(folder.path().join("trace.json"), "precious").unwrap();
    still(&folder, &["--profile", "trace.json"]).expect_refusal(5, "--overwrite");
    assert_eq!(names_in(folder.path()), ["trace.json"]);
}

#[derive(Debug)]
struct Span {
    name: String,
    thread: u64,
    start: f64,
    end: f64,
}

impl Span {
    fn of(event: &Value) -> Self {
        let number = |key: &str| event[key].as_f64().unwrap();
        Self {
            name: event["name"].as_str().unwrap().to_owned(),
            thread: event["tid"].as_u64().unwrap(),
            start: number("ts"),
            end: number("ts") + number("dur"),
        }
    }

    /// Up to the rounding of a sum.
    fn is_inside(&self, outer: &Self) -> bool {
        outer.start <= self.start + 1e-3 && self.end <= outer.end + 1e-3
    }
}
