//! Ctrl-C: the first asks the run to stop at its next step, the second leaves at once. Work that has no steps is left at the
//! first.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use kinora_pipeline::CancelToken;

use crate::progress::CLEAR_BELOW;
use crate::trouble::{STOPPED, say_plain};

static ASKED: AtomicBool = AtomicBool::new(false);

/// How the handler may talk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Talk {
    /// Not at all.
    Quiet,
    /// In lines.
    Plain,
    /// The moving line speaks; only what moves must be cleared before leaving.
    Live,
}

/// Connects Ctrl-C (and a request of the system to end) with a run that writes into `folder`.
pub fn install(cancel: &CancelToken, talk: Talk, folder: PathBuf) -> anyhow::Result<()> {
    let cancel = cancel.clone();
    let on_signal = move || {
        if ASKED.swap(true, Ordering::SeqCst) {
            leave(talk, &folder);
        }
        cancel.cancel();
        if talk == Talk::Plain {
            say_plain("stopping at the next step; Ctrl-C again leaves at once\n");
        }
    };
    ctrlc::set_handler(on_signal).context("cannot listen for Ctrl-C")
}

/// Connects Ctrl-C with work that writes a file into `folder` and has no steps at which it could stop.
pub fn install_at_once(talk: Talk, folder: PathBuf) -> anyhow::Result<()> {
    ctrlc::set_handler(move || leave(talk, &folder)).context("cannot listen for Ctrl-C")
}

fn leave(talk: Talk, folder: &Path) -> ! {
    if talk == Talk::Live {
        eprint_raw(CLEAR_BELOW);
    }
    remove_unfinished(folder);
    std::process::exit(i32::from(STOPPED));
}

/// Removes what this process was writing: leaving at once runs no destructor. The names are those that `kinora-media` and
/// `kinora-weights` give to files that are not whole yet.
fn remove_unfinished(folder: &Path) {
    let ours = format!(".kinora-{}-", std::process::id());
    let our_weights = format!(".{}.unfinished", std::process::id());
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(&ours) && name.ends_with(".part") || name.ends_with(&our_weights) {
            let path = entry.path();
            let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir_all(&path));
        }
    }
}

fn eprint_raw(text: &str) {
    use std::io::Write;
    let _ = std::io::stderr().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_unfinished_files_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let ours = folder.path().join(format!(".kinora-{}-0.part", std::process::id()));
        let weights = format!("a.safetensors.{}.unfinished", std::process::id());
        let weights = folder.path().join(weights);
        let others =
            [".kinora-1-0.part", "clip.mp4", "a.safetensors.1.unfinished"].map(|name| folder.path().join(name));
        std::fs::create_dir(&ours).unwrap();
        std::fs::write(&weights, b"x").unwrap();
        others.iter().for_each(|path| std::fs::write(path, b"x").unwrap());
        remove_unfinished(folder.path());
        assert!(!ours.exists() && !weights.exists() && others.iter().all(|path| path.exists()));
    }
}
