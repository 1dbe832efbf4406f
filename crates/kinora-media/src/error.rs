//! The one error type of this crate.

use std::path::{Path, PathBuf};

/// What can go wrong between frames and files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The byte count does not fit the stated size, or a side is zero or absurd.
    #[error("a frame of {width_px}x{height_px} needs {expected_bytes} bytes of rgb, got {got_bytes}")]
    InvalidFrame {
        /// Stated width.
        width_px: u32,
        /// Stated height.
        height_px: u32,
        /// `3 * width * height`, or 0 when that is not a possible size.
        expected_bytes: u64,
        /// Bytes that arrived.
        got_bytes: u64,
    },
    /// A frame of another size than the clip's.
    #[error("expected a frame of {expected_width_px}x{expected_height_px}, got {width_px}x{height_px}")]
    FrameSizeMismatch {
        /// The clip's width.
        expected_width_px: u32,
        /// The clip's height.
        expected_height_px: u32,
        /// The frame's width.
        width_px: u32,
        /// The frame's height.
        height_px: u32,
    },
    /// A frame rate that is not a positive number in the allowed range.
    #[error(
        "frame rate {text:?} {reason}\nhint: a number like 24 or 23.976, or a fraction like 30000/1001; from 0.01 to 1000"
    )]
    InvalidFps {
        /// What was given.
        text: String,
        /// Why it is refused.
        reason: &'static str,
    },
    /// A format name or file extension that is not ours.
    #[error("unknown format {got:?}\nhint: one of mp4, webm, gif, webp, png-frames, png")]
    UnknownFormat {
        /// What was given.
        got: String,
    },
    /// An option that the chosen format cannot honour.
    #[error("{option}: {reason}\nhint: {hint}")]
    InvalidOption {
        /// The option's name.
        option: &'static str,
        /// Why it is refused.
        reason: String,
        /// What to do instead.
        hint: String,
    },
    /// The operating system refused.
    #[error("could not {op} {}: {source}{}", path.display(), io_hint(source))]
    Io {
        /// What was being done, as a verb.
        op: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The target is a folder that holds other people's files.
    #[error("{} is not empty and was not written by kinora\nhint: choose a new folder", path.display())]
    ForeignFolder {
        /// The folder.
        path: PathBuf,
    },
    /// A clip or image without a single frame.
    #[error("no frame was given, so nothing was written")]
    NoFrames,
    /// Input beyond a limit, found before decoding.
    #[error("{what} is {got}, the limit is {limit}\nhint: a smaller file, or raise the limit")]
    TooLarge {
        /// The measured thing, with its unit.
        what: &'static str,
        /// The measured amount.
        got: u64,
        /// The limit.
        limit: u64,
    },
    /// The file ends early or contradicts itself.
    #[error("the {format} data is damaged: {detail}\nhint: the file may be truncated; copy or export it again")]
    Malformed {
        /// The format that was being read.
        format: &'static str,
        /// The first thing that did not fit.
        detail: String,
    },
    /// A sound file of a kind that is not read here.
    #[error("{what} cannot be read\nhint: {hint}")]
    Unsupported {
        /// The kind of file, codec or feature.
        what: String,
        /// What to do instead.
        hint: String,
    },
    /// An encoder refused its input.
    #[error("the {codec} encoder failed: {detail}")]
    Encode {
        /// The codec.
        codec: &'static str,
        /// The encoder's reason.
        detail: String,
    },
    /// A variable that would change the encoder's bytes is set.
    #[error("the environment variable {variable} would change the encoder's output\nhint: unset {variable}")]
    EnvironmentInfluence {
        /// The variable.
        variable: String,
    },
    /// The external `ffmpeg` failed.
    #[error("ffmpeg could not read {}: {detail}\nhint: try `ffmpeg -i FILE out.mp4` and use out.mp4", path.display())]
    ExternalTool {
        /// The input.
        path: PathBuf,
        /// The last line that it printed.
        detail: String,
    },
}

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An [`Error::Io`] maker for `map_err`.
    pub(crate) fn io(op: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_path_buf();
        move |source| Self::Io { op, path, source }
    }

    pub(crate) fn malformed(format: &'static str, detail: impl Into<String>) -> Self {
        Self::Malformed {
            format,
            detail: detail.into(),
        }
    }
}

/// The second line for the system errors that people really meet.
fn io_hint(source: &std::io::Error) -> &'static str {
    use std::io::ErrorKind as K;
    match source.kind() {
        K::StorageFull | K::QuotaExceeded => {
            "\nhint: free some space, or write to another disk; nothing was left behind"
        }
        K::ReadOnlyFilesystem | K::PermissionDenied => {
            "\nhint: choose a folder that you may write to, or check the rights"
        }
        K::NotFound => "\nhint: check the path; folders are not made for you",
        K::IsADirectory => "\nhint: a file name is needed, this is a folder",
        _ => "",
    }
}

/// Runs a third-party decoder; a panic inside it becomes [`Error::Malformed`]. The decoder must not be used again after.
pub(crate) fn guarded<T>(format: &'static str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Error::malformed(format, "the picture data makes no sense")))
}
