//! `GET /v1/videos`: the videos of a project, a page at a time.
//!
//! A page goes on after an id. If that video has been deleted meanwhile, its id still says where it was: ids sort by the
//! time of creation ([`crate::submit`]), and the place is found among those that are left by halving.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use kinora_api::{ApiError, ListQuery, Order, Page, Video, VideoId, VideoList};
use kinora_jobs::{JobId, Order as JobOrder, Query, Store};

use crate::answer::Answer;
use crate::view::video_of;
use crate::{App, Caller};

pub(super) async fn list(State(app): State<App>, caller: Caller, uri: Uri) -> Answer<Json<VideoList>> {
    let asked = ListQuery::read(uri.query().unwrap_or_default())?;
    let after = match &asked.after {
        None => None,
        Some(id) => Some(place_of(&app, &caller, id, asked.order).await?),
    };
    if asked.limit == 0 {
        return Ok(Json(Page::new(Vec::new(), false, |video: &Video| video.id.to_string())));
    }
    let query = Query {
        project: Some(caller.project.clone()),
        order: match asked.order {
            Order::Desc => JobOrder::Newest,
            Order::Asc => JobOrder::Oldest,
        },
        after,
        limit: usize::try_from(asked.limit).unwrap_or(100),
        ..Query::default()
    };
    let page = app.with_store(move |store| store.list(&query)).await?;
    let videos = page.jobs.iter().map(video_of).collect::<Answer<Vec<Video>>>()?;
    Ok(Json(Page::new(videos, page.next.is_some(), |video| {
        video.id.to_string()
    })))
}

/// Where the list goes on, as a [`kinora_jobs::Job::seq`].
///
/// **Errors**: 404 for an id of another project, and for one that this server cannot have made.
async fn place_of(app: &App, caller: &Caller, id: &str, order: Order) -> Answer<u64> {
    let parsed: VideoId = id.parse().map_err(|_| ApiError::video_not_found(id))?;
    let (wanted, project) = (JobId(parsed.to_string()), caller.project.clone());
    let id = id.to_owned();
    let found = app.with_store(move |store| match store.get(&wanted) {
        Ok(job) if job.project == project => Ok(Some(job.seq)),
        Ok(_) => Ok(None),
        Err(kinora_jobs::Error::NotFound { .. }) if is_ours(&wanted.0) => {
            let first = first_from(store, &project, &wanted.0)?;
            // The place lies between the last one before and the first one from there on.
            Ok(Some(match order {
                Order::Desc => first,
                Order::Asc => first.saturating_sub(1),
            }))
        }
        Err(kinora_jobs::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    });
    Ok(found.await?.ok_or_else(|| ApiError::video_not_found(&id))?)
}

/// Whether the id has the form of those that this server makes.
fn is_ours(id: &str) -> bool {
    id.strip_prefix(VideoId::PREFIX).is_some_and(|digits| {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        digits.len() == 48 && digits.bytes().all(hex)
    })
}

/// The place of the first video of the project whose id is not below `id`; behind the last one if all are.
fn first_from(store: &dyn Store, project: &str, id: &str) -> kinora_jobs::Result<u64> {
    let (mut low, mut high) = (0, last_place(store, project)? + 1);
    // All up to `low` are below; `high` is not.
    while low + 1 < high {
        let middle = low + (high - low) / 2;
        let query = Query {
            project: Some(project.to_owned()),
            order: JobOrder::Oldest,
            after: Some(middle - 1),
            limit: 1,
            ..Query::default()
        };
        match store.list(&query)?.jobs.first() {
            Some(job) if job.id.0.as_str() < id => low = job.seq,
            _ => high = middle,
        }
    }
    Ok(high)
}

/// The place of the newest video of the project; 0 if there is none.
fn last_place(store: &dyn Store, project: &str) -> kinora_jobs::Result<u64> {
    let query = Query {
        project: Some(project.to_owned()),
        limit: 1,
        ..Query::default()
    };
    Ok(store.list(&query)?.jobs.first().map_or(0, |job| job.seq))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kinora_jobs::{SqliteStore, Submission, SystemClock};
    use serde_json::json;

    use super::*;

    #[test]
    fn the_place_of_a_deleted_video_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("jobs.db"), Arc::new(SystemClock::new())).unwrap();
        let id = |n: u32| format!("video_{n:048x}");
        let mut places = Vec::new();
        for n in 1..=20 {
            // Every third is another project's.
            let project = if n % 3 == 0 { "other" } else { "mine" };
            let mut submission = Submission::new(project, "k", "video/x", json!({}));
            submission.id = Some(JobId(id(10 * n)));
            places.push((n, store.submit(&submission).unwrap().job.seq));
        }
        for (n, place) in places.iter().filter(|(n, _)| n % 3 != 0) {
            let found = first_from(&store, "mine", &id(10 * n)).unwrap();
            let before = places
                .iter()
                .rev()
                .find(|(m, _)| m < n && m % 3 != 0)
                .map_or(0, |found| found.1);
            assert!(before < found && found <= *place, "{n}: {before} < {found} <= {place}");
            let behind = first_from(&store, "mine", &id(10 * n + 1)).unwrap();
            assert!(behind > *place, "{n}: {behind} > {place}");
        }
        assert_eq!(first_from(&store, "nobody", &id(1)).unwrap(), 1);
        assert!(is_ours(&id(7)) && !is_ours("video_bGl0ZWxsbTpjdXN0b20=") && !is_ours(&id(7).to_uppercase()));
    }
}
