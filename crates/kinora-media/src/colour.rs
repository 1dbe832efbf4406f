//! RGB to YUV 4:2:0 and back, with the matrix, the range and the chroma position stated.
//!
//! **Forward** (what we write): 8-bit sRGB to limited range (Y 16..235, C 16..240). MP4 uses BT.709 with chroma sited
//! *left* (H.264's default: level with the even luma columns, half-way between two rows), so chroma is the [1 2 1]/4
//! horizontal by [1 1]/2 vertical average. VP8 uses BT.601 with chroma in the *centre* of its 2x2 luma block: the plain
//! average of four. Averages are taken of the gamma-coded values, as every player expects.
//! **Back**: chroma is interpolated linearly at the same positions. Sums are 16-bit fixed point, so results are the same
//! on every machine. Source of the factors: ITU-R BT.709-6 and BT.601-7.

use crate::Frame;

/// Which weights of red and blue make the luma.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Matrix {
    Bt601,
    Bt709,
    Bt2020,
}

impl Matrix {
    fn red_blue(self) -> (f64, f64) {
        match self {
            Self::Bt601 => (0.299, 0.114),
            Self::Bt709 => (0.2126, 0.0722),
            Self::Bt2020 => (0.2627, 0.0593),
        }
    }

    /// From the `matrix_coefficients` number of H.264, MP4 and Matroska; untagged video is BT.709 from 720 lines or 1280 columns on.
    pub(crate) fn from_code(code: u8, width: usize, height: usize) -> Self {
        match code {
            1 => Self::Bt709,
            5..=7 => Self::Bt601,
            9 | 10 => Self::Bt2020,
            _ if height >= 720 || width >= 1280 => Self::Bt709,
            _ => Self::Bt601,
        }
    }
}

/// Where a chroma sample lies within its 2x2 block of luma.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Siting {
    Left,
    Centre,
}

/// How numbers in the planes mean colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tags {
    pub matrix: Matrix,
    pub full_range: bool,
    pub siting: Siting,
}

impl Tags {
    /// What our MP4 files say.
    pub(crate) const MP4: Self = Self {
        matrix: Matrix::Bt709,
        full_range: false,
        siting: Siting::Left,
    };
    /// What VP8 says.
    pub(crate) const VP8: Self = Self {
        matrix: Matrix::Bt601,
        full_range: false,
        siting: Siting::Centre,
    };
}

/// Planar 4:2:0; chroma planes are `ceil(w/2) x ceil(h/2)`, no padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct I420 {
    pub width: usize,
    pub height: usize,
    pub y: Vec<u8>,
    pub u: Vec<u8>,
    pub v: Vec<u8>,
}

const SHIFT: i64 = 16;
const HALF: i64 = 1 << (SHIFT - 1);

fn fixed(x: f64) -> i64 {
    (x * (1u32 << SHIFT) as f64).round() as i64
}

fn clamp(x: i64) -> u8 {
    x.clamp(0, 255) as u8
}

impl I420 {
    /// Converts a frame; the range of `tags` must be limited (we write nothing else).
    pub(crate) fn from_frame(frame: &Frame, tags: Tags) -> Self {
        let (w, h) = (frame.width_px as usize, frame.height_px as usize);
        let (kr, kb) = tags.matrix.red_blue();
        let kg = 1.0 - kr - kb;
        let ys = 219.0 / 255.0;
        // Green takes the remainder, so that white lands on 235 exactly and greys have no colour at all.
        let (yr, yb) = (fixed(kr * ys), fixed(kb * ys));
        let yg = fixed(ys) - yr - yb;
        let y = frame
            .rgb
            .chunks_exact(3)
            .map(|p| {
                let sum = yr * i64::from(p[0]) + yg * i64::from(p[1]) + yb * i64::from(p[2]);
                clamp(16 + ((sum + HALF) >> SHIFT))
            })
            .collect();
        let (us, vs) = (112.0 / 255.0 / (1.0 - kb), 112.0 / 255.0 / (1.0 - kr));
        let (ur, ug) = (fixed(-kr * us), fixed(-kg * us));
        let (vb, vg) = (fixed(-kb * vs), fixed(-kg * vs));
        let (u_of, v_of) = ((ur, ug, -ur - ug), (-vb - vg, vg, vb));
        let (cw, ch) = (w.div_ceil(2), h.div_ceil(2));
        let (mut u, mut v) = (Vec::with_capacity(cw * ch), Vec::with_capacity(cw * ch));
        for cy in 0..ch {
            let rows = [2 * cy, (2 * cy + 1).min(h - 1)];
            for cx in 0..cw {
                let sum = block_sum(&frame.rgb, w, rows, cx, tags.siting);
                let chroma = |k: (i64, i64, i64)| {
                    let s = k.0 * sum[0] + k.1 * sum[1] + k.2 * sum[2];
                    clamp(128 + ((s + (HALF << 3)) >> (SHIFT + 3)))
                };
                u.push(chroma(u_of));
                v.push(chroma(v_of));
            }
        }
        Self {
            width: w,
            height: h,
            y,
            u,
            v,
        }
    }

    /// Converts back to RGB.
    pub(crate) fn to_rgb(&self, tags: Tags) -> Vec<u8> {
        let (kr, kb) = tags.matrix.red_blue();
        let kg = 1.0 - kr - kb;
        let (ys, cs, black) = if tags.full_range {
            (1.0, 1.0, 0)
        } else {
            (255.0 / 219.0, 255.0 / 224.0, 16)
        };
        let yk = fixed(ys);
        let rv = fixed(2.0 * (1.0 - kr) * cs);
        let bu = fixed(2.0 * (1.0 - kb) * cs);
        let gu = fixed(-2.0 * (1.0 - kb) * kb / kg * cs);
        let gv = fixed(-2.0 * (1.0 - kr) * kr / kg * cs);
        let mut rgb = Vec::with_capacity(3 * self.width * self.height);
        let (mut urow, mut vrow) = (vec![0i64; self.width], vec![0i64; self.width]);
        for (y, row) in self.y.chunks_exact(self.width).enumerate() {
            self.chroma_row(&self.u, y, tags.siting, &mut urow);
            self.chroma_row(&self.v, y, tags.siting, &mut vrow);
            for ((&luma, &u), &v) in row.iter().zip(&urow).zip(&vrow) {
                // Chroma rows carry 4 extra bits (sixteenths).
                let l = yk * (i64::from(luma) - black) * 16;
                let (u, v) = (u - 128 * 16, v - 128 * 16);
                let out = |x: i64| clamp((x + (HALF << 4)) >> (SHIFT + 4));
                rgb.extend_from_slice(&[out(l + rv * v), out(l + gu * u + gv * v), out(l + bu * u)]);
            }
        }
        rgb
    }

    /// One luma-wide row of chroma in sixteenths: linear between the sample positions.
    fn chroma_row(&self, plane: &[u8], y: usize, siting: Siting, out: &mut [i64]) {
        let (cw, ch) = (self.width.div_ceil(2), self.height.div_ceil(2));
        let near = y / 2;
        let far = if y % 2 == 1 {
            (near + 1).min(ch - 1)
        } else {
            near.saturating_sub(1)
        };
        let column = |cx: usize| 3 * i64::from(plane[near * cw + cx]) + i64::from(plane[far * cw + cx]);
        for (x, o) in out.iter_mut().enumerate() {
            let (cx, even) = (x / 2, x % 2 == 0);
            *o = match siting {
                Siting::Left if even => 4 * column(cx),
                Siting::Left => 2 * (column(cx) + column((cx + 1).min(cw - 1))),
                Siting::Centre => {
                    let other = if even {
                        cx.saturating_sub(1)
                    } else {
                        (cx + 1).min(cw - 1)
                    };
                    3 * column(cx) + column(other)
                }
            };
        }
    }
}

/// Eight times the mean colour of a chroma sample's surroundings.
fn block_sum(rgb: &[u8], w: usize, rows: [usize; 2], cx: usize, siting: Siting) -> [i64; 3] {
    let x = 2 * cx;
    let columns = match siting {
        Siting::Left => [(x.saturating_sub(1), 1), (x, 2), ((x + 1).min(w - 1), 1)],
        Siting::Centre => [(x, 2), ((x + 1).min(w - 1), 2), (x, 0)],
    };
    let mut sum = [0i64; 3];
    for row in rows {
        for (column, weight) in columns {
            let at = 3 * (row * w + column);
            for (s, &p) in sum.iter_mut().zip(&rgb[at..at + 3]) {
                *s += weight * i64::from(p);
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::psnr_of_bytes;

    /// Values of the 100 % bars in limited range, from the formulas of the two recommendations.
    #[test]
    fn known_colours_land_on_the_standard_values() {
        let cases = [
            ([255, 255, 255], [235, 128, 128], [235, 128, 128]),
            ([0, 0, 0], [16, 128, 128], [16, 128, 128]),
            ([255, 0, 0], [63, 102, 240], [81, 90, 240]),
            ([0, 255, 0], [173, 42, 26], [145, 54, 34]),
            ([0, 0, 255], [32, 240, 118], [41, 240, 110]),
            ([255, 255, 0], [219, 16, 138], [210, 16, 146]),
            ([128, 128, 128], [126, 128, 128], [126, 128, 128]),
        ];
        for (rgb, bt709, bt601) in cases {
            let f = Frame::filled(5, 3, rgb).unwrap();
            for (tags, want) in [(Tags::MP4, bt709), (Tags::VP8, bt601)] {
                let p = I420::from_frame(&f, tags);
                assert_eq!([p.y[7], p.u[1], p.v[3]], want, "{rgb:?} {tags:?}");
                assert!(p.u.iter().all(|&u| u == want[1]) && p.u.len() == 6);
                let back = p.to_rgb(tags);
                assert!(
                    back.iter().zip(&f.rgb).all(|(a, b)| a.abs_diff(*b) <= 2),
                    "{rgb:?} {:?}",
                    &back[..3]
                );
            }
        }
    }

    /// A horizontal colour ramp has no error beyond rounding only when both directions agree on where chroma lies.
    #[test]
    fn chroma_positions_agree_in_both_directions() {
        let (w, h) = (64usize, 16usize);
        let rgb: Vec<u8> = (0..h)
            .flat_map(|_| (0..w).flat_map(|x| [(x * 3 + 20) as u8, 120, (230 - x * 3) as u8]))
            .collect();
        let f = Frame::new(w as u32, h as u32, rgb).unwrap();
        let tags = |siting| Tags {
            matrix: Matrix::Bt709,
            full_range: false,
            siting,
        };
        for siting in [Siting::Left, Siting::Centre] {
            let planes = I420::from_frame(&f, tags(siting));
            let right = psnr_of_bytes(&planes.to_rgb(tags(siting)), &f.rgb);
            let other = if siting == Siting::Left {
                Siting::Centre
            } else {
                Siting::Left
            };
            let wrong = psnr_of_bytes(&planes.to_rgb(tags(other)), &f.rgb);
            assert!(
                right > 48.0 && right > wrong + 2.0,
                "{siting:?}: {right:.1} dB against {wrong:.1}"
            );
        }
    }

    #[test]
    fn untagged_video_is_judged_by_its_size() {
        assert_eq!(Matrix::from_code(2, 640, 480), Matrix::Bt601);
        assert_eq!(Matrix::from_code(2, 1280, 720), Matrix::Bt709);
        assert_eq!(Matrix::from_code(1, 64, 64), Matrix::Bt709);
        assert_eq!(Matrix::from_code(6, 1920, 1080), Matrix::Bt601);
    }

    #[test]
    fn full_range_keeps_black_and_white() {
        let p = I420 {
            width: 2,
            height: 2,
            y: vec![0, 255, 0, 255],
            u: vec![128],
            v: vec![128],
        };
        let tags = Tags {
            matrix: Matrix::Bt709,
            full_range: true,
            siting: Siting::Left,
        };
        assert_eq!(p.to_rgb(tags), [0, 0, 0, 255, 255, 255, 0, 0, 0, 255, 255, 255]);
    }
}
