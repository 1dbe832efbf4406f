//! The files of one clip: the clip itself, and on request its poster and its contact sheet.

use std::path::{Path, PathBuf};

use kinora_kernels::trace;
use kinora_media::{ClipWriter, ContactSheet, Format, Frame, PosterPicker, Quality, WriteOptions, write_image};

use super::Playing;
use crate::report::OutputRecord;
use crate::{Error, Result};

/// Where a clip goes and what is written into it.
pub(crate) struct Destination<'a> {
    pub(crate) path: &'a Path,
    pub(crate) format: Format,
    pub(crate) metadata: Vec<(String, String)>,
    pub(crate) poster: bool,
    pub(crate) sheet: bool,
    /// Frames that the file will have, as far as is known; the sheet spreads its cells over them.
    pub(crate) expected_frames: usize,
}

/// The files that were written.
#[derive(Default)]
pub(crate) struct Finished {
    pub(crate) outputs: Vec<OutputRecord>,
}

/// Tiles of a contact sheet.
const SHEET_TILES: u32 = 12;
/// Tiles in one row.
const SHEET_COLUMNS: u32 = 4;
/// Width of one tile.
const SHEET_TILE_WIDTH_PX: u32 = 320;

/// Writes each frame to all files of the clip.
pub(super) struct Writers {
    path: PathBuf,
    clip: ClipWriter,
    format: Format,
    poster: Option<PosterPicker>,
    sheet: Option<ContactSheet>,
}

impl Writers {
    pub(super) fn create(playing: &Playing, destination: &Destination<'_>) -> Result<Self> {
        let path = destination.path.to_owned();
        let size = playing.size;
        let mut options = WriteOptions::new(size.width_px, size.height_px, playing.fps);
        options.metadata = destination.metadata.clone();
        let frames = destination.expected_frames as u64;
        let clip = ClipWriter::create(&path, destination.format, &options).map_err(|source| Error::Output {
            path: path.clone(),
            source,
        })?;
        Ok(Self {
            path,
            clip,
            format: destination.format,
            poster: destination.poster.then(|| PosterPicker::new(Some(frames))),
            sheet: destination
                .sheet
                .then(|| ContactSheet::new(frames, SHEET_TILES, SHEET_COLUMNS, SHEET_TILE_WIDTH_PX))
                .transpose()
                .map_err(Error::Media)?,
        })
    }

    pub(super) fn push(&mut self, frame: &Frame) -> Result<()> {
        let span = trace::span("write frame", 0.0);
        self.clip.push(frame).map_err(|source| Error::Output {
            path: self.path.clone(),
            source,
        })?;
        drop(span);
        if let Some(poster) = &mut self.poster {
            poster.push(frame);
        }
        if let Some(sheet) = &mut self.sheet {
            sheet.push(frame).map_err(Error::Media)?;
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Finished> {
        let path = self.path;
        let span = trace::span("finish file", 0.0);
        let written = self.clip.finish().map_err(|source| Error::Output {
            path: path.clone(),
            source,
        })?;
        drop(span);
        let mut outputs = vec![OutputRecord {
            path: written.path,
            role: "clip".to_owned(),
            format: self.format.name().to_owned(),
            bytes: written.bytes,
            sha256: written.sha256,
        }];
        if let Some((_, frame)) = self.poster.and_then(PosterPicker::finish) {
            outputs.push(still(&path.with_extension("poster.jpg"), "poster", "jpeg", &frame)?);
        }
        if let Some(sheet) = self.sheet {
            let frame = sheet.finish().map_err(Error::Media)?;
            outputs.push(still(&path.with_extension("sheet.png"), "sheet", "png", &frame)?);
        }
        Ok(Finished { outputs })
    }
}

/// Writes a picture that goes with the clip.
fn still(path: &Path, role: &str, format: &str, frame: &Frame) -> Result<OutputRecord> {
    let refuse = |source| Error::Output {
        path: path.to_owned(),
        source,
    };
    write_image(path, frame, Quality::default(), &[]).map_err(refuse)?;
    let io = |source| {
        refuse(kinora_media::Error::Io {
            op: "read",
            path: path.to_owned(),
            source,
        })
    };
    Ok(OutputRecord {
        path: path.to_owned(),
        role: role.to_owned(),
        format: format.to_owned(),
        bytes: std::fs::metadata(path).map_err(io)?.len(),
        sha256: crate::map::file_sha256(path)?,
    })
}
