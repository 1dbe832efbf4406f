//! One picture: 8-bit sRGB, row by row.

use crate::{Error, Result};

/// Longest side of a frame that this crate handles.
pub const MAX_SIDE_PX: u32 = 16_384;

/// A picture in 8-bit sRGB: row-major from the top left, three bytes (R, G, B) a pixel, no padding.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Frame {
    /// Width in pixels, 1 to [`MAX_SIDE_PX`].
    pub width_px: u32,
    /// Height in pixels, 1 to [`MAX_SIDE_PX`].
    pub height_px: u32,
    /// `3 * width_px * height_px` bytes.
    pub rgb: Vec<u8>,
}

impl Frame {
    /// A frame from its bytes.
    ///
    /// # Errors
    /// [`Error::InvalidFrame`] when a side is 0 or beyond [`MAX_SIDE_PX`], or the byte count is not `3 * width * height`.
    pub fn new(width_px: u32, height_px: u32, rgb: Vec<u8>) -> Result<Self> {
        let possible = (1..=MAX_SIDE_PX).contains(&width_px) && (1..=MAX_SIDE_PX).contains(&height_px);
        let expected_bytes = if possible {
            3 * u64::from(width_px) * u64::from(height_px)
        } else {
            0
        };
        if !possible || rgb.len() as u64 != expected_bytes {
            return Err(Error::InvalidFrame {
                width_px,
                height_px,
                expected_bytes,
                got_bytes: rgb.len() as u64,
            });
        }
        Ok(Self {
            width_px,
            height_px,
            rgb,
        })
    }

    /// A frame of one colour.
    ///
    /// # Errors
    /// As [`Frame::new`].
    pub fn filled(width_px: u32, height_px: u32, colour: [u8; 3]) -> Result<Self> {
        if width_px > MAX_SIDE_PX || height_px > MAX_SIDE_PX {
            return Self::new(width_px, height_px, Vec::new());
        }
        Self::new(
            width_px,
            height_px,
            colour.repeat(width_px as usize * height_px as usize),
        )
    }

    /// The pixel at column `x`, row `y`; black outside the frame.
    #[must_use]
    pub fn pixel(&self, x: u32, y: u32) -> [u8; 3] {
        if x >= self.width_px || y >= self.height_px {
            return [0; 3];
        }
        let at = 3 * (y as usize * self.width_px as usize + x as usize);
        [self.rgb[at], self.rgb[at + 1], self.rgb[at + 2]]
    }

    /// The BT.709-weighted grey version, one byte a pixel.
    #[must_use]
    pub fn luma(&self) -> Vec<u8> {
        self.rgb
            .chunks_exact(3)
            .map(|p| ((54 * u32::from(p[0]) + 183 * u32::from(p[1]) + 19 * u32::from(p[2]) + 128) >> 8) as u8)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        for (w, h, n) in [
            (0, 4, 0),
            (4, 0, 0),
            (2, 2, 11),
            (2, 2, 13),
            (u32::MAX, u32::MAX, 3),
            (20_000, 1, 60_000),
        ] {
            assert!(
                matches!(Frame::new(w, h, vec![0; n]), Err(Error::InvalidFrame { .. })),
                "{w}x{h} {n}"
            );
        }
        assert!(Frame::new(2, 2, vec![0; 12]).is_ok());
        assert!(Frame::filled(u32::MAX, 2, [0; 3]).is_err());
    }

    #[test]
    fn luma_of_grey_is_the_grey() {
        let f = Frame::filled(3, 2, [77, 77, 77]).unwrap();
        assert!(f.luma().iter().all(|&y| y == 77));
    }
}
