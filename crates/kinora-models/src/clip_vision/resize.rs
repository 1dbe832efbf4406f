//! Scaling pictures of bytes with a bicubic filter, to the bit as Pillow does.
//!
//! **Source**: Pillow 13.0.0, `src/libImaging/Resample.c` (MIT-CMU): the filter is stretched when a picture shrinks, each pass works
//! with weights of 22 bits behind the point, and the result of the first pass is rounded to bytes again. (Pillow before 13 always takes columns first, but for pictures a
//! hundred times as tall as wide: bytes of tall pictures can differ by a few.)

/// Bits behind the point of a weight.
const PRECISION: u32 = 22;
/// How far the filter reaches at the same size.
const SUPPORT: f64 = 2.0;

/// Pixels from `[height, width, C]` to `[new_height, new_width, C]`.
pub(super) fn bicubic<const C: usize>(
    pixels: &[[u8; C]],
    [height, width]: [usize; 2],
    [new_height, new_width]: [usize; 2],
) -> Vec<[u8; C]> {
    // The order shows in the last bit. Rows first where that leaves much less for the columns.
    let (lost_rows, lost_columns) = (height as i64 - new_height as i64, width as i64 - new_width as i64);
    if lost_rows > 0 && lost_rows > 2 * lost_columns {
        columns(&rows(pixels, [height, width], new_height), width, new_width)
    } else {
        rows(&columns(pixels, width, new_width), [height, new_width], new_height)
    }
}

/// Another number of columns.
fn columns<const C: usize>(pixels: &[[u8; C]], width: usize, new_width: usize) -> Vec<[u8; C]> {
    if width == new_width {
        return pixels.to_vec();
    }
    let outputs = outputs(width, new_width);
    let rows = pixels.chunks_exact(width);
    rows.flat_map(|row| outputs.iter().map(|output| output.mix(|i| row[i])))
        .collect()
}

/// Another number of rows.
fn rows<const C: usize>(pixels: &[[u8; C]], [height, width]: [usize; 2], new_height: usize) -> Vec<[u8; C]> {
    if height == new_height {
        return pixels.to_vec();
    }
    let outputs = outputs(height, new_height);
    let places = outputs.iter().flat_map(|output| (0..width).map(move |x| (output, x)));
    places
        .map(|(output, x)| output.mix(|i| pixels[i * width + x]))
        .collect()
}

/// What one pixel is mixed of.
struct Output {
    first: usize,
    weights: Vec<i64>,
}

impl Output {
    fn mix<const C: usize>(&self, pixel: impl Fn(usize) -> [u8; C]) -> [u8; C] {
        let mut sums = [1i64 << (PRECISION - 1); C];
        for (i, weight) in self.weights.iter().enumerate() {
            for (sum, value) in sums.iter_mut().zip(pixel(self.first + i)) {
                *sum += weight * i64::from(value);
            }
        }
        sums.map(|sum| (sum >> PRECISION).clamp(0, 255) as u8)
    }
}

/// The weights of one direction.
fn outputs(from: usize, to: usize) -> Vec<Output> {
    let scale = from as f64 / to as f64;
    let stretch = scale.max(1.0);
    let support = SUPPORT * stretch;
    let output = |i: usize| {
        let center = (i as f64 + 0.5) * scale;
        let first = (center - support + 0.5).max(0.0) as usize;
        let end = ((center + support + 0.5) as usize).min(from);
        let weights: Vec<f64> = (first..end)
            .map(|x| cubic((x as f64 - center + 0.5) / stretch))
            .collect();
        let sum: f64 = weights.iter().sum();
        let fixed = |weight: &f64| {
            let scaled = weight / sum * f64::from(1 << PRECISION);
            (scaled + 0.5f64.copysign(scaled)) as i64
        };
        Output {
            first,
            weights: weights.iter().map(fixed).collect(),
        }
    };
    (0..to).map(output).collect()
}

/// Keys' cubic with a = -1/2.
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < SUPPORT {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_colour_stays_and_an_equal_size_changes_nothing() {
        let grey = vec![[17u8, 200, 255]; 35];
        assert!(
            bicubic(&grey, [5, 7], [11, 3])
                .iter()
                .all(|pixel| *pixel == [17, 200, 255])
        );
        let noise: Vec<[u8; 1]> = (0..35u32).map(|i| [(i * 97 % 256) as u8]).collect();
        assert_eq!(bicubic(&noise, [5, 7], [5, 7]), noise);
        assert_eq!(bicubic(&noise, [5, 7], [1, 1]).len(), 1);
    }

    #[test]
    fn an_edge_is_sharpened_and_clamped() {
        // Halfway between two pixels the filter has the weights -1/16, 9/16, 9/16, -1/16.
        let edge: Vec<[u8; 1]> = [0, 0, 0, 0, 255, 255, 255, 255].map(|v| [v]).into();
        let wide = bicubic(&edge, [1, 8], [1, 16]);
        assert_eq!((wide[0], wide[15]), ([0], [255]));
        assert!(wide[7][0] > 20 && wide[7][0] < 110, "{wide:?}");
        assert_eq!(wide[7][0] as u16 + wide[8][0] as u16, 255);
    }
}
