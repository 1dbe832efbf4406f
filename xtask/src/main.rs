//! `cargo xtask tidy | fuzz | licences | parity | ci`: what the library does, from the command line.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

const USAGE: &str = "usage: cargo xtask <task>

tasks:
  tidy       the rules of the house that rustfmt and clippy do not know (docs/tidy.md)
  fuzz       mutated files against the readers of kinora-weights: cargo xtask fuzz --seconds 20
  licences   every dependency may be used under a licence of the list in deny.toml (offline)
  parity     compares with the references and writes docs/parity.md; --check only says whether it still holds
  ci         the same steps as the continuous integration: bash .ci/run";

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// True if nothing is wrong.
fn run() -> Result<bool> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("xtask lies in the repository")?;
    match std::env::args().nth(1).as_deref() {
        Some("tidy") => Ok(report("tidy", &xtask::tidy(root)?)),
        Some("licences") => {
            let (checked, problems) = xtask::licences(root)?;
            println!("licences: {checked}");
            Ok(report("licences", &problems))
        }
        Some("parity") => match std::env::args().nth(2).as_deref() {
            None => {
                println!("parity: {}", xtask::parity(root)?);
                Ok(true)
            }
            Some("--check") => Ok(report("parity", &xtask::parity_check(root)?)),
            Some(other) => bail!("parity has no option {other:?}\n{USAGE}"),
        },
        Some("fuzz") => match std::env::args().skip(2).collect::<Vec<_>>().as_slice() {
            [flag, seconds] if flag == "--seconds" => Ok(xtask::fuzz(root, seconds.parse().context("--seconds N")?)?),
            _ => bail!("fuzz needs a time\n{USAGE}"),
        },
        Some("ci") => Ok(xtask::ci(root)?),
        Some(other) => bail!("there is no task {other:?}\n{USAGE}"),
        None => bail!("a task is missing\n{USAGE}"),
    }
}

fn report(task: &str, problems: &[xtask::Problem]) -> bool {
    for problem in problems {
        println!("{problem}");
    }
    match problems.len() {
        0 => println!("{task}: nothing to complain about"),
        n => println!("{task}: {n} problem(s)"),
    }
    problems.is_empty()
}
