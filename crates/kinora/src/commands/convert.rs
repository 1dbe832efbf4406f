//! `kinora convert`: any file of weights to safetensors.

use std::path::Path;

use kinora_pipeline::Error;
use kinora_weights::{ConvertOptions, WriteProgress};
use serde_json::json;

use crate::args::Convert;
use crate::interrupt::{self, Talk};
use crate::progress::Bytes;
use crate::trouble::say_plain;
use crate::{output_name, stdout, terminal, units};

/// Writes the file and says how large it became.
pub fn run(args: &Convert) -> anyhow::Result<()> {
    check_output(&args.output, args.overwrite)?;
    let options = ConvertOptions {
        float_type: args.dtype.0,
        only: args.only.clone(),
    };
    let converted = with_progress(&args.output, args.quiet, |progress| {
        kinora_weights::convert(&args.input, &args.output, &options, progress)
    })?;
    if !args.quiet {
        let tensors = match converted.tensors {
            1 => "1 tensor".to_owned(),
            count => format!("{count} tensors"),
        };
        say_plain(&format!(
            "{}  {tensors}  {}\n",
            args.output.display(),
            sizes(converted.bytes)
        ));
    }
    match args.json {
        true => stdout::write_json(&json!({
            "output": args.output,
            "tensors": converted.tensors,
            "input_bytes": converted.bytes[0],
            "output_bytes": converted.bytes[1],
        })),
        false => Ok(()),
    }
}

/// `28.6 GB, was 57.2 GB`.
pub(super) fn sizes([before, after]: [u64; 2]) -> String {
    format!("{}, was {}", units::bytes(after), units::bytes(before))
}

/// Finds a file that is in the way before an hour has been spent.
pub(super) fn check_output(output: &Path, overwrite: bool) -> anyhow::Result<()> {
    match output.exists() && !overwrite {
        true => Err(Error::OutputExists {
            path: output.to_owned(),
        }
        .into()),
        false => Ok(()),
    }
}

/// How work on files talks here.
pub(super) fn talk(quiet: bool) -> Talk {
    match (quiet, terminal::is_live()) {
        (true, _) => Talk::Quiet,
        (false, true) => Talk::Live,
        (false, false) => Talk::Plain,
    }
}

/// Does work that writes `output`; Ctrl-C leaves nothing of it.
pub(super) fn with_progress<T>(
    output: &Path,
    quiet: bool,
    work: impl FnOnce(&mut dyn FnMut(WriteProgress<'_>)) -> kinora_weights::Result<T>,
) -> anyhow::Result<T> {
    let talk = talk(quiet);
    interrupt::install_at_once(talk, output_name::folder(output))?;
    let mut bytes = Bytes::new(std::io::stderr(), talk);
    let result = work(&mut |progress: WriteProgress<'_>| {
        bytes.advance(progress.done_bytes, progress.total_bytes, progress.tensor);
    });
    bytes.finish();
    Ok(result.map_err(Error::from)?)
}
