//! Data for the user goes out here. A reader that has left (`kinora models | head -1`) is no error.

use std::io::{ErrorKind, Write};

use anyhow::Context;
use serde::Serialize;

/// Writes bytes to standard output.
pub fn write(data: &[u8]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(data).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("cannot write to standard output"),
        _ => Ok(()),
    }
}

/// Writes a value to standard output as indented JSON and a line end.
pub fn write_json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(value).context("cannot turn the report into JSON")?;
    text.push('\n');
    write(text.as_bytes())
}
