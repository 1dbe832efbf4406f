//! The files of the working tree, without what is built or hidden.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Hidden folders that belong to the repository; all others are skipped.
const HIDDEN: [&str; 4] = [".cargo", ".ci", ".config", ".github"];
/// Folders that tools make.
const BUILT: [&str; 4] = ["target", "out", "node_modules", "__pycache__"];
/// Endings of files that people write.
const TEXT: [&str; 17] = [
    "rs", "toml", "md", "py", "sh", "json", "yml", "yaml", "html", "css", "js", "ts", "svg", "txt", "cu", "cuh", "1",
];
/// Larger files are data.
const LARGEST_TEXT_BYTES: u64 = 2_000_000;

/// One file.
pub(crate) struct File {
    /// From the root, with `/`.
    pub path: String,
    pub bytes: u64,
    at: PathBuf,
}

impl File {
    /// The part behind the last dot; empty without one.
    pub fn ending(&self) -> &str {
        self.name().rsplit_once('.').map_or("", |(_, ending)| ending)
    }

    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// Whether people write this file: by its ending, or a script or licence without one.
    pub fn is_text(&self) -> bool {
        let plain = !self.name().contains('.') && (self.path.starts_with(".ci/") || !self.path.contains('/'));
        self.bytes <= LARGEST_TEXT_BYTES && (plain || TEXT.contains(&self.ending()))
    }

    /// The content; bytes that are not UTF-8 become replacement characters.
    pub fn text(&self) -> Result<String> {
        let bytes = fs::read(&self.at).with_context(|| format!("could not read {}", self.path))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// All files below `root`, sorted by path.
pub(crate) fn files(root: &Path) -> Result<Vec<File>> {
    let mut found = Vec::new();
    walk(root, "", &mut found)?;
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn walk(folder: &Path, prefix: &str, found: &mut Vec<File>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("could not list {}", folder.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type()?;
        let path = format!("{prefix}{name}");
        if kind.is_dir() {
            let hidden = name.starts_with('.') && !HIDDEN.contains(&name.as_str());
            if !hidden && !BUILT.contains(&name.as_str()) {
                walk(&entry.path(), &format!("{path}/"), found)?;
            }
        } else if kind.is_file() {
            found.push(File {
                path,
                bytes: entry.metadata()?.len(),
                at: entry.path(),
            });
        }
    }
    Ok(())
}
