//! The text encoder of a model, whichever family it is of: words in, context tokens out.

use kinora_kernels::{Precision, trace};
use kinora_models::umt5::{GgufPieces, Tokenizer, Umt5, clean_prompt};
use kinora_tensor::Tensor;
use kinora_weights::{ModelFolder, TokenizerSource};

use super::classes::TextKind;
use crate::map::TextEmbedder;
use crate::memory_plan::TextSize;
use crate::parse::SentenceEncoder;
use crate::{Error, Result};

/// A text encoder with its tokenizer.
pub(crate) enum Text {
    /// Sentences as vectors too, which the parser looks words up with.
    MiniLm(Box<TextEmbedder>),
    /// Read block by block at each use: it is larger than most transformers.
    Umt5 {
        encoder: Box<Umt5>,
        tokenizer: Box<Tokenizer>,
        columns: usize,
    },
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
            TextKind::MiniLm => Self::MiniLm(Box::new(TextEmbedder::load(folder, columns)?)),
            TextKind::Umt5 => {
                let checkpoint = folder.checkpoint("text_encoder")?;
                let config = folder.config("text_encoder")?;
                Self::Umt5 {
                    // One pass over few tokens: exactness costs little here.
                    encoder: Box::new(Umt5::open(&checkpoint, &config, Precision::F32)?),
                    tokenizer: Box::new(tokenizer(folder)?),
                    columns,
                }
            }
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
            Self::Umt5 {
                encoder,
                tokenizer,
                columns,
            } => embed_umt5(encoder, tokenizer, *columns, prompt, negative),
        }
    }

    /// What the encoder takes.
    pub(crate) fn size(&self) -> TextSize<'_> {
        match self {
            Self::MiniLm(_) => TextSize::Loaded,
            Self::Umt5 { encoder, .. } => TextSize::Umt5(encoder.config()),
        }
    }

    /// What grounds a scene in a model's vocabulary, for models that have one.
    pub(crate) fn sentences(&self) -> Option<&impl SentenceEncoder<Error = Error>> {
        match self {
            Self::MiniLm(embedder) => Some(&**embedder),
            Self::Umt5 { .. } => None,
        }
    }
}

fn embed_umt5(
    encoder: &Umt5,
    tokenizer: &Tokenizer,
    columns: usize,
    prompt: &str,
    negative: Option<&str>,
) -> Result<(Embedded, Option<Embedded>)> {
    let _span = trace::span("embed text", 0.0);
    let texts = std::iter::once(prompt).chain(negative);
    let tokens = texts
        .map(|text| tokenizer.tokens(&clean_prompt(text), columns))
        .collect::<std::result::Result<Vec<_>, _>>()?;
    let ids: Vec<Vec<u32>> = tokens.iter().map(|tokens| tokens.ids.clone()).collect();
    let mut embedded = encoder.embed(&ids)?.into_iter().zip(&tokens).map(|(rows, tokens)| {
        Ok::<_, Error>(Embedded {
            context: padded(&rows, columns)?,
            cut: tokens.is_cut,
        })
    });
    let prompt = embedded
        .next()
        .unwrap_or_else(|| unreachable!("one context for each text"))?;
    Ok((prompt, embedded.next().transpose()?))
}

/// `[S, T]` → `[1, columns, T]`, filled up with zeros: the transformer attends to the padding too.
pub(crate) fn padded(rows: &Tensor, columns: usize) -> Result<Tensor> {
    let [tokens, width] = rows.dims_of("padded", "[S, T]")?;
    let mut out = Tensor::zeros([1, columns, width])?;
    let kept = tokens.min(columns) * width;
    out.as_mut_slice()[..kept].copy_from_slice(&rows.as_slice()[..kept]);
    Ok(out)
}

/// The tokenizer, in whatever form the model's files keep it.
fn tokenizer(folder: &ModelFolder) -> Result<Tokenizer> {
    Ok(match folder.tokenizer_source()? {
        TokenizerSource::Json(bytes) => Tokenizer::from_json(&bytes)?,
        TokenizerSource::SentencePiece(bytes) => Tokenizer::from_sentencepiece(&bytes)?,
        TokenizerSource::Pieces { tokens, scores, kinds } => {
            // A kind that does not fit is one that nobody knows, which the tokenizer refuses.
            let types: Vec<i32> = kinds
                .iter()
                .map(|&kind| i32::try_from(kind).unwrap_or(i32::MAX))
                .collect();
            Tokenizer::from_gguf(GgufPieces {
                tokens: &tokens,
                scores: &scores,
                types: &types,
                charsmap: None,
                add_space_prefix: true,
                remove_extra_spaces: true,
            })?
        }
        _ => {
            return Err(Error::UnsupportedModel {
                model: folder.name(),
                reason: "its tokenizer has a form that this version does not read".into(),
            });
        }
    })
}
