//! Text to the token ids of umT5.
//!
//! Three kinds of files hold the same tokenizer: `tokenizer.json` of diffusers folders, a sentencepiece model
//! (`spiece.model` beside the weights, or the tensor `spiece_model` inside ComfyUI's files), and the arrays of a GGUF
//! file. The first is run as the `tokenizers` library runs it; the others as sentencepiece does, so the two can differ in
//! what a text with control tokens spelled out (`</s>`) or with unknown characters becomes, as the originals do.

mod charsmap;
mod pieces;
mod protobuf;

use crate::{Error, Result};
use pieces::{Kind, Piece, Rules, SentencePieces};

/// The end of a text.
const END: &str = "</s>";

/// The token ids of one text, the end token included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// For [`Umt5::embed`](super::Umt5::embed).
    pub ids: Vec<u32>,
    /// Whether the text was longer and lost its end.
    pub is_cut: bool,
}

/// The arrays `tokenizer.ggml.*` of a GGUF file.
#[derive(Debug, Clone, Copy)]
pub struct GgufPieces<'a> {
    /// `tokens`.
    pub tokens: &'a [String],
    /// `scores`.
    pub scores: &'a [f32],
    /// `token_type`: 1 normal, 2 unknown, 3 control, 4 user defined, 5 unused, 6 byte.
    pub types: &'a [i32],
    /// `precompiled_charsmap`; without one characters stay as they are.
    pub charsmap: Option<&'a [u8]>,
    /// `add_space_prefix`, usually true.
    pub add_space_prefix: bool,
    /// `remove_extra_whitespaces`, usually true.
    pub remove_extra_spaces: bool,
}

enum Inner {
    Json(Box<tokenizers::Tokenizer>, u32),
    Pieces(Box<SentencePieces>),
}

/// A tokenizer read from any of its files.
pub struct Tokenizer(Inner);

impl Tokenizer {
    /// Reads `tokenizer.json`.
    ///
    /// **Errors**: [`Error::Tokenizer`].
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        let refuse = |error: tokenizers::Error| refused(&error.to_string());
        let mut inner = tokenizers::Tokenizer::from_bytes(bytes).map_err(refuse)?;
        inner.with_padding(None).with_truncation(None).map_err(refuse)?;
        let end = inner
            .token_to_id(END)
            .ok_or_else(|| refused("it has no token `</s>` that ends a text"))?;
        Ok(Self(Inner::Json(Box::new(inner), end)))
    }

    /// Reads a sentencepiece model (`spiece.model`, `tokenizer.model`).
    ///
    /// **Errors**: [`Error::Tokenizer`]: damaged, or not a unigram model.
    pub fn from_sentencepiece(bytes: &[u8]) -> Result<Self> {
        let pieces = SentencePieces::parse(bytes).map_err(|reason| refused(&reason))?;
        Ok(Self(Inner::Pieces(Box::new(pieces))))
    }

    /// From the arrays of a GGUF file.
    ///
    /// **Errors**: [`Error::Tokenizer`]: arrays of different lengths, unknown types, no end token.
    pub fn from_gguf(arrays: GgufPieces) -> Result<Self> {
        let counts = [arrays.tokens.len(), arrays.scores.len(), arrays.types.len()];
        if counts.iter().any(|&count| count != counts[0]) {
            return Err(refused(&format!("tokens, scores and types have {counts:?} entries")));
        }
        let columns = arrays.tokens.iter().zip(arrays.scores).zip(arrays.types);
        let pieces: Vec<Piece> = columns
            .map(|((text, &score), &kind)| {
                let kind = Kind::of(i64::from(kind)).map_err(|reason| refused(&reason))?;
                Ok(Piece { text, score, kind })
            })
            .collect::<Result<_>>()?;
        let rules = Rules {
            charsmap: arrays.charsmap.unwrap_or_default(),
            add_dummy_prefix: arrays.add_space_prefix,
            remove_extra_spaces: arrays.remove_extra_spaces,
            byte_fallback: pieces.iter().any(|piece| piece.kind == Kind::Byte),
        };
        let pieces = SentencePieces::new(&pieces, &rules).map_err(|reason| refused(&reason))?;
        Ok(Self(Inner::Pieces(Box::new(pieces))))
    }

    /// The ids of a text with the end token, at most `limit` of them (512 in Wan): a longer text loses its end, but not
    /// the end token. The text should have gone through [`clean_prompt`](super::clean_prompt).
    ///
    /// **Errors**: [`Error::Tokenizer`].
    pub fn tokens(&self, text: &str, limit: usize) -> Result<Tokens> {
        let (mut ids, end) = match &self.0 {
            Inner::Json(inner, end) => {
                let encoding = inner.encode(text, false).map_err(|error| refused(&error.to_string()))?;
                (encoding.get_ids().to_vec(), *end)
            }
            Inner::Pieces(pieces) => (pieces.ids(text).map_err(|reason| refused(&reason))?, pieces.end()),
        };
        let is_cut = ids.len() >= limit;
        ids.truncate(limit.saturating_sub(1));
        ids.push(end);
        Ok(Tokens { ids, is_cut })
    }
}

fn refused(reason: &str) -> Error {
    Error::Tokenizer { reason: reason.into() }
}
