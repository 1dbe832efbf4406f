//! The key and value pairs kept in a file.

use crate::reader::Limits;
use crate::sniff::{Kind, sniff};
use crate::{Result, gif, mp4, png, webm, webp};
use std::path::Path;

/// What a file says about itself: everything that [`crate::WriteOptions::metadata`] put there, under the same keys, or what
/// other programs put in the same places. A file without any gives an empty list.
///
/// # Errors
/// Missing, unreadable, damaged or unknown files.
pub fn read_metadata(path: &Path) -> Result<Vec<(String, String)>> {
    let limits = Limits::default();
    match sniff(path)? {
        Kind::Mp4 => Ok(mp4::open(path, &limits)?.metadata),
        Kind::Matroska => Ok(webm::open(path, &limits)?.metadata),
        Kind::Gif => Ok(gif::scan(&limits.read_file(path)?)?.metadata),
        Kind::WebP => Ok(webp::metadata(&limits.read_file(path)?)),
        Kind::Png => png::metadata(&limits.read_file(path)?),
        Kind::Folder => Ok(png::read_folder(path)?.metadata),
        Kind::Jpeg | Kind::Foreign(..) | Kind::OtherImage(_) => Ok(Vec::new()),
    }
}
