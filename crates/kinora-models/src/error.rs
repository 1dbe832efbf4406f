//! The one error type of this crate.

/// What can go wrong while a model is loaded or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A shape, or memory for it.
    #[error(transparent)]
    Tensor(#[from] kinora_tensor::Error),
    /// An operation refused its input.
    #[error(transparent)]
    Kernel(#[from] kinora_kernels::Error),
    /// A checkpoint is unreadable or does not fit the model.
    #[error(transparent)]
    Weights(#[from] kinora_weights::Error),
    /// `config.json` is not what this model understands.
    #[error("{model}: config: {reason}")]
    Config {
        /// The model family.
        model: &'static str,
        /// What is wrong with which field.
        reason: String,
    },
    /// What a call asks of a model is not what the model can do.
    #[error("{model}: {reason}\nhint: {hint}")]
    Refused {
        /// The model family.
        model: &'static str,
        /// What was asked.
        reason: String,
        /// What to do instead.
        hint: &'static str,
    },
    /// A clip ended inside a group of frames that make one latent frame.
    #[error(
        "{frames} frames are not 1 and then groups of {group}, each of which is one latent frame\nhint: {fits} frames would do"
    )]
    UnfinishedClip {
        /// How many frames were given.
        frames: usize,
        /// Frames of a latent frame after the first.
        group: usize,
        /// The nearest shorter clip that is whole.
        fits: usize,
    },
    /// Frames were given to an autoencoder of which the decoder alone was loaded.
    #[error(
        "only the decoder of this autoencoder was loaded\nhint: load the whole autoencoder to encode pictures or clips"
    )]
    NoEncoder,
    /// A file of the judge's folder is not there or not readable.
    #[error("cannot read {}: {source}\nhint: a judge is a folder with config.json and model.safetensors", path.display())]
    JudgeFile {
        /// The file.
        path: std::path::PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The tokenizer file is unreadable, or refuses a text.
    #[error("tokenizer: {reason}")]
    Tokenizer {
        /// What the tokenizer library said.
        reason: String,
    },
    /// A frame that no picture encoder can read.
    #[error("the picture cannot be embedded: {reason}\nhint: give a frame with finite values from 0 to 1")]
    Picture {
        /// What is wrong with it.
        reason: String,
    },
    /// A token id that the embedding table does not have.
    #[error(
        "token {id} is outside the vocabulary of {vocab_size}\nhint: the tokenizer and the text encoder must come from the same model"
    )]
    TokenOutOfRange {
        /// The offending id.
        id: u32,
        /// Rows of the table.
        vocab_size: usize,
    },
}

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Reads a model's `config.json`; unknown fields are allowed (others write their own notes there), missing ones are not.
pub(crate) fn parse_config<T: serde::de::DeserializeOwned>(model: &'static str, json: &str) -> Result<T> {
    serde_json::from_str(json).map_err(|error| Error::Config {
        model,
        reason: error.to_string(),
    })
}
