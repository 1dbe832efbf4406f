//! `pulled.json`: under which licence a model was pulled, and where each of its files came from.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::PullPlan;
use crate::write::write_json;
use crate::{Error, Result};

/// Its name in the folder of the model.
pub(crate) const RECEIPT: &str = "pulled.json";

/// What was agreed to when a model was pulled by its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Receipt {
    /// Its name in the catalogue.
    pub name: String,
    /// SPDX expression that was shown.
    pub licence: String,
    /// All its files.
    pub files: Vec<Source>,
}

/// Where a file came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Source {
    /// Below the folder.
    pub path: String,
    /// Its address.
    pub url: String,
    /// What the server said that its hash is, if it said one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

impl Receipt {
    pub(super) fn of(plan: &PullPlan) -> Self {
        let source = |file: &super::PlannedFile| Source {
            path: file.path.clone(),
            url: file.url.clone(),
            sha256: file.sha256.clone(),
        };
        Self {
            name: plan.name.clone(),
            licence: plan.licence.clone(),
            files: plan.files.iter().map(source).collect(),
        }
    }

    /// Reads its text; `file` is its name for messages.
    ///
    /// **Errors**: [`Error::BadJson`].
    pub(crate) fn parse(file: &str, text: &[u8]) -> Result<Self> {
        serde_json::from_slice(text).map_err(|error| Error::BadJson {
            file: file.into(),
            reason: error.to_string(),
        })
    }

    /// Writes it whole or not at all.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        write_json(&folder.join(RECEIPT), self)
    }
}
