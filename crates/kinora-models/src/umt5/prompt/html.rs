//! HTML character references, as Python's `html.unescape` and ftfy resolve them.
//!
//! **Source**: HTML, section "named character references" (names from the crate `entities`); `html/__init__.py` of Python
//! 3.11 (PSF) and `unescape_html` of ftfy 6.3.1 (Apache-2.0) for what is done with wrong ones.

use std::collections::HashMap;
use std::sync::OnceLock;

/// What a name with its ampersand stands for; those of old have no semicolon too.
fn named(name: &str) -> Option<&'static str> {
    static NAMES: OnceLock<HashMap<&'static str, &'static str>> = OnceLock::new();
    let names = NAMES.get_or_init(|| entities::ENTITIES.iter().map(|e| (e.entity, e.characters)).collect());
    names.get(name).copied()
}

/// Resolves all references, also those of old without a semicolon (`&lt`, and the first three letters of `&notit`).
pub(super) fn unescape(text: &str) -> String {
    replace_each(text, |rest| {
        if let Some(number) = Number::at_start_of(rest) {
            let semicolon = usize::from(rest[number.length..].starts_with(';'));
            return Some((number.text(), number.length + semicolon));
        }
        let stops = |c: char| matches!(c, '\t' | '\n' | '\u{c}' | ' ' | '<' | '&' | '#' | ';');
        let name: usize = rest[1..]
            .chars()
            .take(32)
            .take_while(|&c| !stops(c))
            .map(char::len_utf8)
            .sum();
        let end = 1 + name;
        let closed = end + usize::from(rest[end..].starts_with(';'));
        let lengths = std::iter::once(closed).chain((2..end + 1).rev());
        let known = |length: usize| Some((named(rest.get(..length)?)?.to_owned(), length));
        (name > 0).then(|| lengths.filter_map(known).next()).flatten()
    })
}

/// Resolves references that end in a semicolon, also names of letters that were put into capitals (`&EACUTE;`).
pub(super) fn unescape_closed(text: &str) -> String {
    replace_each(text, |rest| {
        let is_number = rest[1..].starts_with('#');
        let start = 1 + usize::from(is_number);
        let name = rest[start..]
            .bytes()
            .take(25)
            .take_while(u8::is_ascii_alphanumeric)
            .count();
        let length = start + name + 1;
        if !(1..=24).contains(&name) || !rest[length - 1..].starts_with(';') {
            return None;
        }
        let reference = &rest[..length];
        if is_number {
            let number = Number::at_start_of(reference).filter(|number| number.length + 1 == length)?;
            return Some((number.text(), length));
        }
        let exact = named(reference).map(str::to_owned);
        let text = exact.or_else(|| in_capitals(reference));
        text.map(|text| (text, length))
    })
}

/// `&NTILDE;` for `&ntilde;`, if it means nothing else.
fn in_capitals(reference: &str) -> Option<String> {
    let is_upper = !reference.bytes().any(|b| b.is_ascii_lowercase());
    let letter = named(&reference.to_ascii_lowercase())?;
    (is_upper && unescape(reference) == reference).then(|| letter.to_uppercase())
}

/// Replaces what `resolve(rest from an ampersand on)` knows: the text for it, and the length that it stands for.
fn replace_each(text: &str, resolve: impl Fn(&str) -> Option<(String, usize)>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let (replacement, length) = resolve(rest).unwrap_or_else(|| ("&".into(), 1));
        out.push_str(&replacement);
        rest = &rest[length..];
    }
    out.push_str(rest);
    out
}

/// `&#65` or `&#x41`, without a semicolon.
struct Number {
    /// Beyond every character if it is larger than that.
    value: u32,
    length: usize,
}

impl Number {
    fn at_start_of(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("&#")?;
        let (radix, digits) = match digits.strip_prefix(['x', 'X']) {
            Some(digits) => (16, digits),
            None => (10, digits),
        };
        let count = digits.chars().take_while(|c| c.is_digit(radix)).count();
        let value = digits[..count].chars().fold(0u32, |value, c| {
            value
                .saturating_mul(radix)
                .saturating_add(c.to_digit(radix).unwrap_or(0))
        });
        let length = text.len() - digits.len() + count;
        (count > 0).then_some(Self { value, length })
    }

    /// The character, nothing for what is none, a mark for what cannot be one.
    fn text(&self) -> String {
        match self.value {
            0 => '\u{fffd}'.into(),
            0x80..=0x9f => char::from_u32(self.value).map(windows_1252).into_iter().collect(),
            0x1..=0x8 | 0xb | 0xe..=0x1f | 0x7f | 0xfdd0..=0xfdef => String::new(),
            value if value <= 0x10_ffff && value & 0xfffe == 0xfffe => String::new(),
            value => char::from_u32(value).unwrap_or('\u{fffd}').into(),
        }
    }
}

/// A C1 control as the character that Windows-1252 has in its place, as browsers read it; five have none.
pub(super) const fn windows_1252(c: char) -> char {
    const TABLE: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘',
        '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
    ];
    match c {
        '\u{80}'..='\u{9f}' => TABLE[c as usize - 0x80],
        other => other,
    }
}
