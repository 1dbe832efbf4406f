//! A unigram tokenizer made from its pieces.
//!
//! **Source**: sentencepiece, `normalizer.cc` and `unigram_model.cc` (Apache-2.0): what is done to text before, and which
//! pieces can be chosen. The choice itself (the most probable split) is that of the `tokenizers` library.

use tokenizers::Model;
use tokenizers::models::unigram::Unigram;

use super::charsmap::Charsmap;
use super::protobuf;

/// Stands for a space inside pieces.
const SPACE: char = '\u{2581}';

/// The score of a piece that must not be chosen.
const NEVER: f64 = -1e9;

/// What a piece is for, in the numbers of sentencepiece and GGUF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// 1: a part of text.
    Normal,
    /// 2: stands for what no piece covers.
    Unknown,
    /// 3: never in text: padding, the end.
    Control,
    /// 4: taken wherever its text occurs.
    UserDefined,
    /// 5: never chosen.
    Unused,
    /// 6: one byte of what no piece covers, spelled `<0x0A>`.
    Byte,
}

impl Kind {
    /// The kind of a number.
    pub(super) fn of(number: i64) -> Result<Self, String> {
        Ok(match number {
            1 => Self::Normal,
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            5 => Self::Unused,
            6 => Self::Byte,
            other => return Err(format!("a piece has the unknown type {other}")),
        })
    }
}

/// One entry of the vocabulary.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece<'a> {
    pub(super) text: &'a str,
    /// Logarithm of its probability.
    pub(super) score: f32,
    pub(super) kind: Kind,
}

/// How text is prepared.
pub(super) struct Rules<'a> {
    /// Empty for none.
    pub(super) charsmap: &'a [u8],
    pub(super) add_dummy_prefix: bool,
    pub(super) remove_extra_spaces: bool,
    pub(super) byte_fallback: bool,
}

/// The tokenizer.
pub(super) struct SentencePieces {
    model: Unigram,
    charsmap: Option<Charsmap>,
    user_defined: Vec<String>,
    add_dummy_prefix: bool,
    remove_extra_spaces: bool,
    end: u32,
}

impl SentencePieces {
    /// From the bytes of a model file.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let model = protobuf::parse(bytes)?;
        if model.pieces.is_empty() {
            return Err("it has no pieces".into());
        }
        if model.trainer.model_type != 1 {
            return Err("it is not a unigram model".into());
        }
        if model.trainer.space_is_suffix || !model.normalizer.escape_spaces {
            return Err("it treats spaces in a way that is not known".into());
        }
        let rules = Rules {
            charsmap: model.normalizer.charsmap,
            add_dummy_prefix: model.normalizer.add_dummy_prefix,
            remove_extra_spaces: model.normalizer.remove_extra_spaces,
            byte_fallback: model.trainer.byte_fallback,
        };
        Self::new(&model.pieces, &rules)
    }

    pub(super) fn new(pieces: &[Piece], rules: &Rules) -> Result<Self, String> {
        let scores = pieces
            .iter()
            .filter(|p| p.kind == Kind::Normal)
            .map(|p| f64::from(p.score));
        let (least, most) = scores.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), score| {
            (least.min(score), most.max(score))
        });
        if !(least.is_finite() && most.is_finite()) {
            return Err("it has no pieces with usable scores".into());
        }
        let place = |found: &dyn Fn(&Piece) -> bool, what: &str| {
            let place = pieces.iter().position(found);
            place.ok_or_else(|| format!("it has no piece {what}"))
        };
        let unknown = place(&|p| p.kind == Kind::Unknown, "for unknown text")?;
        let end = place(
            &|p| p.kind == Kind::Control && p.text == "</s>",
            "`</s>` that ends a text",
        )?;
        let vocabulary = pieces.iter().enumerate().map(|(id, piece)| {
            let text = piece.text.to_owned();
            let score = f64::from(piece.score);
            match piece.kind {
                Kind::Normal => (text, score),
                // Better than any way to write it with other pieces.
                Kind::UserDefined => (text, piece.text.chars().count() as f64 * most - 0.1),
                // Found by name only, never because somebody writes `<0x41>`.
                Kind::Byte => (text, NEVER),
                // A text that nobody writes: these must not be found in one.
                Kind::Unknown | Kind::Control | Kind::Unused => (format!("\u{0}{id}"), NEVER),
            }
        });
        let mut model =
            Unigram::from(vocabulary.collect(), Some(unknown), rules.byte_fallback).map_err(|e| e.to_string())?;
        model.min_score = least;
        let mut user_defined: Vec<String> = pieces
            .iter()
            .filter(|p| p.kind == Kind::UserDefined && !p.text.is_empty())
            .map(|p| p.text.to_owned())
            .collect();
        user_defined.sort_by_key(|text| std::cmp::Reverse(text.len()));
        Ok(Self {
            model,
            charsmap: match rules.charsmap {
                [] => None,
                bytes => Some(Charsmap::parse(bytes)?),
            },
            user_defined,
            add_dummy_prefix: rules.add_dummy_prefix,
            remove_extra_spaces: rules.remove_extra_spaces,
            end: end as u32,
        })
    }

    /// The id that ends a text.
    pub(super) const fn end(&self) -> u32 {
        self.end
    }

    /// The pieces of a text, without an end.
    pub(super) fn ids(&self, text: &str) -> Result<Vec<u32>, String> {
        let prepared = self.prepare(text);
        if prepared.is_empty() {
            return Ok(Vec::new());
        }
        let tokens = self.model.tokenize(&prepared).map_err(|e| e.to_string())?;
        Ok(tokens.into_iter().map(|token| token.id).collect())
    }

    /// The text as pieces spell it: mapped characters, single spaces, all of them marked.
    fn prepare(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len() + 8);
        let mut rest = text;
        if self.remove_extra_spaces {
            while let Some((" ", length)) = self.next(rest) {
                rest = &rest[length..];
            }
        }
        if rest.is_empty() {
            return out;
        }
        if self.add_dummy_prefix {
            out.push(SPACE);
        }
        let mut after_space = self.remove_extra_spaces;
        while let Some((mut part, length)) = self.next(rest) {
            if after_space {
                part = part.trim_start_matches(' ');
            }
            if !part.is_empty() {
                out.extend(part.chars().map(|c| if c == ' ' { SPACE } else { c }));
                after_space = self.remove_extra_spaces && part.ends_with(' ');
            }
            rest = &rest[length..];
        }
        if self.remove_extra_spaces {
            out.truncate(out.trim_end_matches([SPACE, ' ']).len());
        }
        out
    }

    /// What the beginning of a text becomes, and its length; `None` at the end.
    fn next<'a>(&'a self, text: &'a str) -> Option<(&'a str, usize)> {
        let first = text.chars().next()?;
        if let Some(own) = self.user_defined.iter().find(|own| text.starts_with(own.as_str())) {
            return Some((own, own.len()));
        }
        let mapped = self.charsmap.as_ref().and_then(|map| map.longest(text));
        mapped.or_else(|| Some((&text[..first.len_utf8()], first.len_utf8())))
    }
}
