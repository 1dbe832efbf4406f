//! Flags of `kinora worker`.

use std::time::Duration;

use clap::Args;

use super::{DEFAULT_MODEL, Log, Nats};
use crate::values;

pub(super) const WORKER_EXAMPLES: &str = "\
Examples:
  kinora worker --jobs kinora-server/jobs.db --files kinora-server/files
  kinora worker --nats nats://queue.example:4222 --files s3://clips/kinora
  kinora worker --jobs jobs.db --files s3://clips/kinora --model toybox --max-memory 8GB

`kinora serve` starts workers by itself; this is for more of them. Ctrl-C gives the job that is
being done back at its next step, and another worker goes on from there.";

/// Flags of `kinora worker`.
#[derive(Debug, Args)]
pub struct Worker {
    /// The record of jobs: a file of SQLite on this machine, or a database of PostgreSQL
    ///
    /// Example: --jobs kinora-server/jobs.db
    #[arg(
        long,
        value_name = "FILE|URL",
        env = "KINORA_JOBS",
        hide_env_values = true,
        required_unless_present = "nats",
        conflicts_with = "nats"
    )]
    pub jobs: Option<String>,

    /// Where files are: a folder, or s3://bucket/prefix
    ///
    /// Credentials and endpoint of a bucket come from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT
    /// and AWS_ALLOW_HTTP.
    ///
    /// Example: --files kinora-server/files
    #[arg(long, value_name = "FOLDER|URL", env = "KINORA_FILES", hide_env_values = true)]
    pub files: String,

    /// A model that it runs: a name from `kinora models`, a folder, or a file; again for more
    ///
    /// Example: --model toybox
    #[arg(long = "model", value_name = "NAME|PATH", default_value = DEFAULT_MODEL)]
    pub models: Vec<String>,

    /// The most memory that it may hold; what the system gives if absent
    ///
    /// Example: --max-memory 8GB
    #[arg(long, value_name = "SIZE", value_parser = values::memory)]
    pub max_memory: Option<u64>,

    /// Threads that compute; all processors if absent
    ///
    /// Example: --threads 2
    #[arg(long, value_name = "N", value_parser = values::threads)]
    pub threads: Option<u32>,

    /// Its name, for people
    ///
    /// Example: --name worker-1
    #[arg(long, value_name = "NAME", default_value = "worker")]
    pub name: String,

    /// How long nobody need hear of it before another takes its job over, in seconds
    ///
    /// The workers that `kinora serve` starts read it from the environment.
    ///
    /// Example: --lease 30
    #[arg(
        long,
        value_name = "SECONDS",
        env = "KINORA_LEASE",
        hide_env_values = true,
        value_parser = values::lease
    )]
    pub lease: Option<Duration>,

    /// End when standard input ends: how a server ends its workers
    ///
    /// Example: --until-stdin-ends
    #[arg(long, hide = true)]
    pub until_stdin_ends: bool,

    /// NATS, in place of the record of jobs.
    #[command(flatten)]
    pub nats: Nats,

    /// The log.
    #[command(flatten)]
    pub log: Log,
}
