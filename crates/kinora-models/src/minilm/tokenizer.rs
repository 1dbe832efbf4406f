//! Text to token ids, by the tokenizer file that comes with a checkpoint.

use crate::{Error, Result};

/// Texts as rows of token ids of one length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenBatch {
    /// Token ids, `[B, S]`, padded with the padding id.
    pub ids: Vec<u32>,
    /// Tokens of each text before padding.
    pub lengths: Vec<usize>,
    /// Columns S.
    pub columns: usize,
    /// Whether a text was longer than S and lost its end.
    pub truncated: Vec<bool>,
}

/// A tokenizer read from `tokenizer.json`.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    padding_id: u32,
}

impl Tokenizer {
    /// Reads `tokenizer.json`; its own padding and truncation are set aside, the caller decides.
    ///
    /// **Errors**: [`Error::Tokenizer`].
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        let mut inner = tokenizers::Tokenizer::from_bytes(bytes).map_err(refuse)?;
        inner.with_padding(None).with_truncation(None).map_err(refuse)?;
        let padding_id = inner
            .token_to_id("[PAD]")
            .or_else(|| inner.token_to_id("<pad>"))
            .unwrap_or(0);
        Ok(Self { inner, padding_id })
    }

    /// Tokens of each text with the special tokens around them, cut and padded to `columns` (or to the longest text).
    pub fn encode(&self, texts: &[&str], columns: Option<usize>) -> Result<TokenBatch> {
        let mut rows = Vec::with_capacity(texts.len());
        let mut truncated = Vec::with_capacity(texts.len());
        for text in texts {
            let mut encoding = self.inner.encode(*text, true).map_err(refuse)?;
            let limit = columns.unwrap_or(usize::MAX);
            truncated.push(encoding.len() > limit);
            if encoding.len() > limit {
                encoding = self.truncated(text, limit)?;
            }
            rows.push(encoding.get_ids().to_vec());
        }
        let columns = columns.unwrap_or_else(|| rows.iter().map(Vec::len).max().unwrap_or(0));
        let lengths = rows.iter().map(Vec::len).collect();
        rows.iter_mut().for_each(|row| row.resize(columns, self.padding_id));
        Ok(TokenBatch {
            ids: rows.concat(),
            lengths,
            columns,
            truncated,
        })
    }

    /// The first tokens of a long text, with its closing special token kept.
    fn truncated(&self, text: &str, limit: usize) -> Result<tokenizers::Encoding> {
        let special = self.inner.encode("", true).map_err(refuse)?.len();
        let mut encoding = self.inner.encode(text, false).map_err(refuse)?;
        encoding.truncate(limit.saturating_sub(special), 0, tokenizers::TruncationDirection::Right);
        self.inner.post_process(encoding, None, true).map_err(refuse)
    }
}

fn refuse(error: tokenizers::Error) -> Error {
    Error::Tokenizer {
        reason: error.to_string(),
    }
}
