//! Sizes and rough scaling for previews; the clip itself is scaled by `kinora-media`.

use kinora_media::Frame;

/// The largest size with the shape of `width` x `height` that fits `most_w` x `most_h`, not larger than it is.
pub fn fit(width: u32, height: u32, most_w: u32, most_h: u32) -> (u32, u32) {
    enlarge(width, height, most_w.min(width), most_h.min(height))
}

/// The largest size with the shape of `width` x `height` that fits `most_w` x `most_h`.
pub fn enlarge(width: u32, height: u32, most_w: u32, most_h: u32) -> (u32, u32) {
    let scale = (f64::from(most_w) / f64::from(width.max(1))).min(f64::from(most_h) / f64::from(height.max(1)));
    let side = |px: u32, most: u32| ((f64::from(px) * scale).round() as u32).clamp(1, most.max(1));
    (side(width, most_w), side(height, most_h))
}

/// Shrinks by averaging the pixels under each new one; `None` for a size that no frame has.
pub fn shrink(frame: &Frame, width: u32, height: u32) -> Option<Frame> {
    build(width, height, |x, y| {
        let (x0, x1) = span(x, width, frame.width_px);
        let (y0, y1) = span(y, height, frame.height_px);
        let mut sum = [0u64; 3];
        for (px, py) in (y0..y1).flat_map(|py| (x0..x1).map(move |px| (px, py))) {
            for (sum, value) in sum.iter_mut().zip(frame.pixel(px, py)) {
                *sum += u64::from(value);
            }
        }
        let count = u64::from(x1 - x0) * u64::from(y1 - y0);
        sum.map(|sum| ((sum + count / 2) / count) as u8)
    })
}

/// Enlarges with straight lines between pixel centres; `None` for a size that no frame has.
pub fn smooth(frame: &Frame, width: u32, height: u32) -> Option<Frame> {
    build(width, height, |x, y| {
        let (x0, x1, fx) = between(x, width, frame.width_px);
        let (y0, y1, fy) = between(y, height, frame.height_px);
        let corners = [
            frame.pixel(x0, y0),
            frame.pixel(x1, y0),
            frame.pixel(x0, y1),
            frame.pixel(x1, y1),
        ];
        std::array::from_fn(|c| {
            let [a, b, d, e] = corners.map(|corner| f32::from(corner[c]));
            let (top, bottom) = (a + (b - a) * fx, d + (e - d) * fx);
            (top + (bottom - top) * fy).round() as u8
        })
    })
}

fn build(width: u32, height: u32, pixel: impl Fn(u32, u32) -> [u8; 3]) -> Option<Frame> {
    let pixel = &pixel;
    let rgb = (0..height)
        .flat_map(|y| (0..width).flat_map(move |x| pixel(x, y)))
        .collect();
    Frame::new(width, height, rgb).ok()
}

/// Pixels of the old side under pixel `i` of the new one; never empty.
fn span(i: u32, new: u32, old: u32) -> (u32, u32) {
    let at = |i: u32| (u64::from(i) * u64::from(old) / u64::from(new)) as u32;
    let start = at(i).min(old - 1);
    (start, at(i + 1).clamp(start + 1, old))
}

/// The two old pixels around the centre of new pixel `i`, and how far it is towards the second.
fn between(i: u32, new: u32, old: u32) -> (u32, u32, f32) {
    let position = ((i as f32 + 0.5) * old as f32 / new as f32 - 0.5).max(0.0);
    let low = (position as u32).min(old - 1);
    (low, (low + 1).min(old - 1), position - low as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_stays() {
        assert_eq!(fit(32, 18, 80, 20), (32, 18));
        assert_eq!(fit(18, 32, 80, 20), (11, 20));
        assert_eq!(enlarge(32, 18, 1000, 180), (320, 180));
        assert_eq!(enlarge(1000, 1, 10, 10), (10, 1));
    }

    #[test]
    fn scaling_keeps_the_mean() {
        let frame = Frame::new(2, 2, vec![0, 0, 0, 200, 0, 0, 0, 100, 0, 0, 0, 40]).unwrap();
        assert_eq!(shrink(&frame, 1, 1).unwrap().rgb, [50, 25, 10]);
        assert_eq!(shrink(&frame, 2, 2).unwrap(), frame);
        assert_eq!(smooth(&frame, 2, 2).unwrap(), frame);
        let wide = smooth(&frame, 4, 2).unwrap();
        assert_eq!(
            (0..4).map(|x| wide.pixel(x, 0)[0]).collect::<Vec<_>>(),
            [0, 50, 150, 200]
        );
    }
}
