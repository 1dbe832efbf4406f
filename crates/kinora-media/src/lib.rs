//! Frames to files and back. This crate knows no tensor library: a [`Frame`] is 8-bit sRGB in memory, and everything else
//! is a file.
//!
//! **Writing** is [`ClipWriter`]: push frames one at a time, then finish. Frames are compressed as they come and wait on the
//! disk, so memory does not grow with the clip; the file appears under its name only when it is whole; the same frames give
//! the same bytes. **Reading** is [`ClipReader`] for clips and [`read_image`] for stills, both made for hostile input: limits
//! are checked before anything is decoded, and third-party decoders cannot take the program down. [`read_metadata`] and
//! [`probe`] look into a file without decoding. Around them: [`resize()`] and [`fit()`], [`Interpolator`],
//! [`PosterPicker`], [`ContactSheet`], [`psnr`] and [`ssim`].
//!
//! **A door for provenance**: a watermark changes each [`Frame`] before [`ClipWriter::push`], and a signer rewrites the whole
//! file at [`SealedClip::path`] between [`ClipWriter::seal`] and [`SealedClip::publish`].
//!
//! **Patents**: H.264 may need a licence where you live; [`Format::WebM`] (VP8) does not.
//!
//! ```
//! use kinora_media::{ClipReader, ClipWriter, Format, Fps, Frame, Limits, WriteOptions};
//! # fn main() -> kinora_media::Result<()> {
//! # let dir = std::env::temp_dir().join(format!("kinora-doc-{}", std::process::id()));
//! # std::fs::create_dir_all(&dir).ok();
//! let path = dir.join("fade.mp4");
//! let mut options = WriteOptions::new(64, 48, Fps::new(24, 1)?);
//! options.metadata.push(("title".into(), "a fade to white".into()));
//! let mut clip = ClipWriter::create(&path, Format::Mp4, &options)?;
//! for i in 0..12u8 {
//!     clip.push(&Frame::filled(64, 48, [i * 20; 3])?)?;
//! }
//! let written = clip.finish()?;
//! assert_eq!((written.frames, written.duration_ms), (12, 500));
//!
//! let reader = ClipReader::open(&path, &Limits::default())?;
//! assert_eq!(reader.info().fps, Fps::new(24, 1)?);
//! assert_eq!(reader.collect::<Result<Vec<_>, _>>()?.len(), 12);
//! # std::fs::remove_dir_all(&dir).ok();
//! # Ok(())
//! # }
//! ```

mod colour;
mod error;
mod ffmpeg;
mod format;
mod fps;
mod frame;
mod gif;
mod h264;
mod image;
mod interpolate;
mod metadata;
mod metrics;
mod mp4;
mod png;
mod poster;
mod reader;
mod resize;
mod sheet;
mod sniff;
mod temp;
mod vp8;
mod webm;
mod webp;
mod writer;
mod xmp;

pub use error::{Error, Result};
pub use format::{Format, Quality};
pub use fps::Fps;
pub use frame::{Frame, MAX_SIDE_PX};
pub use image::{ReadImage, read_image, write_image};
pub use interpolate::Interpolator;
pub use metadata::read_metadata;
pub use metrics::{psnr, ssim};
pub use poster::{BestFrame, PosterPicker, best_frame, thumbnail};
pub use reader::{ClipInfo, ClipReader, Limits, probe};
pub use resize::{Fit, fit, paste, resize};
pub use sheet::ContactSheet;
pub use writer::{ClipWriter, SealedClip, WriteOptions, WrittenClip};
