//! Everything that we do not decode ourselves, through the `ffmpeg` program when it is installed.
//!
//! Nothing is linked. The program gets one file, read by the demuxer that the file's first bytes call for (so that a playlist
//! cannot make it open other files), and writes PPM pictures to a pipe. It is ended when the reader is dropped.

use crate::reader::{ClipInfo, Limits};
use crate::sniff::Kind;
use crate::{Error, Fps, Frame, Result};
use serde_json::Value;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

/// Our name and ffmpeg's for the containers that may be handed over.
pub(crate) fn container(kind: Kind) -> Option<(&'static str, &'static str)> {
    match kind {
        Kind::Mp4 => Some(("mp4", "mov")),
        Kind::Matroska => Some(("matroska", "matroska")),
        Kind::Foreign(name, demuxer) => Some((name, demuxer)),
        _ => None,
    }
}

/// Finds a program on the `PATH`.
fn find(name: &str) -> Option<PathBuf> {
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|p| p.join(&file))
        .find(|p| p.is_file())
}

/// Whether `ffmpeg` and its `ffprobe` are on the `PATH`.
pub(crate) fn installed() -> bool {
    find("ffmpeg").is_some() && find("ffprobe").is_some()
}

fn failed(path: &Path, detail: impl Into<String>) -> Error {
    Error::ExternalTool {
        path: path.into(),
        detail: detail.into(),
    }
}

/// A path that cannot be mistaken for an option or a protocol.
fn file_argument(path: &Path) -> OsString {
    let mut argument = OsString::from("file:");
    argument.push(path);
    argument
}

/// A running `ffmpeg`.
pub(crate) struct FfmpegClip {
    child: Child,
    pictures: BufReader<ChildStdout>,
    path: PathBuf,
    given: u64,
}

impl FfmpegClip {
    pub(crate) fn open(path: &Path, format: &'static str, demuxer: &str, limits: &Limits) -> Result<(Self, ClipInfo)> {
        let info = probe(path, format, demuxer)?;
        limits.check_size(info.width_px, info.height_px)?;
        limits.check_frames(info.frames)?;
        let program = find("ffmpeg").ok_or_else(|| failed(path, "it is not installed"))?;
        let mut child = Command::new(program)
            .args([
                "-v",
                "error",
                "-nostdin",
                "-protocol_whitelist",
                "file,pipe",
                "-f",
                demuxer,
                "-i",
            ])
            .arg(file_argument(path))
            .args([
                "-map",
                "0:v:0",
                "-an",
                "-sn",
                "-dn",
                "-fps_mode",
                "passthrough",
                "-frames:v",
                &(limits.frames + 1).to_string(),
            ])
            .args([
                "-sws_flags",
                "bicubic+accurate_rnd+full_chroma_int",
                "-pix_fmt",
                "rgb24",
                "-c:v",
                "ppm",
                "-f",
                "image2pipe",
                "pipe:1",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(Error::io("run ffmpeg for", path))?;
        let pipe = child.stdout.take().ok_or_else(|| failed(path, "it gave no output"))?;
        Ok((
            Self {
                child,
                pictures: BufReader::with_capacity(1 << 20, pipe),
                path: path.into(),
                given: 0,
            },
            info,
        ))
    }

    pub(crate) fn next_frame(&mut self, limits: &Limits) -> Result<Option<Frame>> {
        let io = |p: &Path| Error::io("read from ffmpeg", p);
        if self.pictures.fill_buf().map_err(io(&self.path))?.is_empty() {
            let status = self.child.wait().map_err(io(&self.path))?;
            if self.given == 0 || !status.success() {
                return Err(failed(
                    &self.path,
                    format!("it ended with {status} after {} frames", self.given),
                ));
            }
            return Ok(None);
        }
        let (width_px, height_px) = self.header()?;
        limits.check_size(width_px, height_px)?;
        let mut rgb = vec![0; 3 * width_px as usize * height_px as usize];
        self.pictures.read_exact(&mut rgb).map_err(io(&self.path))?;
        self.given += 1;
        Frame::new(width_px, height_px, rgb).map(Some)
    }

    /// `P6`, width, height, 255, one blank.
    fn header(&mut self) -> Result<(u32, u32)> {
        let mut words: Vec<Vec<u8>> = vec![Vec::new()];
        while words.len() <= 4 {
            let mut byte = [0];
            self.pictures
                .read_exact(&mut byte)
                .map_err(Error::io("read from ffmpeg", &self.path))?;
            match words.last_mut() {
                Some(word) if !byte[0].is_ascii_whitespace() && word.len() < 8 => word.push(byte[0]),
                _ => words.push(Vec::new()),
            }
        }
        let number = |i: usize| String::from_utf8_lossy(&words[i]).parse::<u32>().ok();
        match (&words[0][..], number(1), number(2), number(3)) {
            (b"P6", Some(w), Some(h), Some(255)) => Ok((w, h)),
            _ => Err(failed(&self.path, "it sent something that is no picture")),
        }
    }
}

impl Drop for FfmpegClip {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn probe(path: &Path, format: &'static str, demuxer: &str) -> Result<ClipInfo> {
    let program = find("ffprobe").ok_or_else(|| failed(path, "ffprobe is not installed"))?;
    let output = Command::new(program)
        .args(["-v", "error", "-protocol_whitelist", "file", "-f", demuxer, "-select_streams", "v:0", "-of", "json", "-show_entries"])
        .arg("stream=codec_name,width,height,avg_frame_rate,r_frame_rate,nb_frames,duration:stream_side_data=rotation:format=duration")
        .arg(file_argument(path))
        .stdin(Stdio::null())
        .output()
        .map_err(Error::io("run ffprobe for", path))?;
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    let stream = &report["streams"][0];
    if !output.status.success() || stream.is_null() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(failed(
            path,
            said.lines()
                .last()
                .unwrap_or("there is no video in it")
                .chars()
                .take(200)
                .collect::<String>(),
        ));
    }
    let side = |name: &str| stream[name].as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
    let text = |v: &Value| {
        v.as_str()
            .and_then(|t| t.parse::<f64>().ok())
            .filter(|x| x.is_finite() && *x > 0.0)
    };
    let rates = [&stream["avg_frame_rate"], &stream["r_frame_rate"]];
    let fps = rates
        .iter()
        .find_map(|r| r.as_str()?.parse::<Fps>().ok())
        .map_or_else(|| Fps::new(24, 1), Ok)?;
    let seconds = text(&stream["duration"])
        .or_else(|| text(&report["format"]["duration"]))
        .unwrap_or(0.0)
        .min(1e9);
    let frames = stream["nb_frames"]
        .as_str()
        .and_then(|n| n.parse().ok())
        .unwrap_or((seconds * fps.as_f64()).round() as u64);
    let turned = stream["side_data_list"]
        .as_array()
        .and_then(|l| l.iter().find_map(|s| s["rotation"].as_i64()))
        .is_some_and(|r| r % 180 != 0);
    let (w, h) = (side("width"), side("height"));
    let (width_px, height_px) = if turned { (h, w) } else { (w, h) };
    let codec = stream["codec_name"].as_str().unwrap_or("unknown").to_string();
    Ok(ClipInfo {
        format,
        codec,
        width_px,
        height_px,
        frames: frames.max(1),
        fps,
        duration_ms: (seconds * 1000.0).round() as u64,
    })
}
