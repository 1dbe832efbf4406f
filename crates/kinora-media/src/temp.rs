//! Files that exist only once they are whole: written beside their target, renamed at the end, removed when dropped.

use crate::{Error, Result};
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// A name in the target's folder that nobody else uses.
fn name_beside(target: &Path) -> PathBuf {
    let n = COUNTER.fetch_add(1, Ordering::Relaxed);
    folder_of(target).join(format!(".kinora-{}-{n}.part", std::process::id()))
}

fn folder_of(target: &Path) -> PathBuf {
    match target.parent() {
        Some(p) if !p.as_os_str().is_empty() => p.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// A path that is removed, file or folder, unless it was renamed to its target.
#[derive(Debug)]
pub(crate) struct TempPath {
    path: PathBuf,
    target: PathBuf,
    armed: bool,
}

impl TempPath {
    pub(crate) fn beside(target: &Path) -> Self {
        Self {
            path: name_beside(target),
            target: target.to_path_buf(),
            armed: true,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// Renames onto the target, replacing a file that is there.
    pub(crate) fn publish(mut self) -> Result<PathBuf> {
        std::fs::rename(&self.path, &self.target).map_err(Error::io("write", &self.target))?;
        self.armed = false;
        // The rename itself becomes durable with the folder; systems that cannot sync a folder may ignore it.
        let _ = File::open(folder_of(&self.target)).and_then(|d| d.sync_all());
        Ok(self.target.clone())
    }
}

impl Drop for TempPath {
    fn drop(&mut self) {
        if self.armed {
            let _ = std::fs::remove_file(&self.path).or_else(|_| std::fs::remove_dir_all(&self.path));
        }
    }
}

/// A buffered temporary file. Errors name the target, which is the name that the user knows.
#[derive(Debug)]
pub(crate) struct TempFile {
    out: BufWriter<File>,
    temp: TempPath,
}

impl TempFile {
    /// Makes the file; this is where a missing folder or a read-only disk shows.
    pub(crate) fn beside(target: &Path) -> Result<Self> {
        let temp = TempPath::beside(target);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&temp.path)
            .map_err(Error::io("write", target))?;
        Ok(Self {
            out: BufWriter::with_capacity(1 << 18, file),
            temp,
        })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(Error::io("write", &self.temp.target))
    }

    /// Writes everything to the disk and gives the path, still temporary.
    pub(crate) fn close(mut self) -> Result<TempPath> {
        let done = self.out.flush().and_then(|()| self.out.get_ref().sync_all());
        done.map_err(Error::io("write", &self.temp.target))?;
        Ok(self.temp)
    }
}

/// Compressed samples of a clip that is still being written, kept on the disk so that memory does not grow with the clip.
#[derive(Debug)]
pub(crate) struct Spool {
    file: TempFile,
    /// Bytes of each sample.
    pub(crate) sizes: Vec<u32>,
}

impl Spool {
    pub(crate) fn beside(target: &Path) -> Result<Self> {
        Ok(Self {
            file: TempFile::beside(target)?,
            sizes: Vec::new(),
        })
    }

    pub(crate) fn push(&mut self, sample: &[u8]) -> Result<()> {
        let size = u32::try_from(sample.len()).map_err(|_| Error::TooLarge {
            what: "the bytes of one compressed frame",
            got: sample.len() as u64,
            limit: u64::from(u32::MAX),
        })?;
        self.file.write(sample)?;
        self.sizes.push(size);
        Ok(())
    }

    pub(crate) fn total(&self) -> u64 {
        self.sizes.iter().map(|&s| u64::from(s)).sum()
    }

    /// Hands each sample in order to `each`, with its index.
    pub(crate) fn replay(&mut self, mut each: impl FnMut(usize, &[u8]) -> Result<()>) -> Result<()> {
        let target = self.file.temp.target.clone();
        self.file.out.flush().map_err(Error::io("write", &target))?;
        let file = self.file.out.get_mut();
        file.seek(SeekFrom::Start(0)).map_err(Error::io("read back", &target))?;
        let mut reader = std::io::BufReader::with_capacity(1 << 18, file);
        let mut sample = Vec::new();
        for (i, &size) in self.sizes.iter().enumerate() {
            sample.resize(size as usize, 0);
            reader
                .read_exact(&mut sample)
                .map_err(Error::io("read back", &target))?;
            each(i, &sample)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropping_removes_and_publishing_keeps() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a.bin");
        let mut t = TempFile::beside(&target).unwrap();
        t.write(b"x").unwrap();
        drop(t);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        let mut t = TempFile::beside(&target).unwrap();
        t.write(b"whole").unwrap();
        t.close().unwrap().publish().unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"whole");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_spool_replays_what_it_took() {
        let dir = tempfile::tempdir().unwrap();
        let mut s = Spool::beside(&dir.path().join("clip")).unwrap();
        s.push(b"one").unwrap();
        s.push(b"").unwrap();
        s.push(b"three").unwrap();
        let mut seen = Vec::new();
        s.replay(|i, b| {
            seen.push((i, b.to_vec()));
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, [(0, b"one".to_vec()), (1, vec![]), (2, b"three".to_vec())]);
        assert_eq!(s.total(), 8);
        drop(s);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
