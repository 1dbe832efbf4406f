//! Text to tokens with byte spans: words, numbers, punctuation, quoted text and symbols.

use serde::{Deserialize, Serialize};

/// A range of bytes in the raw prompt; both ends lie on character boundaries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    /// The smallest span that holds both.
    #[must_use]
    pub fn to(self, other: Span) -> Span {
        Span {
            start: self.start.min(other.start),
            end: self.end.max(other.end),
        }
    }
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Letters, with inner hyphens and apostrophes.
    Word,
    /// Digits, possibly with a unit or separator: `5`, `16:9`, `1080p`, `5-second`.
    Number,
    /// One punctuation mark; runs of the same mark are one token. A line break is `\n`.
    Punct,
    /// Text between quotation marks, without them.
    Quote,
    /// Emoji and other signs.
    Symbol,
}

/// A piece of the prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    /// Lower case, typographic apostrophes made plain, contractions split.
    pub text: String,
    /// Where it stands.
    pub span: Span,
    /// What it is.
    pub kind: Kind,
    /// The first letter was a capital.
    pub capital: bool,
}

/// Splits a prompt. Linear in its length.
pub(crate) fn tokenize(text: &str) -> Vec<Token> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let len = c.len_utf8();
        if c == '\n' {
            push(&mut out, "\n", at, at + len, Kind::Punct);
        } else if c.is_whitespace() || is_invisible(c) {
        } else if let Some(end) = quote_end(text, at, c) {
            push(&mut out, text[at + len..end.0].trim(), at, end.1, Kind::Quote);
            at = end.1;
            continue;
        } else if c.is_alphanumeric() {
            let end = word_end(text, at);
            word(&mut out, &text[at..end], at);
            at = end;
            continue;
        } else if c.is_ascii_punctuation()
            || matches!(
                c,
                '—' | '–' | '…' | '、' | '。' | '，' | '¿' | '¡' | '“' | '”' | '’' | '‘' | '«' | '»'
            )
        {
            let run = text[at..]
                .chars()
                .take_while(|x| *x == c)
                .map(char::len_utf8)
                .sum::<usize>();
            push(&mut out, punct_name(c, run / len), at, at + run, Kind::Punct);
            at += run;
            continue;
        } else {
            push(&mut out, &text[at..at + len], at, at + len, Kind::Symbol);
        }
        at += len;
    }
    out
}

/// Joins "snow covered" and the like to the one adjective that they are.
pub(crate) fn join_adjectives(tokens: Vec<Token>) -> Vec<Token> {
    const FIRST: &[&str] = &[
        "snow", "moss", "sun", "rain", "dust", "tree", "flower", "ivy", "fog", "ice", "star", "candle", "neon", "moon",
        "vine", "wind",
    ];
    const SECOND: &[&str] = &[
        "covered", "capped", "filled", "lined", "drenched", "soaked", "lit", "kissed", "slicked", "swept",
    ];
    let mut out: Vec<Token> = Vec::with_capacity(tokens.len());
    for token in tokens {
        match out.last_mut() {
            Some(last) if FIRST.contains(&last.text.as_str()) && SECOND.contains(&token.text.as_str()) => {
                last.text = format!("{}-{}", last.text, token.text);
                last.span = last.span.to(token.span);
            }
            _ => out.push(token),
        }
    }
    out
}

fn push(out: &mut Vec<Token>, text: &str, start: usize, end: usize, kind: Kind) {
    let capital = text.chars().next().is_some_and(char::is_uppercase);
    out.push(Token {
        text: text.to_lowercase(),
        span: Span { start, end },
        kind,
        capital,
    });
}

/// Zero-width and direction marks carry no text.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{fe0e}' | '\u{fe0f}')
}

/// One name for each kind of break.
fn punct_name(c: char, run: usize) -> &'static str {
    match (c, run) {
        ('.' | '。', 1) => ".",
        ('.', _) | ('…', _) => "…",
        ('!', _) => "!",
        ('?', _) => "?",
        (',' | '、' | '，', _) => ",",
        (';', _) => ";",
        (':', _) => ":",
        ('-' | '—' | '–' | '|', _) => "—",
        ('(' | '[' | '{', _) => "(",
        (')' | ']' | '}', _) => ")",
        ('/', _) => "/",
        ('&', _) => "&",
        ('#', _) => "#",
        _ => "'",
    }
}

/// If a quotation opens at `at`, the byte where its text ends and the byte after the closing mark.
/// A quotation is short and stays in its line; anything else is taken as stray marks.
fn quote_end(text: &str, at: usize, open: char) -> Option<(usize, usize)> {
    let close = match open {
        '"' => '"',
        '“' | '„' => '”',
        '«' => '»',
        _ => return None,
    };
    let from = at + open.len_utf8();
    for (i, c) in text[from..].char_indices().take(160) {
        if c == '\n' {
            return None;
        }
        if c == close || (open == '„' && c == '“') {
            let inner = &text[from..from + i];
            return inner
                .chars()
                .any(char::is_alphanumeric)
                .then_some((from + i, from + i + c.len_utf8()));
        }
    }
    None
}

/// The end of a word: letters and digits; hyphens, apostrophes, colons, dots and slashes only between fitting characters.
fn word_end(text: &str, at: usize) -> usize {
    let mut end = at;
    let mut before = ' ';
    let mut chars = text[at..].char_indices().peekable();
    while let Some((i, c)) = chars.next() {
        let after = chars.peek().map_or(' ', |x| x.1);
        let digits = before.is_ascii_digit() && after.is_ascii_digit();
        let joins = match c {
            '-' | '\'' | '’' | '‑' => before.is_alphanumeric() && after.is_alphanumeric(),
            ':' | '.' | '/' => digits,
            '&' => before.is_alphabetic() && after.is_alphabetic(),
            _ => c.is_alphanumeric() || is_mark(c),
        };
        if !joins {
            break;
        }
        end = at + i + c.len_utf8();
        before = c;
    }
    end.max(at + text[at..].chars().next().map_or(1, char::len_utf8))
}

/// Combining marks stay with their letter.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{64b}'..='\u{65f}' | '\u{93e}'..='\u{94d}')
}

/// Emits one word, split where English contracts two: "doesn't" is does + n't, "dog's" is dog + 's.
fn word(out: &mut Vec<Token>, raw: &str, at: usize) {
    let plain = raw.replace('’', "'").replace('‑', "-");
    let lower = plain.to_lowercase();
    let end = at + raw.len();
    let capital = raw.chars().next().is_some_and(char::is_uppercase);
    let digit = raw.chars().next().is_some_and(|c| c.is_ascii_digit());
    let kind = if digit { Kind::Number } else { Kind::Word };
    // Spans of the halves need the raw text; where it holds curly marks its bytes differ from the plain text.
    let tail = |n: usize| raw.char_indices().rev().nth(n - 1).map_or(raw.len(), |(i, _)| i);
    for (suffix, chars) in [("n't", 3), ("'s", 2), ("'re", 3), ("'ve", 3), ("'ll", 3), ("'d", 2)] {
        if let Some(stem) = lower
            .strip_suffix(suffix)
            .filter(|s| !s.is_empty() && kind == Kind::Word)
        {
            let cut = at + tail(chars);
            let stem = match lower.as_str() {
                "can't" => "can",
                "won't" => "will",
                _ => stem,
            };
            out.push(Token {
                text: stem.to_owned(),
                span: Span { start: at, end: cut },
                kind,
                capital,
            });
            out.push(Token {
                text: suffix.to_owned(),
                span: Span { start: cut, end },
                kind,
                capital: false,
            });
            return;
        }
    }
    out.push(Token {
        text: lower,
        span: Span { start: at, end },
        kind,
        capital,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(s: &str) -> Vec<String> {
        tokenize(s).into_iter().map(|t| t.text).collect()
    }

    #[test]
    fn words_numbers_and_contractions() {
        assert_eq!(
            texts("A dog's tail doesn’t move."),
            ["a", "dog", "'s", "tail", "does", "n't", "move", "."]
        );
        assert_eq!(
            texts("16:9, 5-second t-shirt — b&w"),
            ["16:9", ",", "5-second", "t-shirt", "—", "b&w"]
        );
        assert_eq!(texts("wait... what?!"), ["wait", "…", "what", "?", "!"]);
    }

    #[test]
    fn quotes_are_one_token_and_stray_marks_are_not() {
        let t = tokenize("a sign says \"Open Late\" 6\" wide");
        assert_eq!(t[3].kind, Kind::Quote);
        assert_eq!(t[3].text, "open late");
        assert!(t.iter().all(|t| t.text != "6\" wide"));
    }

    #[test]
    fn spans_index_the_raw_text() {
        let s = "Ein “Schild” ist’s 🐶 don’t";
        for t in tokenize(s) {
            assert!(s.get(t.span.start..t.span.end).is_some(), "{t:?}");
        }
    }
}
