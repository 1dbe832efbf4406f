//! Videos from videos: remix, edits, extensions.

use axum::extract::{Request, State};
use axum::response::Response;
use kinora_api::{ApiError, EditVideo, ExtendVideo, RemixVideo, Seconds, Size, VideoSource};

use super::lengths::{of_clip, seconds_of_frames, size_for, stitched};
use super::{Named, answer};
use crate::answer::Answer;
use crate::body::read_body;
use crate::inputs::keep_clip;
use crate::submit::{seeds, submit};
use crate::view::finished;
use crate::work::{ClipSource, Task, Work};
use crate::{App, Caller};

/// How much may change if the request does not say.
const STRENGTH: f64 = 0.7;

pub(super) async fn remix(
    State(app): State<App>,
    caller: Caller,
    Named(id): Named,
    request: Request,
) -> Answer<Response> {
    let headers = request.headers().clone();
    let body = read_body(&app, request).await?;
    let asked = RemixVideo::read(body.as_body(), &app.rules)?;
    let seeds = seeds(&caller, &headers, &asked.options)?;
    let source = finished(&app, &caller, &id).await?;
    let id = parsed(&id)?;
    let task = Task::Remix {
        source: id.clone(),
        strength: strength(asked.strength)?,
    };
    let of = source.work;
    let work = Work {
        num_frames: of.num_frames,
        options: asked.options,
        remixed_from: Some(id),
        ..Work::new(task, asked.prompt, (of.model, of.engine), of.size, of.seconds)
    };
    let jobs = submit(&app, &caller, &headers, work, &seeds).await?;
    answer(&app, &jobs, &asked.ignored)
}

pub(super) async fn edit(State(app): State<App>, caller: Caller, request: Request) -> Answer<Response> {
    let headers = request.headers().clone();
    let body = read_body(&app, request).await?;
    let asked = EditVideo::read(body.as_body(), &app.rules)?;
    let seeds = seeds(&caller, &headers, &asked.options)?;
    let strength = strength(asked.strength)?;
    let start = start_of(&app, &caller, &asked.video, asked.model.as_deref()).await?;
    let seconds = match &start.source {
        ClipSource::Video(_) => start.seconds,
        ClipSource::File(_) => of_clip(app.model(Some(&start.model))?.rules, u64::from(start.seconds.ms()))?,
    };
    if let Some(size) = asked.size {
        app.model(Some(&start.model))?.rules.sizes.check(size)?;
    }
    let source = start.source;
    let size = asked.size.unwrap_or(start.size);
    let by = (start.model, start.engine);
    let work = Work {
        num_frames: asked.options.num_frames,
        options: asked.options,
        ..Work::new(Task::Edit { source, strength }, asked.prompt, by, size, seconds)
    };
    let jobs = submit(&app, &caller, &headers, work, &seeds).await?;
    answer(&app, &jobs, &asked.ignored)
}

pub(super) async fn extend(State(app): State<App>, caller: Caller, request: Request) -> Answer<Response> {
    let headers = request.headers().clone();
    let body = read_body(&app, request).await?;
    let asked = ExtendVideo::read(body.as_body(), &app.rules)?;
    let seeds = seeds(&caller, &headers, &asked.options)?;
    let start = start_of(&app, &caller, &asked.video, asked.model.as_deref()).await?;
    if let Some(fps) = asked.options.fps.filter(|fps| (fps - start.fps).abs() > 0.01) {
        let rule = format!("A continued video keeps its {} frames a second.", start.fps);
        return Err(ApiError::invalid_value("fps", &fps.to_string(), &rule).into());
    }
    let added = seconds_of_frames(&asked.options, Some(start.fps)).unwrap_or(asked.seconds);
    if let (None, VideoSource::Video { .. }, None) = (&asked.model, &asked.video, asked.options.num_frames) {
        // The request was checked against the server's first model; this one is the source's.
        app.model(Some(&start.model))?.rules.extension_lengths.check(added)?;
    }
    let seconds = stitched(start.seconds, added)?;
    let source = start.source;
    let by = (start.model, start.engine);
    let work = Work {
        num_frames: asked.options.num_frames,
        options: asked.options,
        ..Work::new(Task::Extend { source, added }, asked.prompt, by, start.size, seconds)
    };
    let jobs = submit(&app, &caller, &headers, work, &seeds).await?;
    answer(&app, &jobs, &asked.ignored)
}

/// What a clip to start from says about the video that it becomes.
struct Start {
    source: ClipSource,
    model: String,
    engine: String,
    size: Size,
    seconds: Seconds,
    fps: f64,
}

/// The clip of a request: a video of this server, whose model is kept unless another is asked for, or an uploaded one.
async fn start_of(app: &App, caller: &Caller, video: &VideoSource, model: Option<&str>) -> Answer<Start> {
    match video {
        VideoSource::Video { id } => {
            let source = finished(app, caller, id.as_str()).await?;
            let (model, engine) = match model {
                None => (source.work.model, source.work.engine),
                Some(_) => {
                    let chosen = app.model(model)?;
                    (chosen.name.to_owned(), chosen.engine.to_owned())
                }
            };
            Ok(Start {
                source: ClipSource::Video(id.clone()),
                model,
                engine,
                size: source.work.size,
                seconds: match source.work.num_frames {
                    Some(_) => source.outcome.seconds,
                    None => source.work.seconds,
                },
                fps: source.outcome.fps,
            })
        }
        VideoSource::Upload(upload) => {
            let chosen = app.model(model)?;
            let clip = keep_clip(app, "video", upload).await?;
            Ok(Start {
                source: ClipSource::File(clip.file),
                model: chosen.name.to_owned(),
                engine: chosen.engine.to_owned(),
                size: size_for(chosen.rules, clip.info.width_px, clip.info.height_px),
                seconds: Seconds::from_ms(u32::try_from(clip.info.duration_ms).unwrap_or(u32::MAX)),
                fps: clip.info.fps.as_f64(),
            })
        }
    }
}

/// **Errors**: 400 for 0, which would be the source again.
fn strength(asked: Option<f64>) -> Answer<f64> {
    match asked {
        Some(strength) if strength <= 0.0 => {
            let message = "decimal below minimum value. Expected a value > 0, but got 0 instead.".to_owned();
            Err(ApiError::out_of_range("strength", "decimal_below_min_value", message).into())
        }
        asked => Ok(asked.unwrap_or(STRENGTH)),
    }
}

fn parsed(id: &str) -> Answer<kinora_api::VideoId> {
    Ok(id.parse().map_err(|_| ApiError::video_not_found(id))?)
}
