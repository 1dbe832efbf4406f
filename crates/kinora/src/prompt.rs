//! Gets the prompt from the command line or from standard input, and refuses what cannot be one before anything loads.

use std::ffi::OsStr;
use std::io::{IsTerminal, Read};

use anyhow::Context;
use kinora_pipeline::parse::MAX_PROMPT_BYTES;

use crate::trouble::{Usage, say_plain};

/// The prompt that an argument stands for; `-` means standard input.
pub fn read(argument: &OsStr) -> anyhow::Result<String> {
    if argument != "-" {
        return Ok(check(argument.as_encoded_bytes())?);
    }
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        say_plain("type the prompt, then Ctrl-D on a line of its own\n");
    }
    let mut bytes = Vec::new();
    // One byte more than allowed is enough to know that there is too much; the rest is never read.
    stdin
        .lock()
        .take(MAX_PROMPT_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .context("cannot read the prompt from standard input")?;
    Ok(check(&bytes)?)
}

fn check(bytes: &[u8]) -> Result<String, Usage> {
    if bytes.len() > MAX_PROMPT_BYTES {
        return Err(Usage::new(
            format!("the prompt is longer than {MAX_PROMPT_BYTES} bytes"),
            "say what is to be seen in a few sentences",
        ));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let problem = format!("the prompt is not valid UTF-8 text (at byte {})", error.valid_up_to());
        Usage::new(problem, "save or type it as UTF-8, for example with iconv -t UTF-8")
    })?;
    match text.trim() {
        "" => Err(Usage::new(
            "the prompt is empty",
            "for example kinora generate \"a rocket flies over a city at sunset\"",
        )),
        prompt => Ok(prompt.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_are_trimmed_and_nonsense_refused() {
        assert_eq!(check("  ein Hund \n".as_bytes()).unwrap(), "ein Hund");
        assert_eq!(check("كلب يركض".as_bytes()).unwrap(), "كلب يركض");
        for (bytes, word) in [
            (&b""[..], "empty"),
            (b" \n\t", "empty"),
            (b"a \xff dog", "at byte 2"),
            (&[b'a'; MAX_PROMPT_BYTES + 1], "longer"),
        ] {
            let error = check(bytes).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains("hint: "), "{error}");
        }
    }
}
