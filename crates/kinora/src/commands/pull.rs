//! `kinora pull`: a model from a server onto this machine, after its licence and size have been seen.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use kinora_pipeline::{CancelToken, Error};
use kinora_weights::{
    Checkpoint, Component, PlannedFile, PullError, PullOptions, PullPlan, PullProgress, catalogue, recognise, registry,
};
use serde_json::{Value, json};

use super::{convert, table};
use crate::args::Pull;
use crate::progress::Bytes;
use crate::trouble::{Stopped, Usage, say_plain};
use crate::{interrupt, stdout, units};

/// Files that are listed one by one; of more, the largest.
const LISTED: usize = 12;

/// Plans, asks, pulls, and says how the model is used.
pub fn run(args: &Pull) -> anyhow::Result<()> {
    let Some(name) = args.name.as_deref().filter(|_| !args.list) else {
        return list(args.json);
    };
    let dir = folder(args)?;
    let options = PullOptions {
        source: args.source.clone(),
        ..PullOptions::default()
    };
    let plan = kinora_weights::plan_pull(name, &dir, &options).map_err(Error::from)?;
    if args.dry_run {
        return match args.json {
            true => stdout::write_json(&as_json(&plan)),
            false => stdout::write(described(&plan).as_bytes()),
        };
    }
    if !args.quiet {
        say_plain(&described(&plan));
    }
    agree(args, &plan)?;

    let cancel = CancelToken::new();
    let talk = convert::talk(args.quiet);
    interrupt::install(&cancel, talk, plan.folder.clone())?;
    let mut bytes = Bytes::new(std::io::stderr(), talk);
    let result = kinora_weights::pull(&plan, &options, &mut |progress: PullProgress<'_>| {
        bytes.advance(progress.done_bytes, progress.total_bytes, progress.file);
        !cancel.is_cancelled()
    });
    bytes.finish();
    let pulled = match result {
        Err(kinora_weights::Error::Pull(error)) if matches!(*error, PullError::Cancelled) => {
            if !args.quiet {
                say_plain(&format!("{error}\n"));
            }
            return Err(Stopped.into());
        }
        result => result.map_err(Error::from)?,
    };
    if !args.quiet {
        say_plain(&finished(&plan, pulled.fetched, pulled.verified));
    }
    match args.json {
        true => {
            let mut value = as_json(&plan);
            value["fetched"] = pulled.fetched.into();
            value["verified"] = pulled.verified.into();
            stdout::write_json(&value)
        }
        false => Ok(()),
    }
}

fn list(json: bool) -> anyhow::Result<()> {
    let entries = catalogue();
    if json {
        let entries = entries.iter().map(|entry| {
            json!({ "name": entry.name, "about": entry.about, "licence": entry.licence, "repository": entry.repository })
        });
        return stdout::write_json(&entries.collect::<Vec<_>>());
    }
    let heading = ["NAME", "LICENCE", "WHAT IT MAKES"].map(str::to_owned);
    let rows = entries
        .iter()
        .map(|entry| [entry.name, entry.licence, entry.about].map(str::to_owned));
    let rows: Vec<_> = std::iter::once(heading).chain(rows).collect();
    stdout::write(table::columns(&rows).as_bytes())
}

/// Where the model goes.
fn folder(args: &Pull) -> Result<PathBuf, Usage> {
    let first = || registry::folders().into_iter().next();
    args.dir.clone().or_else(first).ok_or_else(|| {
        Usage::new(
            "there is no folder for models",
            "name one with --dir, or set KINORA_MODELS",
        )
    })
}

/// Licence, place, size and files.
fn described(plan: &PullPlan) -> String {
    let total = plan.total_bytes();
    let missing = plan.missing_bytes();
    let unknown = plan.files.iter().filter(|file| file.bytes.is_none()).count();
    let mut size = units::bytes(total);
    if unknown > 0 {
        size = format!("at least {size} ({unknown} of unknown size)");
    }
    if missing < total {
        size += &format!(", of which {} are there", units::bytes(total - missing));
    }
    let unverified = plan.unverified().count();
    let mut files = plan.files.len().to_string();
    if unverified > 0 {
        files += &format!("; the server announces no hash for {unverified}, whose length alone is compared");
    }
    let pairs = table::pairs(&[
        ("model", plan.name.clone()),
        ("licence", plan.licence.clone()),
        ("into", plan.folder.display().to_string()),
        ("size", size),
        ("files", files),
    ]);
    let mut listed: Vec<&PlannedFile> = plan.files.iter().collect();
    listed.sort_by_key(|file| std::cmp::Reverse(file.bytes));
    let rows: Vec<_> = listed
        .iter()
        .take(LISTED)
        .map(|file| {
            [
                file.bytes.map(units::bytes).unwrap_or_default(),
                table::printable(&file.path),
            ]
        })
        .collect();
    let more = match listed.len().saturating_sub(LISTED) {
        0 => String::new(),
        more => format!("  and {more} smaller\n"),
    };
    let rows: String = table::columns(&rows)
        .lines()
        .map(|line| format!("  {line}\n"))
        .collect();
    pairs + &rows + &more
}

/// Goes on only with a yes: on the command line, or from somebody at a terminal.
fn agree(args: &Pull, plan: &PullPlan) -> anyhow::Result<()> {
    if args.yes || plan.files.iter().all(is_there) {
        return Ok(());
    }
    let missing = units::bytes(plan.missing_bytes());
    if args.quiet || !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        let problem = format!(
            "nothing was pulled: nobody has agreed to {missing} and the licence {}",
            plan.licence
        );
        return Err(Usage::new(problem, "--yes agrees; --dry-run shows the files").into());
    }
    say_plain(&format!("pull {missing}? [y/N] "));
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => {
            say_plain("nothing was pulled\n");
            Err(Stopped.into())
        }
    }
}

fn is_there(file: &PlannedFile) -> bool {
    file.bytes == Some(file.present_bytes)
}

/// What came, and how it is used.
fn finished(plan: &PullPlan, fetched: usize, verified: usize) -> String {
    let came = match fetched {
        0 => "everything was there already".to_owned(),
        1 => format!("1 file pulled, {verified} compared with its hash"),
        count => format!("{count} files pulled, {verified} compared with their hashes"),
    };
    let usage = how_to_use(plan);
    format!(
        "{}  {came}\nto use it: {}\n",
        plan.folder.display(),
        table::printable(&usage)
    )
}

/// The command for what was pulled.
fn how_to_use(plan: &PullPlan) -> String {
    let generate = |flag: &str, value: &str| {
        let value = crate::repeat::quoted(value);
        format!("kinora generate \"a rocket flies over a city\" {flag} {value}")
    };
    let (true, [file]) = (plan.is_address(), plan.files.as_slice()) else {
        let listed = registry::folders()
            .iter()
            .any(|folder| plan.folder.parent() == Some(folder));
        return match listed {
            true => generate("--model", &plan.name),
            false => generate("--model", &plan.folder.display().to_string()),
        };
    };
    let path = plan.folder.join(&file.path);
    let shown = path.display().to_string();
    match component(&path) {
        Some(Component::Lora) => generate("--lora", &shown),
        Some(Component::WanTransformer) => generate("--model", &shown),
        Some(part) => format!("as {} of a transformer that lies beside it", part.name()),
        None => format!("kinora inspect {} says what it holds", crate::repeat::quoted(&shown)),
    }
}

fn component(path: &Path) -> Option<Component> {
    let file = Checkpoint::open_header_only(path).ok()?;
    Some(recognise(&file).ok()?.component)
}

fn as_json(plan: &PullPlan) -> Value {
    let files: Vec<_> = plan
        .files
        .iter()
        .map(|file| {
            json!({
                "url": file.url,
                "path": file.path,
                "bytes": file.bytes,
                "sha256": file.sha256,
                "present_bytes": file.present_bytes,
            })
        })
        .collect();
    json!({
        "name": plan.name,
        "licence": plan.licence,
        "folder": plan.folder,
        "total_bytes": plan.total_bytes(),
        "missing_bytes": plan.missing_bytes(),
        "files": files,
    })
}
