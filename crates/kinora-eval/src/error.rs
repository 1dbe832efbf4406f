//! The one error type of this crate.

use std::path::PathBuf;

use kinora_pipeline::ErrorKind;

/// What can go wrong between a prompt set and a score.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The prompt set is missing, no JSON, or says something impossible.
    #[error("the prompts in {} cannot be used: {reason}\nhint: name a set with --prompts; the repository has bench/prompts-240.json (docs/eval.md)", path.display())]
    Prompts {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// There is no judge in any of the places where one is looked for.
    #[error(
        "no judge in {}\nhint: name its folder with --judge; it holds config.json and model.safetensors (docs/eval.md)",
        listed(looked)
    )]
    NoJudge {
        /// Where it was looked for.
        looked: Vec<PathBuf>,
    },
    /// The judge in a folder cannot be used.
    #[error("the judge in {} cannot be used: {source}\nhint: name another folder with --judge", folder.display())]
    Judge {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: Box<kinora_models::Error>,
    },
    /// A prompt has a label that the judge cannot give.
    #[error(
        "prompt {id}: the judge knows no {question} \"{label}\"\nhint: prompts and judge must be of the same world"
    )]
    UnknownLabel {
        /// The prompt.
        id: u64,
        /// Which question.
        question: &'static str,
        /// The label.
        label: String,
    },
    /// The model cannot do what is to be scored.
    #[error(
        "--task {task} is nothing for this model: {source}\nhint: it needs a model that makes clips of words and starts from a picture or a clip; --task text needs only words"
    )]
    Task {
        /// The task.
        task: &'static str,
        /// What the planner said.
        source: Box<kinora_pipeline::Error>,
    },
    /// The results that are there were made with other settings.
    #[error("{} was made with other settings: {difference}\nhint: the same settings go on with it; for others choose another --out", path.display())]
    OtherSettings {
        /// The file.
        path: PathBuf,
        /// What differs.
        difference: String,
    },
    /// The results that are there cannot be understood.
    #[error("{}, line {line}: {reason}\nhint: choose another --out, or remove the file to start over", path.display())]
    Results {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// A clip does not have the size that the judge looks at.
    #[error("the judge cannot look at a clip of {got}: {expected}")]
    Clip {
        /// What came.
        got: String,
        /// What would do.
        expected: String,
    },
    /// The system refused.
    #[error("could not {action} {}: {source}", path.display())]
    Io {
        /// The verb that failed.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A record cannot be written as JSON.
    #[error("the results cannot be written as JSON: {reason}")]
    Record {
        /// What the JSON library said.
        reason: String,
    },
    /// A clip could not be made.
    #[error(transparent)]
    Pipeline(Box<kinora_pipeline::Error>),
    /// A picture could not be made or written.
    #[error(transparent)]
    Media(#[from] kinora_media::Error),
    /// A shape, or memory for it.
    #[error(transparent)]
    Tensor(#[from] kinora_tensor::Error),
}

impl Error {
    /// Who has to do something about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Prompts { .. } | Self::UnknownLabel { .. } => ErrorKind::Input,
            Self::NoJudge { .. } | Self::Judge { .. } => ErrorKind::Model,
            Self::OtherSettings { .. } | Self::Clip { .. } => ErrorKind::Usage,
            Self::Results { .. } | Self::Io { .. } | Self::Media(_) => ErrorKind::Output,
            Self::Pipeline(error) | Self::Task { source: error, .. } => error.kind(),
            Self::Record { .. } | Self::Tensor(_) => ErrorKind::Internal,
        }
    }
}

impl From<kinora_pipeline::Error> for Error {
    fn from(error: kinora_pipeline::Error) -> Self {
        Self::Pipeline(Box::new(error))
    }
}

fn listed(folders: &[PathBuf]) -> String {
    let names: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
    names.join(", nor in ")
}

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, Error>;
