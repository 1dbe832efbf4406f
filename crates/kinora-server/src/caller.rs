//! Who asks: the project and the key of a request, and what that key may do.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use kinora_api::ApiError;
use serde::{Deserialize, Serialize};

use crate::App;
use crate::answer::Failure;

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// See videos, jobs, characters and models of the project.
    Read,
    /// Make, cancel and delete them.
    Write,
    /// Webhooks, metrics, and the jobs of all projects.
    Admin,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Admin];

    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

/// Who sent a request. The HTTP layer puts it into the request's extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Whose videos it sees.
    pub project: String,
    /// The name of the key, for shares, quotas and the log; never the key itself.
    pub key: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
}

impl Caller {
    /// Whoever asks a server that has no keys, which only listens on this machine.
    #[must_use]
    pub fn local() -> Self {
        Self {
            project: "default".to_owned(),
            key: "local".to_owned(),
            scopes: Scope::ALL.to_vec(),
        }
    }

    /// Whether it may do this.
    #[must_use]
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        match parts.extensions.get::<Self>() {
            Some(caller) => Ok(caller.clone()),
            None if !app.config.keys => Ok(Self::local()),
            None => Err(ApiError::no_key().into()),
        }
    }
}
