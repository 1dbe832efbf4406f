//! From typed work to a job: the one place where the server puts something into the queue.

use axum::http::HeaderMap;
use kinora_api::{IDEMPOTENCY_KEY, RANDOM_BYTES, VideoId};
use kinora_jobs::{Job, JobId, Submission};

use crate::answer::{Answer, Failure};
use crate::view::unix_seconds;
use crate::work::Work;
use crate::{App, Caller};

/// Submits `work` for `caller`. The same `Idempotency-Key` with the same work is the same job.
///
/// **Errors**: 422 for a key that came with other work, 429 for too many jobs, 503, 507.
pub(crate) async fn submit(app: &App, caller: &Caller, headers: &HeaderMap, work: Work) -> Answer<Job> {
    let kind = format!("video/{}", work.engine);
    let request = serde_json::to_value(&work).map_err(|error| Failure::internal(&error))?;
    let mut submission = Submission::new(&caller.project, &caller.key, &kind, request);
    submission.id = Some(JobId(new_video_id(app)?.to_string()));
    submission.retain = app.config.keep;
    let key = headers.get(IDEMPOTENCY_KEY).and_then(|value| value.to_str().ok());
    submission.idempotency_key = key.map(str::to_owned);
    let submitted = app.with_store(move |store| store.submit(&submission)).await?;
    Ok(submitted.job)
}

/// A new id that nobody can guess.
fn new_video_id(app: &App) -> Answer<VideoId> {
    let mut random = [0; RANDOM_BYTES];
    getrandom::fill(&mut random).map_err(|error| Failure::internal(&error))?;
    Ok(VideoId::new(unix_seconds(app.clock.now()), random))
}
