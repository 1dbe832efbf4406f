//! Where files are: one place for videos, inputs, checkpoints, previews and small records, on a disk or in a bucket.
//!
//! | key | what |
//! |---|---|
//! | `videos/<id>/<fence>/…` | what a finished job made; the fence keeps a worker that was thought dead from writing over it |
//! | `checkpoints/<id>/<fence>-<step>.safetensors` | where a job can go on |
//! | `previews/<id>/<fence>-<step>.webp` | how a video looks so far |
//! | `uploads/<sha256>` | inputs, by their content: the same file is kept once |
//! | `characters/<project>/<id>/…` | characters |
//! | `records/<kind>/<name>.json` | small records of the server: keys, webhooks |

mod stream;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The key of a file in [`Files`]: made by this server, never by a client.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FileRef(pub String);

impl std::fmt::Display for FileRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// The place. Clones share it.
#[derive(Debug, Clone)]
pub struct Files {
    place: Arc<dyn ObjectStore>,
}

impl Files {
    /// Files in a folder of this machine, which is made if it is not there.
    ///
    /// **Errors**: [`Error::Io`].
    pub fn in_folder(folder: &Path) -> Result<Self> {
        let io = |source| Error::Io {
            action: "make the folder",
            path: folder.to_owned(),
            source,
        };
        std::fs::create_dir_all(folder).map_err(io)?;
        crate::records::make_private_folder(folder)?;
        let place = object_store::local::LocalFileSystem::new_with_prefix(folder)
            .map_err(|error| failed("open", &FileRef(folder.display().to_string()), &error))?
            .with_fsync(true);
        Ok(Self { place: Arc::new(place) })
    }

    /// Writes a small file, whole or not at all.
    ///
    /// **Errors**: [`Error::Files`].
    pub async fn write(&self, key: &FileRef, bytes: Bytes) -> Result<()> {
        let put = self.place.put(&path(key)?, PutPayload::from_bytes(bytes)).await;
        put.map(|_| ()).map_err(|error| failed("write", key, &error))
    }

    /// Writes a small file if there is none with this key; false if there is one, which stays as it is.
    ///
    /// **Errors**: [`Error::Files`].
    pub async fn create(&self, key: &FileRef, bytes: Bytes) -> Result<bool> {
        let options = PutOptions::from(PutMode::Create);
        let path = path(key)?;
        let put = self.place.put_opts(&path, PutPayload::from_bytes(bytes), options);
        match put.await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => Ok(false),
            Err(error) => Err(failed("write", key, &error)),
        }
    }

    /// The keys of all files in a folder and the folders in it, in order.
    ///
    /// **Errors**: [`Error::Files`].
    pub async fn list(&self, folder: &FileRef) -> Result<Vec<FileRef>> {
        let found = self.place.list(Some(&path(folder)?));
        let keys = found.map_ok(|file| FileRef(file.location.to_string()));
        let mut keys: Vec<FileRef> = keys
            .try_collect()
            .await
            .map_err(|error| failed("list", folder, &error))?;
        keys.sort_unstable();
        Ok(keys)
    }

    /// Reads a small file; `None` if there is none.
    ///
    /// **Errors**: [`Error::Files`].
    pub async fn read(&self, key: &FileRef) -> Result<Option<Bytes>> {
        let found = match self.place.get(&path(key)?).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            found => found.map_err(|error| failed("read", key, &error))?,
        };
        let bytes = found.bytes().await.map_err(|error| failed("read", key, &error))?;
        Ok(Some(bytes))
    }

    /// Deletes a file; one that is not there is deleted already.
    ///
    /// **Errors**: [`Error::Files`].
    pub async fn delete(&self, key: &FileRef) -> Result<()> {
        match self.place.delete(&path(key)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed("delete", key, &error)),
        }
    }
}

fn path(key: &FileRef) -> Result<object_store::path::Path> {
    object_store::path::Path::parse(&key.0).map_err(|error| Error::Files {
        action: "name",
        key: key.0.clone(),
        reason: error.to_string(),
    })
}

fn failed(action: &'static str, key: &FileRef, error: &object_store::Error) -> Error {
    Error::Files {
        action,
        key: key.0.clone(),
        reason: error.to_string(),
    }
}
