//! What can go wrong while a server starts and works. What a client gets to see is [`kinora_api::ApiError`].

use std::path::PathBuf;

/// The result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The record of jobs does not answer, or refuses.
    #[error(transparent)]
    Jobs(#[from] kinora_jobs::Error),
    /// Workers on other machines cannot be served.
    #[error(transparent)]
    Dispatch(#[from] kinora_dispatch::Error),
    /// A model cannot be opened, or does not make what is asked.
    #[error(transparent)]
    Pipeline(#[from] kinora_pipeline::Error),
    /// A file cannot be stored or read.
    #[error("cannot {action} {key}: {reason}\nhint: check the place that --files names")]
    Files {
        /// `read`, `write`, `delete`.
        action: &'static str,
        /// Its key.
        key: String,
        /// What the place said.
        reason: String,
    },
    /// There is no space left for a file.
    #[error("no space is left for {key}\nhint: free some space where --files is; jobs are kept and go on afterwards")]
    StorageFull {
        /// Its key.
        key: String,
    },
    /// A folder or file of the server's own cannot be used.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A setting is wrong.
    #[error("{what}: {problem}\nhint: {hint}")]
    Setting {
        /// Which.
        what: &'static str,
        /// What is wrong with it.
        problem: String,
        /// What to do.
        hint: String,
    },
}
