//! From typed work to a job: the one place where the server puts something into the queue.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU16, Ordering};

use axum::http::HeaderMap;
use kinora_api::{ApiError, IDEMPOTENCY_KEY, LARGEST_SEED, Options, RANDOM_BYTES, VideoId};
use kinora_jobs::{Job, JobId, Submission, Timestamp};
use sha2::{Digest, Sha256};

use crate::answer::{Answer, Failure};
use crate::hooks;
use crate::observe;
use crate::view::{finished, unix_seconds};
use crate::work::{OutcomeFiles, Work};
use crate::{App, Caller};

/// The longest `Idempotency-Key`, in bytes.
const LONGEST_KEY: usize = 255;
/// Stands between an idempotency key and the number of a further job of the same request. No header can hold it.
const FURTHER: char = '\u{1f}';

/// Submits `work` for `caller`, once for each seed: all of them or, as far as nobody has begun with them, none. The same
/// `Idempotency-Key` with the same work is the same jobs.
///
/// **Errors**: 422 for a key that came with other work, 429 for too many jobs, 404 for a source that is not there, 503, 507.
pub(crate) async fn submit(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    mut work: Work,
    seeds: &[u64],
) -> Answer<Vec<Job>> {
    check_room(app)?;
    let key = idempotency_key(headers)?;
    // Each job is one video: these are spent.
    (work.options.seed, work.options.n) = (Vec::new(), None);
    if let Some(catalogue) = &app.catalogue {
        catalogue.admit(&work)?;
    }
    check_jobs_of_key(app, caller, seeds.len()).await?;
    let webhooks = hooks::names_for(app, &caller.project).await?;
    work.sources = sources_of(app, caller, &work).await?;
    // With a key, the same request has to be the same job: what differs from call to call is left out.
    work.traceparent = if key.is_some() {
        None
    } else {
        observe::traceparent(headers)
    };
    let mut submissions = Vec::with_capacity(seeds.len());
    for (index, seed) in seeds.iter().enumerate() {
        work.seed = *seed;
        let kind = format!("video/{}", work.engine);
        let request = serde_json::to_value(&work).map_err(|error| Failure::internal(&error))?;
        let mut submission = Submission::new(&caller.project, &caller.key, &kind, request);
        submission.id = Some(JobId(new_video_id(app.clock.now())?.to_string()));
        submission.webhooks = webhooks.clone();
        submission.retain = app.config.keep;
        submission.priority = work
            .options
            .priority
            .map_or(0, |priority| i32::try_from(priority).unwrap_or(i32::MAX));
        // Longer videos take more from the share of their key.
        submission.cost = (f64::from(work.seconds.ms()) / 1000.0).max(0.1);
        submission.idempotency_key = key.map(|key| match index {
            0 => key.to_owned(),
            _ => format!("{key}{FURTHER}{index}"),
        });
        submissions.push(submission);
    }
    app.with_store(move |store| {
        let mut made: Vec<(Job, bool)> = Vec::with_capacity(submissions.len());
        for submission in &submissions {
            match store.submit(submission) {
                Ok(submitted) => made.push((submitted.job, submitted.created)),
                Err(error) => {
                    // What cannot be taken back is a job like any other, which the list shows.
                    for (job, _) in made.iter().filter(|(_, created)| *created) {
                        store.cancel(&job.id).and_then(|job| store.delete(&job.id)).ok();
                    }
                    return Err(error);
                }
            }
        }
        Ok(made.into_iter().map(|(job, _)| job).collect())
    })
    .await
    .inspect(|_| app.nudge())
}

/// The files that `work` starts from.
///
/// **Errors**: 404 for a video that is not there, not finished, or has expired.
async fn sources_of(app: &App, caller: &Caller, work: &Work) -> Answer<BTreeMap<String, OutcomeFiles>> {
    let mut sources = BTreeMap::new();
    for id in work.task.videos() {
        let video = finished(app, caller, id.as_str()).await?;
        sources.insert(id.to_string(), video.outcome.files);
    }
    Ok(sources)
}

/// **Errors**: 429 if the key would have more unfinished jobs than it may. Requests at the same moment may pass together.
async fn check_jobs_of_key(app: &App, caller: &Caller, more: usize) -> Answer<()> {
    let Some(limit) = app.config.limits.jobs_per_key else {
        return Ok(());
    };
    let loads = app.with_store(|store| store.load()).await?;
    let own = loads.iter().find(|load| load.key == caller.key);
    let unfinished = own.map_or(0, |load| load.queued + load.running);
    if unfinished + more as u64 > u64::from(limit) {
        return Err(ApiError::too_many_jobs(u64::from(limit), 10_000).into());
    }
    Ok(())
}

/// **Errors**: 507 if there is so little room that a video may not fit.
pub(crate) fn check_room(app: &App) -> Answer<()> {
    let limit = app.config.limits.free_bytes;
    match kinora_weights::free_bytes(&app.config.folder) {
        Some(free) if free < limit => {
            tracing::error!(free, limit, "the disk is full: no new jobs are taken");
            Err(ApiError::storage_full().into())
        }
        _ => Ok(()),
    }
}

/// The seeds of the videos of one request, as many as it asks for. Seeds that it does not name follow from its
/// `Idempotency-Key`, so that the same request again is the same work; without a key they are random.
///
/// **Errors**: 400 for a key that is none.
pub(crate) fn seeds(caller: &Caller, headers: &HeaderMap, options: &Options) -> Answer<Vec<u64>> {
    if options.seed.len() > 1 {
        return Ok(options.seed.clone());
    }
    let first = match (options.seed.first(), idempotency_key(headers)?) {
        (Some(seed), _) => *seed,
        (None, Some(key)) => {
            let text = format!("{}{FURTHER}{key}", caller.project);
            first_number(&Sha256::digest(text))
        }
        (None, None) => {
            let mut random = [0; 8];
            getrandom::fill(&mut random).map_err(|error| Failure::internal(&error))?;
            u64::from_le_bytes(random)
        }
    };
    let of = |index: u64| (first & LARGEST_SEED).wrapping_add(index) & LARGEST_SEED;
    Ok((0..options.n.unwrap_or(1).max(1)).map(of).collect())
}

fn first_number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .take(8)
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn idempotency_key(headers: &HeaderMap) -> Answer<Option<&str>> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    match value.to_str() {
        Ok(key) if !key.is_empty() && key.len() <= LONGEST_KEY => Ok(Some(key)),
        _ => {
            let rule = format!("Expected 1 to {LONGEST_KEY} characters of ASCII.");
            Err(ApiError::invalid_value(IDEMPOTENCY_KEY, "", &rule).into())
        }
    }
}

/// A new id that nobody can guess. Ids made later sort behind those made earlier, so that a page of a list can go on after a
/// video that has been deleted: behind the second come two bytes of milliseconds and two that count, then 16 random ones.
fn new_video_id(now: Timestamp) -> Answer<VideoId> {
    static COUNT: AtomicU16 = AtomicU16::new(0);
    let mut bytes = [0; RANDOM_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| Failure::internal(&error))?;
    let ms = u16::try_from(now.as_ms().rem_euclid(1000)).unwrap_or(0);
    let [ms, count] = [ms, COUNT.fetch_add(1, Ordering::SeqCst)].map(u16::to_be_bytes);
    for (to, byte) in bytes.iter_mut().zip([ms, count].concat()) {
        *to = byte;
    }
    Ok(VideoId::new(unix_seconds(now), bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_and_differ() {
        let mut ids = Vec::new();
        for ms in [
            1_763_053_953_007,
            1_763_053_953_007,
            1_763_053_953_120,
            1_763_053_954_001,
        ] {
            ids.push(new_video_id(Timestamp(ms)).unwrap().to_string());
        }
        let mut sorted = ids.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(ids, sorted);
        assert!(ids[0].starts_with("video_69161181"));
    }

    #[test]
    fn seeds_follow_from_the_key_or_the_request() {
        let caller = Caller::local();
        let mut headers = HeaderMap::new();
        let mut options = Options::default();
        let random = seeds(&caller, &headers, &options).unwrap();
        assert_ne!(random, seeds(&caller, &headers, &options).unwrap());
        headers.insert(IDEMPOTENCY_KEY, "a".parse().unwrap());
        let keyed = seeds(&caller, &headers, &options).unwrap();
        assert_eq!(keyed, seeds(&caller, &headers, &options).unwrap());
        options.n = Some(3);
        options.seed = vec![LARGEST_SEED];
        assert_eq!(seeds(&caller, &headers, &options).unwrap(), [LARGEST_SEED, 0, 1]);
        options.seed = vec![5, 9, 2];
        assert_eq!(seeds(&caller, &headers, &options).unwrap(), [5, 9, 2]);
        headers.insert(IDEMPOTENCY_KEY, "é".parse().unwrap());
        options.seed.clear();
        assert!(seeds(&caller, &headers, &options).is_err());
    }
}
