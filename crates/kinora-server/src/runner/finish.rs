//! From a finished clip to the files and words of an [`Outcome`]. The clip is read back once, as any player would: what
//! cannot be played is not delivered.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use kinora_api::{Seconds, Size};
use kinora_jobs::{Progress, Stop};
use kinora_media::{
    ClipReader, ClipWriter, ContactSheet, Format, Fps, Frame, Limits, PosterPicker, Quality, WriteOptions, thumbnail,
    write_image,
};
use kinora_pipeline::{Request, RunReport, SavedLatents, memory};

use super::request::notes_of;
use super::{Place, failure};
use crate::files::{BlockingFiles, FileRef};
use crate::work::{Outcome, OutcomeFiles, Work};

/// The spritesheet: at most so many pictures, evenly spread over the clip from its first frame to its last,
const SHEET_TILES: u32 = 50;
/// in rows of so many, from left to right and from top to bottom,
const SHEET_COLUMNS: u32 = 10;
/// each so wide (and as high as its shape says), with 4 pixels around each.
const SHEET_TILE_PX: u32 = 160;
/// The longest side of the thumbnail.
const THUMBNAIL_PX: u32 = 640;

const SHEET: &str = "spritesheet.jpg";
const THUMBNAIL: &str = "thumbnail.webp";
const REPORT: &str = "report.json";

/// What was seen when the clip was read back.
struct Seen {
    fps: Fps,
    frames: u32,
    size: Size,
}

/// Makes the other files of a clip, puts all of them into `files`, and says what there is.
///
/// **Errors**: how the attempt ends.
pub(super) fn finish(
    files: &BlockingFiles,
    place: &Place,
    work: &Work,
    request: &Request,
    report: &RunReport,
    begun: Instant,
    progress: &mut Progress<'_>,
) -> Result<Outcome, Stop> {
    let clip = report.clips.first();
    let clip = clip.ok_or_else(|| failure::internal("a run", &"it ended without a clip"))?;
    let video = clip.outputs.iter().find(|output| output.role == "clip");
    let video = video.ok_or_else(|| failure::internal("a run", &"it wrote no clip"))?;
    let seen = look_through(place, progress)?;
    write_report(place, report)?;
    let latents = SavedLatents::path_for(&request.output);
    let latents = latents.file_name().filter(|_| latents.is_file());
    let latents = latents.map(|name| name.to_string_lossy().into_owned());
    let names = ["video.mp4", THUMBNAIL, SHEET, REPORT]
        .into_iter()
        .chain(latents.as_deref());
    for name in names {
        progress.check()?;
        let key = place.key(name);
        let path = place.folder.join(name);
        // In a folder they lie where they belong already, synced by their writers.
        if files.local_path(&key).as_ref() != Some(&path) {
            files.import(&path, &key).map_err(|error| failure::of_files(&error))?;
        }
    }
    let recipe = &clip.recipe;
    Ok(Outcome {
        files: OutcomeFiles {
            video: place.key("video.mp4"),
            thumbnail: place.key(THUMBNAIL),
            spritesheet: place.key(SHEET),
            latents: latents.map(|name| place.key(&name)),
            others: BTreeMap::from([("report".to_owned(), place.key(REPORT))]),
        },
        bytes: video.bytes,
        sha256: video.sha256.clone(),
        fps: seen.fps.as_f64(),
        num_frames: seen.frames,
        seconds: Seconds::of_frames(seen.frames, seen.fps.as_f64()).unwrap_or(work.seconds),
        size: seen.size,
        revised_prompt: Some(recipe.model_prompt.clone()).filter(|prompt| *prompt != recipe.prompt),
        inference_time_s: begun.elapsed().as_secs_f64(),
        peak_memory_mb: memory::peak_bytes().unwrap_or(0) as f64 / 1e6,
        notes: report.notes.iter().cloned().chain(notes_of(&work.options)).collect(),
    })
}

/// Reads the clip from its first frame to its last, and makes sheet and thumbnail on the way.
fn look_through(place: &Place, progress: &mut Progress<'_>) -> Result<Seen, Stop> {
    let refused = |error: kinora_media::Error| failure::of_media(&error);
    let limits = Limits::default();
    let reader = ClipReader::open(&place.video(), &limits).map_err(refused)?;
    let (fps, expected) = (reader.info().fps, reader.info().frames);
    let mut sheet = ContactSheet::new(expected, SHEET_TILES, SHEET_COLUMNS, SHEET_TILE_PX).map_err(refused)?;
    let mut poster = PosterPicker::new(Some(expected));
    let (mut frames, mut size) = (0_u32, Size::new(0, 0));
    for frame in reader {
        progress.check()?;
        let frame = frame.map_err(refused)?;
        (frames, size) = (frames + 1, Size::new(frame.width_px, frame.height_px));
        sheet.push(&frame).map_err(refused)?;
        poster.push(&frame);
    }
    let (_, poster) = poster.finish().ok_or_else(|| refused(kinora_media::Error::NoFrames))?;
    let poster = thumbnail(&poster, THUMBNAIL_PX).map_err(refused)?;
    write_image(&place.folder.join(THUMBNAIL), &poster, Quality::default(), &[]).map_err(refused)?;
    let sheet = sheet.finish().map_err(refused)?;
    write_image(&place.folder.join(SHEET), &sheet, Quality::default(), &[]).map_err(refused)?;
    Ok(Seen { fps, frames, size })
}

/// A WebP whose pictures move.
pub(super) fn write_webp(path: &Path, pictures: &[Frame], fps: Fps) -> kinora_media::Result<()> {
    let first = pictures.first().ok_or(kinora_media::Error::NoFrames)?;
    let options = WriteOptions::new(first.width_px, first.height_px, fps);
    let mut writer = ClipWriter::create(path, Format::WebP, &options)?;
    pictures.iter().try_for_each(|picture| writer.push(picture))?;
    writer.finish().map(drop)
}

/// The report of the run, without paths of this machine.
fn write_report(place: &Place, report: &RunReport) -> Result<(), Stop> {
    let mut report = report.clone();
    for output in report.clips.iter_mut().flat_map(|clip| &mut clip.outputs) {
        output.path = output.path.file_name().unwrap_or_default().into();
    }
    let json = serde_json::to_vec_pretty(&report).map_err(|error| failure::internal("the report", &error))?;
    let write = || {
        use std::io::Write;
        let mut file = std::fs::File::create(place.folder.join(REPORT))?;
        file.write_all(&json)?;
        file.sync_all()
    };
    write().map_err(|error| failure::of_system(&error))
}

/// The prefix below which previews of a job lie.
pub(super) fn preview_key(place: &Place, step: u64) -> FileRef {
    FileRef(format!("previews/{}/{}-{step}.webp", place.job, place.fence))
}
