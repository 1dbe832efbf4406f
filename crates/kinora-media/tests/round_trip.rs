//! What is written comes back: pictures, counts, times, tags, bytes.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{awkward, name, scenes, write};
use kinora_media::{
    ClipReader, ClipWriter, Error, Format, Fps, Frame, Limits, WriteOptions, probe, psnr, read_metadata, ssim,
};
use std::collections::BTreeSet;

/// Format, size, lowest PSNR of the luma in dB (hard colour edges lose more to 4:2:0), lowest SSIM, codec.
const CASES: [(Format, u32, u32, f64, f64, &str); 6] = [
    (Format::Mp4, 162, 90, 40.0, 0.97, "h264"),
    (Format::WebM, 161, 91, 40.0, 0.97, "vp8"),
    (Format::Gif, 160, 90, 30.0, 0.85, "gif"),
    (Format::WebP, 161, 91, 40.0, 0.97, "webp"),
    (Format::PngFrames, 33, 17, f64::INFINITY, 0.9999, "png"),
    (Format::Png, 33, 17, f64::INFINITY, 0.9999, "png"),
];

fn grey(frame: &Frame) -> Frame {
    Frame::new(
        frame.width_px,
        frame.height_px,
        frame.luma().into_iter().flat_map(|y| [y; 3]).collect(),
    )
    .unwrap()
}

#[test]
fn pictures_counts_times_and_tags_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let fps = Fps::new(24, 1).unwrap();
    for (format, w, h, min_psnr, min_ssim, codec) in CASES {
        let frames = scenes(w, h, if format == Format::Png { 1 } else { 31 });
        let path = name(dir.path(), format);
        let written = write(&path, format, &frames, fps, 90);
        let info = probe(&path).unwrap();
        assert_eq!(
            (info.format, info.codec.as_str(), info.width_px, info.height_px),
            (format.name(), codec, w, h)
        );
        assert_eq!(
            (info.frames, written.frames),
            (frames.len() as u64, frames.len() as u64),
            "{format}"
        );
        let as_set = |l: Vec<(String, String)>| l.into_iter().collect::<BTreeSet<_>>();
        assert_eq!(as_set(read_metadata(&path).unwrap()), as_set(awkward()), "{format}");
        let back: Vec<Frame> = if format == Format::Png {
            vec![kinora_media::read_image(&path, &Limits::default()).unwrap().frame]
        } else {
            // 31 frames of 1/24 s are 1291.67 ms; GIF counts in hundredths.
            assert_eq!((written.duration_ms, info.fps), (1292, fps), "{format}");
            assert_eq!(
                info.duration_ms,
                if format == Format::Gif { 1290 } else { 1292 },
                "{format}"
            );
            ClipReader::open(&path, &Limits::default())
                .unwrap()
                .collect::<Result<_, _>>()
                .unwrap()
        };
        assert_eq!(back.len(), frames.len(), "{format}");
        let worst = frames
            .iter()
            .zip(&back)
            .map(|(a, b)| psnr(&grey(a), &grey(b)).unwrap())
            .fold(f64::INFINITY, f64::min);
        let alike = frames
            .iter()
            .zip(&back)
            .map(|(a, b)| ssim(a, b).unwrap())
            .fold(1.0, f64::min);
        println!(
            "{format}: worst {worst:.1} dB, ssim {alike:.4}, {} bytes",
            written.bytes
        );
        assert!(
            worst >= min_psnr && alike >= min_ssim,
            "{format}: {worst:.1} dB, ssim {alike:.4}"
        );
    }
}

#[test]
fn the_same_frames_give_the_same_bytes() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let frames = scenes(64, 48, 5);
    for format in Format::ALL {
        let frames = if format == Format::Png { &frames[..1] } else { &frames };
        let hashes = [&a, &b].map(|d| {
            write(
                &name(d.path(), format),
                format,
                frames,
                Fps::new(30000, 1001).unwrap(),
                80,
            )
            .sha256
        });
        assert_eq!(hashes[0], hashes[1], "{format}");
        assert_eq!(hashes[0].len(), 64);
    }
}

#[test]
fn all_usual_rates_are_kept_exactly() {
    let dir = tempfile::tempdir().unwrap();
    let frames = scenes(32, 32, 13);
    for rate in ["24", "23.976", "25", "29.97", "30", "12.5", "10"] {
        let fps: Fps = rate.parse().unwrap();
        for format in [Format::Mp4, Format::WebM, Format::PngFrames] {
            let path = name(dir.path(), format);
            let written = write(&path, format, &frames, fps, 50);
            let info = probe(&path).unwrap();
            assert_eq!(
                (info.fps, info.duration_ms),
                (fps, written.duration_ms),
                "{format} {rate}"
            );
        }
    }
}

#[test]
fn a_long_gif_does_not_drift() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("long.gif");
    write(&path, Format::Gif, &scenes(16, 16, 100), Fps::new(24, 1).unwrap(), 80);
    assert_eq!(probe(&path).unwrap().duration_ms, 4170);
}

#[test]
fn colours_are_not_shifted_by_any_format() {
    let dir = tempfile::tempdir().unwrap();
    for colour in [
        [255, 0, 0],
        [0, 255, 0],
        [0, 0, 255],
        [94, 107, 35],
        [255, 255, 255],
        [0, 0, 0],
    ] {
        for format in [Format::Mp4, Format::WebM, Format::WebP, Format::Gif] {
            let path = name(dir.path(), format);
            write(
                &path,
                format,
                &vec![Frame::filled(64, 48, colour).unwrap(); 3],
                Fps::new(24, 1).unwrap(),
                95,
            );
            let mut reader = ClipReader::open(&path, &Limits::default()).unwrap();
            let got = reader.nth(1).unwrap().unwrap().pixel(30, 20);
            let off = (0..3).map(|i| got[i].abs_diff(colour[i])).max().unwrap();
            assert!(off <= 3, "{format}: {colour:?} became {got:?}");
        }
    }
}

#[test]
fn nothing_is_left_without_finish_and_old_files_stay() {
    let dir = tempfile::tempdir().unwrap();
    let options = WriteOptions::new(32, 32, Fps::new(24, 1).unwrap());
    for format in Format::ALL {
        let path = name(dir.path(), format);
        write(&path, format, &scenes(32, 32, 1), Fps::new(24, 1).unwrap(), 50);
        let before = read_metadata(&path).unwrap();
        let mut clip = ClipWriter::create(&path, format, &options).unwrap();
        clip.push(&scenes(32, 32, 1)[0]).unwrap();
        drop(clip.seal().unwrap());
        assert!(matches!(
            ClipWriter::create(&path, format, &options).unwrap().finish(),
            Err(Error::NoFrames)
        ));
        assert_eq!(read_metadata(&path).unwrap(), before, "{format}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), Format::ALL.len());
}

#[test]
fn a_sealed_clip_can_be_rewritten_before_it_gets_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.png");
    let mut clip = ClipWriter::create(&path, Format::Png, &WriteOptions::new(8, 8, Fps::new(1, 1).unwrap())).unwrap();
    clip.push(&Frame::filled(8, 8, [1, 2, 3]).unwrap()).unwrap();
    let sealed = clip.seal().unwrap();
    assert!(!path.exists());
    let mut bytes = std::fs::read(sealed.path()).unwrap();
    bytes.extend_from_slice(b"signed");
    std::fs::write(sealed.path(), &bytes).unwrap();
    let written = sealed.publish().unwrap();
    assert_eq!(
        (written.bytes, std::fs::read(&path).unwrap()),
        (bytes.len() as u64, bytes)
    );
}
