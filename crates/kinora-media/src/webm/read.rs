//! Reading Matroska: enough to play back VP8 key frames and to name every other codec.

use super::ebml::*;
use super::write::TAG_NAMES;
use crate::reader::Limits;
use crate::{Error, Fps, Result};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// What a file holds.
pub(crate) struct WebMClip {
    pub doc_type: String,
    /// Like `V_VP8`.
    pub codec: String,
    pub width: u32,
    pub height: u32,
    pub metadata: Vec<(String, String)>,
    /// Place and length of each frame of the first video track.
    pub frames: Vec<(u64, u32)>,
    pub fps: Fps,
    pub duration_ms: u64,
    track: u64,
    frame_ns: u64,
    scale_ns: u64,
    times: (u64, u64),
}

/// Headers larger than this are no headers.
const MAX_HEADER_BYTES: u64 = 64 << 20;

fn bad(detail: impl Into<String>) -> Error {
    Error::malformed("webm", detail)
}

struct Source<'a> {
    file: std::io::BufReader<File>,
    path: &'a Path,
    length: u64,
}

impl Source<'_> {
    fn bytes(&mut self, at: u64, n: u64) -> Result<Vec<u8>> {
        let n = n.min(self.length.saturating_sub(at));
        let mut out = vec![0; n as usize];
        self.file
            .seek(SeekFrom::Start(at))
            .and_then(|_| self.file.read_exact(&mut out))
            .map_err(Error::io("read", self.path))?;
        Ok(out)
    }

    /// Id, start of the payload, and its end within `end`.
    fn element(&mut self, at: u64, end: u64) -> Result<Option<(u32, u64, u64)>> {
        let head = self.bytes(at, 12)?;
        let parsed = vint(&head, true).and_then(|(id, a)| Some((id, a, vint(head.get(a..)?, false)?)));
        let Some((id, a, (size, b))) = parsed else {
            return Ok(None);
        };
        let from = at + (a + b) as u64;
        let to = if size == u64::MAX {
            end
        } else {
            from.saturating_add(size)
        };
        Ok((to <= end).then_some((id as u32, from, to)))
    }
}

/// Reads the headers and the places of all frames.
pub(crate) fn open(path: &Path, limits: &Limits) -> Result<WebMClip> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    let length = file.metadata().map_err(Error::io("read", path))?.len();
    let mut source = Source {
        file: std::io::BufReader::new(file),
        path,
        length,
    };
    let mut clip = WebMClip {
        doc_type: String::new(),
        codec: String::new(),
        width: 0,
        height: 0,
        metadata: Vec::new(),
        frames: Vec::new(),
        fps: Fps::new(24, 1)?,
        duration_ms: 0,
        track: 0,
        frame_ns: 0,
        scale_ns: 1_000_000,
        times: (0, 0),
    };
    let (_, from, to) = source
        .element(0, length)?
        .filter(|e| e.0 == EBML)
        .ok_or_else(|| bad("no EBML header"))?;
    let header = source.bytes(from, (to - from).min(4096))?;
    clip.doc_type = children(&header)
        .find(|e| e.0 == DOC_TYPE)
        .map(|e| text(e.1))
        .unwrap_or_default();
    let (_, mut at, end) = source
        .element(to, length)?
        .filter(|e| e.0 == SEGMENT)
        .ok_or_else(|| bad("no complete segment"))?;
    while at < end {
        let Some((id, from, to)) = source.element(at, end)? else {
            return Err(bad(format!("the file ends within an element at {at}")));
        };
        if id == CLUSTER {
            at = clip.cluster(&mut source, from, to, limits)?;
            continue;
        }
        if matches!(id, INFO | TRACKS | TAGS) {
            if to - from > MAX_HEADER_BYTES {
                return Err(Error::TooLarge {
                    what: "the bytes of a webm header",
                    got: to - from,
                    limit: MAX_HEADER_BYTES,
                });
            }
            clip.header(id, &source.bytes(from, to - from)?);
        }
        at = to;
    }
    clip.finish()?;
    Ok(clip)
}

fn text(payload: &[u8]) -> String {
    String::from_utf8_lossy(payload).trim_end_matches('\0').to_string()
}

impl WebMClip {
    fn header(&mut self, id: u32, payload: &[u8]) {
        match id {
            INFO => {
                for (id, p) in children(payload) {
                    match id {
                        TIMESTAMP_SCALE => self.scale_ns = unsigned(p).clamp(1, 1_000_000_000),
                        DURATION => {
                            self.duration_ms =
                                float(p).map_or(0, |ticks| (ticks * self.scale_ns as f64 / 1e6).round() as u64)
                        }
                        _ => {}
                    }
                }
            }
            TRACKS => {
                let video = children(payload)
                    .filter(|e| e.0 == TRACK_ENTRY)
                    .find(|e| children(e.1).any(|(id, p)| id == TRACK_TYPE && unsigned(p) == 1));
                if let (Some((_, entry)), true) = (video, self.codec.is_empty()) {
                    self.track_entry(entry);
                }
            }
            _ => {
                let simple = children(payload)
                    .filter(|e| e.0 == TAG)
                    .flat_map(|e| children(e.1))
                    .filter(|e| e.0 == SIMPLE_TAG);
                for (_, pair) in simple {
                    let part = |id| children(pair).find(|e| e.0 == id).map(|e| text(e.1));
                    if let (Some(name), Some(value)) = (part(TAG_NAME), part(TAG_STRING)) {
                        let name = TAG_NAMES.iter().find(|n| n.1 == name).map_or(name, |n| n.0.to_string());
                        self.metadata.push((name, value));
                    }
                }
            }
        }
    }

    fn track_entry(&mut self, entry: &[u8]) {
        for (id, p) in children(entry) {
            match id {
                TRACK_NUMBER => self.track = unsigned(p),
                CODEC_ID => self.codec = text(p),
                DEFAULT_DURATION => self.frame_ns = unsigned(p),
                VIDEO => {
                    for (id, p) in children(p) {
                        match id {
                            PIXEL_WIDTH => self.width = unsigned(p).min(u64::from(u32::MAX)) as u32,
                            PIXEL_HEIGHT => self.height = unsigned(p).min(u64::from(u32::MAX)) as u32,
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// Notes the frames of a cluster and returns where it ends (one of unknown size ends at the next top-level element).
    fn cluster(&mut self, source: &mut Source<'_>, from: u64, to: u64, limits: &Limits) -> Result<u64> {
        let (mut at, mut start) = (from, 0);
        while at < to {
            let Some((id, from, end)) = source.element(at, to)? else {
                return Err(bad(format!("the file ends within a cluster at {at}")));
            };
            match id {
                CLUSTER | CUES | TAGS | INFO | TRACKS | SEEK_HEAD => return Ok(at),
                TIMESTAMP => start = unsigned(&source.bytes(from, (end - from).min(8))?),
                SIMPLE_BLOCK => self.block(source, start, from, end, limits)?,
                BLOCK_GROUP => {
                    let mut inner = from;
                    while let Some((id, from, to)) = source.element(inner, end)?.filter(|_| inner < end) {
                        if id == BLOCK {
                            self.block(source, start, from, to, limits)?;
                        }
                        inner = to;
                    }
                }
                _ => {}
            }
            at = end;
        }
        Ok(to)
    }

    fn block(&mut self, source: &mut Source<'_>, start: u64, from: u64, to: u64, limits: &Limits) -> Result<()> {
        let head = source.bytes(from, (to - from).min(12))?;
        let Some((track, n)) = vint(&head, false) else {
            return Err(bad("a block has no track"));
        };
        let Some(&[a, b, flags]) = head.get(n..n + 3) else {
            return Err(bad("a block is too short"));
        };
        if track != self.track {
            return Ok(());
        }
        if flags & 0x06 != 0 {
            return Err(bad("video blocks are laced"));
        }
        let time = start.saturating_add_signed(i64::from(i16::from_be_bytes([a, b])));
        if self.frames.is_empty() {
            self.times.0 = time;
        }
        self.times.1 = self.times.1.max(time);
        let at = from + n as u64 + 3;
        let size = u32::try_from(to - at).map_err(|_| bad("a block is larger than 4 GiB"))?;
        self.frames.push((at, size));
        limits.check_frames(self.frames.len() as u64)
    }

    /// Rate and duration from what the headers said, else from the blocks' times.
    fn finish(&mut self) -> Result<()> {
        let frames = self.frames.len() as u64;
        if frames == 0 {
            return Err(bad("there is no video frame"));
        }
        let span_ns = self.times.1.saturating_sub(self.times.0).saturating_mul(self.scale_ns);
        let ns = if self.frame_ns > 0 {
            self.frame_ns
        } else {
            span_ns / (frames - 1).max(1)
        };
        if ns > 0 {
            let usual = [(24000, 1001), (30000, 1001), (60000, 1001)];
            let exact = 1e9 / ns as f64;
            let whole =
                (exact.round() >= 1.0 && (exact / exact.round() - 1.0).abs() < 2e-4).then(|| (exact.round() as u32, 1));
            let near = usual
                .into_iter()
                .find(|&(n, d)| (exact / (f64::from(n) / f64::from(d)) - 1.0).abs() < 2e-4);
            let (num, den) = near
                .or(whole)
                .unwrap_or(((exact * 1000.0).round().min(1e9) as u32, 1000));
            self.fps = Fps::new(num, den).map_err(|_| bad("the frame times are impossible"))?;
        }
        if self.duration_ms == 0 {
            self.duration_ms = self.fps.duration_ms(frames);
        }
        Ok(())
    }
}

/// A float of four or eight bytes that is a sensible duration.
fn float(p: &[u8]) -> Option<f64> {
    let x = match p.len() {
        4 => f64::from(f32::from_be_bytes(p.try_into().ok()?)),
        8 => f64::from_be_bytes(p.try_into().ok()?),
        _ => return None,
    };
    (x.is_finite() && (0.0..1e15).contains(&x)).then_some(x)
}
