//! Writing a clip, frame by frame.

use crate::gif::GifEncoder;
use crate::mp4::Mp4Encoder;
use crate::png::{FolderWriter, PngEncoder};
use crate::temp::{Spool, TempFile, TempPath};
use crate::webm::WebMEncoder;
use crate::webp::WebPEncoder;
use crate::{Error, Format, Fps, Frame, Quality, Result};
use sha2::{Digest, Sha256};
use std::io::Read;
use std::path::{Path, PathBuf};

/// What a clip is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriteOptions {
    /// Width of every frame.
    pub width_px: u32,
    /// Height of every frame.
    pub height_px: u32,
    /// Frame rate. A single PNG ignores it.
    pub fps: Fps,
    /// How close a lossy format stays to its input.
    pub quality: Quality,
    /// Key and value pairs kept in the file. `title`, `comment` and `encoder` go where players show them; any other key
    /// (ASCII letters, digits, `_`, `-`, `.`; at most 64) is kept under its own name: the run record belongs under `kinora`.
    pub metadata: Vec<(String, String)>,
}

impl WriteOptions {
    /// Options with the default quality and no metadata.
    #[must_use]
    pub fn new(width_px: u32, height_px: u32, fps: Fps) -> Self {
        Self {
            width_px,
            height_px,
            fps,
            quality: Quality::default(),
            metadata: Vec::new(),
        }
    }

    fn check(&self) -> Result<()> {
        let _ = Frame::filled(self.width_px.min(crate::MAX_SIDE_PX + 1), 1, [0; 3])?;
        let _ = Frame::filled(1, self.height_px.min(crate::MAX_SIDE_PX + 1), [0; 3])?;
        for (key, value) in &self.metadata {
            let sound =
                (1..=64).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
            if !sound {
                return Err(Error::InvalidOption {
                    option: "metadata",
                    reason: format!("the key {:?} is not allowed", key.chars().take(40).collect::<String>()),
                    hint: "1 to 64 letters, digits, _, - or .".into(),
                });
            }
            if value
                .chars()
                .any(|c| (c.is_control() && !"\n\r\t".contains(c)) || "\u{fffe}\u{ffff}".contains(c))
            {
                return Err(Error::InvalidOption {
                    option: "metadata",
                    reason: format!("the value of {key} holds a control character"),
                    hint: "escape it, as JSON does".into(),
                });
            }
            if value.len() > 16 << 20 {
                return Err(Error::TooLarge {
                    what: "the bytes of a metadata value",
                    got: value.len() as u64,
                    limit: 16 << 20,
                });
            }
        }
        Ok(())
    }
}

/// What one format does with frames: compressed samples go to the spool, the container is written at the end.
pub(crate) trait ClipEncoder: Send {
    fn codec(&self) -> &'static str;
    fn push(&mut self, frame: &Frame, spool: &mut Spool) -> Result<()>;
    fn finish(&mut self, spool: &mut Spool, out: &mut TempFile) -> Result<()>;
}

enum Output {
    File {
        encoder: Box<dyn ClipEncoder>,
        spool: Spool,
    },
    Folder(FolderWriter),
}

/// Writes one clip. Nothing appears under the target's name before [`ClipWriter::finish`]; dropping the writer removes
/// what was written so far. Memory does not grow with the number of frames.
pub struct ClipWriter {
    path: PathBuf,
    options: WriteOptions,
    format: Format,
    output: Output,
    frames: u64,
}

impl std::fmt::Debug for ClipWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClipWriter")
            .field("path", &self.path)
            .field("format", &self.format)
            .field("frames", &self.frames)
            .finish()
    }
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WrittenClip {
    /// The file or folder.
    pub path: PathBuf,
    /// Its size; of a folder, the sum of its files.
    pub bytes: u64,
    /// Number of frames.
    pub frames: u64,
    /// Their time, rounded to the millisecond.
    pub duration_ms: u64,
    /// `h264`, `vp8`, `gif` or `png`.
    pub codec: &'static str,
    /// Hash of the file in hex; of a folder, of its files one after another in the order of writing, the index last.
    pub sha256: String,
}

impl ClipWriter {
    /// Starts a clip. Refuses at once what could not be finished: a missing or read-only folder, a foreign folder, a size or
    /// rate that the format cannot hold, an environment that would change the encoder's bytes.
    ///
    /// # Errors
    /// As said, plus bad metadata.
    pub fn create(path: &Path, format: Format, options: &WriteOptions) -> Result<Self> {
        options.check()?;
        if format != Format::PngFrames && path.is_dir() {
            return Err(Error::Io {
                op: "write",
                path: path.into(),
                source: std::io::ErrorKind::IsADirectory.into(),
            });
        }
        let encoder: Option<Box<dyn ClipEncoder>> = match format {
            Format::Mp4 => Some(Box::new(Mp4Encoder::new(options)?)),
            Format::WebM => Some(Box::new(WebMEncoder::new(options)?)),
            Format::Gif => Some(Box::new(GifEncoder::new(options)?)),
            Format::WebP => Some(Box::new(WebPEncoder::new(options)?)),
            Format::Png => Some(Box::new(PngEncoder::new(options))),
            Format::PngFrames => None,
        };
        let output = match encoder {
            Some(encoder) => Output::File {
                encoder,
                spool: Spool::beside(path)?,
            },
            None => Output::Folder(FolderWriter::create(path, options)?),
        };
        Ok(Self {
            path: path.into(),
            options: options.clone(),
            format,
            output,
            frames: 0,
        })
    }

    /// Adds one frame.
    ///
    /// # Errors
    /// A frame of another size, a second frame for [`Format::Png`], an encoder's refusal, a full disk.
    pub fn push(&mut self, frame: &Frame) -> Result<()> {
        let (w, h) = (self.options.width_px, self.options.height_px);
        if (frame.width_px, frame.height_px) != (w, h) {
            return Err(Error::FrameSizeMismatch {
                expected_width_px: w,
                expected_height_px: h,
                width_px: frame.width_px,
                height_px: frame.height_px,
            });
        }
        match &mut self.output {
            Output::File { encoder, spool } => encoder.push(frame, spool)?,
            Output::Folder(folder) => folder.push(frame)?,
        }
        self.frames += 1;
        Ok(())
    }

    /// Frames pushed so far.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Completes the file under its temporary name.
    ///
    /// # Errors
    /// [`Error::NoFrames`], an encoder's refusal, a full disk.
    pub fn seal(self) -> Result<SealedClip> {
        if self.frames == 0 {
            return Err(Error::NoFrames);
        }
        let (sealed, codec) = match self.output {
            Output::File { mut encoder, mut spool } => {
                let mut out = TempFile::beside(&self.path)?;
                encoder.finish(&mut spool, &mut out)?;
                (Sealed::File(out.close()?), encoder.codec())
            }
            Output::Folder(folder) => (Sealed::Folder(folder.close()?), "png"),
        };
        let duration_ms = if self.format == Format::Png {
            0
        } else {
            self.options.fps.duration_ms(self.frames)
        };
        Ok(SealedClip {
            sealed,
            frames: self.frames,
            duration_ms,
            codec,
        })
    }

    /// Completes the file and gives it its name: [`ClipWriter::seal`] and [`SealedClip::publish`].
    ///
    /// # Errors
    /// As those two.
    pub fn finish(self) -> Result<WrittenClip> {
        self.seal()?.publish()
    }
}

enum Sealed {
    File(TempPath),
    Folder(crate::png::ClosedFolder),
}

/// A complete file that does not have its name yet: the place to sign or otherwise rewrite it. Dropping it removes it.
pub struct SealedClip {
    sealed: Sealed,
    frames: u64,
    duration_ms: u64,
    codec: &'static str,
}

impl std::fmt::Debug for SealedClip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealedClip")
            .field("path", &self.path())
            .field("frames", &self.frames)
            .finish()
    }
}

impl SealedClip {
    /// The temporary file or folder, on the same disk as the target.
    #[must_use]
    pub fn path(&self) -> &Path {
        match &self.sealed {
            Sealed::File(temp) => temp.path(),
            Sealed::Folder(folder) => folder.temp.path(),
        }
    }

    /// Measures the file as it is now and renames it onto the target.
    ///
    /// # Errors
    /// What the system says; the target is then as it was.
    pub fn publish(self) -> Result<WrittenClip> {
        let (path, bytes, hash) = match self.sealed {
            Sealed::File(temp) => {
                let (bytes, hash) = measure(temp.path())?;
                (temp.publish()?, bytes, hash)
            }
            Sealed::Folder(folder) => {
                let (bytes, hash) = (folder.bytes, folder.hash.clone());
                (folder.publish()?, bytes, hash)
            }
        };
        let sha256 = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
        Ok(WrittenClip {
            path,
            bytes,
            frames: self.frames,
            duration_ms: self.duration_ms,
            codec: self.codec,
            sha256,
        })
    }
}

fn measure(path: &Path) -> Result<(u64, Sha256)> {
    let mut file = std::fs::File::open(path).map_err(Error::io("read back", path))?;
    let (mut hash, mut bytes, mut block) = (Sha256::new(), 0, vec![0; 1 << 18]);
    loop {
        let n = file.read(&mut block).map_err(Error::io("read back", path))?;
        if n == 0 {
            return Ok((bytes, hash));
        }
        hash.update(&block[..n]);
        bytes += n as u64;
    }
}
