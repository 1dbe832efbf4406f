//! Makes the videos: work becomes a request of the pipeline, the pipeline makes files, the files become an [`Outcome`].
//!
//! **The same bytes.** Everything that decides the bytes is in the work, so an attempt that goes on from a checkpoint of
//! another, or from nothing, gives the same video. **Nothing half**: files lie under the fence of the attempt until the job is
//! told of them, and are deleted if the attempt comes to nothing.

mod derived;
mod engines;
mod failure;
mod finish;
mod pace;
mod request;
mod sources;
#[cfg(test)]
mod tests;
mod watch;

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::Instant;

use kinora_api::failure as code;
use kinora_jobs::{Failure, Job, Progress, Runner, Stop};
use kinora_pipeline::{CancelToken, ErrorKind, Pipeline, Request, RunReport};
use serde_json::Value;
use tokio::runtime::Handle;

pub(crate) use derived::apply_unseen;
pub use engines::Model;
pub(crate) use request::{one_line, request_of};

use crate::files::{BlockingFiles, FileRef, Files};
use crate::observe::span_of_job;
use crate::work::{Outcome, Work};
use crate::{Error, Result};

use engines::{Affinity, Engines};
use watch::{Keeper, Shared, Watcher};

/// What a runner needs.
#[derive(Clone)]
pub struct RunnerParts {
    /// Where files are.
    pub files: Files,
    /// What the calls of `files` run on.
    pub runtime: Handle,
    /// What it makes videos with.
    pub models: Vec<Model>,
    /// The most memory that the process may hold; what the system gives if absent.
    pub max_memory_bytes: Option<u64>,
}

impl std::fmt::Debug for RunnerParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunnerParts")
            .field("files", &self.files)
            .field("models", &self.models)
            .finish_non_exhaustive()
    }
}

/// Makes videos.
pub struct VideoRunner {
    files: BlockingFiles,
    /// For what is only here while a job runs; removed with the runner.
    scratch: Scratch,
    engines: Engines,
    affinity: Affinity,
}

impl std::fmt::Debug for VideoRunner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VideoRunner")
            .field("engines", &self.engines)
            .finish_non_exhaustive()
    }
}

/// A folder that is removed when it is dropped.
#[derive(Debug)]
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        let mut random = [0_u8; 8];
        let path = std::env::temp_dir();
        let io = |source| Error::Io {
            action: "make a folder in",
            path: path.clone(),
            source,
        };
        getrandom::fill(&mut random).map_err(|error| io(std::io::Error::other(error)))?;
        let folder = path.join(format!("kinora-worker-{:016x}", u64::from_le_bytes(random)));
        std::fs::create_dir_all(&folder).map_err(io)?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It is in the folder for temporary files: the system clears what stays.
        std::fs::remove_dir_all(&self.0).ok();
    }
}

impl VideoRunner {
    /// A runner; models are opened when the first job asks for them.
    ///
    /// **Errors**: [`Error::Io`] without a place for temporary files.
    pub fn new(parts: RunnerParts) -> Result<Self> {
        let kinds = parts.models.iter().map(|model| kind_of(&model.engine)).collect();
        Ok(Self {
            files: BlockingFiles::new(parts.files, parts.runtime),
            scratch: Scratch::new()?,
            engines: Engines::new(parts.models, parts.max_memory_bytes),
            affinity: Affinity::new(kinds),
        })
    }

    fn attempt(&self, job: &Job, work: &Work, progress: &mut Progress<'_>, place: &Place) -> Result<Value, Stop> {
        let begun = Instant::now();
        progress.report("parse", 0, 1)?;
        let pipeline = self.engines.take(&work.engine, &work.options.loras)?;
        let made = self.make(job, work, progress, place, &pipeline);
        // A panic does not come here: what it has left of the pipeline is not used again.
        self.engines.give_back(&work.engine, pipeline);
        let (request, report) = made?;
        let outcome = finish::finish(&self.files, place, work, &request, &report, begun, progress)?;
        serde_json::to_value(&outcome).map_err(|error| failure::internal("the outcome", &error))
    }

    fn make(
        &self,
        job: &Job,
        work: &Work,
        progress: &mut Progress<'_>,
        place: &Place,
        pipeline: &Pipeline,
    ) -> Result<(Request, RunReport), Stop> {
        let description = pipeline.description();
        let refused =
            |refused: request::Refused| Stop::Failed(Failure::new(code::INVALID_INPUT, String::from(refused)));
        let mut request = request_of(work, description, &place.video()).map_err(refused)?;
        let finder = sources::Finder {
            known: &work.sources,
            files: &self.files,
            scratch: &place.scratch,
        };
        derived::apply(&mut request, &work.task, description, &mut |source| finder.find(source))?;
        let report = match self.run_pipeline(job, progress, place, pipeline, &request) {
            // Other models may be in the way; without them it may fit.
            Err(Ended::Error(error)) if error.kind() == ErrorKind::Memory && self.engines.release_others() => {
                self.run_pipeline(job, progress, place, pipeline, &request)
            }
            ended => ended,
        };
        match report {
            Ok(report) => Ok((request, report)),
            Err(Ended::Stop(stop)) => Err(stop),
            Err(Ended::Error(error)) => Err(failure::of_pipeline(&error)),
        }
    }

    fn run_pipeline(
        &self,
        job: &Job,
        progress: &mut Progress<'_>,
        place: &Place,
        pipeline: &Pipeline,
        request: &Request,
    ) -> Result<RunReport, Ended> {
        let cancel = CancelToken::new();
        let shared = RefCell::new(Shared::new(
            progress,
            &self.files,
            place,
            job,
            cancel.clone(),
            pipeline.description(),
        ));
        let run = pipeline.run_resumable(request, &mut Watcher(&shared), &cancel, &mut Keeper(&shared));
        let shared = shared.into_inner();
        match (shared.stopped(), run) {
            (Some(stop), _) => Err(Ended::Stop(stop)),
            (None, Ok(report)) => Ok(report),
            (None, Err(error)) => Err(Ended::Error(error)),
        }
    }

    /// Deletes what the attempt made, as far as nobody else needs it.
    fn clear(&self, job: &Job, place: &Place, ended: &Result<Value, Stop>) {
        let mut useless = Vec::new();
        if ended.is_err() {
            useless.push(FileRef(format!("videos/{}/{}", job.id, place.fence)));
        }
        match ended {
            // A new attempt has begun or will: it goes on from the checkpoint, and shows previews of its own.
            Err(Stop::Lost | Stop::ShuttingDown | Stop::TryAgain(_) | Stop::Store(_)) => {}
            // Whoever tries a failed or cancelled job again may go on from its checkpoint; retention deletes it in a day.
            Err(Stop::Cancelled | Stop::Failed(_)) => useless.push(FileRef(format!("previews/{}", job.id))),
            // Not before the job is told: if that fails, the next attempt needs the checkpoint. Retention deletes them.
            Ok(_) => {}
        }
        for key in useless {
            if let Err(error) = self.files.delete_all(&key) {
                tracing::warn!(%error, job = %job.id, "files of an attempt stay for now");
            }
        }
        std::fs::remove_dir_all(&place.scratch).ok();
    }
}

/// Why the pipeline gave no report.
enum Ended {
    Stop(Stop),
    Error(kinora_pipeline::Error),
}

/// The kind of the jobs that `engine` makes.
fn kind_of(engine: &str) -> String {
    format!("video/{engine}")
}

/// Where an attempt writes.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) job: String,
    pub(crate) fence: u64,
    /// The folder in which the video is made: its place in [`Files`] if that is a folder, or a temporary one.
    pub(crate) folder: PathBuf,
    /// For what is not kept.
    pub(crate) scratch: PathBuf,
}

impl Place {
    fn new(job: &Job, files: &BlockingFiles, scratch: &Scratch) -> std::io::Result<Self> {
        let (id, fence) = (job.id.to_string(), job.life.fence.0);
        let scratch = scratch.0.join(format!("{id}-{fence}"));
        let key = FileRef(format!("videos/{id}/{fence}"));
        let folder = files.local_path(&key).unwrap_or_else(|| scratch.join("made"));
        std::fs::create_dir_all(&folder)?;
        std::fs::create_dir_all(&scratch)?;
        Ok(Self {
            job: id,
            fence,
            folder,
            scratch,
        })
    }

    pub(crate) fn video(&self) -> PathBuf {
        self.folder.join("video.mp4")
    }

    /// The key of a file in `folder`.
    pub(crate) fn key(&self, name: &str) -> FileRef {
        FileRef(format!("videos/{}/{}/{name}", self.job, self.fence))
    }
}

impl Runner for VideoRunner {
    fn kinds(&self) -> Vec<String> {
        self.affinity.kinds()
    }

    fn run(&self, job: &Job, progress: &mut Progress<'_>) -> Result<Value, Stop> {
        self.affinity.began(&job.kind);
        let work: Work = serde_json::from_value(job.request.clone()).map_err(|error| {
            tracing::error!(%error, job = %job.id, "a job cannot be read");
            Stop::Failed(Failure::new(code::INTERNAL_ERROR, "This version cannot read the job."))
        })?;
        if work.version != Work::VERSION {
            let message = format!(
                "The job has version {}, this worker knows {}.",
                work.version,
                Work::VERSION
            );
            return Err(Stop::Failed(Failure::new(code::INTERNAL_ERROR, message)));
        }
        let span = span_of_job(work.traceparent.as_deref(), &job.id.0, job.life.attempts);
        let _inside = span.enter();
        let place = Place::new(job, &self.files, &self.scratch).map_err(|error| failure::of_system(&error))?;
        let ended = self.attempt(job, &work, progress, &place);
        self.clear(job, &place, &ended);
        ended
    }
}

/// What a finished job says of itself, for tests and tools.
///
/// **Errors**: JSON that is no outcome.
pub fn outcome_of(result: &Value) -> serde_json::Result<Outcome> {
    serde_json::from_value(result.clone())
}
