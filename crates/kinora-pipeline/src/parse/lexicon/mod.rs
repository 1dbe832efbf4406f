//! The lexicon: data tables of English words, one file a word class, and the index that looks words up.
//!
//! The tables are plain text grouped by meaning, so that a reader can extend them without knowing the parser.
//! A space separates entries; an underscore joins the words of a compound (`hot_air_balloon`).

pub(crate) mod adjectives;
pub(crate) mod function_words;
pub(crate) mod nouns;
pub(crate) mod phrases;
pub(crate) mod thesaurus;
pub(crate) mod verbs;

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

pub(crate) use adjectives::AttributeKind;
pub(crate) use nouns::NounClass;
pub(crate) use verbs::MotionKind;

/// Everything that the tables say, by word.
pub(crate) struct Index {
    /// Singular noun (compounds joined by a space) to its class.
    pub nouns: HashMap<String, NounClass>,
    /// Longest compound, in words, that starts with a given word.
    pub compound_len: HashMap<String, usize>,
    /// Verb base form to its kind of motion.
    pub verbs: HashMap<&'static str, MotionKind>,
    /// Inflected irregular verb form to base form and form.
    pub irregular_verbs: HashMap<&'static str, (&'static str, verbs::Form)>,
    /// Base forms of irregular verbs: they take no "-ed".
    pub irregular_bases: HashSet<&'static str>,
    /// Irregular plural to singular.
    pub irregular_plurals: HashMap<&'static str, &'static str>,
    /// Adjective to the kind of attribute that it gives.
    pub adjectives: HashMap<&'static str, AttributeKind>,
    /// Words that are both noun and verb, and are nouns unless the sentence insists.
    pub rarely_verbs: HashSet<&'static str>,
}

/// The index, built once.
pub(crate) static INDEX: LazyLock<Index> = LazyLock::new(|| {
    let mut nouns = HashMap::new();
    let mut compound_len: HashMap<String, usize> = HashMap::new();
    for (class, list) in nouns::NOUNS {
        for entry in list.split_whitespace() {
            let name = entry.replace('_', " ");
            let words = name.split(' ').count();
            if let (true, Some(first)) = (words > 1, name.split(' ').next()) {
                let longest = compound_len.entry(first.to_owned()).or_default();
                *longest = (*longest).max(words);
            }
            nouns.entry(name).or_insert(*class);
        }
    }
    Index {
        nouns,
        compound_len,
        verbs: table(verbs::VERBS),
        irregular_verbs: verbs::irregular().collect(),
        irregular_bases: verbs::irregular().map(|row| row.1.0).collect(),
        irregular_plurals: nouns::IRREGULAR_PLURALS
            .split_whitespace()
            .filter_map(|e| e.split_once(':'))
            .collect(),
        adjectives: table(adjectives::ADJECTIVES),
        rarely_verbs: verbs::RARELY_VERBS.split_whitespace().collect(),
    }
});

/// Turns `[(value, "word word")]` into a map; the first entry of a word wins.
fn table<V: Copy>(rows: &[(V, &'static str)]) -> HashMap<&'static str, V> {
    let mut map = HashMap::new();
    for (value, words) in rows {
        for word in words.split_whitespace() {
            map.entry(word).or_insert(*value);
        }
    }
    map
}

/// The class of a singular noun or compound.
pub(crate) fn noun_class(noun: &str) -> Option<NounClass> {
    INDEX.nouns.get(noun).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_hold_lower_case_words_once_per_class() {
        for (class, list) in nouns::NOUNS {
            let mut seen = HashSet::new();
            for word in list.split_whitespace() {
                assert_eq!(word, word.to_lowercase(), "{class:?}");
                assert!(seen.insert(word), "{class:?} lists {word} twice");
            }
        }
        for (kind, list) in verbs::VERBS {
            let mut seen = HashSet::new();
            for word in list.split_whitespace() {
                assert!(seen.insert(word), "{kind:?} lists {word} twice");
            }
        }
    }
}
