//! The WebM writer: header, seek head, info, track, tags and cues first, then one cluster a second.

use super::ebml::*;
use crate::temp::{Spool, TempFile};
use crate::writer::{ClipEncoder, WriteOptions};
use crate::{Frame, Result, vp8};

/// VP8 key frames in WebM.
pub(crate) struct WebMEncoder {
    options: WriteOptions,
}

/// Names that Matroska writes in its own way.
pub(super) const TAG_NAMES: [(&str, &str); 3] = [("title", "TITLE"), ("comment", "COMMENT"), ("encoder", "ENCODER")];

/// One second of frames.
struct Cluster {
    first: usize,
    end: usize,
    start_ms: u64,
    /// Bytes of its payload.
    size: u64,
}

/// Bytes of an id of four bytes with an eight-byte size.
const HEAD_BYTES: u64 = 12;
/// A SimpleBlock's own bytes: id 1, size 8, track 1, time 2, flags 1.
const BLOCK_BYTES: u64 = 13;

impl WebMEncoder {
    pub(crate) fn new(options: &WriteOptions) -> Result<Self> {
        vp8::check_size(options.width_px, options.height_px)?;
        Ok(Self {
            options: options.clone(),
        })
    }

    fn clusters(&self, sizes: &[u32]) -> Vec<Cluster> {
        let fps = self.options.fps;
        let mut out: Vec<Cluster> = Vec::new();
        for (i, &size) in sizes.iter().enumerate() {
            let ms = fps.ticks(i as u64, 1000);
            let block = BLOCK_BYTES + u64::from(size);
            match out.last_mut().filter(|c| ms / 1000 == c.start_ms / 1000) {
                Some(c) => {
                    c.end = i + 1;
                    c.size += block;
                }
                // The time element takes 10 bytes.
                None => out.push(Cluster {
                    first: i,
                    end: i + 1,
                    start_ms: ms,
                    size: 10 + block,
                }),
            }
        }
        out
    }

    fn info(&self, frames: usize) -> Vec<u8> {
        let fps = self.options.fps;
        let ms = frames as f64 * 1000.0 * f64::from(fps.den) / f64::from(fps.num);
        let app = self.entry("encoder").unwrap_or("kinora");
        let title = self
            .entry("title")
            .map(|t| element(TITLE, t.as_bytes()))
            .unwrap_or_default();
        let parts = [
            number(TIMESTAMP_SCALE, 1_000_000),
            element(DURATION, &ms.to_be_bytes()),
            title,
            element(MUXING_APP, b"kinora-media"),
            element(WRITING_APP, app.as_bytes()),
        ];
        element(INFO, &parts.concat())
    }

    fn entry(&self, key: &str) -> Option<&str> {
        self.options.metadata.iter().find(|e| e.0 == key).map(|e| e.1.as_str())
    }

    fn tracks(&self) -> Vec<u8> {
        // Matrix, transfer and primaries 6 (SMPTE 170M), 1 and 1 (BT.709, as sRGB); range 1 limited; chroma 2/2 half-way.
        let colour = [
            (0x55B1, 6),
            (0x55B7, 2),
            (0x55B8, 2),
            (0x55B9, 1),
            (0x55BA, 1),
            (0x55BB, 1),
        ];
        let colour: Vec<u8> = colour.into_iter().flat_map(|(id, n)| number(id, n)).collect();
        let video = [
            number(PIXEL_WIDTH, u64::from(self.options.width_px)),
            number(PIXEL_HEIGHT, u64::from(self.options.height_px)),
            element(COLOUR, &colour),
        ];
        let fps = self.options.fps;
        let frame_ns = (u64::from(fps.den) * 1_000_000_000 + u64::from(fps.num) / 2) / u64::from(fps.num);
        let entry = [
            number(TRACK_NUMBER, 1),
            number(TRACK_UID, 1),
            number(TRACK_TYPE, 1),
            number(FLAG_LACING, 0),
            element(CODEC_ID, b"V_VP8"),
            number(DEFAULT_DURATION, frame_ns),
            element(VIDEO, &video.concat()),
        ];
        element(TRACKS, &element(TRACK_ENTRY, &entry.concat()))
    }

    fn tags(&self) -> Vec<u8> {
        if self.options.metadata.is_empty() {
            return Vec::new();
        }
        let mut tag = element(TARGETS, &[]);
        for (key, value) in &self.options.metadata {
            let name = TAG_NAMES.iter().find(|n| n.0 == key).map_or(key.as_str(), |n| n.1);
            let pair = [
                element(TAG_NAME, name.as_bytes()),
                element(TAG_STRING, value.as_bytes()),
            ];
            tag.extend(element(SIMPLE_TAG, &pair.concat()));
        }
        element(TAGS, &element(TAG, &tag))
    }
}

/// Seek head for `(id, position)` pairs.
fn seek_head(places: &[(u32, u64)]) -> Vec<u8> {
    let seek = |&(id, at): &(u32, u64)| {
        element(
            SEEK,
            &[element(SEEK_ID, &id_bytes(id)), fixed(SEEK_POSITION, at)].concat(),
        )
    };
    element(SEEK_HEAD, &places.iter().flat_map(seek).collect::<Vec<_>>())
}

/// Cues for clusters of which the first starts at `at` within the segment.
fn cues(clusters: &[Cluster], mut at: u64) -> Vec<u8> {
    let mut points = Vec::new();
    for c in clusters {
        let place = element(
            CUE_TRACK_POSITIONS,
            &[number(CUE_TRACK, 1), fixed(CUE_CLUSTER_POSITION, at)].concat(),
        );
        points.extend(element(CUE_POINT, &[fixed(CUE_TIME, c.start_ms), place].concat()));
        at += HEAD_BYTES + c.size;
    }
    element(CUES, &points)
}

impl ClipEncoder for WebMEncoder {
    fn codec(&self) -> &'static str {
        "vp8"
    }

    fn push(&mut self, frame: &Frame, spool: &mut Spool) -> Result<()> {
        spool.push(&vp8::encode(frame, self.options.quality)?)
    }

    fn finish(&mut self, spool: &mut Spool, out: &mut TempFile) -> Result<()> {
        let clusters = self.clusters(&spool.sizes);
        let (info, tracks, tags) = (self.info(spool.sizes.len()), self.tracks(), self.tags());
        // Positions are stored in eight bytes, so the sizes of seek head and cues do not depend on them.
        let places = |from: u64, cues_size: u64| {
            let mut places = vec![(INFO, from), (TRACKS, from + info.len() as u64)];
            let mut at = from + (info.len() + tracks.len()) as u64;
            if !tags.is_empty() {
                places.push((TAGS, at));
                at += tags.len() as u64;
            }
            places.push((CUES, at));
            (seek_head(&places), at + cues_size)
        };
        let cues_size = cues(&clusters, 0).len() as u64;
        let (seek, _) = places(0, 0);
        let (seek, first_cluster) = places(seek.len() as u64, cues_size);
        let size = first_cluster + clusters.iter().map(|c| HEAD_BYTES + c.size).sum::<u64>();
        let doc = [
            number(0x4286, 1), // EBML version, read version, longest id, longest size
            number(0x42F7, 1),
            number(0x42F2, 4),
            number(0x42F3, 8),
            element(DOC_TYPE, b"webm"),
            number(0x4287, 4), // document version 4 (Colour), readable by version 2
            number(0x4285, 2),
        ];
        out.write(&element(EBML, &doc.concat()))?;
        out.write(&head(SEGMENT, size))?;
        for part in [seek, info, tracks, tags, cues(&clusters, first_cluster)] {
            out.write(&part)?;
        }
        let fps = self.options.fps;
        let mut at = 0;
        spool.replay(|i, sample| {
            if clusters.get(at).is_some_and(|c| i >= c.end) {
                at += 1;
            }
            let Some(cluster) = clusters.get(at) else { return Ok(()) };
            if i == cluster.first {
                out.write(&head(CLUSTER, cluster.size))?;
                out.write(&fixed(TIMESTAMP, cluster.start_ms))?;
            }
            let relative = (fps.ticks(i as u64, 1000) - cluster.start_ms) as i16;
            out.write(&head(SIMPLE_BLOCK, 4 + sample.len() as u64))?;
            // Track 1, time within the cluster, key frame.
            out.write(&[0x81, relative.to_be_bytes()[0], relative.to_be_bytes()[1], 0x80])?;
            out.write(sample)
        })
    }
}
