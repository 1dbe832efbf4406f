//! Jobs: lists, one, what is done to them, what happens to them.

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use kinora_api::{ApiError, JobEvent, JobList, JobStage, JobStatus, JobView, LAST_EVENT_ID, ListQuery, Order};
use kinora_jobs::{Job, JobId, Order as JobOrder, Phase, Query, Scope, State as JobState, Store};

use crate::answer::Answer;
use crate::events::{self, PAGE, Pace, picture_type, preview_of};
use crate::view::{job_of, unix_seconds, video_of, work_of};
use crate::{App, Caller};

pub(super) async fn list(State(app): State<App>, caller: Caller, RawQuery(query): RawQuery) -> Answer<Json<JobList>> {
    let query = query.unwrap_or_default();
    let page = ListQuery::read(&query)?;
    let state = status_of(&query)?;
    let after = match &page.after {
        None => None,
        Some(id) => Some(
            job_of(&app, &caller, id)
                .await
                .map_err(|failure| match failure.0.status {
                    404 => ApiError::invalid_value("after", id, "Expected the id of a job of this project.").into(),
                    _ => failure,
                })?,
        ),
    };
    if page.limit == 0 {
        return Ok(Json(JobList::new(Vec::new(), false, |view| view.id.to_string())));
    }
    let query = Query {
        project: Some(caller.project),
        state,
        kind: None,
        order: match page.order {
            Order::Asc => JobOrder::Oldest,
            Order::Desc => JobOrder::Newest,
        },
        after: after.map(|job| job.seq),
        limit: page.limit as usize,
    };
    let listing = app.with_store(move |store| store.list(&query)).await?;
    let mut views = Vec::with_capacity(listing.jobs.len());
    for job in listing.jobs {
        views.push(view_of(&app, job).await?);
    }
    Ok(Json(JobList::new(views, listing.next.is_some(), |view| {
        view.id.to_string()
    })))
}

/// The state that a list is limited to.
fn status_of(query: &str) -> Answer<Option<JobState>> {
    let Some(text) = parameter(query, "status") else {
        return Ok(None);
    };
    let found = JobState::named(&text);
    let names = JobState::ALL.map(JobState::name);
    Ok(Some(found.ok_or_else(|| ApiError::not_among("status", &text, &names))?))
}

/// A parameter of the query that has a value. Ours are words and numbers, which no client needs to escape.
fn parameter(query: &str, name: &str) -> Option<String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let mut found = pairs.filter(|(key, value)| *key == name && !value.is_empty());
    found.next_back().map(|(_, value)| value.to_owned())
}

pub(super) async fn one(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Answer<Json<JobView>> {
    let job = job_of(&app, &caller, &id).await?;
    Ok(Json(view_of(&app, job).await?))
}

pub(super) async fn cancel(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Answer<Json<JobView>> {
    change(&app, &caller, &id, "cancelled", |store, id| store.cancel(id)).await
}

pub(super) async fn retry(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Answer<Json<JobView>> {
    change(&app, &caller, &id, "retried", |store, id| store.retry(id)).await
}

/// Does something to a job of the caller. `done` is the word for it if its state forbids that.
async fn change(
    app: &App,
    caller: &Caller,
    id: &str,
    done: &str,
    call: fn(&dyn Store, &JobId) -> kinora_jobs::Result<Job>,
) -> Answer<Json<JobView>> {
    let job = job_of(app, caller, id).await?;
    let name = job.id.clone();
    let changed = app.with_store(move |store| match call(store, &name) {
        Err(kinora_jobs::Error::Illegal { .. }) => Ok(None),
        changed => changed.map(Some),
    });
    match changed.await? {
        Some(job) => Ok(Json(view_of(app, job).await?)),
        None => {
            let job = job_of(app, caller, id).await?;
            Err(ApiError::wrong_state(id, job.state().name(), done).into())
        }
    }
}

pub(super) async fn events(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Answer<Response> {
    let header = headers
        .get(LAST_EVENT_ID)
        .map(|value| value.to_str().unwrap_or("?").to_owned());
    let seen = header.or_else(|| parameter(&query.unwrap_or_default(), "after"));
    let after = JobEvent::last_seen(seen.as_deref())?;
    let job = job_of(&app, &caller, &id).await?;
    // Proxies that gather answers would hold the events back.
    let headers = [
        (CONTENT_TYPE.as_str(), "text/event-stream"),
        (CACHE_CONTROL.as_str(), "no-cache"),
        ("x-accel-buffering", "no"),
    ];
    Ok((headers, events::stream(&app, job.id, after)).into_response())
}

pub(super) async fn preview(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Answer<Response> {
    let job = job_of(&app, &caller, &id).await?;
    let status = job.state().name();
    let name = job.id.clone();
    let newest = app.with_store(move |store| Ok(all_events(store, &name)?.iter().rev().find_map(preview_of)));
    let missing = || ApiError::not_ready(&id, status);
    let (key, _) = newest.await?.ok_or_else(missing)?;
    let bytes = app.files.read(&key).await?.ok_or_else(missing)?;
    let headers = [(CONTENT_TYPE, picture_type(&key)), (CACHE_CONTROL, "no-store")];
    Ok((headers, bytes).into_response())
}

/// The log of a job.
fn all_events(store: &dyn Store, id: &JobId) -> kinora_jobs::Result<Vec<kinora_jobs::Event>> {
    let mut all = Vec::new();
    let mut after = 0;
    loop {
        let page = store.events(&Scope::Job(id.clone()), after, PAGE)?;
        let full = page.len() == PAGE;
        after = page.last().map_or(after, |event| event.seq);
        all.extend(page);
        if !full {
            return Ok(all);
        }
    }
}

/// A job with all that is known of it.
async fn view_of(app: &App, job: Job) -> Answer<JobView> {
    let (id, state, now) = (job.id.clone(), job.state(), app.clock.now());
    let seen = app.with_store(move |store| {
        let position = match state {
            JobState::Queued => store.queue_position(&id)?,
            _ => None,
        };
        let remaining = match state {
            JobState::Running => Pace::new(Some(&all_events(store, &id)?)).remaining_ms(now),
            _ => None,
        };
        Ok((position, remaining, store.last_event(&Scope::Job(id))?))
    });
    let (queue_position, remaining_ms, last_event_id) = seen.await?;
    let running = job.progress.as_ref().filter(|_| state == JobState::Running);
    let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let video = video_of(&job)?;
    Ok(JobView {
        id: video.id.clone(),
        object: Default::default(),
        status: match state {
            JobState::Queued => JobStatus::Queued,
            JobState::Running => JobStatus::Running,
            JobState::Succeeded => JobStatus::Succeeded,
            JobState::Failed => JobStatus::Failed,
            JobState::Cancelled => JobStatus::Cancelled,
        },
        stage: running.and_then(|report| stage_of(&report.stage)),
        step: running.map(|report| small(report.done)),
        steps: running.map(|report| small(report.total)),
        queue_position,
        remaining_ms,
        attempt: job.life.attempts,
        checkpoint_step: job.checkpoint.as_ref().map(|checkpoint| small(checkpoint.step)),
        cancel_requested: matches!(
            job.life.phase,
            Phase::Running {
                cancel_requested: true,
                ..
            } | Phase::Cancelled
        ),
        priority: job.priority,
        started_at: job.started_at.map(unix_seconds),
        last_event_id,
        metadata: work_of(&job)?.options.metadata,
        video,
    })
}

fn stage_of(name: &str) -> Option<JobStage> {
    match name {
        "parse" => Some(JobStage::Parse),
        "map" => Some(JobStage::Map),
        "diffuse" => Some(JobStage::Diffuse),
        "render" => Some(JobStage::Render),
        _ => None,
    }
}
