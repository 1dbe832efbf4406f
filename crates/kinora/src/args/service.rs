//! Flags that a server and its workers have in common: the log, and NATS.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogStyle {
    /// For people
    Text,
    /// One object a line
    Json,
}

/// Flags of the log.
#[derive(Debug, Args)]
#[command(next_help_heading = "Log")]
pub struct Log {
    /// How a line of the log looks; KINORA_LOG says what is logged (info, warn, kinora_server=debug)
    ///
    /// Example: --log-format json
    #[arg(
        long,
        value_name = "FORMAT",
        env = "KINORA_LOG_FORMAT",
        hide_env_values = true,
        default_value = "text"
    )]
    pub log_format: LogStyle,

    /// The collector of OpenTelemetry that gets traces over HTTP; none if absent
    ///
    /// Example: --otlp http://127.0.0.1:4318
    #[arg(long, value_name = "URL", env = "KINORA_OTLP", hide_env_values = true)]
    pub otlp: Option<String>,
}

/// Flags of NATS.
#[derive(Debug, Args)]
#[command(next_help_heading = "Workers on other machines")]
pub struct Nats {
    /// The NATS servers through which workers on other machines get jobs
    ///
    /// Example: --nats nats://127.0.0.1:4222
    #[arg(long, value_name = "URL", env = "KINORA_NATS", hide_env_values = true)]
    pub nats: Option<String>,

    /// How subjects of NATS begin: several Kinoras share one NATS by different ones
    ///
    /// Example: --nats-prefix kinora
    #[arg(
        long,
        value_name = "WORD",
        env = "KINORA_NATS_PREFIX",
        hide_env_values = true,
        requires = "nats"
    )]
    pub nats_prefix: Option<String>,

    /// A file of credentials for NATS
    ///
    /// Example: --nats-creds worker.creds
    #[arg(
        long,
        value_name = "FILE",
        env = "KINORA_NATS_CREDS",
        hide_env_values = true,
        requires = "nats"
    )]
    pub nats_creds: Option<PathBuf>,

    /// Who signs the certificate of NATS, in PEM, if the system does not know
    ///
    /// Example: --nats-ca ca.pem
    #[arg(
        long,
        value_name = "FILE",
        env = "KINORA_NATS_CA",
        hide_env_values = true,
        requires = "nats"
    )]
    pub nats_ca: Option<PathBuf>,
}

/// What of NATS only a server says.
#[derive(Debug, Args)]
#[command(next_help_heading = "Workers on other machines")]
pub struct NatsServer {
    /// Refuse a NATS server that does not sync each write to its disk
    ///
    /// Example: --nats-require-sync --nats-monitor http://127.0.0.1:8222
    #[arg(long, env = "KINORA_NATS_REQUIRE_SYNC", hide_env_values = true, requires = "nats")]
    pub nats_require_sync: bool,

    /// The monitoring address of the NATS server, where its settings can be read
    ///
    /// Example: --nats-monitor http://127.0.0.1:8222
    #[arg(
        long,
        value_name = "URL",
        env = "KINORA_NATS_MONITOR",
        hide_env_values = true,
        requires = "nats"
    )]
    pub nats_monitor: Option<String>,
}
