//! H.264 access units to frames through `rusty_h264`, for files from anywhere.
//!
//! The codec takes 8-bit 4:2:0 progressive streams of all common profiles. Everything that a hostile header could ask for
//! is checked before the codec sees it, and a panic inside the codec becomes an error: it owns no state that outlives it.

use super::{Sps, nal_type};
use crate::colour::{I420, Tags};
use crate::error::guarded;
use crate::{Error, Frame, Result};
use rusty_h264::{Decoder, YuvFrame};

/// A decoder for one track.
pub(crate) struct H264Decoder {
    decoder: Decoder,
    sps: Sps,
    tags: Tags,
    length_size: usize,
    headers: Vec<u8>,
    max_pixels: u64,
}

const FFMPEG_HINT: &str =
    "install ffmpeg (it is used when found), or convert with `ffmpeg -i FILE -pix_fmt yuv420p out.mp4`";

impl H264Decoder {
    /// A decoder from an `avcC` box; `colour` is a `colr` box's `(matrix, full range)`.
    pub(crate) fn new(avcc: &[u8], colour: Option<(u8, bool)>, max_pixels: u64) -> Result<Self> {
        let (length_size, nals) = read_avcc(avcc).ok_or_else(|| Error::malformed("mp4", "the avcC box is damaged"))?;
        let first = nals.iter().find(|n| nal_type(n) == 7);
        let sps = first
            .and_then(|n| Sps::parse(n))
            .ok_or_else(|| Error::malformed("h264", "no readable sequence header"))?;
        check(&sps, max_pixels)?;
        let mut headers = Vec::new();
        nals.iter().for_each(|n| push_nal(&mut headers, n));
        let tags = sps.tags(colour);
        Ok(Self {
            decoder: Decoder::new(),
            sps,
            tags,
            length_size,
            headers,
            max_pixels,
        })
    }

    /// The stream's picture size after cropping.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.sps.width, self.sps.height)
    }

    /// Decodes one sample; `None` when it completes no picture.
    pub(crate) fn decode(&mut self, sample: &[u8]) -> Result<Option<Frame>> {
        let mut stream = std::mem::take(&mut self.headers);
        let mut rest = sample;
        while !rest.is_empty() {
            let Some((length, after)) = rest.split_at_checked(self.length_size) else {
                break;
            };
            let n = length.iter().fold(0usize, |n, &b| n << 8 | usize::from(b));
            let (nal, after) = after
                .split_at_checked(n)
                .ok_or_else(|| Error::malformed("h264", "a unit is longer than its sample"))?;
            if nal_type(nal) == 7 {
                let sps = Sps::parse(nal).ok_or_else(|| Error::malformed("h264", "a sequence header is damaged"))?;
                check(&sps, self.max_pixels)?;
                if (sps.width, sps.height) != self.size() {
                    return Err(Error::malformed("h264", "the picture size changes within the clip"));
                }
            }
            push_nal(&mut stream, nal);
            rest = after;
        }
        let picture = guarded("h264", || Ok(self.decoder.decode(&stream)))?;
        match picture {
            Ok(None) => Ok(None),
            Ok(Some(p)) => self.to_frame(p).map(Some),
            Err(rusty_h264::DecodeError::Unsupported(what)) => Err(Error::Unsupported {
                what: format!("this kind of h264 ({what})"),
                hint: FFMPEG_HINT.into(),
            }),
            Err(e) => Err(Error::malformed("h264", e.to_string())),
        }
    }

    fn to_frame(&self, p: YuvFrame) -> Result<Frame> {
        let planes = I420 {
            width: p.width,
            height: p.height,
            y: p.y,
            u: p.u,
            v: p.v,
        };
        let chroma = planes.width.div_ceil(2) * planes.height.div_ceil(2);
        let sound = (planes.width, planes.height) == self.size()
            && planes.y.len() == planes.width * planes.height
            && planes.u.len() == chroma
            && planes.v.len() == chroma;
        if !sound {
            return Err(Error::malformed("h264", "a picture has another size than its header"));
        }
        Frame::new(planes.width as u32, planes.height as u32, planes.to_rgb(self.tags))
    }
}

fn push_nal(stream: &mut Vec<u8>, nal: &[u8]) {
    stream.extend_from_slice(&[0, 0, 0, 1]);
    stream.extend_from_slice(nal);
}

/// Refuses what the codec cannot decode or what is too large, with the reason.
fn check(sps: &Sps, max_pixels: u64) -> Result<()> {
    if sps.coded_pixels > max_pixels {
        return Err(Error::TooLarge {
            what: "the number of pixels in a frame",
            got: sps.coded_pixels,
            limit: max_pixels,
        });
    }
    let odd_kind = match (sps.chroma_format, sps.bit_depth, sps.progressive) {
        (1, 8, true) => return Ok(()),
        (1, 8, false) => "interlaced h264".to_string(),
        (1, depth, _) => format!("{depth}-bit h264"),
        (0, ..) => "black-and-white h264".to_string(),
        (2, ..) => "4:2:2 h264".to_string(),
        _ => "4:4:4 h264".to_string(),
    };
    Err(Error::Unsupported {
        what: odd_kind,
        hint: FFMPEG_HINT.into(),
    })
}

/// The length size and all parameter sets of an `avcC` payload.
fn read_avcc(avcc: &[u8]) -> Option<(usize, Vec<&[u8]>)> {
    let length_size = usize::from(avcc.get(4)? & 3) + 1;
    let mut nals = Vec::new();
    let mut at = 5;
    for mask in [31, 255] {
        let count = avcc.get(at)? & mask;
        at += 1;
        for _ in 0..count {
            let n = usize::from(u16::from_be_bytes([*avcc.get(at)?, *avcc.get(at + 1)?]));
            nals.push(avcc.get(at + 2..at + 2 + n)?);
            at += 2 + n;
        }
    }
    Some((length_size, nals))
}
