//! A contact sheet: evenly spaced frames of a clip in a grid.

use crate::resize::{Fit, fit, paste};
use crate::{Error, Frame, Result};

/// Collects tiles while the frames pass by; keeps only the sheet.
#[derive(Debug)]
pub struct ContactSheet {
    wanted: Vec<u64>,
    columns: u32,
    tile_width_px: u32,
    sheet: Option<(Frame, u32)>,
    seen: u64,
    placed: usize,
}

/// Space around tiles.
const GAP_PX: u32 = 4;
/// Colour of that space.
const GROUND: [u8; 3] = [24, 24, 27];

impl ContactSheet {
    /// A sheet of at most `tiles` tiles (fewer when the clip has fewer frames) of `tile_width_px`, in rows of `columns`.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for zeros or more than 1000 tiles.
    pub fn new(clip_frames: u64, tiles: u32, columns: u32, tile_width_px: u32) -> Result<Self> {
        if clip_frames == 0 || !(1..=1000).contains(&tiles) || columns == 0 || !(8..=2048).contains(&tile_width_px) {
            return Err(Error::InvalidOption {
                option: "contact sheet",
                reason: format!(
                    "{tiles} tiles of {tile_width_px} pixels in {columns} columns for {clip_frames} frames"
                ),
                hint: "1 to 1000 tiles of 8 to 2048 pixels".into(),
            });
        }
        Ok(Self {
            wanted: Self::indices(clip_frames, tiles),
            columns: columns.min(tiles),
            tile_width_px,
            sheet: None,
            seen: 0,
            placed: 0,
        })
    }

    /// The frames that go onto the sheet: the first, the last, and evenly spaced ones between; the middle one if only one.
    #[must_use]
    pub fn indices(clip_frames: u64, tiles: u32) -> Vec<u64> {
        let n = u64::from(tiles).min(clip_frames);
        match n {
            0 => Vec::new(),
            1 => vec![(clip_frames - 1) / 2],
            _ => (0..n)
                .map(|i| (i * (clip_frames - 1) + (n - 1) / 2) / (n - 1))
                .collect(),
        }
    }

    /// Looks at the next frame of the clip.
    ///
    /// # Errors
    /// A sheet larger than [`crate::MAX_SIDE_PX`].
    pub fn push(&mut self, frame: &Frame) -> Result<()> {
        let index = self.seen;
        self.seen += 1;
        if self.wanted.get(self.placed) != Some(&index) {
            return Ok(());
        }
        let (mut sheet, tile_height) = match self.sheet.take() {
            Some(s) => s,
            None => {
                let tile_height = (u64::from(frame.height_px) * u64::from(self.tile_width_px)
                    / u64::from(frame.width_px))
                .clamp(1, 4096) as u32;
                let rows = (self.wanted.len() as u32).div_ceil(self.columns);
                let columns = self.columns.min(self.wanted.len() as u32);
                let side = |n: u32, tile: u32| n * (tile + GAP_PX) + GAP_PX;
                (
                    Frame::filled(side(columns, self.tile_width_px), side(rows, tile_height), GROUND)?,
                    tile_height,
                )
            }
        };
        let tile = fit(frame, self.tile_width_px, tile_height, Fit::Contain { matte: GROUND })?;
        let (column, row) = (self.placed as u32 % self.columns, self.placed as u32 / self.columns);
        paste(
            &mut sheet,
            &tile,
            GAP_PX + column * (self.tile_width_px + GAP_PX),
            GAP_PX + row * (tile_height + GAP_PX),
        );
        self.placed += 1;
        self.sheet = Some((sheet, tile_height));
        Ok(())
    }

    /// The sheet; places of frames that never came stay empty.
    ///
    /// # Errors
    /// [`Error::NoFrames`] when not a single tile was placed.
    pub fn finish(self) -> Result<Frame> {
        self.sheet.map(|s| s.0).ok_or(Error::NoFrames)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_are_even_and_reach_both_ends() {
        assert_eq!(ContactSheet::indices(49, 7), [0, 8, 16, 24, 32, 40, 48]);
        assert_eq!(ContactSheet::indices(3, 8), [0, 1, 2]);
        assert_eq!(ContactSheet::indices(9, 1), [4]);
        assert_eq!(ContactSheet::indices(10, 3), [0, 5, 9]);
    }

    #[test]
    fn tiles_land_in_reading_order() {
        let mut s = ContactSheet::new(6, 6, 3, 20).unwrap();
        for i in 0..6u8 {
            s.push(&Frame::filled(40, 20, [i * 40, 0, 0]).unwrap()).unwrap();
        }
        let sheet = s.finish().unwrap();
        assert_eq!((sheet.width_px, sheet.height_px), (3 * 24 + 4, 2 * 14 + 4));
        for i in 0..6u32 {
            assert_eq!(sheet.pixel(10 + i % 3 * 24, 8 + i / 3 * 14)[0], i as u8 * 40);
        }
        assert_eq!(sheet.pixel(0, 0), GROUND);
        assert!(ContactSheet::new(0, 1, 1, 20).is_err() && ContactSheet::new(4, 0, 1, 20).is_err());
        assert!(matches!(
            ContactSheet::new(4, 2, 1, 20).unwrap().finish(),
            Err(Error::NoFrames)
        ));
    }
}
