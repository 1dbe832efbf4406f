//! One file a command.

mod convert;
mod decode;
mod eval;
mod generate;
mod inspect;
mod jobs;
mod keys;
mod models;
mod parse;
mod profile;
mod pull;
mod quantize;
mod serve;
mod service;
mod shell;
mod table;
mod weights_file;
mod worker;

use crate::args::Command;

/// Does what the arguments say.
pub fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Generate(args) => generate::run(&args),
        Command::Decode(args) => decode::run(&args),
        Command::Models(args) => models::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Parse(args) => parse::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Worker(args) => worker::run(&args),
        Command::Jobs(args) => jobs::run(&args),
        Command::Keys(args) => keys::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Pull(args) => pull::run(&args),
        Command::Convert(args) => convert::run(&args),
        Command::Quantize(args) => quantize::run(&args),
        Command::Completions(args) => shell::completions(&args),
        Command::Man(args) => shell::man(&args),
    }
}
