//! What `kinora serve` and `kinora worker` set up alike.

use kinora_server::{DispatchOptions, LogFormat, LogOptions, Logs, init};

use crate::args::{Log, LogStyle, Nats};

/// Begins the log. It ends, and traces are sent, when the value is dropped.
pub fn log(args: &Log) -> anyhow::Result<Logs> {
    Ok(init(&LogOptions {
        format: match args.log_format {
            LogStyle::Text => LogFormat::Text,
            LogStyle::Json => LogFormat::Json,
        },
        filter: None,
        otlp_endpoint: args.otlp.clone(),
    })?)
}

/// How NATS is reached, if it is.
pub fn nats(args: &Nats) -> Option<DispatchOptions> {
    let usual = DispatchOptions::default();
    Some(DispatchOptions {
        url: args.nats.clone()?,
        prefix: args.nats_prefix.clone().unwrap_or(usual.prefix),
        credentials: args.nats_creds.clone(),
        tls_ca: args.nats_ca.clone(),
        ..DispatchOptions::default()
    })
}
