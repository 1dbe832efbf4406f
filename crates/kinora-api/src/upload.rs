//! Files that come with a request. What they are is read from their first bytes: SDKs send most of them as
//! `application/octet-stream`.

use std::fmt;
use std::path::PathBuf;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::ApiError;

/// How many first bytes tell the kind of a file.
pub const HEAD_BYTES: usize = 64;
/// The longest `image_url`, as published; a data URL of this length holds 15 MiB.
pub const LONGEST_IMAGE_URL: usize = 20_971_520;

/// Kinds of files that requests bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MediaType {
    /// A JPEG picture.
    Jpeg,
    /// A PNG picture.
    Png,
    /// A WebP picture.
    Webp,
    /// A GIF, as a clip.
    Gif,
    /// A clip in an MP4 or QuickTime container.
    Mp4,
    /// A clip in a WebM or Matroska container.
    Webm,
}

impl MediaType {
    /// What may be a picture.
    pub const IMAGES: [Self; 3] = [Self::Jpeg, Self::Png, Self::Webp];
    /// What may be a clip.
    pub const CLIPS: [Self; 3] = [Self::Mp4, Self::Webm, Self::Gif];

    /// The kind of a file that begins with these bytes; [`HEAD_BYTES`] of them are enough.
    pub fn sniff(head: &[u8]) -> Option<Self> {
        match head {
            [0xFF, 0xD8, 0xFF, ..] => Some(Self::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1A, b'\n', ..] => Some(Self::Png),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Self::Webp),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Self::Gif),
            [_, _, _, _, b'f', b't', b'y', b'p', ..] => Some(Self::Mp4),
            [0x1A, 0x45, 0xDF, 0xA3, ..] => Some(Self::Webm),
            _ => None,
        }
    }

    /// Its name in `Content-Type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Webp => "image/webp",
            Self::Gif => "image/gif",
            Self::Mp4 => "video/mp4",
            Self::Webm => "video/webm",
        }
    }
}

/// Where the bytes of a file are.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    /// Here.
    Memory(Vec<u8>),
    /// In a file that the HTTP layer wrote under a name of its own.
    File(PathBuf),
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(bytes) => write!(f, "Memory({} bytes)", bytes.len()),
            Self::File(path) => write!(f, "File({path:?})"),
        }
    }
}

/// A file that came with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// How its sender calls it: data, never a path to open.
    pub file_name: Option<String>,
    /// What its sender says that it is; only repeated in messages.
    pub declared_type: Option<String>,
    /// Its first bytes, up to [`HEAD_BYTES`].
    pub head: Vec<u8>,
    /// How long it is.
    pub size_bytes: u64,
    /// Its bytes.
    pub content: Content,
}

impl Upload {
    /// A file whose bytes are in memory.
    pub fn from_bytes(file_name: Option<String>, declared_type: Option<String>, bytes: Vec<u8>) -> Self {
        Self {
            file_name,
            declared_type,
            head: bytes.iter().copied().take(HEAD_BYTES).collect(),
            size_bytes: bytes.len() as u64,
            content: Content::Memory(bytes),
        }
    }

    /// What it is.
    pub fn media_type(&self) -> Option<MediaType> {
        MediaType::sniff(&self.head)
    }

    /// Its kind, if that is among these.
    pub fn kind_among(&self, param: &str, supported: &[MediaType]) -> Result<MediaType, ApiError> {
        let found = self.media_type();
        if let Some(found) = found.filter(|found| supported.contains(found)) {
            return Ok(found);
        }
        let declared = self.declared_type.as_deref().unwrap_or("application/octet-stream");
        let got = found.map_or(declared, |found| found.as_str());
        let supported: Vec<&str> = supported.iter().map(|kind| kind.as_str()).collect();
        Err(ApiError::unsupported_file(param, got, &supported))
    }

    /// The file inside a `data:` URL, or `None` if it is a URL of another kind.
    ///
    /// **Errors**: a data URL that is not in base64.
    pub fn from_data_url(param: &str, url: &str) -> Option<Result<Self, ApiError>> {
        let scheme = url.get(..5)?;
        if !scheme.eq_ignore_ascii_case("data:") {
            return None;
        }
        let read = || {
            let (header, data) = url[5..].split_once(',')?;
            let declared = header.strip_suffix(";base64")?;
            let bytes = BASE64_STANDARD.decode(data.trim()).ok()?;
            let declared = (!declared.is_empty()).then(|| declared.to_owned());
            Some(Self::from_bytes(None, declared, bytes))
        };
        Some(read().ok_or_else(|| {
            let rule = "Expected a base64-encoded data URL, such as 'data:image/png;base64,…'.";
            ApiError::invalid_value(param, url, rule)
        }))
    }

    /// The file as a `data:` URL, if its bytes are in memory.
    pub fn to_data_url(&self) -> Option<String> {
        let Content::Memory(bytes) = &self.content else {
            return None;
        };
        let kind = self.media_type().map(|kind| kind.as_str());
        let kind = kind
            .or(self.declared_type.as_deref())
            .unwrap_or("application/octet-stream");
        Some(format!("data:{kind};base64,{}", BASE64_STANDARD.encode(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n....";

    #[test]
    fn kinds_are_read_from_bytes_not_from_claims() {
        let cases: [(&[u8], Option<MediaType>); 9] = [
            (b"\xff\xd8\xff\xe0", Some(MediaType::Jpeg)),
            (PNG, Some(MediaType::Png)),
            (b"RIFF\0\0\0\0WEBPVP8 ", Some(MediaType::Webp)),
            (b"RIFF\0\0\0\0WAVEfmt ", None),
            (b"GIF89a", Some(MediaType::Gif)),
            (b"\0\0\0\x20ftypisom", Some(MediaType::Mp4)),
            (b"\x1a\x45\xdf\xa3", Some(MediaType::Webm)),
            (b"", None),
            (b"#!/bin/sh", None),
        ];
        for (head, kind) in cases {
            assert_eq!(MediaType::sniff(head), kind, "{head:?}");
        }
        let upload = Upload::from_bytes(
            Some("upload".into()),
            Some("application/octet-stream".into()),
            PNG.into(),
        );
        assert_eq!(
            upload.kind_among("input_reference", &MediaType::IMAGES),
            Ok(MediaType::Png)
        );
        let text = Upload::from_bytes(None, Some("image/png".into()), b"not a picture".to_vec());
        let error = text.kind_among("input_reference", &MediaType::IMAGES).unwrap_err();
        assert_eq!(
            error.object.message,
            "Invalid file 'input_reference': unsupported mimetype ('image/png'). Supported file formats are \
             'image/jpeg', 'image/png', and 'image/webp'."
        );
    }

    #[test]
    fn data_urls_there_and_back() {
        let upload = Upload::from_bytes(None, Some("image/png".into()), PNG.into());
        let url = upload.to_data_url().unwrap();
        assert_eq!(Upload::from_data_url("image_url", &url), Some(Ok(upload)));
        assert_eq!(Upload::from_data_url("image_url", "https://example.org/a.png"), None);
        assert_eq!(Upload::from_data_url("image_url", "data"), None);
        assert_eq!(Upload::from_data_url("image_url", "日本語"), None);
        for bad in [
            "data:",
            "data:image/png,abc",
            "data:image/png;base64",
            "data:image/png;base64,@@",
        ] {
            assert_eq!(
                Upload::from_data_url("image_url", bad).unwrap().unwrap_err().status,
                400
            );
        }
    }
}
