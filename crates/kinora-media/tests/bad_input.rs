//! Files and requests that are wrong: each gets an error with a hint, never a panic, never a leftover.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{Random, name, scenes, write};
use kinora_media::{
    ClipReader, ClipWriter, Error, Format, Fps, Frame, Limits, WriteOptions, probe, read_image, read_metadata,
    write_image,
};
use std::path::Path;

fn options(w: u32, h: u32) -> WriteOptions {
    WriteOptions::new(w, h, Fps::new(24, 1).unwrap())
}

/// Small limits, so that hostile headers are refused quickly.
fn limits() -> Limits {
    let mut l = Limits::default();
    (l.pixels, l.frames, l.memory_bytes, l.file_bytes) = (1 << 20, 500, 64 << 20, 16 << 20);
    l
}

/// Everything that a user could do with a file; the results do not matter, returning does.
fn poke(path: &Path) {
    let _ = read_metadata(path);
    let _ = probe(path);
    let _ = read_image(path, &limits());
    if let Ok(reader) = ClipReader::open(path, &limits()) {
        let _ = reader.take(40).collect::<Result<Vec<_>, _>>();
    }
}

/// One file of each format, plus a JPEG.
fn samples(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut out = Vec::new();
    for format in [Format::Mp4, Format::WebM, Format::Gif, Format::WebP, Format::Png] {
        let path = name(dir, format);
        write(
            &path,
            format,
            &scenes(48, 32, if format == Format::Png { 1 } else { 4 }),
            Fps::new(24, 1).unwrap(),
            60,
        );
        out.push((format!("bad.{}", format.extension()), std::fs::read(&path).unwrap()));
    }
    let jpeg = dir.join("a.jpg");
    write_image(&jpeg, &scenes(48, 32, 1)[0], kinora_media::Quality::default(), &[]).unwrap();
    out.push(("bad.jpg".into(), std::fs::read(jpeg).unwrap()));
    out
}

#[test]
fn truncated_files_end_in_errors() {
    let dir = tempfile::tempdir().unwrap();
    for (name, whole) in samples(dir.path()) {
        let path = dir.path().join(&name);
        for cut in (0..20)
            .map(|i| whole.len() * i / 20)
            .chain([1, 7, 11, 12, 20, whole.len() - 1])
        {
            std::fs::write(&path, &whole[..cut]).unwrap();
            poke(&path);
            let clip =
                ClipReader::open(&path, &limits()).and_then(|r| r.collect::<Result<Vec<_>, _>>().map(|f| f.len()));
            let still = read_image(&path, &limits()).map(|_| 1);
            // A still is refused as a clip and the other way round; the first frame of a cut animation may be whole.
            let animation = name.ends_with("webp") || name.ends_with("gif");
            let lost = clip.is_err() && (still.is_err() || animation);
            // The end mark of a PNG holds nothing.
            let tail = cut + 12 >= whole.len() && name.ends_with("png");
            assert!(
                lost || tail,
                "{name} cut at {cut} of {}: {clip:?} {still:?}",
                whole.len()
            );
        }
    }
}

#[test]
fn flipped_bits_never_panic() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random(7);
    for (name, whole) in samples(dir.path()) {
        let path = dir.path().join(&name);
        for round in 0..60 {
            let mut bytes = whole.clone();
            // Headers are where damage hurts: half of the rounds stay within the first kilobyte.
            let span = if round % 2 == 0 {
                bytes.len()
            } else {
                bytes.len().min(1024)
            };
            for _ in 0..1 + random.below(6) {
                let at = random.below(span);
                bytes[at] = if random.below(3) == 0 {
                    random.next() as u8
                } else {
                    bytes[at] ^ (1 << random.below(8))
                };
            }
            std::fs::write(&path, &bytes).unwrap();
            poke(&path);
        }
    }
}

#[test]
fn foreign_and_unreadable_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let cases = [
        (
            file(
                "text.mp4",
                b"this is a text file, not a video, and it is long enough to look at",
            ),
            "neither an image nor a video",
        ),
        (file("empty.mp4", b""), "is empty"),
        (file("heic.jpg", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"), "image"),
        (dir.path().join("missing.mp4"), "check the path"),
        (dir.path().to_path_buf(), "clip.json"),
    ];
    for (path, words) in cases {
        let text = ClipReader::open(&path, &limits()).unwrap_err().to_string();
        assert!(
            text.contains(words)
                && text
                    .to_lowercase()
                    .contains(if words == "clip.json" { "could not" } else { "" }),
            "{path:?}: {text}"
        );
        assert!(read_image(&path, &limits()).is_err() && probe(&path).is_err());
    }
    let gif = dir.path().join("clip.png");
    write(&gif, Format::Png, &scenes(8, 8, 1), Fps::new(24, 1).unwrap(), 50);
    assert!(
        ClipReader::open(&gif, &limits())
            .unwrap_err()
            .to_string()
            .contains("--image")
    );
    let mp4 = dir.path().join("clip.mp4");
    write(&mp4, Format::Mp4, &scenes(32, 32, 2), Fps::new(24, 1).unwrap(), 50);
    assert!(
        read_image(&mp4, &limits())
            .unwrap_err()
            .to_string()
            .contains("--extend")
    );
}

#[test]
fn gigantic_headers_are_refused_before_decoding() {
    let dir = tempfile::tempdir().unwrap();
    let mut png = Vec::new();
    png.extend_from_slice(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\x01\0\0\0\x01\0\0\x08\x02\0\0\0\0\0\0\0");
    let mut gif = b"GIF89a\xff\xff\xff\xff\0\0\0".to_vec();
    gif.extend_from_slice(b",\0\0\0\0\xff\xff\xff\xff\0\x02\x01\0\0;");
    let webp = b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xff\x3f\0\xff\x3f\0".to_vec();
    for (name, bytes) in [("a.png", png), ("a.gif", gif), ("a.webp", webp)] {
        let path = dir.path().join(name);
        std::fs::write(&path, &bytes).unwrap();
        let e = read_image(&path, &limits()).unwrap_err();
        assert!(
            matches!(e, Error::TooLarge { .. } | Error::Malformed { .. }),
            "{name}: {e}"
        );
    }
    let small = dir.path().join("small.png");
    write(&small, Format::Png, &scenes(64, 64, 1), Fps::new(24, 1).unwrap(), 50);
    let mut tight = limits();
    tight.file_bytes = 100;
    assert!(matches!(read_image(&small, &tight), Err(Error::TooLarge { .. })));
    tight = limits();
    tight.pixels = 1000;
    assert!(matches!(read_image(&small, &tight), Err(Error::TooLarge { .. })));
    let clip = dir.path().join("many.mp4");
    write(&clip, Format::Mp4, &scenes(32, 32, 6), Fps::new(24, 1).unwrap(), 50);
    tight = limits();
    tight.frames = 5;
    assert!(matches!(ClipReader::open(&clip, &tight), Err(Error::TooLarge { .. })));
}

#[test]
fn impossible_requests_are_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let create = |name: &str, format, options: &WriteOptions| {
        ClipWriter::create(&dir.path().join(name), format, options)
            .unwrap_err()
            .to_string()
    };
    assert!(create("a.mp4", Format::Mp4, &options(63, 48)).contains("64x48"));
    assert!(create("a.mp4", Format::Mp4, &options(8192, 48)).contains("hint:"));
    assert!(create("a.webm", Format::WebM, &options(0, 48)).contains("0x"));
    assert!(create("no/such/folder/a.mp4", Format::Mp4, &options(64, 48)).contains("hint:"));
    std::fs::create_dir(dir.path().join("folder.mp4")).unwrap();
    assert!(create("folder.mp4", Format::Mp4, &options(64, 48)).contains("hint:"));
    let mut fast = options(64, 48);
    fast.fps = Fps::new(60, 1).unwrap();
    assert!(create("a.gif", Format::Gif, &fast).contains("hint:"));
    for (key, value) in [("", "x"), ("a b", "x"), ("ü", "x"), ("title", "a\0b")] {
        let mut o = options(64, 48);
        o.metadata.push((key.into(), value.into()));
        assert!(create("a.mp4", Format::Mp4, &o).contains("hint:"), "{key}");
    }
    let mut clip = ClipWriter::create(&dir.path().join("b.png"), Format::Png, &options(8, 8)).unwrap();
    assert!(matches!(
        clip.push(&Frame::filled(8, 9, [0; 3]).unwrap()),
        Err(Error::FrameSizeMismatch { .. })
    ));
    clip.push(&Frame::filled(8, 8, [0; 3]).unwrap()).unwrap();
    assert!(
        clip.push(&Frame::filled(8, 8, [0; 3]).unwrap())
            .unwrap_err()
            .to_string()
            .contains("png-frames")
    );
    drop(clip);
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        1,
        "only folder.mp4 remains"
    );
}

#[test]
fn foreign_folders_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("holiday");
    std::fs::create_dir(&target).unwrap();
    std::fs::write(target.join("photo.png"), b"precious").unwrap();
    let e = ClipWriter::create(&target, Format::PngFrames, &options(8, 8)).unwrap_err();
    assert!(matches!(e, Error::ForeignFolder { .. }), "{e}");
    std::fs::remove_file(target.join("photo.png")).unwrap();
    write(
        &target,
        Format::PngFrames,
        &scenes(8, 8, 3),
        Fps::new(24, 1).unwrap(),
        50,
    );
    write(
        &target,
        Format::PngFrames,
        &scenes(8, 8, 2),
        Fps::new(24, 1).unwrap(),
        50,
    );
    assert_eq!(probe(&target).unwrap().frames, 2);
    assert_eq!(std::fs::read_dir(&target).unwrap().count(), 3);
    std::fs::write(target.join("notes.txt"), b"mine").unwrap();
    assert!(ClipWriter::create(&target, Format::PngFrames, &options(8, 8)).is_err());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

/// A full disk, simulated by a limit on file sizes in a child process.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    if std::env::var_os("KINORA_MEDIA_FULL_DISK").is_some() {
        let path = std::path::PathBuf::from(std::env::var_os("KINORA_MEDIA_FULL_DISK").unwrap());
        let mut clip = ClipWriter::create(&path, Format::PngFrames, &options(256, 256)).unwrap();
        let mut random = Random(1);
        let noise = Frame::new(256, 256, (0..256 * 256 * 3).map(|_| random.next() as u8).collect()).unwrap();
        let e = clip.push(&noise).unwrap_err();
        assert!(matches!(e, Error::Io { .. }), "{e}");
        drop(clip);
        std::process::exit(42);
    }
    let exe = std::env::current_exe().unwrap();
    let script = "trap '' XFSZ; ulimit -f 40; exec \"$0\" --exact a_full_disk_leaves_nothing_behind --nocapture";
    let status = std::process::Command::new("sh")
        .args(["-c", script])
        .arg(exe)
        .env("KINORA_MEDIA_FULL_DISK", dir.path().join("clip"))
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(42));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// The variable would change the bytes, so it is refused; set in a child process because setting it here would race.
#[test]
fn an_environment_that_changes_the_encoder_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    if std::env::var_os("RFF_KINORA_TEST").is_some() {
        let e = ClipWriter::create(&dir.path().join("a.mp4"), Format::Mp4, &options(64, 48)).unwrap_err();
        assert!(
            matches!(e, Error::EnvironmentInfluence { .. }) && e.to_string().contains("unset RFF_KINORA_TEST"),
            "{e}"
        );
        std::process::exit(42);
    }
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "an_environment_that_changes_the_encoder_is_refused",
            "--nocapture",
        ])
        .env("RFF_KINORA_TEST", "1")
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(42));
}
