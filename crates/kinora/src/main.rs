//! The `kinora` program: arguments become a typed request, the request becomes a library call, and what the library
//! tells becomes lines on the terminal. Data goes to stdout, talk to stderr. Nothing here knows a model.

mod args;
mod commands;
mod interrupt;
mod output_name;
mod preview;
mod progress;
mod prompt;
mod repeat;
mod stdout;
mod terminal;
mod trouble;
mod units;
mod values;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = match args::Cli::try_parse() {
        Ok(cli) => cli,
        Err(answer) => return trouble::usage(&answer),
    };
    match commands::run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => trouble::report(&error),
    }
}
