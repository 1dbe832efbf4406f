//! Files in a folder of this machine: whole or not at all, and on the disk for good.

use std::fs::File;
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// A name beside `target` that nobody else uses.
pub(super) fn beside(target: &Path) -> PathBuf {
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    target.with_file_name(format!(".kinora-{}-{number}.part", std::process::id()))
}

/// Copies `from` to `to`, making the folders around it.
pub(super) fn copy(from: &Path, to: &Path) -> Result<()> {
    let folder = to.parent().ok_or(Error::from(ErrorKind::InvalidInput))?;
    std::fs::create_dir_all(folder)?;
    let part = beside(to);
    let copied = std::fs::copy(from, &part)
        .and_then(|_| File::open(&part)?.sync_all())
        .and_then(|()| std::fs::rename(&part, to));
    if copied.is_err() {
        // That it cannot be removed changes nothing: retention finds it.
        std::fs::remove_file(&part).ok();
        return copied;
    }
    // The name becomes durable with the folder; systems that cannot sync a folder may ignore it.
    File::open(folder).and_then(|folder| folder.sync_all()).ok();
    Ok(())
}

/// Removes a folder or a file with everything in it, if it is there.
pub(super) fn remove_folder(folder: &Path) -> Result<()> {
    let removed = match std::fs::symlink_metadata(folder) {
        Ok(found) if found.is_dir() => std::fs::remove_dir_all(folder),
        Ok(_) => std::fs::remove_file(folder),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Whether a file has a name that Kinora's writers give to files that are not whole yet.
fn is_half_written(name: &str) -> bool {
    let is_numbered = |name: &str| {
        let number = name.rsplit_once('#').map(|(_, number)| number);
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    (name.starts_with(".kinora-") && name.ends_with(".part")) || name.ends_with(".unfinished") || is_numbered(name)
}

/// Removes files below `folder` that are half-written and that nobody has touched for `age`. Says how many.
pub(super) fn remove_half_written(folder: &Path, age: Duration) -> Result<usize> {
    let mut removed = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // A file that has gone since is no trouble.
        let Ok(found) = entry.metadata() else { continue };
        if found.is_dir() {
            removed += remove_half_written(&entry.path(), age)?;
            continue;
        }
        let is_old = found
            .modified()
            .is_ok_and(|at| at.elapsed().is_ok_and(|since| since >= age));
        if is_old && is_half_written(&entry.file_name().to_string_lossy()) {
            std::fs::remove_file(entry.path())?;
            removed += 1;
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_half_written_files_are_known() {
        for name in [".kinora-7-0.part", "x.safetensors.7.unfinished", "video.mp4#3"] {
            assert!(is_half_written(name), "{name}");
        }
        for name in ["video.mp4", "part", "kinora-7.part", "a#b", "a#"] {
            assert!(!is_half_written(name), "{name}");
        }
    }
}
