//! Pictures from characters: an upper half-block shows two pixels, one in the text colour, one in the background.

use std::fmt::Write as _;

use kinora_media::Frame;

/// Colours that a terminal has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    /// 24 bits.
    True,
    /// The 256 of xterm.
    Indexed,
    /// None: brightness becomes denser characters.
    None,
}

/// Characters from dark to bright, for a bright text on a dark ground.
const SHADES: &[u8] = b" .:-=+*#%@";

/// A frame as lines of `width_px` characters, two rows of pixels each.
pub fn draw(frame: &Frame, colours: Colours) -> Vec<String> {
    (0..frame.height_px.div_ceil(2))
        .map(|row| line(frame, row, colours))
        .collect()
}

fn line(frame: &Frame, row: u32, colours: Colours) -> String {
    let mut out = String::new();
    let mut last = None;
    for x in 0..frame.width_px {
        let upper = frame.pixel(x, 2 * row);
        let lower = if 2 * row + 1 < frame.height_px {
            frame.pixel(x, 2 * row + 1)
        } else {
            upper
        };
        if colours == Colours::None {
            out.push(shade(upper, lower));
            continue;
        }
        if last != Some((upper, lower)) {
            let _ = match colours {
                Colours::True => {
                    let ([r, g, b], [s, h, c]) = (upper, lower);
                    write!(out, "\x1b[38;2;{r};{g};{b};48;2;{s};{h};{c}m")
                }
                _ => write!(out, "\x1b[38;5;{};48;5;{}m", indexed(upper), indexed(lower)),
            };
            last = Some((upper, lower));
        }
        out.push('▀');
    }
    if colours != Colours::None {
        out += "\x1b[0m";
    }
    out
}

fn shade(upper: [u8; 3], lower: [u8; 3]) -> char {
    let sum = |p: [u8; 3]| 54 * u32::from(p[0]) + 183 * u32::from(p[1]) + 19 * u32::from(p[2]);
    let brightness = (sum(upper) + sum(lower)) as usize / 2;
    char::from(SHADES[brightness * (SHADES.len() - 1) / (256 * 255)])
}

/// The nearest of xterm's 6 x 6 x 6 colours, or of its 24 greys for a grey.
fn indexed([r, g, b]: [u8; 3]) -> u8 {
    let (least, most) = (r.min(g).min(b), r.max(g).max(b));
    if most - least < 8 && (4..247).contains(&most) {
        return 232 + (u16::from(most).saturating_sub(3) / 10).min(23) as u8;
    }
    // Levels 0, 95, 135, 175, 215, 255.
    let level = |value: u8| match value {
        0..48 => 0,
        48..115 => 1,
        _ => (value - 35) / 40,
    };
    16 + 36 * level(r) + 6 * level(g) + level(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture() -> Frame {
        Frame::new(2, 2, vec![255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255]).unwrap()
    }

    #[test]
    fn two_by_two_pixels_exactly() {
        let expected = "\x1b[38;2;255;0;0;48;2;0;0;255m▀\x1b[38;2;0;255;0;48;2;255;255;255m▀\x1b[0m";
        assert_eq!(draw(&picture(), Colours::True), [expected]);
        assert_eq!(
            draw(&picture(), Colours::Indexed),
            ["\x1b[38;5;196;48;5;21m▀\x1b[38;5;46;48;5;231m▀\x1b[0m"]
        );
        assert_eq!(draw(&picture(), Colours::None), [".#"]);
    }

    #[test]
    fn an_odd_row_is_doubled_and_equal_colours_are_said_once() {
        let lines = draw(&Frame::filled(3, 3, [1, 2, 3]).unwrap(), Colours::True);
        assert_eq!(lines, vec!["\x1b[38;2;1;2;3;48;2;1;2;3m▀▀▀\x1b[0m"; 2]);
        assert_eq!(draw(&Frame::filled(2, 1, [255; 3]).unwrap(), Colours::None), ["@@"]);
    }

    #[test]
    fn greys_use_the_grey_ramp() {
        for (grey, index) in [(0, 16), (8, 232), (128, 244), (238, 255), (255, 231)] {
            assert_eq!(indexed([grey; 3]), index, "{grey}");
        }
    }
}
