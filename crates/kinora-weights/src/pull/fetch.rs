//! One file: into `<name>.part`, from where it stopped, with its hash; and its name at the end.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::net::{Client, back_off, text};
use super::{PlannedFile, PullError, PullOptions};
use crate::{Error, Result};

/// Calls `arrived(bytes of this file so far)`; false stops.
type Arrived<'a> = &'a mut dyn FnMut(u64) -> bool;

/// What has come of a file before: its part, and beside it of which file it is a part.
pub(super) struct Part {
    pub data: PathBuf,
    note: PathBuf,
}

impl Part {
    pub fn of(target: &Path) -> Self {
        let beside = |end: &str| {
            let mut name = target.file_name().unwrap_or_default().to_owned();
            name.push(end);
            target.with_file_name(name)
        };
        Self {
            data: beside(".part"),
            note: beside(".part.of"),
        }
    }

    /// Bytes that can be kept: none if they are of another file than the one to come.
    pub fn kept(&self, file: &PlannedFile) -> u64 {
        let same = std::fs::read_to_string(&self.note).is_ok_and(|note| note == identity(file));
        let length = std::fs::metadata(&self.data).map_or(0, |data| data.len());
        match file.bytes {
            _ if !same => 0,
            Some(bytes) if length > bytes => 0,
            _ => length,
        }
    }

    fn remove(&self) {
        // If they cannot be removed, `kept` does not count them.
        drop(std::fs::remove_file(&self.note));
        drop(std::fs::remove_file(&self.data));
    }
}

/// What must stay the same between two attempts.
fn identity(file: &PlannedFile) -> String {
    let known = file.sha256.as_ref().or(file.etag.as_ref());
    format!("{}\n{}\n{:?}\n", file.url, known.map_or("", |k| k), file.bytes)
}

/// Fetches `file` to `target`; true if its hash was compared.
pub(super) fn fetch(
    client: &Client,
    file: &PlannedFile,
    target: &Path,
    options: &PullOptions,
    arrived: Arrived,
) -> Result<bool> {
    let part = Part::of(target);
    if part.kept(file) == 0 {
        part.remove();
        std::fs::write(&part.note, identity(file)).map_err(Error::io("write", &part.note))?;
    }
    let mut open = OpenOptions::new();
    let mut out = (open.read(true).write(true).create(true).truncate(false))
        .open(&part.data)
        .map_err(Error::io("open", &part.data))?;
    let mut hash = Sha256::new();
    let mut have = hash_of(&mut out, &mut hash).map_err(Error::io("read", &part.data))?;
    let mut attempt = 0;
    loop {
        let before = have;
        match more(client, file, &part, &mut out, &mut hash, &mut have, arrived)? {
            Step::Complete => break,
            Step::Failed(error) => {
                // As long as something comes, it goes on.
                attempt = if have > before { 0 } else { attempt + 1 };
                if attempt > options.retries {
                    return Err(error.into());
                }
                std::thread::sleep(back_off(options.first_wait, attempt.saturating_sub(1)));
            }
        }
    }
    let got: String = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
    if let Some(expected) = file.sha256.as_ref().filter(|expected| **expected != got) {
        drop(out);
        part.remove();
        let (file, expected) = (target.display().to_string(), expected.clone());
        return Err(PullError::WrongHash { file, expected, got }.into());
    }
    out.sync_all().map_err(Error::io("write", &part.data))?;
    drop(out);
    std::fs::rename(&part.data, target).map_err(Error::io("rename to", target))?;
    part.remove();
    Ok(file.sha256.is_some())
}

enum Step {
    Complete,
    /// May be tried again.
    Failed(PullError),
}

/// One request for what is missing.
fn more(
    client: &Client,
    file: &PlannedFile,
    part: &Part,
    out: &mut File,
    hash: &mut Sha256,
    have: &mut u64,
    arrived: Arrived,
) -> Result<Step> {
    if file.bytes == Some(*have) && *have > 0 {
        return Ok(Step::Complete);
    }
    let io = |action| Error::io(action, &part.data);
    let answer = match client.get(&file.url, *have) {
        Ok(answer) => answer,
        Err(error @ PullError::Network { .. }) => return Ok(Step::Failed(error)),
        Err(error) => return Err(error.into()),
    };
    let headers = answer.response.headers();
    let status = answer.response.status().as_u16();
    let goes_on = status == 206
        && text(headers, "content-range").is_some_and(|range| range.starts_with(&format!("bytes {have}-")));
    match status {
        200 | 206 if goes_on || *have == 0 && status == 200 => {}
        // A server that knows no ranges, or has another file now.
        200 | 206 | 416 => {
            out.set_len(0).map_err(io("write"))?;
            out.rewind().map_err(io("write"))?;
            (*hash, *have) = (Sha256::new(), 0);
            if status != 200 {
                let error = refused(&answer.url, status);
                return Ok(Step::Failed(error));
            }
        }
        _ => {
            let error = refused(&answer.url, status);
            return match status {
                408 | 425 | 429 | 500.. => Ok(Step::Failed(error)),
                _ => Err(error.into()),
            };
        }
    }
    // What this answer announces; a chunked one says nothing, and then its end is the end.
    let length: Option<u64> = text(answer.response.headers(), "content-length").and_then(|text| text.parse().ok());
    let end = file.bytes.or_else(|| length.map(|length| *have + length));
    let broken = |reason: String| PullError::Network {
        url: file.url.clone(),
        reason,
    };
    let mut body = answer.response.into_body().into_reader();
    let mut piece = vec![0; 1 << 16];
    loop {
        let n = match body.read(&mut piece) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) => return Ok(Step::Failed(broken(error.to_string()))),
        };
        out.write_all(&piece[..n]).map_err(io("write"))?;
        hash.update(&piece[..n]);
        *have += n as u64;
        if let Some(expected) = end.filter(|&end| *have > end) {
            let (file, got) = (part.data.display().to_string(), *have);
            part.remove();
            return Err(PullError::WrongSize { file, expected, got }.into());
        }
        if !arrived(*have) {
            return Err(PullError::Cancelled.into());
        }
    }
    match end {
        Some(end) if *have < end => Ok(Step::Failed(broken(format!(
            "the connection ended at byte {have} of {end}"
        )))),
        _ => Ok(Step::Complete),
    }
}

pub(super) fn refused(url: &str, status: u16) -> PullError {
    PullError::Refused {
        url: url.into(),
        status,
        hint: match status {
            401 | 403 => "this file wants an account; get it in a browser and use `kinora models add`",
            404 | 410 => "the file is not there (any more); check the name and KINORA_MODEL_SOURCE",
            429 => "the server wants fewer requests; wait a while",
            _ => "try again later",
        },
    }
}

/// Hashes what is there and stands at its end.
fn hash_of(file: &mut File, hash: &mut Sha256) -> std::io::Result<u64> {
    let (mut length, mut piece) = (0, vec![0; 1 << 20]);
    file.rewind()?;
    loop {
        match file.read(&mut piece)? {
            0 => break,
            n => {
                hash.update(&piece[..n]);
                length += n as u64;
            }
        }
    }
    file.seek(SeekFrom::Start(length))?;
    Ok(length)
}
