//! Precision, memory and threads, on the embedded model: what a run promises before it starts, and what it keeps.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a helper that fails fails its test

use std::sync::{Mutex, MutexGuard, PoisonError};

use kinora_media::Format;
use kinora_pipeline::{
    CancelToken, Error, ErrorKind, Event, GuidanceMode, Length, Observer, OpenOptions, Pipeline, PrecisionChoice,
    Request, RunPlan, RunReport, Silent, read_recipe,
};
use tempfile::TempDir;

/// The number of threads belongs to the process, and tests share it.
static THREADS: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    THREADS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open(precision: PrecisionChoice, max_memory_bytes: Option<u64>) -> Result<Pipeline, Error> {
    Pipeline::open(
        "toybox",
        OpenOptions {
            precision,
            max_memory_bytes,
            ..OpenOptions::default()
        },
    )
}

/// A clip as small as they get, in `folder`.
fn request(folder: &TempDir) -> Request {
    let mut request = Request::new("a red car", folder.path().join("car.mp4"), Format::Mp4);
    request.length = Length::Frames(5);
    request.steps = Some(2);
    request.seed = 11;
    request.guidance_scale = Some(5.0);
    request
}

fn run(pipeline: &Pipeline, folder: &TempDir) -> RunReport {
    pipeline
        .run(&request(folder), &mut Silent, &CancelToken::new())
        .unwrap()
}

fn hash(report: &RunReport) -> String {
    report.clips[0].outputs[0].sha256.clone()
}

#[test]
fn threads_do_not_change_a_byte() {
    let _alone = alone();
    let folder = TempDir::new().unwrap();
    let before = kinora_kernels::threads();
    let mut hashes = Vec::new();
    for precision in [PrecisionChoice::F32, PrecisionChoice::Int8] {
        let pipeline = open(precision, None).unwrap();
        let with = |threads| {
            kinora_kernels::set_threads(threads).unwrap();
            let report = run(&pipeline, &folder);
            assert_eq!(report.threads, threads);
            hash(&report)
        };
        let two = with(2);
        assert_eq!(two, with(2), "{precision:?}: the same threads");
        assert_eq!(two, with(1), "{precision:?}: fewer threads");
        hashes.push(two);
    }
    kinora_kernels::set_threads(before).unwrap();
    assert_ne!(hashes[0], hashes[1], "int8 rounds");
}

#[test]
fn the_precision_is_in_the_file_and_in_the_report() {
    let _alone = alone();
    let folder = TempDir::new().unwrap();
    for (choice, name) in [
        (PrecisionChoice::F32, "f32"),
        (PrecisionChoice::Bf16, "bf16"),
        (PrecisionChoice::Int8, "int8"),
    ] {
        let pipeline = open(choice, None).unwrap();
        assert_eq!(pipeline.precision().name(), name);
        let report = run(&pipeline, &folder);
        let plan = report.plan.unwrap();
        assert_eq!(
            (plan.precision.as_str(), plan.precision_reason.as_str()),
            (name, "asked for")
        );
        let recipe = read_recipe(&folder.path().join("car.mp4")).unwrap().unwrap();
        assert_eq!((recipe.precision.as_str(), &recipe), (name, &report.clips[0].recipe));
    }
}

/// Keeps the plan, and what came before it.
#[derive(Default)]
struct Planned {
    events_before: usize,
    plan: Option<RunPlan>,
}

impl Observer for Planned {
    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Planned(plan) => self.plan = Some((*plan).clone()),
            _ if self.plan.is_none() => self.events_before += 1,
            _ => {}
        }
    }
}

fn planned(limit: Option<u64>) -> RunPlan {
    let folder = TempDir::new().unwrap();
    let pipeline = open(PrecisionChoice::Int8, limit).unwrap();
    let mut observer = Planned::default();
    let cancel = CancelToken::new();
    cancel.cancel();
    // Stopped at its first step: the plan is all that is wanted.
    let mut whole = request(&folder);
    whole.length = Length::Default;
    let report = pipeline.run(&whole, &mut observer, &cancel).unwrap();
    assert!(report.cancelled.is_some() && observer.events_before == 0);
    assert_eq!(report.plan, observer.plan);
    observer.plan.unwrap()
}

#[test]
fn a_plan_stays_within_the_limit_and_what_cannot_be_is_refused() {
    let _alone = alone();
    let free = planned(Some(64 << 30));
    assert_eq!(free.memory.guidance, GuidanceMode::Batched, "{free:?}");
    // Some air, because the process grows a little with each model that it has held.
    let limit = free.memory.peak_bytes / 4 * 5;
    let tight = planned(Some(limit));
    assert!(tight.memory.peak_bytes <= limit, "{tight:?}");

    let folder = TempDir::new().unwrap();
    let refused = open(PrecisionChoice::F32, Some(150_000_000)).map(drop).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Memory);
    let text = refused.to_string();
    assert!(
        text.contains("150 MB allowed by --max-memory") && text.contains("--precision int8 needs less"),
        "{text}"
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
