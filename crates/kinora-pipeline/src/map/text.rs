//! Text to context tokens, and to sentence vectors for the parser.

use kinora_kernels::trace;
use kinora_models::minilm::{MiniLm, Tokenizer};
use kinora_tensor::Arena;
use kinora_weights::{Checkpoint, ModelFolder};

use crate::model::Embedded;
use crate::parse::{SentenceEncoder, Vocabulary, VocabularyPhrase};
use crate::{Error, Result};

/// The tokenizer and text encoder of a model.
pub(crate) struct TextEmbedder {
    tokenizer: Tokenizer,
    encoder: MiniLm,
    arena: Arena,
    columns: usize,
}

impl TextEmbedder {
    /// Reads the text encoder of `folder`; contexts will have `columns` tokens.
    pub(crate) fn load(folder: &ModelFolder, columns: usize) -> Result<Self> {
        Ok(Self {
            tokenizer: Tokenizer::from_json(&folder.tokenizer()?)?,
            encoder: MiniLm::load(&folder.checkpoint("text_encoder")?, &folder.config("text_encoder")?)?,
            arena: Arena::new(),
            columns,
        })
    }

    /// Context tokens of one text, S = the model's text length.
    pub(crate) fn embed_context(&self, text: &str) -> Result<Embedded> {
        let _span = trace::span("embed text", 0.0);
        let tokens = self.tokenizer.encode(&[text], Some(self.columns))?;
        Ok(Embedded {
            context: self.encoder.forward(&tokens, &self.arena)?,
            cut: tokens.truncated.contains(&true),
        })
    }
}

impl SentenceEncoder for TextEmbedder {
    type Error = Error;

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        let longest = self.encoder.config().max_position_embeddings;
        let mut tokens = self.tokenizer.encode(texts, None)?;
        if tokens.columns > longest {
            tokens = self.tokenizer.encode(texts, Some(longest))?;
        }
        Ok(self.encoder.sentences(&tokens, &self.arena)?)
    }
}

/// What a model knows: its concepts, and the sentence vectors of their phrases as the model folder holds them.
///
/// **Errors**: [`Error::UnsupportedModel`] if the phrase list and the vectors do not fit together.
pub(crate) fn vocabulary(concepts_json: &str, vectors: &Checkpoint) -> Result<Vocabulary> {
    let refuse = |reason: String| Error::UnsupportedModel {
        model: vectors.name().to_owned(),
        reason,
    };
    let json = vectors
        .metadata()
        .get("phrases")
        .ok_or_else(|| refuse("it lists no phrases".into()))?;
    let phrases: Vec<VocabularyPhrase> = serde_json::from_str(json).map_err(|error| refuse(error.to_string()))?;
    let shape = vectors.require("vectors")?.shape.to_vec();
    let &[rows, width] = shape.as_slice() else {
        return Err(refuse(format!("vectors {shape:?} are no matrix")));
    };
    if rows != phrases.len() || width == 0 {
        return Err(refuse(format!("{rows} vectors for {} phrases", phrases.len())));
    }
    let matrix = vectors.reader().tensor("vectors", &shape)?;
    let rows = matrix.as_slice().chunks_exact(width).map(<[f32]>::to_vec);
    Ok(Vocabulary::new(concepts_json, phrases.into_iter().zip(rows).collect())?)
}
