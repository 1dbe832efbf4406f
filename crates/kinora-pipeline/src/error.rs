//! The one error type of this crate, and what kind of trouble each variant is.

use std::path::{Path, PathBuf};

/// What can go wrong between a prompt and a finished clip.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A value in the request is out of range.
    #[error("{what} {got}: {reason}\nhint: {hint}")]
    Invalid {
        /// The field.
        what: &'static str,
        /// What came.
        got: String,
        /// Why it is refused.
        reason: String,
        /// What would do.
        hint: String,
    },
    /// The prompt cannot be used.
    #[error(transparent)]
    Prompt(#[from] crate::parse::Error),
    /// A picture or clip that was given cannot be used.
    #[error("{}", named(path, source))]
    Input {
        /// The file.
        path: PathBuf,
        /// Why.
        source: kinora_media::Error,
    },
    /// The result cannot be written.
    #[error("{}", named(path, source))]
    Output {
        /// The file.
        path: PathBuf,
        /// Why.
        source: kinora_media::Error,
    },
    /// The output is there and must not be replaced.
    #[error("{} exists\nhint: choose another name, or allow it with --overwrite", path.display())]
    OutputExists {
        /// The file.
        path: PathBuf,
    },
    /// A media operation in memory failed.
    #[error(transparent)]
    Media(kinora_media::Error),
    /// Model files are missing, damaged or foreign.
    #[error(transparent)]
    Weights(Box<kinora_weights::Error>),
    /// A model refused to load or run.
    #[error(transparent)]
    Model(kinora_models::Error),
    /// The model folder describes something that Kinora cannot run.
    #[error("model {model}: {reason}\nhint: `kinora models` lists what is installed")]
    UnsupportedModel {
        /// Its name.
        model: String,
        /// What is not supported.
        reason: String,
    },
    /// A schedule or sampler was misused.
    #[error(transparent)]
    Sampling(#[from] kinora_sampling::Error),
    /// A shape, or memory for it.
    #[error(transparent)]
    Tensor(#[from] kinora_tensor::Error),
    /// The record of a run cannot be written as JSON.
    #[error("the record of the run cannot be written: {reason}")]
    Record {
        /// What the JSON library said.
        reason: String,
    },
    /// A file that should hold latents holds something else.
    #[error("{} holds no latents of a clip: {reason}\nhint: give the .latents.safetensors file that lies beside a clip", path.display())]
    NotLatents {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file that should be a checkpoint of this run is none. A run that was given it is made from its beginning.
    #[error("{} is no checkpoint of this run: {reason}\nhint: it can be removed", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Whoever keeps the checkpoints ended the run after one of them.
    #[error("the run was ended after a checkpoint: {reason}\nhint: the same request goes on from there")]
    Stopped {
        /// Why.
        reason: String,
    },
    /// Latents do not fit the autoencoder.
    #[error(
        "latents of {got} channels do not fit {model}, whose autoencoder has {expected}\nhint: name the model that made them with --model"
    )]
    OtherModel {
        /// The model.
        model: String,
        /// Its channels.
        expected: usize,
        /// Those of the latents.
        got: usize,
    },
    /// The model gave numbers that are none: what comes of them would be black or noise.
    #[error(
        "step {step}: the model gave numbers that are not finite\nhint: another seed, a lower guidance or --precision f32"
    )]
    NotFinite {
        /// The step, counted from 1 in its part.
        step: usize,
    },
    /// More memory would be needed than may be had.
    #[error("about {} of memory needed, {} allowed by {from}\nhint: {hint}", megabytes(*needed_bytes), megabytes(*limit_bytes))]
    Memory {
        /// The least that would do.
        needed_bytes: u64,
        /// What may be had.
        limit_bytes: u64,
        /// Who says so.
        from: &'static str,
        /// What would fit.
        hint: String,
    },
    /// The caller asked to stop.
    #[error("stopped at step {step} of {of}")]
    Cancelled {
        /// Steps that were finished.
        step: usize,
        /// Steps of the run.
        of: usize,
    },
}

/// Who has to do something about an error; the program turns this into its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// An argument or the prompt.
    Usage,
    /// A picture or clip that was handed in.
    Input,
    /// The model's files.
    Model,
    /// The place to write to.
    Output,
    /// Not enough memory.
    Memory,
    /// The caller stopped the run.
    Cancelled,
    /// A defect of Kinora.
    Internal,
}

impl Error {
    /// The kind of trouble.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Prompt(error) if !error.is_about_the_prompt() => ErrorKind::Model,
            Self::Invalid { .. } | Self::Prompt(_) => ErrorKind::Usage,
            Self::Input { .. } | Self::NotLatents { .. } | Self::Checkpoint { .. } | Self::OtherModel { .. } => {
                ErrorKind::Input
            }
            Self::Output { .. } | Self::OutputExists { .. } => ErrorKind::Output,
            Self::Weights(error) => Self::kind_of_weights(error),
            Self::UnsupportedModel { .. } => ErrorKind::Model,
            Self::Model(kinora_models::Error::Kernel(kinora_kernels::Error::Tensor(error)))
            | Self::Model(kinora_models::Error::Tensor(error))
            | Self::Tensor(error) => tensor_kind(error),
            Self::Model(kinora_models::Error::Kernel(_)) | Self::Media(_) | Self::Sampling(_) | Self::Record { .. } => {
                ErrorKind::Internal
            }
            Self::Model(_) => ErrorKind::Model,
            Self::NotFinite { .. } => ErrorKind::Internal,
            Self::Memory { .. } => ErrorKind::Memory,
            Self::Cancelled { .. } | Self::Stopped { .. } => ErrorKind::Cancelled,
        }
    }

    /// The kind of trouble with files of weights: most are about the model, some about a file that is being written.
    pub fn kind_of_weights(error: &kinora_weights::Error) -> ErrorKind {
        match error.is_about_writing() {
            true => ErrorKind::Output,
            false => ErrorKind::Model,
        }
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes.div_ceil(1_000_000))
}

/// The file and what is wrong with it, without naming the file twice.
fn named(path: &Path, source: &kinora_media::Error) -> String {
    let text = source.to_string();
    match text.contains(&*path.to_string_lossy()) {
        true => text,
        false => format!("{}: {text}", path.display()),
    }
}

fn tensor_kind(error: &kinora_tensor::Error) -> ErrorKind {
    match error {
        kinora_tensor::Error::OutOfMemory { .. } | kinora_tensor::Error::TooManyElements { .. } => ErrorKind::Memory,
        _ => ErrorKind::Internal,
    }
}

impl From<kinora_weights::Error> for Error {
    fn from(error: kinora_weights::Error) -> Self {
        Self::Weights(Box::new(error))
    }
}

impl From<kinora_models::Error> for Error {
    fn from(error: kinora_models::Error) -> Self {
        match error {
            kinora_models::Error::Weights(error) => error.into(),
            kinora_models::Error::Tensor(error) => Self::Tensor(error),
            other => Self::Model(other),
        }
    }
}

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lack_of_memory_is_told_from_defects_wherever_it_happens() {
        let full = || kinora_tensor::Error::OutOfMemory { bytes: 1 };
        let in_kernel = kinora_models::Error::Kernel(kinora_kernels::Error::Tensor(full()));
        for error in [Error::Tensor(full()), Error::from(in_kernel)] {
            assert_eq!(error.kind(), ErrorKind::Memory, "{error}");
        }
        assert_eq!(
            Error::Tensor(kinora_tensor::Error::RankTooLarge { rank: 9 }).kind(),
            ErrorKind::Internal
        );
    }

    #[test]
    fn a_file_is_named_once() {
        let path = Path::new("a/b.mp4");
        let io = kinora_media::Error::Io {
            op: "read",
            path: path.into(),
            source: std::io::ErrorKind::NotFound.into(),
        };
        assert_eq!(named(path, &io).matches("b.mp4").count(), 1);
        assert!(named(path, &kinora_media::Error::NoFrames).starts_with("a/b.mp4: "));
    }
}
