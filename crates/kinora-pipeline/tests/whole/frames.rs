//! Frames for a caller who wants no file, on the embedded model.

use kinora_media::{Format, Frame};
use kinora_pipeline::{CancelToken, Length, OpenOptions, Pipeline, PrecisionChoice, Request, RunReport};
use tempfile::TempDir;

use crate::Taker;

#[test]
fn frames_come_without_a_file_and_are_those_of_the_file() {
    let folder = TempDir::new().unwrap();
    let options = OpenOptions {
        precision: PrecisionChoice::F32,
        max_memory_bytes: None,
        ..OpenOptions::default()
    };
    let pipeline = Pipeline::open("toybox", options).unwrap();
    let run = |frames_only| -> (Vec<Frame>, RunReport) {
        let mut request = Request::new("a red car", folder.path().join("car.png"), Format::Png);
        (request.length, request.steps) = (Length::Frames(1), Some(1));
        (request.overwrite, request.frames_only) = (false, frames_only);
        let mut taker = Taker::default();
        let report = pipeline.run(&request, &mut taker, &CancelToken::new()).unwrap();
        (taker.0, report)
    };
    let (frames, report) = run(true);
    assert_eq!(frames.len(), 1);
    assert!(report.clips[0].outputs.is_empty());
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        0,
        "nothing is written"
    );
    let (with_file, report) = run(false);
    assert_eq!(with_file, frames);
    let path = &report.clips[0].outputs[0].path;
    let read = kinora_media::read_image(path, &kinora_media::Limits::default()).unwrap();
    assert_eq!(read.frame, frames[0]);
    // A file that is in the way is in nobody's way when none is written.
    assert_eq!(run(true).0, frames);
}
