//! Files for a thread that runs a model: the same place, with calls that block.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::runtime::Handle;

use super::{FileInfo, FileRef, Files};
use crate::Result;

/// [`Files`] with calls that block. Not for the threads of a runtime.
#[derive(Debug, Clone)]
pub struct BlockingFiles {
    files: Files,
    runtime: Handle,
}

impl BlockingFiles {
    /// Waits for `files` on `runtime`.
    #[must_use]
    pub const fn new(files: Files, runtime: Handle) -> Self {
        Self { files, runtime }
    }

    /// As [`Files::local_path`].
    #[must_use]
    pub fn local_path(&self, key: &FileRef) -> Option<PathBuf> {
        self.files.local_path(key)
    }

    /// As [`Files::write`]. **Errors**: those.
    pub fn write(&self, key: &FileRef, bytes: Vec<u8>) -> Result<()> {
        self.runtime.block_on(self.files.write(key, Bytes::from(bytes)))
    }

    /// As [`Files::import`]. **Errors**: those.
    pub fn import(&self, path: &Path, key: &FileRef) -> Result<()> {
        self.runtime.block_on(self.files.import(path, key))
    }

    /// As [`Files::head`]. **Errors**: those.
    pub fn head(&self, key: &FileRef) -> Result<Option<FileInfo>> {
        self.runtime.block_on(self.files.head(key))
    }

    /// As [`Files::fetch_to`]. **Errors**: those.
    pub fn fetch_to(&self, key: &FileRef, to: &Path) -> Result<bool> {
        self.runtime.block_on(self.files.fetch_to(key, to))
    }

    /// As [`Files::delete`]. **Errors**: those.
    pub fn delete(&self, key: &FileRef) -> Result<()> {
        self.runtime.block_on(self.files.delete(key))
    }

    /// As [`Files::delete_all`]. **Errors**: those.
    pub fn delete_all(&self, prefix: &FileRef) -> Result<()> {
        self.runtime.block_on(self.files.delete_all(prefix))
    }
}
