//! What other people's programs say about our files. Needs `ffmpeg` and `ffprobe` on the PATH; says so and passes without.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{name, scenes, write};
use kinora_media::{ClipReader, Format, Fps, Frame, Limits, psnr};
use std::path::Path;
use std::process::Command;

fn installed() -> bool {
    let found = ["ffmpeg", "ffprobe"]
        .iter()
        .all(|p| Command::new(p).arg("-version").output().is_ok());
    if !found {
        println!("skipped: ffmpeg and ffprobe are not installed");
    }
    found
}

fn ffprobe(path: &Path, entries: &str) -> String {
    let args = [
        "-v",
        "error",
        "-count_frames",
        "-select_streams",
        "v:0",
        "-of",
        "default=nw=1",
        "-show_entries",
        entries,
    ];
    let out = Command::new("ffprobe").args(args).arg(path).output().unwrap();
    assert!(
        out.stderr.is_empty(),
        "ffprobe complains: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8(out.stdout).unwrap()
}

/// All frames as ffmpeg decodes them.
fn ffmpeg(path: &Path, w: u32, h: u32) -> Vec<Frame> {
    let out = Command::new("ffmpeg")
        .args(["-v", "warning", "-i"])
        .arg(path)
        .args([
            "-sws_flags",
            "bilinear+accurate_rnd+full_chroma_int",
            "-pix_fmt",
            "rgb24",
            "-fps_mode",
            "passthrough",
            "-f",
            "rawvideo",
            "-",
        ])
        .output()
        .unwrap();
    assert!(
        out.status.success() && out.stderr.is_empty(),
        "ffmpeg complains: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    out.stdout
        .chunks_exact((3 * w * h) as usize)
        .map(|c| Frame::new(w, h, c.to_vec()).unwrap())
        .collect()
}

#[test]
fn ffmpeg_agrees_with_our_decoders_and_tags() {
    if !installed() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let frames = scenes(176, 144, 60);
    let cases = [
        (
            Format::Mp4,
            vec![
                "codec_name=h264",
                "profile=High",
                "pix_fmt=yuv420p",
                "color_range=tv",
                "color_space=bt709",
                "color_transfer=bt709",
                "color_primaries=bt709",
                "chroma_location=left",
                "has_b_frames=0",
            ],
        ),
        (
            Format::WebM,
            vec![
                "codec_name=vp8",
                "color_range=tv",
                "color_space=smpte170m",
                "color_primaries=bt709",
            ],
        ),
        (Format::Gif, vec!["codec_name=gif"]),
    ];
    for (format, wanted) in cases {
        let path = name(dir.path(), format);
        write(&path, format, &frames, Fps::new(24, 1).unwrap(), 85);
        let said = ffprobe(&path, "stream:format=duration:format_tags");
        let more = ["width=176", "height=144", "nb_read_frames=60", "duration=2.500000"];
        for line in wanted.into_iter().chain(more) {
            assert!(said.contains(line), "{format}: ffprobe does not say {line}:\n{said}");
        }
        if format != Format::Gif {
            assert!(
                said.contains("Ein Öl-Baum & mehr")
                    && said.contains("\"seed\":42")
                    && said.contains("r_frame_rate=24/1"),
                "{said}"
            );
        }
        let theirs = ffmpeg(&path, 176, 144);
        let ours: Vec<Frame> = ClipReader::open(&path, &Limits::default())
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        assert_eq!((theirs.len(), ours.len()), (60, 60));
        let worst = ours
            .iter()
            .zip(&theirs)
            .map(|(a, b)| psnr(a, b).unwrap())
            .fold(f64::INFINITY, f64::min);
        println!("{format}: our pictures against ffmpeg's: {worst:.1} dB");
        assert!(worst > 38.0, "{format}: {worst:.1} dB");
    }
}

#[test]
fn clips_of_others_are_read() {
    if !installed() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let cases: [(&str, &[&str], &str, (u32, u32)); 7] = [
        (
            "bframes.mp4",
            &["-c:v", "libx264", "-bf", "3", "-pix_fmt", "yuv420p"],
            "h264",
            (160, 96),
        ),
        (
            "fast.mov",
            &["-c:v", "libx264", "-pix_fmt", "yuv420p", "-movflags", "faststart"],
            "h264",
            (160, 96),
        ),
        (
            "ten.mp4",
            &["-c:v", "libx264", "-pix_fmt", "yuv420p10le"],
            "h264",
            (160, 96),
        ),
        (
            "pieces.mp4",
            &[
                "-c:v",
                "libx264",
                "-pix_fmt",
                "yuv420p",
                "-movflags",
                "frag_keyframe+empty_moov",
            ],
            "h264",
            (160, 96),
        ),
        ("old.avi", &["-c:v", "mpeg4"], "mpeg4", (160, 96)),
        ("inter.webm", &["-c:v", "libvpx", "-b:v", "1M"], "vp8", (160, 96)),
        ("plain.gif", &[], "gif", (160, 96)),
    ];
    for (name, args, codec, size) in cases {
        let path = dir.path().join(name);
        let source = ["-v", "error", "-f", "lavfi", "-i", "testsrc2=s=160x96:r=25:d=1.2"];
        assert!(
            Command::new("ffmpeg")
                .args(source)
                .args(args)
                .arg(&path)
                .status()
                .unwrap()
                .success(),
            "{name}"
        );
        let reader = ClipReader::open(&path, &Limits::default()).unwrap();
        let info = reader.info().clone();
        assert_eq!(
            (info.codec.as_str(), (info.width_px, info.height_px), info.fps),
            (codec, size, Fps::new(25, 1).unwrap()),
            "{name}"
        );
        let ours: Vec<Frame> = reader.collect::<Result<_, _>>().unwrap();
        let theirs = ffmpeg(&path, size.0, size.1);
        assert_eq!((ours.len(), ours.len() as u64), (theirs.len(), 30), "{name}");
        let worst = ours
            .iter()
            .zip(&theirs)
            .map(|(a, b)| psnr(a, b).unwrap())
            .fold(f64::INFINITY, f64::min);
        println!("{name}: {worst:.1} dB against ffmpeg");
        // Without a tag ffmpeg's scaler puts H.264's chroma in the centre, the standard at the left, which shows on the
        // hard colour edges of this source; so the picture must above all be nearest to its own counterpart.
        assert!(worst > 24.0, "{name}: {worst:.1} dB");
        for (i, frame) in ours.iter().enumerate() {
            let rate = |f: &Frame| psnr(frame, f).unwrap();
            let nearest = (0..theirs.len())
                .max_by(|&a, &b| rate(&theirs[a]).total_cmp(&rate(&theirs[b])))
                .unwrap();
            assert_eq!(nearest, i, "{name}: frame out of order");
        }
    }
    let turned = dir.path().join("turned.mp4");
    let rotate = [
        "-v",
        "error",
        "-i",
        dir.path().join("fast.mov").to_str().unwrap(),
        "-c",
        "copy",
        "-metadata:s:v",
        "rotate=90",
        turned.to_str().unwrap(),
    ]
    .map(String::from);
    assert!(Command::new("ffmpeg").args(rotate).status().unwrap().success());
    let mut reader = ClipReader::open(&turned, &Limits::default()).unwrap();
    let ours = reader.next().unwrap().unwrap();
    // Not every ffmpeg still writes the matrix for this option.
    if ours.width_px == 96 {
        assert!(psnr(&ours, &ffmpeg(&turned, 96, 160)[0]).unwrap() > 24.0);
    }
}
