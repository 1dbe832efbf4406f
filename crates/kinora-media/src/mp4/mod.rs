//! MP4 and MOV: our own muxer (`write`), demuxer (`read`) and the iTunes-style metadata list (`tags`).
//!
//! **Source**: ISO/IEC 14496-12 (boxes), 14496-15 (H.264 in them), 14496-14.

mod boxes;
mod read;
mod tags;
mod write;

pub(crate) use read::{Track, open};
pub(crate) use write::Mp4Encoder;
