//! Requests that make videos in ways that OpenAI never had.

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use kinora_api::{
    ApiError, BlendVideos, CreateStoryboard, LoopVideo, MakeVariants, Options, Seconds, Shot, Transition, VideoList,
};

use crate::answer::{Answer, Failure, with_ignored};
use crate::body::read_body;
use crate::inputs::keep_picture;
use crate::submit::{seeds, submit};
use crate::view::{Finished, finished, job_of, video_of, work_of};
use crate::work::{Task, Work, WorkShot};
use crate::{App, Caller};

pub(super) async fn variants(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    request: Request,
) -> Answer<Response> {
    let headers = request.headers().clone();
    let body = read_body(&app, request).await?;
    let asked = MakeVariants::read(body.as_body(), &app.rules)?;
    let work = work_of(&job_of(&app, &caller, &id).await?)?;
    let several = Options {
        seed: asked.seeds,
        n: Some(asked.count),
        ..Options::default()
    };
    let seeds = seeds(&caller, &headers, &several)?;
    let made = submit(&app, &caller, &headers, work, &seeds).await?;
    let videos = made.iter().map(video_of).collect::<Answer<Vec<_>>>()?;
    let list = VideoList::new(videos, false, |video| video.id.to_string());
    Ok(with_ignored(&asked.ignored, Json(list)))
}

pub(super) async fn storyboard(State(app): State<App>, caller: Caller, request: Request) -> Answer<Response> {
    let headers = request.headers().clone();
    let body = read_body(&app, request).await?;
    let asked = CreateStoryboard::read(body.as_body(), &app.rules)?;
    if asked.options.num_frames.is_some() {
        return Err(ApiError::unsupported_parameter("num_frames").into());
    }
    let chosen = app.model(asked.model.as_deref())?;
    let by = (chosen.name.to_owned(), chosen.engine.to_owned());
    let size = asked.size.unwrap_or(chosen.rules.default_size);
    let seed = seed_of(&asked.options, &headers, &caller)?;
    let total: u64 = asked.shots.iter().map(|shot| u64::from(shot.seconds.ms())).sum();
    let total = u32::try_from(total).map_err(|_| {
        let rule = "The shots together are longer than any video can be.";
        ApiError::invalid_value("shots", &total.to_string(), rule)
    })?;
    let prompts: Vec<&str> = asked.shots.iter().map(|shot| shot.prompt.as_str()).collect();
    let prompt = prompts.join("\n");
    let mut shots = Vec::with_capacity(asked.shots.len());
    for (index, shot) in asked.shots.into_iter().enumerate() {
        shots.push(shot_of(&app, index, shot).await?);
    }
    let work = Work {
        options: asked.options,
        ..Work::new(Task::Storyboard { shots }, prompt, by, size, Seconds::from_ms(total))
    };
    made(&app, &caller, &headers, work, seed, &asked.ignored).await
}

async fn shot_of(app: &App, index: usize, shot: Shot) -> Answer<WorkShot> {
    let image = match &shot.input_reference {
        None => None,
        Some(picture) => Some(keep_picture(app, "shots", picture).await?),
    };
    Ok(WorkShot {
        prompt: shot.prompt,
        seconds: shot.seconds,
        // Nothing comes before the first one.
        continues: index > 0 && shot.transition == Transition::Continue,
        image,
    })
}

pub(super) async fn blend(State(app): State<App>, caller: Caller, request: Request) -> Answer<Response> {
    let headers = request.headers().clone();
    let body = read_body(&app, request).await?;
    let asked = BlendVideos::read(body.as_body(), &app.rules)?;
    let Finished {
        work: first, outcome, ..
    } = finished(&app, &caller, asked.from.as_str()).await?;
    let Finished {
        work: second,
        outcome: other,
        ..
    } = finished(&app, &caller, asked.to.as_str()).await?;
    let name = asked.model.unwrap_or_else(|| first.model.clone());
    let engine = app.model(Some(&name))?.engine.to_owned();
    if second.engine != engine || first.engine != engine {
        let rule = "Both videos have to be of the model that blends them.";
        return Err(ApiError::invalid_value("to", asked.to.as_str(), rule).into());
    }
    if outcome.size != other.size {
        let rule = format!("Both videos have to be of one size: the first is {}.", outcome.size);
        return Err(ApiError::invalid_value("to", &other.size.to_string(), &rule).into());
    }
    let seed = seed_of(&asked.options, &headers, &caller)?;
    let task = Task::Blend {
        from: asked.from,
        to: asked.to,
        curve: asked.curve,
    };
    let both = || format!("{}. {}", first.prompt, second.prompt);
    let prompt = asked.prompt.unwrap_or_else(both);
    let num_frames = asked.options.num_frames;
    let work = Work {
        num_frames,
        options: Options {
            num_frames: None,
            ..asked.options
        },
        ..Work::new(task, prompt, (name, engine), outcome.size, outcome.seconds)
    };
    made(&app, &caller, &headers, work, seed, &asked.ignored).await
}

pub(super) async fn round(State(app): State<App>, caller: Caller, request: Request) -> Answer<Response> {
    let headers = request.headers().clone();
    let body = read_body(&app, request).await?;
    let asked = LoopVideo::read(body.as_body(), &app.rules)?;
    if asked.options.num_frames.is_some() {
        return Err(ApiError::unsupported_parameter("num_frames").into());
    }
    let Finished {
        work: source, outcome, ..
    } = finished(&app, &caller, asked.video_id.as_str()).await?;
    let chosen = app.model(Some(&source.model))?;
    let engine = chosen.engine.to_owned();
    if let Some(seam) = asked.seconds {
        chosen.rules.extension_lengths.check(seam)?;
    }
    let added = asked.seconds.map_or(0, Seconds::ms);
    let seed = seed_of(&asked.options, &headers, &caller)?;
    let task = Task::Loop {
        source: asked.video_id,
        seam: asked.seconds,
    };
    let prompt = asked.prompt.unwrap_or(source.prompt);
    let seconds = Seconds::from_ms(outcome.seconds.ms().saturating_add(added));
    let work = Work {
        options: asked.options,
        ..Work::new(task, prompt, (source.model, engine), outcome.size, seconds)
    };
    made(&app, &caller, &headers, work, seed, &asked.ignored).await
}

async fn made(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    work: Work,
    seed: u64,
    ignored: &[String],
) -> Answer<Response> {
    let jobs = submit(app, caller, headers, work, &[seed]).await?;
    let job = jobs.first().ok_or_else(|| Failure::internal(&"no job was made"))?;
    Ok(with_ignored(ignored, Json(video_of(job)?)))
}

/// The seed of a request that makes one video.
fn seed_of(options: &Options, headers: &HeaderMap, caller: &Caller) -> Answer<u64> {
    if options.n.is_some_and(|n| n > 1) || options.seed.len() > 1 {
        let rule = "This makes one video; /api/videos/{id}/variants makes more of it.";
        let got = options.n.unwrap_or(options.seed.len() as u64);
        return Err(ApiError::invalid_value("n", &got.to_string(), rule).into());
    }
    let seeds = seeds(caller, headers, options)?;
    seeds
        .first()
        .copied()
        .ok_or_else(|| Failure::internal(&"a request for no video"))
}
