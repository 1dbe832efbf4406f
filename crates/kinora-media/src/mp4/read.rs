//! The demuxer, for files from anywhere: every table is checked against the file and the limits before it is believed.

use super::boxes::{Boxes, find, u16_at, u32_at, u64_at};
use super::tags;
use crate::reader::Limits;
use crate::{Error, Fps, Result};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// What a file holds, as far as we read it.
pub(crate) struct Movie {
    pub brand: [u8; 4],
    pub metadata: Vec<(String, String)>,
    pub track: Track,
}

/// The first video track.
pub(crate) struct Track {
    /// Type of the sample entry, like `avc1`.
    pub codec: [u8; 4],
    pub width: u32,
    pub height: u32,
    /// Quarter turns clockwise that the player should make.
    pub turns: u8,
    pub avcc: Vec<u8>,
    /// `(matrix, full range)` of a `colr` box.
    pub colour: Option<(u8, bool)>,
    /// In decoding order.
    pub samples: Vec<Sample>,
    pub fps: Fps,
    pub duration_ms: u64,
}

/// One coded picture.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub offset: u64,
    pub size: u32,
    /// Presentation time in track units.
    pub time: i64,
    /// Whether the edit list shows it.
    pub shown: bool,
}

/// More than any real header needs; a table entry takes a few bytes, and the limits cap the frames.
const MAX_MOOV_BYTES: u64 = 256 << 20;

fn bad(detail: impl Into<String>) -> Error {
    Error::malformed("mp4", detail)
}

/// Reads the headers of a file.
pub(crate) fn open(path: &Path, limits: &Limits) -> Result<Movie> {
    let mut file = File::open(path).map_err(Error::io("read", path))?;
    let length = file.metadata().map_err(Error::io("read", path))?.len();
    let (mut at, mut brand, mut moov) = (0u64, *b"    ", None);
    while moov.is_none() && at + 8 <= length {
        let mut head = [0; 16];
        file.seek(SeekFrom::Start(at)).map_err(Error::io("read", path))?;
        let got = (length - at).min(16) as usize;
        file.read_exact(&mut head[..got]).map_err(Error::io("read", path))?;
        let size = u64::from(u32_at(&head, 0).unwrap_or(0));
        let (header, size) = match size {
            0 => (8, length - at),
            1 => (16, u64_at(&head, 8).unwrap_or(0)),
            n => (8, n),
        };
        if size < header || size > length - at {
            return Err(bad(format!(
                "a {} box of {size} bytes at {at} does not fit the file",
                kind_name(&head[4..8])
            )));
        }
        match &head[4..8] {
            b"ftyp" if size >= 12 => brand.copy_from_slice(&head[8..12]),
            b"moov" => {
                if size > MAX_MOOV_BYTES {
                    return Err(Error::TooLarge {
                        what: "the bytes of the mp4 header",
                        got: size,
                        limit: MAX_MOOV_BYTES,
                    });
                }
                let mut payload = vec![0; (size - header) as usize];
                file.seek(SeekFrom::Start(at + header))
                    .map_err(Error::io("read", path))?;
                file.read_exact(&mut payload).map_err(Error::io("read", path))?;
                moov = Some(payload);
            }
            _ => {}
        }
        at += size;
    }
    let moov = moov.ok_or_else(|| bad("there is no moov box (the recording may not have been finished)"))?;
    let scale = find(&moov, &[b"mvhd"])
        .and_then(|b| u32_at(b, if b.first() == Some(&1) { 20 } else { 12 }))
        .unwrap_or(0);
    let video = Boxes(&moov)
        .filter(|b| b.0 == *b"trak")
        .map(|b| b.1)
        .find(|t| is_video(t));
    let Some(trak) = video else {
        return Err(Error::Unsupported {
            what: "an mp4 without a video track".into(),
            hint: "choose a file with a picture".into(),
        });
    };
    Ok(Movie {
        brand,
        metadata: tags::read(&moov),
        track: track(trak, scale, length, limits)?,
    })
}

fn kind_name(kind: &[u8]) -> String {
    kind.iter()
        .map(|&b| if b.is_ascii_graphic() { char::from(b) } else { '?' })
        .collect()
}

fn is_video(trak: &[u8]) -> bool {
    find(trak, &[b"mdia", b"hdlr"]).and_then(|h| h.get(8..12)) == Some(b"vide")
}

fn track(trak: &[u8], movie_scale: u32, file_bytes: u64, limits: &Limits) -> Result<Track> {
    let mdhd = find(trak, &[b"mdia", b"mdhd"]).ok_or_else(|| bad("a track has no mdhd box"))?;
    let scale = u32_at(mdhd, if mdhd.first() == Some(&1) { 20 } else { 12 }).filter(|&s| s > 0);
    let scale = scale.ok_or_else(|| bad("the track's timescale is zero"))?;
    let stbl = find(trak, &[b"mdia", b"minf", b"stbl"]).ok_or_else(|| bad("the track has no sample table"))?;
    let (codec, entry) = find(stbl, &[b"stsd"])
        .and_then(|s| Boxes(s.get(8..)?).next())
        .ok_or_else(|| bad("no sample description"))?;
    let side = |at| u16_at(entry, at).map(u32::from).unwrap_or(0);
    let inner = entry.get(78..).unwrap_or_default();
    let colour = Boxes(inner)
        .find(|b| b.0 == *b"colr" && matches!(b.1.get(..4), Some(b"nclx" | b"nclc")))
        .and_then(|(_, c)| {
            let full_range = c.starts_with(b"nclx") && c.get(10).is_some_and(|&b| b & 0x80 != 0);
            Some((u8::try_from(u16_at(c, 8)?).ok()?, full_range))
        });
    let (mut samples, durations) = samples(stbl, file_bytes, limits)?;
    let edit = find(trak, &[b"edts", b"elst"]).and_then(|e| first_edit(e, movie_scale, scale));
    for (s, &d) in samples.iter_mut().zip(&durations) {
        s.shown = edit.is_none_or(|(start, end)| s.time + i64::from(d).max(1) > start && s.time < end);
    }
    if !samples.iter().any(|s| s.shown) {
        return Err(bad("the track shows no frame"));
    }
    let total: u64 = durations
        .iter()
        .zip(&samples)
        .filter(|(_, s)| s.shown)
        .map(|(&d, _)| u64::from(d))
        .sum();
    let shown = samples.iter().filter(|s| s.shown).count() as u64;
    let fps = rate(shown, total, scale)?;
    Ok(Track {
        codec,
        width: side(24),
        height: side(26),
        turns: turns(trak),
        avcc: find(inner, &[b"avcC"]).unwrap_or_default().to_vec(),
        colour,
        samples,
        fps,
        duration_ms: (u128::from(total) * 1000 + u128::from(scale) / 2)
            .checked_div(u128::from(scale))
            .unwrap_or(0) as u64,
    })
}

/// The average rate, moved to the broadcast rate that it is within 0.05 % of.
fn rate(frames: u64, total: u64, scale: u32) -> Result<Fps> {
    let impossible = || bad("the frame times are impossible");
    if total == 0 {
        return Fps::new(24, 1);
    }
    let exact = frames as f64 * f64::from(scale) / total as f64;
    let usual = [
        (24000, 1001),
        (24, 1),
        (25, 1),
        (30000, 1001),
        (30, 1),
        (50, 1),
        (60000, 1001),
        (60, 1),
    ];
    let near = usual
        .into_iter()
        .find(|&(n, d)| (exact / (f64::from(n) / f64::from(d)) - 1.0).abs() < 5e-4);
    let (mut num, mut den) = (u128::from(frames) * u128::from(scale), u128::from(total));
    if let (Some((n, d)), true) = (near, num % den != 0) {
        return Fps::new(n, d);
    }
    let (mut a, mut b) = (num, den);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    (num, den) = (num / a, den / a);
    while num > 1_000_000_000 || den > 1_000_000_000 {
        (num, den) = (num / 2, den / 2);
    }
    Fps::new(num as u32, den as u32).map_err(|_| impossible())
}

/// Start and end of the first edit that shows something, in track units.
fn first_edit(elst: &[u8], movie_scale: u32, scale: u32) -> Option<(i64, i64)> {
    let wide = elst.first()? == &1;
    let count = u32_at(elst, 4)?.min(64) as usize;
    for i in 0..count {
        let (length, start) = if wide {
            (u64_at(elst, 8 + 20 * i)?, u64_at(elst, 16 + 20 * i)? as i64)
        } else {
            (
                u64::from(u32_at(elst, 8 + 12 * i)?),
                i64::from(u32_at(elst, 12 + 12 * i)? as i32),
            )
        };
        if start < 0 {
            continue;
        }
        let span = i128::from(length) * i128::from(scale) / i128::from(movie_scale.max(1));
        let end = if length == 0 {
            i64::MAX
        } else {
            i64::try_from(i128::from(start) + span.max(1)).unwrap_or(i64::MAX)
        };
        return Some((start, end));
    }
    None
}

/// Quarter turns from the track's matrix.
fn turns(trak: &[u8]) -> u8 {
    let matrix = find(trak, &[b"tkhd"]).and_then(|t| {
        let at = if t.first() == Some(&1) { 52 } else { 40 };
        Some((
            u32_at(t, at)? as i32,
            u32_at(t, at + 4)? as i32,
            u32_at(t, at + 12)? as i32,
            u32_at(t, at + 16)? as i32,
        ))
    });
    match matrix.map(|(a, b, c, d)| (a.signum(), b.signum(), c.signum(), d.signum())) {
        Some((0, 1, -1, 0)) => 1,
        Some((-1, 0, 0, -1)) => 2,
        Some((0, -1, 1, 0)) => 3,
        _ => 0,
    }
}

/// A table of `count` rows of `width` bytes after a full-box header and the count.
fn rows<'a>(stbl: &'a [u8], kind: &[u8; 4], width: usize) -> Result<impl Iterator<Item = &'a [u8]>> {
    let table = find(stbl, &[kind]).unwrap_or_default();
    let count = u32_at(table, 4).unwrap_or(0) as usize;
    let body = table.get(8..).unwrap_or_default();
    if count.checked_mul(width).is_none_or(|n| n > body.len()) {
        return Err(bad(format!("the {} table is cut off", kind_name(kind))));
    }
    Ok(body.chunks_exact(width).take(count))
}

/// All samples and their durations.
fn samples(stbl: &[u8], file_bytes: u64, limits: &Limits) -> Result<(Vec<Sample>, Vec<u32>)> {
    let sizes = sizes(stbl, limits)?;
    let word = |row: &[u8], i: usize| u32_at(row, 4 * i).unwrap_or(0);
    // Runs must cover the samples; a run longer than the rest is cut, so a hostile count costs nothing.
    let expand = |kind: &[u8; 4]| -> Result<Vec<u32>> {
        let mut out = Vec::with_capacity(sizes.len());
        for row in rows(stbl, kind, 8)? {
            let n = (word(row, 0) as usize).min(sizes.len() - out.len());
            out.resize(out.len() + n, word(row, 1));
        }
        Ok(out)
    };
    let mut durations = expand(b"stts")?;
    durations.resize(sizes.len(), durations.last().copied().unwrap_or(1));
    let mut shifts = expand(b"ctts")?;
    shifts.resize(sizes.len(), 0);
    let mut chunks: Vec<u64> = rows(stbl, b"stco", 4)?.map(|r| u64::from(word(r, 0))).collect();
    chunks.extend(rows(stbl, b"co64", 8)?.map(|r| u64_at(r, 0).unwrap_or(0)));
    let runs: Vec<(u64, u32)> = rows(stbl, b"stsc", 12)?
        .map(|r| (u64::from(word(r, 0)), word(r, 1)))
        .collect();
    let (mut out, mut time, mut run) = (Vec::with_capacity(sizes.len()), 0i64, 0);
    for (chunk, &start) in chunks.iter().enumerate() {
        while runs.get(run + 1).is_some_and(|r| r.0 <= chunk as u64 + 1) {
            run += 1;
        }
        let mut offset = start;
        for _ in 0..runs.get(run).map_or(0, |r| r.1) {
            let i = out.len();
            let Some(&size) = sizes.get(i) else { break };
            let end = offset.checked_add(u64::from(size)).filter(|&e| e <= file_bytes);
            let end = end.ok_or_else(|| bad(format!("frame {i} lies beyond the end of the file")))?;
            out.push(Sample {
                offset,
                size,
                time: time + i64::from(shifts[i] as i32),
                shown: true,
            });
            time += i64::from(durations[i]);
            offset = end;
        }
    }
    if out.len() != sizes.len() {
        return Err(bad(format!(
            "{} frames are listed, {} have a place",
            sizes.len(),
            out.len()
        )));
    }
    Ok((out, durations))
}

/// The bytes of each sample; at least one.
fn sizes(stbl: &[u8], limits: &Limits) -> Result<Vec<u32>> {
    let stsz = find(stbl, &[b"stsz"]).ok_or_else(|| bad("no stsz table"))?;
    let (fixed, count) = (u32_at(stsz, 4).unwrap_or(0), u32_at(stsz, 8).unwrap_or(0));
    limits.check_frames(u64::from(count))?;
    if count == 0 {
        return Err(Error::Unsupported {
            what: "a fragmented mp4".into(),
            hint: "install ffmpeg (it is used when found), or `ffmpeg -i FILE -c copy out.mp4`".into(),
        });
    }
    if fixed > 0 {
        return Ok(vec![fixed; count as usize]);
    }
    let body = stsz.get(12..).unwrap_or_default();
    if body.len() / 4 < count as usize {
        return Err(bad("the stsz table is cut off"));
    }
    Ok((0..count as usize).filter_map(|i| u32_at(body, 4 * i)).collect())
}
