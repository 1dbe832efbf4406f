//! Requests that make videos in ways that OpenAI never had.

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use kinora_api::{
    ApiError, BlendVideos, CreateStoryboard, IDEMPOTENCY_KEY, IGNORED_FIELDS, LARGEST_SEED, LoopVideo, MakeVariants,
    Options, Seconds, Shot, Transition, VideoList, ignored_fields,
};
use kinora_jobs::Job;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::jobs::job_of;
use super::sources::{finished, import_picture};
use crate::answer::{Answer, Failure};
use crate::body::read_body;
use crate::submit::submit;
use crate::view::{video_of, work_of};
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
    let mut made: Vec<Job> = Vec::new();
    for index in 0..asked.count {
        let seed = match usize::try_from(index).ok().and_then(|index| asked.seeds.get(index)) {
            Some(seed) => *seed,
            None => new_seed(&headers, &caller, index)?,
        };
        let work = Work { seed, ..work.clone() };
        match submit(&app, &caller, &headers_of(&headers, index), work).await {
            Ok(job) => made.push(job),
            Err(failure) => {
                take_back(&app, &headers, made).await;
                return Err(failure);
            }
        }
    }
    let videos = made.iter().map(video_of).collect::<Answer<Vec<_>>>()?;
    let list = VideoList::new(videos, false, |video| video.id.to_string());
    Ok(answer(&list, &asked.ignored))
}

/// A request makes all of its videos or none. With a key it will come again and find those that are there.
async fn take_back(app: &App, headers: &HeaderMap, made: Vec<Job>) {
    if headers.contains_key(IDEMPOTENCY_KEY) {
        return;
    }
    for job in made {
        // One that cannot be cancelled has ended; the client hears of the first failure.
        app.with_store(move |store| store.cancel(&job.id)).await.ok();
    }
}

/// The headers of one of several jobs of a request: each has an idempotency key of its own.
fn headers_of(headers: &HeaderMap, index: u64) -> HeaderMap {
    let mut own = headers.clone();
    let key = headers.get(IDEMPOTENCY_KEY).and_then(|key| key.to_str().ok());
    let numbered = key.filter(|_| index > 0).map(|key| format!("{key}#{index}"));
    if let Some(value) = numbered.and_then(|key| HeaderValue::from_str(&key).ok()) {
        own.insert(HeaderName::from_static(IDEMPOTENCY_KEY), value);
    }
    own
}

pub(super) async fn storyboard(State(app): State<App>, caller: Caller, request: Request) -> Answer<Response> {
    let headers = request.headers().clone();
    let body = read_body(&app, request).await?;
    let asked = CreateStoryboard::read(body.as_body(), &app.rules)?;
    if asked.options.num_frames.is_some() {
        return Err(ApiError::unsupported_parameter("num_frames").into());
    }
    let model = app.rules.model(asked.model.as_deref())?;
    let engine = model.name.clone();
    let size = asked.size.unwrap_or(model.default_size);
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
        version: Work::VERSION,
        task: Task::Storyboard { shots },
        prompt,
        model: asked.model.unwrap_or_else(|| engine.clone()),
        engine,
        size,
        seconds: Seconds::from_ms(total),
        num_frames: None,
        seed,
        options: spent(asked.options),
        remixed_from: None,
        traceparent: None,
    };
    made(&app, &caller, &headers, work, &asked.ignored).await
}

async fn shot_of(app: &App, index: usize, shot: Shot) -> Answer<WorkShot> {
    let image = match shot.input_reference {
        None => None,
        Some(picture) => Some(import_picture(app, picture).await?),
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
    let (first, outcome) = finished(&app, &caller, &asked.from).await?;
    let (second, other) = finished(&app, &caller, &asked.to).await?;
    let name = asked.model.unwrap_or_else(|| first.model.clone());
    let engine = engine_of(&app, &first, Some(&name))?;
    if second.engine != engine || first.engine != engine {
        let rule = "Both videos have to be of the model that blends them.";
        return Err(ApiError::invalid_value("to", asked.to.as_str(), rule).into());
    }
    if outcome.size != other.size {
        let rule = format!("Both videos have to be of one size: the first is {}.", outcome.size);
        return Err(ApiError::invalid_value("to", &other.size.to_string(), &rule).into());
    }
    let seed = seed_of(&asked.options, &headers, &caller)?;
    let work = Work {
        version: Work::VERSION,
        task: Task::Blend {
            from: asked.from,
            to: asked.to,
            curve: asked.curve,
        },
        prompt: asked.prompt.unwrap_or(first.prompt),
        model: name,
        engine,
        size: outcome.size,
        seconds: outcome.seconds,
        num_frames: asked.options.num_frames,
        seed,
        options: spent(asked.options),
        remixed_from: None,
        traceparent: None,
    };
    made(&app, &caller, &headers, work, &asked.ignored).await
}

pub(super) async fn round(State(app): State<App>, caller: Caller, request: Request) -> Answer<Response> {
    let headers = request.headers().clone();
    let body = read_body(&app, request).await?;
    let asked = LoopVideo::read(body.as_body(), &app.rules)?;
    if asked.options.num_frames.is_some() {
        return Err(ApiError::unsupported_parameter("num_frames").into());
    }
    let (source, outcome) = finished(&app, &caller, &asked.video_id).await?;
    let engine = engine_of(&app, &source, None)?;
    if let Some(seam) = asked.seconds {
        app.rules.model(Some(&engine))?.extension_lengths.check(seam)?;
    }
    let added = asked.seconds.map_or(0, Seconds::ms);
    let seed = seed_of(&asked.options, &headers, &caller)?;
    let work = Work {
        version: Work::VERSION,
        task: Task::Loop {
            source: asked.video_id,
            seam: asked.seconds,
        },
        prompt: asked.prompt.unwrap_or(source.prompt),
        model: source.model,
        engine,
        size: outcome.size,
        seconds: Seconds::from_ms(outcome.seconds.ms().saturating_add(added)),
        num_frames: None,
        seed,
        options: spent(asked.options),
        remixed_from: None,
        traceparent: None,
    };
    made(&app, &caller, &headers, work, &asked.ignored).await
}

/// The model that makes what was asked for: the one of this name, or that of the source.
fn engine_of(app: &App, source: &Work, name: Option<&str>) -> Answer<String> {
    Ok(app.rules.model(Some(name.unwrap_or(&source.engine)))?.name.clone())
}

async fn made(app: &App, caller: &Caller, headers: &HeaderMap, work: Work, ignored: &[String]) -> Answer<Response> {
    let job = submit(app, caller, headers, work).await?;
    Ok(answer(&video_of(&job)?, ignored))
}

fn answer(body: &impl Serialize, ignored: &[String]) -> Response {
    let told = ignored_fields(ignored).and_then(|names| HeaderValue::from_str(&names).ok());
    let mut response = Json(body).into_response();
    if let Some(names) = told {
        response
            .headers_mut()
            .insert(HeaderName::from_static(IGNORED_FIELDS), names);
    }
    response
}

/// The seed of a request that makes one video.
fn seed_of(options: &Options, headers: &HeaderMap, caller: &Caller) -> Answer<u64> {
    if options.n.is_some_and(|n| n > 1) || options.seed.len() > 1 {
        let rule = "This makes one video; /api/videos/{id}/variants makes more of it.";
        let got = options.n.unwrap_or(options.seed.len() as u64);
        return Err(ApiError::invalid_value("n", &got.to_string(), rule).into());
    }
    options
        .seed
        .first()
        .map_or_else(|| new_seed(headers, caller, 0), |seed| Ok(*seed))
}

/// A seed that nobody asked for. With an idempotency key it follows from the key: the same request again is the same job.
fn new_seed(headers: &HeaderMap, caller: &Caller, index: u64) -> Answer<u64> {
    let mut bytes = [0; 8];
    match headers.get(IDEMPOTENCY_KEY) {
        Some(key) => {
            let mut hash = Sha256::new();
            hash.update(caller.project.as_bytes());
            hash.update([0]);
            hash.update(key.as_bytes());
            hash.update(index.to_le_bytes());
            bytes.copy_from_slice(&hash.finalize()[..8]);
        }
        None => getrandom::fill(&mut bytes).map_err(|error| Failure::internal(&error))?,
    }
    Ok(u64::from_le_bytes(bytes) & LARGEST_SEED)
}

/// What of the options is not said elsewhere in the work.
fn spent(options: Options) -> Options {
    Options {
        seed: Vec::new(),
        n: None,
        num_frames: None,
        ..options
    }
}
