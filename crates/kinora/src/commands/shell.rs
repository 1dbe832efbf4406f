//! `kinora completions` and `kinora man`: what the shell and the manual need, made from the definition of the arguments.

use std::fs;

use anyhow::Context;
use clap::CommandFactory;
use clap_mangen::Man as Page;

use crate::args::{Cli, Completions, Man};
use crate::stdout;

/// Prints completions.
pub fn completions(args: &Completions) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "kinora", &mut script);
    stdout::write(&script)
}

/// Prints the main page, or writes all pages into a folder.
pub fn man(args: &Man) -> anyhow::Result<()> {
    let Some(folder) = &args.dir else {
        return stdout::write(&page(Cli::command())?);
    };
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let mut root = Cli::command().disable_help_subcommand(true);
    // Gives the parts their full names: `kinora-generate`.
    root.build();
    for command in all(&root) {
        let name = command.get_display_name().unwrap_or_else(|| command.get_name());
        let file = folder.join(format!("{name}.1"));
        fs::write(&file, page(command.clone())?).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// A command and everything below it.
fn all(command: &clap::Command) -> Vec<&clap::Command> {
    let below = command.get_subcommands().filter(|below| below.get_name() != "help");
    std::iter::once(command).chain(below.flat_map(all)).collect()
}

fn page(command: clap::Command) -> anyhow::Result<Vec<u8>> {
    let mut roff = Vec::new();
    Page::new(command)
        .render(&mut roff)
        .context("cannot make the manual page")?;
    Ok(roff)
}
