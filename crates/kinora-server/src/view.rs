//! A job's record as the answers show it.

use kinora_api::{ApiError, Video, VideoError, VideoId, VideoStatus, VideoTag, failure};
use kinora_jobs::{Job, JobId, State, Timestamp};

use crate::answer::{Answer, Failure};
use crate::work::{Outcome, Work};
use crate::{App, Caller};

/// How much of the progress bar belongs to what comes before and after the denoising, in percent.
const AROUND_DIFFUSE: u64 = 10;

/// The video of a job.
///
/// **Errors**: 500 for a record that this version cannot read.
pub(crate) fn video_of(job: &Job) -> Answer<Video> {
    let work = work_of(job)?;
    let outcome = outcome_of(job)?;
    let status = status_of(job);
    Ok(Video {
        id: job.id.0.parse().map_err(|error| Failure::internal(&error))?,
        object: VideoTag::Tag,
        created_at: unix_seconds(job.created_at),
        status,
        completed_at: job
            .finished_at
            .filter(|_| status == VideoStatus::Completed)
            .map(unix_seconds),
        error: error_of(job),
        expires_at: job
            .expires_at
            .filter(|_| status == VideoStatus::Completed)
            .map(unix_seconds),
        model: work.model,
        progress: progress_of(job),
        prompt: Some(work.prompt),
        remixed_from_video_id: work.remixed_from,
        // Asked for in frames, the length depends on the rate that the model chose.
        seconds: match &outcome {
            Some(outcome) if work.num_frames.is_some() => outcome.seconds,
            _ => work.seconds,
        },
        size: work.size,
        seed: Some(work.seed),
        fps: outcome.as_ref().map(|outcome| outcome.fps),
        num_frames: outcome.as_ref().map(|outcome| outcome.num_frames),
        revised_prompt: outcome.as_ref().and_then(|outcome| outcome.revised_prompt.clone()),
        inference_time_s: outcome.as_ref().map(|outcome| outcome.inference_time_s),
        peak_memory_mb: outcome.as_ref().map(|outcome| outcome.peak_memory_mb),
    })
}

/// The job of this name, if it is a video of the caller's project.
///
/// **Errors**: 404, also for a video of another project: the two look alike.
pub(crate) async fn job_of(app: &App, caller: &Caller, id: &str) -> Answer<Job> {
    // A text that is no id names nothing, and no store has to look for it.
    let wanted: VideoId = id.parse().map_err(|_| ApiError::video_not_found(id))?;
    let wanted = JobId(wanted.to_string());
    let job = app.with_store(move |store| store.get(&wanted)).await?;
    if job.project == caller.project {
        Ok(job)
    } else {
        Err(ApiError::video_not_found(id).into())
    }
}

/// A finished video: its record, what it was asked, and what came of it.
#[derive(Debug)]
pub(crate) struct Finished {
    /// Its record.
    pub job: Job,
    /// What it was asked.
    pub work: Work,
    /// What came of it.
    pub outcome: Outcome,
}

/// The finished video of this name, whose files are there.
///
/// **Errors**: 404 for none, one that is not finished, and one whose time is up.
pub(crate) async fn finished(app: &App, caller: &Caller, id: &str) -> Answer<Finished> {
    let job = job_of(app, caller, id).await?;
    if job.state() != State::Succeeded {
        return Err(ApiError::not_ready(id, status_of(&job).as_str()).into());
    }
    let over = job.expires_at.is_some_and(|at| at <= app.clock.now());
    match outcome_of(&job)? {
        Some(outcome) if !over && job.purged_at.is_none() => Ok(Finished {
            work: work_of(&job)?,
            job,
            outcome,
        }),
        _ => Err(ApiError::expired(id).into()),
    }
}

/// After how many milliseconds it is worth asking again; `None` if nothing will change.
pub(crate) fn poll_after_ms(job: &Job, now: Timestamp) -> Option<u64> {
    if job.state().is_final() {
        return None;
    }
    // Clients keep the first value, so it is small while nothing is known; a tenth of what is left otherwise.
    let percent = u64::from(progress_of(job));
    let begun = job.started_at.filter(|_| percent > 1);
    let left = begun.map_or(10_000, |begun| {
        let ran = u64::try_from(now.as_ms() - begun.as_ms()).unwrap_or(0);
        ran * (100 - percent) / percent
    });
    Some((left / 10).clamp(250, 5000))
}

/// Where a job is, in the four words of the wire.
pub(crate) fn status_of(job: &Job) -> VideoStatus {
    match job.state() {
        State::Queued => VideoStatus::Queued,
        State::Running => VideoStatus::InProgress,
        State::Succeeded => VideoStatus::Completed,
        State::Failed | State::Cancelled => VideoStatus::Failed,
    }
}

/// Whole seconds since 1970.
pub(crate) fn unix_seconds(at: Timestamp) -> u64 {
    u64::try_from(at.as_ms() / 1000).unwrap_or(0)
}

/// What a job is asked.
///
/// **Errors**: 500 for a record that this version cannot read.
pub(crate) fn work_of(job: &Job) -> Answer<Work> {
    serde_json::from_value(job.request.clone()).map_err(|error| Failure::internal(&error))
}

/// What came of a job, if it succeeded and has not been purged.
///
/// **Errors**: 500 for a record that this version cannot read.
pub(crate) fn outcome_of(job: &Job) -> Answer<Option<Outcome>> {
    let read = |value: &serde_json::Value| serde_json::from_value(value.clone());
    job.result
        .as_ref()
        .map(read)
        .transpose()
        .map_err(|error| Failure::internal(&error))
}

/// Why a video failed. A failed attempt that is tried again is no failure yet.
pub(crate) fn error_of(job: &Job) -> Option<VideoError> {
    match job.state() {
        State::Cancelled => Some(VideoError::cancelled()),
        State::Failed => Some(match &job.error {
            Some(found) => VideoError {
                code: found.code.clone(),
                message: found.message.clone(),
            },
            None => VideoError {
                code: failure::INTERNAL_ERROR.to_owned(),
                message: "The video could not be made.".to_owned(),
            },
        }),
        State::Queued | State::Running | State::Succeeded => None,
    }
}

/// 0 to 100 over all four stages: only a finished video has 100.
pub(crate) fn progress_of(job: &Job) -> u8 {
    if job.state() == State::Succeeded {
        return 100;
    }
    let Some(report) = &job.progress else { return 0 };
    percent_of(&report.stage, report.done, report.total)
}

/// The same for a job that does not have its end yet.
pub(crate) fn percent_of(stage: &str, done: u64, total: u64) -> u8 {
    let share = |from: u64, span: u64| from + span.saturating_mul(done.min(total)) / total.max(1);
    let percent = match stage {
        "diffuse" => share(AROUND_DIFFUSE / 2, 100 - 2 * AROUND_DIFFUSE),
        "render" => share(100 - 3 * AROUND_DIFFUSE / 2, AROUND_DIFFUSE),
        _ => 1,
    };
    u8::try_from(percent.min(99)).unwrap_or(99)
}
