//! A disk that is full: no attempt leaves anything half, and the job goes on when there is space again.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use kinora_api::{Options, Seconds, Size};
use kinora_jobs::{SqliteStore, State, Store, Submission, SystemClock, Worker, WorkerOptions};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result as Stored,
};

use super::*;
use crate::work::Task;

/// A place that takes files below some prefix only while it has space.
#[derive(Debug, Default)]
struct Disk {
    inner: InMemory,
    is_full: AtomicBool,
    refused: AtomicU32,
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a disk")
    }
}

impl Disk {
    fn check(&self, location: &Path) -> Stored<()> {
        if self.is_full.load(Ordering::SeqCst) && location.as_ref().starts_with("videos/") {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Err(object_store::Error::Generic {
                store: "disk",
                source: Box::new(std::io::Error::from(std::io::ErrorKind::StorageFull)),
            });
        }
        Ok(())
    }
}

#[async_trait]
impl ObjectStore for Disk {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Stored<PutResult> {
        self.check(location)?;
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Stored<Box<dyn MultipartUpload>> {
        self.check(location)?;
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Stored<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Stored<Path>>) -> BoxStream<'static, Stored<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Stored<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Stored<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Stored<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

fn work() -> Work {
    Work {
        version: Work::VERSION,
        task: Task::Create {
            image: None,
            characters: Vec::new(),
        },
        prompt: "a red car".into(),
        model: "toybox".into(),
        engine: "toybox".into(),
        size: Size::new(96, 64),
        seconds: Seconds::from_ms(500),
        num_frames: Some(5),
        seed: 3,
        options: Options {
            steps: Some(2),
            ..Options::default()
        },
        remixed_from: None,
        traceparent: None,
        sources: Default::default(),
    }
}

#[test]
fn a_full_disk_fails_attempts_and_loses_no_job() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(&folder.path().join("jobs.db"), Arc::new(SystemClock::new())).unwrap());
    let disk = Arc::new(Disk::default());
    let files = Files::of(disk.clone());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let runner = VideoRunner::new(RunnerParts {
        files: files.clone(),
        runtime: runtime.handle().clone(),
        models: vec![Model::find("toybox").unwrap()],
        max_memory_bytes: None,
    })
    .unwrap();
    let worker = Worker {
        store: &*store,
        runner: &runner,
        clock: &SystemClock::new(),
        options: WorkerOptions {
            retry_delay: Duration::ZERO,
            retry_delay_max: Duration::ZERO,
            ..WorkerOptions::default()
        },
    };
    let request = serde_json::to_value(work()).unwrap();
    let id = store
        .submit(&Submission::new("p", "k", "video/toybox", request))
        .unwrap()
        .job
        .id;
    let shutdown = AtomicBool::new(false);
    disk.is_full.store(true, Ordering::SeqCst);
    worker.run_one(&shutdown).unwrap();
    let job = store.get(&id).unwrap();
    assert_eq!(
        (job.state(), job.error.unwrap().message.as_str()),
        (State::Queued, "The disk of the server is full.")
    );
    assert!(disk.refused.load(Ordering::SeqCst) > 0 && job.checkpoint.is_some());
    let videos = runtime.block_on(files.list(Some(&FileRef("videos".into())))).unwrap();
    assert!(videos.is_empty(), "{videos:?}");

    disk.is_full.store(false, Ordering::SeqCst);
    worker.run_one(&shutdown).unwrap();
    let job = store.get(&id).unwrap();
    assert_eq!(job.state(), State::Succeeded, "{:?}", job.error);
    // The second attempt had nothing to denoise any more.
    let outcome = outcome_of(job.result.as_ref().unwrap()).unwrap();
    assert!(outcome.files.video.0.ends_with("/2/video.mp4"), "{outcome:?}");
}
