//! One video: its state, and its end.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use kinora_api::{ApiError, VideoDeleted, VideoId};
use kinora_jobs::{Error as JobsError, Illegal, Job, JobId, State as JobState};

use super::{Named, answer};
use crate::answer::{Answer, Failure};
use crate::view::{job_of, outcome_of, status_of};
use crate::{App, Caller, FileRef};

/// How long a deletion waits for a worker to stop, and how often it looks.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(50);

pub(super) async fn read(State(app): State<App>, caller: Caller, Named(id): Named) -> Answer<Response> {
    let job = job_of(&app, &caller, &id).await?;
    answer(&app, &[job], &[])
}

pub(super) async fn delete(State(app): State<App>, caller: Caller, Named(id): Named) -> Answer<Json<VideoDeleted>> {
    let job = job_of(&app, &caller, &id).await?;
    let named: VideoId = job.id.0.parse().map_err(|error| Failure::internal(&error))?;
    let job = stopped(&app, &caller, job).await?;
    // Files first: a record without files can be deleted again, files without a record are found by nobody.
    for key in files_of(&job)? {
        app.files.delete(&key).await?;
    }
    // And what attempts left that did not come to an end.
    for kind in ["videos", "checkpoints", "previews"] {
        app.files.delete_all(&FileRef(format!("{kind}/{named}"))).await?;
    }
    app.with_store(move |store| store.delete(&job.id)).await?;
    Ok(Json(VideoDeleted::new(named)))
}

/// The job when nobody works on it any more.
///
/// **Errors**: 409 if its worker did not stop in time; it will, and can be deleted then.
async fn stopped(app: &App, caller: &Caller, job: Job) -> Answer<Job> {
    if job.state().is_final() {
        return Ok(job);
    }
    let id = job.id.clone();
    let mut job = app.with_store(move |store| cancelled(store, &id)).await?;
    let begun = tokio::time::Instant::now();
    while !job.state().is_final() {
        if begun.elapsed() >= PATIENCE {
            let status = status_of(&job);
            return Err(ApiError::wrong_state(&job.id.0, status.as_str(), "deleted before it has stopped").into());
        }
        tokio::time::sleep(LOOK).await;
        job = job_of(app, caller, &job.id.0).await?;
    }
    Ok(job)
}

/// Asks for the end of a job; one that ended meanwhile is fine too.
fn cancelled(store: &dyn kinora_jobs::Store, id: &JobId) -> kinora_jobs::Result<Job> {
    match store.cancel(id) {
        Err(JobsError::Illegal {
            reason:
                Illegal::Finished { .. }
                | Illegal::State {
                    state: JobState::Succeeded | JobState::Failed | JobState::Cancelled,
                    ..
                },
            ..
        }) => store.get(id),
        answer => answer,
    }
}

/// What the job has made. Uploads stay: other jobs may have the same.
fn files_of(job: &Job) -> Answer<Vec<FileRef>> {
    let mut keys = Vec::new();
    if let Some(outcome) = outcome_of(job)? {
        let files = outcome.files;
        keys.extend([files.video, files.thumbnail, files.spritesheet]);
        keys.extend(files.latents);
        keys.extend(files.others.into_values());
    }
    keys.extend(
        job.checkpoint
            .iter()
            .map(|checkpoint| FileRef(checkpoint.reference.clone())),
    );
    Ok(keys)
}
