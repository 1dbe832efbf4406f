//! Sixel: six rows of pixels a line, one colour after another, here with a fixed palette of 6 x 6 x 6 colours.
//!
//! **Source**: DEC STD 070 and the VT340 text programming manual (registers `#n;2;r;g;b` in percent, `!n` repeats).

use std::fmt::Write as _;

use kinora_media::Frame;

/// Thresholds that spread the rounding to 6 levels over a 4 x 4 pattern, in 16ths.
const BAYER: [[u32; 4]; 4] = [[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]];

/// A frame as one sixel image.
pub fn encode(frame: &Frame) -> String {
    let (width, height) = (frame.width_px, frame.height_px);
    let indices: Vec<u8> = (0..height)
        .flat_map(|y| (0..width).map(move |x| index(frame.pixel(x, y), x, y)))
        .collect();
    let mut used = [false; 216];
    for &i in &indices {
        used[usize::from(i)] = true;
    }
    let mut out = format!("\x1bP0;1;0q\"1;1;{width};{height}");
    for i in (0..216).filter(|&i| used[i]) {
        let _ = write!(out, "#{i};2;{};{};{}", i / 36 * 20, i / 6 % 6 * 20, i % 6 * 20);
    }
    for band in indices.chunks(6 * width as usize) {
        encode_band(&mut out, band, width as usize);
    }
    out += "\x1b\\";
    out
}

/// The nearest of the 6 levels of each channel, with the rounding spread over neighbours.
fn index(pixel: [u8; 3], x: u32, y: u32) -> u8 {
    let threshold = BAYER[(y % 4) as usize][(x % 4) as usize];
    let level = |value: u8| {
        // value * 5 / 255 in 16ths, plus a threshold of 0 to 15 of them.
        ((u32::from(value) * 5 * 16 + threshold * 255) / (255 * 16)) as u8
    };
    36 * level(pixel[0]) + 6 * level(pixel[1]) + level(pixel[2])
}

/// Up to six rows: for each colour in them a run of columns, each a character that holds six pixels.
fn encode_band(out: &mut String, band: &[u8], width: usize) {
    let mut seen = [false; 256];
    for &i in band {
        seen[usize::from(i)] = true;
    }
    let mut first = true;
    for colour in (0..=255u8).filter(|&i| seen[usize::from(i)]) {
        if !first {
            out.push('$');
        }
        first = false;
        let _ = write!(out, "#{colour}");
        let column = |x: usize| {
            (0..6)
                .filter(|&y| band.get(y * width + x) == Some(&colour))
                .fold(0u8, |bits, y| bits | 1 << y)
        };
        let mut x = 0;
        while x < width {
            let bits = column(x);
            let run = (x..width).take_while(|&x| column(x) == bits).count();
            push_run(out, char::from(63 + bits), run);
            x += run;
        }
    }
    out.push('-');
}

fn push_run(out: &mut String, sixel: char, run: usize) {
    match run {
        1..=3 => out.extend(std::iter::repeat_n(sixel, run)),
        _ => {
            let _ = write!(out, "!{run}{sixel}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_by_two_pixels_exactly() {
        let frame = Frame::new(2, 2, vec![255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255]).unwrap();
        assert_eq!(
            encode(&frame),
            "\x1bP0;1;0q\"1;1;2;2#5;2;0;0;100#30;2;0;100;0#180;2;100;0;0#215;2;100;100;100\
             #5A?$#30?@$#180@?$#215?A-\x1b\\"
        );
    }

    #[test]
    fn runs_are_short_and_bands_have_six_rows() {
        let frame = Frame::filled(40, 7, [0, 0, 0]).unwrap();
        assert_eq!(encode(&frame), "\x1bP0;1;0q\"1;1;40;7#0;2;0;0;0#0!40~-#0!40@-\x1b\\");
    }

    #[test]
    fn grey_between_two_levels_is_mixed_from_both() {
        let frame = Frame::filled(4, 4, [128; 3]).unwrap();
        let out = encode(&frame);
        assert!(
            out.contains("#86;2;40;40;40") && out.contains("#129;2;60;60;60"),
            "{out}"
        );
    }
}
