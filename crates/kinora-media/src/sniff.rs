//! What a file is, by its first bytes; names prove nothing.

use crate::{Error, Result};
use std::io::Read;
use std::path::Path;

/// The kinds of files that are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Folder,
    Png,
    Jpeg,
    Gif,
    WebP,
    Mp4,
    Matroska,
    /// A video that only `ffmpeg` reads: its name and ffmpeg's name for the container.
    Foreign(&'static str, &'static str),
    /// An image that is not read, by name.
    OtherImage(&'static str),
}

/// Looks at a path.
///
/// # Errors
/// What the system says, an empty file, or unknown bytes.
pub(crate) fn sniff(path: &Path) -> Result<Kind> {
    let meta = std::fs::metadata(path).map_err(Error::io("read", path))?;
    if meta.is_dir() {
        return Ok(Kind::Folder);
    }
    if !meta.is_file() {
        return Err(Error::Unsupported {
            what: format!("{} (a device or pipe)", path.display()),
            hint: "copy it to a file first".into(),
        });
    }
    let file = std::fs::File::open(path).map_err(Error::io("read", path))?;
    let mut head = Vec::new();
    file.take(512).read_to_end(&mut head).map_err(Error::io("read", path))?;
    if head.is_empty() {
        return Err(Error::malformed("input", format!("{} is empty", path.display())));
    }
    kind_of(&head).ok_or_else(|| Error::Unsupported {
        what: format!("{} (neither an image nor a video that is known here)", path.display()),
        hint: "images: jpeg, png, webp, gif; videos: mp4, mov, webm, gif, webp, and more with ffmpeg installed".into(),
    })
}

fn kind_of(head: &[u8]) -> Option<Kind> {
    let at = |i: usize, magic: &[u8]| head.get(i..i + magic.len()) == Some(magic);
    Some(match head {
        _ if at(0, b"\x89PNG\r\n\x1a\n") => Kind::Png,
        _ if at(0, b"\xff\xd8\xff") => Kind::Jpeg,
        _ if at(0, b"GIF87a") || at(0, b"GIF89a") => Kind::Gif,
        _ if at(0, b"RIFF") && at(8, b"WEBP") => Kind::WebP,
        _ if at(0, b"RIFF") && at(8, b"AVI ") => Kind::Foreign("avi", "avi"),
        _ if at(4, b"ftyphei") || at(4, b"ftypmif1") || at(4, b"ftypheix") => Kind::OtherImage("a HEIC image"),
        _ if at(4, b"ftypavi") => Kind::OtherImage("an AVIF image"),
        _ if [b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"]
            .iter()
            .any(|k| at(4, &k[..])) =>
        {
            Kind::Mp4
        }
        _ if at(0, b"\x1a\x45\xdf\xa3") => Kind::Matroska,
        _ if at(0, b"OggS") => Kind::Foreign("ogg", "ogg"),
        _ if at(0, b"FLV\x01") => Kind::Foreign("flv", "flv"),
        _ if at(0, b"\x30\x26\xb2\x75") => Kind::Foreign("wmv", "asf"),
        _ if at(0, b"\0\0\x01\xba") => Kind::Foreign("mpeg", "mpeg"),
        _ if at(0, b"G") && at(188, b"G") && at(376, b"G") => Kind::Foreign("mpeg-ts", "mpegts"),
        _ if at(0, b"BM") => Kind::OtherImage("a BMP image"),
        _ if at(0, b"II*\0") || at(0, b"MM\0*") => Kind::OtherImage("a TIFF image"),
        _ => return None,
    })
}
