//! Pulling models from a server: planned first, so that licence and size are seen, then fetched file by file.
//!
//! A pull that was interrupted goes on where it stopped. Files get their names when all of their bytes are there and the
//! hash is the one that the server announced; a source that announces none is said to be unverified. Redirects to anything
//! but the web, or out of an encrypted connection, are refused.
//!
//! `KINORA_MODEL_SOURCE`, or [`PullOptions::source`], names another source with the same layout, such as a mirror.

mod catalogue;
mod error;
mod fetch;
mod net;
mod receipt;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use catalogue::CatalogueEntry;
pub use error::PullError;
pub use net::system_tls;
pub(crate) use receipt::{RECEIPT, Receipt};

use crate::{Error, Result, similar};
use catalogue::{CATALOGUE, Item};
use fetch::Part;
use net::{Client, is_sha256};

/// Where models are if nothing else is said: the public model hub.
const SOURCE: &str = "https://huggingface.co";
/// An index of shards has a line for each tensor.
const MOST_INDEX_BYTES: u64 = 16 << 20;

/// How to pull.
#[derive(Debug, Clone)]
pub struct PullOptions {
    /// The source, instead of `KINORA_MODEL_SOURCE` or the public hub.
    pub source: Option<String>,
    /// Attempts without a byte before it gives up.
    pub retries: u32,
    /// The wait before the second attempt; doubled each time, at most a minute.
    pub first_wait: Duration,
    /// Longest silence of a server.
    pub timeout: Duration,
}

impl Default for PullOptions {
    fn default() -> Self {
        Self {
            source: None,
            retries: 6,
            first_wait: Duration::from_secs(1),
            timeout: Duration::from_secs(30),
        }
    }
}

/// What would be pulled: to be shown before [`pull`] is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullPlan {
    /// The name or address that was asked for.
    pub name: String,
    /// SPDX, or `unknown` for an address.
    pub licence: String,
    /// Where the files go.
    pub folder: PathBuf,
    /// In the order of fetching.
    pub files: Vec<PlannedFile>,
}

/// A file of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedFile {
    /// Its address.
    pub url: String,
    /// Below the folder.
    pub path: String,
    /// Its length, if the server says it.
    pub bytes: Option<u64>,
    /// What the server says that its hash is.
    pub sha256: Option<String>,
    /// What the server calls its version.
    pub(crate) etag: Option<String>,
    /// Bytes that are there already.
    pub present_bytes: u64,
}

impl PullPlan {
    /// True for a file by its address, false for a model by its name.
    pub fn is_address(&self) -> bool {
        self.name.contains("://")
    }

    /// Bytes of all files whose length is known.
    pub fn total_bytes(&self) -> u64 {
        self.files.iter().filter_map(|file| file.bytes).sum()
    }

    /// Bytes that are still to come.
    pub fn missing_bytes(&self) -> u64 {
        let missing = |file: &PlannedFile| file.bytes.map(|bytes| bytes.saturating_sub(file.present_bytes));
        self.files.iter().filter_map(missing).sum()
    }

    /// Files for which no hash is announced: what arrives is not compared with anything but its length.
    pub fn unverified(&self) -> impl Iterator<Item = &PlannedFile> {
        self.files.iter().filter(|file| file.sha256.is_none())
    }
}

/// How far a pull is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PullProgress<'a> {
    /// The file that is coming.
    pub file: &'a str,
    /// Bytes of all files so far.
    pub done_bytes: u64,
    /// Bytes of all files whose length is known.
    pub total_bytes: u64,
}

/// What was pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// Where the files are.
    pub folder: PathBuf,
    /// Files that came now.
    pub fetched: usize,
    /// Files whose hash was compared with the announced one.
    pub verified: usize,
}

/// All models that can be pulled by name.
pub fn catalogue() -> &'static [CatalogueEntry] {
    &CATALOGUE
}

/// Asks the server what pulling `name` (of the catalogue, or an address of one file) into a folder of `dir` means. Nothing is written.
///
/// **Errors**: [`PullError::Unknown`]; those of the network.
pub fn plan_pull(name: &str, dir: &Path, options: &PullOptions) -> Result<PullPlan> {
    let client = Client::new(options);
    if name.starts_with("https://") || name.starts_with("http://") {
        return plan_address(&client, name, dir, options);
    }
    let entry = CATALOGUE.iter().find(|entry| entry.name.eq_ignore_ascii_case(name));
    let entry = entry.ok_or_else(|| PullError::Unknown {
        name: name.into(),
        similar: similar::closest(name, CATALOGUE.iter().map(|entry| entry.name)),
        known: CATALOGUE.iter().map(|entry| entry.name.to_owned()).collect(),
    })?;
    let source = options
        .source
        .clone()
        .or_else(|| std::env::var("KINORA_MODEL_SOURCE").ok());
    let source = source
        .filter(|source| !source.is_empty())
        .unwrap_or_else(|| SOURCE.into());
    let start = format!("{}/{}/resolve/main", source.trim_end_matches('/'), entry.repository);
    let folder = dir.join(entry.name);
    let file = |path: &str| ask(&client, &format!("{start}/{path}"), path, &folder, options);
    let mut files = Vec::new();
    for item in entry.items {
        match *item {
            Item::File(path) => files.push(file(path)?),
            Item::Optional(path) => files.extend(if_there(file(path))?),
            Item::Weights(path) => {
                let whole = format!("{path}.safetensors");
                let index = format!("{whole}.index.json");
                let Some(index_file) = if_there(file(&index))? else {
                    files.push(file(&whole)?);
                    continue;
                };
                for shard in shards(&client, &index_file.url)? {
                    let beside = path
                        .rsplit_once('/')
                        .map_or_else(|| shard.clone(), |(dir, _)| format!("{dir}/{shard}"));
                    files.push(file(&beside)?);
                }
                files.push(index_file);
            }
        }
    }
    Ok(PullPlan {
        name: entry.name.into(),
        licence: entry.licence.into(),
        folder,
        files,
    })
}

/// Fetches what is missing of a plan; a model by its name gets a `pulled.json` that remembers licence and addresses. `progress` is called every few kilobytes; when it gives false, the pull stops and can be taken up
/// again.
///
/// **Errors**: [`PullError`]; [`Error::Io`].
pub fn pull(plan: &PullPlan, options: &PullOptions, progress: &mut dyn FnMut(PullProgress) -> bool) -> Result<Pulled> {
    std::fs::create_dir_all(&plan.folder).map_err(Error::io("create", &plan.folder))?;
    if let Some(free) = free_bytes(&plan.folder).filter(|&free| free < plan.missing_bytes()) {
        return Err(PullError::NoSpace {
            folder: plan.folder.display().to_string(),
            needed: plan.missing_bytes(),
            free,
        }
        .into());
    }
    let client = Client::new(options);
    let (mut before, total_bytes) = (0, plan.total_bytes());
    let (mut fetched, mut verified) = (0, 0);
    for file in &plan.files {
        let target = plan.folder.join(&file.path);
        if is_complete(file, &target) {
            before += file.bytes.unwrap_or(0);
            continue;
        }
        if let Some(parent) = target.parent() {
            std::fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
        }
        let mut arrived = |bytes: u64| {
            progress(PullProgress {
                file: &file.path,
                done_bytes: before + bytes,
                total_bytes,
            })
        };
        verified += usize::from(fetch::fetch(&client, file, &target, options, &mut arrived)?);
        fetched += 1;
        before += std::fs::metadata(&target).map_or(0, |data| data.len());
    }
    if !plan.is_address() {
        Receipt::of(plan).write(&plan.folder)?;
    }
    Ok(Pulled {
        folder: plan.folder.clone(),
        fetched,
        verified,
    })
}

/// A file has its name only when it was complete, so the length tells whether it is this one.
fn is_complete(file: &PlannedFile, target: &Path) -> bool {
    let length = std::fs::metadata(target)
        .ok()
        .filter(std::fs::Metadata::is_file)
        .map(|data| data.len());
    length.is_some() && (file.bytes.is_none() || length == file.bytes)
}

/// One file by its address, with the hash that lies beside it (`<address>.sha256`) if the server announces none.
fn plan_address(client: &Client, url: &str, dir: &Path, options: &PullOptions) -> Result<PullPlan> {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    let file_name = path
        .split("://")
        .nth(1)
        .and_then(|rest| rest.split_once('/')?.1.rsplit('/').next());
    let file_name = file_name.unwrap_or_default();
    if file_name.is_empty() || file_name.starts_with('.') || file_name.contains(['\\', ':', '%']) {
        let (url, name) = (url.to_owned(), file_name.to_owned());
        return Err(PullError::BadName { url, name }.into());
    }
    let mut file = ask(client, url, file_name, dir, options)?;
    if file.sha256.is_none() {
        file.sha256 = small_text(client, &format!("{path}.sha256"), 4096)?
            .and_then(|text| text.split_whitespace().next().map(str::to_lowercase))
            .filter(|hash| is_sha256(hash));
        file.present_bytes = present(&file, &dir.join(file_name));
    }
    Ok(PullPlan {
        name: url.into(),
        licence: "unknown".into(),
        folder: dir.to_owned(),
        files: vec![file],
    })
}

/// What the server says about a file.
fn ask(client: &Client, url: &str, path: &str, folder: &Path, options: &PullOptions) -> Result<PlannedFile> {
    let mut attempt = 0;
    let answer = loop {
        match client.head(url) {
            Ok(answer) if answer.response.status().is_success() => break answer,
            Ok(answer) if !answer.response.status().is_server_error() || attempt >= options.retries => {
                return Err(fetch::refused(url, answer.response.status().as_u16()).into());
            }
            Err(error) if !matches!(error, PullError::Network { .. }) || attempt >= options.retries => {
                return Err(error.into());
            }
            _ => {
                std::thread::sleep(net::back_off(options.first_wait, attempt));
                attempt += 1;
            }
        }
    };
    let length = net::text(answer.response.headers(), "content-length").and_then(|text| text.parse().ok());
    let mut file = PlannedFile {
        url: url.to_owned(),
        path: path.to_owned(),
        bytes: answer.announced.bytes.or(length),
        sha256: answer.announced.sha256,
        etag: answer.announced.etag,
        present_bytes: 0,
    };
    file.present_bytes = present(&file, &folder.join(path));
    Ok(file)
}

fn present(file: &PlannedFile, target: &Path) -> u64 {
    match is_complete(file, target) {
        true => std::fs::metadata(target).map_or(0, |data| data.len()),
        false => Part::of(target).kept(file),
    }
}

/// `None` for a file that the server does not have.
fn if_there(file: Result<PlannedFile>) -> Result<Option<PlannedFile>> {
    match file {
        Ok(file) => Ok(Some(file)),
        Err(Error::Pull(error)) if matches!(*error, PullError::Refused { status: 404 | 410, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The files that an index names.
fn shards(client: &Client, url: &str) -> Result<BTreeSet<String>> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let text = small_text(client, url, MOST_INDEX_BYTES)?.unwrap_or_default();
    let index: Index = serde_json::from_str(&text).map_err(|e| Error::BadJson {
        file: url.into(),
        reason: e.to_string(),
    })?;
    let shards: BTreeSet<String> = index.weight_map.into_values().collect();
    // It comes from outside and must not lead out of its folder.
    match shards
        .iter()
        .find(|shard| Path::new(shard).file_name().is_none_or(|name| name != shard.as_str()))
    {
        Some(shard) => {
            let (url, name) = (url.to_owned(), shard.clone());
            Err(PullError::BadName { url, name }.into())
        }
        None => Ok(shards),
    }
}

/// A text that the server may have.
fn small_text(client: &Client, url: &str, most_bytes: u64) -> Result<Option<String>> {
    let answer = client.get(url, 0)?;
    if !answer.response.status().is_success() {
        return Ok(None);
    }
    let mut text = String::new();
    let reader = answer.response.into_body().into_reader().take(most_bytes);
    let read = { reader }.read_to_string(&mut text);
    Ok(read.ok().map(|_| text))
}

/// Free bytes of the disk of a folder, if the system says.
#[cfg(unix)]
#[must_use]
pub fn free_bytes(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Free bytes of the disk of a folder, if the system says.
#[cfg(not(unix))]
#[must_use]
pub fn free_bytes(_folder: &Path) -> Option<u64> {
    None
}
