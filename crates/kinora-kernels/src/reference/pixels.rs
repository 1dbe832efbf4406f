//! Operations that only move pixels, channels last.

/// `x` `[N,H,W,C]` -> `out` `[N,2H,2W,C]`: every pixel four times.
pub fn upsample_nearest_2x(x: &[f32], dims: [usize; 4], out: &mut [f32]) {
    let [images, height, width, channels] = dims;
    for (n, y, x0) in pixels(images, 2 * height, 2 * width) {
        let from = ((n * height + y / 2) * width + x0 / 2) * channels;
        let to = ((n * 2 * height + y) * 2 * width + x0) * channels;
        out[to..to + channels].copy_from_slice(&x[from..from + channels]);
    }
}

/// `x` `[N,H,W,C*r*r]` -> `out` `[N,H*r,W*r,C]`; channel `(c*r + dy)*r + dx` becomes pixel (dy, dx) of channel c.
pub fn pixel_shuffle(x: &[f32], dims: [usize; 4], r: usize, out: &mut [f32]) {
    let [images, height, width, channels] = dims;
    let out_channels = channels / (r * r);
    for (n, y, x0) in pixels(images, height * r, width * r) {
        for c in 0..out_channels {
            let from = ((n * height + y / r) * width + x0 / r) * channels + (c * r + y % r) * r + x0 % r;
            out[((n * height * r + y) * width * r + x0) * out_channels + c] = x[from];
        }
    }
}

/// `x` `[N,H*r,W*r,C]` -> `out` `[N,H,W,C*r*r]`; the inverse of [`pixel_shuffle`]. `dims` is the shape of `x`.
pub fn pixel_unshuffle(x: &[f32], dims: [usize; 4], r: usize, out: &mut [f32]) {
    let [images, height, width, channels] = dims;
    let (out_height, out_width) = (height / r, width / r);
    for (n, y, x0) in pixels(images, height, width) {
        for c in 0..channels {
            let to = ((n * out_height + y / r) * out_width + x0 / r) * channels * r * r + (c * r + y % r) * r + x0 % r;
            out[to] = x[((n * height + y) * width + x0) * channels + c];
        }
    }
}

fn pixels(images: usize, height: usize, width: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..images).flat_map(move |n| (0..height).flat_map(move |y| (0..width).map(move |x| (n, y, x))))
}
