//! Small records of the server itself in [`Files`], as JSON: API keys, webhook endpoints, secrets of its own.
//!
//! | kind | what | secret? |
//! |---|---|---|
//! | `keys/<sha256>` | what an API key may do | no: a key has 256 random bits, its hash does not lead back to it |
//! | `key-names/<name>` | which key has the name | no |
//! | `webhooks/<project>/<id>` | a webhook endpoint | **yes**: deliveries are signed with what stands there |
//! | `secrets/<name>` | random bytes of the server's own | **yes** |
//!
//! A record is written whole or not at all. On a disk of ours only the server's own user may enter the folder; who can read
//! a bucket can read the secrets, so it must be private.

use std::path::Path;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, FileRef, Files, Result};

/// The folder of all records.
const FOLDER: &str = "records";

/// The records of one kind.
#[derive(Debug, Clone)]
pub(crate) struct Records {
    files: Files,
    kind: String,
}

impl Records {
    /// Those of this kind: one or several names with slashes between them.
    pub(crate) fn new(files: &Files, kind: &str) -> Self {
        Self {
            files: files.clone(),
            kind: kind.to_owned(),
        }
    }

    fn key(&self, name: &str) -> FileRef {
        FileRef(format!("{FOLDER}/{}/{name}.json", self.kind))
    }

    fn json<T: Serialize>(&self, name: &str, record: &T) -> Result<Bytes> {
        let json = serde_json::to_vec(record).map_err(|error| self.damaged("write", name, &error))?;
        Ok(json.into())
    }

    fn damaged(&self, action: &'static str, name: &str, error: &serde_json::Error) -> Error {
        Error::Files {
            action,
            key: self.key(name).0,
            reason: error.to_string(),
        }
    }

    /// Writes a record, over one that is there.
    ///
    /// **Errors**: [`Error::Files`].
    pub(crate) async fn put<T: Serialize>(&self, name: &str, record: &T) -> Result<()> {
        self.files.write(&self.key(name), self.json(name, record)?).await
    }

    /// Writes a record if there is none with this name; false if there is one.
    ///
    /// **Errors**: [`Error::Files`].
    pub(crate) async fn create<T: Serialize>(&self, name: &str, record: &T) -> Result<bool> {
        self.files.create(&self.key(name), self.json(name, record)?).await
    }

    /// Reads a record.
    ///
    /// **Errors**: [`Error::Files`], also for one that this version cannot read.
    pub(crate) async fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let Some(bytes) = self.files.read(&self.key(name)).await? else {
            return Ok(None);
        };
        let record = serde_json::from_slice(&bytes);
        record
            .map(Some)
            .map_err(|error| self.damaged("understand", name, &error))
    }

    /// Deletes a record; one that is not there is deleted already.
    ///
    /// **Errors**: [`Error::Files`].
    pub(crate) async fn delete(&self, name: &str) -> Result<()> {
        self.files.delete(&self.key(name)).await
    }

    /// All records, ordered by their names. One that is deleted meanwhile may be missing.
    ///
    /// **Errors**: [`Error::Files`].
    pub(crate) async fn all<T: DeserializeOwned>(&self) -> Result<Vec<T>> {
        let folder = FileRef(format!("{FOLDER}/{}", self.kind));
        let mut records = Vec::new();
        let mut keys: Vec<FileRef> = self
            .files
            .list(Some(&folder))
            .await?
            .into_iter()
            .map(|file| file.key)
            .collect();
        keys.sort_unstable();
        for key in keys {
            let inside = key.0.strip_prefix(&folder.0).and_then(|rest| rest.strip_prefix('/'));
            // What lies deeper, or is half written, is none of ours.
            let name = inside.and_then(|rest| rest.strip_suffix(".json"));
            let Some(name) = name.filter(|name| !name.contains('/')) else {
                continue;
            };
            records.extend(self.get(name).await?);
        }
        Ok(records)
    }
}

/// Makes the folder of records in `folder`, which only the user of the server may enter.
///
/// **Errors**: [`Error::Io`].
pub(crate) fn make_private_folder(folder: &Path) -> Result<()> {
    let path = folder.join(FOLDER);
    let made = std::fs::create_dir_all(&path);
    #[cfg(unix)]
    let made = made.and_then(|()| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700))
    });
    made.map_err(|source| Error::Io {
        action: "make the private folder",
        path,
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn records_are_written_once_found_and_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::in_folder(folder.path()).unwrap();
        let records = Records::new(&files, "numbers");
        let deeper = Records::new(&files, "numbers/odd");
        assert_eq!(records.all::<u32>().await.unwrap(), Vec::<u32>::new());
        assert!(records.create("b", &2).await.unwrap());
        assert!(!records.create("b", &3).await.unwrap(), "the first one stays");
        assert_eq!(records.get::<u32>("b").await.unwrap(), Some(2));
        records.put("a", &1).await.unwrap();
        records.put("b", &4).await.unwrap();
        deeper.put("c", &5).await.unwrap();
        assert_eq!(records.all::<u32>().await.unwrap(), [1, 4]);
        records.delete("a").await.unwrap();
        records.delete("a").await.unwrap();
        assert_eq!(records.get::<u32>("a").await.unwrap(), None);
        let error = records.get::<String>("b").await.unwrap_err().to_string();
        assert!(error.contains("records/numbers/b.json"), "{error}");
        assert!(records.get::<u32>("../../b").await.is_err(), "no way out of the folder");
    }

    #[cfg(unix)]
    #[test]
    fn others_may_not_enter_the_folder() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let records = folder.path().join(FOLDER);
        std::fs::create_dir(&records).unwrap();
        std::fs::set_permissions(&records, std::fs::Permissions::from_mode(0o755)).unwrap();
        Files::in_folder(folder.path()).unwrap();
        let mode = std::fs::metadata(&records).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
