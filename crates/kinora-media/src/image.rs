//! Reading still images from anywhere, and writing posters.
//!
//! Everything is checked before it is decoded: bytes on the disk, pixels in the header, memory that decoding takes. Colour
//! profiles are not applied: numbers are taken as sRGB. Transparency is laid on [`Limits::matte`].

use crate::error::guarded;
use crate::gif::GifClip;
use crate::reader::Limits;
use crate::sniff::{Kind, sniff};
use crate::temp::TempFile;
use crate::webp::WebPClip;
use crate::{Error, Frame, Quality, Result, png, webp};
use std::path::Path;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// An image as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadImage {
    /// The picture, upright, without transparency.
    pub frame: Frame,
    /// `jpeg`, `png`, `webp` or `gif`.
    pub format: &'static str,
    /// Whether the file is an animation, of which this is the first frame: worth telling the user.
    pub animated: bool,
    /// Whether the camera's orientation note turned or mirrored the picture.
    pub reoriented: bool,
}

/// Reads a JPEG, PNG, WebP or GIF.
///
/// # Errors
/// Missing or unreadable files, other kinds of files, damaged or truncated data, anything beyond the limits.
pub fn read_image(path: &Path, limits: &Limits) -> Result<ReadImage> {
    let kind = sniff(path)?;
    let format = match kind {
        Kind::Jpeg => "jpeg",
        Kind::Png => "png",
        Kind::WebP => "webp",
        Kind::Gif => "gif",
        Kind::Folder => {
            return Err(Error::Io {
                op: "read",
                path: path.into(),
                source: std::io::ErrorKind::IsADirectory.into(),
            });
        }
        Kind::OtherImage(what) => {
            return Err(Error::Unsupported {
                what: what.into(),
                hint: "export it as jpeg or png".into(),
            });
        }
        Kind::Mp4 | Kind::Matroska | Kind::Foreign(..) => {
            return Err(Error::Unsupported {
                what: format!("{} (a video, where an image is needed)", path.display()),
                hint: "choose a jpeg, png, webp or gif; to continue a video use --extend".into(),
            });
        }
    };
    let file = limits.read_file(path)?;
    let (frame, exif, animated) = match kind {
        Kind::Jpeg => jpeg(&file, limits)?,
        Kind::Png => {
            let (w, h) = png::size(&file).ok_or_else(|| Error::malformed("png", "the header is cut off"))?;
            limits.check_size(w, h)?;
            let d = png::decode_over(&file, limits.memory_bytes, limits.matte)?;
            (d.frame, d.exif, d.animated)
        }
        Kind::WebP => {
            let exif = webp::chunks(file.get(12..).unwrap_or_default())
                .find(|c| c.0 == *b"EXIF")
                .map(|c| c.1.to_vec());
            let mut clip = WebPClip::open(file, limits)?;
            let frame = clip.next_frame()?.ok_or(Error::NoFrames)?;
            (frame, exif, clip.animated)
        }
        _ => {
            let mut clip = GifClip::open(file, limits)?;
            let frame = clip.next_frame()?.ok_or(Error::NoFrames)?;
            (frame, None, clip.info.frames > 1)
        }
    };
    let orientation = exif.as_deref().and_then(orientation).unwrap_or(1);
    Ok(ReadImage {
        frame: oriented(frame, orientation),
        format,
        animated,
        reoriented: orientation != 1,
    })
}

/// Whether and how large a JPEG is, and its picture.
fn jpeg(file: &[u8], limits: &Limits) -> Result<(Frame, Option<Vec<u8>>, bool)> {
    if !jpeg_is_whole(file) {
        return Err(Error::malformed("jpeg", "the file ends early"));
    }
    guarded("jpeg", || {
        let bad = |e: zune_jpeg::errors::DecodeErrors| Error::malformed("jpeg", e.to_string());
        let side = crate::MAX_SIDE_PX as usize;
        let options = DecoderOptions::default()
            .set_max_width(side)
            .set_max_height(side)
            .jpeg_set_out_colorspace(ColorSpace::RGB);
        let mut decoder = zune_jpeg::JpegDecoder::new_with_options(std::io::Cursor::new(file), options);
        decoder.decode_headers().map_err(bad)?;
        let info = decoder
            .info()
            .ok_or_else(|| Error::malformed("jpeg", "no picture header"))?;
        limits.check_size(u32::from(info.width), u32::from(info.height))?;
        let exif = decoder.exif().cloned();
        let rgb = decoder.decode().map_err(bad)?;
        Ok((
            Frame::new(u32::from(info.width), u32::from(info.height), rgb)?,
            exif,
            false,
        ))
    })
}

/// Walks the segments to the end mark: decoders quietly fill the missing rest of a truncated picture with grey.
fn jpeg_is_whole(file: &[u8]) -> bool {
    let mut at = 2;
    while let Some(&[0xff, marker]) = file.get(at..at + 2) {
        match marker {
            0xff => at += 1,
            0xd9 => return true,
            0x01 | 0xd0..=0xd8 => at += 2,
            _ => {
                let Some(&[high, low]) = file.get(at + 2..at + 4) else {
                    return false;
                };
                at += 2 + usize::from(u16::from_be_bytes([high, low]));
                if marker == 0xda {
                    // Entropy-coded data: the next 0xff that is neither stuffed nor a restart mark.
                    while file
                        .get(at..at + 2)
                        .is_some_and(|w| w[0] != 0xff || matches!(w[1], 0 | 0xd0..=0xd7))
                    {
                        at += 1;
                    }
                }
            }
        }
    }
    false
}

/// RGBA laid on a matte, in gamma-coded values as browsers do.
pub(crate) fn over_matte(rgba: &[u8], matte: [u8; 3]) -> Vec<u8> {
    let mut rgb = Vec::with_capacity(rgba.len() / 4 * 3);
    for p in rgba.chunks_exact(4) {
        let a = u32::from(p[3]);
        rgb.extend((0..3).map(|i| ((u32::from(p[i]) * a + u32::from(matte[i]) * (255 - a) + 127) / 255) as u8));
    }
    rgb
}

/// The orientation tag (0x0112) in the first directory of an EXIF block, 1 to 8. **Source**: CIPA DC-008.
fn orientation(exif: &[u8]) -> Option<u16> {
    let tiff = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
    let big = match tiff.get(..2)? {
        b"MM" => true,
        b"II" => false,
        _ => return None,
    };
    let u16_at = |at: usize| {
        let b = [*tiff.get(at)?, *tiff.get(at + 1)?];
        Some(if big {
            u16::from_be_bytes(b)
        } else {
            u16::from_le_bytes(b)
        })
    };
    let b: [u8; 4] = tiff.get(4..8)?.try_into().ok()?;
    let directory = if big {
        u32::from_be_bytes(b)
    } else {
        u32::from_le_bytes(b)
    } as usize;
    let count = usize::from(u16_at(directory)?);
    let entry = (0..count)
        .map(|i| directory + 2 + 12 * i)
        .find(|&at| u16_at(at) == Some(0x0112))?;
    u16_at(entry + 8).filter(|o| (1..=8).contains(o))
}

/// The frame as the orientation (1 to 8) asks for it to be shown.
pub(crate) fn oriented(frame: Frame, orientation: u16) -> Frame {
    let (w, h) = (frame.width_px as usize, frame.height_px as usize);
    let swap = orientation >= 5;
    let (ow, oh) = if swap { (h, w) } else { (w, h) };
    if orientation == 1 {
        return frame;
    }
    let mut rgb = Vec::with_capacity(frame.rgb.len());
    for y in 0..oh {
        for x in 0..ow {
            let (sx, sy) = match orientation {
                2 => (w - 1 - x, y),
                3 => (w - 1 - x, h - 1 - y),
                4 => (x, h - 1 - y),
                5 => (y, x),
                6 => (y, h - 1 - x),
                7 => (w - 1 - y, h - 1 - x),
                8 => (w - 1 - y, x),
                _ => (x, y),
            };
            let at = 3 * (sy * w + sx);
            rgb.extend_from_slice(&frame.rgb[at..at + 3]);
        }
    }
    Frame {
        width_px: ow as u32,
        height_px: oh as u32,
        rgb,
    }
}

/// Writes one frame as a JPEG (`.jpg`, `.jpeg`), WebP (`.webp`) or PNG (`.png`), whole or not at all. JPEG and WebP hold no
/// metadata here.
///
/// # Errors
/// Another extension, or what the system says.
pub fn write_image(path: &Path, frame: &Frame, quality: Quality, metadata: &[(String, String)]) -> Result<()> {
    let extension = path
        .extension()
        .map(|e| e.to_string_lossy().to_ascii_lowercase())
        .unwrap_or_default();
    let bytes = match extension.as_str() {
        "png" => png::encode(frame, metadata, false)?,
        "webp" => webp::still(frame, quality)?,
        "jpg" | "jpeg" => {
            let mut out = Vec::new();
            let mut encoder = jpeg_encoder::Encoder::new(&mut out, quality.get().max(1));
            encoder.set_optimized_huffman_tables(true);
            encoder
                .encode(
                    &frame.rgb,
                    frame.width_px as u16,
                    frame.height_px as u16,
                    jpeg_encoder::ColorType::Rgb,
                )
                .map_err(|e| Error::Encode {
                    codec: "jpeg",
                    detail: e.to_string(),
                })?;
            out
        }
        other => {
            return Err(Error::InvalidOption {
                option: "output",
                reason: format!("images are written as png, jpg or webp, not {other:?}"),
                hint: "end the name in .png, .jpg or .webp".into(),
            });
        }
    };
    let mut out = TempFile::beside(path)?;
    out.write(&bytes)?;
    out.close()?.publish()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_orientations_put_the_corner_where_it_belongs() {
        // A 3x2 picture whose top left pixel is marked; where CIPA DC-008 puts that pixel.
        let cases = [
            (1, (0, 0)),
            (2, (2, 0)),
            (3, (2, 1)),
            (4, (0, 1)),
            (5, (0, 0)),
            (6, (1, 0)),
            (7, (1, 2)),
            (8, (0, 2)),
        ];
        for (orientation, (x, y)) in cases {
            let mut rgb = vec![0; 18];
            rgb[0] = 255;
            let f = oriented(Frame::new(3, 2, rgb).unwrap(), orientation);
            assert_eq!(
                (f.width_px, f.height_px),
                if orientation >= 5 { (2, 3) } else { (3, 2) }
            );
            assert_eq!(f.pixel(x, y)[0], 255, "orientation {orientation}");
        }
    }

    #[test]
    fn a_webp_that_does_not_move_is_read_back() {
        let folder = std::env::temp_dir().join(format!("kinora-still-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        for (width, height) in [(64, 48), (33, 17)] {
            let path = folder.join("still.webp");
            let frame = Frame::filled(width, height, [200, 40, 40]).unwrap();
            write_image(&path, &frame, Quality::default(), &[]).unwrap();
            let read = read_image(&path, &Limits::default()).unwrap();
            assert_eq!((read.format, read.animated), ("webp", false));
            assert_eq!((read.frame.width_px, read.frame.height_px), (width, height));
            assert!(crate::psnr(&frame, &read.frame).unwrap() > 30.0);
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn orientation_is_found_in_both_byte_orders() {
        let little = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0";
        let big = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x08\0\0";
        assert_eq!((orientation(little), orientation(big)), (Some(6), Some(8)));
        for n in 0..little.len() {
            let _ = orientation(&little[..n]);
        }
    }

    #[test]
    fn transparency_lands_on_the_matte() {
        assert_eq!(
            over_matte(&[10, 20, 30, 0, 10, 20, 30, 255, 0, 0, 0, 128], [255, 255, 255]),
            [255, 255, 255, 10, 20, 30, 127, 127, 127]
        );
    }
}
