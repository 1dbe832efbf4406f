//! Every command and flag, with its help text: the one definition behind parsing, `--help`, completions and man pages.

mod decode;
mod eval;
mod generate;
mod jobs;
mod keys;
mod models;
mod output;
mod pull;
mod serve;
mod service;
mod tasks;
mod weights;
mod worker;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use kinora_pipeline::PromptMode;

use decode::DECODE_EXAMPLES;
pub use decode::Decode;
use eval::EVAL_EXAMPLES;
pub use eval::Eval;
use generate::GENERATE_EXAMPLES;
pub use generate::Generate;
use jobs::JOBS_EXAMPLES;
pub use jobs::{Jobs, JobsAction};
use keys::KEYS_EXAMPLES;
pub use keys::{CreateKey, KeyScope, Keys, KeysAction};
use models::MODELS_EXAMPLES;
pub use models::{Models, ModelsAction};
pub use output::OutputFiles;
use pull::PULL_EXAMPLES;
pub use pull::Pull;
use serve::SERVE_EXAMPLES;
pub use serve::Serve;
pub use service::{Log, LogStyle, Nats, NatsServer};
pub use tasks::Tasks;
use weights::{CONVERT_EXAMPLES, QUANTIZE_EXAMPLES};
pub use weights::{Convert, KeptOr, Quantize};
use worker::WORKER_EXAMPLES;
pub use worker::Worker;

/// The model that is used when none is named.
pub const DEFAULT_MODEL: &str = "toybox";

const EXAMPLES: &str = "\
Examples:
  kinora generate \"a rocket flies over a city at sunset\" -o rocket.mp4
  kinora generate \"a red car drives through the desert\" --seed 7 --variants 4
  kinora generate \"a penguin on the beach\" --frames 1 -o penguin.png
  kinora generate \"the car drives away\" --extend car.mp4 -o car-2.mp4
  kinora inspect rocket.mp4
  kinora parse \"two dogs run across a snowy meadow at night\"";

/// Text to video on your own machine
#[derive(Debug, Parser)]
#[command(name = "kinora", version, arg_required_else_help = true, max_term_width = 100, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a clip or an image from a prompt
    #[command(after_help = GENERATE_EXAMPLES)]
    Generate(Box<Generate>),
    /// Make the clip of latents that were kept
    #[command(after_help = DECODE_EXAMPLES)]
    Decode(Box<Decode>),
    /// List the models that are installed, with size and licence, or add one
    #[command(after_help = MODELS_EXAMPLES)]
    Models(Models),
    /// Show how a file was made and the command that makes it again, or which weights it holds
    #[command(
        after_help = "Examples:\n  kinora inspect rocket.mp4\n  kinora inspect rocket.mp4 --json\n  \
                            kinora inspect wan2.1_t2v_1.3B_bf16.safetensors"
    )]
    Inspect(Inspect),
    /// Show what is understood of a prompt, and what the model will not know
    #[command(
        after_help = "Examples:\n  kinora parse \"first a cat sleeps, then it jumps\"\n  kinora parse - --json < prompt.txt"
    )]
    Parse(Parse),
    /// Answer OpenAI's Videos API and Kinora's own over HTTP
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(Box<Serve>),
    /// Make the videos of a server's queue, here or on another machine
    #[command(after_help = WORKER_EXAMPLES)]
    Worker(Worker),
    /// List, watch, cancel, retry or delete the jobs of a server
    #[command(after_help = JOBS_EXAMPLES)]
    Jobs(Jobs),
    /// Make, list or end the keys of a server
    #[command(after_help = KEYS_EXAMPLES)]
    Keys(Keys),
    /// Score a model: make a clip of each prompt of a set and let the judge look at it
    #[command(after_help = EVAL_EXAMPLES)]
    Eval(Box<Eval>),
    /// Get a model from a server, after its licence and size have been seen
    #[command(after_help = PULL_EXAMPLES)]
    Pull(Pull),
    /// Write the weights of a model as safetensors
    #[command(after_help = CONVERT_EXAMPLES)]
    Convert(Convert),
    /// Make the weights of a model smaller: 8 bits in place of 16 or 32
    #[command(after_help = QUANTIZE_EXAMPLES)]
    Quantize(Quantize),
    /// Print completions for a shell
    #[command(
        after_help = "Examples:\n  kinora completions bash > ~/.local/share/bash-completion/completions/kinora\n  \
                            kinora completions zsh > \"${fpath[1]}/_kinora\""
    )]
    Completions(Completions),
    /// Print the manual page
    #[command(after_help = "Examples:\n  kinora man | man -l -\n  kinora man --dir ~/.local/share/man/man1")]
    Man(Man),
}

/// How the prompt reaches the model.
#[derive(Debug, Clone, Copy, Args)]
pub struct Mode {
    /// Hand the prompt to the model as it was typed
    ///
    /// Example: --raw-prompt
    #[arg(long, conflicts_with = "expand_prompt", help_heading = "Prompt")]
    raw_prompt: bool,

    /// Rewrite the prompt in the words that the model knows
    ///
    /// Neither flag: as the model prefers.
    ///
    /// Example: --expand-prompt
    #[arg(long, help_heading = "Prompt")]
    expand_prompt: bool,
}

impl From<Mode> for PromptMode {
    fn from(mode: Mode) -> Self {
        match (mode.raw_prompt, mode.expand_prompt) {
            (true, _) => Self::Raw,
            (false, true) => Self::Expanded,
            (false, false) => Self::Auto,
        }
    }
}

/// Flags of `kinora inspect`.
#[derive(Debug, Args)]
pub struct Inspect {
    /// A clip or image, made by Kinora or not; or a file of weights or latents
    ///
    /// Example: rocket.mp4
    pub file: PathBuf,

    /// Print everything as JSON
    ///
    /// Example: --json
    #[arg(long)]
    pub json: bool,
}

/// Flags of `kinora parse`.
#[derive(Debug, Args)]
pub struct Parse {
    /// The prompt; - reads it from standard input
    ///
    /// Example: "a rocket flies over a city at sunset"
    pub prompt: OsString,

    /// How to hand the prompt to the model.
    #[command(flatten)]
    pub mode: Mode,

    /// Model whose vocabulary counts: a name from `kinora models`, a folder, or a file
    ///
    /// Example: --model toybox
    #[arg(long, value_name = "NAME|PATH", default_value = DEFAULT_MODEL)]
    pub model: OsString,

    /// Print the scene as JSON
    ///
    /// Example: --json
    #[arg(long)]
    pub json: bool,
}

/// Flags of `kinora completions`.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    ///
    /// Example: bash
    pub shell: Shell,
}

/// Flags of `kinora man`.
#[derive(Debug, Args)]
pub struct Man {
    /// Write one page for each command into this folder instead
    ///
    /// Example: --dir ~/.local/share/man/man1
    #[arg(long, value_name = "FOLDER")]
    pub dir: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches};
    use kinora_media::Format;
    use kinora_pipeline::PrecisionChoice;
    use kinora_sampling::Sampler;

    use super::*;

    fn all_commands() -> Vec<clap::Command> {
        let below = |command: &clap::Command| command.get_subcommands().cloned().collect::<Vec<_>>();
        let first = below(&Cli::command());
        let second = first.iter().flat_map(below).collect();
        [first, second].concat()
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_argument_has_an_example_that_is_true() {
        for command in all_commands() {
            for argument in command.get_arguments() {
                let long = argument.get_long_help().map(ToString::to_string).unwrap_or_default();
                let example = long.split_once("Example: ").map(|(_, text)| text.trim());
                let example =
                    example.unwrap_or_else(|| panic!("{} of {}: no example", argument.get_id(), command.get_name()));
                if let Some(flag) = argument.get_long() {
                    let short = argument.get_short().map(|letter| format!("-{letter} "));
                    let named = example.contains(&format!("--{flag}")) || short.is_some_and(|s| example.contains(&s));
                    assert!(named, "--{flag}: the example is of something else: {example}");
                }
            }
        }
    }

    #[test]
    fn the_examples_parse() {
        let after_help = |command: &clap::Command| command.get_after_help().map(ToString::to_string);
        let texts: Vec<_> = all_commands().iter().filter_map(after_help).collect();
        assert!(texts.len() >= 13 && texts.iter().all(|text| text.starts_with("Examples:\n  ")));
        for text in texts.iter().map(String::as_str).chain([EXAMPLES]) {
            let lines = text.lines().filter_map(|line| line.strip_prefix("  kinora "));
            // What the shell takes for itself.
            let ends = [" > ", " < ", " | "];
            for line in lines.map(|line| {
                ends.iter()
                    .fold(line, |line, end| line.split(end).next().unwrap_or(line))
            }) {
                let words = line.split('"').enumerate().flat_map(|(i, part)| match i % 2 {
                    0 => part.split_whitespace().map(str::to_owned).collect(),
                    _ => vec![part.to_owned()],
                });
                let matches = Cli::command().try_get_matches_from(std::iter::once("kinora".to_owned()).chain(words));
                Cli::from_arg_matches(&matches.unwrap()).unwrap();
            }
        }
    }

    #[test]
    fn the_samplers_formats_and_precisions_of_the_help_are_all_that_there_are() {
        let generate = all_commands()
            .into_iter()
            .find(|command| command.get_name() == "generate")
            .unwrap();
        let help = |id: &str| {
            let argument = generate
                .get_arguments()
                .find(|argument| argument.get_id() == id)
                .unwrap();
            argument.get_help().unwrap().to_string()
        };
        assert!(
            Sampler::ALL
                .iter()
                .all(|sampler| help("sampler").contains(sampler.name()))
        );
        assert!(Format::ALL.iter().all(|format| help("format").contains(format.name())));
        assert!(
            PrecisionChoice::ALL
                .iter()
                .all(|choice| help("precision").contains(choice.name()))
        );
    }
}
