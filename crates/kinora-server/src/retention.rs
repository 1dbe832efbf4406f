//! What is not needed any more is deleted: videos whose time is up, files of jobs that are gone, checkpoints and previews of
//! jobs that have ended, uploads that no job names, and what writers that died left half-written.
//!
//! Every rule looks at the files first and at the record of jobs afterwards, so that what a job has put down in between is
//! known to the record when it is looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kinora_jobs::{Job, JobId, Query, State, Timestamp};
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::ask::ask;
use crate::files::FileRef;
use crate::{App, Result};

/// How often expired videos are looked for.
const EXPIRED_EVERY: Duration = Duration::from_secs(60);
/// How many of those rounds lie between two looks for files that nobody needs.
const ORPHANS_EVERY: u32 = 60;
/// How many jobs are asked for at once.
const PAGE: usize = 100;
/// Uploads and half-written files are left alone for so long: somebody may be about to use them. A failed job keeps its
/// checkpoint for so long, in case it is tried again.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Videos whose time was up.
    pub expired: usize,
    /// Folders of videos, checkpoints and previews that no job needs.
    pub orphans: usize,
    /// Uploads that no job names.
    pub uploads: usize,
    /// Half-written files.
    pub half_written: usize,
}

/// Deletes again and again, until the task is aborted.
#[must_use]
pub fn start(app: App) -> JoinHandle<()> {
    tokio::spawn(async move {
        for round in 0_u32.. {
            let swept = async {
                let expired = delete_expired(&app).await?;
                let rest = if round % ORPHANS_EVERY == 0 {
                    sweep(&app).await?
                } else {
                    Swept::default()
                };
                Ok::<_, crate::Error>(Swept { expired, ..rest })
            };
            match swept.await {
                Ok(swept) if swept == Swept::default() => {}
                Ok(swept) => tracing::info!(?swept, "files were deleted"),
                // The next round tries it again.
                Err(error) => tracing::warn!(%error, "files could not be deleted"),
            }
            tokio::time::sleep(EXPIRED_EVERY).await;
        }
    })
}

/// Deletes the files of jobs whose time is up, and says so in their records. Returns how many.
///
/// **Errors**: those of the store and of the files.
pub async fn delete_expired(app: &App) -> Result<usize> {
    let mut count = 0;
    loop {
        let expired = ask(&app.store, |store| store.expired(PAGE)).await?;
        if expired.is_empty() {
            return Ok(count);
        }
        for job in expired {
            for place in ["videos", "checkpoints", "previews"] {
                app.files.delete_all(&FileRef(format!("{place}/{}", job.id))).await?;
            }
            let purged = ask(&app.store, move |store| store.purge(&job.id)).await;
            match purged {
                // Somebody else has deleted it, or queued it again.
                Err(kinora_jobs::Error::NotFound { .. } | kinora_jobs::Error::NotEnded { .. }) => {}
                purged => drop(purged?),
            }
            count += 1;
        }
    }
}

/// Deletes what no job needs.
///
/// **Errors**: those of the store and of the files.
pub async fn sweep(app: &App) -> Result<Swept> {
    let mut orphans = 0;
    for place in ["videos", "checkpoints", "previews"] {
        let listed = app.files.list(Some(&FileRef(place.to_owned()))).await?;
        for (id, fences) in by_job(place, &listed) {
            let found = ask(&app.store, {
                let id = JobId(id.clone());
                move |store| match store.get(&id) {
                    Err(kinora_jobs::Error::NotFound { .. }) => Ok(None),
                    found => found.map(Some),
                }
            });
            let job = found.await?;
            for useless in useless(place, &id, &fences, job.as_ref(), app.clock.now()) {
                app.files.delete_all(&useless).await?;
                orphans += 1;
            }
        }
    }
    Ok(Swept {
        expired: 0,
        orphans,
        uploads: delete_uploads(app).await?,
        half_written: app.files.delete_half_written(DAY).await?,
    })
}

/// The names below the folders of jobs, by job.
fn by_job(place: &str, listed: &[crate::FileInfo]) -> BTreeMap<String, BTreeSet<String>> {
    let mut jobs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in listed {
        let rest = file.key.0.strip_prefix(place).and_then(|rest| rest.strip_prefix('/'));
        if let Some((id, rest)) = rest.and_then(|rest| rest.split_once('/')) {
            let name = rest.split('/').next().unwrap_or_default();
            jobs.entry(id.to_owned()).or_default().insert(name.to_owned());
        }
    }
    jobs
}

/// What of these files nobody needs: `names` is what lies in the folder of the job `id` below `place`.
fn useless(place: &str, id: &str, names: &BTreeSet<String>, job: Option<&Job>, now: Timestamp) -> Vec<FileRef> {
    let all = || vec![FileRef(format!("{place}/{id}"))];
    let Some(job) = job else { return all() };
    let one = |name: &String| FileRef(format!("{place}/{id}/{name}"));
    // `7` and `7-12.webp` are of the claim with the fence 7.
    let fence = |name: &str| name.split('-').next().and_then(|fence| fence.parse::<u64>().ok());
    let older = |name: &&String| fence(name).is_none_or(|fence| fence < job.life.fence.0);
    // A claim that comes now has a higher fence than any that the record knows.
    let up_to_now = |name: &&String| fence(name).is_none_or(|fence| fence <= job.life.fence.0);
    let named = job.checkpoint.as_ref().map(|checkpoint| checkpoint.reference.clone());
    let is_checkpoint = |name: &&String| named.as_deref() == Some(one(name).0.as_str());
    match (place, job.state()) {
        ("videos", State::Succeeded) => {
            let texts = texts_of(job.result.as_ref());
            let is_kept = |name: &&String| {
                let folder = format!("{}/", one(name).0);
                texts.iter().any(|text| text.starts_with(&folder))
            };
            names.iter().filter(|name| !is_kept(name)).map(one).collect()
        }
        ("videos", State::Running) => names.iter().filter(older).map(one).collect(),
        ("videos", State::Queued | State::Failed | State::Cancelled) => {
            names.iter().filter(up_to_now).map(one).collect()
        }
        ("checkpoints", State::Queued | State::Running) => {
            let unneeded = names.iter().filter(older).filter(|name| !is_checkpoint(name));
            unneeded.map(one).collect()
        }
        ("checkpoints", State::Failed | State::Cancelled) => {
            let is_recent = job.finished_at.is_some_and(|at| at.after(DAY) > now);
            let unneeded = names.iter().filter(up_to_now);
            unneeded
                .filter(|name| !(is_recent && is_checkpoint(name)))
                .map(one)
                .collect()
        }
        ("previews", State::Queued | State::Running) => names.iter().filter(older).map(one).collect(),
        _ => all(),
    }
}

/// All texts in a value.
fn texts_of(value: Option<&Value>) -> BTreeSet<String> {
    fn collect(value: &Value, texts: &mut BTreeSet<String>) {
        match value {
            Value::String(text) => {
                texts.insert(text.clone());
            }
            Value::Array(entries) => entries.iter().for_each(|entry| collect(entry, texts)),
            Value::Object(fields) => fields.values().for_each(|entry| collect(entry, texts)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    let mut texts = BTreeSet::new();
    if let Some(value) = value {
        collect(value, &mut texts);
    }
    texts
}

/// Deletes uploads that are older than a day and that no job names.
async fn delete_uploads(app: &App) -> Result<usize> {
    let now = app.clock.now();
    let listed = app.files.list(Some(&FileRef("uploads".to_owned()))).await?;
    let old: Vec<FileRef> = listed
        .into_iter()
        .filter(|file| Timestamp(file.modified_ms).after(DAY) <= now)
        .map(|file| file.key)
        .collect();
    if old.is_empty() {
        return Ok(0);
    }
    let named = ask(&app.store, |store| {
        let mut named = BTreeSet::new();
        let mut query = Query {
            limit: PAGE,
            ..Query::default()
        };
        loop {
            let page = store.list(&query)?;
            for job in &page.jobs {
                // A video that is gone cannot be made again.
                if job.purged_at.is_none() {
                    named.append(&mut texts_of(Some(&job.request)));
                }
            }
            query.after = page.next;
            if query.after.is_none() {
                return Ok(named);
            }
        }
    });
    let named = named.await?;
    let unnamed: Vec<FileRef> = old.into_iter().filter(|key| !named.contains(&key.0)).collect();
    for key in &unnamed {
        app.files.delete(key).await?;
    }
    Ok(unnamed.len())
}

#[cfg(test)]
mod tests;
