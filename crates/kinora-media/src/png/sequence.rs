//! A clip as a folder: `frame_000001.png` and so on, and a `clip.json` with the rate and the metadata.
//!
//! The folder is filled under another name and renamed at the end. An existing folder is replaced only if it is empty or
//! holds nothing but such a clip.

use super::encode;
use crate::temp::TempPath;
use crate::writer::WriteOptions;
use crate::{Error, Fps, Frame, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

const INDEX: &str = "clip.json";
const KIND: &str = "kinora-png-frames";
/// A sane index is a page; the run record in it may be long.
const MAX_INDEX_BYTES: u64 = 64 << 20;

fn frame_name(number: u64) -> String {
    format!("frame_{number:06}.png")
}

/// Writes a folder of frames.
#[derive(Debug)]
pub(crate) struct FolderWriter {
    temp: TempPath,
    options: WriteOptions,
    frames: u64,
    bytes: u64,
    hash: Sha256,
}

impl FolderWriter {
    pub(crate) fn create(target: &Path, options: &WriteOptions) -> Result<Self> {
        check_replaceable(target)?;
        let temp = TempPath::beside(target);
        std::fs::create_dir(temp.path()).map_err(Error::io("write", target))?;
        Ok(Self {
            temp,
            options: options.clone(),
            frames: 0,
            bytes: 0,
            hash: Sha256::new(),
        })
    }

    fn put(&mut self, name: &str, content: &[u8]) -> Result<()> {
        std::fs::write(self.temp.path().join(name), content).map_err(Error::io("write", self.temp.target()))?;
        self.bytes += content.len() as u64;
        self.hash.update(content);
        Ok(())
    }

    pub(crate) fn push(&mut self, frame: &Frame) -> Result<()> {
        let file = encode(frame, &[], false)?;
        self.frames += 1;
        self.put(&frame_name(self.frames), &file)
    }

    /// Adds the index; the folder is whole but still under its temporary name.
    pub(crate) fn close(mut self) -> Result<ClosedFolder> {
        let index = json!({
            "kind": KIND,
            "version": 1,
            "width_px": self.options.width_px,
            "height_px": self.options.height_px,
            "frames": self.frames,
            "fps": self.options.fps.to_string(),
            "metadata": self.options.metadata.iter().map(|(k, v)| json!([k, v])).collect::<Vec<_>>(),
        });
        let text = serde_json::to_vec_pretty(&index).map_err(|e| Error::Encode {
            codec: "png",
            detail: e.to_string(),
        })?;
        self.put(INDEX, &text)?;
        Ok(ClosedFolder {
            temp: self.temp,
            bytes: self.bytes,
            hash: self.hash,
        })
    }
}

/// A whole folder that waits for its name.
#[derive(Debug)]
pub(crate) struct ClosedFolder {
    pub(crate) temp: TempPath,
    pub(crate) bytes: u64,
    pub(crate) hash: Sha256,
}

impl ClosedFolder {
    /// Puts the folder in its place. An older clip there steps aside first and goes only when the new one is in.
    pub(crate) fn publish(self) -> Result<PathBuf> {
        let target = self.temp.target().to_path_buf();
        check_replaceable(&target)?;
        let aside = TempPath::beside(&target);
        let had_old = target.exists();
        if had_old {
            std::fs::rename(&target, aside.path()).map_err(Error::io("replace", &target))?;
        }
        match self.temp.publish() {
            Ok(path) => Ok(path),
            Err(e) => {
                if had_old {
                    let _ = std::fs::rename(aside.path(), &target);
                }
                Err(e)
            }
        }
    }
}

/// Refuses a folder with anything in it that we did not write.
fn check_replaceable(target: &Path) -> Result<()> {
    let foreign = || Error::ForeignFolder {
        path: target.to_path_buf(),
    };
    let Ok(kind) = std::fs::symlink_metadata(target) else {
        return Ok(());
    };
    if !kind.is_dir() {
        return Err(Error::InvalidOption {
            option: "output",
            reason: format!("{} is a file, but png-frames writes a folder", target.display()),
            hint: "choose the name of a new folder".into(),
        });
    }
    let mut names = Vec::new();
    for entry in std::fs::read_dir(target).map_err(Error::io("read", target))? {
        names.push(
            entry
                .map_err(Error::io("read", target))?
                .file_name()
                .to_string_lossy()
                .into_owned(),
        );
    }
    if names.is_empty() {
        return Ok(());
    }
    let ours = |n: &String| {
        n == INDEX
            || n.strip_prefix("frame_")
                .and_then(|n| n.strip_suffix(".png"))
                .is_some_and(|n| n.parse::<u64>().is_ok())
    };
    let ok = names.iter().all(ours) && read_folder(target).is_ok();
    if ok { Ok(()) } else { Err(foreign()) }
}

/// What a folder's index says.
#[derive(Debug)]
pub(crate) struct FolderInfo {
    pub width_px: u32,
    pub height_px: u32,
    pub frames: u64,
    pub fps: Fps,
    pub metadata: Vec<(String, String)>,
    folder: PathBuf,
}

impl FolderInfo {
    /// The file of frame `index`, from 0.
    pub(crate) fn frame_path(&self, index: u64) -> PathBuf {
        self.folder.join(frame_name(index + 1))
    }
}

/// Reads a folder's index.
pub(crate) fn read_folder(folder: &Path) -> Result<FolderInfo> {
    let path = folder.join(INDEX);
    let length = std::fs::metadata(&path).map_err(Error::io("read", &path))?.len();
    if length > MAX_INDEX_BYTES {
        return Err(Error::TooLarge {
            what: "the bytes of clip.json",
            got: length,
            limit: MAX_INDEX_BYTES,
        });
    }
    let text = std::fs::read(&path).map_err(Error::io("read", &path))?;
    let bad = |detail: &str| Error::malformed("png-frames", format!("clip.json {detail}"));
    let index: Value = serde_json::from_slice(&text).map_err(|e| bad(&e.to_string()))?;
    if index["kind"] != KIND || index["version"] != 1 {
        return Err(bad("was not written by kinora, or by a newer one"));
    }
    let number = |name: &str| index[name].as_u64().ok_or_else(|| bad("lacks a number"));
    let side = |name: &str| number(name).and_then(|n| u32::try_from(n).map_err(|_| bad("states an absurd size")));
    let fps: Fps = index["fps"].as_str().ok_or_else(|| bad("lacks the rate"))?.parse()?;
    let pairs = index["metadata"].as_array().map(Vec::as_slice).unwrap_or_default();
    let metadata = pairs
        .iter()
        .filter_map(|p| Some((p[0].as_str()?.to_string(), p[1].as_str()?.to_string())))
        .collect();
    Ok(FolderInfo {
        width_px: side("width_px")?,
        height_px: side("height_px")?,
        frames: number("frames")?,
        fps,
        metadata,
        folder: folder.to_path_buf(),
    })
}
