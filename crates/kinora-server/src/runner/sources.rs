//! Brings the files that a job starts from to this machine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kinora_api::{VideoId, failure as code};
use kinora_jobs::{Failure, Stop};

use super::derived::Source;
use super::failure;
use crate::files::{BlockingFiles, FileRef};
use crate::work::OutcomeFiles;

/// Finds files.
pub(super) struct Finder<'a> {
    /// The files of finished videos, as the server found them.
    pub(super) known: &'a BTreeMap<String, OutcomeFiles>,
    pub(super) files: &'a BlockingFiles,
    /// Where files go that are not on this machine.
    pub(super) scratch: &'a Path,
}

impl Finder<'_> {
    /// The file on this machine.
    ///
    /// **Errors**: how the attempt ends without it.
    pub(super) fn find(&self, source: Source<'_>) -> Result<PathBuf, Stop> {
        match source {
            Source::Picture(key) | Source::Clip(key) => self
                .fetch(key)?
                .ok_or_else(|| missing("The input is not there any more.")),
            Source::Video(id) => self.video(&self.files_of(id)?),
            Source::Latents(id) => {
                let files = self.files_of(id)?;
                let latents = files.latents.as_ref().map(|key| self.fetch(key)).transpose()?;
                latents.flatten().map_or_else(|| self.video(&files), Ok)
            }
        }
    }

    fn video(&self, files: &OutcomeFiles) -> Result<PathBuf, Stop> {
        self.fetch(&files.video)?
            .ok_or_else(|| missing("The video that this one starts from is not there any more."))
    }

    fn files_of(&self, id: &VideoId) -> Result<OutcomeFiles, Stop> {
        let found = self.known.get(id.as_str()).cloned();
        found.ok_or_else(|| missing(&format!("The video {id} is not there any more.")))
    }

    fn fetch(&self, key: &FileRef) -> Result<Option<PathBuf>, Stop> {
        if let Some(path) = self.files.local_path(key) {
            return Ok(path.is_file().then_some(path));
        }
        // The ending says what is in it; the rest of the key must not decide where it lies.
        let name = key.0.replace('/', "-");
        let path = self.scratch.join(name);
        let found = self.files.fetch_to(key, &path);
        Ok(found.map_err(|error| failure::of_files(&error))?.then_some(path))
    }
}

fn missing(message: &str) -> Stop {
    Stop::Failed(Failure::new(code::INVALID_INPUT, message))
}
