//! Frames to H.264 access units through `rusty_h264`.
//!
//! Settings: High profile, the *Balanced* preset (the crate's `new` starts from *Fast* whatever its text says), constant
//! quantiser, a key frame at scene cuts and at least every two seconds so that seeking is quick, no B-frames. The encoder
//! looks ahead over at most 40 frames and returns several access units at once.

use super::{nal_type, split_annex_b, sps};
use crate::colour::{I420, Tags};
use crate::{Error, Fps, Frame, Quality, Result};
use rusty_h264::{Encoder, EncoderConfig, Preset, Profile, YuvFrame};

/// One coded picture: its slices, each with a 4-byte length in front (the way MP4 stores them).
#[derive(Debug)]
pub(crate) struct AccessUnit {
    pub data: Vec<u8>,
    pub key: bool,
}

/// An encoder for one clip.
pub(crate) struct H264Encoder {
    encoder: Encoder,
    fps: Fps,
    sps: Vec<u8>,
    pps: Vec<u8>,
}

/// Prefixes of the variables that change what the codec does.
const KNOBS: [&str; 4] = ["RUSTY_H264_", "RFF_", "RS_H264_", "RH264_"];

/// `(level_idc, macroblocks a second)` of H.264 table A-1; the codec itself raises the level for the frame size.
const LEVELS: [(u8, u64); 9] = [
    (30, 40_500),
    (31, 108_000),
    (32, 216_000),
    (40, 245_760),
    (42, 522_240),
    (50, 589_824),
    (51, 983_040),
    (52, 2_073_600),
    (62, 16_711_680),
];

fn failed(detail: impl std::fmt::Display) -> Error {
    Error::Encode {
        codec: "h264",
        detail: detail.to_string(),
    }
}

impl H264Encoder {
    /// An encoder for frames of this size.
    ///
    /// # Errors
    /// Odd sides (4:2:0 cropping counts in steps of two), sides beyond 4096, or a variable set that changes the bytes.
    pub(crate) fn new(width_px: u32, height_px: u32, fps: Fps, quality: Quality) -> Result<Self> {
        if let Some((name, _)) =
            std::env::vars_os().find(|(k, _)| KNOBS.iter().any(|p| k.to_string_lossy().starts_with(p)))
        {
            return Err(Error::EnvironmentInfluence {
                variable: name.to_string_lossy().into_owned(),
            });
        }
        if width_px % 2 == 1 || height_px % 2 == 1 {
            return Err(Error::InvalidOption {
                option: "size",
                reason: format!("mp4 needs an even width and height, got {width_px}x{height_px}"),
                hint: format!(
                    "{}x{}, or the format webm, webp, gif or png-frames",
                    (width_px + 1) & !1,
                    (height_px + 1) & !1
                ),
            });
        }
        if !(16..=4096).contains(&width_px) || !(16..=4096).contains(&height_px) {
            return Err(Error::InvalidOption {
                option: "size",
                reason: format!("mp4 takes sides from 16 to 4096, got {width_px}x{height_px}"),
                hint: "another size, or the format png-frames".into(),
            });
        }
        let mut config = EncoderConfig::new(width_px as usize, height_px as usize);
        config.preset = Preset::Balanced;
        config.profile = Profile::High;
        config.qp = quality.h264_qp();
        config.framerate = fps.as_f64() as f32;
        config.gop_size = (fps.as_f64() * 2.0).round().clamp(12.0, 250.0) as u32;
        let blocks = u64::from(width_px.div_ceil(16)) * u64::from(height_px.div_ceil(16));
        let per_second = blocks * u64::from(fps.num) / u64::from(fps.den);
        config.level_idc = LEVELS.iter().find(|l| l.1 >= per_second).map_or(62, |l| l.0);
        Ok(Self {
            encoder: Encoder::new(config).map_err(failed)?,
            fps,
            sps: Vec::new(),
            pps: Vec::new(),
        })
    }

    /// Takes one frame and returns what is finished so far, often nothing.
    pub(crate) fn push(&mut self, frame: &Frame) -> Result<Vec<AccessUnit>> {
        let I420 { width, height, y, u, v } = I420::from_frame(frame, Tags::MP4);
        let stream = self
            .encoder
            .try_encode(&YuvFrame { width, height, y, u, v })
            .map_err(failed)?;
        self.split(&stream)
    }

    /// Returns the access units that were still being looked at.
    pub(crate) fn flush(&mut self) -> Result<Vec<AccessUnit>> {
        let stream = self.encoder.try_flush().map_err(failed)?;
        self.split(&stream)
    }

    /// The sequence and picture headers; empty before the first access unit.
    pub(crate) fn headers(&self) -> (&[u8], &[u8]) {
        (&self.sps, &self.pps)
    }

    fn split(&mut self, stream: &[u8]) -> Result<Vec<AccessUnit>> {
        let mut units: Vec<AccessUnit> = Vec::new();
        for nal in split_annex_b(stream) {
            match nal_type(nal) {
                7 => keep_header(
                    &mut self.sps,
                    sps::with_vui(nal, self.fps).ok_or_else(|| failed("unexpected sequence header"))?,
                )?,
                8 => keep_header(&mut self.pps, nal.to_vec())?,
                kind @ (1 | 5) => {
                    // A slice whose first macroblock is number 0 (Exp-Golomb code "1") opens a picture.
                    if units.is_empty() || nal.get(1).is_some_and(|b| b & 0x80 != 0) {
                        units.push(AccessUnit {
                            data: Vec::with_capacity(nal.len() + 4),
                            key: kind == 5,
                        });
                    }
                    if let Some(unit) = units.last_mut() {
                        unit.data.extend_from_slice(&(nal.len() as u32).to_be_bytes());
                        unit.data.extend_from_slice(nal);
                    }
                }
                _ => {}
            }
        }
        Ok(units)
    }
}

/// A clip that is given up needs no end, but the codec's debug build panics over pictures that nobody asked for.
#[cfg(debug_assertions)]
impl Drop for H264Encoder {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            drop(self.encoder.try_flush());
        }
    }
}

/// The headers are repeated at each key frame and move into the container once, so they must not change.
fn keep_header(kept: &mut Vec<u8>, new: Vec<u8>) -> Result<()> {
    if kept.is_empty() {
        *kept = new;
    } else if *kept != new {
        return Err(failed("the headers changed within the clip"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clip_may_be_given_up() {
        let mut encoder = H264Encoder::new(64, 64, Fps::new(12, 1).unwrap(), Quality::default()).unwrap();
        let frame = Frame::new(64, 64, vec![90; 64 * 64 * 3]).unwrap();
        assert!(encoder.push(&frame).unwrap().is_empty(), "the codec still looks at it");
        drop(encoder);
    }
}
