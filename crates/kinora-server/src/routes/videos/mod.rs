//! OpenAI's ten endpoints.
//!
//! Where OpenAI said nothing, this holds:
//!
//! - **Several videos** from one request (`n`, `num_outputs_per_prompt`, a list of seeds) are several jobs. The answer is
//!   the first one, as the SDKs expect one; [`ALSO_MADE`] names the others, and the list shows them.
//! - **Deleting a video that is being made** cancels it, waits a little for it to stop, and deletes it. If the worker is in
//!   the middle of a long step the answer is 409: it will stop, and can be deleted then.
//! - **A source** (remix, edits, extensions) that is not finished or whose time is up is an error of this request, 404.
//! - **`remixed_from_video_id`** is set by remix alone, as documented.
//! - **Pictures** need not be as large as the video: [`crate::inputs`].

mod characters;
mod content;
mod create;
mod derive;
mod lengths;
mod list;
mod one;
mod range;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use kinora_api::{ApiError, POLL_AFTER_MS};
use kinora_jobs::Job;

use crate::App;
use crate::answer::{Answer, Failure, set_header, with_ignored};
use crate::view::{poll_after_ms, video_of};

/// On the answer to a request for several videos: the ids of the others, with commas between them.
pub(crate) const ALSO_MADE: &str = "kinora-also-made";

/// The routes, without `/v1` before them.
pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/videos", post(create::create).get(list::list))
        .route("/videos/edits", post(derive::edit))
        .route("/videos/extensions", post(derive::extend))
        .route("/videos/characters", post(characters::create))
        .route("/videos/characters/{character_id}", get(characters::read))
        .route("/videos/{video_id}", get(one::read).delete(one::delete))
        .route("/videos/{video_id}/content", get(content::content))
        .route("/videos/{video_id}/remix", post(derive::remix))
}

/// The name of a thing in the path. One that is no text names nothing.
pub(crate) struct Named(pub String);

impl FromRequestParts<App> for Named {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        match axum::extract::Path::<String>::from_request_parts(parts, app).await {
            Ok(axum::extract::Path(name)) => Ok(Self(name)),
            Err(_) => Err(ApiError::unknown_url(parts.method.as_str(), parts.uri.path()).into()),
        }
    }
}

/// The answer with the first of these jobs, and what the client should know besides.
fn answer(app: &App, jobs: &[Job], ignored: &[String]) -> Answer<Response> {
    let first = jobs.first().ok_or_else(|| Failure::internal(&"no job was made"))?;
    let mut response = with_ignored(ignored, Json(video_of(first)?));
    let headers = response.headers_mut();
    let poll_after = poll_after_ms(first, app.clock.now()).map(|ms| ms.to_string());
    set_header(headers, POLL_AFTER_MS, poll_after);
    let others: Vec<&str> = jobs.iter().skip(1).map(|job| job.id.0.as_str()).collect();
    set_header(headers, ALSO_MADE, (!others.is_empty()).then(|| others.join(", ")));
    Ok(response)
}
