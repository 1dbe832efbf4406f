//! Synthetic frames for the tests: drifting gradients, a moving disc, some texture.
#![allow(dead_code, clippy::unwrap_used)]

use kinora_media::{ClipWriter, Format, Fps, Frame, Quality, WriteOptions, WrittenClip};
use std::path::Path;

/// A small deterministic random generator (SplitMix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

/// Frame `t` of a scene that moves everywhere a little.
pub fn scene(w: u32, h: u32, t: u32) -> Frame {
    let (cx, cy) = (w as f32 * 0.3 + t as f32 * 2.0, h as f32 * 0.5);
    let mut rgb = Vec::with_capacity((w * h * 3) as usize);
    for y in 0..h {
        for x in 0..w {
            let (fx, fy) = (x as f32, y as f32);
            let inside = ((fx - cx).powi(2) + (fy - cy).powi(2)).sqrt() < h as f32 * 0.25;
            let wave = ((fx + t as f32) * 0.11).sin() * 12.0 + (fy * 0.07).cos() * 12.0;
            let sky = [70.0 + fy * 90.0 / h as f32, 110.0 + fx * 60.0 / w as f32, 170.0];
            let base = if inside { [220.0, 120.0, 60.0] } else { sky };
            rgb.extend(base.map(|c| (c + wave).clamp(0.0, 255.0) as u8));
        }
    }
    Frame::new(w, h, rgb).unwrap()
}

pub fn scenes(w: u32, h: u32, n: u32) -> Vec<Frame> {
    (0..n).map(|t| scene(w, h, t)).collect()
}

/// Metadata with everything that is awkward.
pub fn awkward() -> Vec<(String, String)> {
    let record = format!(
        "{{\"prompt\":\"a <b> & \\\"c\\\"\\n日本 🚀\",\"seed\":42,\"pad\":\"{}\"}}",
        "x".repeat(700)
    );
    [
        ("title", "Ein Öl-Baum & mehr".to_string()),
        ("comment", "first line\nsecond <line>".into()),
        ("encoder", "Kinora 0.1.0".into()),
        ("kinora", record),
    ]
    .map(|(k, v)| (k.to_string(), v))
    .into()
}

pub fn write(path: &Path, format: Format, frames: &[Frame], fps: Fps, quality: u8) -> WrittenClip {
    let mut options = WriteOptions::new(frames[0].width_px, frames[0].height_px, fps);
    options.quality = Quality::new(quality).unwrap();
    options.metadata = awkward();
    let mut clip = ClipWriter::create(path, format, &options).unwrap();
    frames.iter().for_each(|f| clip.push(f).unwrap());
    clip.finish().unwrap()
}

/// A name for a clip of this format within a folder.
pub fn name(dir: &Path, format: Format) -> std::path::PathBuf {
    if format == Format::PngFrames {
        dir.join("frames")
    } else {
        dir.join(format!("clip.{}", format.extension()))
    }
}
