//! Asking the record of jobs, whose calls block, from tasks that must not.

use std::sync::Arc;

use kinora_jobs::{Error, Result, Store};

/// Calls `store` on a thread for what blocks.
///
/// **Errors**: what the store says; `Storage` if it panicked.
pub(crate) async fn ask<T: Send + 'static>(
    store: &Arc<dyn Store>,
    call: impl FnOnce(&dyn Store) -> Result<T> + Send + 'static,
) -> Result<T> {
    let store = store.clone();
    let asked = tokio::task::spawn_blocking(move || call(&*store)).await;
    asked.unwrap_or_else(|error| {
        Err(Error::Storage {
            doing: "answer",
            detail: error.to_string(),
        })
    })
}
