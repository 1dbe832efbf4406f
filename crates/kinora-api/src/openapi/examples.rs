//! One example of each type, for the document and for the tests that hold types and schemas together.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use crate::*;

const SOURCE: &str = "video_6916118140414243444546474849505152535455565758aa";
const HOOK: &str = "https://example.org/hooks";

fn video_id() -> VideoId {
    VideoId::new(
        1_763_053_953,
        *b"\xca\x88\x19\x0b\xfb\x12\x37\x16\xdc\xc9\x53\xa0\x89\xa2\x32\xf5\x4b\x02\xb2\x1a",
    )
}

/// A completed video, as it was recorded from OpenAI (with another id).
fn video() -> Video {
    Video {
        id: video_id(),
        object: VideoTag::Tag,
        created_at: 1_763_053_953,
        status: VideoStatus::Completed,
        completed_at: Some(1_763_054_021),
        error: None,
        expires_at: Some(1_763_057_621),
        model: "sora-2".to_owned(),
        progress: 100,
        prompt: Some("aurora".to_owned()),
        remixed_from_video_id: None,
        seconds: Seconds::whole(4),
        size: Size::new(1280, 720),
        seed: None,
        fps: None,
        num_frames: None,
        revised_prompt: None,
        inference_time_s: None,
        peak_memory_mb: None,
    }
}

fn failed() -> Video {
    Video {
        status: VideoStatus::Failed,
        completed_at: None,
        error: Some(VideoError::cancelled()),
        expires_at: None,
        progress: 40,
        remixed_from_video_id: SOURCE.parse().ok(),
        seed: Some(LARGEST_SEED),
        fps: Some(12.5),
        num_frames: Some(50),
        revised_prompt: Some("aurora over a lake 🎬".to_owned()),
        inference_time_s: Some(1.25),
        peak_memory_mb: Some(812.0),
        ..video()
    }
}

fn job() -> JobView {
    JobView {
        id: video_id(),
        object: Default::default(),
        status: JobStatus::Running,
        stage: Some(JobStage::Diffuse),
        step: Some(12),
        steps: Some(30),
        queue_position: None,
        remaining_ms: Some(4100),
        attempt: 1,
        checkpoint_step: Some(10),
        cancel_requested: false,
        priority: 0,
        started_at: Some(1_763_053_954),
        last_event_id: 17,
        metadata: BTreeMap::from([("project".to_owned(), json!("film"))]),
        video: Video {
            status: VideoStatus::InProgress,
            progress: 40,
            completed_at: None,
            expires_at: None,
            ..video()
        },
    }
}

fn events() -> Vec<JobEvent> {
    let data = [
        EventData::Queued {
            queue_position: Some(3),
        },
        EventData::Started {
            attempt: 1,
            resumed_from_step: None,
        },
        EventData::Progress {
            stage: JobStage::Diffuse,
            step: 12,
            steps: 30,
            progress: 40,
            remaining_ms: Some(4100),
        },
        EventData::Preview {
            step: 12,
            url: format!("/api/jobs/{}/preview?step=12", video_id()),
            content_type: "image/webp".to_owned(),
        },
        EventData::Checkpoint { step: 12 },
        EventData::CancelRequested {},
        EventData::Succeeded {
            video: Box::new(video()),
        },
        EventData::Failed {
            error: VideoError {
                code: failure::OUT_OF_MEMORY.to_owned(),
                message: "The clip does not fit in memory.".to_owned(),
            },
        },
        EventData::Cancelled {},
    ];
    let event = |(data, sequence)| JobEvent {
        sequence,
        job_id: video_id(),
        at_ms: 1_763_053_955_250,
        data,
    };
    data.into_iter().zip(1..).map(event).collect()
}

fn endpoint() -> WebhookEndpoint {
    WebhookEndpoint {
        id: WebhookEndpointId::new(1_763_053_953, [5; RANDOM_BYTES]),
        object: Default::default(),
        created_at: 1_763_053_953,
        updated_at: None,
        name: "studio".to_owned(),
        url: HOOK.to_owned(),
        event_types: WebhookType::ALL.to_vec(),
        signing_secret: Some(WebhookSecret::from_bytes(&[3; 32]).reveal()),
        signing_secret_hint: Some("AwMD".to_owned()),
        disabled_at: None,
    }
}

/// What the management of webhooks answers.
fn webhooks() -> Vec<(&'static str, Value)> {
    let listed = WebhookEndpoint {
        signing_secret: None,
        updated_at: Some(1_763_053_999),
        disabled_at: Some(1_763_054_000),
        ..endpoint()
    };
    let deleted = WebhookEndpointDeleted {
        id: listed.id.clone(),
        object: Default::default(),
        deleted: true,
    };
    let test = WebhookTest {
        object: Default::default(),
        webhook_endpoint_id: listed.id.clone(),
        event_type: WebhookType::VideoCompleted,
        status_code: 204,
        success: true,
    };
    let delivery = WebhookDelivery {
        id: DeliveryId::new(1_763_054_021, [8; RANDOM_BYTES]),
        object: Default::default(),
        webhook_endpoint_id: listed.id.clone(),
        event_type: WebhookType::VideoFailed,
        status: WebhookDeliveryStatus::Pending,
        attempts: 2,
        created_at: 1_763_054_021,
        next_attempt_at: Some(1_763_054_031),
        last_error: Some("it answered 500".to_owned()),
    };
    let deliveries = Page::new(vec![delivery.clone()], false, |one| one.id.to_string());
    vec![
        ("WebhookEndpoint", json_of(endpoint())),
        ("WebhookEndpoint", json_of(&listed)),
        (
            "WebhookEndpointList",
            json_of(Page::new(vec![listed], false, |one| one.id.to_string())),
        ),
        ("WebhookEndpointDeleted", json_of(deleted)),
        ("WebhookTest", json_of(test)),
        ("WebhookEventTypes", json_of(WebhookEventTypes::default())),
        ("WebhookDelivery", json_of(delivery)),
        ("WebhookDeliveryList", json_of(deliveries)),
    ]
}

/// Types of ours always have JSON: their maps have texts as keys and their numbers are finite.
fn json_of<T: Serialize>(value: T) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

fn requests() -> [(&'static str, Value); 16] {
    let options = json!({
        "negative_prompt": "text, watermark", "seed": 7, "n": 1, "num_frames": 49, "fps": 16, "num_inference_steps": 30,
        "guidance_scale": 5.0, "guidance_scale_2": 4.0, "true_cfg_scale": 1.0, "flow_shift": 3.0, "boundary_ratio": 0.9,
        "enhance_prompt": true, "enable_frame_interpolation": true, "frame_interpolation_exp": 1,
        "enable_upscaling": true, "upscaling_scale": 2, "loras": [{ "name": "ink", "scale": 0.8 }], "user": "u-1",
        "metadata": { "project": "film" },
    });
    let with_options = |mut request: Value| {
        if let (Some(request), Some(options)) = (request.as_object_mut(), options.as_object()) {
            request.extend(options.clone());
        }
        request
    };
    let full = json!({
        "prompt": "Mossy, the cat, walks through rain", "model": "sora-2", "seconds": "4", "size": "1280x720",
        "input_reference": { "image_url": "https://example.org/cat.png" },
        "characters": [{ "id": "char_691611812ca88190bfb123716dcc953a089a232f54b02b21" }],
    });
    let others = json!({
        "prompt": "a cat", "width": 1280, "height": 720, "num_outputs_per_prompt": 2, "seed": [1, 2], "seconds": 8,
        "lora": { "name": "ink" }, "image_reference": { "file_id": "file-1" }, "extra_params": "{\"flow_shift\": 3}",
    });
    let video = json!({ "id": SOURCE });
    let shots = json!([
        { "prompt": "a harbour at dawn", "seconds": "4", "transition": "cut" },
        { "prompt": "the sun rises", "seconds": 8, "transition": "continue", "input_reference": { "file_id": "file-1" } },
    ]);
    [
        ("CreateVideo", json!({ "prompt": "a red ball rolls" })),
        ("CreateVideo", with_options(full)),
        ("CreateVideo", others),
        (
            "RemixVideo",
            with_options(json!({ "prompt": "at night", "strength": 0.6 })),
        ),
        (
            "EditVideo",
            json!({ "prompt": "as a drawing", "video": video, "model": "sora-2", "size": "1280x720" }),
        ),
        (
            "ExtendVideo",
            json!({ "prompt": "it stops", "video": video, "seconds": "8" }),
        ),
        ("CreateCharacter", json!({ "name": "Mossy", "video": "…" })),
        ("MakeVariants", json!({ "count": 2, "seeds": [1, 2] })),
        (
            "CreateStoryboard",
            json!({ "shots": shots, "size": "1280x720", "seed": 3 }),
        ),
        (
            "BlendVideos",
            json!({ "from": SOURCE, "to": video_id(), "prompt": "mist", "curve": [0.0, 0.2, 1.0] }),
        ),
        ("LoopVideo", json!({ "video_id": SOURCE, "seconds": "1" })),
        (
            "CreateWebhookEndpoint",
            json!({ "name": "studio", "url": HOOK, "event_types": ["video.completed", "video.failed"] }),
        ),
        ("UpdateWebhookEndpoint", json!({ "url": HOOK })),
        (
            "UpdateWebhookEndpoint",
            json!({ "name": "studio", "url": HOOK, "event_types": ["video.failed"] }),
        ),
        (
            "RotateWebhookSecret",
            json!({ "keep_old_secret_active_for_24_hours": true }),
        ),
        ("TestWebhookEndpoint", json!({ "event_type": "video.completed" })),
    ]
}

/// Examples of every type of the interface, by the names of their schemas in [`openapi()`]. Some have several.
pub fn examples() -> Vec<(&'static str, Value)> {
    let character = Character {
        id: CharacterId::new(1_763_053_953, [7; RANDOM_BYTES]),
        object: Default::default(),
        name: "Mossy".to_owned(),
        created_at: 1_763_053_953,
    };
    let model = ModelView {
        id: "toybox".to_owned(),
        object: Default::default(),
        aliases: vec!["sora-2".to_owned()],
        loaded: true,
        licence: Some("Apache-2.0".to_owned()),
        default_size: Size::new(128, 128),
        default_seconds: Seconds::from_ms(2500),
        sizes: vec![Size::new(128, 128)],
        seconds: Vec::new(),
    };
    let check = Check {
        status: HealthStatus::Degraded,
        message: Some("no worker has a device".to_owned()),
    };
    let event = WebhookEvent {
        object: Default::default(),
        id: EventId::new(1_763_053_953, [9; RANDOM_BYTES]),
        kind: WebhookType::VideoCompleted,
        created_at: 1_763_054_021,
        data: WebhookData { id: video_id() },
    };
    let health = Health::new("0.1.0", BTreeMap::from([("workers".to_owned(), check)]));
    let id = |video: &Video| video.id.to_string();
    let mut all = vec![
        ("Video", json_of(video())),
        ("Video", json_of(failed())),
        ("VideoList", json_of(Page::new(vec![video()], true, id))),
        ("VideoList", json_of(Page::new(Vec::new(), true, id))),
        ("VideoDeleted", json_of(VideoDeleted::new(video_id()))),
        ("Character", json_of(character)),
        ("ErrorBody", json_of(ApiError::missing("prompt").body())),
        ("ErrorBody", json_of(ApiError::no_key().body())),
        ("JobView", json_of(job())),
        (
            "JobViewList",
            json_of(Page::new(vec![job()], false, |job| job.id.to_string())),
        ),
        (
            "ModelList",
            json_of(ModelList {
                object: Default::default(),
                data: vec![model],
            }),
        ),
        ("Health", json_of(health)),
        ("WebhookEvent", json_of(event)),
    ];
    all.extend(events().into_iter().map(|event| ("JobEvent", json_of(event))));
    all.extend(webhooks());
    all.extend(requests());
    all
}
