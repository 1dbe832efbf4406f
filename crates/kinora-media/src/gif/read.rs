//! Reading GIF from anywhere: a walk over the blocks for counts, times and texts; pictures through the `gif` crate, put
//! together on a canvas of our own.

use super::ENTRY_EXTENSION;
use crate::error::guarded;
use crate::reader::Limits;
use crate::{Error, Frame, Result};
use ::gif::{ColorOutput, DecodeOptions, Decoder, DisposalMethod, MemoryLimit};
use std::io::Cursor;
use std::num::NonZeroU64;

/// What the blocks say without decoding a picture.
#[derive(Debug, Default)]
pub(crate) struct GifInfo {
    pub width_px: u32,
    pub height_px: u32,
    pub frames: u64,
    /// Sum of the delays; those below 2 count as 10, as in browsers.
    pub hundredths: u64,
    pub metadata: Vec<(String, String)>,
    /// Whether the end mark was reached.
    pub whole: bool,
}

fn u16_at(file: &[u8], at: usize) -> Option<u32> {
    Some(u32::from(u16::from_le_bytes([*file.get(at)?, *file.get(at + 1)?])))
}

/// The bytes of a colour table by its flags.
fn table_bytes(flags: u8) -> usize {
    if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) }
}

/// Walks over all blocks; stops quietly where the file ends.
pub(crate) fn scan(file: &[u8]) -> Result<GifInfo> {
    let mut info = GifInfo::default();
    let head = file
        .get(..13)
        .ok_or_else(|| Error::malformed("gif", "the header is cut off"))?;
    info.width_px = u16_at(head, 6).unwrap_or(0);
    info.height_px = u16_at(head, 8).unwrap_or(0);
    let _ = walk(file, 13 + table_bytes(head[10]), &mut info);
    Ok(info)
}

fn walk(file: &[u8], mut at: usize, info: &mut GifInfo) -> Option<()> {
    let mut delay = 0;
    loop {
        match *file.get(at)? {
            0x21 => {
                let label = *file.get(at + 1)?;
                let (first, rest, next) = sub_blocks(file, at + 2)?;
                match label {
                    0xf9 => delay = u16_at(&first, 1).unwrap_or(0),
                    0xfe => info.metadata.push((
                        "comment".into(),
                        String::from_utf8_lossy(&[first, rest].concat()).into_owned(),
                    )),
                    0xff if first == ENTRY_EXTENSION => {
                        if let Some(cut) = rest.iter().position(|&b| b == 0) {
                            let (key, value) = (&rest[..cut], &rest[cut + 1..]);
                            info.metadata.push((
                                String::from_utf8_lossy(key).into_owned(),
                                String::from_utf8_lossy(value).into_owned(),
                            ));
                        }
                    }
                    _ => {}
                }
                at = next;
            }
            0x2c => {
                let flags = *file.get(at + 9)?;
                let (_, _, next) = sub_blocks(file, at + 11 + table_bytes(flags))?;
                info.frames += 1;
                info.hundredths += u64::from(if delay < 2 { 10 } else { delay });
                delay = 0;
                at = next;
            }
            0x3b => {
                info.whole = true;
                return Some(());
            }
            _ => return None,
        }
    }
}

/// The first sub-block, the others joined, and where the next block starts.
fn sub_blocks(file: &[u8], mut at: usize) -> Option<(Vec<u8>, Vec<u8>, usize)> {
    let (mut first, mut rest) = (None, Vec::new());
    loop {
        let n = usize::from(*file.get(at)?);
        let block = file.get(at + 1..at + 1 + n)?;
        at += 1 + n;
        match (n, &first) {
            (0, _) => return Some((first.unwrap_or_default(), rest, at)),
            (_, None) => first = Some(block.to_vec()),
            _ => rest.extend_from_slice(block),
        }
    }
}

/// A still or animation, decoded frame by frame.
pub(crate) struct GifClip {
    decoder: Decoder<Cursor<Vec<u8>>>,
    pub info: GifInfo,
    canvas: Vec<u8>,
    undo: Undo,
    matte: [u8; 3],
}

/// What to do with the canvas before the next frame.
enum Undo {
    Nothing,
    Clear([usize; 4]),
    Restore(Vec<u8>),
}

fn bad(e: ::gif::DecodingError) -> Error {
    Error::malformed("gif", e.to_string())
}

impl GifClip {
    pub(crate) fn open(file: Vec<u8>, limits: &Limits) -> Result<Self> {
        let info = scan(&file)?;
        limits.check_size(info.width_px, info.height_px)?;
        limits.check_frames(info.frames)?;
        if info.frames == 0 || !info.whole {
            return Err(Error::malformed("gif", "the file ends early"));
        }
        let mut options = DecodeOptions::new();
        options.set_color_output(ColorOutput::RGBA);
        options
            .set_memory_limit(NonZeroU64::new(limits.memory_bytes).map_or(MemoryLimit::Unlimited, MemoryLimit::Bytes));
        let decoder = guarded("gif", || options.read_info(Cursor::new(file)).map_err(bad))?;
        let pixels = info.width_px as usize * info.height_px as usize;
        let canvas = limits.matte.repeat(pixels);
        Ok(Self {
            decoder,
            info,
            canvas,
            undo: Undo::Nothing,
            matte: limits.matte,
        })
    }

    /// The next whole picture, or `None` after the last.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Frame>> {
        let (w, h) = (self.info.width_px as usize, self.info.height_px as usize);
        let decoder = &mut self.decoder;
        let Some(part) = guarded("gif", || Ok(decoder.read_next_frame().map_err(bad)?.cloned()))? else {
            return Ok(None);
        };
        let area = [
            usize::from(part.left),
            usize::from(part.top),
            usize::from(part.width),
            usize::from(part.height),
        ];
        match std::mem::replace(&mut self.undo, Undo::Nothing) {
            Undo::Nothing => {}
            Undo::Clear(old) => {
                let matte = self.matte;
                for_pixels(old, (w, h), |at, _| self.canvas[at..at + 3].copy_from_slice(&matte));
            }
            Undo::Restore(old) => self.canvas = old,
        }
        self.undo = match part.dispose {
            DisposalMethod::Background => Undo::Clear(area),
            DisposalMethod::Previous => Undo::Restore(self.canvas.clone()),
            _ => Undo::Nothing,
        };
        let canvas = &mut self.canvas;
        for_pixels(area, (w, h), |at, i| {
            if let Some(&[r, g, b, 128..=255]) = part.buffer.get(4 * i..4 * i + 4) {
                canvas[at..at + 3].copy_from_slice(&[r, g, b]);
            }
        });
        Frame::new(w as u32, h as u32, self.canvas.clone()).map(Some)
    }
}

/// Calls `each(byte offset on the canvas, index within the part)` for the part's pixels that lie on the canvas.
fn for_pixels(area: [usize; 4], canvas: (usize, usize), mut each: impl FnMut(usize, usize)) {
    let [left, top, width, height] = area;
    for y in 0..height.min(canvas.1.saturating_sub(top)) {
        for x in 0..width.min(canvas.0.saturating_sub(left)) {
            each(3 * ((top + y) * canvas.0 + left + x), y * width + x);
        }
    }
}
