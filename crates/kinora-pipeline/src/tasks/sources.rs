//! The clips and kept latents that a task is made of, opened before the plan.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use kinora_media::Fps;

use crate::description::Description;
use crate::map::probe_source;
use crate::pipeline::read_recipe;
use crate::plan::SourceClip;
use crate::request::Request;
use crate::saved::SavedLatents;
use crate::{Error, Result};

/// A clip that something is made of.
pub(crate) enum Material {
    /// Frames in a file.
    Clip { path: PathBuf, info: SourceClip },
    /// Latents that were kept. Their frames are counted at the model's rate.
    Latents {
        path: PathBuf,
        saved: Box<SavedLatents>,
        info: SourceClip,
    },
}

impl Material {
    /// Opens what is in `path`, which its content decides.
    fn open(path: &Path, model: &Description) -> Result<Self> {
        match is_latents(path) {
            true => Self::open_latents(path, model),
            false => Ok(Self::Clip {
                info: probe_source(path)?,
                path: path.to_owned(),
            }),
        }
    }

    fn open_latents(path: &Path, model: &Description) -> Result<Self> {
        let saved = SavedLatents::read(path)?;
        let made: usize = saved.parts.iter().map(|part| part.new_frames(model)).sum();
        Ok(Self::Latents {
            path: path.to_owned(),
            info: SourceClip {
                size: saved.recipe.size.written,
                fps: model.fps,
                // Of a clip that was never finished there are fewer.
                frames: made.min(saved.recipe.length.new_frames),
            },
            saved: Box::new(saved),
        })
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Clip { path, .. } | Self::Latents { path, .. } => path,
        }
    }

    /// Its size, its rate and its frames at that rate.
    pub(crate) const fn info(&self) -> SourceClip {
        match self {
            Self::Clip { info, .. } | Self::Latents { info, .. } => *info,
        }
    }

    /// The latents, if it is such.
    pub(crate) const fn latents(&self) -> Option<&SavedLatents> {
        match self {
            Self::Clip { .. } => None,
            Self::Latents { saved, .. } => Some(saved),
        }
    }

    /// The rate at which it plays as a file.
    pub(crate) fn playing_fps(&self) -> Option<Fps> {
        match self {
            Self::Clip { info, .. } => Some(info.fps),
            Self::Latents { saved, .. } => saved.recipe.length.fps.parse().ok(),
        }
    }

    /// Its frames at the rate of the model.
    pub(crate) fn frames_at(&self, fps: Fps) -> usize {
        let info = self.info();
        let frames = info.frames as f64 * fps.as_f64() / info.fps.as_f64();
        (frames.round() as usize).max(1)
    }

    /// The words that it was made of, if Kinora made it.
    fn prompt(&self) -> Option<String> {
        let prompt = match self {
            Self::Latents { saved, .. } => saved.recipe.prompt.clone(),
            Self::Clip { path, .. } => read_recipe(path).ok()??.prompt,
        };
        Some(prompt).filter(|prompt| !prompt.trim().is_empty())
    }
}

/// Everything that a request is made of, beside pictures and what it follows.
#[derive(Default)]
pub(crate) struct Sources {
    /// What is continued, made anew from latents or closed; what a blend begins as.
    pub(crate) main: Option<Material>,
    /// What a blend ends as.
    pub(crate) to: Option<Material>,
}

impl Sources {
    /// Opens what `request` names.
    ///
    /// **Errors**: [`Error::Input`] and [`Error::Weights`] for files that cannot be read, [`Error::NotLatents`].
    pub(crate) fn open(request: &Request, model: &Description) -> Result<Self> {
        let mut sources = Self::default();
        if let Some(path) = &request.extend {
            sources.main = Some(Material::Clip {
                info: probe_source(path)?,
                path: path.clone(),
            });
        }
        if let Some(path) = &request.video_latents {
            if path.is_file() && !is_latents(path) {
                return Err(Error::NotLatents {
                    path: path.clone(),
                    reason: "it is no safetensors file".into(),
                });
            }
            sources.main = Some(Material::open_latents(path, model)?);
        }
        if let Some(close_loop) = &request.close_loop {
            sources.main = Some(Material::open(&close_loop.source, model)?);
        }
        if let Some(blend) = &request.blend {
            sources.main = Some(Material::open(&blend.from, model)?);
            sources.to = Some(Material::open(&blend.to, model)?);
        }
        Ok(sources)
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Material> {
        self.main.iter().chain(&self.to)
    }

    /// The words of the sources, for a request that brings none: `first. second`.
    pub(crate) fn prompt(&self) -> Option<String> {
        let mut prompts: Vec<String> = self.all().filter_map(Material::prompt).collect();
        prompts.dedup();
        let last = prompts.pop()?;
        let before = prompts
            .iter()
            .map(|prompt| format!("{}. ", prompt.trim().trim_end_matches('.')));
        Some(before.collect::<String>() + &last)
    }
}

/// Whether a file holds tensors rather than frames: safetensors open with the length of a header in JSON.
fn is_latents(path: &Path) -> bool {
    let mut start = [0; 9];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut start));
    let [length @ .., brace] = start;
    read.is_ok() && brace == b'{' && u64::from_le_bytes(length) < 1 << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_decides_what_a_file_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        assert!(is_latents(&file("named.mp4", b"\x02\0\0\0\0\0\0\0{}")));
        assert!(!is_latents(&file("a.safetensors", b"\0\0\0\x20ftypisom\0\0")));
        assert!(!is_latents(&file("short", b"{}")));
        assert!(!is_latents(folder.path()) && !is_latents(&folder.path().join("none")));
    }
}
