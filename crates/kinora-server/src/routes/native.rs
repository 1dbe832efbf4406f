//! Kinora's own routes under `/api`.

mod jobs;
mod make;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use kinora_api::{Lengths, ModelList, ModelView, Sizes};
use kinora_jobs::{Query, State as JobState};

use crate::App;
use crate::answer::Answer;

pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/api/jobs", get(jobs::list))
        .route("/api/jobs/{job_id}", get(jobs::one))
        .route("/api/jobs/{job_id}/cancel", post(jobs::cancel))
        .route("/api/jobs/{job_id}/retry", post(jobs::retry))
        .route("/api/jobs/{job_id}/events", get(jobs::events))
        .route("/api/jobs/{job_id}/preview", get(jobs::preview))
        .route("/api/videos/{video_id}/variants", post(make::variants))
        .route("/api/storyboards", post(make::storyboard))
        .route("/api/blends", post(make::blend))
        .route("/api/loops", post(make::round))
        .route("/api/models", get(models))
}

async fn models(State(app): State<App>) -> Answer<Json<ModelList>> {
    let mut data = Vec::new();
    for rules in &app.rules.models {
        let query = Query {
            state: Some(JobState::Running),
            kind: Some(format!("video/{}", app.model(Some(&rules.name))?.engine)),
            limit: 1,
            ..Query::default()
        };
        let running = app.with_store(move |store| store.list(&query)).await?;
        let catalogue = app.catalogue.as_ref();
        let licence = catalogue.and_then(|catalogue| catalogue.licence_of(&rules.name));
        data.push(ModelView {
            id: rules.name.clone(),
            object: Default::default(),
            aliases: rules.aliases.clone(),
            loaded: !running.jobs.is_empty(),
            licence: licence.map(str::to_owned),
            default_size: rules.default_size,
            default_seconds: rules.default_seconds,
            sizes: match &rules.sizes {
                Sizes::Listed(sizes) => sizes.clone(),
                Sizes::Range { .. } => Vec::new(),
            },
            seconds: match &rules.lengths {
                Lengths::Listed(lengths) => lengths.clone(),
                Lengths::Range { .. } => Vec::new(),
            },
        });
    }
    Ok(Json(ModelList {
        object: Default::default(),
        data,
    }))
}
