//! How an error is said, and which exit code it becomes (see `docs/errors.md`).

use std::fmt;
use std::io::Write;
use std::process::ExitCode;

use kinora_pipeline::ErrorKind;

/// An argument that is well formed but cannot be meant.
#[derive(Debug)]
pub struct Usage(String);

impl Usage {
    /// What is wrong, and what to type instead.
    pub fn new(problem: impl fmt::Display, hint: impl fmt::Display) -> Self {
        Self(format!("{problem}\nhint: {hint}"))
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// The user stopped the run; what was kept has been said already.
#[derive(Debug)]
pub struct Stopped;

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stopped")
    }
}

impl std::error::Error for Stopped {}

/// The exit code of a run that the user stopped.
pub const STOPPED: u8 = 130;

/// Prints an error and its hint to stderr, and gives the exit code.
pub fn report(error: &anyhow::Error) -> ExitCode {
    if !error.is::<Stopped>() {
        say(&sentence(error));
    }
    ExitCode::from(code(error))
}

/// Answers to arguments that are not a command: help and version are no error.
pub fn usage(answer: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind as Kind;
    match answer.kind() {
        Kind::DisplayHelp | Kind::DisplayVersion => {
            let shown = crate::stdout::write(answer.render().to_string().as_bytes());
            shown.map_or_else(|error| report(&error), |()| ExitCode::SUCCESS)
        }
        Kind::DisplayHelpOnMissingArgumentOrSubcommand => {
            say_plain(&answer.render().to_string());
            ExitCode::from(2)
        }
        _ => {
            say(&clap_sentence(&answer.render().to_string()));
            ExitCode::from(2)
        }
    }
}

fn code(error: &anyhow::Error) -> u8 {
    for cause in error.chain() {
        if let Some(error) = cause.downcast_ref::<kinora_pipeline::Error>() {
            return code_of(error.kind());
        }
        if let Some(error) = cause.downcast_ref::<kinora_weights::Error>() {
            return code_of(kinora_pipeline::Error::kind_of_weights(error));
        }
        if let Some(error) = cause.downcast_ref::<kinora_eval::Error>() {
            return code_of(error.kind());
        }
        if let Some(error) = cause.downcast_ref::<kinora_server::Error>() {
            return code_of_server(error);
        }
        if cause.is::<Usage>() || cause.is::<kinora_kernels::Error>() {
            return 2;
        }
        if cause.is::<kinora_media::Error>() {
            return 3;
        }
        if cause.is::<Stopped>() {
            return STOPPED;
        }
        if cause.is::<std::io::Error>() {
            return 5;
        }
    }
    1
}

fn code_of_server(error: &kinora_server::Error) -> u8 {
    match error {
        kinora_server::Error::Pipeline(error) => code_of(error.kind()),
        kinora_server::Error::Setting { .. } => 2,
        _ => code_of(ErrorKind::Output),
    }
}

const fn code_of(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Usage => 2,
        ErrorKind::Input => 3,
        ErrorKind::Model => 4,
        ErrorKind::Output => 5,
        ErrorKind::Memory => 6,
        ErrorKind::Cancelled => STOPPED,
        ErrorKind::Internal => 1,
    }
}

/// The chain of causes, without those that the sentence before them has quoted already. Hints come last.
fn sentence(error: &anyhow::Error) -> String {
    let mut text = String::new();
    let mut hints = String::new();
    for cause in error.chain().map(ToString::to_string) {
        let (what, hint) = cause.split_once("\nhint:").unwrap_or((&cause, ""));
        if !text.contains(what) {
            let separator = if text.is_empty() { "" } else { ": " };
            text = format!("{text}{separator}{what}");
        }
        if !hint.is_empty() && !hints.contains(hint) {
            hints = format!("{hints}\nhint:{hint}");
        }
    }
    text + &hints
}

/// The parser's message in our shape: its first paragraph, its tips as hints, without the repeated usage.
fn clap_sentence(text: &str) -> String {
    let text = text.strip_prefix("error: ").unwrap_or(text);
    let kept = text
        .split("\n\n")
        .filter(|part| !part.starts_with("Usage:") && !part.starts_with("For more information"));
    let lines: Vec<String> = kept
        .flat_map(str::lines)
        .map(|line| line.replacen("  tip: ", "hint: ", 1))
        .collect();
    let text = lines.join("\n").trim_end().to_owned();
    match text.contains("\nhint:") {
        true => text,
        false => text + "\nhint: --help shows every flag with an example",
    }
}

fn say(text: &str) {
    say_plain(&format!("error: {text}\n"));
}

/// Writes to stderr what came from outside: control characters could steer the terminal, so they are shown as marks.
pub fn say_plain(text: &str) {
    let clean: String = text
        .chars()
        .map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c })
        .collect();
    // If stderr is closed, nobody can be told.
    let _ = std::io::stderr().lock().write_all(clean.as_bytes());
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn kinds_become_the_documented_codes() {
        let exists = kinora_pipeline::Error::OutputExists { path: "a.mp4".into() };
        assert_eq!(code(&anyhow::Error::new(exists).context("while writing")), 5);
        assert_eq!(code(&Usage::new("a", "b").into()), 2);
        assert_eq!(code(&kinora_pipeline::Error::Cancelled { step: 1, of: 2 }.into()), 130);
        assert_eq!(code(&kinora_media::Error::NoFrames.into()), 3);
        assert_eq!(code(&anyhow::anyhow!("surprise")), 1);
    }

    #[test]
    fn causes_are_said_once_and_hints_last() {
        let error = Err::<(), _>(Usage::new("no such thing", "type a thing"))
            .context("cannot go on")
            .unwrap_err();
        assert_eq!(sentence(&error), "cannot go on: no such thing\nhint: type a thing");
        let error = Err::<(), _>(Usage::new("gone", "look"))
            .context("a.mp4: gone")
            .unwrap_err();
        assert_eq!(sentence(&error), "a.mp4: gone\nhint: look");
    }

    #[test]
    fn the_parser_speaks_like_the_rest() {
        let text = "error: unexpected argument '--stepz' found\n\n  tip: a similar argument exists: '--steps'\n\nUsage: kinora \
                    generate <PROMPT>\n\nFor more information, try '--help'.\n";
        assert_eq!(
            clap_sentence(text),
            "unexpected argument '--stepz' found\nhint: a similar argument exists: '--steps'"
        );
        assert!(clap_sentence("error: odd\n").ends_with("hint: --help shows every flag with an example"));
    }
}
