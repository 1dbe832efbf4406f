//! Small real pictures and clips.

use kinora_media::{ClipWriter, Format, Fps, Frame, Quality, WriteOptions, write_image};

/// A PNG of one colour.
pub fn png(width: u32, height: u32) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picture.png");
    let frame = Frame::filled(width, height, [200, 40, 10]).unwrap();
    write_image(&path, &frame, Quality::default(), &[]).unwrap();
    std::fs::read(path).unwrap()
}

/// An MP4 whose frames grow brighter.
pub fn mp4(width: u32, height: u32, frames: u8, fps: u32) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.mp4");
    let options = WriteOptions::new(width, height, Fps::new(fps, 1).unwrap());
    let mut writer = ClipWriter::create(&path, Format::Mp4, &options).unwrap();
    for index in 0..frames {
        writer
            .push(&Frame::filled(width, height, [index.saturating_mul(20); 3]).unwrap())
            .unwrap();
    }
    writer.finish().unwrap();
    std::fs::read(path).unwrap()
}

/// The header of a PNG that claims to be this large, and nothing behind it: what a bomb begins with.
pub fn png_bomb(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = png(8, 8);
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    let crc = crc32(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&crc.to_be_bytes());
    bytes
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    !crc
}
