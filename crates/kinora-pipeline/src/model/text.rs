//! The text encoder of a model, whichever family it is of: words in, context tokens out.

use kinora_tensor::Tensor;
use kinora_weights::ModelFolder;

use super::classes::TextKind;
use crate::map::TextEmbedder;
use crate::parse::SentenceEncoder;
use crate::{Error, Result};

/// A text encoder with its tokenizer.
pub(crate) enum Text {
    /// Sentences as vectors too, which the parser looks words up with.
    MiniLm(TextEmbedder),
}

/// Context tokens of one text.
pub(crate) struct Embedded {
    /// `[1, S, T]`, zero where padded.
    pub(crate) context: Tensor,
    /// Whether the end of the text was cut off.
    pub(crate) cut: bool,
}

impl Text {
    /// Opens the text encoder of `folder`; contexts will have `columns` tokens.
    pub(crate) fn open(kind: TextKind, folder: &ModelFolder, columns: usize) -> Result<Self> {
        Ok(match kind {
            TextKind::MiniLm => Self::MiniLm(TextEmbedder::load(folder, columns)?),
        })
    }

    /// Context tokens of the prompt and, where there is guidance, of the negative prompt. They are embedded together: a
    /// large encoder is read once for both.
    pub(crate) fn embed(&self, prompt: &str, negative: Option<&str>) -> Result<(Embedded, Option<Embedded>)> {
        match self {
            Self::MiniLm(embedder) => Ok((
                embedder.embed_context(prompt)?,
                negative.map(|text| embedder.embed_context(text)).transpose()?,
            )),
        }
    }

    /// What grounds a scene in a model's vocabulary, for models that have one.
    pub(crate) fn sentences(&self) -> Option<&impl SentenceEncoder<Error = Error>> {
        match self {
            Self::MiniLm(embedder) => Some(embedder),
        }
    }
}
