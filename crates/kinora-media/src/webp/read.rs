//! Reading WebP from anywhere: sizes and times from the chunks, pictures from `image-webp`.

use super::chunks;
use crate::error::guarded;
use crate::image::over_matte;
use crate::reader::Limits;
use crate::{Error, Frame, Result, xmp};
use std::io::Cursor;

/// Frame count and total milliseconds; a still counts as one frame of no time.
pub(crate) fn frames_and_duration(file: &[u8]) -> (u64, u64) {
    let durations = chunks(file.get(12..).unwrap_or_default())
        .filter(|c| c.0 == *b"ANMF")
        .map(|(_, p)| {
            let d = p.get(12..15).unwrap_or(&[0; 3]);
            u64::from(u32::from_le_bytes([d[0], d[1], d[2], 0]))
        });
    let (n, ms) = durations.fold((0, 0), |(n, ms), d| (n + 1, ms + d));
    (n.max(1), ms)
}

/// Entries of the XMP chunk.
pub(crate) fn metadata(file: &[u8]) -> Vec<(String, String)> {
    let packet = chunks(file.get(12..).unwrap_or_default()).find(|c| c.0 == *b"XMP ");
    packet
        .map(|(_, p)| xmp::read(&String::from_utf8_lossy(p)))
        .unwrap_or_default()
}

/// A still or animation, decoded frame by frame.
pub(crate) struct WebPClip {
    decoder: image_webp::WebPDecoder<Cursor<Vec<u8>>>,
    pub width_px: u32,
    pub height_px: u32,
    pub animated: bool,
    alpha: bool,
    left: u64,
    matte: [u8; 3],
}

fn bad(e: image_webp::DecodingError) -> Error {
    match e {
        image_webp::DecodingError::MemoryLimitExceeded => Error::TooLarge {
            what: "the memory that this webp asks for (bytes)",
            got: u64::MAX,
            limit: 0,
        },
        e => Error::malformed("webp", e.to_string()),
    }
}

impl WebPClip {
    pub(crate) fn open(file: Vec<u8>, limits: &Limits) -> Result<Self> {
        let stated = file
            .get(4..8)
            .and_then(|b| b.try_into().ok())
            .map_or(u32::MAX, u32::from_le_bytes);
        if u64::from(stated) + 8 > file.len() as u64 {
            return Err(Error::malformed("webp", "the file ends early"));
        }
        let (frames, _) = frames_and_duration(&file);
        limits.check_frames(frames)?;
        let mut decoder = guarded("webp", || image_webp::WebPDecoder::new(Cursor::new(file)).map_err(bad))?;
        let (width_px, height_px) = decoder.dimensions();
        limits.check_size(width_px, height_px)?;
        decoder.set_memory_limit(limits.memory_bytes as usize);
        let (animated, alpha) = (decoder.is_animated(), decoder.has_alpha());
        Ok(Self {
            decoder,
            width_px,
            height_px,
            animated,
            alpha,
            left: frames,
            matte: limits.matte,
        })
    }

    /// The next frame, or `None` after the last.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Frame>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let mut pixels = vec![0; self.decoder.output_buffer_size().unwrap_or(0)];
        guarded("webp", || {
            if self.animated {
                self.decoder.read_frame(&mut pixels).map(|_| ())
            } else {
                self.decoder.read_image(&mut pixels)
            }
            .map_err(bad)
        })?;
        let rgb = if self.alpha {
            over_matte(&pixels, self.matte)
        } else {
            pixels
        };
        Frame::new(self.width_px, self.height_px, rgb).map(Some)
    }
}
