//! A checkpoint: one safetensors file, or several with an index, mapped into memory and checked.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

#[cfg(unix)]
use memmap2::UncheckedAdvice;

use crate::header::{self, TensorInfo};
use crate::{Encoding, Error, Reader, Result, similar};

/// All tensors of a model part by name. Cheap to clone; clones share the bytes.
#[derive(Clone)]
pub struct Checkpoint {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    files: Vec<Bytes>,
    tensors: BTreeMap<String, (usize, TensorInfo)>,
    metadata: BTreeMap<String, String>,
}

/// Where the bytes of one file live.
enum Bytes {
    Static(&'static [u8]),
    Owned(Vec<u8>),
    Mapped(memmap2::Mmap),
}

impl Bytes {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Static(bytes) => bytes,
            Self::Owned(bytes) => bytes,
            Self::Mapped(map) => map,
        }
    }
}

/// One tensor as it lies in the file.
#[derive(Debug, Clone, Copy)]
pub struct RawTensor<'a> {
    /// The type in the file's spelling: `F32`, `BF16`, `I64`, `Q4_K`.
    pub dtype_name: &'a str,
    /// The encoding, if it is one that weights can have.
    pub encoding: Option<Encoding>,
    /// Extents, outermost first.
    pub shape: &'a [usize],
    /// Length in the file.
    pub size_bytes: usize,
    /// Row-major elements, little-endian; empty if only the header was opened.
    pub bytes: &'a [u8],
}

impl Checkpoint {
    /// Opens a `.safetensors` file, or a `.safetensors.index.json` with all files that it names.
    ///
    /// **Errors**: one for each way in which a file can be foreign, cut off or damaged; see [`Error`].
    pub fn open(path: &Path) -> Result<Self> {
        if path
            .file_name()
            .is_some_and(|n| n.to_string_lossy().ends_with(".index.json"))
        {
            return open_sharded(path);
        }
        Self::new(
            path.display().to_string(),
            vec![(path.display().to_string(), map(path)?)],
        )
    }

    /// A checkpoint inside the program; `name` is what messages call it.
    pub fn from_static(name: &str, bytes: &'static [u8]) -> Result<Self> {
        Self::new(name.into(), vec![(name.into(), Bytes::Static(bytes))])
    }

    /// A checkpoint in memory; `name` is what messages call it.
    pub fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<Self> {
        Self::new(name.into(), vec![(name.into(), Bytes::Owned(bytes))])
    }

    fn new(name: String, named_files: Vec<(String, Bytes)>) -> Result<Self> {
        let (mut files, mut tensors, mut metadata) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        for (file_name, bytes) in named_files {
            let header = header::parse(&file_name, bytes.as_slice())?;
            for (tensor, info) in header.tensors {
                if tensors.contains_key(&tensor) {
                    let reason = format!("tensor `{tensor}` is in {file_name} and in a file before it");
                    return Err(Error::BadShards { file: name, reason });
                }
                tensors.insert(tensor, (files.len(), info));
            }
            metadata.extend(header.metadata);
            files.push(bytes);
        }
        let inner = Inner {
            name,
            files,
            tensors,
            metadata,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What messages call this checkpoint: its path, or the name it was given.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// All tensor names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.inner.tensors.keys().map(String::as_str)
    }

    /// Free-form strings of the file's header.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.inner.metadata
    }

    /// Length of all files in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.inner.files.iter().map(|f| f.as_slice().len() as u64).sum()
    }

    /// One tensor as it lies in the file, if it exists.
    pub fn get(&self, name: &str) -> Option<RawTensor<'_>> {
        let (file, info) = self.inner.tensors.get(name)?;
        Some(RawTensor {
            dtype_name: &info.dtype_name,
            encoding: info.encoding(),
            shape: &info.shape,
            size_bytes: info.range.len(),
            // Both were checked when the header was read.
            bytes: self.inner.files.get(*file)?.as_slice().get(info.range.clone())?,
        })
    }

    /// True if there is a tensor of that name.
    pub fn has(&self, name: &str) -> bool {
        self.inner.tensors.contains_key(name)
    }

    /// As [`Checkpoint::require`], for the type and the shape alone.
    pub(crate) fn describe(&self, name: &str) -> Result<RawTensor<'_>> {
        self.get(name).ok_or_else(|| self.missing(name))
    }

    /// What messages call a tensor.
    pub(crate) fn label(&self, name: &str) -> String {
        name.to_owned()
    }

    pub(crate) fn missing(&self, name: &str) -> Error {
        Error::MissingTensor {
            file: self.name().into(),
            tensor: self.label(name),
            similar: similar::closest(name, self.names()),
        }
    }

    pub(crate) fn not_finite(&self, name: &str) -> Error {
        Error::NotFinite {
            file: self.name().into(),
            tensor: self.label(name),
        }
    }

    /// One tensor as it lies in the file.
    ///
    /// **Errors**: [`Error::MissingTensor`] with the closest name that exists.
    pub fn require(&self, name: &str) -> Result<RawTensor<'_>> {
        self.describe(name)
    }

    /// Gives the pages of a mapped tensor back to the system, once its elements are somewhere else: a model is not held
    /// twice while it is loaded. Who reads the tensor again has it read from the file again.
    pub(crate) fn release(&self, name: &str) {
        let Some((file, info)) = self.inner.tensors.get(name) else {
            return;
        };
        if let Some(Bytes::Mapped(map)) = self.inner.files.get(*file) {
            release(map, &info.range);
        }
    }

    /// A view that takes tensors by name and remembers which were taken.
    pub fn reader(&self) -> Reader {
        Reader::new(self.clone())
    }
}

impl std::fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Checkpoint({}, {} tensors)", self.name(), self.inner.tensors.len())
    }
}

#[derive(serde::Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

fn open_sharded(path: &Path) -> Result<Checkpoint> {
    let name = path.display().to_string();
    let text = std::fs::read(path).map_err(Error::io("read", path))?;
    let index: Index = serde_json::from_slice(&text).map_err(|e| Error::BadJson {
        file: name.clone(),
        reason: e.to_string(),
    })?;
    let bad = |reason: String| Error::BadShards {
        file: name.clone(),
        reason,
    };
    let shards: std::collections::BTreeSet<&String> = index.weight_map.values().collect();
    let mut files = Vec::new();
    for shard in shards {
        // An index is a file from outside: it must not lead out of its folder.
        if Path::new(shard)
            .file_name()
            .is_none_or(|n| n.to_string_lossy() != shard.as_str())
        {
            return Err(bad(format!("`{shard}` is not a plain file name")));
        }
        files.push((shard.clone(), map(&path.with_file_name(shard))?));
    }
    let checkpoint = Checkpoint::new(name.clone(), files)?;
    match index.weight_map.keys().find(|tensor| checkpoint.get(tensor).is_none()) {
        Some(tensor) => Err(bad(format!("no file holds tensor `{tensor}`, which the index lists"))),
        None => Ok(checkpoint),
    }
}

#[cfg(unix)]
fn release(map: &memmap2::Mmap, range: &Range<usize>) {
    // SAFETY: the mapping is of a file, private, and never written to, so a page that is dropped is filled from the file
    // again at the next access, with what it held; if another process has changed the file, see `map`.
    let advised = unsafe { map.unchecked_advise_range(UncheckedAdvice::DontNeed, range.start, range.len()) };
    // A system that does not follow the advice keeps the pages: more memory, the same numbers.
    drop(advised);
}

#[cfg(not(unix))]
fn release(_map: &memmap2::Mmap, _range: &Range<usize>) {}

/// Maps a file, or reads it where the system cannot map it (some network and virtual file systems).
fn map(path: &Path) -> Result<Bytes> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    // SAFETY: the mapping is private and only read. Every value that is computed from it is checked or plain data, so
    // a file that another process overwrites meanwhile gives wrong numbers, not undefined behaviour in safe code; a
    // file that is cut short meanwhile ends the process with SIGBUS, as it does for every program that maps files.
    match unsafe { memmap2::MmapOptions::new().map_copy_read_only(&file) } {
        Ok(map) => Ok(Bytes::Mapped(map)),
        Err(_) => Ok(Bytes::Owned(std::fs::read(path).map_err(Error::io("read", path))?)),
    }
}
