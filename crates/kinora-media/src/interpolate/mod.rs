//! More frames a second by motion compensation. *Draft quality*: it follows moving things well, but ghosts on fast or
//! crossing motion and where something comes out from behind something else; more frames from the model itself are better.
//!
//! `motion` finds for each block of the frame half-way between two neighbours the movement under which both agree (so
//! nothing has holes); this file places the outputs in time and blends overlapping blocks moved along that movement. A scene
//! cut is never blended: the nearer frame is repeated.
//! **Sources**: bilateral motion estimation, Choi, Lee and Ko, "New frame rate up-conversion using bi-directional motion
//! estimation", 2000; overlapped block compensation, Orchard and Sullivan, 1994.

mod motion;

use crate::{Error, Fps, Frame, Result};
use motion::{Field, Pyramid, STEP, WINDOW};

/// Turns a stream of frames at one rate into a stream at another; holds two neighbouring frames.
#[derive(Debug)]
pub struct Interpolator {
    source: Fps,
    target: Fps,
    previous: Option<(Frame, Pyramid)>,
    pushed: u64,
    given: u64,
}

impl Interpolator {
    /// An interpolator between two rates. Lowering the rate works too and drops frames.
    #[must_use]
    pub fn new(source: Fps, target: Fps) -> Self {
        Self {
            source,
            target,
            previous: None,
            pushed: 0,
            given: 0,
        }
    }

    /// Position of output `k` among the source frames: index and fraction.
    fn place(&self, k: u64) -> (u64, f32) {
        let num = u128::from(k) * u128::from(self.source.num) * u128::from(self.target.den);
        let den = u128::from(self.source.den) * u128::from(self.target.num);
        ((num / den) as u64, ((num % den) as f64 / den as f64) as f32)
    }

    /// Takes the next source frame and returns the output frames up to it.
    ///
    /// # Errors
    /// [`Error::FrameSizeMismatch`] when the size changes.
    pub fn push(&mut self, frame: Frame) -> Result<Vec<Frame>> {
        let index = self.pushed;
        self.pushed += 1;
        let mut out = Vec::new();
        let pyramid = Pyramid::new(&frame);
        if let Some((before, before_pyramid)) = &self.previous {
            if (before.width_px, before.height_px) != (frame.width_px, frame.height_px) {
                return Err(Error::FrameSizeMismatch {
                    expected_width_px: before.width_px,
                    expected_height_px: before.height_px,
                    width_px: frame.width_px,
                    height_px: frame.height_px,
                });
            }
            let mut field = None;
            while let (at, t) = self.place(self.given)
                && at < index
            {
                // Frames that nothing asks for (when the rate is lowered) cost nothing.
                out.push(if at + 1 < index || t < 1e-4 {
                    before.clone()
                } else {
                    let field = field.get_or_insert_with(|| Field::between(before_pyramid, &pyramid));
                    between(before, &frame, field, t)
                });
                self.given += 1;
            }
        }
        let (at, t) = self.place(self.given);
        if at == index && t < 1e-4 {
            out.push(frame.clone());
            self.given += 1;
        }
        self.previous = Some((frame, pyramid));
        Ok(out)
    }

    /// The outputs that lie within the time of the last frame, which repeat it, so that the clip keeps its length.
    #[must_use]
    pub fn finish(mut self) -> Vec<Frame> {
        let mut out = Vec::new();
        if let Some((last, _)) = self.previous.take() {
            while self.place(self.given).0 < self.pushed {
                out.push(last.clone());
                self.given += 1;
            }
        }
        out
    }
}

/// The frame at time `t` (0 to 1) between two.
fn between(before: &Frame, after: &Frame, field: &Field, t: f32) -> Frame {
    if field.is_cut() {
        return if t < 0.5 { before.clone() } else { after.clone() };
    }
    let (w, h) = (before.width_px as usize, before.height_px as usize);
    // Sums of the weighted blocks, and of the weights.
    let mut sums = vec![[0f32; 4]; w * h];
    let weights = window();
    for (row, column, vector) in field.blocks() {
        // The block's window reaches half a step beyond it on each side.
        let (x0, y0) = (
            column as isize * STEP as isize - STEP as isize / 2,
            row as isize * STEP as isize - STEP as isize / 2,
        );
        let a = shifted(before, (x0, y0), (-2.0 * t * vector.0, -2.0 * t * vector.1));
        let b = shifted(
            after,
            (x0, y0),
            (2.0 * (1.0 - t) * vector.0, 2.0 * (1.0 - t) * vector.1),
        );
        for (j, wy) in weights.iter().enumerate() {
            let y = y0 + j as isize;
            if !(0..h as isize).contains(&y) {
                continue;
            }
            for (i, wx) in weights.iter().enumerate() {
                let x = x0 + i as isize;
                if (0..w as isize).contains(&x) {
                    let (p, q, weight) = (a[j * WINDOW + i], b[j * WINDOW + i], wx * wy);
                    let sum = &mut sums[y as usize * w + x as usize];
                    (0..3).for_each(|c| sum[c] += weight * ((1.0 - t) * p[c] + t * q[c]));
                    sum[3] += weight;
                }
            }
        }
    }
    let rgb = sums
        .iter()
        .flat_map(|s| [0, 1, 2].map(|i| (s[i] / s[3].max(1e-9)).round().clamp(0.0, 255.0) as u8))
        .collect();
    Frame {
        width_px: before.width_px,
        height_px: before.height_px,
        rgb,
    }
}

/// Raised-cosine weights along one side of a block's window; two neighbours add up to 1.
fn window() -> [f32; WINDOW] {
    std::array::from_fn(|i| ((i as f32 + 0.5) * std::f32::consts::PI / WINDOW as f32).sin().powi(2))
}

/// The window at `corner` of a frame seen through a shift: linear between pixels, the edge repeated outside.
fn shifted(frame: &Frame, corner: (isize, isize), shift: (f32, f32)) -> [[f32; 3]; WINDOW * WINDOW] {
    let (w, h) = (frame.width_px as isize, frame.height_px as isize);
    let (fx, fy) = (shift.0 - shift.0.floor(), shift.1 - shift.1.floor());
    let (x, y) = (corner.0 + shift.0.floor() as isize, corner.1 + shift.1.floor() as isize);
    let mut columns = [0; WINDOW + 1];
    for (i, column) in columns.iter_mut().enumerate() {
        *column = 3 * (x + i as isize).clamp(0, w - 1) as usize;
    }
    // Plain loops: `array::map` and `from_fn` are not always inlined, and this runs for every pixel four times.
    let mut rows = [[[0f32; 3]; WINDOW]; 2];
    let mut out = [[0f32; 3]; WINDOW * WINDOW];
    for j in 0..=WINDOW {
        let line = &frame.rgb[3 * ((y + j as isize).clamp(0, h - 1) * w) as usize..][..3 * w as usize];
        for (i, mixed) in rows[j % 2].iter_mut().enumerate() {
            let (p, q) = (columns[i], columns[i + 1]);
            for c in 0..3 {
                let (p, q) = (f32::from(line[p + c]), f32::from(line[q + c]));
                mixed[c] = p + fx * (q - p);
            }
        }
        if j > 0 {
            let (above, below) = (&rows[(j + 1) % 2], &rows[j % 2]);
            for (i, o) in out[(j - 1) * WINDOW..j * WINDOW].iter_mut().enumerate() {
                for c in 0..3 {
                    o[c] = above[i][c] + fy * (below[i][c] - above[i][c]);
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::psnr;

    fn fps(n: u32) -> Fps {
        Fps::new(n, 1).unwrap()
    }

    /// A texture without a period, moved by a real number of pixels.
    fn texture(w: u32, h: u32, dx: f32, dy: f32) -> Frame {
        let rgb = (0..w * h).flat_map(|i| {
            let (x, y) = ((i % w) as f32 - dx, (i / w) as f32 - dy);
            let v = 128.0
                + 38.0 * (x * 0.21 + (y * 0.05).sin() * 2.0).sin()
                + 34.0 * (y * 0.17 + (x * 0.033).cos() * 3.0).sin()
                + 24.0 * ((x * 0.5).sin() * (y * 0.43).cos());
            [v as u8, (255.0 - v) as u8, (v * 0.5 + 40.0) as u8]
        });
        Frame::new(w, h, rgb.collect()).unwrap()
    }

    fn blend(a: &Frame, b: &Frame) -> Frame {
        let rgb = a
            .rgb
            .iter()
            .zip(&b.rgb)
            .map(|(&x, &y)| u16::from(x).midpoint(u16::from(y)) as u8)
            .collect();
        Frame::new(a.width_px, a.height_px, rgb).unwrap()
    }

    #[test]
    fn a_moving_texture_is_followed_not_blended() {
        for (dx, dy) in [(3.0, 0.0), (-5.0, 2.0), (1.5, -0.5), (0.0, 9.0)] {
            let (a, middle, b) = (
                texture(160, 96, 0.0, 0.0),
                texture(160, 96, dx, dy),
                texture(160, 96, 2.0 * dx, 2.0 * dy),
            );
            let mut i = Interpolator::new(fps(12), fps(24));
            assert_eq!(i.push(a.clone()).unwrap(), std::slice::from_ref(&a));
            let out = i.push(b.clone()).unwrap();
            assert_eq!((out.len(), &out[1]), (2, &b));
            let (moved, blended) = (psnr(&out[0], &middle).unwrap(), psnr(&blend(&a, &b), &middle).unwrap());
            println!("({dx}, {dy}): moved {moved:.1} dB, blended {blended:.1} dB");
            assert!(
                moved > blended + 3.0 && moved > 25.0,
                "({dx}, {dy}): moved {moved:.1} dB, blended {blended:.1} dB"
            );
        }
    }

    #[test]
    fn a_cut_is_not_blended() {
        let a = texture(96, 64, 0.0, 0.0);
        let mut b = Frame::filled(96, 64, [230, 220, 40]).unwrap();
        b.rgb[..96 * 3 * 20].fill(10);
        let mut i = Interpolator::new(fps(10), fps(30));
        i.push(a.clone()).unwrap();
        assert_eq!(i.push(b.clone()).unwrap(), [a.clone(), b.clone(), b]);
    }

    #[test]
    fn counts_and_times_are_right() {
        for (from, to, n, want) in [
            (16, 24, 33, 50),
            (24, 24, 7, 7),
            (16, 30, 16, 30),
            (30, 24, 30, 24),
            (24, 60, 1, 3),
        ] {
            let mut i = Interpolator::new(fps(from), fps(to));
            let mut out = Vec::new();
            for k in 0..n {
                out.extend(i.push(Frame::filled(16, 16, [k as u8 * 4; 3]).unwrap()).unwrap());
            }
            out.extend(i.finish());
            assert_eq!(out.len(), want, "{from} to {to}");
            let levels: Vec<u8> = out.iter().map(|f| f.rgb[0]).collect();
            assert!(levels.is_sorted(), "{from} to {to}: {levels:?}");
        }
    }

    #[test]
    fn tiny_and_changing_frames_do_no_harm() {
        let mut i = Interpolator::new(fps(10), fps(24));
        i.push(Frame::filled(3, 1, [9; 3]).unwrap()).unwrap();
        assert!(i.push(Frame::filled(3, 1, [90; 3]).unwrap()).is_ok());
        assert!(matches!(
            i.push(Frame::filled(4, 1, [9; 3]).unwrap()),
            Err(Error::FrameSizeMismatch { .. })
        ));
    }
}
