//! Scaling with Lanczos3, and fitting a picture of any shape into a size.
//!
//! Scaling works on the gamma-coded values, as video scalers do.

use crate::{Error, Frame, Result};
use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

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

/// Copies `part` onto `onto` at a place where it fits entirely.
pub(crate) fn paste(onto: &mut Frame, part: &Frame, x: u32, y: u32) {
    let row = 3 * part.width_px as usize;
    for (i, line) in part.rgb.chunks_exact(row).enumerate() {
        let at = 3 * ((y as usize + i) * onto.width_px as usize + x as usize);
        onto.rgb[at..at + row].copy_from_slice(line);
    }
}

fn scaled(frame: &Frame, size: (u32, u32), crop: (f64, f64, f64, f64)) -> Result<Frame> {
    let (fw, fh) = (frame.width_px, frame.height_px);
    if size == (fw, fh) && crop == (0.0, 0.0, f64::from(fw), f64::from(fh)) {
        return Ok(frame.clone());
    }
    // Checks the size before anything is allocated for it.
    let empty = Frame::filled(size.0, size.1, [0; 3])?;
    let wrong = |detail: String| Error::Encode {
        codec: "resize",
        detail,
    };
    let source = ImageRef::new(fw, fh, &frame.rgb, PixelType::U8x3).map_err(|e| wrong(e.to_string()))?;
    let mut target =
        Image::from_vec_u8(size.0, size.1, empty.rgb, PixelType::U8x3).map_err(|e| wrong(e.to_string()))?;
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3))
        .crop(crop.0, crop.1, crop.2, crop.3)
        .use_alpha(false);
    Resizer::new()
        .resize(&source, &mut target, &options)
        .map_err(|e| wrong(e.to_string()))?;
    Frame::new(size.0, size.1, target.into_vec())
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
