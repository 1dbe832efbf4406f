//! From a frame to what the picture encoder reads.
//!
//! **Source**: `CLIPImageProcessorPil`, transformers 5.23.0 (Apache-2.0).

use kinora_tensor::Tensor;

use super::resize::bicubic;
use crate::{Error, Result};

/// What CLIP was trained with.
const MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
const STD: [f32; 3] = [0.268_629_54, 0.261_302_6, 0.275_777_1];

/// Longest side of a frame over its shortest: beyond, scaling would ask for more memory than a picture is worth.
const MAX_ASPECT: usize = 256;

/// A frame as bytes, its shorter side scaled to `size`, the middle cut out. `[size, size]` pixels.
pub(super) fn scaled(frame: &Tensor, size: usize) -> Result<Vec<[u8; 3]>> {
    let [height, width, channels] = frame.dims_of("clip vision", "[H, W, 3]")?;
    let (short, long) = (height.min(width), height.max(width));
    if channels != 3 || short == 0 || long / short > MAX_ASPECT {
        return Err(frame
            .mismatch(
                "clip vision",
                format!("[H, W, 3], one side at most {MAX_ASPECT} times the other"),
            )
            .into());
    }
    if let Some(value) = frame.as_slice().iter().find(|v| !v.is_finite()) {
        return Err(Error::Picture {
            reason: format!("a pixel is {value}"),
        });
    }
    let pixels: Vec<[u8; 3]> = frame
        .as_slice()
        .as_chunks::<3>()
        .0
        .iter()
        .map(|pixel| pixel.map(|v| (v * 255.0).round().clamp(0.0, 255.0) as u8))
        .collect();
    let long_side = size * long / short;
    let to = match width <= height {
        true => [long_side, size],
        false => [size, long_side],
    };
    let whole = bicubic(&pixels, [height, width], to);
    let [top, left] = to.map(|side| (side - size) / 2);
    let rows = whole.chunks_exact(to[1]).skip(top).take(size);
    Ok(rows.flat_map(|row| &row[left..left + size]).copied().collect())
}

/// A frame as the encoder reads it: scaled, cut, and normalised by CLIP's mean and deviation.
///
/// **Shapes**: `frame [H, W, 3]` -> `[size, size, 3]`. **Range**: 0 to 1 (bytes are made of it, as Pillow works with bytes).
///
/// **Errors**: another shape, a side of 0 or a very long one, a value that is no number.
pub fn pixels(frame: &Tensor, size: usize) -> Result<Tensor> {
    let bytes = scaled(frame, size)?;
    let values: Vec<f32> = bytes
        .iter()
        .flat_map(|pixel| [0, 1, 2].map(|c| (f32::from(pixel[c]) / 255.0 - MEAN[c]) / STD[c]))
        .collect();
    Ok(Tensor::from_slice(&values, [size, size, 3])?)
}

#[cfg(test)]
mod tests {
    use kinora_testkit::{Golden, assert_close};

    use super::*;

    fn frame(golden: &Golden, name: &str) -> Tensor {
        let values: Vec<f32> = golden.bytes(name).iter().map(|&b| f32::from(b) / 255.0).collect();
        Tensor::from_slice(&values, golden.shape(name)).unwrap()
    }

    #[test]
    fn every_picture_is_scaled_to_the_byte_as_pillow_does() {
        let golden = Golden::open(env!("CARGO_MANIFEST_DIR"), "clip_vision_tiny");
        let mut compared = 0;
        while golden.has(&format!("picture.{compared}")) {
            let (name, want) = (
                format!("picture.{compared}"),
                golden.bytes(&format!("scaled.{compared}")),
            );
            let size = golden.shape(&format!("scaled.{compared}"))[0];
            let got = scaled(&frame(&golden, &name), size).unwrap().concat();
            assert_eq!(got, want, "{name} {:?}", golden.shape(&name));
            compared += 1;
        }
        assert_eq!(compared, 10);
    }

    #[test]
    fn pixels_are_normalised_as_in_the_pipeline() {
        let golden = Golden::open(env!("CARGO_MANIFEST_DIR"), "wan_pipeline_i2v21_tiny");
        let got = pixels(&frame(&golden, "image"), 28).unwrap();
        // [1, 3, 28, 28]
        let want = golden.tensor("clip.pixels");
        let want: Vec<f32> = (0..28 * 28 * 3)
            .map(|i| want.as_slice()[i % 3 * 28 * 28 + i / 3])
            .collect();
        assert_close("clip.pixels", got.as_slice(), &want, 1e-6);
    }

    #[test]
    fn frames_that_are_none_are_refused() {
        for dims in [&[4, 4][..], &[4, 4, 4], &[0, 4, 3], &[1, 300, 3]] {
            assert!(pixels(&Tensor::zeros(dims).unwrap(), 28).is_err(), "{dims:?}");
        }
        let mut frame = Tensor::zeros([4, 4, 3]).unwrap();
        frame.as_mut_slice()[5] = f32::NAN;
        assert!(pixels(&frame, 28).unwrap_err().to_string().contains("NaN"));
    }
}
