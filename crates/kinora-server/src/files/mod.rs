//! Where files are: one place for videos, inputs, checkpoints, previews and small records, on a disk or in a bucket.
//!
//! | key | what |
//! |---|---|
//! | `videos/<id>/<fence>/…` | what a finished job made; the fence keeps a worker that was thought dead from writing over it |
//! | `checkpoints/<id>/<fence>-<step>.safetensors` | where a job can go on |
//! | `previews/<id>/<fence>-<step>.webp` | how a video looks so far |
//! | `uploads/<random>` | inputs |
//! | `characters/<project>/<id>/…` | characters |
//! | `records/<kind>/<name>.json` | small records of the server: keys, webhooks |
//!
//! A file is there under its key when it is whole, and not before. In a folder it is written beside its place, synced and
//! renamed; a bucket does the same by itself. (Parts of uploads to a bucket that were never finished are removed by a
//! lifecycle rule of the bucket: `AbortIncompleteMultipartUpload`.)

mod blocking;
mod local;
mod place;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use object_store::{
    GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, WriteMultipart,
};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{Error, Result};

pub use blocking::BlockingFiles;
pub use place::install_crypto;

/// Files up to this size go to a bucket in one request; larger ones in parts of it.
const PART_BYTES: usize = 8 << 20;
/// Parts on their way at once.
const PARTS_AT_ONCE: usize = 4;

/// The key of a file in [`Files`]: made by this server, never by a client.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FileRef(pub String);

impl std::fmt::Display for FileRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is known of a file without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileInfo {
    /// Its key.
    pub key: FileRef,
    /// Its size.
    pub bytes: u64,
    /// When it was written, in milliseconds since 1970.
    pub modified_ms: i64,
    /// Changes when its content does, if the place says.
    pub tag: Option<String>,
}

impl From<object_store::ObjectMeta> for FileInfo {
    fn from(meta: object_store::ObjectMeta) -> Self {
        Self {
            key: FileRef(meta.location.to_string()),
            bytes: meta.size,
            modified_ms: meta.last_modified.timestamp_millis(),
            tag: meta.e_tag,
        }
    }
}

/// The bytes of a file, as they come.
pub type FileStream = BoxStream<'static, Result<Bytes>>;

/// The place. Clones share it.
#[derive(Debug, Clone)]
pub struct Files {
    place: Arc<dyn ObjectStore>,
    /// The folder, if it is one.
    folder: Option<Arc<Path>>,
}

impl Files {
    /// The place that `text` names: `s3://bucket/prefix`, or a folder. Credentials, region and endpoint of a bucket come
    /// from the environment (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT`, `AWS_ALLOW_HTTP`, …).
    ///
    /// **Errors**: [`Error::Setting`] for another kind of place, [`Error::Io`] for a folder that cannot be made.
    pub fn open(text: &str) -> Result<Self> {
        match text.split_once("://") {
            None => Self::in_folder(Path::new(text)),
            Some(("s3", _)) => Ok(Self {
                place: place::bucket(text)?,
                folder: None,
            }),
            Some((other, _)) => Err(Error::Setting {
                what: "--files",
                problem: format!("{other}:// is no place for files that is known"),
                hint: "a folder, or s3://bucket/prefix".into(),
            }),
        }
    }

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
        let folder = std::path::absolute(folder).map_err(io)?;
        crate::records::make_private_folder(&folder)?;
        let place = object_store::local::LocalFileSystem::new_with_prefix(&folder)
            .map_err(|error| failed("open", &FileRef(folder.display().to_string()), &error))?
            .with_fsync(true);
        Ok(Self {
            place: Arc::new(place),
            folder: Some(folder.into()),
        })
    }

    /// Files in memory: a place that is no folder, for tests.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::of(Arc::new(object_store::memory::InMemory::new()))
    }

    /// Files in another place.
    pub(crate) const fn of(place: Arc<dyn ObjectStore>) -> Self {
        Self { place, folder: None }
    }

    /// Where a file of this key lies or would lie on this machine; `None` if the place is no folder, or for a key that is
    /// none. The folder around it need not be there.
    #[must_use]
    pub fn local_path(&self, key: &FileRef) -> Option<PathBuf> {
        let location = path(key).ok()?;
        let folder = self.folder.as_ref()?;
        Some(
            location
                .parts()
                .fold(folder.to_path_buf(), |at, part| at.join(part.as_ref())),
        )
    }

    /// Writes a small file, whole or not at all.
    ///
    /// **Errors**: [`Error::Files`], [`Error::StorageFull`].
    pub async fn write(&self, key: &FileRef, bytes: Bytes) -> Result<()> {
        let put = self.place.put(&path(key)?, PutPayload::from_bytes(bytes)).await;
        put.map(|_| ()).map_err(|error| failed("write", key, &error))
    }

    /// Copies the file at `path` in, whole or not at all; on the disk of a folder it is there for good when this returns.
    ///
    /// **Errors**: [`Error::Files`], [`Error::StorageFull`].
    pub async fn import(&self, path: &Path, key: &FileRef) -> Result<()> {
        match self.local_path(key) {
            Some(target) => {
                let from = path.to_owned();
                blocking(key, move || local::copy(&from, &target)).await
            }
            None => self.upload(path, key).await,
        }
    }

    async fn upload(&self, from: &Path, key: &FileRef) -> Result<()> {
        let io = |error: std::io::Error| of_io("write", key, &error);
        let location = path(key)?;
        let mut file = tokio::fs::File::open(from).await.map_err(io)?;
        let mut part = read_part(&mut file).await.map_err(io)?;
        if part.len() < PART_BYTES {
            return self.write(key, part).await;
        }
        let upload = self.place.put_multipart(&location).await;
        let mut upload =
            WriteMultipart::new_with_chunk_size(upload.map_err(|error| failed("write", key, &error))?, PART_BYTES);
        while !part.is_empty() {
            let sent = upload.wait_for_capacity(PARTS_AT_ONCE).await;
            let read = match sent {
                Ok(()) => {
                    upload.put(part);
                    read_part(&mut file).await.map_err(io)
                }
                Err(error) => Err(failed("write", key, &error)),
            };
            part = match read {
                Ok(part) => part,
                Err(error) => {
                    // What was sent is of no use; that it cannot be removed changes nothing.
                    upload.abort().await.ok();
                    return Err(error);
                }
            };
        }
        let finished = upload.finish().await;
        finished.map(|_| ()).map_err(|error| failed("write", key, &error))
    }

    /// Writes a small file if there is none with this key; false if there is one, which stays as it is.
    ///
    /// **Errors**: [`Error::Files`], [`Error::StorageFull`].
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

    /// Reads a small file; `None` if there is none.
    ///
    /// **Errors**: [`Error::Files`].
    pub async fn read(&self, key: &FileRef) -> Result<Option<Bytes>> {
        if !could_be(key) {
            return Ok(None);
        }
        let found = match self.place.get(&path(key)?).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            found => found.map_err(|error| failed("read", key, &error))?,
        };
        let bytes = found.bytes().await.map_err(|error| failed("read", key, &error))?;
        Ok(Some(bytes))
    }

    /// A range of a file's bytes, as they come; `None` if there is no such file. The range is cut to the file.
    ///
    /// **Errors**: [`Error::Files`], also from the stream.
    pub async fn read_range(&self, key: &FileRef, range: Range<u64>) -> Result<Option<FileStream>> {
        if range.is_empty() {
            return Ok(Some(futures_util::stream::empty().boxed()));
        }
        let options = GetOptions {
            range: Some(GetRange::Bounded(range)),
            ..GetOptions::default()
        };
        let found = match self.place.get_opts(&path(key)?, options).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            found => found.map_err(|error| failed("read", key, &error))?,
        };
        let key = key.clone();
        let pieces = found.into_stream();
        Ok(Some(pieces.map_err(move |error| failed("read", &key, &error)).boxed()))
    }

    /// Size and age of a file; `None` if there is none.
    ///
    /// **Errors**: [`Error::Files`].
    pub async fn head(&self, key: &FileRef) -> Result<Option<FileInfo>> {
        if !could_be(key) {
            return Ok(None);
        }
        match self.place.head(&path(key)?).await {
            Ok(meta) => Ok(Some(meta.into())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed("read", key, &error)),
        }
    }

    /// Copies a file to `to` on this machine, whole or not at all. Returns whether there is one.
    ///
    /// **Errors**: [`Error::Files`], [`Error::StorageFull`].
    pub async fn fetch_to(&self, key: &FileRef, to: &Path) -> Result<bool> {
        if let Some(from) = self.local_path(key) {
            if !from.is_file() {
                return Ok(false);
            }
            let to = to.to_owned();
            return blocking(key, move || local::copy(&from, &to)).await.map(|()| true);
        }
        let found = match self.place.get(&path(key)?).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(false),
            found => found.map_err(|error| failed("read", key, &error))?,
        };
        let mut stream = found.into_stream();
        let part = local::beside(to);
        let io = |error: std::io::Error| of_io("read", key, &error);
        let mut file = tokio::fs::File::create(&part).await.map_err(io)?;
        while let Some(bytes) = stream.next().await {
            let bytes = bytes.map_err(|error| failed("read", key, &error));
            let written = match bytes {
                Ok(bytes) => file.write_all(&bytes).await.map_err(io),
                Err(error) => Err(error),
            };
            if let Err(error) = written {
                tokio::fs::remove_file(&part).await.ok();
                return Err(error);
            }
        }
        file.flush().await.map_err(io)?;
        tokio::fs::rename(&part, to).await.map_err(io)?;
        Ok(true)
    }

    /// The files below a prefix of whole names (`videos/video_1`), or all.
    ///
    /// **Errors**: [`Error::Files`].
    pub async fn list(&self, prefix: Option<&FileRef>) -> Result<Vec<FileInfo>> {
        let all = FileRef(String::new());
        let key = prefix.unwrap_or(&all);
        let below = prefix.map(path).transpose()?;
        let listed = self
            .place
            .list(below.as_ref())
            .map_ok(FileInfo::from)
            .try_collect()
            .await;
        listed.map_err(|error| failed("list", key, &error))
    }

    /// The names one level below a prefix of whole names, files and folders alike.
    ///
    /// **Errors**: [`Error::Files`].
    pub async fn names_in(&self, prefix: &FileRef) -> Result<Vec<String>> {
        let below = path(prefix)?;
        let listed = self.place.list_with_delimiter(Some(&below)).await;
        let listed = listed.map_err(|error| failed("list", prefix, &error))?;
        let files = listed.objects.into_iter().map(|meta| meta.location);
        let paths = listed.common_prefixes.into_iter().chain(files);
        Ok(paths.filter_map(|path| Some(path.filename()?.to_owned())).collect())
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

    /// Deletes everything below a prefix of whole names.
    ///
    /// **Errors**: [`Error::Files`]; of an empty prefix too, which would be everything.
    pub async fn delete_all(&self, prefix: &FileRef) -> Result<()> {
        if path(prefix)?.parts().next().is_none() {
            return Err(Error::Files {
                action: "delete",
                key: prefix.0.clone(),
                reason: "the prefix is empty".into(),
            });
        }
        if let Some(folder) = self.local_path(prefix) {
            return blocking(prefix, move || local::remove_folder(&folder)).await;
        }
        for file in self.list(Some(prefix)).await? {
            self.delete(&file.key).await?;
        }
        Ok(())
    }

    /// Deletes what writers that died have left half-written in a folder and not touched for `age`; says how much.
    /// A bucket shows no such files.
    ///
    /// **Errors**: [`Error::Files`].
    pub async fn delete_half_written(&self, age: std::time::Duration) -> Result<usize> {
        let Some(folder) = self.folder.clone() else {
            return Ok(0);
        };
        let key = FileRef(String::new());
        blocking(&key, move || local::remove_half_written(&folder, age)).await
    }
}

/// Reads up to a part.
async fn read_part(file: &mut tokio::fs::File) -> std::io::Result<Bytes> {
    let mut part = Vec::with_capacity(PART_BYTES);
    let limit = PART_BYTES as u64;
    (&mut *file).take(limit).read_to_end(&mut part).await?;
    Ok(part.into())
}

/// Does what blocks beside the tasks that answer requests.
async fn blocking<T: Send + 'static>(
    key: &FileRef,
    call: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(call).await;
    let done = done.map_err(std::io::Error::other).and_then(|done| done);
    done.map_err(|error| of_io("write", key, &error))
}

/// Whether a file can have this key: no disk keeps longer names, and asking for one would be a failure of the disk.
fn could_be(key: &FileRef) -> bool {
    const LONGEST_NAME: usize = 200;
    key.0.split('/').all(|name| name.len() <= LONGEST_NAME)
}

fn path(key: &FileRef) -> Result<object_store::path::Path> {
    object_store::path::Path::parse(&key.0).map_err(|error| Error::Files {
        action: "name",
        key: key.0.clone(),
        reason: error.to_string(),
    })
}

fn failed(action: &'static str, key: &FileRef, error: &object_store::Error) -> Error {
    match is_full(error) {
        true => Error::StorageFull { key: key.0.clone() },
        false => Error::Files {
            action,
            key: key.0.clone(),
            reason: error.to_string(),
        },
    }
}

fn of_io(action: &'static str, key: &FileRef, error: &std::io::Error) -> Error {
    match is_full(error) {
        true => Error::StorageFull { key: key.0.clone() },
        false => Error::Files {
            action,
            key: key.0.clone(),
            reason: error.to_string(),
        },
    }
}

/// Whether an error or one of its causes says that there is no space left.
pub(crate) fn is_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let mut of_system = causes.filter_map(|error| error.downcast_ref::<std::io::Error>());
    of_system.any(|error| {
        use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
    })
}
