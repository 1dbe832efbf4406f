//! Flags of `kinora keys`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::values;

pub(super) const KEYS_EXAMPLES: &str = "\
Examples:
  kinora keys create studio
  kinora keys create dashboard --project films --scope read --days 90
  kinora keys list
  kinora keys revoke studio

A key is shown once, when it is made; the server keeps its hash. Run it where the server's folder is,
or name the same --jobs and --files. A running server hears of a change within five seconds.";

/// Flags of `kinora keys`.
#[derive(Debug, Args)]
pub struct Keys {
    /// What to do.
    #[command(subcommand)]
    pub action: KeysAction,

    /// The server's own folder
    ///
    /// Example: --folder /srv/kinora
    #[arg(
        long,
        value_name = "FOLDER",
        env = "KINORA_FOLDER",
        hide_env_values = true,
        default_value = super::serve::FOLDER,
        global = true
    )]
    pub folder: PathBuf,

    /// The record of jobs; jobs.db in the folder if absent
    ///
    /// Example: --jobs /srv/kinora/jobs.db
    #[arg(
        long,
        value_name = "FILE|URL",
        env = "KINORA_JOBS",
        hide_env_values = true,
        global = true
    )]
    pub jobs: Option<String>,

    /// Where files are; files in the folder if absent
    ///
    /// Example: --files s3://clips/kinora
    #[arg(
        long,
        value_name = "FOLDER|URL",
        env = "KINORA_FILES",
        hide_env_values = true,
        global = true
    )]
    pub files: Option<String>,
}

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub enum KeysAction {
    /// Make a key, and show it once
    #[command(after_help = "Examples:\n  kinora keys create studio --project films")]
    Create(CreateKey),
    /// List the keys
    #[command(after_help = "Examples:\n  kinora keys list")]
    List,
    /// End a key
    #[command(after_help = "Examples:\n  kinora keys revoke studio")]
    Revoke {
        /// Its name
        ///
        /// Example: studio
        #[arg(value_name = "NAME")]
        name: String,
    },
}

/// A key to be made.
#[derive(Debug, Args)]
pub struct CreateKey {
    /// Its name, which no other key ever gets
    ///
    /// Example: studio
    #[arg(value_name = "NAME")]
    pub name: String,

    /// Whose videos it sees
    ///
    /// Example: --project films
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub project: String,

    /// What it may do: see, make, or administer; again for more; read and write if absent
    ///
    /// Example: --scope read
    #[arg(long = "scope", value_name = "SCOPE")]
    pub scopes: Vec<KeyScope>,

    /// How long it works, in days; for ever if absent
    ///
    /// Example: --days 90
    #[arg(long, value_name = "DAYS", value_parser = values::days)]
    pub days: Option<u32>,

    /// Requests in a minute; as the server says if absent
    ///
    /// Example: --requests-per-minute 60
    #[arg(long, value_name = "N", value_parser = values::connections)]
    pub requests_per_minute: Option<u32>,

    /// Its share of the workers, relative to other keys
    ///
    /// Example: --share 2
    #[arg(long, value_name = "NUMBER", default_value = "1")]
    pub share: f64,

    /// How many of its jobs may wait; any number if absent
    ///
    /// Example: --max-queued 100
    #[arg(long, value_name = "N", value_parser = values::connections)]
    pub max_queued: Option<u32>,

    /// How many of its jobs may run at once; any number if absent
    ///
    /// Example: --max-running 1
    #[arg(long, value_name = "N", value_parser = values::connections)]
    pub max_running: Option<u32>,

    /// The highest priority that it may ask for: jobs of a higher one are begun before those of all other keys
    ///
    /// Example: --max-priority 10
    #[arg(long, value_name = "N", default_value = "0", value_parser = values::priority)]
    pub max_priority: u32,
}

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KeyScope {
    /// See videos, jobs and models
    Read,
    /// Make, cancel and delete them
    Write,
    /// Webhooks and metrics
    Admin,
}
