//! Numbers of the frames themselves, and the frames as the judge sees them.

use kinora_media::Frame;
use kinora_models::judge::Config;
use kinora_tensor::Tensor;

use crate::{Error, Result};

/// Clips have this many times the judge's width and height, so that an area average makes its input exactly.
pub(crate) const SHRINK: usize = 2;

/// The frames that the judge looks at, halved by area average.
///
/// **Shapes**: frames of 2W×2H pixels → `[F, H, W, 3]` in 0..1. **Errors**: [`Error::Clip`] for other sizes, or no frames.
pub fn judge_input(frames: &[Frame], config: &Config) -> Result<Tensor> {
    let (width, height) = (config.width, config.height);
    let mut input = Tensor::zeros([config.frames, height, width, 3])?;
    let chosen = config.choose_frames(frames.len());
    if chosen.is_empty() {
        return Err(wrong("no frames".into(), width, height));
    }
    for (out, index) in input.as_mut_slice().chunks_exact_mut(height * width * 3).zip(chosen) {
        let frame = &frames[index];
        if (frame.width_px as usize, frame.height_px as usize) != (SHRINK * width, SHRINK * height) {
            let got = format!("{}x{} pixels", frame.width_px, frame.height_px);
            return Err(wrong(got, width, height));
        }
        halve(frame, out);
    }
    Ok(input)
}

fn wrong(got: String, width: usize, height: usize) -> Error {
    Error::Clip {
        got,
        expected: format!("it needs {}x{}", SHRINK * width, SHRINK * height),
    }
}

/// The mean of each 2×2 pixels, as a number in 0..1.
fn halve(frame: &Frame, out: &mut [f32]) {
    let row = frame.width_px as usize * 3;
    for (rows, out) in frame.rgb.chunks_exact(2 * row).zip(out.chunks_exact_mut(row / 2)) {
        let (above, below) = rows.split_at(row);
        for (x, pixel) in out.chunks_exact_mut(3).enumerate() {
            for (c, value) in pixel.iter_mut().enumerate() {
                let at = 6 * x + c;
                let sum: u16 = [above[at], above[at + 3], below[at], below[at + 3]]
                    .into_iter()
                    .map(u16::from)
                    .sum();
                *value = f32::from(sum) / (4.0 * 255.0);
            }
        }
    }
}

/// Mean cosine similarity of neighbouring rows of `width` numbers; 1 for a single row.
pub fn consistency(features: &[f32], width: usize) -> f64 {
    let rows: Vec<&[f32]> = features.chunks_exact(width.max(1)).collect();
    let similarities: Vec<f64> = rows.windows(2).map(|pair| cosine(pair[0], pair[1])).collect();
    match similarities.len() {
        0 => 1.0,
        count => similarities.iter().sum::<f64>() / count as f64,
    }
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum() };
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    // Nothing is like nothing.
    if lengths == 0.0 { 1.0 } else { dot(a, b) / lengths }
}

/// How much the brightness of the whole picture jumps to and fro: the mean over time of
/// |luma(t+1) - 2 luma(t) + luma(t-1)| / 2 of the frames' mean luma in 0..255. A steady change does not count; under three
/// frames there is none.
pub fn flicker(frames: &[Frame]) -> f64 {
    let luma: Vec<f64> = frames.iter().map(mean_luma).collect();
    let jumps: Vec<f64> = luma
        .windows(3)
        .map(|l| (l[2] - 2.0 * l[1] + l[0]).abs() / 2.0)
        .collect();
    match jumps.len() {
        0 => 0.0,
        count => jumps.iter().sum::<f64>() / count as f64,
    }
}

/// Differences of neighbouring frames on either side that a seam is compared with.
const NEIGHBOURS: usize = 4;
/// The least that frames are taken to differ by, of 255, so that a still clip does not divide by zero.
const LEAST_DIFFERENCE: f64 = 0.25;

/// How much the picture jumps from the last frame of `before` to the first of `after`: their mean absolute difference of
/// luma over the mean of those of the nearest neighbouring frames on both sides, four each at most. 1 is no seam to see.
/// `None` without two frames on each side, or for frames of different sizes.
pub fn seam(before: &[Frame], after: &[Frame]) -> Option<f64> {
    let jump = difference(before.last()?, after.first()?)?;
    let near = &before[before.len().saturating_sub(NEIGHBOURS + 1)..];
    let mut beside = Vec::new();
    for side in [near, &after[..after.len().min(NEIGHBOURS + 1)]] {
        let differences: Option<Vec<f64>> = side.windows(2).map(|pair| difference(&pair[0], &pair[1])).collect();
        beside.extend(differences.filter(|differences| !differences.is_empty())?);
    }
    let usual = beside.iter().sum::<f64>() / beside.len() as f64;
    Some(jump / usual.max(LEAST_DIFFERENCE))
}

/// Mean absolute difference of luma, of 255.
fn difference(a: &Frame, b: &Frame) -> Option<f64> {
    if (a.width_px, a.height_px) != (b.width_px, b.height_px) {
        return None;
    }
    let (a, b) = (a.luma(), b.luma());
    let sum: u64 = a.iter().zip(&b).map(|(&a, &b)| u64::from(a.abs_diff(b))).sum();
    Some(sum as f64 / a.len().max(1) as f64)
}

/// BT.709 weights in 256ths, as everywhere in Kinora, without rounding each pixel.
fn mean_luma(frame: &Frame) -> f64 {
    let mut sums = [0u64; 3];
    for pixel in frame.rgb.chunks_exact(3) {
        sums.iter_mut().zip(pixel).for_each(|(sum, &v)| *sum += u64::from(v));
    }
    let weighted = 54 * sums[0] + 183 * sums[1] + 19 * sums[2];
    weighted as f64 / 256.0 / (frame.rgb.len() / 3).max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(levels: &[u8]) -> Vec<Frame> {
        levels.iter().map(|&v| Frame::filled(4, 2, [v; 3]).unwrap()).collect()
    }

    #[test]
    fn a_quarter_of_a_picture_is_the_mean_of_its_pixels() {
        let mut frame = Frame::filled(4, 2, [0; 3]).unwrap();
        frame.rgb[0] = 255; // red of the first pixel
        frame.rgb[12 + 3 + 1] = 102; // green of the second one below it
        frame.rgb[6..12].fill(51); // the third and fourth of the first row
        let mut out = [9.0; 6];
        halve(&frame, &mut out);
        assert_eq!(out, [0.25, 0.1, 0.0, 0.1, 0.1, 0.1]);
    }

    #[test]
    fn flicker_is_what_jumps_to_and_fro() {
        assert_eq!(flicker(&grey(&[10, 20, 30, 40])), 0.0);
        assert_eq!(flicker(&grey(&[10, 20, 10, 20])), 10.0);
        assert_eq!(flicker(&grey(&[10, 200])), 0.0);
    }

    #[test]
    fn a_seam_is_a_jump_that_is_larger_than_its_neighbours() {
        let steady = grey(&[10, 12, 14, 16, 18, 20, 22, 24]);
        assert_eq!(seam(&steady[..4], &steady[4..]), Some(1.0), "constant motion");
        assert_eq!(seam(&steady[..2], &grey(&[212, 214])), Some(100.0), "a cut");
        // Only what is near counts: the jump from 200 to 10 is six frames back.
        assert_eq!(seam(&grey(&[200, 10, 11, 12, 13, 14]), &grey(&[15, 16])), Some(1.0));
        assert_eq!(
            seam(&grey(&[9, 9]), &grey(&[19, 19])),
            Some(40.0),
            "a cut between stills"
        );
        assert_eq!(seam(&grey(&[9]), &grey(&[19, 19])), None);
        assert_eq!(seam(&[], &[]), None);
    }

    #[test]
    fn likeness_is_the_cosine_of_neighbours() {
        assert_eq!(consistency(&[1.0, 0.0, 2.0, 0.0, 0.0, 3.0], 2), 0.5);
        assert_eq!(consistency(&[1.0, 2.0], 2), 1.0);
        assert_eq!(consistency(&[0.0; 4], 2), 1.0);
    }
}
