//! The records of webhook endpoints, of each project apart.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kinora_api::{WebhookEndpoint, WebhookEndpointId, WebhookError, WebhookSecret, WebhookType};
use kinora_jobs::Timestamp;
use object_store::path::PathPart;
use serde::{Deserialize, Serialize};

use crate::records::Records;
use crate::{Files, Result};

/// How long the names of a project's endpoints are remembered: one that another server made is told of new jobs after it.
const REMEMBERED: Duration = Duration::from_secs(5);
/// The most projects that are remembered at once.
const MOST_PROJECTS: usize = 1000;
/// How many characters of a secret are shown later.
const HINT: usize = 4;

/// An endpoint as it is stored. It holds secrets, so it has no `Debug`.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Endpoint {
    pub id: WebhookEndpointId,
    pub project: String,
    pub name: String,
    pub url: String,
    pub event_types: Vec<WebhookType>,
    pub created_at: u64,
    pub updated_at: Option<u64>,
    /// What deliveries are signed with.
    pub secret: String,
    /// What they are signed with besides.
    pub old_secret: Option<OldSecret>,
    /// When the receiver said that it is gone.
    pub disabled_at: Option<u64>,
}

/// A secret that was replaced and still works.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct OldSecret {
    pub secret: String,
    /// Until when, in seconds since 1970.
    pub until: u64,
}

impl Endpoint {
    /// As answers show it; with the secret only where it is new.
    pub(crate) fn view(&self, reveal: bool) -> WebhookEndpoint {
        let end = self.secret.char_indices().rev().nth(HINT - 1).map_or(0, |(at, _)| at);
        WebhookEndpoint {
            id: self.id.clone(),
            object: Default::default(),
            created_at: self.created_at,
            updated_at: self.updated_at,
            name: self.name.clone(),
            url: self.url.clone(),
            event_types: self.event_types.clone(),
            signing_secret: reveal.then(|| self.secret.clone()),
            signing_secret_hint: Some(self.secret[end..].to_owned()),
            disabled_at: self.disabled_at,
        }
    }

    /// The secrets that work in this second, the newest first.
    ///
    /// **Errors**: a stored secret that is none.
    pub(crate) fn secrets(&self, second: u64) -> Result<Vec<WebhookSecret>, WebhookError> {
        let old = self.old_secret.iter().filter(|old| second < old.until);
        let texts = std::iter::once(&self.secret).chain(old.map(|old| &old.secret));
        texts.map(|text| WebhookSecret::read(text)).collect()
    }
}

/// The endpoints of all projects.
#[derive(Debug)]
pub(crate) struct Endpoints {
    files: Files,
    names: Mutex<HashMap<String, (Timestamp, Vec<String>)>>,
}

impl Endpoints {
    pub(crate) fn new(files: &Files) -> Self {
        Self {
            files: files.clone(),
            names: Mutex::default(),
        }
    }

    fn records(&self, project: &str) -> Records {
        // Whatever a project is called, it is one folder.
        let folder = PathPart::from(project);
        Records::new(&self.files, &format!("webhooks/{}", folder.as_ref()))
    }

    fn remembered(&self) -> std::sync::MutexGuard<'_, HashMap<String, (Timestamp, Vec<String>)>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes an endpoint.
    ///
    /// **Errors**: [`crate::Error::Files`].
    pub(crate) async fn put(&self, endpoint: &Endpoint) -> Result<()> {
        self.records(&endpoint.project)
            .put(endpoint.id.as_str(), endpoint)
            .await?;
        self.remembered().remove(&endpoint.project);
        Ok(())
    }

    /// An endpoint of this project.
    ///
    /// **Errors**: [`crate::Error::Files`].
    pub(crate) async fn get(&self, project: &str, id: &WebhookEndpointId) -> Result<Option<Endpoint>> {
        self.records(project).get(id.as_str()).await
    }

    /// Forgets an endpoint.
    ///
    /// **Errors**: [`crate::Error::Files`].
    pub(crate) async fn delete(&self, project: &str, id: &WebhookEndpointId) -> Result<()> {
        self.records(project).delete(id.as_str()).await?;
        self.remembered().remove(project);
        Ok(())
    }

    /// All endpoints of a project, the oldest first.
    ///
    /// **Errors**: [`crate::Error::Files`].
    pub(crate) async fn of_project(&self, project: &str) -> Result<Vec<Endpoint>> {
        let mut all: Vec<Endpoint> = self.records(project).all().await?;
        all.sort_by(|a, b| (a.created_at, a.id.as_str()).cmp(&(b.created_at, b.id.as_str())));
        Ok(all)
    }

    /// The names of those that are told of jobs.
    ///
    /// **Errors**: [`crate::Error::Files`].
    pub(crate) async fn names(&self, project: &str, now: Timestamp) -> Result<Vec<String>> {
        if let Some((at, names)) = self.remembered().get(project)
            && now < at.after(REMEMBERED)
        {
            return Ok(names.clone());
        }
        let all = self.of_project(project).await?;
        let told = all.into_iter().filter(|endpoint| endpoint.disabled_at.is_none());
        let names: Vec<String> = told.map(|endpoint| endpoint.id.to_string()).collect();
        let mut remembered = self.remembered();
        if remembered.len() >= MOST_PROJECTS {
            remembered.clear();
        }
        remembered.insert(project.to_owned(), (now, names.clone()));
        Ok(names)
    }
}
