//! Latents put together and taken apart along time.

use std::ops::Range;

use kinora_tensor::Tensor;

use crate::Result;

/// `[1, C, A, h, w]` and `[1, C, B, h, w]` → `[1, C, A + B, h, w]`.
pub(crate) fn join_frames(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let [_, channels, before, height, width] = a.dims_of("join_frames", "[1, C, A, h, w]")?;
    let [_, _, after, ..] = b.dims_of::<5>("join_frames", "[1, C, B, h, w]")?;
    let area = height * width;
    let mut joined = a.uninit_like([1, channels, before + after, height, width])?;
    let planes = joined.as_mut_slice().chunks_exact_mut(((before + after) * area).max(1));
    let sources = a
        .as_slice()
        .chunks_exact((before * area).max(1))
        .zip(b.as_slice().chunks_exact((after * area).max(1)));
    for (plane, (first, second)) in planes.zip(sources) {
        let (start, end) = plane.split_at_mut(before * area);
        start.copy_from_slice(first);
        end.copy_from_slice(second);
    }
    Ok(joined)
}

/// The latent frames `range` of `latents`, which must have them: `[1, C, F, h, w]` → `[1, C, range, h, w]`.
pub(crate) fn take_frames(latents: &Tensor, range: Range<usize>) -> Result<Tensor> {
    let [_, channels, frames, height, width] = latents.dims_of("take_frames", "[1, C, F, h, w]")?;
    if range.end > frames || range.start > range.end {
        let expected = format!("[1, C, {} or more, h, w]", range.end);
        return Err(latents.mismatch("take_frames", expected).into());
    }
    let area = height * width;
    let mut taken = latents.uninit_like([1, channels, range.len(), height, width])?;
    let planes = taken.as_mut_slice().chunks_exact_mut((range.len() * area).max(1));
    for (target, source) in planes.zip(latents.as_slice().chunks_exact((frames * area).max(1))) {
        target.copy_from_slice(&source[range.start * area..range.end * area]);
    }
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_joined_is_taken_apart_again() {
        let tensor = |values: &[f32]| Tensor::from_slice(values, [1, 2, values.len() / 2, 1, 1]).unwrap();
        let (a, b) = (tensor(&[1.0, 4.0]), tensor(&[2.0, 3.0, 5.0, 6.0]));
        let joined = join_frames(&a, &b).unwrap();
        assert_eq!(joined.as_slice(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(take_frames(&joined, 0..1).unwrap().as_slice(), a.as_slice());
        let end = take_frames(&joined, 1..3).unwrap();
        assert_eq!((end.dims(), end.as_slice()), (b.dims(), b.as_slice()));
        assert!(take_frames(&joined, 2..4).is_err());
    }
}
