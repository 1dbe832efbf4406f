//! Telling the code of a Rust file from its comments and strings, line by line.

/// One line, with its strings and characters blanked out.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Without comments and without the content of strings and characters.
    pub code: String,
    /// Comments of any kind, with their slashes.
    pub comment: String,
}

/// Where the lexer stands.
enum In {
    Code,
    LineComment,
    /// How deeply nested.
    BlockComment(usize),
    Text,
    /// Number of `#` that close it.
    RawText(usize),
}

/// Splits a file. Wrong Rust gives a wrong split, never an error: the compiler complains about it anyway.
pub(super) fn split(text: &str) -> Vec<Line> {
    let chars: Vec<char> = text.chars().collect();
    let mut done = Vec::new();
    let mut line = Line::default();
    let mut state = In::Code;
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let rest = &chars[at..];
        let mut length = 1;
        if c == '\n' {
            done.push(std::mem::take(&mut line));
            if let In::LineComment = state {
                state = In::Code;
            }
            at += 1;
            continue;
        }
        match state {
            In::LineComment => line.comment.push(c),
            In::BlockComment(depth) => {
                line.comment.push(c);
                if starts(rest, "*/") {
                    line.comment.push('/');
                    length = 2;
                    state = if depth == 1 {
                        In::Code
                    } else {
                        In::BlockComment(depth - 1)
                    };
                } else if starts(rest, "/*") {
                    line.comment.push('*');
                    length = 2;
                    state = In::BlockComment(depth + 1);
                }
            }
            // An escaped line end still ends the line.
            In::Text if c == '\\' && rest.get(1) != Some(&'\n') => length = 2,
            In::Text if c == '"' => state = In::Code,
            In::RawText(hashes) if c == '"' && rest[1..].iter().take_while(|&&c| c == '#').count() >= hashes => {
                length = 1 + hashes;
                state = In::Code;
            }
            In::Text | In::RawText(_) => {}
            In::Code => (state, length) = code(rest, at.checked_sub(1).map(|before| chars[before]), &mut line),
        }
        at += length;
    }
    done.push(line);
    done
}

/// The next state after the head of `rest`, which is code, and how many characters that took.
fn code(rest: &[char], before: Option<char>, line: &mut Line) -> (In, usize) {
    if starts(rest, "//") {
        line.comment.push_str("//");
        return (In::LineComment, 2);
    }
    if starts(rest, "/*") {
        line.comment.push_str("/*");
        return (In::BlockComment(1), 2);
    }
    if rest[0] == '"' {
        line.code.push_str("\"\"");
        return (In::Text, 1);
    }
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if let (false, Some((hashes, length))) = (in_word, raw_text(rest)) {
        line.code.push_str("\"\"");
        return (In::RawText(hashes), length);
    }
    if rest[0] == '\'' {
        // A lifetime has no closing quote behind its first character.
        let closing = match rest.get(1) {
            Some('\\') => rest.iter().skip(3).position(|&c| c == '\'').map(|n| n + 3),
            _ => (rest.get(2) == Some(&'\'')).then_some(2),
        };
        if let Some(closing) = closing {
            line.code.push_str("''");
            return (In::Code, closing + 1);
        }
    }
    line.code.push(rest[0]);
    (In::Code, 1)
}

/// Hashes and length of the opening of a raw string, if `rest` begins with one.
fn raw_text(rest: &[char]) -> Option<(usize, usize)> {
    let prefix = [&['b', 'r'][..], &['c', 'r'], &['r']]
        .into_iter()
        .find(|prefix| rest.starts_with(prefix))?
        .len();
    let hashes = rest[prefix..].iter().take_while(|&&c| c == '#').count();
    (rest.get(prefix + hashes) == Some(&'"')).then_some((hashes, prefix + hashes + 1))
}

fn starts(rest: &[char], text: &str) -> bool {
    text.chars().eq(rest.iter().take(text.len()).copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_comments_and_strings_are_told_apart() {
        for (text, code, comment) in [
            ("let a = 1; // why", "let a = 1; ", "// why"),
            ("a /* b /* c */ d */ e", "a  e", "/* b /* c */ d */"),
            (r#"call("x // y \" z", b)"#, r#"call("", b)"#, ""),
            (r##"call(r#"x " // y"#, b)"##, r#"call("", b)"#, ""),
            (r#"call(br"x\", b)"#, r#"call("", b)"#, ""),
            (
                r"match c { '\'' => 1, '/' => 2, '\u{1}' => 3 }",
                "match c { '' => 1, '' => 2, '' => 3 }",
                "",
            ),
            ("fn f<'a>(x: &'a str) {} // 'q'", "fn f<'a>(x: &'a str) {} ", "// 'q'"),
            ("let r#type = bar\"\";", "let r#type = bar\"\";", ""),
        ] {
            let lines = split(text);
            assert_eq!(
                (lines[0].code.as_str(), lines[0].comment.as_str()),
                (code, comment),
                "{text}"
            );
        }
    }

    #[test]
    fn lines_keep_their_numbers_through_long_strings_and_comments() {
        let lines = split("let a = \"one\ntwo \\\nthree\"; b\n/* x\ny */ c\nd");
        let code: Vec<&str> = lines.iter().map(|line| line.code.as_str()).collect();
        assert_eq!(code, ["let a = \"\"", "", "; b", "", " c", "d"]);
        assert_eq!(lines[4].comment, "y */");
    }
}
