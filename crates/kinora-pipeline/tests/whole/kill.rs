//! A process that is killed outright while it makes a clip, again and again, and what the next one makes of what it left.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kinora_media::Format;
use kinora_pipeline::{
    CancelToken, Checkpoints, Event, Length, Observer, OpenOptions, Pipeline, Request, Result, Size, Stage,
};
use tempfile::TempDir;

/// Where the process that is killed works.
const FOLDER: &str = "KINORA_KILL_TEST_FOLDER";
const STEPS: u64 = 4;

/// One file for all checkpoints, as who keeps only the newest has it.
struct Newest(PathBuf);

impl Checkpoints for Newest {
    fn resume(&mut self) -> Option<PathBuf> {
        self.0.exists().then(|| self.0.clone())
    }

    fn path_for(&mut self, _: u64) -> Option<PathBuf> {
        Some(self.0.clone())
    }

    fn kept(&mut self, _: &Path, step: u64) -> Result<()> {
        println!("\nkept {step}");
        Ok(())
    }
}

struct Telling;

impl Observer for Telling {
    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Resumed { step } => println!("\nresumed {step}"),
            Event::Note(note) => println!("\nnote {note}"),
            Event::Progress {
                stage: Stage::Render,
                done,
                ..
            } => println!("\nframe {done}"),
            _ => {}
        }
    }
}

fn make(folder: &Path, output: &str) {
    let pipeline = Pipeline::open("toybox", OpenOptions::default()).unwrap();
    let mut request = Request::new("a red car", folder.join(output), Format::Mp4);
    (request.length, request.steps) = (Length::Frames(9), Some(STEPS as u32));
    request.size = Some(Size::new(384, 384).unwrap());
    let mut checkpoints = Newest(folder.join("checkpoint"));
    pipeline
        .run_resumable(&request, &mut Telling, &CancelToken::new(), &mut checkpoints)
        .unwrap();
    println!("\nended");
}

/// Measures what is written, and how long a step and a checkpoint take.
#[derive(Default)]
struct Clock {
    path: PathBuf,
    asked: Option<Instant>,
    kept: Vec<(u64, u64, Duration)>,
}

impl Checkpoints for Clock {
    fn resume(&mut self) -> Option<PathBuf> {
        None
    }

    fn path_for(&mut self, _: u64) -> Option<PathBuf> {
        self.asked = Some(Instant::now());
        Some(self.path.clone())
    }

    fn kept(&mut self, path: &Path, step: u64) -> Result<()> {
        let took = self.asked.take().unwrap().elapsed();
        self.kept.push((step, path.metadata().unwrap().len(), took));
        Ok(())
    }
}

/// `cargo test -p kinora-pipeline --test whole -- --ignored --nocapture a_checkpoint_costs`
#[test]
#[ignore = "takes a minute, and says something on an idle machine only"]
fn a_checkpoint_costs_less_than_a_tenth_of_its_step() {
    let folder = TempDir::new().unwrap();
    let pipeline = Pipeline::open("toybox", OpenOptions::default()).unwrap();
    let mut request = Request::new("a red car", folder.path().join("clip.mp4"), Format::Mp4);
    (request.steps, request.sampler) = (Some(4), Some("unipc".parse().unwrap()));
    let mut clock = Clock {
        path: folder.path().join("checkpoint"),
        ..Clock::default()
    };
    let report = pipeline
        .run_resumable(&request, &mut Telling, &CancelToken::new(), &mut clock)
        .unwrap();
    let step = Duration::from_millis(report.clips[0].timings.diffuse_ms) / 4;
    println!("a step takes {step:?}");
    for (at, bytes, took) in &clock.kept {
        println!("step {at}: {bytes} bytes in {took:?}");
        assert!(*took * 10 < step, "step {at}: {took:?} of {step:?}");
    }
    assert_eq!(clock.kept.len(), 4);
}

/// Not a test of its own: the process that is killed.
#[test]
#[ignore = "started by the test beside it"]
fn the_process() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        make(Path::new(&folder), "clip.mp4");
    }
}

/// Starts the process and reads until it says `last_words`, then kills it (unless it has ended); what it said.
fn life(folder: &Path, last_words: &str) -> Vec<String> {
    let mut child: Child = Command::new(std::env::current_exe().unwrap())
        .args(["kill::the_process", "--exact", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let is_last = line == last_words;
        said.push(line);
        if is_last {
            child.kill().unwrap();
            child.wait().unwrap();
            return said;
        }
    }
    child.wait().unwrap();
    panic!("it ended without {last_words:?}: {said:?}");
}

#[test]
fn a_killed_process_loses_nothing_that_was_kept() {
    let folder = TempDir::new().unwrap();
    let alone = TempDir::new().unwrap();
    make(alone.path(), "clip.mp4");
    let mut resumed = None;
    for last_words in ["kept 1", "kept 3", "kept 4", "frame 2", "frame 7", "ended"] {
        let said = life(folder.path(), last_words);
        let word = |start: &str| said.iter().find(|line| line.starts_with(start)).cloned();
        assert_eq!(word("note the clip is made from"), None);
        // The process may have come a little further before it died, never less far.
        let from = word("resumed ").map(|line| line["resumed ".len()..].parse::<u64>().unwrap());
        assert!(from >= resumed, "{from:?}, {resumed:?} was kept: {said:?}");
        let kept = said
            .iter()
            .filter_map(|line| line.strip_prefix("kept ")?.parse::<u64>().ok());
        resumed = kept.max().or(from);
    }
    assert_eq!(resumed, Some(STEPS), "the last lives only decoded");
    let [ours, theirs] = [&folder, &alone].map(|folder| std::fs::read(folder.path().join("clip.mp4")).unwrap());
    assert!(ours == theirs, "other bytes");
}
