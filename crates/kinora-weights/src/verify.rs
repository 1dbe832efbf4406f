//! Hashes of a model folder's files, several at a time.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use sha2::{Digest, Sha256};

use crate::manifest::{MANIFEST, Manifest, ManifestFile};
use crate::pull::RECEIPT;
use crate::{Error, ModelFolder, Result};

/// What [`ModelFolder::verify_hashes`] has compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Files compared.
    pub files: usize,
    /// Their length.
    pub bytes: u64,
}

/// Compares all files of the manifest that decide something. Documents may be left out of a copy.
pub(crate) fn files(folder: &ModelFolder, manifest: &Manifest) -> Result<Verified> {
    let mut todo: Vec<&ManifestFile> = manifest
        .files
        .iter()
        .filter(|f| decides(&f.path) || folder.has(&f.path))
        .collect();
    // The program embeds what it reads, not every file of the folder.
    if folder.path().is_none() {
        todo.retain(|f| folder.has(&f.path));
    }
    // Large files first, so that the last one to finish is a small one.
    todo.sort_by_key(|f| std::cmp::Reverse(f.bytes));
    in_parallel(&todo, |file| check(folder, file))?;
    Ok(Verified {
        files: todo.len(),
        bytes: todo.iter().map(|f| f.bytes).sum(),
    })
}

fn check(folder: &ModelFolder, file: &ManifestFile) -> Result<()> {
    let name = || format!("{}/{}", folder.location(), file.path);
    let (got_bytes, got) = digest(folder, &file.path)?;
    if got_bytes < file.bytes {
        return Err(Error::Truncated {
            file: name(),
            expected_bytes: file.bytes,
            got_bytes,
        });
    }
    if got == file.sha256 {
        return Ok(());
    }
    Err(Error::HashMismatch {
        file: name(),
        expected: file.sha256.clone(),
        got,
    })
}

/// Length and hash of a file; one on disk is read in pieces, because a checkpoint can be larger than the memory.
fn digest(folder: &ModelFolder, file: &str) -> Result<(u64, String)> {
    let Some(root) = folder.path() else {
        let bytes = folder.bytes(file)?;
        return Ok((bytes.len() as u64, hex(&Sha256::digest(&bytes))));
    };
    if !folder.has(file) {
        // Says so.
        folder.bytes(file)?;
    }
    digest_file(&root.join(file))
}

fn digest_file(path: &Path) -> Result<(u64, String)> {
    let mut reader = File::open(path).map_err(Error::io("open", path))?;
    let (mut all, mut length) = (Sha256::new(), 0);
    let mut piece = vec![0; 1 << 20];
    loop {
        match reader.read(&mut piece).map_err(Error::io("read", path))? {
            0 => return Ok((length, hex(&all.finalize()))),
            n => {
                all.update(&piece[..n]);
                length += n as u64;
            }
        }
    }
}

/// Up to this length a file without a manifest is hashed whole.
const WHOLE_BYTES: u64 = 128 << 20;
/// Pieces that stand for a longer one, and their length.
const PIECES: u64 = 64;
const PIECE_BYTES: u64 = 1 << 20;

/// The hash of a file, or of its length and of pieces all over it: 28 GB are not read before every clip. Its header, where all names and
/// shapes are, is in the first pieces.
fn fingerprint(path: &Path) -> Result<String> {
    let length = path.metadata().map_err(Error::io("read", path))?.len();
    if length <= WHOLE_BYTES {
        return Ok(digest_file(path)?.1);
    }
    let mut file = File::open(path).map_err(Error::io("open", path))?;
    let mut all = Sha256::new();
    all.update(length.to_le_bytes());
    let mut piece = vec![0; PIECE_BYTES as usize];
    for i in 0..PIECES {
        let at = (length - PIECE_BYTES) / (PIECES - 1) * i;
        file.seek(SeekFrom::Start(at)).map_err(Error::io("read", path))?;
        file.read_exact(&mut piece).map_err(Error::io("read", path))?;
        all.update(&piece);
    }
    Ok(hex(&all.finalize()))
}

/// See [`ModelFolder::weights_hash`].
pub(crate) fn weights_hash(folder: &ModelFolder) -> Result<String> {
    if let Some(files) = folder.scattered_files()? {
        let mut all = Sha256::new();
        for (part, path) in files {
            all.update(format!("{}  {part}\n", fingerprint(&path)?));
        }
        return Ok(hex(&all.finalize())[..16].to_owned());
    }
    let mut pairs: Vec<(String, String)> = match folder.manifest() {
        Some(manifest) => manifest
            .files
            .iter()
            .map(|f| (f.path.clone(), f.sha256.clone()))
            .collect(),
        None => folder
            .all_files()?
            .into_iter()
            .filter(|file| decides(file))
            .map(|file| {
                let hash = match folder.path() {
                    Some(root) => fingerprint(&root.join(&file))?,
                    None => digest(folder, &file)?.1,
                };
                Ok((file, hash))
            })
            .collect::<Result<_>>()?,
    };
    pairs.retain(|(file, _)| decides(file));
    pairs.sort();
    let mut all = Sha256::new();
    for (file, hash) in pairs {
        all.update(format!("{hash}  {file}\n"));
    }
    Ok(hex(&all.finalize())[..16].to_owned())
}

/// False for documents, pictures, notes on where files came from and the like, which change nothing that is generated.
fn decides(file: &str) -> bool {
    ![MANIFEST, RECEIPT].contains(&file)
        && [".safetensors", ".gguf", ".json", ".txt", ".model"]
            .iter()
            .any(|end| file.ends_with(end))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Runs `work` on every item, on as many threads as there are processors; the first error wins.
fn in_parallel<T: Sync>(items: &[T], work: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    let next = AtomicUsize::new(0);
    let run = || -> Result<()> {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            work(item)?;
        }
        Ok(())
    };
    let threads = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(items.len());
    std::thread::scope(|scope| {
        // If the system gives no thread, this one does all the work.
        let others: Vec<_> = (1..threads)
            .filter_map(|_| std::thread::Builder::new().spawn_scoped(scope, run).ok())
            .collect();
        let own = run();
        others.into_iter().fold(own, |result, handle| {
            result.and(handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })
    })
}
