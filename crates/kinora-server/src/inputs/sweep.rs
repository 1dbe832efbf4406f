//! Inputs that no job needs any more. Several jobs may have the same one, so it does not go with any of them: now and
//! then, those that are old and that no record names are deleted.

use std::collections::BTreeSet;
use std::time::Duration;

use kinora_jobs::{Query, Store, Timestamp};
use serde_json::Value;

use crate::answer::Answer;
use crate::{App, FileRef};

/// Where inputs are.
const FOLDER: &str = "uploads";
/// How old an input has to be: a request that has brought one submits its job long before.
const AGE: Duration = Duration::from_secs(24 * 3600);
/// When the first sweep is, counted from the start of the server, and how long lies between two.
const FIRST: Duration = Duration::from_secs(600);
const PAUSE: Duration = Duration::from_secs(6 * 3600);
/// Jobs that are read at once.
const PAGE: usize = 1000;

/// Sweeps until the server stops.
pub(crate) async fn keep_sweeping(app: App) {
    let mut pause = FIRST;
    loop {
        tokio::select! {
            () = app.stopping.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = PAUSE;
        match sweep(&app, PAGE).await {
            Ok(0) => {}
            Ok(deleted) => tracing::info!(deleted, "inputs that no job needs were deleted"),
            Err(failure) => tracing::warn!(?failure, "inputs could not be looked through"),
        }
    }
}

/// Deletes old inputs that no job names; says how many. Jobs are read `page` at a time.
async fn sweep(app: &App, page: usize) -> Answer<usize> {
    let age = i64::try_from(AGE.as_millis()).unwrap_or(i64::MAX);
    let before = Timestamp(app.clock.now().as_ms().saturating_sub(age));
    let folder = FileRef(FOLDER.to_owned());
    // Files first, then jobs: an input that comes in between is not old.
    let files = app.files.list(Some(&folder)).await?;
    let old = files.into_iter().filter(|file| file.modified_ms < before.as_ms());
    let old: BTreeSet<FileRef> = old.map(|file| file.key).collect();
    if old.is_empty() {
        return Ok(0);
    }
    let unused = app.with_store(move |store| unused(store, old, page)).await?;
    let mut deleted = 0;
    for key in unused {
        // Somebody may have brought the same file again meanwhile.
        let file = app.files.head(&key).await?;
        if file.is_some_and(|file| file.modified_ms < before.as_ms()) {
            app.files.delete(&key).await?;
            deleted += 1;
        }
    }
    Ok(deleted)
}

/// Those of the files that no job names.
fn unused(store: &dyn Store, mut files: BTreeSet<FileRef>, page: usize) -> kinora_jobs::Result<BTreeSet<FileRef>> {
    let mut query = Query {
        limit: page,
        ..Query::default()
    };
    loop {
        let page = store.list(&query)?;
        for job in &page.jobs {
            forget(&job.request, &mut files);
        }
        match page.next {
            Some(next) if !files.is_empty() => query.after = Some(next),
            _ => return Ok(files),
        }
    }
}

/// Takes out what stands anywhere in this JSON.
fn forget(json: &Value, files: &mut BTreeSet<FileRef>) {
    match json {
        Value::String(text) if text.starts_with(FOLDER) => {
            files.remove(&FileRef(text.clone()));
        }
        Value::Array(items) => items.iter().for_each(|item| forget(item, files)),
        Value::Object(members) => members.values().for_each(|member| forget(member, files)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::SystemTime;

    use kinora_api::Rules;
    use kinora_jobs::{SqliteStore, Submission, SystemClock};
    use serde_json::json;

    use super::*;
    use crate::{Config, Files};

    #[tokio::test]
    async fn only_old_inputs_that_no_job_names_go() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(SystemClock::new());
        let store = SqliteStore::open(&folder.path().join("jobs.db"), clock.clone()).unwrap();
        let files = Files::in_folder(&folder.path().join("files")).unwrap();
        for name in ["used", "unused", "new"] {
            let key = FileRef(format!("uploads/{name}"));
            files.write(&key, "x".into()).await.unwrap();
        }
        for name in ["used", "unused"] {
            let path = folder.path().join("files/uploads").join(name);
            let file = std::fs::File::options().write(true).open(path).unwrap();
            file.set_modified(SystemTime::now() - 2 * AGE).unwrap();
        }
        let request = json!({ "task": { "shots": [{ "image": "uploads/used" }] } });
        store.submit(&Submission::new("p", "k", "video/x", request)).unwrap();
        // More than a page of others.
        for _ in 0..3 {
            store.submit(&Submission::new("p", "k", "video/x", json!({}))).unwrap();
        }
        let config = Config::new("127.0.0.1:0".parse().unwrap(), folder.path().to_owned());
        let app = App::new(config, Arc::new(store), clock, files.clone(), Rules::sora());
        assert_eq!(sweep(&app, 2).await.unwrap(), 1);
        for (name, is_there) in [("used", true), ("unused", false), ("new", true)] {
            let size = files.head(&FileRef(format!("uploads/{name}"))).await.unwrap();
            assert_eq!(size.is_some(), is_there, "{name}");
        }
        assert_eq!(sweep(&app, 2).await.unwrap(), 0);
    }
}
