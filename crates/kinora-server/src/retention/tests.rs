//! What is deleted, and above all what is not.

use std::sync::Arc;

use kinora_api::Rules;
use kinora_jobs::{Claim, Failure, ManualClock, Retry, SqliteStore, Submission};
use serde_json::json;

use super::*;
use crate::{Config, Files};

struct Bench {
    app: App,
    clock: Arc<ManualClock>,
    folder: tempfile::TempDir,
}

const NOW: i64 = 4_000_000_000_000;
const LEASE: Duration = Duration::from_secs(30);

fn bench() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(Timestamp(NOW)));
    let store = SqliteStore::open(&folder.path().join("jobs.db"), clock.clone()).unwrap();
    let files = Files::in_folder(&folder.path().join("files")).unwrap();
    let config = Config::new(([127, 0, 0, 1], 0).into(), folder.path().to_owned());
    let app = App::new(config, Arc::new(store), clock.clone(), files, Rules::sora());
    Bench { app, clock, folder }
}

impl Bench {
    async fn put(&self, keys: &[String]) {
        for key in keys {
            self.app.files.write(&FileRef(key.clone()), "x".into()).await.unwrap();
        }
    }

    async fn left(&self) -> Vec<String> {
        let mut keys: Vec<String> = self
            .app
            .files
            .list(None)
            .await
            .unwrap()
            .into_iter()
            .map(|file| file.key.0)
            .collect();
        keys.sort();
        keys
    }

    fn submit(&self, request: Value) -> JobId {
        let mut submission = Submission::new("p", "k", "video/toybox", request);
        submission.retain = Some(Duration::from_secs(100));
        self.app.store.submit(&submission).unwrap().job.id
    }

    fn claim(&self) -> Job {
        let claim = Claim {
            worker: "w".into(),
            kinds: Vec::new(),
            lease: LEASE,
        };
        self.app.store.claim(&claim).unwrap().unwrap()
    }
}

/// The files of a job that two claims have worked on.
fn files_of(id: &JobId) -> Vec<String> {
    let keys = [
        "videos/ID/1/video.mp4",
        "videos/ID/2/video.mp4",
        "checkpoints/ID/1-3.safetensors",
    ];
    let more = [
        "checkpoints/ID/2-4.safetensors",
        "previews/ID/1-3.webp",
        "previews/ID/2-5.webp",
    ];
    keys.iter().chain(&more).map(|key| key.replace("ID", &id.0)).collect()
}

#[tokio::test]
async fn a_running_job_keeps_what_it_needs_and_an_ended_one_its_video() {
    let bench = bench();
    let store = &bench.app.store;
    let id = bench.submit(json!({}));
    let first = bench.claim();
    store
        .checkpoint(&first.ticket(), &format!("checkpoints/{id}/1-3.safetensors"), 3, LEASE)
        .unwrap();
    bench.clock.advance(LEASE * 2);
    store.reap(10).unwrap();
    let second = bench.claim();
    bench.put(&files_of(&id)).await;
    sweep(&bench.app).await.unwrap();
    let [made, kept, next, preview] = [1, 2, 3, 5].map(|index| files_of(&id)[index].clone());
    assert_eq!(
        bench.left().await,
        [kept, next, preview, made.clone()],
        "a claim goes on from 1-3"
    );

    store
        .succeed(&second.ticket(), &json!({ "files": { "video": made } }))
        .unwrap();
    bench.put(&files_of(&id)).await;
    let swept = sweep(&bench.app).await.unwrap();
    assert_eq!((bench.left().await, swept.orphans), (vec![made], 3));

    assert_eq!(delete_expired(&bench.app).await.unwrap(), 0, "its time is not up");
    bench.clock.advance(Duration::from_secs(101));
    assert_eq!(delete_expired(&bench.app).await.unwrap(), 1);
    assert!(bench.left().await.is_empty());
    let job = store.get(&id).unwrap();
    assert!(job.purged_at.is_some() && job.result.is_none());
    assert_eq!(delete_expired(&bench.app).await.unwrap(), 0);
}

#[tokio::test]
async fn a_failed_job_keeps_its_checkpoint_for_a_day_and_a_deleted_one_nothing() {
    let bench = bench();
    let store = &bench.app.store;
    let id = bench.submit(json!({}));
    let job = bench.claim();
    let kept = format!("checkpoints/{id}/1-3.safetensors");
    store.checkpoint(&job.ticket(), &kept, 3, LEASE).unwrap();
    store
        .fail(&job.ticket(), &Failure::new("x", "y"), Retry::Never)
        .unwrap();
    let of_first: Vec<String> = files_of(&id).into_iter().filter(|key| !key.contains("/2")).collect();
    bench.put(&of_first).await;
    sweep(&bench.app).await.unwrap();
    assert_eq!(bench.left().await, [kept]);
    bench.clock.advance(DAY * 2);
    sweep(&bench.app).await.unwrap();
    assert!(bench.left().await.is_empty());

    bench.put(&files_of(&id)).await;
    store.delete(&id).unwrap();
    sweep(&bench.app).await.unwrap();
    assert!(bench.left().await.is_empty());
}

#[tokio::test]
async fn uploads_that_a_job_names_stay() {
    let bench = bench();
    bench.submit(json!({ "task": { "kind": "create", "image": "uploads/used" } }));
    let keys = [
        "uploads/used",
        "uploads/lost",
        "records/keys/a.json",
        "characters/p/char_1/picture.png",
    ];
    bench.put(&keys.map(str::to_owned)).await;
    // The files are of today, and the clock of the test says that this is long ago.
    let swept = sweep(&bench.app).await.unwrap();
    assert_eq!(swept.uploads, 1);
    let mut expected = vec![keys[3], keys[2], keys[0]];
    expected.sort_unstable();
    assert_eq!(bench.left().await, expected);
}

#[tokio::test]
async fn half_written_files_go_when_they_are_old() {
    let bench = bench();
    let folder = bench.folder.path().join("files/videos");
    std::fs::create_dir_all(&folder).unwrap();
    let (old, new) = (folder.join(".kinora-1-0.part"), folder.join(".kinora-1-1.part"));
    for path in [&old, &new] {
        std::fs::write(path, "x").unwrap();
    }
    let long_ago = std::time::SystemTime::now() - DAY * 2;
    std::fs::File::options()
        .write(true)
        .open(&old)
        .unwrap()
        .set_modified(long_ago)
        .unwrap();
    assert_eq!(bench.app.files.delete_half_written(DAY).await.unwrap(), 1);
    assert!(!old.exists() && new.exists());
}
