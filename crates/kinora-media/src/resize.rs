//! Scaling with Lanczos3, and fitting a picture of any shape into a size.
//!
//! Scaling works on the gamma-coded values, as video scalers do. Our own 60 lines: the fast crate for it is compiled anew into
//! every crate that calls it, in two thousand variants, which took two of three minutes of building this crate.

use crate::{Frame, Result};
use std::collections::VecDeque;

/// How a picture of another shape becomes the wanted size; never by stretching.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fit {
    /// Fill the size and cut off what stands over, equally on both sides.
    Cover,
    /// Show the whole picture, centred, with bars of this colour.
    Contain {
        /// The bars' colour.
        matte: [u8; 3],
    },
}

/// The whole frame at another size; the shape changes if the sizes ask for it.
///
/// # Errors
/// [`Error::InvalidFrame`] for an impossible size.
pub fn resize(frame: &Frame, width_px: u32, height_px: u32) -> Result<Frame> {
    scaled(
        frame,
        (width_px, height_px),
        (0.0, 0.0, f64::from(frame.width_px), f64::from(frame.height_px)),
    )
}

/// The frame fitted into a size without distortion.
///
/// # Errors
/// [`Error::InvalidFrame`] for an impossible size.
pub fn fit(frame: &Frame, width_px: u32, height_px: u32, mode: Fit) -> Result<Frame> {
    let (fw, fh) = (f64::from(frame.width_px), f64::from(frame.height_px));
    let (w, h) = (f64::from(width_px), f64::from(height_px));
    match mode {
        Fit::Cover => {
            let scale = (w / fw).max(h / fh).max(1e-9);
            let (cw, ch) = ((w / scale).min(fw), (h / scale).min(fh));
            scaled(frame, (width_px, height_px), ((fw - cw) / 2.0, (fh - ch) / 2.0, cw, ch))
        }
        Fit::Contain { matte } => {
            let scale = (w / fw).min(h / fh);
            let side = |x: f64, most: u32| ((x * scale).round() as u32).clamp(1, most.max(1));
            let inner = resize(frame, side(fw, width_px), side(fh, height_px))?;
            let mut out = Frame::filled(width_px, height_px, matte)?;
            paste(
                &mut out,
                &inner,
                (width_px - inner.width_px) / 2,
                (height_px - inner.height_px) / 2,
            );
            Ok(out)
        }
    }
}

/// Copies `part` onto `onto` with its upper left corner at (x, y); what lies outside is left out.
pub fn paste(onto: &mut Frame, part: &Frame, x: u32, y: u32) {
    let row = 3 * part.width_px as usize;
    let visible = 3 * part.width_px.min(onto.width_px.saturating_sub(x)) as usize;
    let rows = onto.height_px.saturating_sub(y) as usize;
    for (i, line) in part.rgb.chunks_exact(row).take(rows).enumerate() {
        let at = 3 * ((y as usize + i) * onto.width_px as usize + x as usize);
        onto.rgb[at..at + visible].copy_from_slice(&line[..visible]);
    }
}

/// Scales the part `(left, top, width, height)` of a frame to a size.
fn scaled(frame: &Frame, size: (u32, u32), crop: (f64, f64, f64, f64)) -> Result<Frame> {
    let (fw, fh) = (frame.width_px as usize, frame.height_px as usize);
    if size == (frame.width_px, frame.height_px) && crop == (0.0, 0.0, fw as f64, fh as f64) {
        return Ok(frame.clone());
    }
    // Checks the size before anything is allocated for it.
    let mut out = Frame::filled(size.0, size.1, [0; 3])?;
    let columns = taps(fw, crop.0, crop.2, size.0 as usize);
    let rows = taps(fh, crop.1, crop.3, size.1 as usize);
    let width = 3 * size.0 as usize;
    // Source rows already scaled sideways; windows only move down, so a few rows are enough.
    let mut ready: VecDeque<Vec<f32>> = VecDeque::new();
    let (mut first, mut sum) = (0, vec![0f32; width]);
    for (target, tap) in out.rgb.chunks_exact_mut(width).zip(&rows) {
        while first < tap.start && ready.pop_front().is_some() {
            first += 1;
        }
        first = first.max(tap.start);
        for y in first + ready.len()..tap.start + tap.weights.len() {
            ready.push_back(sideways(&frame.rgb[3 * fw * y..][..3 * fw], &columns));
        }
        sum.fill(0.5);
        for (row, weight) in ready.iter().zip(&tap.weights) {
            sum.iter_mut().zip(row).for_each(|(s, &v)| *s += weight * v);
        }
        // The half is already in; the conversion cuts towards zero and saturates.
        target.iter_mut().zip(&sum).for_each(|(t, &s)| *t = s as u8);
    }
    Ok(out)
}

/// The source pixels that make one target pixel.
struct Tap {
    start: usize,
    weights: Vec<f32>,
}

/// The taps of all `target` pixels that cover `length` source pixels from `offset` on; when shrinking, the kernel widens.
fn taps(source: usize, offset: f64, length: f64, target: usize) -> Vec<Tap> {
    let scale = length / target as f64;
    let stretch = scale.max(1.0);
    let one = |i: usize| {
        let centre = offset + (i as f64 + 0.5) * scale - 0.5;
        let start = ((centre - 3.0 * stretch).ceil().max(0.0) as usize).min(source - 1);
        let end = ((centre + 3.0 * stretch).floor().max(0.0) as usize).clamp(start, source - 1);
        let raw: Vec<f64> = (start..=end).map(|x| lanczos3((x as f64 - centre) / stretch)).collect();
        let total: f64 = raw.iter().sum();
        Tap {
            start,
            weights: raw.iter().map(|w| (w / total) as f32).collect(),
        }
    };
    (0..target).map(one).collect()
}

fn lanczos3(x: f64) -> f64 {
    let sinc = |x: f64| {
        if x.abs() < 1e-9 {
            1.0
        } else {
            (std::f64::consts::PI * x).sin() / (std::f64::consts::PI * x)
        }
    };
    if x.abs() < 3.0 { sinc(x) * sinc(x / 3.0) } else { 0.0 }
}

/// One row scaled sideways.
fn sideways(row: &[u8], columns: &[Tap]) -> Vec<f32> {
    let mut out = Vec::with_capacity(3 * columns.len());
    for tap in columns {
        let mut sum = [0f32; 3];
        for (pixel, weight) in row[3 * tap.start..].chunks_exact(3).zip(&tap.weights) {
            sum.iter_mut()
                .zip(pixel)
                .for_each(|(s, &p)| *s += weight * f32::from(p));
        }
        out.extend_from_slice(&sum);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::psnr;

    fn picture(w: u32, h: u32) -> Frame {
        let wave = |x: f32| (128.0 + 90.0 * x.sin()) as u8;
        let (kx, ky) = (25.0 / w as f32, 14.0 / h as f32);
        let rgb = (0..w * h)
            .flat_map(|i| [wave((i % w) as f32 * kx), wave((i / w) as f32 * ky), 60])
            .collect();
        Frame::new(w, h, rgb).unwrap()
    }

    #[test]
    fn down_and_up_again_keeps_a_smooth_picture() {
        let f = picture(256, 144);
        let back = resize(&resize(&f, 128, 72).unwrap(), 256, 144).unwrap();
        assert!(psnr(&f, &back).unwrap() > 38.0, "{}", psnr(&f, &back).unwrap());
        assert_eq!(resize(&f, 256, 144).unwrap(), f);
        assert!(resize(&f, 0, 10).is_err() && resize(&f, 1 << 20, 10).is_err());
    }

    #[test]
    fn flat_pictures_stay_flat_and_ramps_stay_straight() {
        for (w, h) in [(7, 200), (333, 5), (1, 1), (64, 48)] {
            assert_eq!(
                resize(&Frame::filled(50, 40, [17, 128, 254]).unwrap(), w, h).unwrap(),
                Frame::filled(w, h, [17, 128, 254]).unwrap()
            );
        }
        let ramp = Frame::new(64, 1, (0..64).flat_map(|x| [x * 4; 3]).collect()).unwrap();
        let twice = resize(&ramp, 128, 1).unwrap();
        for x in 10..118 {
            // Pixel centres: target x lies at (x + 0.5) / 2 - 0.5.
            assert!(
                (f64::from(twice.pixel(x, 0)[0]) - (f64::from(x) * 2.0 - 1.0)).abs() <= 1.0,
                "{x}"
            );
        }
    }

    #[test]
    fn cover_cuts_and_contain_adds_bars() {
        let mut f = Frame::filled(40, 20, [0, 200, 0]).unwrap();
        for y in 0..20 {
            for x in (0..5).chain(35..40) {
                f.rgb[3 * (y * 40 + x)..][..3].copy_from_slice(&[200, 0, 0]);
            }
        }
        let cover = fit(&f, 60, 60, Fit::Cover).unwrap();
        assert!(
            (0..60).all(|x| cover.pixel(x, 30) == [0, 200, 0]),
            "the red edges are cut off"
        );
        let contain = fit(&f, 60, 60, Fit::Contain { matte: [1, 2, 3] }).unwrap();
        assert_eq!(
            (contain.pixel(30, 14), contain.pixel(30, 30), contain.pixel(30, 46)),
            ([1, 2, 3], [0, 200, 0], [1, 2, 3])
        );
        assert!(contain.pixel(1, 30)[0] > 190);
        for (w, h) in [(1, 1), (1, 300), (300, 1)] {
            for mode in [Fit::Cover, Fit::Contain { matte: [0; 3] }] {
                let out = fit(&f, w, h, mode).unwrap();
                assert_eq!((out.width_px, out.height_px), (w, h));
            }
        }
        assert!(fit(&f, 0, 0, Fit::Cover).is_err() && fit(&f, 0, 0, Fit::Contain { matte: [0; 3] }).is_err());
    }
}
