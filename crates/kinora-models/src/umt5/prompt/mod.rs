//! What is done to a prompt before the tokenizer.
//!
//! **Source**: `prompt_clean` of diffusers' Wan pipelines (Apache-2.0): `fix_text` of ftfy 6.3.1 (Apache-2.0), HTML
//! references twice, white space. The model was trained on texts cleaned so; the Chinese negative prompt that Wan publishes
//! has full-width commas, which arrive at the model as ASCII ones.
//!
//! **Left out**: the repair of broken encodings (`schÃ¶n` for `schön`), which ftfy guesses from statistics. Such a prompt
//! arrives as it was written.

mod html;

use unicode_normalization::UnicodeNormalization;

/// References inside of references are resolved so often; nobody means more.
const MAX_ROUNDS: usize = 64;

/// A prompt as the text encoder of Wan expects it: HTML references resolved, C1 controls read as Windows-1252, Latin
/// ligatures taken apart, full-width and half-width characters in their usual width, straight quotes, no terminal codes and
/// control characters, composed characters (NFC), and single spaces for every run of white space.
pub fn clean_prompt(prompt: &str) -> String {
    let text = html::unescape(&html::unescape(&fix_text(prompt)));
    let words: Vec<&str> = text.split(is_space).filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

/// White space as Python counts it: four separators of ASCII more than Unicode's property.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// Line by line; from the first line with a `<` on the text counts as HTML, whose references stay.
fn fix_text(text: &str) -> String {
    let mut is_html = false;
    let lines = text.split_inclusive('\n').map(|line| {
        is_html |= line.contains('<');
        fix_line(line, !is_html)
    });
    lines.collect()
}

/// All fixes, until nothing changes any more: one can make work for another.
fn fix_line(line: &str, references: bool) -> String {
    let mut text = line.to_owned();
    for _ in 0..MAX_ROUNDS {
        let unescaped = match references && !text.contains('<') {
            true => html::unescape_closed(&text),
            false => text.clone(),
        };
        let mut fixed = String::with_capacity(unescaped.len());
        for c in unescaped.chars() {
            push_usual_form(html::windows_1252(c), &mut fixed);
        }
        let fixed = without_terminal_codes(
            &fixed
                .replace("\r\n", "\n")
                .replace(['\r', '\u{2028}', '\u{2029}', '\u{85}'], "\n"),
        );
        let fixed: String = fixed.chars().filter(|&c| !is_control(c)).nfc().collect();
        if fixed == text {
            break;
        }
        text = fixed;
    }
    text
}

/// Ligatures, width and quotes of one character.
fn push_usual_form(c: char, out: &mut String) {
    match ligature(c) {
        Some(letters) => letters.chars().for_each(|c| push_usual_width(c, out)),
        None => push_usual_width(c, out),
    }
}

fn push_usual_width(c: char, out: &mut String) {
    match c {
        '\u{3000}' => out.push(' '),
        '\u{ff01}'..='\u{ffef}' => out.extend(std::iter::once(c).nfkc().map(straight)),
        other => out.push(straight(other)),
    }
}

/// Latin ligatures only: those of other scripts may be meant.
const fn ligature(c: char) -> Option<&'static str> {
    Some(match c {
        'Ĳ' => "IJ",
        'ĳ' => "ij",
        'ŉ' => "ʼn",
        'Ǳ' => "DZ",
        'ǲ' => "Dz",
        'ǳ' => "dz",
        'Ǆ' => "DŽ",
        'ǅ' => "Dž",
        'ǆ' => "dž",
        'Ǉ' => "LJ",
        'ǈ' => "Lj",
        'ǉ' => "lj",
        'Ǌ' => "NJ",
        'ǋ' => "Nj",
        'ǌ' => "nj",
        'ﬀ' => "ff",
        'ﬁ' => "fi",
        'ﬂ' => "fl",
        'ﬃ' => "ffi",
        'ﬄ' => "ffl",
        'ﬅ' => "ſt",
        'ﬆ' => "st",
        _ => return None,
    })
}

/// Curly quotes as typewriters have them.
const fn straight(c: char) -> char {
    match c {
        '\u{2bc}' | '\u{2018}'..='\u{201b}' => '\'',
        '\u{201c}'..='\u{201f}' => '"',
        other => other,
    }
}

/// Drops escape, `[`, digits and semicolons, one letter.
fn without_terminal_codes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\u{1b}[") {
        let code = &rest[at + 2..];
        let letter = code.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        if letter.starts_with(|c: char| c.is_ascii_alphabetic()) {
            out.push_str(&rest[..at]);
            rest = &letter[1..];
        } else {
            out.push_str(&rest[..at + 2]);
            rest = code;
        }
    }
    out.push_str(rest);
    out
}

/// Characters without an effect on what is shown; joiners, marks of direction and tags have one.
const fn is_control(c: char) -> bool {
    matches!(
        c,
        '\0'..='\u{8}' | '\u{b}' | '\u{e}'..='\u{1f}' | '\u{7f}' | '\u{206a}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffc}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_become_the_reference_s() {
        let cases = kinora_testkit::read_json(env!("CARGO_MANIFEST_DIR"), "wan_prompts.json");
        let cases = cases.as_array().unwrap();
        assert!(cases.len() > 35);
        for case in cases {
            let text = |key: &str| case[key].as_str().unwrap();
            let got = clean_prompt(text("prompt"));
            if case["broken"] == true {
                // What is left out stays as it is, and is not the reference's by chance.
                assert_ne!(got, text("clean"));
            } else {
                assert_eq!(got, text("clean"), "{:?}", text("prompt"));
            }
        }
    }

    #[test]
    fn a_clean_prompt_stays_and_a_broken_encoding_too() {
        for text in ["A red ball.", "一只猫, 阳光", "schÃ¶n cafÃ©", ""] {
            assert_eq!(clean_prompt(text), text);
        }
    }

    #[test]
    fn long_nonsense_ends() {
        let nested = |levels| format!("&{}", "amp;".repeat(levels));
        assert_eq!(clean_prompt(&nested(60)), "&");
        assert_eq!(clean_prompt(&nested(5000)).len(), nested(5000 - MAX_ROUNDS - 2).len());
        assert_eq!(clean_prompt(&"\u{1b}[".repeat(5000)), "[".repeat(5000));
        assert_eq!(clean_prompt(&"&".repeat(20_000)), "&".repeat(20_000));
    }
}
