//! Pictures and clips that are handed in: their end, and what is known of them.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use kinora_media::{ClipReader, Fit, Fps, Frame, Interpolator, Limits, fit, probe, read_image};
use sha2::{Digest, Sha256};

use crate::plan::SourceClip;
use crate::request::Size;
use crate::{Error, Result};

/// The end of a clip that is continued.
pub(crate) struct ClipTail {
    /// The last frames in playing order, at the model's rate and size.
    pub(crate) frames: Vec<Frame>,
    /// How many frames the clip really has.
    pub(crate) source_frames: usize,
}

/// A picture that is given.
#[derive(Clone)]
pub(crate) struct Picture {
    /// As it is in its file.
    pub(crate) original: Frame,
    /// At the size of the clip.
    pub(crate) frame: Frame,
}

/// The picture in `path`, made to cover `size`, and what had to be decided about it.
pub(crate) fn picture(path: &Path, size: Size) -> Result<(Picture, Vec<String>)> {
    let image = read_image(path, &Limits::default()).map_err(|source| input_error(path, source))?;
    let mut notes = Vec::new();
    if image.animated {
        notes.push(format!("{} is animated; its first frame is taken", path.display()));
    }
    let Size { width_px, height_px } = size;
    let shape = f64::from(image.frame.width_px) / f64::from(image.frame.height_px);
    if (shape / size.aspect()).ln().abs() > 0.02 {
        let (w, h) = (image.frame.width_px, image.frame.height_px);
        notes.push(format!(
            "the picture is {w}x{h}; its edges are cropped to the shape of {size}"
        ));
    }
    let picture = Picture {
        frame: fit(&image.frame, width_px, height_px, Fit::Cover).map_err(Error::Media)?,
        original: image.frame,
    };
    Ok((picture, notes))
}

/// What a clip says about itself.
pub(crate) fn probe_source(path: &Path) -> Result<SourceClip> {
    let info = probe(path).map_err(|source| input_error(path, source))?;
    let even = |side: u32| side & !1;
    let size = Size::new(even(info.width_px), even(info.height_px))?;
    Ok(SourceClip {
        size,
        fps: info.fps,
        frames: info.frames as usize,
    })
}

/// The first `most_frames` frames of the clip in `path`, at the model's rate and `size`.
pub(crate) fn clip_head(path: &Path, model_fps: Fps, most_frames: usize, size: Size) -> Result<Vec<Frame>> {
    let refuse = |source| input_error(path, source);
    let reader = ClipReader::open(path, &Limits::default()).map_err(refuse)?;
    let mut resampler = Interpolator::new(reader.info().fps, model_fps);
    let mut frames = Vec::new();
    for frame in reader {
        let frame = fit(&frame.map_err(refuse)?, size.width_px, size.height_px, Fit::Cover).map_err(Error::Media)?;
        frames.extend(resampler.push(frame).map_err(Error::Media)?);
        if frames.len() >= most_frames {
            break;
        }
    }
    frames.extend(resampler.finish());
    frames.truncate(most_frames);
    match frames.is_empty() {
        true => Err(refuse(kinora_media::Error::NoFrames)),
        false => Ok(frames),
    }
}

/// The frames of a mask: a clip, or one picture for all frames.
pub(crate) fn mask_frames(path: &Path, model_fps: Fps, most_frames: usize, size: Size) -> Result<Vec<Frame>> {
    match read_image(path, &Limits::default()) {
        Ok(image) if !image.animated => {
            let frame = fit(&image.frame, size.width_px, size.height_px, Fit::Cover).map_err(Error::Media)?;
            Ok(vec![frame; most_frames])
        }
        _ => clip_head(path, model_fps, most_frames, size),
    }
}

/// A picture of what shall appear: the whole of it on a white ground of `size`.
pub(crate) fn reference(path: &Path, size: Size) -> Result<Frame> {
    let image = read_image(path, &Limits::default()).map_err(|source| input_error(path, source))?;
    let matte = [255; 3];
    fit(&image.frame, size.width_px, size.height_px, Fit::Contain { matte }).map_err(Error::Media)
}

/// Reads `path` once from start to end and keeps its last frames at the model's rate and `size`, so that memory does not
/// grow with the clip. There are `most_frames` of them, or one if the clip is shorter than that.
pub(crate) fn clip_tail(path: &Path, model_fps: Fps, most_frames: usize, size: Size) -> Result<ClipTail> {
    let refuse = |source| input_error(path, source);
    let reader = ClipReader::open(path, &Limits::default()).map_err(refuse)?;
    let fps = reader.info().fps;
    let reach = source_index_before_end(most_frames.saturating_sub(1), model_fps, fps) + 1;
    let mut ring: VecDeque<Frame> = VecDeque::with_capacity(reach);
    let mut source_frames = 0;
    for frame in reader {
        if ring.len() == reach {
            ring.pop_front();
        }
        ring.push_back(fit(&frame.map_err(refuse)?, size.width_px, size.height_px, Fit::Cover).map_err(Error::Media)?);
        source_frames += 1;
    }
    let count = if ring.len() == reach { most_frames } else { 1 };
    let at = |back| {
        ring.len()
            .checked_sub(1 + source_index_before_end(back, model_fps, fps))
    };
    let frames: Vec<Frame> = (0..count)
        .rev()
        .filter_map(|back| ring.get(at(back)?).cloned())
        .collect();
    if frames.is_empty() {
        return Err(refuse(kinora_media::Error::NoFrames));
    }
    Ok(ClipTail { frames, source_frames })
}

/// How many source frames before the last one the frame lies that is `back` model frames before the end.
fn source_index_before_end(back: usize, model_fps: Fps, source_fps: Fps) -> usize {
    (back as f64 * source_fps.as_f64() / model_fps.as_f64()).round() as usize
}

/// SHA-256 of a file in hexadecimal, read in pieces.
pub(crate) fn file_sha256(path: &Path) -> Result<String> {
    let refuse = |source: std::io::Error| {
        input_error(
            path,
            kinora_media::Error::Io {
                op: "read",
                path: path.to_owned(),
                source,
            },
        )
    };
    let mut file = File::open(path).map_err(refuse)?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; 1 << 20];
    loop {
        match file.read(&mut piece).map_err(refuse)? {
            0 => return Ok(hex(&hash.finalize())),
            n => hash.update(&piece[..n]),
        }
    }
}

/// Bytes in hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn input_error(path: &Path, source: kinora_media::Error) -> Error {
    Error::Input {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_faster_clip_is_thinned_to_the_models_rate() {
        let (model, source) = (Fps::new(12, 1).unwrap(), Fps::new(30, 1).unwrap());
        let places: Vec<usize> = (0..4)
            .map(|back| source_index_before_end(back, model, source))
            .collect();
        assert_eq!(places, [0, 3, 5, 8]);
    }
}
