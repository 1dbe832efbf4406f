//! 256 colours for a clip and the dither onto them.
//!
//! Median cut over a histogram of 32x32x32 cells that remember their exact mean colours, then three rounds of k-means.
//! **Sources**: Heckbert, "Color image quantization for frame buffer display", 1982; Floyd and Steinberg, 1976.

use crate::Frame;

/// Counts and colour sums of 15-bit cells over all frames.
pub(super) struct Histogram {
    cells: Vec<[u64; 4]>,
}

/// A cell that occurs: its mean colour and weight.
#[derive(Clone, Copy)]
struct Cell {
    colour: [f32; 3],
    weight: f32,
}

impl Histogram {
    pub(super) fn new() -> Self {
        Self {
            cells: vec![[0; 4]; 1 << 15],
        }
    }

    pub(super) fn add(&mut self, rgb: &[u8]) {
        for p in rgb.chunks_exact(3) {
            let at = usize::from(p[0] >> 3) << 10 | usize::from(p[1] >> 3) << 5 | usize::from(p[2] >> 3);
            let cell = &mut self.cells[at];
            cell[0] += 1;
            (1..4).for_each(|i| cell[i] += u64::from(p[i - 1]));
        }
    }

    /// Exactly 256 colours, brightest use first in no particular order; unused entries are black.
    pub(super) fn palette(&self) -> Vec<[u8; 3]> {
        let used = self.cells.iter().filter(|c| c[0] > 0).map(|c| Cell {
            colour: [1, 2, 3].map(|i| c[i] as f32 / c[0] as f32),
            // The root keeps small bright things from losing to large skies.
            weight: (c[0] as f32).sqrt(),
        });
        let mut boxes: Vec<Vec<Cell>> = vec![used.collect()];
        while boxes.len() < 256 {
            let worst = boxes
                .iter()
                .enumerate()
                .filter(|b| b.1.len() > 1)
                .max_by(|a, b| spread(a.1).1.total_cmp(&spread(b.1).1));
            let Some(at) = worst.map(|w| w.0) else { break };
            let mut cells = boxes.swap_remove(at);
            let axis = spread(&cells).0;
            cells.sort_by(|a, b| a.colour[axis].total_cmp(&b.colour[axis]));
            let half = cells.iter().map(|c| c.weight).sum::<f32>() / 2.0;
            let mut sum = 0.0;
            let cut = cells.iter().take_while(|c| {
                sum += c.weight;
                sum < half
            });
            let cut = cut.count().clamp(1, cells.len() - 1);
            let upper = cells.split_off(cut);
            boxes.extend([cells, upper]);
        }
        let mut centres: Vec<[f32; 3]> = boxes.iter().map(|b| mean(b)).collect();
        let all = boxes.concat();
        for _ in 0..3 {
            refine(&mut centres, &all);
        }
        let mut colours: Vec<[u8; 3]> = centres
            .iter()
            .map(|c| c.map(|x| x.round().clamp(0.0, 255.0) as u8))
            .collect();
        colours.resize(256, [0; 3]);
        colours
    }
}

fn mean(cells: &[Cell]) -> [f32; 3] {
    let total: f32 = cells.iter().map(|c| c.weight).sum::<f32>().max(1e-9);
    [0, 1, 2].map(|i| cells.iter().map(|c| c.colour[i] * c.weight).sum::<f32>() / total)
}

/// The axis of the largest weighted squared deviation, and that deviation.
fn spread(cells: &[Cell]) -> (usize, f32) {
    let m = mean(cells);
    let along = |i: usize| {
        cells
            .iter()
            .map(|c| (c.colour[i] - m[i]).powi(2) * c.weight)
            .sum::<f32>()
    };
    // Green weighs most in what we see.
    [(0, along(0)), (1, along(1) * 1.5), (2, along(2) * 0.7)]
        .into_iter()
        .fold((0, -1.0), |best, a| if a.1 > best.1 { a } else { best })
}

/// One round of k-means.
fn refine(centres: &mut [[f32; 3]], cells: &[Cell]) {
    let mut sums = vec![[0f32; 4]; centres.len()];
    for c in cells {
        let s = &mut sums[nearest(centres, c.colour)];
        (0..3).for_each(|i| s[i] += c.colour[i] * c.weight);
        s[3] += c.weight;
    }
    for (centre, s) in centres.iter_mut().zip(&sums).filter(|(_, s)| s[3] > 0.0) {
        *centre = [0, 1, 2].map(|i| s[i] / s[3]);
    }
}

fn nearest(centres: &[[f32; 3]], colour: [f32; 3]) -> usize {
    let distance = |c: &[f32; 3]| (0..3).map(|i| (c[i] - colour[i]).powi(2)).sum::<f32>();
    let mut best = (0, f32::MAX);
    for (i, c) in centres.iter().enumerate() {
        let d = distance(c);
        if d < best.1 {
            best = (i, d);
        }
    }
    best.0
}

/// Frames to palette indices. Nearest colours are remembered per 18-bit cell.
pub(super) struct Mapper {
    colours: Vec<[u8; 3]>,
    centres: Vec<[f32; 3]>,
    known: Vec<u16>,
}

impl Mapper {
    pub(super) fn new(colours: &[[u8; 3]]) -> Self {
        let centres = colours.iter().map(|c| c.map(f32::from)).collect();
        Self {
            colours: colours.to_vec(),
            centres,
            known: vec![u16::MAX; 1 << 18],
        }
    }

    fn index(&mut self, colour: [i32; 3]) -> u8 {
        let c = colour.map(|x| x.clamp(0, 255) as usize >> 2);
        let at = c[0] << 12 | c[1] << 6 | c[2];
        if self.known[at] == u16::MAX {
            self.known[at] = nearest(&self.centres, c.map(|x| (x << 2) as f32 + 1.5)) as u16;
        }
        self.known[at] as u8
    }

    /// Palette indices of a frame, errors spread to the neighbours, every second row from right to left.
    pub(super) fn dither(&mut self, frame: &Frame) -> Vec<u8> {
        let (w, h) = (frame.width_px as usize, frame.height_px as usize);
        let mut out = vec![0; w * h];
        // Errors in sixteenths for this row and the next, with a margin of one pixel on both sides.
        let mut rows = [vec![[0i32; 3]; w + 2], vec![[0i32; 3]; w + 2]];
        for y in 0..h {
            let forward = y % 2 == 0;
            for step in 0..w {
                let x = if forward { step } else { w - 1 - step };
                let p = &frame.rgb[3 * (y * w + x)..][..3];
                let wanted = [0, 1, 2].map(|i| i32::from(p[i]) + (rows[0][x + 1][i] + 8).div_euclid(16));
                let index = self.index(wanted);
                out[y * w + x] = index;
                let got = self.colours[usize::from(index)];
                let ahead = if forward { x + 2 } else { x };
                let behind = if forward { x } else { x + 2 };
                for i in 0..3 {
                    // Bounded, so that colours outside the palette's reach do not smear over the picture.
                    let e = (wanted[i].clamp(0, 255) - i32::from(got[i])).clamp(-48, 48);
                    rows[0][ahead][i] += 7 * e;
                    rows[1][behind][i] += 3 * e;
                    rows[1][x + 1][i] += 5 * e;
                    rows[1][ahead][i] += e;
                }
            }
            rows.swap(0, 1);
            rows[1].fill([0; 3]);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_colours_are_kept_exactly() {
        let colours = [[255, 0, 0], [0, 255, 0], [12, 34, 200], [250, 250, 250]];
        let rgb: Vec<u8> = (0..400).flat_map(|i| colours[i % 4]).collect();
        let mut h = Histogram::new();
        h.add(&rgb);
        let palette = h.palette();
        assert_eq!(palette.len(), 256);
        let frame = Frame::new(20, 20, rgb.clone()).unwrap();
        let back: Vec<u8> = Mapper::new(&palette)
            .dither(&frame)
            .iter()
            .flat_map(|&i| palette[usize::from(i)])
            .collect();
        assert_eq!(back, rgb);
    }

    #[test]
    fn dither_keeps_the_mean() {
        let frame = Frame::filled(64, 64, [128, 128, 128]).unwrap();
        let palette = [[0, 0, 0], [100, 100, 100], [160, 160, 160]];
        let indices = Mapper::new(&palette).dither(&frame);
        let mean = indices
            .iter()
            .map(|&i| f64::from(palette[usize::from(i)][0]))
            .sum::<f64>()
            / indices.len() as f64;
        assert!((mean - 128.0).abs() < 2.0, "{mean}");
    }
}
