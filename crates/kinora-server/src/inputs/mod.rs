//! Pictures and clips that come with requests: looked into before they are kept.
//!
//! **Any size is taken.** OpenAI refused a picture that was not exactly as large as the video; here the worker crops and
//! scales it, and says so in the notes of the video. What is refused is what cannot be read, and what is so large that
//! reading it would hurt: sides and pixels are checked in the headers, before anything is decoded.
//!
//! **Names come from content**, so that the same request again is the same work and the same file is kept once; what no job names any
//! more goes after a day (`retention`).

use std::io::Read;
use std::path::Path;

use kinora_api::{ApiError, Content, ImageSource, Upload};
use kinora_media::{ClipInfo, ClipReader, Limits, best_frame, read_image};
use sha2::{Digest, Sha256};

use crate::answer::{Answer, Failure};
use crate::app::blocking;
use crate::body::Temporary;
use crate::fetch::fetch;
use crate::hex::hex;
use crate::{App, FileRef};

/// The largest picture that is fetched from elsewhere, in bytes.
const LARGEST_FETCHED: u64 = 32 << 20;
/// The longest clip that a character is taken from, in frames.
const CHARACTER_FRAMES: u64 = 1800;

/// What of an input is read at most.
fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.memory_bytes = 512 << 20;
    limits.frames = 20_000;
    limits
}

/// A clip that was kept.
#[derive(Debug, Clone)]
pub(crate) struct KeptClip {
    /// Its key.
    pub file: FileRef,
    /// What it holds.
    pub info: ClipInfo,
}

/// Keeps a picture; `param` is the field that it came in.
///
/// **Errors**: 400 for what is no picture or too large, 501 for sources that this server cannot reach.
pub(crate) async fn keep_picture(app: &App, param: &'static str, source: &ImageSource) -> Answer<FileRef> {
    let upload = match source {
        ImageSource::Upload(upload) => upload,
        ImageSource::Url { image_url } => &fetched(app, param, image_url).await?,
        ImageSource::File { file_id } => {
            let rule = "This server keeps no files for later requests. Send the picture itself, or its URL.";
            return Err(ApiError::invalid_value(param, file_id, rule).into());
        }
    };
    let file = OnDisk::of(app, upload).await?;
    let path = file.path().to_owned();
    look(app, param, move || read_image(&path, &limits()).map(|_| ())).await?;
    keep(app, &file).await
}

/// The picture at an address of the web.
///
/// **Errors**: 400 for what cannot be fetched, or is no picture.
async fn fetched(app: &App, param: &'static str, url: &str) -> Answer<Upload> {
    let bytes = fetch(&app.config, url, LARGEST_FETCHED).await?;
    let upload = Upload::from_bytes(None, None, bytes.to_vec());
    upload.kind_among(param, &app.rules.images)?;
    Ok(upload)
}

/// Keeps a clip; `param` is the field that it came in.
///
/// **Errors**: 400 for what is no clip, cannot be read, or is too large.
pub(crate) async fn keep_clip(app: &App, param: &'static str, upload: &Upload) -> Answer<KeptClip> {
    let file = OnDisk::of(app, upload).await?;
    let path = file.path().to_owned();
    let info = look(app, param, move || {
        let mut reader = ClipReader::open(&path, &limits())?;
        // The first frame shows that there is a picture, and that its codec is read.
        match reader.next() {
            None => Err(kinora_media::Error::NoFrames),
            Some(frame) => frame.map(|_| reader.info().clone()),
        }
    })
    .await?;
    let file = keep(app, &file).await?;
    Ok(KeptClip { file, info })
}

/// The picture of a character in a clip, as PNG.
///
/// **Errors**: 400 for a clip that cannot be read or is too long.
pub(crate) async fn character_picture(app: &App, param: &'static str, upload: &Upload) -> Answer<Temporary> {
    let file = OnDisk::of(app, upload).await?;
    let path = file.path().to_owned();
    // A guess about the picture, not about who is in it.
    let best = look(app, param, move || {
        let mut limits = limits();
        limits.frames = CHARACTER_FRAMES;
        best_frame(ClipReader::open(&path, &limits)?)
    });
    let frame = best.await?.frame;
    let folder = app.config.folder.clone();
    blocking(move || {
        let picture = Temporary::reserve(&folder, ".png")?;
        kinora_media::write_image(picture.path(), &frame, kinora_media::Quality::default(), &[])
            .map_err(|error| Failure::internal(&error))?;
        Ok(picture)
    })
    .await?
}

/// An input as a file, which a decoder can open.
enum OnDisk<'a> {
    Theirs(&'a Path),
    Ours(Temporary),
}

impl<'a> OnDisk<'a> {
    async fn of(app: &App, upload: &'a Upload) -> Answer<Self> {
        match &upload.content {
            Content::File(path) => Ok(Self::Theirs(path)),
            Content::Memory(bytes) => {
                let (folder, bytes) = (app.config.folder.clone(), bytes.clone());
                let written = blocking(move || {
                    let (temporary, mut file) = Temporary::new(&folder)?;
                    let written = std::io::Write::write_all(&mut file, &bytes);
                    written.map(|()| temporary).map_err(|error| Failure::internal(&error))
                });
                written.await?.map(Self::Ours)
            }
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Theirs(path) => path,
            Self::Ours(temporary) => temporary.path(),
        }
    }
}

/// Decodes in the background, few at a time.
async fn look<T: Send + 'static>(
    app: &App,
    param: &'static str,
    call: impl FnOnce() -> kinora_media::Result<T> + Send + 'static,
) -> Answer<T> {
    let place = app.looks.clone().acquire_owned().await;
    let place = place.map_err(|error| Failure::internal(&error))?;
    let looked = blocking(move || {
        let looked = call();
        drop(place);
        looked
    });
    looked.await?.map_err(|error| unreadable(param, &error))
}

/// What the user hears of a file that cannot be used: the reason, without places on our disk.
fn unreadable(param: &'static str, error: &kinora_media::Error) -> Failure {
    use kinora_media::Error as Media;
    let rule = match error {
        Media::TooLarge { what, got, limit } => format!("In this file, {what} is {got}; at most {limit} is possible."),
        Media::Malformed { format, detail } => format!("The {format} data is damaged: {detail}."),
        Media::NoFrames => "There is no picture in it.".to_owned(),
        Media::Unsupported { .. } | Media::ExternalTool { .. } => {
            "Its codec or container cannot be read here; H.264 in MP4 and VP8 in WebM can.".to_owned()
        }
        Media::Io { .. } => return Failure::internal(error),
        _ => "It cannot be read.".to_owned(),
    };
    let message = format!("Invalid file '{param}': {rule}");
    let kind = kinora_api::ErrorType::InvalidRequestError;
    ApiError::new(400, kind, Some("invalid_file"), Some(param), message).into()
}

/// Moves a file to the others, under a name that its content gives.
async fn keep(app: &App, file: &OnDisk<'_>) -> Answer<FileRef> {
    let path = file.path().to_owned();
    let digest = blocking(move || sha256_of(&path)).await?;
    let digest = digest.map_err(|error| Failure::internal(&error))?;
    let key = FileRef(format!("uploads/{digest}"));
    app.files.import(file.path(), &key).await?;
    Ok(key)
}

fn sha256_of(path: &Path) -> std::io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => hash.update(buffer.get(..read).unwrap_or_default()),
        }
    }
    Ok(hex(&hash.finalize()))
}
