//! The one error type of this crate.

use std::path::PathBuf;

use crate::Encoding;

/// What can go wrong between a file and a layer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system refused a read.
    #[error("could not {action} {}: {source}", path.display())]
    Io {
        /// The verb that failed: `open`, `read`, `list`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The first bytes belong to another kind of file.
    #[error("{file} is not a safetensors file: {reason}\nhint: {hint}")]
    NotSafetensors {
        /// The file as the user knows it.
        file: String,
        /// What it looks like instead.
        reason: String,
        /// What to do.
        hint: &'static str,
    },
    /// The file is shorter than its own header says.
    #[error("{file} is cut off: {expected_bytes} bytes expected, {got_bytes} there\nhint: copy or download it again")]
    Truncated {
        /// The file as the user knows it.
        file: String,
        /// Length that the header asks for.
        expected_bytes: u64,
        /// Length that the file has.
        got_bytes: u64,
    },
    /// The header length is beyond what any real checkpoint needs.
    #[error("{file} claims a header of {header_bytes} bytes\nhint: it is damaged or no safetensors file")]
    HeaderTooLarge {
        /// The file as the user knows it.
        file: String,
        /// The length in the first eight bytes.
        header_bytes: u64,
    },
    /// The header is there but contradicts itself or the file.
    #[error("the header of {file} is damaged: {reason}\nhint: copy or download it again")]
    BadHeader {
        /// The file as the user knows it.
        file: String,
        /// What is wrong, with the tensor's name where one is to blame.
        reason: String,
    },
    /// Two files of one sharded checkpoint hold the same tensor, or the index and the files disagree.
    #[error("the parts of {file} do not fit together: {reason}")]
    BadShards {
        /// The index file.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// A model asks for a tensor that the checkpoint lacks.
    #[error("{file} has no tensor `{tensor}`{}", suggestion(similar))]
    MissingTensor {
        /// The checkpoint.
        file: String,
        /// The full name asked for.
        tensor: String,
        /// The closest name that exists.
        similar: Option<String>,
    },
    /// A tensor has an element type that cannot be used where it is asked for.
    #[error("tensor `{tensor}` of {file} holds {got}, expected {expected}")]
    WrongDtype {
        /// The checkpoint.
        file: String,
        /// The tensor's full name.
        tensor: String,
        /// The types that would do.
        expected: String,
        /// The type in the file, in the file's spelling.
        got: String,
    },
    /// A weight is stored in a way that is not read here.
    #[error("tensor `{tensor}` of {file} is {format}, which kinora does not read\nhint: {hint}")]
    UnsupportedFormat {
        /// The checkpoint.
        file: String,
        /// The tensor's full name.
        tensor: String,
        /// The format as its makers call it.
        format: String,
        /// What to get instead.
        hint: &'static str,
    },
    /// A weight holds infinity or what is not a number.
    #[error(
        "tensor `{tensor}` of {file} holds values that are infinite or no numbers\nhint: the file is damaged, or its numbers left the range of their type when it was made; get another copy"
    )]
    NotFinite {
        /// The checkpoint.
        file: String,
        /// The tensor's full name.
        tensor: String,
    },
    /// Data was asked for of a file of which only the header was opened.
    #[error("tensor `{tensor}` of {file} cannot be read: only the header of the file was opened")]
    HeaderOnly {
        /// The checkpoint.
        file: String,
        /// The tensor's full name.
        tensor: String,
    },
    /// A file holds no part of a model that is known here.
    #[error(
        "{file} is not {wanted}: it looks like {found}{}\nhint: kinora runs models of the Wan family; `kinora inspect` lists what a file holds",
        first_names(names)
    )]
    NotRecognised {
        /// The checkpoint.
        file: String,
        /// What it should be.
        wanted: &'static str,
        /// What it looks like.
        found: String,
        /// Its first few tensors.
        names: Vec<String>,
    },
    /// A file holds another part of a model than the one that is wanted.
    #[error("{file} is {found}, not {wanted}\nhint: {hint}")]
    WrongPart {
        /// The checkpoint.
        file: String,
        /// What it is.
        found: &'static str,
        /// What is wanted.
        wanted: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// The shapes of a file do not say all that a model has to know.
    #[error(
        "the configuration of {file} cannot be told from its tensors: {reason}\nhint: put the `config.json` of the model beside the file"
    )]
    NoConfig {
        /// The checkpoint.
        file: String,
        /// What is missing.
        reason: String,
    },
    /// A tensor has another shape than the model's configuration says.
    #[error("tensor `{tensor}` of {file} has shape {got:?}, expected {expected}")]
    WrongShape {
        /// The checkpoint.
        file: String,
        /// The tensor's full name.
        tensor: String,
        /// The shape that the model asks for.
        expected: String,
        /// The shape in the file.
        got: Vec<usize>,
    },
    /// A token or position beyond an embedding table.
    #[error("row {row} of `{tensor}` was asked for; it has {rows} rows")]
    RowOutOfRange {
        /// The table's full name.
        tensor: String,
        /// The row asked for.
        row: u32,
        /// Rows that exist.
        rows: usize,
    },
    /// Tensors are left over after a model took all that it knows.
    #[error("{file} holds {count} tensors that the model does not use, first `{}`\nhint: the configuration does not fit the weights", names.join("`, `"))]
    UnusedTensors {
        /// The checkpoint.
        file: String,
        /// How many.
        count: usize,
        /// The first few, sorted.
        names: Vec<String>,
    },
    /// A file is not the one that the manifest describes.
    #[error(
        "{file} is not the file that the manifest describes (sha256 {got}, expected {expected})\nhint: install the model again"
    )]
    HashMismatch {
        /// Path inside the model folder.
        file: String,
        /// The manifest's hash.
        expected: String,
        /// The hash of what lies there.
        got: String,
    },
    /// A folder was given that is no model, or lacks a part.
    #[error("{folder} is not a model folder that can be used: {reason}\nhint: {hint}")]
    BadModelFolder {
        /// The folder.
        folder: String,
        /// What is missing or wrong.
        reason: String,
        /// What to do.
        hint: &'static str,
    },
    /// A model lacks a part, and it is not where such parts usually are.
    #[error("{model} needs {part}, which was not found\nusually it is {usual}\nlooked in: {}{}\nhint: {hint}", searched.join(", "), pickles(found_pickles))]
    MissingPart {
        /// The model.
        model: String,
        /// The part in words.
        part: &'static str,
        /// Names of files that usually hold it.
        usual: &'static str,
        /// Folders that were searched.
        searched: Vec<String>,
        /// Files that may be it but are pickles.
        found_pickles: Vec<String>,
        /// What to do.
        hint: &'static str,
    },
    /// A model of that name or with that transformer is installed already.
    #[error("{path} was not added: {reason}\nhint: {hint}")]
    NotAdded {
        /// What should have been added.
        path: String,
        /// Why it was not.
        reason: String,
        /// What to do.
        hint: &'static str,
    },
    /// A JSON file of a model folder cannot be read.
    #[error("{file} cannot be understood: {reason}")]
    BadJson {
        /// The file.
        file: String,
        /// The parser's reason.
        reason: String,
    },
    /// Neither an installed model nor a folder.
    #[error("no model `{name}`{}\nhint: installed: {}; `kinora models` lists them, --model also takes a folder", suggestion(similar), installed.join(", "))]
    UnknownModel {
        /// What was asked for.
        name: String,
        /// The closest name that is installed.
        similar: Option<String>,
        /// All names.
        installed: Vec<String>,
    },
    /// A LoRA cannot be read or does not fit.
    #[error(transparent)]
    Lora(Box<crate::lora::LoraError>),
    /// A PyTorch file cannot be read, or must not be.
    #[error(transparent)]
    Pickle(Box<crate::pickle::PickleError>),
    /// A model was not pulled.
    #[error(transparent)]
    Pull(Box<crate::pull::PullError>),
    /// A file cannot be written as it was asked for.
    #[error("`{tensor}` cannot be written: {reason}")]
    CannotWrite {
        /// The tensor, or the file.
        tensor: String,
        /// Why.
        reason: String,
    },
    /// A buffer could not be made.
    #[error(transparent)]
    Tensor(#[from] kinora_tensor::Error),
    /// A layer refused its weights.
    #[error("layer `{layer}` of {file}: {source}")]
    Layer {
        /// The checkpoint.
        file: String,
        /// The layer's full name.
        layer: String,
        /// The kernel's reason.
        source: Box<kinora_kernels::Error>,
    },
}

impl From<crate::pull::PullError> for Error {
    fn from(error: crate::pull::PullError) -> Self {
        Self::Pull(Box::new(error))
    }
}

impl From<crate::pickle::PickleError> for Error {
    fn from(error: crate::pickle::PickleError) -> Self {
        Self::Pickle(Box::new(error))
    }
}

impl From<crate::lora::LoraError> for Error {
    fn from(error: crate::lora::LoraError) -> Self {
        Self::Lora(Box::new(error))
    }
}

impl Error {
    /// True if a file could not be written; everything else is about files that are read.
    pub fn is_about_writing(&self) -> bool {
        match self {
            Self::Pull(error) => matches!(**error, crate::PullError::NoSpace { .. }),
            Self::CannotWrite { .. } | Self::NotAdded { .. } => true,
            // The verbs of `Unfinished` and of `registry::add`.
            Self::Io { action, .. } => matches!(
                action.as_bytes(),
                b"write" | b"create" | b"make" | b"rename to" | b"write tensor"
            ),
            _ => false,
        }
    }

    /// For `map_err` on file operations.
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}

fn pickles(found: &[String]) -> String {
    match found {
        [] => String::new(),
        found => format!(
            "\nthere is {}, a pickle: `kinora convert` makes a file of it that can be read",
            found.join(", ")
        ),
    }
}

fn first_names(names: &[String]) -> String {
    match names {
        [] => String::new(),
        names => format!(" (its tensors begin with `{}`)", names.join("`, `")),
    }
}

pub(crate) fn suggestion(similar: &Option<String>) -> String {
    similar
        .as_ref()
        .map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

/// The words for a list of types in messages.
pub(crate) fn one_of(dtypes: &[Encoding]) -> String {
    dtypes.iter().map(|d| d.name()).collect::<Vec<_>>().join(" or ")
}

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, Error>;
