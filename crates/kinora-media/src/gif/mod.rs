//! Animated GIF: one palette for the whole clip, Floyd-Steinberg dither, delays that add up to the right time.
//!
//! A good palette needs all frames, so frames wait on the disk, losslessly compressed, while a histogram is gathered.
//! Delays are hundredths of a second: each frame starts at the rounded exact time (24 a second gives 4 4 4 5 ...), so the
//! clip never drifts. **Source**: CompuServe, "GIF89a Specification".

mod palette;
mod read;

pub(crate) use read::{GifClip, scan};

use crate::temp::{Spool, TempFile};
use crate::writer::{ClipEncoder, WriteOptions};
use crate::{Error, Frame, Result, png};
use ::gif::{AnyExtension, Encoder, Extension, Repeat};
use palette::{Histogram, Mapper};

/// The application extension that holds our key-value pairs: eleven letters, then `key NUL value` in sub-blocks.
const ENTRY_EXTENSION: &[u8; 11] = b"KINORAKV1.0";

/// Browsers slow down delays below two hundredths.
const MAX_FPS: f64 = 50.0;

/// Animated GIF.
pub(crate) struct GifEncoder {
    options: WriteOptions,
    histogram: Histogram,
}

impl GifEncoder {
    pub(crate) fn new(options: &WriteOptions) -> Result<Self> {
        if options.fps.as_f64() > MAX_FPS {
            return Err(Error::InvalidOption {
                option: "fps",
                reason: format!("gif players cannot show {} frames a second", options.fps),
                hint: "at most 50, or the format mp4, webm or webp".into(),
            });
        }
        Ok(Self {
            options: options.clone(),
            histogram: Histogram::new(),
        })
    }
}

fn failed(e: impl std::fmt::Display) -> Error {
    Error::Encode {
        codec: "gif",
        detail: e.to_string(),
    }
}

impl ClipEncoder for GifEncoder {
    fn codec(&self) -> &'static str {
        "gif"
    }

    fn push(&mut self, frame: &Frame, spool: &mut Spool) -> Result<()> {
        self.histogram.add(&frame.rgb);
        spool.push(&png::encode(frame, &[], true)?)
    }

    fn finish(&mut self, spool: &mut Spool, out: &mut TempFile) -> Result<()> {
        let colours = self.histogram.palette();
        let (w, h) = (self.options.width_px as u16, self.options.height_px as u16);
        let mut encoder = Encoder::new(Vec::new(), w, h, &colours.concat()).map_err(failed)?;
        encoder.set_repeat(Repeat::Infinite).map_err(failed)?;
        for (key, value) in &self.options.metadata {
            if key == "comment" {
                let parts: Vec<&[u8]> = value.as_bytes().chunks(255).collect();
                encoder
                    .write_raw_extension(AnyExtension::from(Extension::Comment), &parts)
                    .map_err(failed)?;
            } else {
                let pair = [key.as_bytes(), &[0], value.as_bytes()].concat();
                let parts: Vec<&[u8]> = [&ENTRY_EXTENSION[..]].into_iter().chain(pair.chunks(255)).collect();
                encoder
                    .write_raw_extension(AnyExtension::from(Extension::Application), &parts)
                    .map_err(failed)?;
            }
        }
        let mut mapper = Mapper::new(&colours);
        let fps = self.options.fps;
        spool.replay(|i, sample| {
            let frame = png::decode(sample, u64::MAX)?.frame;
            let delay = fps.ticks(i as u64 + 1, 100) - fps.ticks(i as u64, 100);
            let indexed = ::gif::Frame {
                width: w,
                height: h,
                delay: u16::try_from(delay).unwrap_or(u16::MAX),
                buffer: mapper.dither(&frame).into(),
                ..Default::default()
            };
            encoder.write_frame(&indexed).map_err(failed)?;
            out.write(encoder.get_ref())?;
            encoder.get_mut().clear();
            Ok(())
        })?;
        out.write(&encoder.into_inner().map_err(failed)?)
    }
}
