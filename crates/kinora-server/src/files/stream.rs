//! Large files: in from the disk and out by ranges, a piece at a time.

use std::ops::Range;
use std::path::Path;

use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt};
use kinora_jobs::Timestamp;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutPayload};
use tokio::io::AsyncReadExt;

use super::{FileRef, Files, failed, path};
use crate::{Error, Result};

/// How much is moved at once, in bytes. Buckets take no smaller parts than 5 MiB.
const PIECE: usize = 8 << 20;

impl Files {
    /// Writes the file at `from` under `key`, whole or not at all.
    ///
    /// **Errors**: [`Error::Io`] if `from` cannot be read, [`Error::Files`].
    pub async fn import(&self, from: &Path, key: &FileRef) -> Result<()> {
        let io = |source| Error::Io {
            action: "read",
            path: from.to_owned(),
            source,
        };
        let mut file = tokio::fs::File::open(from).await.map_err(io)?;
        let first = piece(&mut file).await.map_err(io)?;
        if first.len() < PIECE {
            return self.write(key, first.into()).await;
        }
        let wrong = |error: object_store::Error| failed("write", key, &error);
        let mut upload = self.place.put_multipart(&path(key)?).await.map_err(wrong)?;
        let mut next = first;
        while !next.is_empty() {
            let put = upload.put_part(PutPayload::from(next)).await;
            let read = match put {
                Ok(()) => piece(&mut file).await.map_err(io),
                Err(error) => Err(wrong(error)),
            };
            next = match read {
                Ok(read) => read,
                Err(error) => {
                    upload.abort().await.ok();
                    return Err(error);
                }
            };
        }
        upload.complete().await.map(|_| ()).map_err(wrong)
    }

    /// Deletes all files in a folder and the folders in it.
    ///
    /// **Errors**: [`Error::Files`].
    pub async fn delete_folder(&self, folder: &FileRef) -> Result<()> {
        let mut found = self.place.list(Some(&path(folder)?));
        while let Some(file) = found.next().await {
            let file = file.map_err(|error| failed("list", folder, &error))?;
            self.delete(&FileRef(file.location.to_string())).await?;
        }
        Ok(())
    }

    /// The files in a folder that were last written before this moment.
    ///
    /// **Errors**: [`Error::Files`].
    pub async fn written_before(&self, folder: &FileRef, moment: Timestamp) -> Result<Vec<FileRef>> {
        let mut found = self.place.list(Some(&path(folder)?));
        let mut keys = Vec::new();
        while let Some(file) = found.next().await {
            let file = file.map_err(|error| failed("list", folder, &error))?;
            if file.last_modified.timestamp_millis() < moment.as_ms() {
                keys.push(FileRef(file.location.to_string()));
            }
        }
        Ok(keys)
    }

    /// Whether a file is there and was last written before this moment.
    ///
    /// **Errors**: [`Error::Files`].
    pub async fn was_written_before(&self, key: &FileRef, moment: Timestamp) -> Result<bool> {
        match self.place.head(&path(key)?).await {
            Ok(facts) => Ok(facts.last_modified.timestamp_millis() < moment.as_ms()),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(failed("read", key, &error)),
        }
    }

    /// The size of a file in bytes; `None` if there is none.
    ///
    /// **Errors**: [`Error::Files`].
    pub async fn size(&self, key: &FileRef) -> Result<Option<u64>> {
        match self.place.head(&path(key)?).await {
            Ok(facts) => Ok(Some(facts.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed("read", key, &error)),
        }
    }

    /// These bytes of a file, in pieces; `None` if there is no such file.
    ///
    /// **Errors**: [`Error::Files`], also from the stream.
    pub async fn stream(&self, key: &FileRef, range: Range<u64>) -> Result<Option<BoxStream<'static, Result<Bytes>>>> {
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
        Ok(Some(
            pieces
                .map(move |piece| piece.map_err(|error| failed("read", &key, &error)))
                .boxed(),
        ))
    }
}

/// The next [`PIECE`] of a file, or less at its end.
async fn piece(file: &mut tokio::fs::File) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(PIECE as u64).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_large_file_goes_in_and_comes_out_by_ranges() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::in_folder(&folder.path().join("files")).unwrap();
        let bytes: Vec<u8> = (0..PIECE + 12_345).map(|i| (i % 251) as u8).collect();
        let from = folder.path().join("large");
        std::fs::write(&from, &bytes).unwrap();
        let key = FileRef("uploads/large".to_owned());
        files.import(&from, &key).await.unwrap();
        assert_eq!(files.size(&key).await.unwrap(), Some(bytes.len() as u64));
        for range in [0..bytes.len(), PIECE - 10..PIECE + 10, 5..5] {
            let asked = range.start as u64..range.end as u64;
            let pieces = files.stream(&key, asked).await.unwrap().unwrap();
            let got: Vec<u8> = pieces.map(|piece| piece.unwrap().to_vec()).concat().await;
            assert!(got == bytes[range.clone()], "{range:?}");
        }
        let absent = FileRef("uploads/absent".to_owned());
        assert_eq!(files.size(&absent).await.unwrap(), None);
        assert!(files.stream(&absent, 0..1).await.unwrap().is_none());
        assert!(files.import(&folder.path().join("absent"), &key).await.is_err());
        let beside = FileRef("uploads2/b".to_owned());
        files
            .write(&FileRef("uploads/x/y".to_owned()), Bytes::new())
            .await
            .unwrap();
        files.write(&beside, Bytes::new()).await.unwrap();
        files.delete_folder(&FileRef("uploads".to_owned())).await.unwrap();
        assert_eq!(files.size(&key).await.unwrap(), None);
        assert_eq!(files.size(&beside).await.unwrap(), Some(0), "a folder is no prefix");
    }
}
