//! Longest-match lookup of listed phrases in tagged words.

use super::tag::Word;
use super::token::tokenize;
use std::collections::HashMap;

/// Phrases by their first word, longest first.
pub(crate) struct PhraseIndex {
    by_first: HashMap<String, Vec<(Vec<String>, usize)>>,
}

impl PhraseIndex {
    /// Indexes phrases; the value of a match is the phrase's position in the list.
    pub fn new<'a>(phrases: impl Iterator<Item = &'a str>) -> Self {
        let mut by_first: HashMap<String, Vec<(Vec<String>, usize)>> = HashMap::new();
        for (n, phrase) in phrases.enumerate() {
            let words: Vec<String> = tokenize(phrase).into_iter().map(|t| t.text).collect();
            if let Some(first) = words.first().cloned() {
                by_first.entry(first).or_default().push((words, n));
            }
        }
        for list in by_first.values_mut() {
            list.sort_by_key(|(words, _)| std::cmp::Reverse(words.len()));
        }
        Self { by_first }
    }

    /// The longest phrase at `i` made of unused words: its number and length.
    pub fn at(&self, words: &[Word], i: usize) -> Option<(usize, usize)> {
        let list = self.by_first.get(words.get(i)?.text.as_str())?;
        let fits = |phrase: &[String]| {
            let run = words.get(i..i + phrase.len());
            run.is_some_and(|run| run.iter().zip(phrase).all(|(w, p)| w.text == *p && !w.used))
        };
        list.iter()
            .find(|(phrase, _)| fits(phrase))
            .map(|(phrase, n)| (*n, phrase.len()))
    }
}

/// Marks words as explained.
pub(crate) fn take(words: &mut [Word], from: usize, to: usize) {
    words[from..to].iter_mut().for_each(|w| w.used = true);
}

/// The words as one string.
pub(crate) fn text_of(words: &[Word]) -> String {
    let mut out = String::new();
    for w in words {
        if !out.is_empty() && !w.text.starts_with('\'') && w.text != "n't" && w.text != "," {
            out.push(' ');
        }
        out.push_str(&w.text);
    }
    out
}
