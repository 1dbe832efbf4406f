//! A record of jobs, files and small work for the tests of the runner.

#![allow(dead_code)] // each test file uses some of it

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use kinora_api::{Options, Seconds, Size, VideoId};
use kinora_jobs::{Job, JobId, SqliteStore, Store, Submission, SystemClock, Worker, WorkerOptions};
use kinora_server::{Files, Model, Outcome, RunnerParts, Task, VideoRunner, Work, outcome_of};

/// What a small video is asked with.
pub const STEPS: u32 = 4;
pub const FRAMES: u32 = 9;

pub fn work(task: Task) -> Work {
    Work {
        version: Work::VERSION,
        task,
        prompt: "a red car drives through the desert".into(),
        model: "sora-2".into(),
        engine: "toybox".into(),
        size: Size::new(128, 96),
        seconds: Seconds::from_ms(750),
        num_frames: Some(FRAMES),
        seed: 7,
        options: Options {
            steps: Some(STEPS),
            ..Options::default()
        },
        remixed_from: None,
        traceparent: None,
        sources: Default::default(),
    }
}

pub fn create() -> Work {
    work(Task::Create {
        image: None,
        characters: Vec::new(),
    })
}

pub fn open(jobs: &Path) -> Arc<SqliteStore> {
    Arc::new(SqliteStore::open(jobs, Arc::new(SystemClock::new())).unwrap())
}

pub struct Bench {
    pub folder: tempfile::TempDir,
    pub store: Arc<SqliteStore>,
    pub files: Files,
    pub runtime: tokio::runtime::Runtime,
    pub runner: VideoRunner,
}

impl Bench {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::in_folder(&folder.path().join("files")).unwrap();
        Self::with(folder, files)
    }

    pub fn with(folder: tempfile::TempDir, files: Files) -> Self {
        let store = open(&folder.path().join("jobs.db"));
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let runner = VideoRunner::new(RunnerParts {
            files: files.clone(),
            runtime: runtime.handle().clone(),
            models: vec![Model::find("toybox").unwrap()],
            max_memory_bytes: None,
        });
        Self {
            runner: runner.unwrap(),
            folder,
            store,
            files,
            runtime,
        }
    }

    /// Submits as the server does: with the files of the videos that the work starts from.
    pub fn submit(&self, work: &Work) -> JobId {
        let mut work = work.clone();
        for id in work.task.videos().into_iter().cloned().collect::<Vec<_>>() {
            if let Ok(job) = self.store.get(&JobId(id.to_string())) {
                work.sources.insert(id.to_string(), outcome(&job).files);
            }
        }
        submit(&*self.store, &work)
    }

    /// Does the next job.
    pub fn work(&self) -> Job {
        let clock = SystemClock::new();
        let worker = Worker {
            store: &*self.store,
            runner: &self.runner,
            clock: &clock,
            options: WorkerOptions {
                retry_delay: Duration::from_millis(1),
                retry_delay_max: Duration::from_millis(1),
                ..WorkerOptions::default()
            },
        };
        let worked = worker.run_one(&AtomicBool::new(false)).unwrap().unwrap();
        self.store.get(&worked.job).unwrap()
    }

    /// Makes a video.
    pub fn make(&self, work: &Work) -> (VideoId, Outcome) {
        let id = self.submit(work);
        let job = self.work();
        assert_eq!(job.id, id);
        (id.0.parse().unwrap(), outcome(&job))
    }

    /// The keys of all files, in order.
    pub fn keys(&self) -> Vec<String> {
        let listed = self.runtime.block_on(self.files.list(None)).unwrap();
        let mut keys: Vec<String> = listed.into_iter().map(|file| file.key.0).collect();
        keys.sort();
        keys
    }

    pub fn path(&self, key: &kinora_server::FileRef) -> PathBuf {
        self.files.local_path(key).unwrap()
    }
}

#[track_caller]
pub fn outcome(job: &Job) -> Outcome {
    let result = job
        .result
        .as_ref()
        .unwrap_or_else(|| panic!("{:?} {:?}", job.state(), job.error));
    outcome_of(result).unwrap()
}

pub fn submit(store: &dyn Store, work: &Work) -> JobId {
    let request = serde_json::to_value(work).unwrap();
    let mut submission = Submission::new("p", "k", &format!("video/{}", work.engine), request);
    let mut random = [0; kinora_api::RANDOM_BYTES];
    getrandom::fill(&mut random).unwrap();
    let id = VideoId::new(1_800_000_000, random);
    submission.id = Some(JobId(id.to_string()));
    store.submit(&submission).unwrap().job.id
}
