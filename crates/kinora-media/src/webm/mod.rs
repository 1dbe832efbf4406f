//! WebM: VP8 key frames in our own Matroska writer (`write`) and a reader for the same subset (`read`).
//!
//! **Source**: RFC 8794 (EBML) and RFC 9559 (Matroska). Colours are tagged BT.601 limited with chroma in the centre, which
//! is what VP8 means. All frames are key frames: any player can start anywhere, at the price of size.

mod ebml;
mod read;
mod write;

pub(crate) use read::{WebMClip, open};
pub(crate) use write::WebMEncoder;
