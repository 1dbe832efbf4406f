//! The character map that a sentencepiece model carries: which sequences of characters are written differently.
//!
//! **Source**: `normalizer.cc` of <https://github.com/google/sentencepiece> (Apache-2.0) for the layout: the length of a
//! trie in bytes, the trie (a double array, as the library darts-clone lays it out), then texts that end in zero.

/// A checked map.
pub(super) struct Charsmap {
    units: Vec<u32>,
    texts: Vec<u8>,
}

impl Charsmap {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let bad = || "its character map is damaged".to_owned();
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(bad)?;
        let (trie, texts) = rest
            .split_at_checked(u32::from_le_bytes(*length) as usize)
            .ok_or_else(bad)?;
        let (units, odd) = trie.as_chunks::<4>();
        // Every text ends before the end of the map, and is read from a place inside it.
        if units.is_empty() || !odd.is_empty() || texts.last() != Some(&0) || std::str::from_utf8(texts).is_err() {
            return Err(bad());
        }
        Ok(Self {
            units: units.iter().map(|unit| u32::from_le_bytes(*unit)).collect(),
            texts: texts.to_vec(),
        })
    }

    /// What the longest known beginning of `text` becomes, and the length of that beginning in bytes.
    pub(super) fn longest(&self, text: &str) -> Option<(&str, usize)> {
        let mut longest = None;
        let mut at = offset(*self.units.first()?);
        for (i, &byte) in text.as_bytes().iter().enumerate() {
            at ^= byte as usize;
            let Some(&unit) = self.units.get(at) else { break };
            if unit & (1 << 31 | 0xff) != u32::from(byte) {
                break;
            }
            at ^= offset(unit);
            if unit >> 8 & 1 == 1 {
                let Some(&leaf) = self.units.get(at) else { break };
                longest = Some((leaf & 0x7fff_ffff, i + 1));
            }
        }
        let (start, length) = longest?;
        // Keys are whole characters in a map that is not damaged.
        text.is_char_boundary(length).then_some(())?;
        let rest = self.texts.get(start as usize..)?;
        let end = rest.iter().position(|&byte| byte == 0)?;
        Some((std::str::from_utf8(&rest[..end]).ok()?, length))
    }
}

/// Where the children of a unit lie, relative to it.
const fn offset(unit: u32) -> usize {
    ((unit >> 10) << ((unit & 1 << 9) >> 6)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map() -> Vec<u8> {
        let golden = kinora_testkit::Golden::open(env!("CARGO_MANIFEST_DIR"), "umt5_tokenizer");
        let bytes = golden.bytes("spiece_model");
        super::super::protobuf::parse(&bytes)
            .unwrap()
            .normalizer
            .charsmap
            .to_vec()
    }

    #[test]
    fn the_longest_known_beginning_counts() {
        let map = Charsmap::parse(&map()).unwrap();
        for (text, want) in [
            ("ﬁx", Some(("fi", 3))),
            ("Ａ", Some(("A", 3))),
            ("e\u{301}x", Some(("é", 3))),
            ("\u{3000}", Some((" ", 3))),
            ("\u{7f}a", Some(("", 1))),
            ("plain", None),
            ("é", None),
            ("", None),
        ] {
            assert_eq!(map.longest(text), want, "{text:?}");
        }
    }

    #[test]
    fn damaged_maps_are_refused_or_give_nothing() {
        let whole = map();
        assert!(Charsmap::parse(&[]).is_err());
        let mut unended = whole.clone();
        *unended.last_mut().unwrap() = b'x';
        assert!(Charsmap::parse(&unended).is_err());
        assert!(Charsmap::parse(&[4, 0, 0, 0, 1, 2, 3, 4]).is_err());
        // Places that lead anywhere: no panic, and never a length inside a character.
        let mut state = 7u32;
        for _ in 0..50 {
            let mut bytes = whole.clone();
            for _ in 0..2000 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let at = 4 + state as usize % (bytes.len() - 5);
                bytes[at] = (state >> 13) as u8;
            }
            if let Ok(map) = Charsmap::parse(&bytes) {
                for text in ["ﬁx", "e\u{301}", "漢字", "Ａ"] {
                    if let Some((_, length)) = map.longest(text) {
                        assert!(text.is_char_boundary(length));
                    }
                }
            }
        }
    }
}
