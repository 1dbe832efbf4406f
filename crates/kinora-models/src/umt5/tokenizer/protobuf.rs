//! The few fields of a sentencepiece model file that a tokenizer needs.
//!
//! **Source**: `sentencepiece_model.proto` of <https://github.com/google/sentencepiece> (Apache-2.0), its field numbers;
//! the wire format of protocol buffers. Fields that are not named here are skipped.

use super::pieces::{Kind, Piece};

/// What a model file says.
#[derive(Debug, Default)]
pub(super) struct ModelProto<'a> {
    pub(super) pieces: Vec<Piece<'a>>,
    pub(super) trainer: Trainer,
    pub(super) normalizer: Normalizer<'a>,
}

/// How the model was trained, as far as it matters afterwards.
#[derive(Debug)]
pub(super) struct Trainer {
    /// 1 is unigram.
    pub(super) model_type: u64,
    pub(super) space_is_suffix: bool,
    pub(super) byte_fallback: bool,
}

impl Default for Trainer {
    fn default() -> Self {
        Self {
            model_type: 1,
            space_is_suffix: false,
            byte_fallback: false,
        }
    }
}

/// What is done to text first.
#[derive(Debug)]
pub(super) struct Normalizer<'a> {
    pub(super) charsmap: &'a [u8],
    pub(super) add_dummy_prefix: bool,
    pub(super) remove_extra_spaces: bool,
    pub(super) escape_spaces: bool,
}

impl Default for Normalizer<'_> {
    fn default() -> Self {
        Self {
            charsmap: &[],
            add_dummy_prefix: true,
            remove_extra_spaces: true,
            escape_spaces: true,
        }
    }
}

/// Reads a whole file.
pub(super) fn parse(bytes: &[u8]) -> Result<ModelProto<'_>, String> {
    let mut model = ModelProto::default();
    for field in Fields(bytes) {
        match field? {
            (1, Value::Bytes(piece)) => model.pieces.push(parse_piece(piece)?),
            (2, Value::Bytes(spec)) => {
                for field in Fields(spec) {
                    match field? {
                        (3, Value::Number(kind)) => model.trainer.model_type = kind,
                        (24, Value::Number(flag)) => model.trainer.space_is_suffix = flag != 0,
                        (35, Value::Number(flag)) => model.trainer.byte_fallback = flag != 0,
                        _ => {}
                    }
                }
            }
            (3, Value::Bytes(spec)) => {
                for field in Fields(spec) {
                    match field? {
                        (2, Value::Bytes(charsmap)) => model.normalizer.charsmap = charsmap,
                        (3, Value::Number(flag)) => model.normalizer.add_dummy_prefix = flag != 0,
                        (4, Value::Number(flag)) => model.normalizer.remove_extra_spaces = flag != 0,
                        (5, Value::Number(flag)) => model.normalizer.escape_spaces = flag != 0,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Ok(model)
}

fn parse_piece(bytes: &[u8]) -> Result<Piece<'_>, String> {
    let (mut text, mut score, mut kind) = ("", 0.0, Kind::Normal);
    for field in Fields(bytes) {
        match field? {
            (1, Value::Bytes(bytes)) => {
                text = std::str::from_utf8(bytes).map_err(|_| "a piece is not UTF-8".to_owned())?;
            }
            (2, Value::Four(bytes)) => score = f32::from_le_bytes(bytes),
            (3, Value::Number(number)) => kind = Kind::of(number as i64)?,
            _ => {}
        }
    }
    Ok(Piece { text, score, kind })
}

/// The value of one field.
enum Value<'a> {
    Number(u64),
    Four([u8; 4]),
    Eight,
    Bytes(&'a [u8]),
}

/// The fields of a message, in order.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or_else(|| "it is cut off or not a sentencepiece model".to_owned()))
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Number(self.varint()?),
            1 => {
                self.take(8)?;
                Value::Eight
            }
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Four(self.take(4)?.try_into().ok()?),
            _ => return None,
        };
        // Field 0 does not exist.
        (key >> 3 > 0).then_some((key >> 3, value))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for i in 0..10 {
            let byte = *self.take(1)?.first()?;
            value |= u64::from(byte & 0x7f).checked_shl(7 * i)?;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hand_made_messages_are_read() {
        // piece { "ab", -1.5, type 4 }, an unknown 64-bit field, trainer { 35: true }, normalizer { 3: false }
        let mut bytes = vec![0x0a, 11, 0x0a, 2, b'a', b'b', 0x15];
        bytes.extend((-1.5f32).to_le_bytes());
        bytes.extend([0x18, 4]);
        bytes.extend([0x39, 1, 2, 3, 4, 5, 6, 7, 8]);
        bytes.extend([0x12, 3, 0x98, 0x02, 1]);
        bytes.extend([0x1a, 2, 0x18, 0]);
        let model = parse(&bytes).unwrap();
        let piece = &model.pieces[0];
        assert_eq!((piece.text, piece.score, piece.kind), ("ab", -1.5, Kind::UserDefined));
        assert!(model.trainer.byte_fallback && model.trainer.model_type == 1);
        assert!(!model.normalizer.add_dummy_prefix && model.normalizer.remove_extra_spaces);
    }

    #[test]
    fn every_prefix_of_a_file_is_read_or_refused_without_a_panic() {
        let golden = kinora_testkit::Golden::open(env!("CARGO_MANIFEST_DIR"), "umt5_tokenizer");
        let bytes = golden.bytes("spiece_model");
        let whole = parse(&bytes).unwrap().pieces.len();
        assert!(whole > 500);
        let refused = (0..4000).filter(|&end| parse(&bytes[..end]).is_err()).count();
        assert!(refused > 3000, "{refused}");
        for bad in [
            &[0x0a, 200][..],
            &[0xff; 12],
            &[0x02],
            &[0x07, 1],
            &[0x0a, 3, 0x0a, 1, 0xff],
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
