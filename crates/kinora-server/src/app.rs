//! What all requests share, and the routes as one service.

use std::sync::Arc;

use axum::Router;
use kinora_api::Rules;
use kinora_jobs::{Clock, Store};

use crate::answer::{Answer, Failure};
use crate::{Config, Files, routes};

/// What all requests share. Clones are the same.
#[derive(Clone)]
pub struct App {
    pub(crate) config: Arc<Config>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) files: Files,
    pub(crate) rules: Arc<Rules>,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl App {
    /// A server's state from its parts.
    #[must_use]
    pub fn new(config: Config, store: Arc<dyn Store>, clock: Arc<dyn Clock>, files: Files, rules: Rules) -> Self {
        Self {
            config: Arc::new(config),
            store,
            clock,
            files,
            rules: Arc::new(rules),
        }
    }

    /// Asks the record of jobs, whose calls block, beside the tasks that answer requests.
    ///
    /// **Errors**: what the store says.
    pub(crate) async fn with_store<T: Send + 'static>(
        &self,
        call: impl FnOnce(&dyn Store) -> kinora_jobs::Result<T> + Send + 'static,
    ) -> Answer<T> {
        let store = self.store.clone();
        let asked = tokio::task::spawn_blocking(move || call(&*store)).await;
        Ok(asked.map_err(|error| Failure::internal(&error))??)
    }

    /// All routes.
    pub fn router(&self) -> Router {
        Router::new()
            .merge(routes::videos::routes())
            .merge(routes::native::routes())
            .merge(routes::webhooks::routes())
            .merge(routes::server::routes())
            .with_state(self.clone())
    }
}
