//! VP8 key frames: the payload of a lossy WebP's `VP8 ` chunk is one, which gives us both animated WebP and all-intra WebM.
//!
//! Encoding is libwebp's (vendored C, called only on our own frames); decoding is `image-webp` (safe Rust), so a file from
//! outside never reaches C code.

use crate::colour::{I420, Tags};
use crate::error::guarded;
use crate::{Error, Frame, Quality, Result};
use libwebp_sys as ffi;
use std::io::Cursor;

/// VP8 stores a side in 14 bits.
pub(crate) const MAX_SIDE_PX: u32 = 16_383;

/// Refuses sizes that VP8 cannot store.
pub(crate) fn check_size(width_px: u32, height_px: u32) -> Result<()> {
    if width_px.max(height_px) > MAX_SIDE_PX {
        return Err(Error::InvalidOption {
            option: "size",
            reason: format!("webm and webp take sides up to {MAX_SIDE_PX}, got {width_px}x{height_px}"),
            hint: "a smaller size".into(),
        });
    }
    Ok(())
}

/// Bytes that libwebp allocated.
struct Written(ffi::WebPMemoryWriter);

impl Drop for Written {
    fn drop(&mut self) {
        // SAFETY: the writer was initialised by WebPMemoryWriterInit and is cleared exactly once.
        unsafe { ffi::WebPMemoryWriterClear(&mut self.0) }
    }
}

/// One frame as a VP8 key frame.
pub(crate) fn encode(frame: &Frame, quality: Quality) -> Result<Vec<u8>> {
    let failed = |detail: String| Error::Encode { codec: "vp8", detail };
    check_size(frame.width_px, frame.height_px)?;
    let mut planes = I420::from_frame(frame, Tags::VP8);
    let mut config = ffi::WebPConfig::new_with_preset(ffi::WebPPreset::WEBP_PRESET_DEFAULT, f32::from(quality.get()))
        .map_err(|()| failed("its version does not fit the bindings".into()))?;
    config.method = 4;
    let mut picture = ffi::WebPPicture::new().map_err(|()| failed("its version does not fit the bindings".into()))?;
    picture.use_argb = 0;
    picture.colorspace = ffi::WebPEncCSP::WEBP_YUV420;
    picture.width = frame.width_px as i32;
    picture.height = frame.height_px as i32;
    picture.y = planes.y.as_mut_ptr();
    picture.u = planes.u.as_mut_ptr();
    picture.v = planes.v.as_mut_ptr();
    picture.y_stride = planes.width as i32;
    picture.uv_stride = planes.width.div_ceil(2) as i32;
    let mut writer = std::mem::MaybeUninit::uninit();
    // SAFETY: WebPMemoryWriterInit fills the whole struct (it is a plain C struct that it zeroes).
    let mut writer = Written(unsafe {
        ffi::WebPMemoryWriterInit(writer.as_mut_ptr());
        writer.assume_init()
    });
    picture.writer = Some(ffi::WebPMemoryWrite);
    picture.custom_ptr = (&raw mut writer.0).cast();
    // SAFETY: the planes hold height x stride bytes each and outlive the call; libwebp does not own them, and frees what it
    // allocated for the picture in WebPPictureFree; the writer outlives the call too.
    let ok = unsafe {
        let ok = ffi::WebPEncode(&config, &mut picture);
        ffi::WebPPictureFree(&mut picture);
        ok
    };
    if ok == 0 {
        return Err(failed(format!("{:?}", picture.error_code)));
    }
    // SAFETY: after a successful encode the writer holds `size` initialised bytes at `mem`.
    let file = unsafe { std::slice::from_raw_parts(writer.0.mem, writer.0.size) };
    let payload = file
        .get(12..)
        .and_then(|chunks| crate::webp::chunks(chunks).find(|c| c.0 == *b"VP8 "));
    payload
        .map(|c| c.1.to_vec())
        .ok_or_else(|| failed("it wrote no VP8 chunk".into()))
}

/// The picture of a VP8 key frame, which must have the stated size.
pub(crate) fn decode(payload: &[u8], width_px: u32, height_px: u32) -> Result<Frame> {
    if key_frame_size(payload) != Some((width_px, height_px)) {
        return Err(Error::malformed("vp8", "a frame is no key frame of the clip's size"));
    }
    let mut file = Vec::with_capacity(payload.len() + 21);
    let padded = payload.len() + payload.len() % 2;
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&(padded as u32 + 12).to_le_bytes());
    file.extend_from_slice(b"WEBPVP8 ");
    file.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    file.extend_from_slice(payload);
    file.resize(padded + 20, 0);
    guarded("vp8", || {
        let bad = |e: image_webp::DecodingError| Error::malformed("vp8", e.to_string());
        let mut decoder = image_webp::WebPDecoder::new(Cursor::new(file)).map_err(bad)?;
        let mut rgb = vec![0; decoder.output_buffer_size().unwrap_or(0)];
        decoder.read_image(&mut rgb).map_err(bad)?;
        Frame::new(width_px, height_px, rgb)
    })
}

/// Width and height in a key frame's header (RFC 6386, 9.1); `None` for inter frames.
pub(crate) fn key_frame_size(payload: &[u8]) -> Option<(u32, u32)> {
    let head = payload.get(..10)?;
    let side = |at: usize| u32::from(u16::from_le_bytes([head[at], head[at + 1]]) & 0x3fff);
    (head[0] & 1 == 0 && head[3..6] == [0x9d, 0x01, 0x2a]).then(|| (side(6), side(8)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::psnr;

    #[test]
    fn key_frames_survive_the_round_trip_at_any_size() {
        for (w, h) in [(1, 1), (17, 9), (64, 48), (33, 70)] {
            let rgb = (0..w * h)
                .flat_map(|i| [(i % w * 200 / w) as u8, (i / w * 200 / h) as u8, 90])
                .collect();
            let f = Frame::new(w, h, rgb).unwrap();
            let payload = encode(&f, Quality::new(95).unwrap()).unwrap();
            assert_eq!(payload, encode(&f, Quality::new(95).unwrap()).unwrap());
            let back = decode(&payload, w, h).unwrap();
            assert!(
                psnr(&f, &back).unwrap() > 32.0,
                "{w}x{h}: {:.1}",
                psnr(&f, &back).unwrap()
            );
            assert!(decode(&payload, w + 1, h).is_err());
        }
        assert!(encode(&Frame::filled(16_384, 1, [0; 3]).unwrap(), Quality::default()).is_err());
    }
}
