//! What can go wrong in this step.

/// A prompt or a vocabulary that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing but white space or punctuation.
    #[error("the prompt is empty\nhint: say what the clip should show, for example \"a red car drives along a beach\"")]
    Empty,
    /// Too long to be a prompt.
    #[error(
        "the prompt has {bytes} bytes, the limit is {limit}\nhint: describe the clip in a few sentences; models read about 60 words"
    )]
    TooLong {
        /// Length of the prompt.
        bytes: usize,
        /// [`super::MAX_PROMPT_BYTES`].
        limit: usize,
    },
    /// A control character (a zero byte, an escape sequence).
    #[error(
        "the prompt holds the control character U+{code:04X} at byte {offset}\nhint: paste the prompt as plain text"
    )]
    ControlCharacter {
        /// Byte offset in the prompt.
        offset: usize,
        /// Unicode code point.
        code: u32,
    },
    /// The concepts file of a model is not the JSON that is expected.
    #[error("the model's list of concepts is not readable: {reason}\nhint: install the model again")]
    Concepts {
        /// The reader's message.
        reason: String,
    },
    /// Phrase vectors of different lengths.
    #[error(
        "the vector of the phrase '{phrase}' has {got} numbers, the others have {expected}\nhint: install the model again"
    )]
    VectorLength {
        /// The phrase.
        phrase: String,
        /// Length of the first vector.
        expected: usize,
        /// Length of this one.
        got: usize,
    },
    /// The sentence encoder failed.
    #[error("the sentence encoder failed: {source}")]
    Encoder {
        /// What it reported.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The encoder answered with the wrong number or size of vectors.
    #[error("the sentence encoder answered {got} vectors for {asked} texts; each must have {width} numbers")]
    EncoderShape {
        /// Texts given.
        asked: usize,
        /// Vectors returned.
        got: usize,
        /// The vocabulary's vector length.
        width: usize,
    },
}

impl Error {
    /// Whether the prompt is at fault, rather than the model's vocabulary or encoder.
    pub const fn is_about_the_prompt(&self) -> bool {
        matches!(self, Self::Empty | Self::TooLong { .. } | Self::ControlCharacter { .. })
    }
}
