//! Words that GLOSSARY.md rules out, in the identifiers of our crates.
//!
//! Strings and comments are free: the files of others have their own names, and a comment may explain them. A line of
//! code that has to use such a name says why: `// tidy: word: <reason>`.

use anyhow::Result;

use super::{exempted, lex};
use crate::Problem;
use crate::tree::File;

/// Parts of identifiers that are ruled out (compared without case and underscores), and what we say instead.
const RULED_OUT: [(&str, &str); 13] = [
    (
        "scheduler",
        "`schedule` for the list of sigmas, `sampler` for the update rule, `queue` for jobs",
    ),
    ("hiddenstates", "`latents` or `tokens`"),
    ("noisepred", "`velocity` or `prediction`"),
    ("modeloutput", "`velocity` or `prediction`"),
    ("numinferencesteps", "`steps`"),
    ("cfgscale", "`guidance_scale`"),
    ("freqscis", "`rope`"),
    ("attn1", "`self_attn`"),
    ("attn2", "`cross_attn`"),
    ("encodevideo", "`write`: only the autoencoder encodes"),
    ("decodevideo", "`read`: only the autoencoder decodes"),
    ("encodeprompt", "`embed`: text is embedded"),
    ("encodetext", "`embed`: text is embedded"),
];

pub(super) fn check(files: &[File]) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    for file in files
        .iter()
        .filter(|file| file.path.starts_with("crates/") && file.ending() == "rs")
    {
        for (index, line) in lex::split(&file.text()?).iter().enumerate() {
            if exempted(&line.comment, "word") {
                continue;
            }
            for identifier in line.code.split(|c: char| !c.is_alphanumeric() && c != '_') {
                let plain = identifier.replace('_', "").to_lowercase();
                if let Some((_, instead)) = RULED_OUT.iter().find(|(word, _)| plain.contains(word)) {
                    let text = format!("`{identifier}` is not a word of GLOSSARY.md; use {instead}");
                    problems.push(Problem::at(&file.path, index + 1, text));
                }
            }
        }
    }
    Ok(problems)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::complaints;

    #[test]
    fn words_are_found_in_every_spelling_but_not_in_strings_and_comments() {
        let bad = "struct FlowScheduler;\nlet noise_pred = 1;\nlet x = \"scheduler\"; // the scheduler of others\n\
                   fn freqs_cis() {}\n";
        let found = complaints(check, &[("crates/a/src/lib.rs", bad), ("xtask/src/lib.rs", bad)]);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(
            found[0].starts_with("crates/a/src/lib.rs:1: `FlowScheduler`"),
            "{found:?}"
        );
        assert!(found[1].contains("`velocity`"), "{found:?}");
    }

    #[test]
    fn a_reason_excuses_a_line() {
        let good = "noise_pred: f32, // tidy: word: the name of the field in the file of diffusers\n";
        assert_eq!(
            complaints(check, &[("crates/a/src/lib.rs", good)]),
            Vec::<String>::new()
        );
    }
}
