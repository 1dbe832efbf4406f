//! How alike two frames are: PSNR and SSIM, for tests and for review.

use crate::{Error, Frame, Result};

fn same_size(a: &Frame, b: &Frame) -> Result<()> {
    if (a.width_px, a.height_px) == (b.width_px, b.height_px) {
        return Ok(());
    }
    Err(Error::FrameSizeMismatch {
        expected_width_px: a.width_px,
        expected_height_px: a.height_px,
        width_px: b.width_px,
        height_px: b.height_px,
    })
}

/// Peak signal-to-noise ratio over all three channels in dB; infinite for equal frames.
///
/// # Errors
/// [`Error::FrameSizeMismatch`] for frames of different sizes.
pub fn psnr(a: &Frame, b: &Frame) -> Result<f64> {
    same_size(a, b)?;
    Ok(psnr_of_bytes(&a.rgb, &b.rgb))
}

/// PSNR of two byte rows of equal length.
pub(crate) fn psnr_of_bytes(a: &[u8], b: &[u8]) -> f64 {
    let sum: u64 = a.iter().zip(b).map(|(&x, &y)| u64::from(x.abs_diff(y)).pow(2)).sum();
    if sum == 0 {
        f64::INFINITY
    } else {
        10.0 * (255.0f64 * 255.0 * a.len() as f64 / sum as f64).log10()
    }
}

/// Mean structural similarity of the luma, 8x8 windows every 4 pixels, from -1 to 1 (equal).
///
/// Source: Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004; the constants
/// are the paper's, the window is a box instead of a Gaussian.
///
/// # Errors
/// [`Error::FrameSizeMismatch`] for frames of different sizes.
pub fn ssim(a: &Frame, b: &Frame) -> Result<f64> {
    same_size(a, b)?;
    let (w, h) = (a.width_px as usize, a.height_px as usize);
    let (la, lb) = (a.luma(), b.luma());
    let (side_x, side_y) = (w.min(8), h.min(8));
    let (mut total, mut windows) = (0.0, 0u32);
    for y in (0..=h - side_y).step_by(4) {
        for x in (0..=w - side_x).step_by(4) {
            total += window_ssim(&la, &lb, w, (x, y), (side_x, side_y));
            windows += 1;
        }
    }
    Ok(total / f64::from(windows))
}

fn window_ssim(a: &[u8], b: &[u8], stride: usize, at: (usize, usize), side: (usize, usize)) -> f64 {
    const C1: f64 = (0.01 * 255.0) * (0.01 * 255.0);
    const C2: f64 = (0.03 * 255.0) * (0.03 * 255.0);
    let (mut sa, mut sb, mut saa, mut sbb, mut sab) = (0u32, 0u32, 0u32, 0u32, 0u32);
    for row in at.1..at.1 + side.1 {
        let from = row * stride + at.0;
        for (&p, &q) in a[from..from + side.0].iter().zip(&b[from..from + side.0]) {
            let (p, q) = (u32::from(p), u32::from(q));
            sa += p;
            sb += q;
            saa += p * p;
            sbb += q * q;
            sab += p * q;
        }
    }
    let n = (side.0 * side.1) as f64;
    let (ma, mb) = (f64::from(sa) / n, f64::from(sb) / n);
    let (va, vb) = (f64::from(saa) / n - ma * ma, f64::from(sbb) / n - mb * mb);
    let cov = f64::from(sab) / n - ma * mb;
    ((2.0 * ma * mb + C1) * (2.0 * cov + C2)) / ((ma * ma + mb * mb + C1) * (va + vb + C2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texture(shift: usize) -> Frame {
        let rgb = (0..64 * 48).flat_map(|i| [((i * 37 + shift) % 251) as u8; 3]).collect();
        Frame::new(64, 48, rgb).unwrap()
    }

    #[test]
    fn equal_frames_are_perfect_and_others_are_not() {
        let (a, b) = (texture(0), texture(90));
        assert_eq!(psnr(&a, &a).unwrap(), f64::INFINITY);
        assert!((ssim(&a, &a).unwrap() - 1.0).abs() < 1e-9);
        assert!(psnr(&a, &b).unwrap() < 15.0 && ssim(&a, &b).unwrap() < 0.5);
        assert!(psnr(&a, &Frame::filled(2, 2, [0; 3]).unwrap()).is_err());
    }

    #[test]
    fn psnr_of_a_known_error_is_known() {
        let a = Frame::filled(8, 8, [100; 3]).unwrap();
        let b = Frame::filled(8, 8, [101; 3]).unwrap();
        assert!((psnr(&a, &b).unwrap() - 48.1308).abs() < 1e-3);
        assert!(
            ssim(
                &Frame::filled(3, 1, [9; 3]).unwrap(),
                &Frame::filled(3, 1, [9; 3]).unwrap()
            )
            .unwrap()
                > 0.999
        );
    }
}
