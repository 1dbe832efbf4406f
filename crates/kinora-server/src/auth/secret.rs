//! The text of an API key: `kn-`, 32 random bytes and a checksum in base64 for URLs.
//!
//! The checksum tells a mistyped key from an unknown one without a look at the records, and lets scanners for secrets
//! recognise a key. It protects nothing.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::hex::hex;
use crate::{Error, Result};

const PREFIX: &str = "kn-";
const RANDOM_BYTES: usize = 32;
/// Three bytes are four characters.
const CHECK_BYTES: usize = 3;

/// The SHA-256 of a key, all that is stored of it.
///
/// A password needs a slow hash because it can be guessed. A key has 256 random bits: nobody tries them through, however
/// fast the hash is.
#[derive(Clone, Copy, Eq)]
pub(super) struct KeyHash([u8; 32]);

impl PartialEq for KeyHash {
    /// Takes the same time wherever the two differ.
    fn eq(&self, other: &Self) -> bool {
        let difference = self.0.iter().zip(&other.0).fold(0, |sum, (a, b)| sum | (a ^ b));
        std::hint::black_box(difference) == 0
    }
}

impl std::hash::Hash for KeyHash {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl KeyHash {
    /// In hexadecimal digits.
    pub(super) fn hex(&self) -> String {
        hex(&self.0)
    }

    /// From hexadecimal digits.
    pub(super) fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        let digits = text.as_bytes();
        if digits.len() != 2 * bytes.len() || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

fn check(random: &[u8]) -> [u8; CHECK_BYTES] {
    let sum = Sha256::new().chain_update(PREFIX).chain_update(random).finalize();
    [sum[0], sum[1], sum[2]]
}

/// A new key.
///
/// **Errors**: [`Error::Io`] if the system has no randomness.
pub(super) fn new_key() -> Result<String> {
    let mut random = [0; RANDOM_BYTES];
    getrandom::fill(&mut random).map_err(|error| Error::Io {
        action: "get randomness from",
        path: "the system".into(),
        source: error.into(),
    })?;
    let encoded = BASE64_URL_SAFE_NO_PAD.encode(random);
    Ok(format!(
        "{PREFIX}{encoded}{}",
        BASE64_URL_SAFE_NO_PAD.encode(check(&random))
    ))
}

/// The hash of a key; `None` for a text that cannot be one.
pub(super) fn hash_of(key: &str) -> Option<KeyHash> {
    let rest = key.strip_prefix(PREFIX)?;
    // The two parts are encoded apart: 43 characters and 4.
    let (random, sum) = rest.split_at_checked(rest.len().checked_sub(4)?)?;
    let random = BASE64_URL_SAFE_NO_PAD.decode(random).ok()?;
    let sum = BASE64_URL_SAFE_NO_PAD.decode(sum).ok()?;
    (random.len() == RANDOM_BYTES && sum == check(&random)).then(|| KeyHash(Sha256::digest(key.as_bytes()).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_is_one_and_a_typo_is_none() {
        let key = new_key().unwrap();
        assert_eq!(key.len(), 3 + 43 + 4);
        assert!(hash_of(&key).is_some());
        assert_ne!(new_key().unwrap(), key);
        for at in 0..key.len() {
            let mut bytes = key.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let typo = String::from_utf8(bytes).unwrap();
            assert!(hash_of(&typo).is_none(), "{at}: {typo}");
        }
        for bad in [
            "",
            "kn-",
            "kn-abc",
            "sk-x",
            "kn-ééééé",
            &key[..key.len() - 1],
            &format!("{key} "),
        ] {
            assert!(hash_of(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn hashes_are_written_and_compared() {
        let one = hash_of(&new_key().unwrap()).unwrap();
        let other = hash_of(&new_key().unwrap()).unwrap();
        assert!(one == one && one != other);
        assert!(KeyHash::from_hex(&one.hex()) == Some(one));
        for bad in ["", "00", &"g".repeat(64), &"+1".repeat(32)] {
            assert!(KeyHash::from_hex(bad).is_none(), "{bad}");
        }
    }
}
