//! Animated WebP: our own container around VP8 key frames, read back by `image-webp`.
//!
//! Every frame is a whole picture, so frames stream to the disk one by one and seeking is free; the price is a larger file
//! than with difference rectangles, which generated video, moving everywhere a little, would hardly profit from.
//! **Source**: Google, "WebP Container Specification".

mod read;

pub(crate) use read::{WebPClip, frames_and_duration, metadata};

use crate::temp::{Spool, TempFile};
use crate::writer::{ClipEncoder, WriteOptions};
use crate::{Error, Frame, Quality, Result, vp8, xmp};

/// Lossy animated WebP.
pub(crate) struct WebPEncoder {
    options: WriteOptions,
}

impl WebPEncoder {
    pub(crate) fn new(options: &WriteOptions) -> Result<Self> {
        vp8::check_size(options.width_px, options.height_px)?;
        Ok(Self {
            options: options.clone(),
        })
    }
}

impl ClipEncoder for WebPEncoder {
    fn codec(&self) -> &'static str {
        "vp8"
    }

    fn push(&mut self, frame: &Frame, spool: &mut Spool) -> Result<()> {
        spool.push(&vp8::encode(frame, self.options.quality)?)
    }

    fn finish(&mut self, spool: &mut Spool, out: &mut TempFile) -> Result<()> {
        let xmp = xmp::write(&self.options.metadata);
        let xmp_chunk = if xmp.is_empty() {
            Vec::new()
        } else {
            chunk(b"XMP ", xmp.as_bytes())
        };
        // Each frame: ANMF header 8 + 16, VP8 header 8, payload padded to even.
        let frames: u64 = spool.sizes.iter().map(|&s| 32 + u64::from(s) + u64::from(s % 2)).sum();
        let riff = 4 + 18 + 14 + frames + xmp_chunk.len() as u64;
        let riff = u32::try_from(riff).map_err(|_| Error::TooLarge {
            what: "the size of a webp file in bytes",
            got: riff,
            limit: u64::from(u32::MAX),
        })?;
        let (w, h) = (self.options.width_px, self.options.height_px);
        out.write(b"RIFF")?;
        out.write(&riff.to_le_bytes())?;
        out.write(b"WEBP")?;
        let flags = 0x02 | if xmp.is_empty() { 0 } else { 0x04 };
        out.write(&chunk(
            b"VP8X",
            &[&[flags, 0, 0, 0][..], &u24(w - 1), &u24(h - 1)].concat(),
        ))?;
        // Black background, loops for ever.
        out.write(&chunk(b"ANIM", &[0, 0, 0, 0xff, 0, 0]))?;
        let fps = self.options.fps;
        spool.replay(|i, sample| {
            let ms = fps.ticks(i as u64 + 1, 1000) - fps.ticks(i as u64, 1000);
            // Flag 2: replace the canvas instead of blending.
            let head = [&u24(0)[..], &u24(0), &u24(w - 1), &u24(h - 1), &u24(ms as u32), &[0x02]].concat();
            out.write(&chunk(b"ANMF", &[&head[..], &chunk(b"VP8 ", sample)].concat()))
        })?;
        out.write(&xmp_chunk)
    }
}

/// A picture that does not move: the simple form of the container, lossy, without metadata.
pub(crate) fn still(frame: &Frame, quality: Quality) -> Result<Vec<u8>> {
    vp8::check_size(frame.width_px, frame.height_px)?;
    let picture = chunk(b"VP8 ", &vp8::encode(frame, quality)?);
    // A frame of the largest size is far below the limit of the container.
    Ok(chunk(b"RIFF", &[&b"WEBP"[..], &picture].concat()))
}

fn u24(n: u32) -> [u8; 3] {
    let b = n.to_le_bytes();
    [b[0], b[1], b[2]]
}

/// A RIFF chunk, padded to an even length.
fn chunk(kind: &[u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 9);
    out.extend_from_slice(kind);
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(payload);
    out.resize(out.len() + payload.len() % 2, 0);
    out
}

/// The chunks of a RIFF body, up to the first that does not fit.
pub(crate) fn chunks(mut rest: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let kind = [*rest.first()?, *rest.get(1)?, *rest.get(2)?, *rest.get(3)?];
        let size = u32::from_le_bytes(rest.get(4..8)?.try_into().ok()?) as usize;
        let payload = rest.get(8..)?.get(..size)?;
        rest = rest.get(8 + size + size % 2..).unwrap_or_default();
        Some((kind, payload))
    })
}
