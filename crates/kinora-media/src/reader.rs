//! Reading clips from anywhere.

use crate::ffmpeg::FfmpegClip;
use crate::gif::GifClip;
use crate::h264::H264Decoder;
use crate::image::oriented;
use crate::png::FolderInfo;
use crate::sniff::{Kind, sniff};
use crate::webm::WebMClip;
use crate::webp::WebPClip;
use crate::{Error, Fps, Frame, Result, ffmpeg, mp4, png, vp8, webm, webp};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// What is at most read. Every number is checked against the file's headers before anything is decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of an image, GIF or WebP, which are read whole. Default 512 MiB.
    pub file_bytes: u64,
    /// Pixels of a frame. Default 36 million (8192 x 4320 fits).
    pub pixels: u64,
    /// Frames of a clip. Default 100 000.
    pub frames: u64,
    /// Memory that one decoder may take. Default 1 GiB.
    pub memory_bytes: u64,
    /// What shows through transparent pixels. Default white.
    pub matte: [u8; 3],
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes: 512 << 20,
            pixels: 36_000_000,
            frames: 100_000,
            memory_bytes: 1 << 30,
            matte: [255; 3],
        }
    }
}

impl Limits {
    pub(crate) fn check_size(&self, width_px: u32, height_px: u32) -> Result<()> {
        let longest = u64::from(width_px.max(height_px));
        if longest > u64::from(crate::MAX_SIDE_PX) {
            return Err(Error::TooLarge {
                what: "the longest side in pixels",
                got: longest,
                limit: u64::from(crate::MAX_SIDE_PX),
            });
        }
        let got = u64::from(width_px) * u64::from(height_px);
        if got > self.pixels {
            return Err(Error::TooLarge {
                what: "the number of pixels in a frame",
                got,
                limit: self.pixels,
            });
        }
        if got == 0 {
            return Err(Error::malformed("picture", "the width or height is zero"));
        }
        Ok(())
    }

    pub(crate) fn check_frames(&self, got: u64) -> Result<()> {
        if got > self.frames {
            return Err(Error::TooLarge {
                what: "the number of frames",
                got,
                limit: self.frames,
            });
        }
        Ok(())
    }

    /// A whole file, if it is small enough.
    pub(crate) fn read_file(&self, path: &Path) -> Result<Vec<u8>> {
        let file = File::open(path).map_err(Error::io("read", path))?;
        let got = file.metadata().map_err(Error::io("read", path))?.len();
        if got > self.file_bytes {
            return Err(Error::TooLarge {
                what: "the file's size in bytes",
                got,
                limit: self.file_bytes,
            });
        }
        let mut bytes = Vec::with_capacity(got as usize);
        file.take(self.file_bytes)
            .read_to_end(&mut bytes)
            .map_err(Error::io("read", path))?;
        Ok(bytes)
    }
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClipInfo {
    /// `mp4`, `mov`, `webm`, `matroska`, `gif`, `webp`, `png-frames`, `png`, `jpeg`, or a container that only ffmpeg reads.
    pub format: &'static str,
    /// `h264`, `vp8`, `gif`, `png`, ...; for others the name that the container or ffmpeg gives it.
    pub codec: String,
    /// Width as shown, after rotation.
    pub width_px: u32,
    /// Height as shown, after rotation.
    pub height_px: u32,
    /// Number of frames shown; through ffmpeg it may be an estimate.
    pub frames: u64,
    /// Average rate; 1 for a still image.
    pub fps: Fps,
    /// Time of all frames; 0 for a still image.
    pub duration_ms: u64,
}

/// What a file holds, without decoding a picture.
///
/// # Errors
/// Missing, unreadable, damaged or unknown files, and anything beyond the default limits.
pub fn probe(path: &Path) -> Result<ClipInfo> {
    let limits = Limits::default();
    let still = |format, width_px, height_px| {
        let fps = Fps::new(1, 1)?;
        Ok(ClipInfo {
            format,
            codec: format.to_string(),
            width_px,
            height_px,
            frames: 1,
            fps,
            duration_ms: 0,
        })
    };
    match sniff(path)? {
        Kind::Png => {
            let (w, h) =
                png::size(&limits.read_file(path)?).ok_or_else(|| Error::malformed("png", "the header is cut off"))?;
            still("png", w, h)
        }
        Kind::Jpeg => {
            let image = crate::read_image(path, &limits)?.frame;
            still("jpeg", image.width_px, image.height_px)
        }
        _ => Ok(ClipReader::open(path, &limits)?.info),
    }
}

enum Source {
    Mp4(Box<Mp4Source>),
    WebM { file: File, clip: WebMClip, next: usize },
    Gif(Box<GifClip>),
    WebP(Box<WebPClip>),
    Folder { folder: FolderInfo, next: u64 },
    Ffmpeg(Box<FfmpegClip>),
}

/// Decodes a clip frame by frame, in the order of showing. After an error it ends.
pub struct ClipReader {
    info: ClipInfo,
    limits: Limits,
    path: std::path::PathBuf,
    source: Source,
    given: u64,
    ended: bool,
}

impl std::fmt::Debug for ClipReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClipReader")
            .field("path", &self.path)
            .field("info", &self.info)
            .finish()
    }
}

impl ClipReader {
    /// Opens an MP4 or MOV (H.264), our WebM, a GIF, a WebP, a folder of frames; anything else through `ffmpeg` if that
    /// is installed.
    ///
    /// # Errors
    /// Missing, unreadable, damaged or unknown files, still images, codecs that need ffmpeg when there is none, and anything
    /// beyond the limits.
    pub fn open(path: &Path, limits: &Limits) -> Result<Self> {
        let kind = sniff(path)?;
        let native = Self::open_native(path, kind, limits);
        let (info, source) = match native {
            Err(Error::Unsupported { what, hint }) => match ffmpeg::container(kind) {
                Some((format, demuxer)) if ffmpeg::installed() => {
                    let (clip, info) = FfmpegClip::open(path, format, demuxer, limits)?;
                    (info, Source::Ffmpeg(Box::new(clip)))
                }
                _ => return Err(Error::Unsupported { what, hint }),
            },
            other => other?,
        };
        limits.check_size(info.width_px, info.height_px)?;
        limits.check_frames(info.frames)?;
        Ok(Self {
            info,
            limits: limits.clone(),
            path: path.into(),
            source,
            given: 0,
            ended: false,
        })
    }

    fn open_native(path: &Path, kind: Kind, limits: &Limits) -> Result<(ClipInfo, Source)> {
        match kind {
            Kind::Mp4 => open_mp4(path, limits),
            Kind::Matroska => open_webm(path, limits),
            Kind::Gif => {
                let clip = GifClip::open(limits.read_file(path)?, limits)?;
                let (n, cs) = (clip.info.frames, clip.info.hundredths);
                let fps = rate(n, cs, 100)?;
                let info = clip_info("gif", "gif", clip.info.width_px, clip.info.height_px, n, fps, cs * 10);
                Ok((info, Source::Gif(Box::new(clip))))
            }
            Kind::WebP => {
                let file = limits.read_file(path)?;
                let (n, ms) = webp::frames_and_duration(&file);
                let clip = WebPClip::open(file, limits)?;
                let info = clip_info("webp", "webp", clip.width_px, clip.height_px, n, rate(n, ms, 1000)?, ms);
                Ok((info, Source::WebP(Box::new(clip))))
            }
            Kind::Folder => {
                let f = png::read_folder(path)?;
                let info = clip_info(
                    "png-frames",
                    "png",
                    f.width_px,
                    f.height_px,
                    f.frames,
                    f.fps,
                    f.fps.duration_ms(f.frames),
                );
                Ok((info, Source::Folder { folder: f, next: 0 }))
            }
            Kind::Png | Kind::Jpeg | Kind::OtherImage(_) => Err(Error::Unsupported {
                what: format!("{} (a still image, where a video is needed)", path.display()),
                hint: "to start from an image use --image".into(),
            }),
            Kind::Foreign(name, _) => Err(Error::Unsupported {
                what: format!("the container {name}"),
                hint: "install ffmpeg (it is used when found), or convert the file to mp4".into(),
            }),
        }
    }

    /// What the file holds.
    #[must_use]
    pub fn info(&self) -> &ClipInfo {
        &self.info
    }

    fn next_frame(&mut self) -> Result<Option<Frame>> {
        match &mut self.source {
            Source::Mp4(m) => m.next_frame(&self.path, &self.limits),
            Source::WebM { file, clip, next } => {
                let Some(&(at, size)) = clip.frames.get(*next) else {
                    return Ok(None);
                };
                *next += 1;
                let payload = read_at(file, &self.path, at, size)?;
                vp8::decode(&payload, clip.width, clip.height).map(Some)
            }
            Source::Gif(g) => g.next_frame(),
            Source::WebP(w) => w.next_frame(),
            Source::Folder { folder, next } => {
                if *next >= folder.frames {
                    return Ok(None);
                }
                let file = self.limits.read_file(&folder.frame_path(*next))?;
                *next += 1;
                let (w, h) = png::size(&file).unwrap_or((0, 0));
                if (w, h) != (folder.width_px, folder.height_px) {
                    return Err(Error::malformed(
                        "png-frames",
                        format!("frame {} is not {}x{}", next, folder.width_px, folder.height_px),
                    ));
                }
                png::decode_over(&file, self.limits.memory_bytes, self.limits.matte).map(|d| Some(d.frame))
            }
            Source::Ffmpeg(f) => f.next_frame(&self.limits),
        }
    }
}

impl Iterator for ClipReader {
    type Item = Result<Frame>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.next_frame().and_then(|f| {
            self.given += u64::from(f.is_some());
            self.limits.check_frames(self.given)?;
            Ok(f)
        });
        self.ended = !matches!(next, Ok(Some(_)));
        next.transpose()
    }
}

fn clip_info(
    format: &'static str,
    codec: &str,
    width_px: u32,
    height_px: u32,
    frames: u64,
    fps: Fps,
    duration_ms: u64,
) -> ClipInfo {
    ClipInfo {
        format,
        codec: codec.into(),
        width_px,
        height_px,
        frames,
        fps,
        duration_ms,
    }
}

/// The rate of a clip whose delays, rounded to `1 / per_second`, add up to `total`: the usual rate that rounds to the same
/// total, or the plain average.
fn rate(frames: u64, total: u64, per_second: u32) -> Result<Fps> {
    if total == 0 {
        return Fps::new(1, 1);
    }
    let exact = frames as f64 * f64::from(per_second) / total as f64;
    let usual = [
        (24, 1),
        (25, 1),
        (30, 1),
        (60, 1),
        (50, 1),
        (12, 1),
        (10, 1),
        (15, 1),
        (8, 1),
        (16, 1),
        (20, 1),
        (48, 1),
        (24000, 1001),
        (30000, 1001),
        (60000, 1001),
        (25, 2),
    ];
    for (num, den) in usual {
        let fps = Fps::new(num, den)?;
        if (fps.as_f64() / exact - 1.0).abs() < 0.02 && fps.ticks(frames, per_second) == total {
            return Ok(fps);
        }
    }
    let milli = (exact * 1000.0).round().clamp(10.0, 1e6) as u32;
    Fps::new(milli, 1000)
}

fn read_at(file: &mut File, path: &Path, at: u64, size: u32) -> Result<Vec<u8>> {
    let mut out = vec![0; size as usize];
    file.seek(SeekFrom::Start(at))
        .and_then(|_| file.read_exact(&mut out))
        .map_err(Error::io("read", path))?;
    Ok(out)
}

fn open_webm(path: &Path, limits: &Limits) -> Result<(ClipInfo, Source)> {
    let clip = webm::open(path, limits)?;
    let format = if clip.doc_type == "webm" { "webm" } else { "matroska" };
    let mut file = File::open(path).map_err(Error::io("read", path))?;
    // Only clips of nothing but key frames are decoded here; the first inter frame shows in its first byte.
    let mut native = clip.codec == "V_VP8";
    for &(at, size) in clip.frames.iter().filter(|_| clip.codec == "V_VP8") {
        native = native && size > 9 && read_at(&mut file, path, at, 10)?[0] & 1 == 0;
        if !native {
            break;
        }
    }
    if !native {
        let hint = "install ffmpeg (it is used when found), or convert the file to mp4";
        return Err(Error::Unsupported {
            what: format!("video of the codec {} in {format}", clip.codec),
            hint: hint.into(),
        });
    }
    let info = clip_info(
        format,
        "vp8",
        clip.width,
        clip.height,
        clip.frames.len() as u64,
        clip.fps,
        clip.duration_ms,
    );
    limits.check_size(info.width_px, info.height_px)?;
    Ok((info, Source::WebM { file, clip, next: 0 }))
}

/// Readable names of the codecs that people meet in MP4 and MOV files.
fn codec_name(kind: [u8; 4]) -> String {
    match &kind {
        b"hvc1" | b"hev1" => "HEVC (H.265)".into(),
        b"av01" => "AV1".into(),
        b"vp09" => "VP9".into(),
        b"mp4v" => "MPEG-4 Part 2".into(),
        b"apch" | b"apcn" | b"apcs" | b"apco" | b"ap4h" | b"ap4x" => "ProRes".into(),
        b"jpeg" | b"mjpa" => "Motion JPEG".into(),
        other => other
            .iter()
            .map(|&b| if b.is_ascii_graphic() { char::from(b) } else { '?' })
            .collect(),
    }
}

fn open_mp4(path: &Path, limits: &Limits) -> Result<(ClipInfo, Source)> {
    let movie = mp4::open(path, limits)?;
    let track = movie.track;
    let format = if &movie.brand == b"qt  " || &movie.brand == b"    " {
        "mov"
    } else {
        "mp4"
    };
    if !matches!(&track.codec, b"avc1" | b"avc3") {
        return Err(Error::Unsupported {
            what: format!("{} video in {format}", codec_name(track.codec)),
            hint: "install ffmpeg (it is used when found), or convert with `ffmpeg -i FILE -c:v libx264 -pix_fmt yuv420p out.mp4`".into(),
        });
    }
    limits.check_size(track.width.max(1), track.height.max(1))?;
    let decoder = H264Decoder::new(&track.avcc, track.colour, limits.pixels)?;
    let (w, h) = decoder.size();
    let (w, h) = if track.turns % 2 == 1 { (h, w) } else { (w, h) };
    let mut order: Vec<(i64, usize)> = track
        .samples
        .iter()
        .enumerate()
        .filter(|s| s.1.shown)
        .map(|(i, s)| (s.time, i))
        .collect();
    order.sort_unstable();
    let info = clip_info(
        format,
        "h264",
        w as u32,
        h as u32,
        order.len() as u64,
        track.fps,
        track.duration_ms,
    );
    let file = File::open(path).map_err(Error::io("read", path))?;
    let source = Mp4Source {
        file,
        track,
        decoder,
        order,
        shown: 0,
        fed: 0,
        waiting: BTreeMap::new(),
    };
    Ok((info, Source::Mp4(Box::new(source))))
}

/// H.264 samples in decoding order, given out in the order of showing.
struct Mp4Source {
    file: File,
    track: mp4::Track,
    decoder: H264Decoder,
    /// Times and sample numbers in the order of showing.
    order: Vec<(i64, usize)>,
    shown: usize,
    fed: usize,
    /// Decoded but not yet due; `None` for a sample that gave no picture.
    waiting: BTreeMap<usize, Option<Frame>>,
}

impl Mp4Source {
    fn next_frame(&mut self, path: &Path, limits: &Limits) -> Result<Option<Frame>> {
        while let Some(&(_, due)) = self.order.get(self.shown) {
            if let Some(frame) = self.waiting.remove(&due) {
                self.shown += 1;
                match frame {
                    Some(f) => return Ok(Some(self.turned(f))),
                    None => continue,
                }
            }
            let Some(&sample) = self.track.samples.get(self.fed) else {
                self.shown += 1;
                continue;
            };
            if u64::from(sample.size) > limits.memory_bytes {
                return Err(Error::TooLarge {
                    what: "the bytes of one compressed frame",
                    got: u64::from(sample.size),
                    limit: limits.memory_bytes,
                });
            }
            let data = read_at(&mut self.file, path, sample.offset, sample.size)?;
            let frame = self.decoder.decode(&data)?;
            if sample.shown {
                self.waiting.insert(self.fed, frame);
            }
            self.fed += 1;
            let held: u64 = self.waiting.values().flatten().map(|f| f.rgb.len() as u64).sum();
            if held > limits.memory_bytes {
                return Err(Error::TooLarge {
                    what: "the memory for frames out of order (bytes)",
                    got: held,
                    limit: limits.memory_bytes,
                });
            }
        }
        Ok(None)
    }

    fn turned(&self, frame: Frame) -> Frame {
        oriented(frame, [1, 6, 3, 8][usize::from(self.track.turns)])
    }
}
