//! A checkpoint: one safetensors or GGUF file, or several safetensors files with an index, mapped into memory and checked.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

#[cfg(unix)]
use memmap2::UncheckedAdvice;

use crate::gguf::{self, Value};
use crate::header::{self, TensorInfo};
use crate::lora::Changes;
use crate::recognise::Picked;
use crate::{Encoding, Error, Reader, Result, shards, similar};

/// All tensors of a model part by name. Cheap to clone; clones share the bytes.
#[derive(Clone)]
pub struct Checkpoint {
    inner: Arc<Inner>,
    /// What LoRAs add to what a reader gives.
    changes: Option<Arc<Changes>>,
}

struct Inner {
    name: String,
    files: Vec<(String, Arc<Bytes>)>,
    tensors: BTreeMap<String, Entry>,
    metadata: BTreeMap<String, String>,
    values: Arc<BTreeMap<String, Value>>,
    /// From the names used here to those of the file, where they are not the same.
    own_names: Option<OwnNames>,
}

/// From a name to what the file calls it or would call it.
pub(crate) type OwnNames = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

#[derive(Clone)]
struct Entry {
    file: usize,
    info: TensorInfo,
    /// What the file calls it, where that is something else.
    own_name: Option<String>,
}

/// Where the bytes of one file live.
pub(crate) enum Bytes {
    Static(&'static [u8]),
    Owned(Vec<u8>),
    Mapped(memmap2::Mmap),
    /// Only the header of a file of this length was read.
    Absent(u64),
}

impl Bytes {
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Static(bytes) => bytes,
            Self::Owned(bytes) => bytes,
            Self::Mapped(map) => map,
            Self::Absent(_) => &[],
        }
    }

    fn len(&self) -> u64 {
        match self {
            Self::Absent(length) => *length,
            other => other.as_slice().len() as u64,
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
    /// Opens a safetensors or GGUF file, whatever it is called, or a `.safetensors.index.json` with all files that it names.
    ///
    /// **Errors**: one for each way in which a file can be foreign, cut off or damaged; see [`Error`].
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_as(path, Part::Whole)
    }

    /// Opens the header alone: names, shapes, encodings and sizes, for a file of which the rest need not be there.
    ///
    /// **Errors**: as [`Checkpoint::open`]; reading data gives [`Error::HeaderOnly`].
    pub fn open_header_only(path: &Path) -> Result<Self> {
        Self::open_as(path, Part::Header)
    }

    fn open_as(path: &Path, part: Part) -> Result<Self> {
        if path
            .file_name()
            .is_some_and(|n| n.to_string_lossy().ends_with(".index.json"))
        {
            return shards::open(path, part);
        }
        let name = path.display().to_string();
        Self::new(name.clone(), vec![(name, map(path)?)], part)
    }

    /// A checkpoint inside the program; `name` is what messages call it.
    pub fn from_static(name: &str, bytes: &'static [u8]) -> Result<Self> {
        Self::new(name.into(), vec![(name.into(), Bytes::Static(bytes))], Part::Whole)
    }

    /// A checkpoint in memory; `name` is what messages call it.
    pub fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<Self> {
        Self::new(name.into(), vec![(name.into(), Bytes::Owned(bytes))], Part::Whole)
    }

    /// As [`Checkpoint::open_header_only`], for the first bytes of a file.
    pub fn from_header_bytes(name: &str, bytes: Vec<u8>) -> Result<Self> {
        Self::new(name.into(), vec![(name.into(), Bytes::Owned(bytes))], Part::Header)
    }

    pub(crate) fn new(name: String, named_files: Vec<(String, Bytes)>, part: Part) -> Result<Self> {
        let mut inner = Inner {
            name,
            files: Vec::new(),
            tensors: BTreeMap::new(),
            metadata: BTreeMap::new(),
            values: Arc::default(),
            own_names: None,
        };
        for (file_name, bytes) in named_files {
            let (tensors, end) = inner.read_header(&file_name, bytes.as_slice(), part)?;
            for (tensor, info) in tensors {
                if inner.tensors.contains_key(&tensor) {
                    let reason = format!("tensor `{tensor}` is in {file_name} and in a file before it");
                    return Err(Error::BadShards {
                        file: inner.name,
                        reason,
                    });
                }
                let entry = Entry {
                    file: inner.files.len(),
                    info,
                    own_name: None,
                };
                inner.tensors.insert(tensor, entry);
            }
            let bytes = match part {
                Part::Whole => bytes,
                Part::Header => Bytes::Absent(end),
            };
            inner.files.push((file_name, Arc::new(bytes)));
        }
        Ok(Self {
            inner: Arc::new(inner),
            changes: None,
        })
    }

    /// Tensors of one file that were found by another reader, and those that it had to copy.
    pub(crate) fn from_parts(
        name: String,
        bytes: Bytes,
        mapped: BTreeMap<String, TensorInfo>,
        copied: BTreeMap<String, (TensorInfo, Vec<u8>)>,
    ) -> Result<Self> {
        let mut inner = Inner {
            files: vec![(name.clone(), Arc::new(bytes))],
            name,
            tensors: BTreeMap::new(),
            metadata: BTreeMap::new(),
            values: Arc::default(),
            own_names: None,
        };
        let entry = |file, info| Entry {
            file,
            info,
            own_name: None,
        };
        for (tensor, info) in mapped {
            inner.tensors.insert(tensor, entry(0, info));
        }
        for (tensor, (info, bytes)) in copied {
            inner.tensors.insert(tensor, entry(inner.files.len(), info));
            inner.files.push((inner.name.clone(), Arc::new(Bytes::Owned(bytes))));
        }
        Ok(Self {
            inner: Arc::new(inner),
            changes: None,
        })
    }

    /// The same bytes under other names: `rename` says for a tensor of that name and shape what becomes of it. `own_names` leads back, for
    /// messages about tensors that are missing.
    pub(crate) fn renamed(&self, rename: impl Fn(&str, &[usize]) -> Vec<Picked>, own_names: OwnNames) -> Result<Self> {
        let bad = |reason: String| Error::BadHeader {
            file: self.name().into(),
            reason,
        };
        let mut tensors: BTreeMap<String, Entry> = BTreeMap::new();
        for (own, entry) in &self.inner.tensors {
            for Picked { name, rows, squeeze } in rename(own, &entry.info.shape) {
                let mut entry = entry.clone();
                if let Some(rows) = rows {
                    let part = entry.info.rows(rows);
                    entry.info = part.ok_or_else(|| bad(format!("tensor `{own}` cannot be cut into rows")))?;
                }
                while squeeze && entry.info.shape.first() == Some(&1) {
                    entry.info.shape.remove(0);
                }
                entry.own_name = (*own != name).then(|| own.clone());
                if let Some(other) = tensors.get(&name) {
                    let other = other.own_name.as_ref().unwrap_or(&name);
                    return Err(bad(format!("tensors `{other}` and `{own}` are both `{name}`")));
                }
                tensors.insert(name, entry);
            }
        }
        let inner = Inner {
            name: self.inner.name.clone(),
            files: self.inner.files.clone(),
            tensors,
            metadata: self.inner.metadata.clone(),
            values: self.inner.values.clone(),
            own_names: Some(own_names),
        };
        Ok(Self {
            inner: Arc::new(inner),
            changes: None,
        })
    }

    /// True if only the header was opened.
    pub fn is_header_only(&self) -> bool {
        self.inner
            .files
            .iter()
            .any(|(_, bytes)| matches!(**bytes, Bytes::Absent(_)))
    }

    /// What messages call this checkpoint: its path, or the name it was given.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// All tensor names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.inner.tensors.keys().map(String::as_str)
    }

    /// Free-form strings of the file's header; of a GGUF file all values but arrays.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.inner.metadata
    }

    /// A value of a GGUF file's metadata with its type, such as the array `tokenizer.ggml.tokens`.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.inner.values.get(name)
    }

    /// Length of all files in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.inner.files.iter().map(|(_, bytes)| bytes.len()).sum()
    }

    /// One tensor as it lies in the file, if it exists.
    pub fn get(&self, name: &str) -> Option<RawTensor<'_>> {
        let Entry { file, info, .. } = self.inner.tensors.get(name)?;
        Some(RawTensor {
            dtype_name: &info.dtype_name,
            encoding: info.encoding(),
            shape: &info.shape,
            size_bytes: info.range.len(),
            bytes: match &*self.inner.files.get(*file)?.1 {
                Bytes::Absent(_) => &[],
                // The range was checked when the header was read.
                bytes => bytes.as_slice().get(info.range.clone())?,
            },
        })
    }

    /// Which of several files holds a tensor.
    pub(crate) fn file_of(&self, name: &str) -> Option<&str> {
        let entry = self.inner.tensors.get(name)?;
        self.inner.files.get(entry.file).map(|(file, _)| file.as_str())
    }

    /// True if there is a tensor of that name.
    pub fn has(&self, name: &str) -> bool {
        self.inner.tensors.contains_key(name)
    }

    /// As [`Checkpoint::require`], for the type and the shape alone.
    pub(crate) fn describe(&self, name: &str) -> Result<RawTensor<'_>> {
        self.get(name).ok_or_else(|| self.missing(name))
    }

    /// What the file itself calls a tensor.
    pub fn own_name(&self, name: &str) -> Option<String> {
        match self.inner.tensors.get(name) {
            Some(entry) => Some(entry.own_name.clone().unwrap_or_else(|| name.to_owned())),
            None => self.inner.own_names.as_ref().and_then(|own| own(name)),
        }
    }

    /// What messages call a tensor: its name, and the file's own where that is another.
    pub(crate) fn label(&self, name: &str) -> String {
        match self.own_name(name) {
            Some(own) if own != name => format!("{name}` alias `{own}"),
            _ => name.to_owned(),
        }
    }

    pub(crate) fn missing(&self, name: &str) -> Error {
        Error::MissingTensor {
            file: self.name().into(),
            tensor: self.label(name),
            similar: similar::closest(name, self.names()).map(|name| self.label(&name)),
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
    /// **Errors**: [`Error::MissingTensor`] with the closest name that exists; [`Error::HeaderOnly`].
    pub fn require(&self, name: &str) -> Result<RawTensor<'_>> {
        let raw = self.describe(name)?;
        if raw.bytes.len() == raw.size_bytes {
            return Ok(raw);
        }
        Err(Error::HeaderOnly {
            file: self.name().into(),
            tensor: self.label(name),
        })
    }

    /// Gives the pages of a mapped tensor back to the system, once its elements are somewhere else: a model is not held
    /// twice while it is loaded. Who reads the tensor again has it read from the file again.
    pub(crate) fn release(&self, name: &str) {
        let Some(Entry { file, info, .. }) = self.inner.tensors.get(name) else {
            return;
        };
        if let Some(Bytes::Mapped(map)) = self.inner.files.get(*file).map(|(_, bytes)| &**bytes) {
            release(map, &info.range);
        }
    }

    /// The same tensors with other changes.
    pub(crate) fn with_changes(&self, changes: Arc<Changes>) -> Self {
        Self {
            inner: self.inner.clone(),
            changes: Some(changes),
        }
    }

    pub(crate) fn changes(&self) -> Option<&Changes> {
        self.changes.as_deref()
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

impl Inner {
    /// Tensors of one file and where its data ends; the rest of its header goes into `self`.
    fn read_header(&mut self, file: &str, bytes: &[u8], part: Part) -> Result<(BTreeMap<String, TensorInfo>, u64)> {
        if !bytes.starts_with(gguf::MAGIC) {
            let header = match part {
                Part::Whole => header::parse(file, bytes),
                Part::Header => header::parse_start(file, bytes),
            }?;
            self.metadata.extend(header.metadata);
            return Ok((header.tensors, header.end));
        }
        let header = match part {
            Part::Whole => gguf::parse(file, bytes),
            Part::Header => gguf::header(file, bytes),
        }?;
        if let Some(Value::Integer(count @ 2..)) = header.values.get("split.count") {
            return Err(Error::BadShards {
                file: file.into(),
                reason: format!("it is one of {count} GGUF files; join them with `llama-gguf-split --merge`"),
            });
        }
        let texts = header
            .values
            .iter()
            .filter_map(|(name, value)| Some((name.clone(), value.to_text()?)));
        self.metadata.extend(texts);
        Arc::make_mut(&mut self.values).extend(header.values);
        Ok((header.tensors, header.end))
    }
}

/// How much of a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    Header,
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
pub(crate) fn map(path: &Path) -> Result<Bytes> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    // SAFETY: the mapping is private and only read. Every value that is computed from it is checked or plain data, so
    // a file that another process overwrites meanwhile gives wrong numbers, not undefined behaviour in safe code; a
    // file that is cut short meanwhile ends the process with SIGBUS, as it does for every program that maps files.
    match unsafe { memmap2::MmapOptions::new().map_copy_read_only(&file) } {
        Ok(map) => Ok(Bytes::Mapped(map)),
        Err(_) => Ok(Bytes::Owned(std::fs::read(path).map_err(Error::io("read", path))?)),
    }
}
