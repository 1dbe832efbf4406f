//! A small picture of the clip on the terminal while it is being made.
//!
//! Three ways, the best that the terminal has: the kitty graphics protocol, sixel, or coloured half-blocks.

mod blocks;
mod detect;
mod kitty;
mod scale;
mod sixel;

use kinora_media::Frame;

use crate::terminal::{self, TerminalSize};
use blocks::Colours;

/// Text rows that a picture takes at most.
const MAX_ROWS: u16 = 10;
/// Rows that stay free for the moving line and the prompt.
const SPARE_ROWS: u16 = 4;
/// Height of a sixel image at most: its bytes grow with its area.
const MAX_SIXEL_PX: u32 = 144;
/// Height of a text row where the terminal does not tell; too small only makes the picture smaller.
const USUAL_ROW_PX: u16 = 16;

/// How a terminal shows pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Kitty graphics: kitty, Ghostty, WezTerm, Konsole.
    Kitty,
    /// Sixel: foot, mlterm, xterm with the option, Windows Terminal, and others.
    Sixel,
    /// Characters.
    Blocks(Colours),
}

/// Turns frames into what the terminal shows.
pub struct Painter {
    protocol: Protocol,
}

/// A picture ready to be written.
pub struct Picture {
    /// Text rows that it takes.
    pub rows: u16,
    /// Lines of characters, or the escape sequence of an image that starts at the cursor.
    pub lines: Result<Vec<String>, String>,
}

impl Painter {
    /// The best painter for the terminal at stderr. May ask the terminal, and then waits a moment for its answer.
    pub fn for_this_terminal() -> Self {
        Self {
            protocol: detect::protocol(|name| std::env::var(name).ok(), terminal::device_attributes),
        }
    }

    /// A frame as a picture; `None` if the terminal is too small for one.
    pub fn paint(&self, frame: &Frame, size: TerminalSize) -> Option<Picture> {
        let room = size.rows.saturating_sub(SPARE_ROWS).min(MAX_ROWS);
        let columns = size.columns.saturating_sub(1);
        if room < 2 || columns < 4 {
            return None;
        }
        let (width, height) = (frame.width_px, frame.height_px);
        Some(match self.protocol {
            Protocol::Blocks(colours) => {
                let (w, h) = scale::fit(width, height, u32::from(columns), 2 * u32::from(room));
                let lines = blocks::draw(&scale::shrink(frame, w, h)?, colours);
                Picture {
                    rows: lines.len() as u16,
                    lines: Ok(lines),
                }
            }
            Protocol::Kitty => {
                // Cells are about twice as high as wide.
                let (cells, halves) = scale::enlarge(width, height, u32::from(columns), 2 * u32::from(room));
                let rows = halves.div_ceil(2).max(1) as u16;
                Picture {
                    rows,
                    lines: Err(kitty::show(frame, cells as u16, rows)),
                }
            }
            Protocol::Sixel => {
                let row_px = size.row_px.unwrap_or(USUAL_ROW_PX).max(6);
                let most_h = u32::from(room * row_px).min(MAX_SIXEL_PX);
                let most_w = u32::from(columns) * u32::from(row_px) / 2;
                let (w, h) = scale::enlarge(width, height, most_w, most_h);
                let rows = h.div_ceil(u32::from(row_px)) as u16;
                Picture {
                    rows,
                    lines: Err(sixel::encode(&scale::smooth(frame, w, h)?)),
                }
            }
        })
    }

    /// How slowly the picture is animated: sixel images are large, and the line may be a slow one.
    pub fn ticks_a_frame(&self) -> usize {
        match self.protocol {
            Protocol::Sixel => 4,
            Protocol::Kitty | Protocol::Blocks(_) => 1,
        }
    }

    /// What removes a picture that clearing the text does not remove.
    pub fn erase(&self) -> &'static str {
        match self.protocol {
            Protocol::Kitty => kitty::ERASE,
            Protocol::Sixel | Protocol::Blocks(_) => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: TerminalSize = TerminalSize {
        columns: 80,
        rows: 24,
        row_px: Some(20),
    };

    #[test]
    fn pictures_fit_the_terminal() {
        for protocol in [Protocol::Kitty, Protocol::Sixel, Protocol::Blocks(Colours::True)] {
            for (w, h) in [(32, 18), (18, 32), (24, 24), (400, 4), (4, 400), (1, 1)] {
                let frame = Frame::filled(w, h, [9, 99, 199]).unwrap();
                for (columns, rows) in [(80, 24), (10, 7), (300, 100)] {
                    let picture = Painter { protocol }
                        .paint(
                            &frame,
                            TerminalSize {
                                columns,
                                rows,
                                row_px: None,
                            },
                        )
                        .unwrap();
                    assert!(
                        (1..=MAX_ROWS.min(rows - SPARE_ROWS)).contains(&picture.rows),
                        "{protocol:?} {w}x{h}: {}",
                        picture.rows
                    );
                }
                assert!(
                    Painter { protocol }
                        .paint(&frame, TerminalSize { rows: 5, ..SIZE })
                        .is_none()
                );
                assert!(
                    Painter { protocol }
                        .paint(&frame, TerminalSize { columns: 2, ..SIZE })
                        .is_none()
                );
            }
        }
    }
}
