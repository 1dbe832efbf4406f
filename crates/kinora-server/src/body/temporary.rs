//! Files of a request while it is being answered: under names of ours, gone with it.

use std::path::{Path, PathBuf};

use crate::hex::hex;
use crate::{Error, Result};

/// How the names of all of them begin.
const PREFIX: &str = "upload-";

/// A file that is deleted when this is dropped.
#[derive(Debug)]
pub(crate) struct Temporary {
    path: PathBuf,
}

fn folder_of(server: &Path) -> PathBuf {
    server.join("tmp")
}

fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::Io { action, path, source }
}

impl Temporary {
    /// A new empty file in the server's folder, and the handle to write it.
    ///
    /// **Errors**: [`Error::Io`].
    pub(crate) fn new(server: &Path) -> Result<(Self, std::fs::File)> {
        let temporary = Self::reserve(server, "")?;
        let path = temporary.path();
        let made = std::fs::File::options().write(true).create_new(true).open(path);
        let file = made.map_err(io("write", path))?;
        Ok((temporary, file))
    }

    /// A name in the server's folder with this ending, for a file that somebody else writes.
    ///
    /// **Errors**: [`Error::Io`].
    pub(crate) fn reserve(server: &Path, ending: &str) -> Result<Self> {
        let folder = folder_of(server);
        std::fs::create_dir_all(&folder).map_err(io("make the folder", &folder))?;
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| io("name a file in", &folder)(error.into()))?;
        let name = hex(&random);
        Ok(Self {
            path: folder.join(format!("{PREFIX}{name}{ending}")),
        })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path.display(), %error, "a temporary file could not be deleted");
        }
    }
}

/// Deletes what a server that was killed left in its folder.
///
/// **Errors**: [`Error::Io`] if the folder cannot be made or read.
pub(crate) fn sweep(server: &Path) -> Result<()> {
    let folder = folder_of(server);
    std::fs::create_dir_all(&folder).map_err(io("make the folder", &folder))?;
    let entries = std::fs::read_dir(&folder).map_err(io("read the folder", &folder))?;
    for entry in entries.flatten() {
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        if ours {
            std::fs::remove_file(entry.path()).map_err(io("delete", &entry.path()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_go_when_dropped_and_what_was_left_goes_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let names = || std::fs::read_dir(folder_of(folder.path())).unwrap().count();
        let (first, _) = Temporary::new(folder.path()).unwrap();
        let (second, _) = Temporary::new(folder.path()).unwrap();
        assert_eq!(names(), 2);
        drop(first);
        assert_eq!(names(), 1);
        std::fs::write(folder_of(folder.path()).join("of-another"), "").unwrap();
        sweep(folder.path()).unwrap();
        assert!(!second.path().exists());
        assert_eq!(names(), 1, "files of others stay");
    }
}
