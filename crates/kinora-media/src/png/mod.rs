//! PNG: single images with text chunks, and folders of numbered frames (`sequence`).
//!
//! Texts are iTXt (UTF-8, uncompressed) under the registered keywords Title, Comment and Software, or their own key.
//! **Source**: W3C, "Portable Network Graphics (PNG) Specification".

mod sequence;

pub(crate) use sequence::{ClosedFolder, FolderInfo, FolderWriter, read_folder};

use crate::error::guarded;
use crate::image::over_matte;
use crate::temp::{Spool, TempFile};
use crate::writer::{ClipEncoder, WriteOptions};
use crate::{Error, Frame, Result};
use ::png::{
    BitDepth, ColorType, Compression, Decoder, DecodingError, Encoder, Limits, SrgbRenderingIntent, Transformations,
};
use std::io::Cursor;

/// Our names and PNG's keywords.
const KEYWORDS: [(&str, &str); 3] = [("title", "Title"), ("comment", "Comment"), ("encoder", "Software")];

/// A PNG file of a frame. `fast` trades size for speed.
pub(crate) fn encode(frame: &Frame, metadata: &[(String, String)], fast: bool) -> Result<Vec<u8>> {
    let failed = |e: ::png::EncodingError| Error::Encode {
        codec: "png",
        detail: e.to_string(),
    };
    let mut out = Vec::new();
    let mut encoder = Encoder::new(&mut out, frame.width_px, frame.height_px);
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_compression(if fast { Compression::Fast } else { Compression::Balanced });
    if !fast {
        encoder.set_source_srgb(SrgbRenderingIntent::Perceptual);
    }
    for (key, value) in metadata {
        let keyword = KEYWORDS.iter().find(|k| k.0 == key).map_or(key.as_str(), |k| k.1);
        encoder.add_itxt_chunk(keyword.into(), value.clone()).map_err(failed)?;
    }
    let mut writer = encoder.write_header().map_err(failed)?;
    writer.write_image_data(&frame.rgb).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(out)
}

/// A decoded PNG: flattened onto white where it has alpha.
pub(crate) struct Decoded {
    pub frame: Frame,
    pub exif: Option<Vec<u8>>,
    pub animated: bool,
}

/// Decodes a PNG, spending at most `memory_bytes`.
pub(crate) fn decode(file: &[u8], memory_bytes: u64) -> Result<Decoded> {
    decode_over(file, memory_bytes, [255; 3])
}

fn bad(e: DecodingError) -> Error {
    match e {
        DecodingError::LimitsExceeded => Error::TooLarge {
            what: "the memory that this png asks for (bytes)",
            got: u64::MAX,
            limit: 0,
        },
        e => Error::malformed("png", e.to_string()),
    }
}

/// Decodes a PNG onto a matte.
pub(crate) fn decode_over(file: &[u8], memory_bytes: u64, matte: [u8; 3]) -> Result<Decoded> {
    guarded("png", || {
        let limits = Limits {
            bytes: usize::try_from(memory_bytes).unwrap_or(usize::MAX),
        };
        let mut decoder = Decoder::new_with_limits(Cursor::new(file), limits);
        decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
        let mut reader = decoder.read_info().map_err(bad)?;
        let size = reader.output_buffer_size().filter(|&n| n as u64 <= memory_bytes);
        let size = size.ok_or(Error::TooLarge {
            what: "the memory that this png asks for (bytes)",
            got: u64::MAX,
            limit: memory_bytes,
        })?;
        let mut pixels = vec![0; size];
        let output = reader.next_frame(&mut pixels).map_err(bad)?;
        pixels.truncate(output.buffer_size());
        let rgb = match output.color_type {
            ColorType::Rgb => pixels,
            ColorType::Rgba => over_matte(&pixels, matte),
            ColorType::Grayscale => pixels.iter().flat_map(|&g| [g; 3]).collect(),
            ColorType::GrayscaleAlpha => {
                let rgba: Vec<u8> = pixels.chunks_exact(2).flat_map(|p| [p[0], p[0], p[0], p[1]]).collect();
                over_matte(&rgba, matte)
            }
            ColorType::Indexed => return Err(Error::malformed("png", "the palette was not expanded")),
        };
        let info = reader.info();
        let (animated, exif) = (
            info.animation_control.is_some(),
            info.exif_metadata.as_ref().map(|e| e.to_vec()),
        );
        Ok(Decoded {
            frame: Frame::new(output.width, output.height, rgb)?,
            exif,
            animated,
        })
    })
}

/// Width and height from the header.
pub(crate) fn size(file: &[u8]) -> Option<(u32, u32)> {
    let side = |at: usize| Some(u32::from_be_bytes(file.get(at..at + 4)?.try_into().ok()?));
    (file.get(12..16)? == b"IHDR").then_some(())?;
    Some((side(16)?, side(20)?))
}

/// All texts of a PNG file.
pub(crate) fn metadata(file: &[u8]) -> Result<Vec<(String, String)>> {
    /// Longest text that is unpacked.
    const MAX_TEXT_BYTES: usize = 16 << 20;
    guarded("png", || {
        let mut reader = Decoder::new(Cursor::new(file)).read_info().map_err(bad)?;
        // Texts may also follow the picture.
        let _ = reader.finish();
        let info = reader.info();
        let mut out: Vec<(String, String)> = info
            .uncompressed_latin1_text
            .iter()
            .map(|t| (t.keyword.clone(), t.text.clone()))
            .collect();
        for t in &info.utf8_text {
            let mut t = t.clone();
            if t.decompress_text_with_limit(MAX_TEXT_BYTES).is_ok() {
                out.push((t.keyword.clone(), t.get_text().unwrap_or_default()));
            }
        }
        for (key, _) in &mut out {
            if let Some(k) = KEYWORDS.iter().find(|k| k.1 == key) {
                *key = k.0.into();
            }
        }
        Ok(out)
    })
}

/// A clip of exactly one frame.
pub(crate) struct PngEncoder {
    options: WriteOptions,
}

impl PngEncoder {
    pub(crate) fn new(options: &WriteOptions) -> Self {
        Self {
            options: options.clone(),
        }
    }
}

impl ClipEncoder for PngEncoder {
    fn codec(&self) -> &'static str {
        "png"
    }

    fn push(&mut self, frame: &Frame, spool: &mut Spool) -> Result<()> {
        if !spool.sizes.is_empty() {
            return Err(Error::InvalidOption {
                option: "format",
                reason: "png holds one frame, but the clip has more".into(),
                hint: "png-frames for a folder of pictures, or mp4".into(),
            });
        }
        spool.push(&encode(frame, &self.options.metadata, false)?)
    }

    fn finish(&mut self, spool: &mut Spool, out: &mut TempFile) -> Result<()> {
        spool.replay(|_, sample| out.write(sample))
    }
}
