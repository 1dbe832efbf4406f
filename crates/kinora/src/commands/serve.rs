//! `kinora serve`: flags become the settings of a server.

use std::time::Duration;

use anyhow::Context;
use kinora_server::{Config, DispatchOptions, Limits, Tls};

use super::service;
use crate::args::Serve;

/// Threads that wait for the record, for files and for other machines. Each holds memory of its own, so a thousand who ask at once
/// queue for them; webhooks and fetched pictures, which may wait long, take at most 48.
const BLOCKING_THREADS: usize = 96;

/// Serves until it is told to stop.
pub fn run(args: &Serve) -> anyhow::Result<()> {
    let _log = service::log(&args.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build();
    let runtime = runtime.context("cannot start the server")?;
    Ok(runtime.block_on(kinora_server::run(config(args)))?)
}

fn config(args: &Serve) -> Config {
    let usual = Limits::default();
    let seconds =
        |given: Option<u32>, usual: Duration| given.map_or(usual, |seconds| Duration::from_secs(seconds.into()));
    Config {
        jobs: args.jobs.clone(),
        files: args.files.clone(),
        models: args.models.clone(),
        keys: args.keys,
        tls: args
            .tls_certificate
            .clone()
            .zip(args.tls_key.clone())
            .map(|(certificate, key)| Tls { certificate, key }),
        cors: args.cors.clone(),
        keep: args
            .keep_days
            .map(|days| Duration::from_secs(u64::from(days) * 24 * 3600)),
        workers: args.workers as usize,
        max_memory_bytes: args.max_memory,
        allow_private_addresses: args.allow_private_addresses,
        nats: nats(args),
        limits: Limits {
            body_bytes: args.max_body.unwrap_or(usual.body_bytes),
            memory_body_bytes: args.max_memory_body.unwrap_or(usual.memory_body_bytes),
            header_time: seconds(args.header_seconds, usual.header_time),
            body_time: seconds(args.body_seconds, usual.body_time),
            connections: args.connections.map_or(usual.connections, |count| count as usize),
            requests_per_minute: args.requests_per_minute,
            jobs_per_key: args.jobs_per_key,
            free_bytes: args.min_free.unwrap_or(usual.free_bytes),
        },
        ..Config::new(args.address, args.folder.clone())
    }
}

fn nats(args: &Serve) -> Option<DispatchOptions> {
    let common = service::nats(&args.nats)?;
    Some(DispatchOptions {
        require_sync: args.nats_server.nats_require_sync,
        monitor: args.nats_server.nats_monitor.clone(),
        ..common
    })
}
