//! All clips on one picture: three frames each, numbered, so that a person can check the judge.

use std::path::Path;

use kinora_media::{ContactSheet, Fit, Frame, Limits, fit, paste, read_image, write_image};

use crate::Result;

/// Frames of a clip.
const FRAMES: u32 = 3;
/// Width of one of them.
const FRAME_WIDTH_PX: u32 = 160;
/// Clips side by side; more where the sheet would become too long.
const COLUMNS: usize = 4;
/// Most rows.
const ROWS: usize = 150;
/// Space around clips.
const GAP_PX: u32 = 6;
const GROUND: [u8; 3] = [24, 24, 27];
/// Colours behind the number: the actors are right, or not.
const RIGHT: [u8; 3] = [22, 101, 52];
const WRONG: [u8; 3] = [127, 29, 29];
const INK: [u8; 3] = [250, 250, 250];
/// Side of a dot of a digit.
const DOT_PX: u32 = 3;

/// Digits of three by five dots, a row in three bits.
const DIGITS: [[u8; 5]; 10] = [
    [7, 5, 5, 5, 7],
    [2, 6, 2, 2, 7],
    [7, 1, 7, 4, 7],
    [7, 1, 7, 1, 7],
    [5, 5, 7, 1, 1],
    [7, 4, 7, 1, 7],
    [7, 4, 7, 5, 7],
    [7, 1, 1, 1, 1],
    [7, 5, 7, 5, 7],
    [7, 5, 7, 1, 7],
];

/// Writes the first, the middle and the last frame of a clip side by side, after the one that they follow, if any.
pub(crate) fn write_strip(path: &Path, joint: Option<&Frame>, frames: &[Frame], id: u64, subject: bool) -> Result<()> {
    let indices = ContactSheet::indices(frames.len() as u64, FRAMES);
    let chosen = indices.into_iter().map(|index| &frames[index as usize]);
    let places = FRAMES + u32::from(joint.is_some());
    let mut strip: Option<Frame> = None;
    for (place, frame) in joint.into_iter().chain(chosen).enumerate() {
        let height = (frame.height_px * FRAME_WIDTH_PX / frame.width_px).max(1);
        let small = fit(frame, FRAME_WIDTH_PX, height, Fit::Cover)?;
        let strip = match &mut strip {
            Some(strip) => strip,
            none => none.insert(Frame::filled(places * FRAME_WIDTH_PX, height, GROUND)?),
        };
        paste(strip, &small, place as u32 * FRAME_WIDTH_PX, 0);
    }
    let mut strip = strip.ok_or(kinora_media::Error::NoFrames)?;
    write_number(&mut strip, id, if subject { RIGHT } else { WRONG });
    Ok(write_image(path, &strip, kinora_media::Quality::default(), &[])?)
}

/// Puts strips together, row by row.
pub(crate) fn write_sheet<'a>(path: &Path, strips: impl ExactSizeIterator<Item = &'a Path>) -> Result<()> {
    let count = strips.len();
    let columns = COLUMNS.max(count.div_ceil(ROWS)).min(count.max(1));
    let mut sheet: Option<(Frame, u32)> = None;
    for (place, strip) in strips.enumerate() {
        let strip = read_image(strip, &Limits::default())?.frame;
        let (width, height) = (strip.width_px + GAP_PX, strip.height_px + GAP_PX);
        let (sheet, row_height) = match &mut sheet {
            Some(sheet) => sheet,
            none => {
                let rows = count.div_ceil(columns) as u32;
                let blank = Frame::filled(columns as u32 * width + GAP_PX, rows * height + GAP_PX, GROUND)?;
                none.insert((blank, height))
            }
        };
        let (column, row) = ((place % columns) as u32, (place / columns) as u32);
        paste(sheet, &strip, GAP_PX + column * width, GAP_PX + row * *row_height);
    }
    match sheet {
        Some((sheet, _)) => Ok(write_image(path, &sheet, kinora_media::Quality::default(), &[])?),
        None => Ok(()),
    }
}

/// A number on a box of `ground`, in the upper left corner.
fn write_number(frame: &mut Frame, number: u64, ground: [u8; 3]) {
    let digits: Vec<usize> = number
        .to_string()
        .bytes()
        .map(|byte| usize::from(byte - b'0'))
        .collect();
    let columns = 4 * digits.len() as u32 + 1;
    for y in 0..7 {
        for x in 0..columns {
            let (digit, column) = ((x.saturating_sub(1) / 4) as usize, x.saturating_sub(1) % 4);
            let inked = x > 0
                && (1..6).contains(&y)
                && column < 3
                && digits
                    .get(digit)
                    .is_some_and(|&d| DIGITS[d][y as usize - 1] >> (2 - column) & 1 == 1);
            dot(frame, x, y, if inked { INK } else { ground });
        }
    }
}

fn dot(frame: &mut Frame, x: u32, y: u32, colour: [u8; 3]) {
    for py in y * DOT_PX..((y + 1) * DOT_PX).min(frame.height_px) {
        for px in x * DOT_PX..((x + 1) * DOT_PX).min(frame.width_px) {
            let at = 3 * (py as usize * frame.width_px as usize + px as usize);
            frame.rgb[at..at + 3].copy_from_slice(&colour);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_drawn_on_their_box() {
        let mut frame = Frame::filled(64, 32, [1; 3]).unwrap();
        write_number(&mut frame, 17, WRONG);
        let at = |x: u32, y: u32| frame.pixel(x * DOT_PX + 1, y * DOT_PX + 1);
        let row = |y: u32| -> String { (0..10).map(|x| if at(x, y) == INK { '#' } else { '.' }).collect() };
        let drawn: Vec<String> = (0..7).map(row).collect();
        assert_eq!(
            drawn,
            [
                "..........",
                "..#..###..",
                ".##....#..",
                "..#....#..",
                "..#....#..",
                ".###...#..",
                "..........",
            ]
        );
        assert_eq!(
            (at(0, 0), at(9, 0)),
            (WRONG, [1; 3]),
            "the box ends behind the last digit"
        );
    }

    #[test]
    fn clips_stand_in_rows_of_their_strips() {
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<_> = (0..5u64)
            .map(|id| {
                let path = folder.path().join(format!("{id}.png"));
                let frames = [Frame::filled(320, 180, [40 * id as u8; 3]).unwrap()];
                write_strip(&path, None, &frames, id, id % 2 == 0).unwrap();
                path
            })
            .collect();
        let sheet = folder.path().join("sheet.png");
        write_sheet(&sheet, paths.iter().map(std::path::PathBuf::as_path)).unwrap();
        let sheet = read_image(&sheet, &Limits::default()).unwrap().frame;
        assert_eq!((sheet.width_px, sheet.height_px), (4 * 486 + 6, 2 * 96 + 6));
        assert_eq!(sheet.pixel(6 + 486 + 80, 6 + 60), [40; 3]);
        assert_eq!(
            sheet.pixel(6 + 80, 6 + 96 + 60),
            [160; 3],
            "the fifth begins the second row"
        );
        assert_eq!((sheet.pixel(6, 6), sheet.pixel(6 + 486, 6)), (RIGHT, WRONG));
    }
}
