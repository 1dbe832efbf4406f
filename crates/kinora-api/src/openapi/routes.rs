//! Every route: what it takes, what it gives, how it fails.

use serde_json::{Value, json};

use super::Schemas;
use crate::requests::CreateCharacterBody;
use crate::{
    BlendVideos, Character, ContentVariant, CreateStoryboard, CreateVideo, EditVideo, ExtendVideo, Health, JobEvent,
    JobList, JobStatus, JobView, LoopVideo, MakeVariants, ModelList, Order, RemixVideo, Video, VideoDeleted, VideoList,
};

/// The body of a request.
pub(super) enum Takes {
    Nothing,
    /// JSON, multipart or a form.
    Any(Value),
    Multipart(Value),
}

/// The body of an answer.
pub(super) enum Sends {
    Json(Value),
    Files(Vec<&'static str>),
    Events(Value),
}

pub(super) struct Route {
    pub method: &'static str,
    pub path: &'static str,
    pub id: &'static str,
    pub tag: &'static str,
    pub summary: &'static str,
    /// Those of the query and of headers; those of the path follow from it.
    pub parameters: Vec<Value>,
    pub takes: Takes,
    pub sends: Sends,
    /// Another status with a body that is no error object.
    pub also: Option<(u16, Value)>,
    pub errors: &'static [u16],
    /// Whether it needs no key.
    pub open: bool,
}

/// How every route with a key can fail.
const READ: &[u16] = &[400, 401, 403, 404, 429, 500, 503];
/// How a route can fail that makes something.
const MAKE: &[u16] = &[400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 500, 501, 503, 507];
/// How a route can fail that changes something: what it writes down needs room too.
pub(super) const CHANGE: &[u16] = &[400, 401, 403, 404, 409, 429, 500, 503, 507];

pub(super) fn get(path: &'static str, id: &'static str, summary: &'static str, sends: Sends) -> Route {
    Route {
        method: "get",
        path,
        id,
        tag: if path.starts_with("/v1/") { "videos" } else { "native" },
        summary,
        parameters: Vec::new(),
        takes: Takes::Nothing,
        sends,
        also: None,
        errors: READ,
        open: false,
    }
}

pub(super) fn post(path: &'static str, id: &'static str, summary: &'static str, takes: Takes, sends: Sends) -> Route {
    let key = parameter(
        "header",
        crate::IDEMPOTENCY_KEY,
        "Two requests with the same key are one.",
        json!({ "type": "string", "minLength": 1, "maxLength": 255 }),
    );
    let makes = !matches!(takes, Takes::Nothing);
    Route {
        method: "post",
        takes,
        parameters: if makes { vec![key] } else { Vec::new() },
        errors: if makes { MAKE } else { CHANGE },
        ..get(path, id, summary, sends)
    }
}

fn parameter(place: &str, name: &str, description: &str, schema: Value) -> Value {
    json!({ "name": name, "in": place, "description": description, "schema": schema })
}

pub(super) fn paging(schemas: &mut Schemas) -> Vec<Value> {
    let order = schemas.of::<Order>();
    let limit = json!({ "type": "integer", "minimum": 0, "maximum": 100, "default": 20 });
    vec![
        parameter(
            "query",
            "after",
            "The id after which the page begins.",
            json!({ "type": "string" }),
        ),
        parameter("query", "limit", "The most things on the page.", limit),
        parameter("query", "order", "Newest or oldest first; newest if left out.", order),
    ]
}

pub(super) fn routes(schemas: &mut Schemas) -> Vec<Route> {
    let mut all = videos(schemas);
    all.extend(native(schemas));
    all.extend(super::webhooks::routes(schemas));
    all.extend(server(schemas));
    all
}

/// OpenAI's ten.
fn videos(schemas: &mut Schemas) -> Vec<Route> {
    let video = schemas.of::<Video>();
    let character = schemas.of::<Character>();
    let one = || Sends::Json(video.clone());
    let variant = schemas.of::<ContentVariant>();
    let create = Takes::Any(schemas.of::<CreateVideo>());
    let remix = Takes::Any(schemas.of::<RemixVideo>());
    let edit = Takes::Any(schemas.of::<EditVideo>());
    let extend = Takes::Any(schemas.of::<ExtendVideo>());
    let cast = Takes::Multipart(schemas.of::<CreateCharacterBody>());
    let list = Sends::Json(schemas.of::<VideoList>());
    let deleted = Sends::Json(schemas.of::<VideoDeleted>());
    let files = ContentVariant::ALL.map(ContentVariant::content_type).to_vec();
    vec![
        post(
            "/v1/videos",
            "create_video",
            "Make a video from a prompt.",
            create,
            one(),
        ),
        Route {
            parameters: paging(schemas),
            ..get("/v1/videos", "list_videos", "The videos of the project.", list)
        },
        get("/v1/videos/{video_id}", "get_video", "One video.", one()),
        Route {
            method: "delete",
            errors: CHANGE,
            ..get(
                "/v1/videos/{video_id}",
                "delete_video",
                "Delete a video that is finished.",
                deleted,
            )
        },
        Route {
            parameters: vec![
                parameter("query", "variant", "Which file; the clip if left out.", variant),
                parameter("header", "range", "Which bytes.", json!({ "type": "string" })),
            ],
            ..get(
                "/v1/videos/{video_id}/content",
                "get_video_content",
                "A file of a video.",
                Sends::Files(files),
            )
        },
        post(
            "/v1/videos/{video_id}/remix",
            "remix_video",
            "The same video with another prompt.",
            remix,
            one(),
        ),
        post(
            "/v1/videos/edits",
            "edit_video",
            "Change a video or a clip by a prompt.",
            edit,
            one(),
        ),
        post(
            "/v1/videos/extensions",
            "extend_video",
            "Continue a video or a clip.",
            extend,
            one(),
        ),
        post(
            "/v1/videos/characters",
            "create_character",
            "Take a reusable character from a clip.",
            cast,
            Sends::Json(character.clone()),
        ),
        get(
            "/v1/videos/characters/{character_id}",
            "get_character",
            "One character.",
            Sends::Json(character),
        ),
    ]
}

fn native(schemas: &mut Schemas) -> Vec<Route> {
    let video = schemas.of::<Video>();
    let job = schemas.of::<JobView>();
    let one = || Sends::Json(video.clone());
    let view = || Sends::Json(job.clone());
    let list = Sends::Json(schemas.of::<JobList>());
    let events = Sends::Events(schemas.of::<JobEvent>());
    let variants = Takes::Any(schemas.of::<MakeVariants>());
    let made = Sends::Json(schemas.of::<VideoList>());
    let storyboard = Takes::Any(schemas.of::<CreateStoryboard>());
    let blend = Takes::Any(schemas.of::<BlendVideos>());
    let round = Takes::Any(schemas.of::<LoopVideo>());
    let status = parameter(
        "query",
        "status",
        "Only jobs that are there.",
        schemas.of::<JobStatus>(),
    );
    let last_seen = parameter(
        "header",
        crate::LAST_EVENT_ID,
        "The event that was seen last; what came after it is sent again.",
        json!({ "type": "integer", "minimum": 0 }),
    );
    let after = parameter(
        "query",
        "after",
        "The same as the header, for clients that cannot set it.",
        json!({ "type": "integer", "minimum": 0 }),
    );
    let pictures = Sends::Files(vec!["image/webp", "image/jpeg", "image/png"]);
    vec![
        Route {
            parameters: [paging(schemas), vec![status]].concat(),
            ..get("/api/jobs", "list_jobs", "The jobs of the project.", list)
        },
        get("/api/jobs/{job_id}", "get_job", "One job.", view()),
        post(
            "/api/jobs/{job_id}/cancel",
            "cancel_job",
            "Stop a job at its next step.",
            Takes::Nothing,
            view(),
        ),
        post(
            "/api/jobs/{job_id}/retry",
            "retry_job",
            "Begin a failed job again.",
            Takes::Nothing,
            view(),
        ),
        Route {
            parameters: vec![last_seen, after],
            ..get(
                "/api/jobs/{job_id}/events",
                "watch_job",
                "What happens to a job, as it happens.",
                events,
            )
        },
        get(
            "/api/jobs/{job_id}/preview",
            "get_preview",
            "How a video looks so far.",
            pictures,
        ),
        post(
            "/api/videos/{video_id}/variants",
            "make_variants",
            "The same request with other seeds.",
            variants,
            made,
        ),
        post(
            "/api/storyboards",
            "create_storyboard",
            "One video from several prompts.",
            storyboard,
            one(),
        ),
        post(
            "/api/blends",
            "blend_videos",
            "One video that goes over into another.",
            blend,
            one(),
        ),
        post("/api/loops", "loop_video", "A video without an end.", round, one()),
        get(
            "/api/models",
            "list_models",
            "The models of the server.",
            Sends::Json(schemas.of::<ModelList>()),
        ),
    ]
}

fn server(schemas: &mut Schemas) -> Vec<Route> {
    let health = schemas.of::<Health>();
    let check = |path, id, summary| Route {
        tag: "server",
        errors: &[],
        also: Some((503, health.clone())),
        open: true,
        ..get(path, id, summary, Sends::Json(health.clone()))
    };
    vec![
        check("/healthz", "get_health", "Whether the process works."),
        check("/readyz", "get_readiness", "Whether it takes requests."),
        Route {
            tag: "server",
            errors: &[401, 403],
            ..get(
                "/metrics",
                "get_metrics",
                "Numbers for Prometheus.",
                Sends::Files(vec!["application/openmetrics-text"]),
            )
        },
        Route {
            tag: "server",
            errors: &[],
            open: true,
            ..get(
                "/openapi.json",
                "get_openapi",
                "This document.",
                Sends::Json(json!({ "type": "object" })),
            )
        },
    ]
}
