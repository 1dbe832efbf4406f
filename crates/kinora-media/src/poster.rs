//! The one frame that stands for a clip: the sharpest that is no fade.

use crate::{ClipReader, Error, Frame, Result, resize};

/// Picks a poster while the frames pass by; keeps one frame.
///
/// Sharpness is the mean absolute Laplacian of the luma. Frames that are nearly flat, black or white count almost nothing,
/// frames in the first and last tenth a little less, because clips begin and end with fades.
#[derive(Debug, Default)]
pub struct PosterPicker {
    best: Option<(f64, u64, Frame)>,
    seen: u64,
    expected: Option<u64>,
}

impl PosterPicker {
    /// A picker; `expected_frames`, where known, tells it where the clip's ends are.
    #[must_use]
    pub fn new(expected_frames: Option<u64>) -> Self {
        Self {
            best: None,
            seen: 0,
            expected: expected_frames,
        }
    }

    /// Looks at the next frame.
    pub fn push(&mut self, frame: &Frame) {
        let index = self.seen;
        self.seen += 1;
        let mut score = score(frame);
        if let Some(n) = self.expected.filter(|&n| n >= 10)
            && (index < n / 10 || index + n / 10 >= n)
        {
            score *= 0.85;
        }
        // A little more is no reason to move on: the first of equals wins.
        if self.best.as_ref().is_none_or(|b| score > b.0 * 1.0001) {
            self.best = Some((score, index, frame.clone()));
        }
    }

    /// The chosen frame and its index; `None` when there was no frame.
    #[must_use]
    pub fn finish(self) -> Option<(u64, Frame)> {
        self.best.map(|b| (b.1, b.2))
    }
}

/// The frame of a clip that stands best for it.
#[derive(Debug, Clone)]
pub struct BestFrame {
    /// The frame.
    pub frame: Frame,
    /// Which of the clip it is, from 0.
    pub index: u64,
    /// How many the clip has.
    pub frames: u64,
}

/// Reads a clip to its end for the frame that [`PosterPicker`] chooses.
///
/// **Errors**: those of the clip; [`Error::NoFrames`].
pub fn best_frame(clip: ClipReader) -> Result<BestFrame> {
    let mut picker = PosterPicker::new(Some(clip.info().frames));
    let mut frames = 0;
    for frame in clip {
        picker.push(&frame?);
        frames += 1;
    }
    let (index, frame) = picker.finish().ok_or(Error::NoFrames)?;
    Ok(BestFrame { frame, index, frames })
}

fn score(frame: &Frame) -> f64 {
    let (w, h) = (frame.width_px as usize, frame.height_px as usize);
    let luma = frame.luma();
    let n = luma.len() as f64;
    let mean = luma.iter().map(|&y| f64::from(y)).sum::<f64>() / n;
    let contrast = (luma.iter().map(|&y| (f64::from(y) - mean).powi(2)).sum::<f64>() / n).sqrt();
    let mut edges = 0u64;
    for y in 1..h.saturating_sub(1) {
        for x in 1..w.saturating_sub(1) {
            let at = |dx: usize, dy: usize| i32::from(luma[(y + dy - 1) * w + x + dx - 1]);
            edges += u64::from((4 * at(1, 1) - at(0, 1) - at(2, 1) - at(1, 0) - at(1, 2)).unsigned_abs());
        }
    }
    let faded = if contrast < 12.0 || !(20.0..=235.0).contains(&mean) {
        0.05
    } else {
        1.0
    };
    (edges as f64 / n + 0.01) * faded
}

/// The frame with its longest side reduced to `longest_px`; a smaller frame stays as it is.
///
/// # Errors
/// [`crate::Error::InvalidFrame`] for a side of 0.
pub fn thumbnail(frame: &Frame, longest_px: u32) -> Result<Frame> {
    let (w, h) = (frame.width_px, frame.height_px);
    let longest = w.max(h);
    if longest_px >= longest {
        return Ok(frame.clone());
    }
    let side = |s: u32| {
        if longest_px == 0 {
            0
        } else {
            ((u64::from(s) * u64::from(longest_px) + u64::from(longest) / 2) / u64::from(longest)).max(1) as u32
        }
    };
    resize(frame, side(w), side(h))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stripes(low: u8, high: u8, period: usize) -> Frame {
        let rgb = (0..64 * 48)
            .flat_map(|i| [if (i % 64) / period % 2 == 1 { high } else { low }; 3])
            .collect();
        Frame::new(64, 48, rgb).unwrap()
    }

    #[test]
    fn the_sharpest_frame_that_is_no_fade_wins() {
        let mut p = PosterPicker::new(Some(6));
        for f in [
            stripes(0, 0, 2),
            stripes(2, 9, 1),
            stripes(60, 180, 16),
            stripes(40, 200, 2),
            stripes(240, 255, 1),
            stripes(0, 0, 2),
        ] {
            p.push(&f);
        }
        let (index, frame) = p.finish().unwrap();
        assert_eq!((index, frame), (3, stripes(40, 200, 2)));
        assert!(PosterPicker::default().finish().is_none());
        let mut black = PosterPicker::new(None);
        black.push(&stripes(0, 0, 1));
        assert_eq!(black.finish().unwrap().0, 0);
    }

    #[test]
    fn thumbnails_keep_the_shape() {
        let f = stripes(0, 200, 8);
        let t = thumbnail(&f, 32).unwrap();
        assert_eq!((t.width_px, t.height_px), (32, 24));
        assert_eq!(thumbnail(&f, 100).unwrap(), f);
        assert!(thumbnail(&f, 0).is_err());
    }
}
