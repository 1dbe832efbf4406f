//! Movement between two frames, seen from half-way between them.
//!
//! For a block at `x` of the frame in the middle, a vector `d` means: the same thing is at `x - d` in the frame before and at
//! `x + d` in the frame after. Searched from coarse to fine on three luma levels: exhaustively on the coarsest, then around
//! the neighbours' vectors, at last in quarter pixels. A small price for leaving the neighbourhood keeps the field smooth.

use crate::Frame;

/// Distance between blocks in pixels of a level.
pub(super) const STEP: usize = 8;
/// Side of the window that is compared, and of the window that is blended.
pub(super) const WINDOW: usize = 16;
/// Levels of the pyramid.
const LEVELS: usize = 3;
/// Reach of the exhaustive search in pixels of the coarsest level: 4 * 8 * 2 = 64 pixels between the frames.
const REACH: i32 = 8;
/// Border around each plane, so that no read needs a check: window + reach, doubled twice.
const BORDER: usize = 64;
/// Largest vector component in full pixels; with the window it stays inside the border.
const MAX: i32 = 44;

/// A grey picture with its edge repeated outwards.
#[derive(Debug)]
struct Plane {
    width: usize,
    height: usize,
    stride: usize,
    data: Vec<u8>,
}

impl Plane {
    fn new(width: usize, height: usize, inner: &[u8]) -> Self {
        let stride = width + 2 * BORDER;
        let mut data = Vec::with_capacity(stride * (height + 2 * BORDER));
        for y in 0..height + 2 * BORDER {
            let row = &inner[y.saturating_sub(BORDER).min(height - 1) * width..][..width];
            data.extend(std::iter::repeat_n(row[0], BORDER));
            data.extend_from_slice(row);
            data.extend(std::iter::repeat_n(row[width - 1], BORDER));
        }
        Self {
            width,
            height,
            stride,
            data,
        }
    }

    /// Half the size, by averaging squares.
    fn halved(&self) -> Self {
        let (w, h) = (self.width.div_ceil(2), self.height.div_ceil(2));
        let at = |x: usize, y: usize| u16::from(self.data[(y + BORDER) * self.stride + x + BORDER]);
        let mean = |x: usize, y: usize| ((at(x, y) + at(x + 1, y) + at(x, y + 1) + at(x + 1, y + 1) + 2) / 4) as u8;
        let inner: Vec<u8> = (0..h)
            .flat_map(|y| (0..w).map(move |x| (x, y)))
            .map(|(x, y)| mean(2 * x, 2 * y))
            .collect();
        Self::new(w, h, &inner)
    }

    /// The row of a window that starts at `x`, `y`, both at least `-BORDER`.
    #[inline]
    fn row(&self, x: i32, y: i32) -> &[u8; WINDOW + 1] {
        let at = (y + BORDER as i32) as usize * self.stride + (x + BORDER as i32) as usize;
        // A fixed length lets the compiler use vectors; the border makes the other arm impossible.
        self.data[at..].first_chunk().unwrap_or(&[0; WINDOW + 1])
    }
}

/// A frame's luma in three sizes.
#[derive(Debug)]
pub(super) struct Pyramid {
    levels: Vec<Plane>,
    histogram: [f32; 32],
}

impl Pyramid {
    pub(super) fn new(frame: &Frame) -> Self {
        let luma = frame.luma();
        let mut histogram = [0.0; 32];
        luma.iter()
            .for_each(|&y| histogram[usize::from(y >> 3)] += 1.0 / luma.len() as f32);
        let mut levels = vec![Plane::new(frame.width_px as usize, frame.height_px as usize, &luma)];
        for i in 1..LEVELS {
            levels.push(levels[i - 1].halved());
        }
        Self { levels, histogram }
    }
}

/// A vector in quarter pixels of its level.
type Vector = (i32, i32);

/// The vectors of all blocks of the frame in the middle.
pub(super) struct Field {
    columns: usize,
    vectors: Vec<Vector>,
    cut: bool,
}

impl Field {
    pub(super) fn between(before: &Pyramid, after: &Pyramid) -> Self {
        let mut field = Self::coarse(&before.levels[LEVELS - 1], &after.levels[LEVELS - 1]);
        for level in (0..LEVELS - 1).rev() {
            field = field.refined(&before.levels[level], &after.levels[level]);
        }
        let (a, b) = (&before.levels[0], &after.levels[0]);
        let mut error = 0.0;
        let rows = rows_of(a);
        for i in 0..field.vectors.len() {
            let place = (i % field.columns, i / field.columns);
            field.quarter_pixels(a, b, i, place);
            error += cost(a, b, place, field.vectors[i]) as f32;
        }
        let error = error / (field.columns * rows * WINDOW * WINDOW) as f32;
        let change: f32 = before
            .histogram
            .iter()
            .zip(&after.histogram)
            .map(|(x, y)| (x - y).abs())
            .sum::<f32>()
            / 2.0;
        // Even the best match is far off, and the brightness is spread differently: another scene.
        field.cut = error > 32.0 || (error > 12.0 && change > 0.35);
        field
    }

    /// Whether the two frames belong to different scenes.
    pub(super) fn is_cut(&self) -> bool {
        self.cut
    }

    /// Row, column and vector in full pixels of each block. The block's window starts half a step before it.
    pub(super) fn blocks(&self) -> impl Iterator<Item = (usize, usize, (f32, f32))> {
        let place =
            |(i, v): (usize, &Vector)| (i / self.columns, i % self.columns, (v.0 as f32 / 4.0, v.1 as f32 / 4.0));
        self.vectors.iter().enumerate().map(place)
    }

    fn coarse(a: &Plane, b: &Plane) -> Self {
        let columns = columns_of(a);
        let mut vectors = Vec::new();
        for row in 0..rows_of(a) {
            for column in 0..columns {
                let mut best = (u32::MAX, (0, 0));
                for dy in -REACH..=REACH {
                    for dx in -REACH..=REACH {
                        let v = (4 * dx, 4 * dy);
                        // Short vectors win among equals.
                        best = best.min((cost(a, b, (column, row), v) + 3 * (dx.abs() + dy.abs()) as u32, v));
                    }
                }
                vectors.push(best.1);
            }
        }
        Self {
            columns,
            vectors,
            cut: false,
        }
    }

    /// The field one level finer: candidates are the doubled vectors around, then single steps, then the finer neighbours.
    fn refined(&self, a: &Plane, b: &Plane) -> Self {
        let (columns, rows) = (columns_of(a), rows_of(a));
        let coarse_rows = self.vectors.len() / self.columns;
        let mut out = Self {
            columns,
            vectors: Vec::with_capacity(columns * rows),
            cut: false,
        };
        for i in 0..columns * rows {
            let place = (i % columns, i / columns);
            let mut candidates = vec![(0, 0)];
            for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
                // The two coarse blocks on whose side this block lies, in both directions.
                let near = |p: usize, d: usize, n: usize| {
                    let side = if p % 2 == 1 {
                        p / 2 + d
                    } else {
                        (p / 2).saturating_sub(d)
                    };
                    side.min(n - 1)
                };
                let v = self.vectors[near(place.1, dy, coarse_rows) * self.columns + near(place.0, dx, self.columns)];
                candidates.push((2 * v.0, 2 * v.1));
            }
            let left = (place.0 > 0).then(|| out.vectors[i - 1]);
            let above = (place.1 > 0).then(|| out.vectors[i - columns]);
            candidates.extend(left.into_iter().chain(above));
            let guess = candidates[1];
            let rate = |v: Vector| cost(a, b, place, v) + price(v, guess);
            let mut best = candidates
                .into_iter()
                .map(clamped)
                .map(|v| (rate(v), v))
                .min()
                .unwrap_or((0, (0, 0)));
            for _ in 0..3 {
                let (around, centre) = (best.1, best.1);
                for (dx, dy) in [(4, 0), (-4, 0), (0, 4), (0, -4), (4, 4), (-4, -4), (4, -4), (-4, 4)] {
                    let v = clamped((around.0 + dx, around.1 + dy));
                    best = best.min((rate(v), v));
                }
                if best.1 == centre {
                    break;
                }
            }
            out.vectors.push(best.1);
        }
        out
    }

    /// Takes over a neighbour's vector where that fits better, then searches halves and quarters around it.
    fn quarter_pixels(&mut self, a: &Plane, b: &Plane, i: usize, place: (usize, usize)) {
        let guess = self.vectors[i];
        let rate = |v: Vector| cost(a, b, place, v) + price(v, guess);
        let mut best = (rate(guess), guess);
        let neighbours = [
            (place.0 > 0).then(|| i - 1),
            i.checked_sub(self.columns),
            (place.0 + 1 < self.columns).then_some(i + 1),
            Some(i + self.columns),
        ];
        for v in neighbours
            .into_iter()
            .flatten()
            .filter_map(|n| self.vectors.get(n).copied())
        {
            best = best.min((rate(v), v));
        }
        for step in [2, 1] {
            let centre = best.1;
            for (dx, dy) in [(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1), (1, -1), (-1, 1)] {
                let v = clamped((centre.0 + dx * step, centre.1 + dy * step));
                best = best.min((rate(v), v));
            }
        }
        self.vectors[i] = best.1;
    }
}

fn columns_of(plane: &Plane) -> usize {
    plane.width.div_ceil(STEP)
}

fn rows_of(plane: &Plane) -> usize {
    plane.height.div_ceil(STEP)
}

fn clamped(v: Vector) -> Vector {
    (v.0.clamp(-4 * MAX, 4 * MAX), v.1.clamp(-4 * MAX, 4 * MAX))
}

/// What it costs to differ from the expected vector.
fn price(v: Vector, guess: Vector) -> u32 {
    (v.0.abs_diff(guess.0) + v.1.abs_diff(guess.1)) * 2
}

/// Sum of absolute differences of a block's window between `before` shifted back and `after` shifted forth.
// One copy: inlined into the unrolled candidate loops it takes minutes to compile.
#[inline(never)]
fn cost(before: &Plane, after: &Plane, place: (usize, usize), v: Vector) -> u32 {
    let x = (place.0 * STEP) as i32 - STEP as i32 / 2;
    let y = (place.1 * STEP) as i32 - STEP as i32 / 2;
    let (ax, ay, bx, by) = (4 * x - v.0, 4 * y - v.1, 4 * x + v.0, 4 * y + v.1);
    let whole = [ax, ay, bx, by].iter().all(|c| c & 3 == 0);
    let mut sum = 0;
    for row in 0..WINDOW as i32 {
        let p = before.row(ax >> 2, (ay >> 2) + row);
        let q = after.row(bx >> 2, (by >> 2) + row);
        if whole {
            sum += p
                .iter()
                .zip(q)
                .take(WINDOW)
                .map(|(&s, &t)| u32::from(s.abs_diff(t)))
                .sum::<u32>();
            continue;
        }
        let p2 = before.row(ax >> 2, (ay >> 2) + row + 1);
        let q2 = after.row(bx >> 2, (by >> 2) + row + 1);
        for i in 0..WINDOW {
            let s = linear([p[i], p[i + 1], p2[i], p2[i + 1]], ax & 3, ay & 3);
            let t = linear([q[i], q[i + 1], q2[i], q2[i + 1]], bx & 3, by & 3);
            sum += (s.abs_diff(t) + 8) >> 4;
        }
    }
    sum
}

/// Sixteen times the value at quarter offsets within a square of four pixels.
#[inline(always)]
fn linear(c: [u8; 4], fx: i32, fy: i32) -> i32 {
    // Spelled out: `array::map` is not always inlined, and this is the innermost loop.
    let (a, b, c, d) = (i32::from(c[0]), i32::from(c[1]), i32::from(c[2]), i32::from(c[3]));
    (4 - fy) * ((4 - fx) * a + fx * b) + fy * ((4 - fx) * c + fx * d)
}
