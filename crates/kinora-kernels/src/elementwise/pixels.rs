//! Operations that only move pixels, channels last.

use kinora_tensor::Tensor;

use crate::{Path, Result, reference, threads, trace};

/// Every pixel four times.
///
/// **Shapes**: `[N,H,W,C]` -> `[N,2H,2W,C]`.
///
/// **Errors**: another rank.
pub fn upsample_nearest_2x(x: &Tensor) -> Result<Tensor> {
    let dims @ [images, height, width, channels] = x.dims_of("upsample_nearest_2x", "[N,H,W,C]")?;
    let _span = trace::span("upsample_nearest_2x", 0.0);
    let path = Path::enter()?;
    let mut out = x.uninit_like([images, 2 * height, 2 * width, channels])?;
    if path == Path::Reference {
        reference::upsample_nearest_2x(x.as_slice(), dims, out.as_mut_slice());
        return Ok(out);
    }
    let (x, row_in) = (x.as_slice(), width * channels);
    // A chunk is the two output rows of one input row; images follow each other without a gap.
    threads::for_chunks(out.as_mut_slice(), 4 * row_in, |row, out| {
        let (first, second) = out.split_at_mut(2 * row_in);
        let pixels = x[row * row_in..][..row_in].chunks_exact(channels);
        for (pair, pixel) in first.chunks_exact_mut(2 * channels).zip(pixels) {
            pair[..channels].copy_from_slice(pixel);
            pair[channels..].copy_from_slice(pixel);
        }
        second.copy_from_slice(first);
    });
    Ok(out)
}

/// Channel `(c*r + dy)*r + dx` becomes pixel (dy, dx) of channel c: PyTorch's `pixel_shuffle`, channels last.
///
/// **Shapes**: `[N,H,W,C*r*r]` -> `[N,H*r,W*r,C]`.
///
/// **Errors**: another rank, channels that r*r does not divide, r = 0.
pub fn pixel_shuffle(x: &Tensor, r: usize) -> Result<Tensor> {
    let dims @ [images, height, width, channels] = x.dims_of("pixel_shuffle", "[N,H,W,C*r*r]")?;
    if r == 0 || channels % (r * r) != 0 {
        return Err(x.mismatch("pixel_shuffle", format!("[N,H,W,C*{r}*{r}]")).into());
    }
    let _span = trace::span("pixel_shuffle", 0.0);
    let path = Path::enter()?;
    let out_channels = channels / (r * r);
    let mut out = x.uninit_like([images, height * r, width * r, out_channels])?;
    if path == Path::Reference {
        reference::pixel_shuffle(x.as_slice(), dims, r, out.as_mut_slice());
        return Ok(out);
    }
    let x = x.as_slice();
    threads::for_chunks(out.as_mut_slice(), width * channels / r, |row, out| {
        let (row, dy) = (row / r, row % r);
        for (column, pixels) in out.chunks_exact_mut(r * out_channels).enumerate() {
            let from = &x[(row * width + column) * channels..][..channels];
            for (i, v) in pixels.iter_mut().enumerate() {
                let (dx, c) = (i / out_channels, i % out_channels);
                *v = from[(c * r + dy) * r + dx];
            }
        }
    });
    Ok(out)
}

/// The inverse of [`pixel_shuffle`].
///
/// **Shapes**: `[N,H*r,W*r,C]` -> `[N,H,W,C*r*r]`.
///
/// **Errors**: another rank, a height or width that r does not divide, r = 0.
pub fn pixel_unshuffle(x: &Tensor, r: usize) -> Result<Tensor> {
    let dims @ [images, height, width, channels] = x.dims_of("pixel_unshuffle", "[N,H*r,W*r,C]")?;
    if r == 0 || height % r != 0 || width % r != 0 {
        return Err(x.mismatch("pixel_unshuffle", format!("[N,H*{r},W*{r},C]")).into());
    }
    let _span = trace::span("pixel_unshuffle", 0.0);
    let path = Path::enter()?;
    let (out_width, out_channels) = (width / r, channels * r * r);
    let mut out = x.uninit_like([images, height / r, out_width, out_channels])?;
    if path == Path::Reference {
        reference::pixel_unshuffle(x.as_slice(), dims, r, out.as_mut_slice());
        return Ok(out);
    }
    let x = x.as_slice();
    threads::for_chunks(out.as_mut_slice(), out_width * out_channels, |row, out| {
        for (column, pixel) in out.chunks_exact_mut(out_channels).enumerate() {
            for (i, v) in pixel.iter_mut().enumerate() {
                let (c, dy, dx) = (i / (r * r), i / r % r, i % r);
                *v = x[((row * r + dy) * width + column * r + dx) * channels + c];
            }
        }
    });
    Ok(out)
}
