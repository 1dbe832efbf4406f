//! The sequence parameter set: what a stream says about itself, and our rewriting of it.
//!
//! **Source**: ITU-T H.264, clauses 7.3.2.1.1 and E.1.1. The encoder writes no VUI, so players would guess the colours;
//! [`with_vui`] puts one in: square pixels, BT.709 limited range, chroma sited left, fixed timing, no reordering.

use super::bits::{BitReader, BitWriter, escape, unescape};
use crate::{Fps, colour::Matrix, colour::Siting, colour::Tags};

/// What a sequence parameter set says, as far as reading a clip needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sps {
    pub profile: u8,
    pub chroma_format: u32,
    pub bit_depth: u32,
    pub max_ref_frames: u32,
    pub width: usize,
    pub height: usize,
    pub coded_pixels: u64,
    pub progressive: bool,
    /// `(matrix_coefficients, full_range)` where the VUI states them.
    pub colour: Option<(u8, bool)>,
    /// Bits before the VUI flag, and that flag.
    vui_at: usize,
    has_vui: bool,
}

/// Profiles whose header carries chroma format, bit depth and scaling lists.
const HIGH_PROFILES: [u8; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];

impl Sps {
    /// Reads a NAL unit of type 7; `None` when it ends early or holds impossible numbers.
    pub(crate) fn parse(nal: &[u8]) -> Option<Self> {
        let payload = unescape(nal.get(1..)?);
        let mut r = BitReader::new(&payload);
        let profile = r.bits(8)? as u8;
        r.bits(16)?;
        r.ue()?;
        let (chroma_format, bit_depth) = if HIGH_PROFILES.contains(&profile) {
            high_fields(&mut r)?
        } else {
            (1, 8)
        };
        r.ue()?;
        match r.ue()? {
            0 => {
                r.ue()?;
            }
            1 => {
                r.bit()?;
                r.se()?;
                r.se()?;
                for _ in 0..r.ue().filter(|&n| n <= 255)? {
                    r.se()?;
                }
            }
            2 => {}
            _ => return None,
        }
        let max_ref_frames = r.ue()?;
        r.bit()?;
        let (mbs_x, units_y) = (u64::from(r.ue()?) + 1, u64::from(r.ue()?) + 1);
        let progressive = r.bit()?;
        if !progressive {
            r.bit()?;
        }
        r.bit()?;
        let (coded_w, coded_h) = (mbs_x * 16, units_y * 16 * if progressive { 1 } else { 2 });
        let mut crop = [0u64; 4];
        if r.bit()? {
            for c in &mut crop {
                *c = u64::from(r.ue()?);
            }
        }
        let unit_x = if matches!(chroma_format, 1 | 2) { 2 } else { 1 };
        let unit_y = if chroma_format == 1 { 2 } else { 1 } * if progressive { 1 } else { 2 };
        let width = coded_w.checked_sub(unit_x * (crop[0] + crop[1])).filter(|&w| w > 0)?;
        let height = coded_h.checked_sub(unit_y * (crop[2] + crop[3])).filter(|&h| h > 0)?;
        let vui_at = r.position();
        let has_vui = r.bit()?;
        let colour = if has_vui { vui_colour(&mut r) } else { None };
        Some(Self {
            profile,
            chroma_format,
            bit_depth,
            max_ref_frames,
            width: usize::try_from(width).ok()?,
            height: usize::try_from(height).ok()?,
            coded_pixels: coded_w * coded_h,
            progressive,
            colour,
            vui_at,
            has_vui,
        })
    }

    /// How to turn the stream's planes into RGB; `container` is a `colr` box's `(matrix, full range)`.
    pub(crate) fn tags(&self, container: Option<(u8, bool)>) -> Tags {
        let (code, full_range) = container.or(self.colour).unwrap_or((2, false));
        Tags {
            matrix: Matrix::from_code(code, self.width, self.height),
            full_range,
            siting: Siting::Left,
        }
    }
}

/// Chroma format and bit depth of a high profile, stepping over the scaling lists.
fn high_fields(r: &mut BitReader<'_>) -> Option<(u32, u32)> {
    let chroma_format = r.ue()?;
    if chroma_format == 3 {
        r.bit()?;
    }
    let depth = r.ue()?.max(r.ue()?).checked_add(8)?;
    r.bit()?;
    if r.bit()? {
        for list in 0..if chroma_format == 3 { 12 } else { 8 } {
            if !r.bit()? {
                continue;
            }
            let (mut last, mut next) = (8i32, 8i32);
            for _ in 0..if list < 6 { 16 } else { 64 } {
                if next != 0 {
                    next = last.wrapping_add(r.se()?).rem_euclid(256);
                }
                if next != 0 {
                    last = next;
                }
            }
        }
    }
    Some((chroma_format, depth))
}

/// The colour part of a VUI; `None` where it states none.
fn vui_colour(r: &mut BitReader<'_>) -> Option<(u8, bool)> {
    if r.bit()? && r.bits(8)? == 255 {
        r.bits(32)?;
    }
    if r.bit()? {
        r.bit()?;
    }
    if !r.bit()? {
        return None;
    }
    r.bits(3)?;
    let full_range = r.bit()?;
    let matrix = if r.bit()? { r.bits(24)? as u8 } else { 2 };
    Some((matrix, full_range))
}

/// The same NAL unit with a VUI; `None` when it is no plain sequence header or has one already.
///
/// Also clears the constraint flags that a High-profile stream cannot promise (it uses the 8x8 transform, which Main lacks).
pub(super) fn with_vui(nal: &[u8], fps: Fps) -> Option<Vec<u8>> {
    let sps = Sps::parse(nal)?;
    if sps.has_vui {
        return None;
    }
    let payload = unescape(nal.get(1..)?);
    let mut r = BitReader::new(&payload);
    let mut w = BitWriter::default();
    for i in 0..sps.vui_at {
        let bit = r.bit()?;
        w.bit(bit && !(sps.profile == 100 && (8..16).contains(&i)));
    }
    w.bit(true);
    w.bit(true); // aspect ratio: 1 = square
    w.bits(1, 8);
    w.bit(false); // no overscan statement
    w.bit(true); // video signal: unspecified format, limited range, BT.709 three times
    w.bits(5, 3);
    w.bit(false);
    w.bit(true);
    w.bits(0x01_01_01, 24);
    w.bit(true); // chroma location 0 (left) in both fields
    w.ue(0);
    w.ue(0);
    w.bit(true); // timing: a frame lasts two ticks
    w.bits(fps.den, 32);
    w.bits(fps.num * 2, 32);
    w.bit(true);
    w.bits(0, 3); // no NAL HRD, no VCL HRD, no picture structure
    w.bit(true); // restrictions: no reordering, so players need not wait
    w.bit(true);
    [0, 0, 16, 16, 0, sps.max_ref_frames].into_iter().for_each(|n| w.ue(n));
    let mut out = vec![nal[0]];
    out.extend(escape(&w.finish()));
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// High profile, level 3.0, 512x288, as the encoder writes it (by hand from the syntax table).
    fn plain(profile: u32) -> Vec<u8> {
        let mut w = BitWriter::default();
        w.bits(profile, 8);
        w.bits(0x40, 8);
        w.bits(30, 8);
        w.ue(0);
        if profile == 100 {
            [1, 0, 0].into_iter().for_each(|n| w.ue(n));
            w.bits(0, 2);
        }
        [0, 0, 4, 3].into_iter().for_each(|n| w.ue(n));
        w.bit(false);
        w.ue(31);
        w.ue(17);
        w.bits(0b11, 2);
        w.bit(false);
        w.bit(false);
        let mut nal = vec![0x67];
        nal.extend(escape(&w.finish()));
        nal
    }

    #[test]
    fn a_vui_is_added_once_and_read_back() {
        for profile in [77, 100] {
            let before = Sps::parse(&plain(profile)).unwrap();
            assert_eq!((before.width, before.height, before.colour), (512, 288, None));
            let nal = with_vui(&plain(profile), Fps::new(30000, 1001).unwrap()).unwrap();
            let after = Sps::parse(&nal).unwrap();
            assert_eq!((after.width, after.height, after.colour), (512, 288, Some((1, false))));
            assert_eq!(nal[2], if profile == 100 { 0 } else { 0x40 });
            assert!(with_vui(&nal, Fps::new(24, 1).unwrap()).is_none());
        }
    }

    #[test]
    fn truncated_headers_are_no_headers() {
        let nal = plain(100);
        for n in 0..nal.len() {
            assert!(Sps::parse(&nal[..n]).is_none(), "{n}");
        }
        assert!(Sps::parse(&[0x67; 64]).is_none_or(|s| s.width > 0));
    }
}
