//! SPDX licence expressions: can the terms of an allowed list be chosen?
//!
//! Grammar (SPDX 2.3, annex D): `AND` binds tighter than `OR`, `WITH` adds an exception to one licence, parentheses
//! group. The old `/` of crates.io stands for `OR`.

/// Whether an expression can be satisfied with the licences of `allowed` alone.
///
/// An allowed entry is a licence, or a licence with its exception (`Apache-2.0 WITH LLVM-exception`). A licence
/// `WITH` an exception is only allowed as such an entry: an exception may take something away.
/// **Errors**: what is wrong with the expression.
pub(crate) fn satisfied_by(expression: &str, allowed: &[&str]) -> Result<bool, String> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut parser = Parser { words: &words, allowed };
    let result = parser.either(0)?;
    match parser.words.first() {
        None => Ok(result),
        Some(word) => Err(format!("unexpected {word:?} in {expression:?}")),
    }
}

struct Parser<'a> {
    words: &'a [&'a str],
    allowed: &'a [&'a str],
}

impl Parser<'_> {
    /// Deeper nesting than any licence has.
    const DEEPEST: usize = 32;

    fn either(&mut self, depth: usize) -> Result<bool, String> {
        let mut result = self.all(depth)?;
        while self.accept("OR") {
            result |= self.all(depth)?;
        }
        Ok(result)
    }

    fn all(&mut self, depth: usize) -> Result<bool, String> {
        let mut result = self.one(depth)?;
        while self.accept("AND") {
            result &= self.one(depth)?;
        }
        Ok(result)
    }

    fn one(&mut self, depth: usize) -> Result<bool, String> {
        if depth > Self::DEEPEST {
            return Err("too deeply nested".to_owned());
        }
        if self.accept("(") {
            let result = self.either(depth + 1)?;
            return if self.accept(")") {
                Ok(result)
            } else {
                Err("a parenthesis is not closed".to_owned())
            };
        }
        let licence = self.word()?;
        let name = if self.accept("WITH") {
            format!("{licence} WITH {}", self.word()?)
        } else {
            licence
        };
        Ok(self.allowed.contains(&name.as_str()))
    }

    fn accept(&mut self, word: &str) -> bool {
        match self.words.split_first() {
            Some((first, rest)) if first.eq_ignore_ascii_case(word) => {
                self.words = rest;
                true
            }
            _ => false,
        }
    }

    fn word(&mut self) -> Result<String, String> {
        match self.words.split_first() {
            Some((first, rest)) if !["(", ")", "AND", "OR", "WITH"].contains(first) => {
                self.words = rest;
                Ok((*first).to_owned())
            }
            Some((first, _)) => Err(format!("a licence is missing before {first:?}")),
            None => Err("a licence is missing at the end".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWED: [&str; 4] = ["MIT", "Apache-2.0", "Unicode-3.0", "Apache-2.0 WITH LLVM-exception"];

    #[test]
    fn choices_and_conjunctions() {
        for (expression, expected) in [
            ("MIT", true),
            ("GPL-3.0-only", false),
            ("MIT OR GPL-3.0-only", true),
            ("GPL-3.0-only OR MIT", true),
            ("MIT AND GPL-3.0-only", false),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
            ("MIT OR Apache-2.0 AND AGPL-3.0-only", true),
            ("(MIT OR Apache-2.0) AND AGPL-3.0-only", false),
            ("MIT/Apache-2.0", true),
            ("GPL-2.0-only/Apache-2.0", true),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT", true),
            ("GPL-2.0-only WITH Classpath-exception-2.0", false),
            ("MIT WITH unknown-exception", false),
            ("((MIT))", true),
            ("mit", false),
        ] {
            assert_eq!(satisfied_by(expression, &ALLOWED), Ok(expected), "{expression}");
        }
    }

    #[test]
    fn broken_expressions_are_errors() {
        let deep = format!("{}MIT{}", "(".repeat(1000), ")".repeat(1000));
        for expression in [
            "",
            "MIT OR",
            "(MIT",
            "MIT)",
            "OR MIT",
            "MIT Apache-2.0",
            "MIT WITH",
            "AND",
            &deep,
        ] {
            assert!(satisfied_by(expression, &ALLOWED).is_err(), "{expression}");
        }
    }
}
