//! `kinora worker`: makes the videos of a queue until it is told to stop.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use kinora_server::worker::{JobSource, WorkerSettings, end_with_standard_input, run as work};

use super::service;
use crate::args::Worker;
use crate::trouble::say_plain;

/// Whether somebody asked for the end.
static SHUTDOWN: AtomicBool = AtomicBool::new(false);

/// Works until Ctrl-C, a request of the system to end, or the end of standard input if that is wanted.
pub fn run(args: &Worker) -> anyhow::Result<()> {
    if let Some(threads) = args.threads {
        kinora_kernels::set_threads(threads as usize)?;
    }
    let _log = service::log(&args.log)?;
    // One of the two is there: the definition of the arguments says so.
    let jobs = match (service::nats(&args.nats), &args.jobs) {
        (Some(nats), _) => JobSource::Nats(Box::new(nats)),
        (None, jobs) => JobSource::Record(jobs.clone().unwrap_or_default()),
    };
    let settings = WorkerSettings {
        jobs,
        files: args.files.clone(),
        models: args.models.clone(),
        max_memory_bytes: args.max_memory,
        name: args.name.clone(),
        lease: args.lease.unwrap_or(WorkerSettings::LEASE),
    };
    let on_signal = || {
        if SHUTDOWN.swap(true, Ordering::SeqCst) {
            // Its job goes on from the last checkpoint when its lease is over.
            std::process::exit(i32::from(crate::trouble::STOPPED));
        }
    };
    ctrlc::set_handler(on_signal).context("cannot listen for Ctrl-C")?;
    if args.until_stdin_ends {
        end_with_standard_input(&SHUTDOWN);
    } else {
        say_plain(&format!(
            "{} makes videos with {}; Ctrl-C gives the job back at its next step\n",
            args.name,
            args.models.join(", ")
        ));
    }
    Ok(work(&settings, &SHUTDOWN)?)
}
