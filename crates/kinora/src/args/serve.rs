//! Flags of `kinora serve`. Each has an environment variable too, for services and containers.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::{DEFAULT_MODEL, Log, Nats, NatsServer};
use crate::values;

pub(super) const SERVE_EXAMPLES: &str = "\
Examples:
  kinora serve
  kinora serve --address 0.0.0.0:8080 --keys --tls-certificate server.pem --tls-key server.key
  kinora serve --folder /srv/kinora --files s3://clips/kinora --model toybox --keep-days 30

OpenAI's client finds it with OPENAI_BASE_URL=http://127.0.0.1:8080/v1 and any OPENAI_API_KEY.
Without --keys it listens on addresses of this machine only.";

/// The folder of a server if none is named.
pub(super) const FOLDER: &str = "kinora-server";

/// Flags of `kinora serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// Where to listen
    ///
    /// Example: --address 127.0.0.1:8080
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "KINORA_ADDRESS",
        hide_env_values = true,
        default_value = "127.0.0.1:8080"
    )]
    pub address: SocketAddr,

    /// The server's own folder: jobs and files, if they have no other place
    ///
    /// Example: --folder /srv/kinora
    #[arg(
        long,
        value_name = "FOLDER",
        env = "KINORA_FOLDER",
        hide_env_values = true,
        default_value = FOLDER
    )]
    pub folder: PathBuf,

    /// The record of jobs: a file of SQLite, or a database of PostgreSQL; jobs.db in the folder if absent
    ///
    /// Example: --jobs postgresql://kinora@db.example/kinora
    #[arg(long, value_name = "FILE|URL", env = "KINORA_JOBS", hide_env_values = true)]
    pub jobs: Option<String>,

    /// Where videos go: a folder, or s3://bucket/prefix; files in the folder if absent
    ///
    /// Credentials and endpoint of a bucket come from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT
    /// and AWS_ALLOW_HTTP.
    ///
    /// Example: --files s3://clips/kinora
    #[arg(long, value_name = "FOLDER|URL", env = "KINORA_FILES", hide_env_values = true)]
    pub files: Option<String>,

    /// A model that is served: a name from `kinora models`, a folder, or a file; again for more
    ///
    /// The first one answers to sora-2.
    ///
    /// Example: --model toybox
    #[arg(long = "model", value_name = "NAME|PATH", env = "KINORA_MODEL", hide_env_values = true, default_value = DEFAULT_MODEL)]
    pub models: Vec<String>,

    /// How long finished videos are kept, in days; for ever if absent
    ///
    /// Example: --keep-days 30
    #[arg(long, value_name = "DAYS", env = "KINORA_KEEP_DAYS", hide_env_values = true, value_parser = values::days)]
    pub keep_days: Option<u32>,

    /// Worker processes on this machine; 0 if `kinora worker` runs elsewhere
    ///
    /// Example: --workers 1
    #[arg(long, value_name = "N", env = "KINORA_WORKERS", hide_env_values = true, default_value = "1", value_parser = values::workers, help_heading = "Workers")]
    pub workers: u32,

    /// The most memory that one worker may hold; what the system gives if absent
    ///
    /// Example: --max-memory 8GB
    #[arg(long, value_name = "SIZE", env = "KINORA_MAX_MEMORY", hide_env_values = true, value_parser = values::memory, help_heading = "Workers")]
    pub max_memory: Option<u64>,

    /// Want a key with every request
    ///
    /// Example: --keys
    #[arg(long, env = "KINORA_KEYS", hide_env_values = true, help_heading = "Access")]
    pub keys: bool,

    /// Certificate in PEM, with those between it and a trusted one; connections are encrypted then
    ///
    /// Example: --tls-certificate server.pem
    #[arg(
        long,
        value_name = "FILE",
        env = "KINORA_TLS_CERTIFICATE",
        hide_env_values = true,
        requires = "tls_key",
        help_heading = "Access"
    )]
    pub tls_certificate: Option<PathBuf>,

    /// Its private key in PEM
    ///
    /// Example: --tls-key server.key
    #[arg(
        long,
        value_name = "FILE",
        env = "KINORA_TLS_KEY",
        hide_env_values = true,
        requires = "tls_certificate",
        help_heading = "Access"
    )]
    pub tls_key: Option<PathBuf>,

    /// A web page's origin that may call the server from a browser; again for more
    ///
    /// Example: --cors https://studio.example
    #[arg(
        long,
        value_name = "ORIGIN",
        env = "KINORA_CORS",
        hide_env_values = true,
        value_delimiter = ',',
        help_heading = "Access"
    )]
    pub cors: Vec<String>,

    /// Let webhooks and fetched pictures reach private addresses: for tests and closed networks
    ///
    /// Example: --allow-private-addresses
    #[arg(
        long,
        env = "KINORA_ALLOW_PRIVATE_ADDRESSES",
        hide_env_values = true,
        help_heading = "Access"
    )]
    pub allow_private_addresses: bool,

    /// The largest upload
    ///
    /// Example: --max-body 512MB
    #[arg(long, value_name = "SIZE", env = "KINORA_MAX_BODY", hide_env_values = true, value_parser = values::memory, help_heading = "Limits")]
    pub max_body: Option<u64>,

    /// The largest request that is not an upload; it is held in memory
    ///
    /// Example: --max-memory-body 32MB
    #[arg(long, value_name = "SIZE", env = "KINORA_MAX_MEMORY_BODY", hide_env_values = true, value_parser = values::memory, help_heading = "Limits")]
    pub max_memory_body: Option<u64>,

    /// How long the headers of a request may take, in seconds
    ///
    /// Example: --header-seconds 10
    #[arg(long, value_name = "SECONDS", env = "KINORA_HEADER_SECONDS", hide_env_values = true, value_parser = values::wait, help_heading = "Limits")]
    pub header_seconds: Option<u32>,

    /// How long an upload may stand still, in seconds
    ///
    /// Example: --body-seconds 30
    #[arg(long, value_name = "SECONDS", env = "KINORA_BODY_SECONDS", hide_env_values = true, value_parser = values::wait, help_heading = "Limits")]
    pub body_seconds: Option<u32>,

    /// Connections at once
    ///
    /// Example: --connections 4096
    #[arg(long, value_name = "N", env = "KINORA_CONNECTIONS", hide_env_values = true, value_parser = values::connections, help_heading = "Limits")]
    pub connections: Option<u32>,

    /// Requests of one key in a minute; no limit if absent
    ///
    /// Example: --requests-per-minute 600
    #[arg(long, value_name = "N", env = "KINORA_REQUESTS_PER_MINUTE", hide_env_values = true, value_parser = values::connections, help_heading = "Limits")]
    pub requests_per_minute: Option<u32>,

    /// Unfinished jobs of one key; no limit if absent
    ///
    /// Example: --jobs-per-key 20
    #[arg(long, value_name = "N", env = "KINORA_JOBS_PER_KEY", hide_env_values = true, value_parser = values::connections, help_heading = "Limits")]
    pub jobs_per_key: Option<u32>,

    /// Free space of the disk below which no new job is taken
    ///
    /// Example: --min-free 1GB
    #[arg(long, value_name = "SIZE", env = "KINORA_MIN_FREE", hide_env_values = true, value_parser = values::memory, help_heading = "Limits")]
    pub min_free: Option<u64>,

    /// NATS.
    #[command(flatten)]
    pub nats: Nats,

    /// What of NATS only a server says.
    #[command(flatten)]
    pub nats_server: NatsServer,

    /// The log.
    #[command(flatten)]
    pub log: Log,
}
