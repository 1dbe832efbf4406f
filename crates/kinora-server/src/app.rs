//! What all requests share, and the routes as one service.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::middleware::from_fn_with_state;
use kinora_api::{ModelRules, Rules};
use kinora_dispatch::Dispatch;
use kinora_jobs::{Clock, Store};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::answer::{Answer, Failure};
use crate::ask::ask;
use crate::auth::{Auth, guard};
use crate::events::Bell;
use crate::hooks::Endpoints;
use crate::http::layers;
use crate::observe::{self, Metrics, Readiness};
use crate::{Catalogue, Config, Files, Keys, routes};

/// Inputs that are looked into at once: each may take the memory of a large picture.
const LOOKS: usize = 2;

/// What all requests share. Clones are the same.
#[derive(Clone)]
pub struct App {
    pub(crate) config: Arc<Config>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) files: Files,
    pub(crate) rules: Arc<Rules>,
    /// The models behind the names of the rules; without, each name is a model itself.
    pub(crate) catalogue: Option<Arc<Catalogue>>,
    /// Workers on other machines.
    pub(crate) dispatch: Option<Arc<Mutex<Dispatch>>>,
    /// Whether the server is about to end.
    pub(crate) stopping: CancellationToken,
    /// Places for looking into inputs.
    pub(crate) looks: Arc<Semaphore>,
    pub(crate) bell: Bell,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) readiness: Readiness,
    pub(crate) auth: Arc<Auth>,
    pub(crate) endpoints: Arc<Endpoints>,
}

/// The model that a request gets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chosen<'a> {
    /// What it makes.
    pub rules: &'a ModelRules,
    /// What answers call it: as the request did.
    pub name: &'a str,
    /// The real model that makes it.
    pub engine: &'a str,
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
            auth: Arc::new(Auth::new(&files, store.clone(), clock.clone())),
            endpoints: Arc::new(Endpoints::new(&files)),
            config: Arc::new(config),
            store,
            clock,
            files,
            rules: Arc::new(rules),
            catalogue: None,
            dispatch: None,
            stopping: CancellationToken::new(),
            looks: Arc::new(Semaphore::new(LOOKS)),
            bell: Bell::default(),
            metrics: Arc::new(Metrics::new()),
            readiness: Readiness::default(),
        }
    }

    /// With these models: requests are checked against what they make and take.
    #[must_use]
    pub fn with_catalogue(mut self, catalogue: Catalogue) -> Self {
        self.rules = Arc::new(catalogue.rules().clone());
        self.catalogue = Some(Arc::new(catalogue));
        self
    }

    /// With workers on other machines, who hear of new jobs through `dispatch`.
    #[must_use]
    pub fn with_dispatch(mut self, dispatch: Option<Dispatch>) -> Self {
        self.dispatch = dispatch.map(Mutex::new).map(Arc::new);
        self
    }

    /// Tells workers on other machines that there is work.
    pub(crate) fn nudge(&self) {
        if let Some(dispatch) = &self.dispatch {
            dispatch.lock().unwrap_or_else(PoisonError::into_inner).nudge();
        }
    }

    /// The keys of this server.
    #[must_use]
    pub fn keys(&self) -> Keys {
        Keys::new(&self.files, self.store.clone(), self.clock.clone())
    }

    /// The model of this name, or the first one without a name.
    ///
    /// **Errors**: 400 for a name that is not served.
    pub(crate) fn model<'a>(&'a self, name: Option<&'a str>) -> Answer<Chosen<'a>> {
        let rules = self.rules.model(name)?;
        let catalogue = self.catalogue.as_ref();
        let engine = catalogue.and_then(|catalogue| catalogue.engine_of(&rules.name));
        let engine = engine.unwrap_or(&rules.name);
        Ok(Chosen {
            rules,
            name: name.unwrap_or(&rules.name),
            engine,
        })
    }

    /// Asks the record of jobs, whose calls block, beside the tasks that answer requests.
    ///
    /// **Errors**: what the store says.
    pub(crate) async fn with_store<T: Send + 'static>(
        &self,
        call: impl FnOnce(&dyn Store) -> kinora_jobs::Result<T> + Send + 'static,
    ) -> Answer<T> {
        Ok(ask(&self.store, call).await?)
    }

    /// All routes. OpenAI's are found with and without `/v1`, as proxies ask for them. Inside a runtime, the
    /// events of the jobs are followed from now on.
    pub fn router(&self) -> Router {
        self.bell.start(&self.store, &self.clock, &self.metrics);
        let videos = routes::videos::routes();
        let routes = Router::new()
            .nest("/v1", videos.clone())
            .merge(videos)
            .merge(routes::native::routes())
            .merge(routes::webhooks::routes())
            .merge(routes::server::routes())
            .method_not_allowed_fallback(layers::method_not_allowed)
            .fallback(layers::unknown_url)
            .layer(from_fn_with_state(self.clone(), guard))
            .layer(from_fn_with_state(self.clone(), observe::track))
            .with_state(self.clone());
        layers::around(routes, self)
    }
}

/// Runs what blocks beside the tasks that answer requests.
///
/// **Errors**: 500 if it panicked.
pub(crate) async fn blocking<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> Answer<T> {
    let called = tokio::task::spawn_blocking(call).await;
    called.map_err(|error| Failure::internal(&error))
}
